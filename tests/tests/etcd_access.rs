//! How etcd lets agents in: TLS with a certificate on either side, a user with a password, a role that may touch one
//! prefix. What is wrong is told once, with a remedy; what is right holds, and goes on when its token expires. Needs root.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;
use std::thread;
use std::time::Duration;

use keepone_chaos::fault::{Network, Part};
use keepone_chaos::netns::clock;
use keepone_chaos::netns::topology::{Kind, VIP};
use keepone_tests::certificates::{Authority, Pair, Valid, token_keys};
use keepone_tests::cluster::Cluster;
use keepone_tests::etcd;
use keepone_tests::lan::Lan;
use keepone_tests::observe::Watch;
use keepone_tests::program::Program;
use nix::sys::signal::Signal;

/// The machine of the etcd that is as it should be.
const RIGHT: usize = 0;
/// Of one whose certificate names another address.
const ELSEWHERE: usize = 1;
/// Of one whose certificate was valid until yesterday.
const EXPIRED: usize = 2;
/// L_a.
const LEASE: Duration = Duration::from_secs(2);
/// How long a login is good for, however much it is used.
const TOKEN: Duration = Duration::from_secs(3);
/// Wide: a machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(40);
const PASSWORD: &str = "correct horse";

struct World {
    authority: Authority,
    stranger: Authority,
    cluster: Cluster,
    servers: Vec<Program>,
    lan: Lan,
}

fn address(lan: &Lan, number: usize) -> IpAddr {
    lan.host(Kind::Witness(number)).port(Network::Witness).unwrap().address.into()
}

/// What an agent is told of how to come in.
struct Access<'a> {
    server: usize,
    ca: &'a Path,
    identity: Option<&'a Pair>,
    password: Option<&'a str>,
    prefix: &'a str,
    /// Whether grants hang on leases of etcd's.
    sessions: bool,
}

impl World {
    fn new() -> Self {
        let lan = Lan::with_witnesses(2, 3).unwrap();
        let room = lan.room().to_owned();
        let [authority, stranger] = ["ca", "stranger"].map(|name| Authority::new(&room, name).unwrap());
        let tokens = token_keys(&room).unwrap();
        let servers = [
            (RIGHT, address(&lan, RIGHT), Valid::Now),
            (ELSEWHERE, "192.0.2.200".parse().unwrap(), Valid::Now),
            (EXPIRED, address(&lan, EXPIRED), Valid::Expired),
        ];
        let servers = servers.map(|(number, named, valid)| {
            let pair = authority.sign(&format!("server{number}"), Some(named), valid).unwrap();
            let more = [
                "--client-cert-auth".to_owned(),
                format!("--trusted-ca-file={}", authority.certificate.display()),
                format!(
                    "--auth-token=jwt,pub-key={},priv-key={},sign-method=RS256,ttl={}s",
                    tokens.certificate.display(),
                    tokens.key.display(),
                    TOKEN.as_secs()
                ),
            ];
            etcd::start_with_tls(&lan, number, &pair, &more).unwrap()
        });
        let cluster = Cluster::new(&lan).unwrap();
        let world = World { authority, stranger, cluster, servers: servers.into(), lan };
        world.enable_users();
        world
    }

    /// A user whose role may touch nothing but keepone's own prefix.
    fn enable_users(&self) {
        // Without a password a certificate's name is a user's: this one's is the administrator's.
        let root = self.authority.sign("root", None, Valid::Now).unwrap();
        let endpoint = etcd::tls_endpoint(&self.lan, RIGHT);
        let control = |arguments: &[&str]| {
            let own = [
                "--endpoints",
                &endpoint,
                "--cacert",
                self.authority.certificate.to_str().unwrap(),
                "--cert",
                root.certificate.to_str().unwrap(),
                "--key",
                root.key.to_str().unwrap(),
            ];
            etcd::control(&self.lan, RIGHT, &[&own[..], arguments].concat())
        };
        let begin = clock::now();
        while let Err(error) = control(&["endpoint", "health"]) {
            assert!(Duration::from_nanos(clock::now() - begin) < SOON, "etcd is not up: {error}");
            thread::sleep(Duration::from_millis(100));
        }
        let (user, other) = (format!("keepone:{PASSWORD}"), "root:unused".to_owned());
        for arguments in [
            &["user", "add", &other][..],
            &["user", "grant-role", "root", "root"],
            &["role", "add", "keepone"],
            &["role", "grant-permission", "keepone", "--prefix=true", "readwrite", "/keepone/"],
            &["user", "add", &user],
            &["user", "grant-role", "keepone", "keepone"],
            &["auth", "enable"],
        ] {
            control(arguments).unwrap();
        }
    }

