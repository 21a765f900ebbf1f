//! `DNS_CHECK`: up while it answers a question without an error (RFC 1035, over UDP).

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use keepone_config::model::Target;

use super::{Fault, socket};

/// The longest datagram.
const LONGEST: usize = 65_535;

pub(super) async fn probe(target: &Target, kind: &str, name: &str) -> Result<(), Fault> {
    let wrong = |what: &dyn std::fmt::Display| Fault::Wrong(format!("{name} {kind} can't be asked for: {what}"));
    let mut asked = Name::from_utf8(name).map_err(|error| wrong(&error))?;
    asked.set_fqdn(true);
    let kind: RecordType = kind.parse().map_err(|error| wrong(&error))?;
    let mut bytes = [0; 2];
    // Without random numbers the same one each time: a stranger's answer is not ours by the socket already.
    let _ = getrandom::fill(&mut bytes);
    let mut question = Message::new(u16::from_be_bytes(bytes), MessageType::Query, OpCode::Query);
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(asked, kind));
    let octets = question.to_vec().map_err(|error| wrong(&error))?;

    let socket = socket::udp(target).await?;
    socket.send(&octets).await.map_err(Fault::io("it can't be sent"))?;
    let mut answer = vec![0; LONGEST];
    loop {
        let length = socket.recv(&mut answer).await.map_err(Fault::io("no answer"))?;
        let answer = Message::from_vec(answer.get(..length).unwrap_or(&[]));
        let answer = answer.map_err(|error| Fault::Wrong(format!("what came back is no answer: {error}")))?;
        // One that is late belongs to a question that nobody waits for any more.
        if answer.metadata.id == question.metadata.id {
            return judge(&question, &answer);
        }
    }
}

fn judge(question: &Message, answer: &Message) -> Result<(), Fault> {
    if answer.metadata.message_type != MessageType::Response || answer.queries != question.queries {
        return Err(Fault::Wrong(String::from("what came back answers another question")));
    }
    match answer.metadata.response_code {
        ResponseCode::NoError => Ok(()),
        code => Err(Fault::Wrong(format!("the name server says: {code}"))),
    }
}
