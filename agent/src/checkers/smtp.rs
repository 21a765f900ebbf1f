//! `SMTP_CHECK`: up while it greets as a mail server and takes its leave (RFC 5321: 220, HELO 250, QUIT 221).

use keepone_config::model::Target;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use super::{Fault, LINE, socket};

/// Lines of one reply.
const LINES: usize = 100;

pub(super) async fn probe(target: &Target, name: &str) -> Result<(), Fault> {
    let mut stream = BufReader::with_capacity(LINE, socket::tcp(target).await?);
    expect(&mut stream, "220", "its greeting").await?;
    for (command, code) in [(format!("HELO {name}\r\n"), "250"), ("QUIT\r\n".to_owned(), "221")] {
        stream.get_mut().write_all(command.as_bytes()).await.map_err(Fault::io("it can't be sent"))?;
        expect(&mut stream, code, command.trim_end()).await?;
    }
    Ok(())
}

/// Reads a reply of one or more lines, which is to have this code.
async fn expect(stream: &mut (impl AsyncBufRead + Unpin), code: &str, to: &str) -> Result<(), Fault> {
    for _ in 0..LINES {
        let mut line = Vec::new();
        let most = u64::try_from(LINE).unwrap_or(u64::MAX);
        (&mut *stream).take(most).read_until(b'\n', &mut line).await.map_err(Fault::io("no reply"))?;
        if line.last() != Some(&b'\n') {
            let what = if line.len() >= LINE { "a line without an end" } else { "it hung up" };
            return Err(Fault::Wrong(format!("{what}, where {code} is wanted as the reply to {to}")));
        }
        if !line.starts_with(code.as_bytes()) {
            let said = String::from_utf8_lossy(&line);
            let said = said.trim_end().escape_debug();
            return Err(Fault::Wrong(format!("`{said}`, where {code} is wanted as the reply to {to}")));
        }
        // A hyphen behind the code: more lines come (RFC 5321, 4.2.1).
        if line.get(3) != Some(&b'-') {
            return Ok(());
        }
    }
    Err(Fault::Wrong(format!("more than {LINES} lines as the reply to {to}")))
}
