//! The installed etcd on the loopback, for tests.

use std::net::{TcpListener, TcpStream};
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
        // Ports that are free may be somebody else's by the time that it takes them: other tests run beside this one.
        (0..5).find_map(|_| Self::start_once()).expect("etcd takes its ports")
    }

    /// `None`: it has ended, as it does where a port is taken.
    fn start_once() -> Option<Self> {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap();
        let listeners = [free(), free()];
        let [client, peer] = listeners.each_ref().map(|one| one.local_addr().unwrap());
        drop(listeners);
        let [url, peer] = [client, peer].map(|address| format!("http://{address}"));
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
        let mut etcd = Etcd { server, _room: room, url };
        // Wide: a machine that is busy with other tests.
        for _ in 0..400 {
            let listens = TcpStream::connect(client).is_ok();
            if etcd.server.try_wait().unwrap().is_some() {
                return None;
            }
            if listens {
                return Some(etcd);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("etcd does not listen at {client}");
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