    #[track_caller]
    fn must(&self, good: bool, agent: &Program, what: &str) {
        if !good {
            let [right, ..] = self.servers.as_slice() else { panic!("{what}") };
            panic!("{what}\n{}\n--\n{}", agent.said(), right.said());
        }
    }

    /// Starts the agent of a node with that access; its log begins anew.
    fn start(&self, node: usize, access: &Access<'_>) -> Program {
        let mut arbiter = format!(
            "type = \"etcd\"\nendpoints = [\"{}\"]\nlease = \"{}ms\"\nca_file = \"{}\"\nprefix = \"{}\"\n",
            etcd::tls_endpoint(&self.lan, access.server),
            LEASE.as_millis(),
            access.ca.display(),
            access.prefix
        );
        if let Some(Pair { certificate, key }) = access.identity {
            let (certificate, key) = (certificate.display(), key.display());
            write!(arbiter, "cert_file = \"{certificate}\"\ncert_key_file = \"{key}\"\n").unwrap();
        }
        if let Some(password) = access.password {
            let file = self.lan.write(&format!("n{}-password", node + 1), &format!("{password}\n")).unwrap();
            write!(arbiter, "user = \"keepone\"\npassword_file = \"{}\"\n", file.display()).unwrap();
        }
        if access.sessions {
            arbiter += "etcd_lease = true\n";
        }
        let text = self.cluster.of_node(&self.lan, node).replacen("type = \"none\"", &arbiter, 1);
        let file = self.lan.write(&format!("n{}.toml", node + 1), &text).unwrap();
        let program = keepone_tests::binary::find("keepone");
        let _ = std::fs::remove_file(self.lan.room().join(format!("n{}.log", node + 1)));
        self.lan.start(node, &[program.to_str().unwrap(), "run", "-c", file.to_str().unwrap()]).unwrap()
    }
}

#[test]
fn what_keeps_an_agent_out_of_etcd_is_told_once_with_a_remedy() {
    let world = World::new();
    let own = world.authority.sign("n1", None, Valid::Now).unwrap();
    let foreign = world.stranger.sign("n1-foreign", None, Valid::Now).unwrap();
    let old = world.authority.sign("n1-old", None, Valid::Expired).unwrap();
    let right = || Access {
        server: RIGHT,
        ca: &world.authority.certificate,
        identity: Some(&own),
        password: Some(PASSWORD),
        prefix: "/keepone",
        sessions: false,
    };
    let cases = [
        ("wrong CA", Access { ca: &world.stranger.certificate, ..right() }, "name in ca_file who has"),
        ("wrong name", Access { server: ELSEWHERE, ..right() }, "write the endpoint as the certificate names it"),
        ("expired", Access { server: EXPIRED, ..right() }, "its certificate has expired: renew it"),
        ("no certificate", Access { identity: None, ..right() }, "is cert_file signed by its --trusted-ca-file"),
        ("foreign certificate", Access { identity: Some(&foreign), ..right() }, "is cert_file signed by"),
        ("expired certificate", Access { identity: Some(&old), ..right() }, "and still valid?"),
        ("wrong password", Access { password: Some("wrong"), ..right() }, "look at user and password_file"),
        ("denied prefix", Access { prefix: "/elsewhere", ..right() }, "--prefix=true readwrite /elsewhere/"),
    ];
    // Two at a time, one on each node: neither can hold.
    for pair in cases.chunks(2) {
        let mut agents: Vec<Program> =
            pair.iter().zip(0..).map(|((_, access, _), node)| world.start(node, access)).collect();
        let told: Vec<bool> =
            pair.iter().zip(&mut agents).map(|((_, _, words), agent)| agent.says(words, SOON)).collect();
        thread::sleep(LEASE / 5 * 4);
        for (((what, _, words), agent), told) in pair.iter().zip(&mut agents).zip(told) {
            let said = agent.said();
            agent.kill();
            world.must(told, agent, &format!("{what}: not told: {words}"));
            // A machine that is busy with other tests may be too slow for an answer, too.
            let lines = said.lines().filter(|line| line.contains("etcd, https") && !line.contains("no answer within"));
            let lines: Vec<&str> = lines.collect();
            world.must(lines.len() == 1, agent, &format!("{what}: told {} times", lines.len()));
            world.must(!said.contains("-> MASTER"), agent, &format!("{what}: it holds nevertheless"));
        }
    }
    // A wrong password costs etcd a slow hash each time: it was tried for 2 s or so, and is not with every question.
    let said = world.servers.first().map_or(String::new(), Program::said);
    let tried = said.matches("invalid password").count();
    println!("the wrong password was tried {tried} times");
    assert!((1..=3).contains(&tried), "the wrong password was tried {tried} times\n{said}");
}

