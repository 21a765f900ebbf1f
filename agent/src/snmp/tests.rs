use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use keepone_config::{Config, Environment};

use super::Snmp;
use super::pdu::{Header, Writer, kind};
use crate::checkers::desk::Desk;
use crate::control;
use crate::ipvs::connections;

/// How late the master reads what comes last.
const DELAY: Duration = Duration::from_millis(200);

fn config(socket: &Path) -> Arc<Config> {
    with(&format!("enable_snmp_vrrp\n enable_traps\n snmp_socket unix:{}", socket.display()))
}

fn with(snmp: &str) -> Arc<Config> {
    let text = format!(
        "global_defs {{\n {snmp}\n}}\nvrrp_instance V1 {{\n interface lo\n \
         virtual_router_id 51\n virtual_ipaddress {{\n 192.0.2.1/24\n }}\n}}\n"
    );
    keepone_config::load_text(Path::new("t.conf"), &text, &Environment::default()).unwrap().0.into()
}

/// The kind of the next PDU, and its number.
fn heard(line: &mut UnixStream) -> (u8, u32) {
    let mut head = [0; 20];
    line.read_exact(&mut head).unwrap();
    let number = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().unwrap());
    let mut rest = vec![0; number(16) as usize];
    line.read_exact(&mut rest).unwrap();
    (head[1], number(12))
}

fn answer(line: &mut UnixStream, packet: u32) {
    let header = Header { kind: kind::RESPONSE, session: 7, transaction: 0, packet };
    line.write_all(&Writer::new(header).response(0, 0, &[]).finish()).unwrap();
}

/// The master takes us in.
fn opened(listener: &UnixListener) -> UnixStream {
    let (mut line, _) = listener.accept().unwrap();
    // More than any machine needs; a test that waits for good says nothing.
    line.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    for wanted in [kind::OPEN, kind::REGISTER] {
        let (kind, packet) = heard(&mut line);
        assert_eq!(kind, wanted);
        answer(&mut line, packet);
    }
    line
}

#[test]
fn changes_of_a_time_without_snmp_are_not_told_later_and_no_later_one_is_lost() {
    let room = tempfile::tempdir().unwrap();
    let socket = room.path().join("master");
    let listener = UnixListener::bind(&socket).unwrap();
    let (_server, answers, _questions) =
        control::start(room.path(), None, None, (Desk::default(), connections::Desk::default()));
    let (off, on) = (with(""), config(&socket));
    let snmp = Snmp::start(answers, "a", &off).unwrap();
    let changes = snmp.changes();
    // More than the queue takes.
    for _ in 0..2 * super::QUEUE {
        changes.tell(false, "V1", "BACKUP");
    }
    snmp.set(&on);
    changes.tell(false, "V1", "MASTER");
    let mut line = opened(&listener);
    assert_eq!(heard(&mut line).0, kind::NOTIFY, "the change after the configuration");
    snmp.set(&off);
    changes.tell(false, "V1", "FAULT");
    assert_eq!(heard(&mut line).0, kind::CLOSE, "nothing else was told");
    drop(line);
    snmp.set(&on);
    changes.tell(false, "V1", "MASTER");
    let mut line = opened(&listener);
    assert_eq!(heard(&mut line).0, kind::NOTIFY);
    let (_, thread) = snmp.finish();
    let (kind, packet) = heard(&mut line);
    assert_eq!(kind, kind::CLOSE, "one change, and no other");
    answer(&mut line, packet);
    thread.join().unwrap();
}

#[test]
fn what_is_told_last_reaches_the_master_before_the_thread_ends() {
    let room = tempfile::tempdir().unwrap();
    let socket = room.path().join("master");
    let listener = UnixListener::bind(&socket).unwrap();
    let (_server, answers, _questions) =
        control::start(room.path(), None, None, (Desk::default(), connections::Desk::default()));
    let snmp = Snmp::start(answers, "a", &config(&socket)).unwrap();
    let mut line = opened(&listener);
    // Another way in lives on: whoever tells of changes is the last to go.
    let changes = snmp.changes();
    changes.tell(false, "V1", "STOP");
    let (_, thread) = snmp.finish();
    std::thread::sleep(DELAY);
    assert!(!thread.is_finished(), "it does not wait for a master that is slow");
    assert_eq!(heard(&mut line).0, kind::NOTIFY);
    let (kind, packet) = heard(&mut line);
    assert_eq!(kind, kind::CLOSE);
    answer(&mut line, packet);
    thread.join().unwrap();
}
