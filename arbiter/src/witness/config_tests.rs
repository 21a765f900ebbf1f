use super::*;

const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

fn key(last: u8) -> String {
    let mut key = [0; 32];
    key[31] = last;
    PublicKey(key).to_string()
}

fn good() -> String {
    format!(
        "name = \"w\"\nid = 3\nkey_file = \"w.key\"\nlisten = \"127.0.0.1:7947\"\nstate_dir = \"/var/lib/w\"\n\
         [[cluster]]\nname = \"demo\"\nvoters = [\"n2\", \"n1\", \"w\"]\nlease = \"500ms\"\n\
         [[cluster.member]]\nname = \"n1\"\nid = 1\npublic_key = \"{}\"\n\
         [[cluster.member]]\nname = \"n2\"\nid = 2\npublic_key = \"{}\"\n",
        key(1),
        key(2)
    )
}

fn read(text: &str) -> Result<WitnessConfig, ConfigError> {
    parse(Path::new("/etc/keepone/witness.toml"), text)
}

fn complaint(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

#[test]
fn the_digest_is_that_of_the_same_numbers_elsewhere() {
    let config = read(&good()).unwrap();
    let cluster = &config.clusters[0];
    let voters = [1, 2, 3].map(|id| NodeId::new(id).unwrap()).to_vec();
    let timing = LeaseTiming::for_lease(Duration::from_millis(500));
    assert_eq!(cluster.digest, config_digest(ClusterId(hash_name("demo")), &QuorumSettings::new(voters, timing)));
    assert_eq!(cluster.candidates().len(), 2);
    assert_eq!(config.key_file, Path::new("/etc/keepone/w.key"));
    assert_eq!(config.state_dir, Path::new("/var/lib/w"));
}

#[test]
fn the_web_page_is_for_this_host_unless_it_has_tls_and_tokens() {
    let web = |lines: &str| good().replace("[[cluster]]", &format!("[web]\n{lines}\n[[cluster]]"));
    let found = read(&web("listen = \"127.0.0.1:8443\"")).unwrap().web.unwrap();
    assert_eq!((found.tls, found.token_file), (None, None));
    let complaint = complaint(&web("listen = \"0.0.0.0:8443\"\ntoken_file = \"t\""));
    assert!(complaint.contains(":7:10: 0.0.0.0:8443 can be reached") && complaint.contains("no TLS"), "{complaint}");
    let all = "listen = \"0.0.0.0:8443\"\ntoken_file = \"t\"\ncert_file = \"c\"\ncert_key_file = \"/k\"";
    let found = read(&web(all)).unwrap().web.unwrap();
    assert_eq!(found.tls, Some((PathBuf::from("/etc/keepone/c"), PathBuf::from("/k"))));
    assert_eq!(found.token_file, Some(PathBuf::from("/etc/keepone/t")));
    assert!(super::parse(Path::new("w"), &web("listen = \"127.0.0.1:1\"\ncert_file = \"c\"")).is_err());
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_column() {
    let text = good().replace("listen =", "lisen = \"x\"\nlisten =");
    let complaint = complaint(&text);
    assert!(complaint.contains("witness.toml:4:1: unknown field `lisen`"), "{complaint}");
}

#[test]
fn all_that_is_wrong_is_said_at_once_each_with_its_place() {
    let text = good()
        .replace("127.0.0.1:7947", "127.0.0.1")
        .replace("\"n2\", \"n1\"", "\"n9\"")
        .replace("500ms", "100ms")
        .replace(&key(2), "short");
    let complaints = complaint(&text);
    let wanted = [
        ":4:10: listen",
        ":8:11: voter \"n9\" is no member",
        ":9:9: lease too short",
        ":17:14: \"short\" is no public key",
    ];
    for wanted in wanted {
        assert!(complaints.contains(wanted), "{wanted} not in:\n{complaints}");
    }
}

#[test]
fn a_lease_that_does_not_fit_is_refused_with_the_numbers() {
    let complaint = complaint(&good().replace("500ms", "100ms"));
    assert!(complaint.contains(":9:9: lease too short") && complaint.contains("20 ms"), "{complaint}");
}

#[test]
fn the_witness_must_be_a_voter_and_members_must_differ() {
    assert!(complaint(&good().replace(", \"w\"]", "]")).contains("is not among the voters"));
    assert!(complaint(&good().replace(&key(2), &key(1))).contains("has a name, id or key"));
    assert!(complaint(&good().replace("id = 2", "id = 3")).contains("share one of the two"));
    assert!(complaint(&good().replace("id = 2", "id = 0")).contains("ids are 1 to 65535"));
}

#[test]
fn its_own_entry_may_be_there_and_gives_the_key_to_expect() {
    let text = format!("{}[[cluster.member]]\nname = \"w\"\nid = 3\npublic_key = \"{KEY}\"\nwitness = true\n", good());
    let config = read(&text).unwrap();
    assert_eq!(config.clusters[0].own_keys, [KEY.parse().unwrap()]);
    assert_eq!(config.clusters[0].members.len(), 2);
}

#[test]
fn durations_are_read_in_every_form() {
    let lease = |text: &str| read(&good().replace("\"500ms\"", text)).unwrap().clusters[0].quorum.timing.lease;
    assert_eq!(lease("\"2s\""), Duration::from_secs(2));
    assert_eq!(lease("\"1.5s\""), Duration::from_millis(1500));
    assert_eq!(lease("2"), Duration::from_secs(2));
    assert_eq!(lease("0.7"), Duration::from_millis(700));
    assert!(read(&good().replace("\"500ms\"", "\"5 parsecs\"")).is_err());
    assert!(read(&good().replace("\"500ms\"", "-1")).is_err());
}
