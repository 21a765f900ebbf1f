//! Real scripts: their order, their end, and what they are told.

use super::alerts::AlertScript;
use super::run::Rules;
use super::*;
use keepone_config::model::Script;
use keepone_proto::action::{Alert, AlertName};
use keepone_proto::id::{Epoch, Incarnation, NodeId};
use std::borrow::Cow;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn script(room: &Path, body: &str) -> Script {
    let path = room.join("told.sh");
    std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    // By its shell: a child of another test may still have the file open for writing (execve(2), ETXTBSY).
    let command = ["/bin/sh", path.to_str().unwrap(), "first"].map(str::to_owned).to_vec();
    Script { command, user: None, group: None }
}

fn rules(timeout: Duration) -> Rules {
    Rules { user: None, timeout }
}

fn alert(name: AlertName, raised: bool) -> Alert {
    let node = NodeId::new(1).unwrap();
    let epoch = Epoch { counter: 7, incarnation: Incarnation(5), attempt: 2, node };
    let remedy = Cow::Borrowed(if raised { name.remedy() } else { "" });
    Alert { name, domain: None, raised, evidence: "seen".into(), remedy, epoch: Some(epoch) }
}

/// What a file holds once it has so many lines; a busy machine may need the whole ten seconds.
fn lines(path: &PathBuf, count: usize) -> Vec<String> {
    let begin = Instant::now();
    loop {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if text.lines().count() >= count || begin.elapsed() > Duration::from_secs(10) {
            return text.lines().map(str::to_owned).collect();
        }
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn the_alert_script_is_told_everything_in_order() {
    let room = tempfile::tempdir().unwrap();
    let out = room.path().join("out");
    let body = format!(
        "echo \"$*|$KEEPONE_NODE|$KEEPONE_ALERT|$KEEPONE_STATE|$KEEPONE_DOMAIN|$KEEPONE_SEVERITY|$KEEPONE_EVIDENCE|\
         $KEEPONE_REMEDY|$KEEPONE_EPOCH\" >> {}",
        out.display()
    );
    let told = AlertScript::start(script(room.path(), &body), "n1".into(), rules(Duration::from_secs(10))).unwrap();
    told.tell(&alert(AlertName::VrrpSilent, true), Some("VI_1"));
    told.tell(&alert(AlertName::VoterDisk, true), None);
    told.tell(&alert(AlertName::VrrpSilent, false), Some("VI_1"));
    let epoch = "7-1-0000000000000005-2";
    let wanted = [
        format!(
            "first vrrp-silent raised VI_1 warning|n1|vrrp-silent|raised|VI_1|warning|seen|{}|{epoch}",
            AlertName::VrrpSilent.remedy()
        ),
        format!(
            "first voter-disk raised - warning|n1|voter-disk|raised||warning|seen|{}|{epoch}",
            AlertName::VoterDisk.remedy()
        ),
        format!("first vrrp-silent cleared VI_1 warning|n1|vrrp-silent|cleared|VI_1|warning|seen||{epoch}"),
    ];
    assert_eq!(lines(&out, 3), wanted);
}

#[test]
fn a_script_that_hangs_is_killed_with_its_children_and_the_next_one_runs_f66() {
    let room = tempfile::tempdir().unwrap();
    let (out, pid) = (room.path().join("out"), room.path().join("pid"));
    let body = format!(
        "[ $2 = vrrp-silent ] && {{ sleep 1000 & echo $! > {}; wait; }}\necho $2 >> {}",
        pid.display(),
        out.display()
    );
    let told = AlertScript::start(script(room.path(), &body), "n1".into(), rules(Duration::from_millis(500))).unwrap();
    let begin = Instant::now();
    told.tell(&alert(AlertName::VrrpSilent, true), None);
    told.tell(&alert(AlertName::VoterDisk, true), None);
    assert!(begin.elapsed() < Duration::from_millis(400), "who tells does not wait");
    assert_eq!(lines(&out, 1), ["voter-disk"]);
    let child = lines(&pid, 1).remove(0);
    let begin = Instant::now();
    let state = || std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
    // Gone, or a zombie that nobody has reaped yet.
    while !(state().is_empty() || state().contains(") Z ")) {
        assert!(begin.elapsed() < Duration::from_secs(5), "the script's child lives: {}", state());
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_script_that_is_not_there_keeps_no_other_from_being_told() {
    let nowhere = Script { command: vec!["/nowhere/at/all".into()], user: None, group: None };
    let told = AlertScript::start(nowhere, "n1".into(), rules(Duration::from_secs(1))).unwrap();
    let begin = Instant::now();
    for _ in 0..1000 {
        told.tell(&alert(AlertName::VrrpSilent, true), None);
    }
    assert!(begin.elapsed() < Duration::from_secs(1), "a full queue is no wait");
}
