//! The witness's configuration: TOML, read at start and on SIGHUP.
//!
//! What must stay true: the digest made here is the one that the agents make from the same numbers
//! (V9), or the witness refuses them all and says why.
//!
//! ```toml
//! name = "w"                    # of this witness among the members
//! id = 3
//! key_file = "w.key"            # PKCS#8 PEM, Ed25519, as `keepone keys` makes it
//! listen = "10.9.0.3:7947"
//! state_dir = "/var/lib/keepone-witness"
//! max_rate = 2000               # datagrams a second that a node may send
//! metrics = "127.0.0.1:9947"    # OpenMetrics over HTTP; default: none
//!
//! [web]                         # the page and the API; default: none
//! listen = "127.0.0.1:8443"     # elsewhere only with cert_file, cert_key_file and token_file
//!
//! [[cluster]]
//! name = "demo"
//! voters = ["n1", "n2", "w"]    # default: all members and this witness
//! domains = ["web"]             # names for reports; others are shown by their numbers
//! lease = "500ms"               # also: profile, lease_max, rate_error, transmit, gate, hidden_freeze, round_trip
//!
//! [[cluster.member]]
//! name = "n1"
//! id = 1
//! public_key = "..."            # or several, while a key is replaced
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use keepone_proto::id::{ClusterId, ConfigDigest, DomainId, NodeId, hash_name};
use keepone_proto::lease::config_digest;
use keepone_proto::lease::timing::{LeaseTiming, Profile};
use keepone_proto::settings::{Move, QuorumSettings};
use serde::Deserialize;
use toml::Spanned;

use crate::quic::PublicKey;
use crate::web;
use crate::witness::rates::DEFAULT_RATE;
use crate::witness::state::is_file_name;

/// Below this an agent of a few domains could not renew them.
const LEAST_RATE: u32 = 50;

/// A witness as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessConfig {
    /// Its name among the members.
    pub name: String,
    /// Its id.
    pub id: NodeId,
    /// Its key.
    pub key_file: PathBuf,
    /// Where it is reached.
    pub listen: SocketAddr,
    /// Where its records are, and its control socket.
    pub state_dir: PathBuf,
    /// Datagrams a second that a member may send.
    pub max_rate: u32,
    /// Where metrics are served: a loopback address.
    pub metrics: Option<SocketAddr>,
    /// Where the web page is served.
    pub web: Option<web::Settings>,
    /// The clusters that it votes in, at least one.
    pub clusters: Vec<ClusterConfig>,
}

/// One cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterConfig {
    /// Its name.
    pub name: String,
    /// Hash of the name.
    pub id: ClusterId,
    /// All members but this witness.
    pub members: Vec<Member>,
    /// The keys that the configuration gives this witness; none: it gives none.
    pub own_keys: Vec<PublicKey>,
    /// Names of domains, for reports.
    pub domains: BTreeMap<DomainId, String>,
    /// Voters and lease.
    pub quorum: QuorumSettings,
    /// What all voters must agree on (V9).
    pub digest: ConfigDigest,
}

impl ClusterConfig {
    /// Who may hold: every member that is no witness.
    pub fn candidates(&self) -> BTreeSet<NodeId> {
        self.members.iter().filter(|member| !member.witness).map(|member| member.id).collect()
    }
}

/// A member of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: NodeId,
    /// Its key; several while one is replaced by another.
    pub keys: Vec<PublicKey>,
    /// Whether it only votes.
    pub witness: bool,
}

/// One thing wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// The file.
    pub file: PathBuf,
    /// Line and column, from 1; 0 where the file as a whole is meant.
    pub at: (usize, usize),
    /// What was found, what was wanted, what to do.
    pub message: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            (0, _) => write!(f, "{}: {}", self.file.display(), self.message),
            (line, column) => write!(f, "{}:{line}:{column}: {}", self.file.display(), self.message),
        }
    }
}

