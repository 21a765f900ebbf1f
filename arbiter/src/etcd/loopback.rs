//! The installed etcd on the loopback, for tests.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use etcd_client::Client;

/// One member, with its data in a directory that goes with it.
pub(super) struct Etcd {
    server: Child,
    _room: tempfile::TempDir,
    pub(super) url: String,
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Etcd {
    pub(super) fn start() -> Self {
        // Free a moment ago: who else on the loopback takes just these two within it makes this fail, not pass.
        let free = || TcpListener::bind("127.0.0.1:0").unwrap();
        let [url, peer] = [free(), free()].map(|one| format!("http://{}", one.local_addr().unwrap()));
        let room = tempfile::tempdir().unwrap();
        let server = Command::new("etcd")
            .args(["--name=e0", &format!("--data-dir={}", room.path().display())])
            .args([format!("--listen-client-urls={url}"), format!("--advertise-client-urls={url}")])
            .args([format!("--listen-peer-urls={peer}"), format!("--initial-advertise-peer-urls={peer}")])
            .arg(format!("--initial-cluster=e0={peer}"))
            .args(["--election-timeout=500", "--heartbeat-interval=50"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd is installed");
        Etcd { server, _room: room, url }
    }

    pub(super) async fn client(&self) -> Client {
        // Wide: a machine that is busy with other tests.
        for _ in 0..400 {
            if let Ok(client) = Client::connect([&self.url], None).await
                && client.kv_client().get("/k", None).await.is_ok()
            {
                return client;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("etcd does not answer at {}", self.url);
    }
}
