//! docs/alert-rules.yml, read and tried by Prometheus's own tool.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::process::Command;

fn promtool(arguments: &[&str], file: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let ran = Command::new("promtool").args(arguments).arg(file).output();
    let output = ran.unwrap_or_else(|error| panic!("promtool: {error}: tests/run takes it from Debian's prometheus"));
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8(said).unwrap()).concat();
    assert!(output.status.success(), "{said}");
    said
}

#[test]
fn each_rule_fires_for_its_trouble_and_none_of_a_pair_that_is_well() {
    let said = promtool(&["check", "rules"], "../docs/alert-rules.yml");
    assert!(said.contains("SUCCESS: 11 rules found"), "a rule without a trial in tests/rules: {said}");
    promtool(&["test", "rules"], "tests/rules/alert-rules.test.yml");
}