// One after the other: a login is a slow hash on etcd's side, and two pairs beside each other keep each other waiting.
#[test]
fn who_is_let_in_holds_on_when_its_login_expires_and_hands_over() {
    for sessions in [false, true] {
        holds_on_and_hands_over(sessions);
    }
}

fn holds_on_and_hands_over(sessions: bool) {
    let world = World::new();
    let pairs = ["n1", "n2"].map(|name| world.authority.sign(name, None, Valid::Now).unwrap());
    let start = |node: usize, own: &Pair| {
        let (server, ca) = (RIGHT, world.authority.certificate.as_path());
        let (identity, password) = (Some(own), Some(PASSWORD));
        world.start(node, &Access { server, ca, identity, password, prefix: "/keepone/", sessions })
    };
    let [first, second] = &pairs;
    let agents = [start(0, first), start(1, second)];
    let watch = Watch::start(&world.lan, VIP.into()).unwrap();
    let [one, other] = &agents;
    world.must(watch.answered_by(0, SOON).is_some(), one, "the better node does not become MASTER");
    thread::sleep(Duration::from_secs(1));

    let begun = clock::now();
    thread::sleep(TOKEN * 3);
    let answers = watch.answers_of(0, begun, clock::now());
    let gaps = answers.iter().zip(answers.iter().skip(1)).map(|(one, next)| next - one);
    let longest = Duration::from_nanos(gaps.max().unwrap_or(u64::MAX));
    world.must(longest < LEASE / 2, one, &format!("silent for {longest:?} while its login expired"));
    world.must(watch.answers_of(1, begun, clock::now()).is_empty(), one, "the other holds");
    let is_untroubled = |agent: &Program| {
        world.must(!agent.said().contains("alert lease-lost"), agent, "a lease was lost with a login");
        // A machine that is busy may keep etcd's slow hash waiting once; a login that is too slow would be at each expiry.
        let said = agent.said();
        let (slow, refused): (Vec<_>, Vec<_>) = said
            .lines()
            .filter(|line| line.contains("etcd, https"))
            .partition(|line| line.contains("no answer within"));
        world.must(refused.is_empty() && slow.len() <= 1, agent, "a login that expired is told as trouble");
    };
    agents.iter().for_each(is_untroubled);

    one.signal(Part::Guardian, Signal::SIGTERM);
    let stopped = clock::now();
    let taken = watch.answered_by(1, SOON).map_or(SOON, |at| Duration::from_nanos(at.saturating_sub(stopped)));
    println!("after the order to stop: the other answers {taken:?} later");
    world.must(taken < LEASE, other, &format!("{taken:?} is no handover"));
    // Its first questions, of all kinds at once, came long after its login.
    is_untroubled(other);
}
