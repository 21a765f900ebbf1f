//! `UDP_CHECK`: up while what is sent is not refused, or is answered as it should be.
//!
//! Where no answer is wanted, silence is all that can be had of a server that is well: such a try takes its whole time.

use std::io::ErrorKind;

use keepone_config::model::{Target, UdpProbe, UdpReply};

use super::{Fault, socket};

/// The longest datagram.
const LONGEST: usize = 65_535;
/// What is sent if nothing is configured.
const RANDOM: usize = 32;

pub(super) async fn probe(target: &Target, settings: &UdpProbe) -> Result<(), Fault> {
    let answered = async {
        let socket = socket::udp(target).await?;
        let payload = settings.payload.clone().unwrap_or_else(|| {
            let mut bytes = vec![0; RANDOM];
            // Zeros say as much to a server that knows none of it.
            let _ = getrandom::fill(&mut bytes);
            bytes
        });
        socket.send(&payload).await.map_err(Fault::io("it can't be sent"))?;
        let mut reply = vec![0; LONGEST];
        let length = socket.recv(&mut reply).await.map_err(|error| match error.kind() {
            ErrorKind::ConnectionRefused => Fault::Wrong(String::from("the port is refused (ICMP)")),
            _ => Fault::Io { what: "no answer", error },
        })?;
        let Some(wanted) = &settings.reply else { return Ok(()) };
        judge(wanted, reply.get(..length).unwrap_or(&[])).map_err(Fault::Wrong)
    };
    match (tokio::time::timeout(target.timeout, answered).await, &settings.reply) {
        (Ok(tried), _) => tried,
        (Err(_elapsed), None) => Ok(()),
        (Err(_elapsed), Some(_)) => Err(Fault::Late(target.timeout)),
    }
}

fn judge(wanted: &UdpReply, reply: &[u8]) -> Result<(), String> {
    let (least, most) = (usize::from(wanted.length.0), usize::from(wanted.length.1));
    if !(least..=most).contains(&reply.len()) {
        return Err(format!("{} bytes came back, where {least} to {most} are wanted", reply.len()));
    }
    let halves = reply.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    let agrees = |(want, got): (&Option<u8>, Option<u8>)| want.is_none_or(|want| got == Some(want));
    let got = halves.map(Some).chain(std::iter::repeat(None));
    if wanted.pattern.iter().zip(got).all(agrees) {
        return Ok(());
    }
    let shown: String = reply.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    Err(format!("what came back does not begin as require_reply says: {shown}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_its_length_and_begins_as_it_should() {
        // "4X6" says: 4, anything, 6.
        let wanted = UdpReply { pattern: vec![Some(4), None, Some(6)], length: (2, 3) };
        assert_eq!(judge(&wanted, &[0x4f, 0x6a]), Ok(()));
        assert_eq!(judge(&wanted, &[0x40, 0x60, 0]), Ok(()));
        assert!(judge(&wanted, &[0x50, 0x60]).unwrap_err().contains("5060"));
        assert!(judge(&wanted, &[0x40]).unwrap_err().contains("1 bytes came back, where 2 to 3"));
        assert!(judge(&wanted, &[0x40, 0x60, 0, 0]).is_err());
        let short = UdpReply { length: (0, 3), ..wanted };
        assert!(judge(&short, &[0x40]).is_err(), "shorter than the pattern");
    }
}