/// Everything that is wrong with a configuration, one a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ConfigError(pub Vec<Complaint>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: Spanned<String>,
    id: Spanned<u16>,
    key_file: PathBuf,
    listen: Spanned<String>,
    state_dir: PathBuf,
    max_rate: Option<Spanned<u32>>,
    metrics: Option<Spanned<String>>,
    web: Option<Spanned<RawWeb>>,
    #[serde(default)]
    cluster: Vec<RawCluster>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWeb {
    listen: Spanned<String>,
    cert_file: Option<PathBuf>,
    cert_key_file: Option<PathBuf>,
    token_file: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCluster {
    name: Spanned<String>,
    #[serde(default)]
    domains: Vec<Spanned<String>>,
    voters: Option<Vec<Spanned<String>>>,
    generation: Option<Spanned<u32>>,
    former_voters: Option<Vec<Spanned<String>>>,
    joint_voters: Option<Vec<Spanned<String>>>,
    former_joint_voters: Option<Vec<Spanned<String>>>,
    profile: Option<Spanned<String>>,
    lease: Option<Spanned<RawDuration>>,
    lease_max: Option<Spanned<RawDuration>>,
    rate_error: Option<Spanned<f64>>,
    transmit: Option<Spanned<RawDuration>>,
    gate: Option<Spanned<RawDuration>>,
    hidden_freeze: Option<Spanned<RawDuration>>,
    round_trip: Option<Spanned<RawDuration>>,
    #[serde(default)]
    member: Vec<RawMember>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMember {
    name: Spanned<String>,
    id: Spanned<u16>,
    public_key: Spanned<RawKeys>,
    witness: Option<RawWitness>,
}

/// One key, or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum RawKeys {
    One(String),
    Several(Vec<String>),
}

impl RawKeys {
    fn texts(&self) -> &[String] {
        match self {
            RawKeys::One(text) => std::slice::from_ref(text),
            RawKeys::Several(texts) => texts,
        }
    }
}

/// `true`, or the address as in the agents' configuration, so that the same table can be used.
#[derive(Deserialize)]
#[serde(untagged)]
enum RawWitness {
    Flag(bool),
    Address(#[allow(dead_code, reason = "the agents' business; only that it is there counts")] String),
}

/// `"500ms"`, `"1s"`, `"1m"`, or a number of seconds.
#[derive(Deserialize)]
#[serde(untagged)]
enum RawDuration {
    Seconds(f64),
    Text(String),
}

impl RawDuration {
    fn get(&self) -> Option<Duration> {
        match self {
            RawDuration::Seconds(seconds) => Duration::try_from_secs_f64(*seconds).ok(),
            RawDuration::Text(text) => {
                let text = text.trim();
                let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
                let (number, unit) = text.split_at_checked(end)?;
                // In whole nanoseconds where that is possible: the digest compares to the nanosecond.
                let scale = match unit.trim() {
                    "us" => 1_000,
                    "ms" => 1_000_000,
                    "s" | "" => 1_000_000_000,
                    "m" | "min" => 60_000_000_000_u64,
                    _ => return None,
                };
                match number.parse::<u64>() {
                    Ok(whole) => whole.checked_mul(scale).map(Duration::from_nanos),
                    Err(_) => {
                        let seconds = number.parse::<f64>().ok()? * Duration::from_nanos(scale).as_secs_f64();
                        Duration::try_from_secs_f64(seconds).ok()
                    }
                }
            }
        }
    }
}

/// Reads and checks a file. All that is wrong is reported at once; what does not parse alone.
pub fn load(path: &Path) -> Result<WitnessConfig, ConfigError> {
    let whole = |message| ConfigError(vec![Complaint { file: path.into(), at: (0, 0), message }]);
    let text = std::fs::read_to_string(path).map_err(|e| whole(format!("can't read the configuration: {e}")))?;
    parse(path, &text)
}

/// Like [`load`], from text; relative paths are relative to the file's directory.
pub fn parse(path: &Path, text: &str) -> Result<WitnessConfig, ConfigError> {
    let mut check = Check { file: path, text, complaints: Vec::new() };
    let raw = match toml::from_str::<Raw>(text) {
        Ok(raw) => raw,
        Err(error) => {
            check.complain(error.span().unwrap_or(0..0), error.message().to_owned());
            return Err(ConfigError(check.complaints));
        }
    };
    let config = check.config(&raw);
    match config {
        Some(config) if check.complaints.is_empty() => Ok(config),
        _ => Err(ConfigError(check.complaints)),
    }
}

struct Check<'a> {
    file: &'a Path,
    text: &'a str,
    complaints: Vec<Complaint>,
}

impl Check<'_> {
    fn complain(&mut self, span: Range<usize>, message: String) {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or(before).chars().count() + 1;
        self.complaints.push(Complaint { file: self.file.into(), at: (line, column), message });
    }

    fn path(&self, path: &Path) -> PathBuf {
        self.file.parent().unwrap_or(Path::new("")).join(path)
    }

    fn config(&mut self, raw: &Raw) -> Option<WitnessConfig> {
        let name = self.name(&raw.name);
        let id = self.node_id(&raw.id);
        let listen = raw.listen.as_ref().parse::<SocketAddr>().ok();
        if listen.is_none() {
            let found = raw.listen.as_ref();
            self.complain(raw.listen.span(), format!("listen = {found:?}: write IP:PORT, such as \"10.9.0.3:7947\""));
        }
        if raw.cluster.is_empty() {
            self.complain(0..0, "no [[cluster]]: a witness votes in at least one".into());
        }
        let max_rate = raw.max_rate.as_ref().map_or(DEFAULT_RATE, |rate| *rate.as_ref());
        if let Some(rate) = raw.max_rate.as_ref().filter(|rate| *rate.as_ref() < LEAST_RATE) {
            self.complain(rate.span(), format!("max_rate = {max_rate}: at least {LEAST_RATE}, or no lease is renewed"));
        }
        let metrics = raw.metrics.as_ref().and_then(|address| self.loopback(address));
        let web = raw.web.as_ref().and_then(|raw| self.web(raw));
        let (name, id) = (name?, id?);
        let mut clusters: Vec<ClusterConfig> = Vec::new();
        for raw in &raw.cluster {
            let Some(cluster) = self.cluster(raw, &name, id) else { continue };
            if clusters.iter().any(|other| other.id == cluster.id) {
                self.complain(raw.name.span(), format!("cluster {:?} is there twice: merge the two", cluster.name));
            }
            clusters.push(cluster);
        }
        let (key_file, state_dir) = (self.path(&raw.key_file), self.path(&raw.state_dir));
        Some(WitnessConfig { name, id, key_file, listen: listen?, state_dir, max_rate, metrics, web, clusters })
    }

    /// Whoever reads metrics learns who holds what; so they are for this host alone.
    fn loopback(&mut self, raw: &Spanned<String>) -> Option<SocketAddr> {
        let address = raw.as_ref().parse::<SocketAddr>().ok().filter(|address| address.ip().is_loopback());
        if address.is_none() {
            let message = format!(
                "metrics = {:?}: write a loopback address with a port, such as \"127.0.0.1:9947\", and have a proxy with access control serve others",
                raw.as_ref()
            );
            self.complain(raw.span(), message);
        }
        address
    }

    fn web(&mut self, raw: &Spanned<RawWeb>) -> Option<web::Settings> {
        let (span, raw) = (raw.span(), raw.as_ref());
        if raw.cert_file.is_some() != raw.cert_key_file.is_some() {
            let message = "one of cert_file and cert_key_file without the other: write both, or neither";
            self.complain(span, message.into());
        }
        let Ok(listen) = raw.listen.as_ref().parse() else {
            let message = format!("listen = {:?}: write IP:PORT, such as \"127.0.0.1:8443\"", raw.listen.as_ref());
            self.complain(raw.listen.span(), message);
            return None;
        };
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| self.path(path));
        let tls = path(&raw.cert_file).zip(path(&raw.cert_key_file));
        let settings = web::Settings { listen, tls, token_file: path(&raw.token_file) };
        if let Err(error) = settings.check() {
            self.complain(raw.listen.span(), error.to_string());
        }
        Some(settings)
    }

    fn cluster(&mut self, raw: &RawCluster, own_name: &str, own_id: NodeId) -> Option<ClusterConfig> {
        let name = self.name(&raw.name)?;
        let (members, own_keys) = self.members(raw, own_name, own_id);
        let timing = self.timing(raw);
        let mut ids: BTreeMap<&str, NodeId> = members.iter().map(|m| (m.name.as_str(), m.id)).collect();
        ids.insert(own_name, own_id);
        let voters = match &raw.voters {
            None => ids.values().copied().collect(),
            Some(names) => self.voters(names, &ids),
        };
        let generation = raw.generation.as_ref().map_or(1, |generation| *generation.as_ref());
        let former = raw.former_voters.as_ref().map(|names| (names, self.voters(names, &ids)));
        if let Some(generation) = raw.generation.as_ref().filter(|generation| *generation.as_ref() == 0) {
            self.complain(generation.span(), "generation = 0: voter sets are counted from 1".into());
        }
        if let Some((names, former)) = &former {
            let span = names.first().map_or_else(|| raw.name.span(), Spanned::span);
            let differ = former.symmetric_difference(&voters).count();
            if differ != 1 {
                let message = format!(
                    "former_voters and the voters differ by {differ} members, and must by one: change one voter at a time, each time with the next generation"
                );
                self.complain(span, message);
            } else if generation < 2 {
                self.complain(
                    span,
                    "former_voters without a generation of 2 or more: nothing comes before the first".into(),
                );
            }
        }
        let moving = self.moving(raw, &ids, generation);
        if let Some((_, _)) = former.as_ref().filter(|_| moving.is_some()) {
            self.complain(raw.name.span(), "former_voters in the middle of a move: remove it".into());
        }
        let former: Option<Vec<NodeId>> = former.map(|(_, former)| former.into_iter().collect());
        let voters = voters.into_iter().collect();
        let lengths = timing.unwrap_or_else(|| LeaseTiming::for_lease(std::time::Duration::from_secs(1)));
        let quorum = QuorumSettings { voters, timing: lengths, generation: generation.max(1), former, moving };
        if !quorum.votes(own_id) {
            let message = format!("this witness, {own_name:?}, is not among the voters of cluster {name:?}: add it");
            self.complain(raw.name.span(), message);
        }
        if members.iter().all(|member| member.witness) {
            self.complain(
                raw.name.span(),
                format!("cluster {name:?} has no member that may hold: add [[cluster.member]]"),
            );
        }
        timing?;
        let id = ClusterId(hash_name(&name));
        let digest = config_digest(id, &quorum);
        let named = raw.domains.iter().map(|name| (DomainId(hash_name(name.as_ref())), name.as_ref().clone()));
        Some(ClusterConfig { name, id, members, own_keys, domains: named.collect(), quorum, digest })
    }

    /// How far a move from another authority has come, if there is one.
    fn moving(&mut self, raw: &RawCluster, ids: &BTreeMap<&str, NodeId>, generation: u32) -> Option<Move> {
        let (names, least, keyword, make): (_, _, _, fn(Vec<NodeId>) -> Move) =
            match (&raw.joint_voters, &raw.former_joint_voters) {
                (None, None) => return None,
                (Some(joint), None) => (joint, 2, "joint_voters", Move::Joint),
                (None, Some(after)) => (after, 3, "former_joint_voters", Move::After),
                (Some(_), Some(_)) => {
                    let message = "joint_voters and former_joint_voters at once: the first on all, then the second";
                    self.complain(raw.name.span(), message.into());
                    return None;
                }
            };
        let span = names.first().map_or_else(|| raw.name.span(), Spanned::span);
        let from: Vec<NodeId> = self.voters(names, ids).into_iter().collect();
        if from.is_empty() {
            self.complain(span, format!("{keyword} = []: name the old authority, its voters or \"etcd\""));
        } else if generation < least {
            let message = format!(
                "{keyword} with generation {generation}, where {least} is the least: `keepone authority move` counts on"
            );
            self.complain(span, message);
        }
        Some(make(from))
    }

    /// Members, or etcd.
    fn voters(&mut self, names: &[Spanned<String>], ids: &BTreeMap<&str, NodeId>) -> BTreeSet<NodeId> {
        let mut voters = BTreeSet::new();
        let etcd = NodeId::STORE;
        for voter in names {
            let name = voter.as_ref().as_str();
            match ids.get(name).or((name == "etcd").then_some(&etcd)) {
                Some(id) if voters.insert(*id) => {}
                Some(_) => self.complain(voter.span(), format!("voter {:?} is there twice", voter.as_ref())),
                None => {
                    let known: Vec<_> = ids.keys().copied().collect();
                    let message = format!("voter {:?} is no member: one of {known:?} is wanted", voter.as_ref());
                    self.complain(voter.span(), message);
                }
            }
        }
        voters
    }

    fn members(&mut self, raw: &RawCluster, own_name: &str, own_id: NodeId) -> (Vec<Member>, Vec<PublicKey>) {
        let mut members: Vec<Member> = Vec::new();
        let mut own_keys = Vec::new();
        for raw in &raw.member {
            let keys = self.keys(&raw.public_key);
            let (Some(name), Some(id), Some(keys)) = (self.name(&raw.name), self.node_id(&raw.id), keys) else {
                continue;
            };
            if name == own_name || id == own_id {
                if name != own_name || id != own_id {
                    let message = format!(
                        "member {name:?} with id {id} and this witness ({own_name:?}, id {own_id}) share one of the two: make both differ, or both agree"
                    );
                    self.complain(raw.id.span(), message);
                }
                own_keys = keys;
                continue;
            }
            let twin =
                members.iter().find(|m| m.name == name || m.id == id || m.keys.iter().any(|key| keys.contains(key)));
            if let Some(twin) = twin {
                let message =
                    format!("member {name:?} has a name, id or key that member {:?} has: each is its own", twin.name);
                self.complain(raw.name.span(), message);
                continue;
            }
            let witness = match raw.witness {
                None => false,
                Some(RawWitness::Flag(flag)) => flag,
                Some(RawWitness::Address(_)) => true,
            };
            members.push(Member { name, id, keys, witness });
        }
        (members, own_keys)
    }

    /// At least one, each once; `None`: complained of.
    fn keys(&mut self, raw: &Spanned<RawKeys>) -> Option<Vec<PublicKey>> {
        let keys: Result<Vec<PublicKey>, _> = raw.as_ref().texts().iter().map(|text| text.parse()).collect();
        match keys {
            Ok(keys) if !keys.is_empty() => return Some(keys),
            Ok(_) => self.complain(raw.span(), "public_key = []: a member is known by its key".into()),
            Err(error) => self.complain(raw.span(), error.to_string()),
        }
        None
    }

    fn timing(&mut self, raw: &RawCluster) -> Option<LeaseTiming> {
        let profile = match raw.profile.as_ref().map(|name| (Profile::from_name(name.as_ref()), name)) {
            None => Profile::default(),
            Some((Some(profile), _)) => profile,
            Some((None, name)) => {
                self.complain(name.span(), format!("profile = {:?}: \"metal\" or \"vm\" is wanted", name.as_ref()));
                return None;
            }
        };
        let lease = self.duration(raw.lease.as_ref(), profile.default_lease());
        let defaults = LeaseTiming::for_profile(profile, lease);
        let rate_error_ppm = match raw.rate_error.as_ref().map(|rate| (*rate.as_ref(), rate.span())) {
            None => defaults.rate_error_ppm,
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 200 000")]
            Some((rate, _)) if (0.0..=0.2).contains(&rate) => (rate * 1e6).round() as u32,
            Some((rate, span)) => {
                self.complain(
                    span,
                    format!("rate_error = {rate}: a fraction from 0 to 0.2 is wanted, 0.01 by default"),
                );
                return None;
            }
        };
        let timing = LeaseTiming {
            own_gate: std::time::Duration::ZERO,
            lease,
            lease_max: self.duration(raw.lease_max.as_ref(), defaults.lease_max),
            rate_error_ppm,
            transmit: self.duration(raw.transmit.as_ref(), defaults.transmit),
            gate: self.duration(raw.gate.as_ref(), defaults.gate),
            hidden_freeze: self.duration(raw.hidden_freeze.as_ref(), defaults.hidden_freeze),
            // Only a holder has a gate.
            gate_horizon: defaults.gate_horizon,
            round_trip: self.duration(raw.round_trip.as_ref(), defaults.round_trip),
        };
        if let Err(error) = timing.check() {
            let span = raw.lease.as_ref().map_or_else(|| raw.name.span(), Spanned::span);
            self.complain(span, error.to_string());
        }
        Some(timing)
    }

    fn duration(&mut self, raw: Option<&Spanned<RawDuration>>, default: Duration) -> Duration {
        let Some(raw) = raw else { return default };
        raw.as_ref().get().unwrap_or_else(|| {
            self.complain(raw.span(), "no duration: write \"500ms\", \"1s\", \"1m\" or a number of seconds".into());
            default
        })
    }

    fn name(&mut self, raw: &Spanned<String>) -> Option<String> {
        if is_file_name(raw.as_ref()) {
            return Some(raw.as_ref().clone());
        }
        let message = format!("name {:?}: 1 to 100 letters, digits, '-', '_' and '.' are wanted", raw.as_ref());
        self.complain(raw.span(), message);
        None
    }

    fn node_id(&mut self, raw: &Spanned<u16>) -> Option<NodeId> {
        let id = NodeId::new(*raw.as_ref());
        if id.is_none() {
            self.complain(raw.span(), "id 0: ids are 1 to 65535".into());
        }
        id
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
