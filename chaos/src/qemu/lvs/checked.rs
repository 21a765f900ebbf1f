//! A server that is checked: it answers whoever connects, and counts connections that are begun and the addresses that were
//! asked for.
//!
//! One listening socket stands for as many real servers as its machine has addresses.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::netns::error::{Error, io_error};
use crate::netns::observe::knocks::Knocks;

/// A request ends so.
const END: &[u8] = b"\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";
/// A request that is longer is none of ours.
const REQUEST: usize = 16 * 1024;
/// Connections that may wait to be taken: a burst must not look like a server that is down.
const BACKLOG: u32 = 4096;
/// Between two looks at what is to be written down.
const LOOK: Duration = Duration::from_millis(100);

/// Connections, and the addresses that they were made to.
#[derive(Debug, Default)]
struct Tally {
    connections: u64,
    servers: HashSet<Ipv4Addr>,
}

/// The count; clones share it.
#[derive(Debug, Clone, Default)]
struct Checked(Arc<Mutex<Tally>>);

impl Checked {
    fn note(&self, server: Ipv4Addr) {
        let mut tally = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tally.connections += 1;
        tally.servers.insert(server);
    }

    fn counts(&self) -> (u64, usize) {
        let tally = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (tally.connections, tally.servers.len())
    }

    /// Counts as long as somebody wants to know.
    fn hear(&self, knocks: &Knocks) -> Result<(), Error> {
        while Arc::strong_count(&self.0) > 1 {
            knocks.next()?.into_iter().for_each(|server| self.note(server));
        }
        Ok(())
    }
}

async fn serve(listener: TcpListener) -> Result<(), Error> {
    loop {
        let (stream, _) = listener.accept().await.map_err(io_error("accept a check"))?;
        tokio::spawn(answer(stream));
    }
}

fn listen(port: u16) -> Result<TcpListener, Error> {
    let what = || format!("listen on port {port}");
    let socket = TcpSocket::new_v4().map_err(io_error(what()))?;
    socket.set_reuseaddr(true).map_err(io_error(what()))?;
    socket.bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).map_err(io_error(what()))?;
    socket.listen(BACKLOG).map_err(io_error(what()))
}

/// An end of the other side before a whole request is what a check of the port alone does.
async fn answer(mut stream: TcpStream) {
    let (mut read, mut buffer) = (Vec::new(), [0; 1024]);
    while let Ok(count) = stream.read(&mut buffer).await {
        read.extend_from_slice(buffer.get(..count).unwrap_or_default());
        if count == 0 || read.len() > REQUEST {
            return;
        }
        if read.windows(END.len()).any(|window| window == END) {
            // Whoever does not want the answer has gone.
            let _ = stream.write_all(ANSWER).await;
            return;
        }
    }
}

/// Serves `port` of all addresses of the loopback until it is killed, and writes the counts of connections and of addresses into `file`
/// as they change.
///
/// # Errors
/// [`Error::Io`] when the port can't be bound or listened for, nothing can be accepted any more, or the file can't be written.
pub fn run(port: u16, file: &Path) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(io_error("make a runtime"))?.block_on(async {
        let (checked, knocks) = (Checked::default(), Knocks::hear("lo", port)?);
        let (serving, ear) = (tokio::spawn(serve(listen(port)?)), checked.clone());
        let hearing = tokio::task::spawn_blocking(move || ear.hear(&knocks));
        let mut told = None;
        while !serving.is_finished() && !hearing.is_finished() {
            let counts = checked.counts();
            if told != Some(counts) {
                // Whoever reads it sees both counts or the former ones.
                let draft = file.with_extension("draft");
                std::fs::write(&draft, format!("{} {}\n", counts.0, counts.1)).map_err(io_error("write the counts"))?;
                std::fs::rename(&draft, file).map_err(io_error("write the counts"))?;
                told = Some(counts);
            }
            tokio::time::sleep(LOOK).await;
        }
        drop(checked);
        hearing.await.map_err(|_| Error::Thread("the ear of a server that is checked"))??;
        serving.await.map_err(|_| Error::Thread("a server that is checked"))?
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::time::Instant;

    use super::*;
    use crate::netns::namespace::Namespace;

    #[test]
    fn a_request_is_answered_and_each_address_counts_as_a_server_of_its_own() {
        let Ok(namespace) = Namespace::new() else { return eprintln!("not root: skipped") };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let checked = Checked::default();
        let answer = namespace.run(|| {
            let up = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status();
            assert!(up.map_err(io_error("run `ip`"))?.success());
            let listener = runtime.block_on(async { listen(8080) })?;
            let (knocks, ear) = (Knocks::hear("lo", 8080)?, checked.clone());
            std::thread::spawn(move || ear.hear(&knocks));
            runtime.spawn(serve(listener));
            let connect = |last: u8| std::net::TcpStream::connect((Ipv4Addr::new(127, 0, 0, last), 8080)).unwrap();
            let mut stream = connect(1);
            stream.write_all(b"GET / HTTP/1.0\r\n").unwrap();
            stream.write_all(b"\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            drop(connect(2));
            drop(connect(2));
            Ok(answer)
        });
        let answer = answer.unwrap();
        assert!(answer.starts_with("HTTP/1.0 200 ") && answer.ends_with("\r\n\r\nok\n"), "{answer}");
        // Hearing happens on another thread; five seconds are for a busy machine.
        let begin = Instant::now();
        while checked.counts() != (3, 2) && begin.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(checked.counts(), (3, 2));
    }
}
