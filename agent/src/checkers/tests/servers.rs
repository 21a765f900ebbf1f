//! Servers for the tests, in the namespace of the test that starts them.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};

/// Puts this thread, and what it starts, into a network namespace of its own.
pub(in crate::checkers) fn alone() {
    unshare(CloneFlags::CLONE_NEWNET).expect("needs root");
    ip("link set lo up");
}

pub(super) fn ip(words: &str) {
    assert!(Command::new("ip").args(words.split(' ')).status().unwrap().success(), "ip {words}");
}

/// A program that ends with the test.
pub(super) struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program, and waits until that TCP port answers.
pub(super) fn start(command: &mut Command, port: u16) -> Server {
    let name = format!("{command:?}");
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let server = Server(child.unwrap_or_else(|error| panic!("{name}: {error}: see tests/run for what to install")));
    let begin = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begin.elapsed() < Duration::from_secs(30), "{name} does not listen");
        thread::sleep(Duration::from_millis(20));
    }
    server
}

/// nginx with these `server` blocks, in `room`; the first listens on that port.
pub(super) fn nginx(room: &Path, servers: &str, port: u16) -> Server {
    let text = format!(
        "daemon off; master_process off; pid {0}/pid; error_log {0}/error;\nevents {{ }}\nhttp {{ access_log {0}/access;\n\
         client_body_temp_path {0}/a; proxy_temp_path {0}/b; fastcgi_temp_path {0}/c; uwsgi_temp_path {0}/d; \
         scgi_temp_path {0}/e;\n{servers}\n}}\n",
        room.display()
    );
    let file = room.join("nginx.conf");
    std::fs::write(&file, text).unwrap();
    start(
        Command::new("/usr/sbin/nginx").arg("-p").arg(room).arg("-c").arg(&file).arg("-e").arg(room.join("error")),
        port,
    )
}

/// A certificate by an authority of its own, for `name`: `ca.pem`, `cert.pem` and `key.pem` in `room`.
pub(super) fn certificate(room: &Path, name: &str) {
    let openssl = |words: &str| {
        let run = Command::new("openssl").current_dir(room).args(words.split(' ')).output().unwrap();
        assert!(run.status.success(), "openssl {words}: {}", String::from_utf8_lossy(&run.stderr));
    };
    std::fs::write(room.join("ext"), format!("subjectAltName=DNS:{name}\n")).unwrap();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!("req -x509 {key} -days 2 -subj /CN=authority -keyout ca.key -out ca.pem"));
    openssl(&format!("req {key} -subj /CN={name} -keyout key.pem -out request"));
    openssl("x509 -req -days 2 -in request -CA ca.pem -CAkey ca.key -CAcreateserial -extfile ext -out cert.pem");
}

/// Listens on a port, reads the beginning of what comes, and then does as it likes with each connection.
pub(super) fn rogue(port: u16, does: impl Fn(TcpStream) + Send + Sync + Clone + 'static) {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let does = does.clone();
            thread::spawn(move || does(stream));
        }
    });
}

/// The request, as far as it comes at once.
pub(super) fn request(mut stream: &TcpStream) -> String {
    let mut bytes = [0; 4096];
    let count = stream.read(&mut bytes).unwrap_or(0);
    String::from_utf8_lossy(&bytes[..count]).into_owned()
}

/// Writes the same until nobody reads it any more.
pub(super) fn for_ever(mut stream: &TcpStream, words: &[u8], pause: Duration) {
    while stream.write_all(words).is_ok() {
        thread::sleep(pause);
    }
}
