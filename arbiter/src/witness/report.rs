//! What a running witness tells its operator: the same facts for tables, JSON and metrics.
//!
//! Names and units are part of the control protocol: fields are added, never renamed.

use std::collections::BTreeMap;

use keepone_proto::wire::lease::VERSION;
use serde::{Deserialize, Serialize};

/// How the witness stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Its name among the members.
    pub name: String,
    /// Its id.
    pub id: u16,
    /// Version of the program.
    pub version: String,
    /// Its public key.
    pub key: String,
    /// Where it listens.
    pub listen: String,
    /// Since its start, in milliseconds.
    pub uptime_ms: u64,
    /// Datagrams a second that a member may send.
    pub max_rate: u32,
    /// Handshakes with a key that no list has.
    pub strangers: u64,
    /// By name.
    pub clusters: Vec<ClusterStatus>,
}

/// How one cluster's voter stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// The cluster.
    pub name: String,
    /// Generation of its voter set.
    pub generation: u32,
    /// The oldest generation that is served.
    pub floor: u32,
    /// L_max, in milliseconds.
    pub lease_max_ms: u64,
    /// For so long only recorded holders are served (V7), in milliseconds.
    pub quiet_ms: u64,
    /// Domains on record or asked for.
    pub domains: usize,
    /// Domains that are lent now.
    pub lent: usize,
    /// New epochs granted since the start.
    pub grants: u64,
    /// Renewals granted since the start.
    pub renewals: u64,
    /// Epochs given up or handed over since the start.
    pub ended: u64,
    /// Refusals since the start, by reason.
    pub refusals: BTreeMap<String, u64>,
    /// Its members but this witness.
    pub members: Vec<MemberStatus>,
    /// Writes of the record.
    pub disk: DiskStatus,
}

/// How a member stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: u16,
    /// Whether it may hold, or votes only.
    pub candidate: bool,
    /// Whether a connection of it stands.
    pub connected: bool,
    /// How long ago it last asked, in milliseconds.
    pub asked_ms: Option<u64>,
    /// Its last lease messages were of this version, which is none that this witness reads.
    #[serde(default)]
    pub unread_version: Option<u8>,
    /// Datagrams beyond `max_rate`, which were dropped.
    pub dropped: u64,
}

/// What there is to say of a member's version of lease messages, with the remedy.
pub fn other_release(name: &str, theirs: u8) -> String {
    let older = if theirs > VERSION { "this witness" } else { name };
    format!(
        "{name} sends lease messages of version {theirs}, this witness reads version {VERSION}, so {name} has no vote of it: {older} \
         runs the older release; upgrade it, or take the other back"
    )
}

/// Writes of a record since the start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DiskStatus {
    /// How many.
    pub writes: u64,
    /// How many of them failed.
    pub failed: u64,
    /// How long the last one took, in milliseconds.
    pub last_ms: f64,
    /// How long the longest took, in milliseconds.
    pub longest_ms: f64,
    /// All of them together, in milliseconds.
    pub sum_ms: f64,
}

/// One domain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lease {
    /// The cluster.
    pub cluster: String,
    /// Its number, 16 hexadecimal digits.
    pub domain: String,
    /// Its name, where the configuration gives it.
    pub name: Option<String>,
    /// Who holds it by this vote.
    pub holder: Option<String>,
    /// The epoch of the loan, or else the highest that was seen.
    pub epoch: Option<String>,
    /// Its counter, the fencing token's first part.
    pub counter: u64,
    /// What is left of the loan, in milliseconds.
    pub left_ms: Option<u64>,
    /// Whom the vote was taken from, and for how many milliseconds more.
    pub barred: Option<(String, u64)>,
    /// How long ago anybody asked for it, in milliseconds.
    pub asked_ms: Option<u64>,
}

/// What came of an order to take a vote back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Revoked {
    /// The cluster.
    pub cluster: String,
    /// The domain's number.
    pub domain: String,
    /// Who gets no more votes for it here.
    pub node: String,
    /// For so long, in milliseconds.
    pub barred_ms: u64,
    /// The loan that runs out meanwhile has this left, in milliseconds; 0: nothing was lent.
    pub left_ms: u64,
    /// Whether this vote alone decides, so that the holder will be fenced.
    pub alone: bool,
}

/// A cluster's record, for a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The cluster.
    pub cluster: String,
    /// The record as it is on disk, in base64.
    pub record: String,
    /// CRC-32 of the record.
    pub crc: u32,
}
