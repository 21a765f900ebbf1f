//! Metrics for a collector on this host: one GET of `/metrics` a connection, over HTTP/1.1 (RFC 9112).
//!
//! What must stay true: whoever connects costs the voters no more than one question. Connections, octets of a request
//! and its time have bounds, and nothing of a request is looked at but its first line.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use super::metrics::CONTENT_TYPE;
use super::orders::Ask;
use super::server::ask_by;

/// Readers at a time.
const READERS: usize = 8;
/// Octets of a request.
const LONGEST: usize = 8192;
/// For all of it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Listens there.
///
/// # Errors
/// The address is in use, or none of this host.
pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Answers until it is dropped.
pub async fn serve(listener: TcpListener, asks: mpsc::Sender<Ask>) {
    let places = Arc::new(Semaphore::new(READERS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let asks = asks.clone();
                tokio::spawn(async move {
                    let _place = place;
                    let _ = timeout(PATIENCE, answer(stream, &asks)).await;
                });
            }
            // Such as for want of descriptors.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn answer(mut stream: TcpStream, asks: &mpsc::Sender<Ask>) -> io::Result<()> {
    let mut read = Vec::new();
    let mut chunk = [0; 1024];
    // To the empty line that ends the head: a connection closed with octets unread would be reset.
    while !read.windows(4).any(|end| end == b"\r\n\r\n") && read.len() < LONGEST {
        match stream.read(&mut chunk).await? {
            0 => return Ok(()),
            octets => read.extend_from_slice(chunk.get(..octets).unwrap_or_default()),
        }
    }
    let head = String::from_utf8_lossy(&read);
    let mut words = head.lines().next().unwrap_or_default().split(' ');
    let (status, kind, body) = match (words.next(), words.next()) {
        (Some("GET"), Some("/metrics")) => match ask_by(asks, Ask::Metrics).await {
            Some(text) => ("200 OK", CONTENT_TYPE, text),
            None => ("503 Service Unavailable", "text/plain", "the voters have ended\n".to_owned()),
        },
        (Some("GET"), _) => ("404 Not Found", "text/plain", "only /metrics is here\n".to_owned()),
        _ => ("405 Method Not Allowed", "text/plain", "only GET is understood\n".to_owned()),
    };
    let allow = if status.starts_with("405") { "Allow: GET\r\n" } else { "" };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{allow}Connection: close\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await?;
    stream.shutdown().await
}
