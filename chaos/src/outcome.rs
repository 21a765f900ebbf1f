//! What a run says in the end: one line of JSON, the same for both worlds.

use serde::Serialize;

use crate::netns::observe::load::Load;

/// The result of one run. Times are milliseconds.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Outcome {
    /// Its name.
    pub scenario: String,
    /// `netns` or `sim`.
    pub world: &'static str,
    /// What was driven: `keepone`, or `keepalived` for comparison.
    pub peer: &'static str,
    /// The cluster: nodes, witnesses, who votes, lease.
    pub shape: String,
    /// The seed that was asked for; the netns world takes its chances from the machine.
    pub seed: u64,
    /// Two holders at one instant, by the worst of the views below.
    pub dual_holder_ms: f64,
    /// Frames that name the VIP came from two nodes at a time.
    pub dual_holder_wire_ms: f64,
    /// Two gates were open (for a peer without gates: two nodes had the address).
    pub dual_holder_gate_ms: f64,
    /// Clients were answered by two nodes at a time.
    pub dual_holder_client_ms: f64,
    /// Two nodes had the VIP among their addresses: harmless behind a shut gate, and said all the same.
    pub dual_address_ms: f64,
    /// From the first repair to the last instant with two holders: what P2 bounds where there is no authority.
    pub overlap_after_repair_ms: f64,
    /// Frames that named the VIP and came out of a node whose gate had been shut for longer than E_tx.
    pub behind_shut_gate: usize,
    /// Nobody spoke for the VIP.
    pub no_holder_ms: f64,
    /// The longest silence that the first client saw.
    pub client_outage_ms: f64,
    /// The longest time that the machine itself kept the first client from probing: what an outage may owe to it.
    pub probe_stall_ms: f64,
    /// The longest time that the machine kept a thread of the agents' priority from running.
    pub machine_stall_ms: f64,
    /// From each heal, resume and restart to where each client is served for good again.
    pub return_ms: Vec<f64>,
    /// How the TCP connections of a busy service went, where a scenario has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
    /// Who held the VIP in the end; `none`, or several names when there are several.
    pub final_holder: String,
    /// `node: from → to (reason)`, for each loss of the mastership, by the agents' own word.
    pub demotions: Vec<String>,
    /// `node: name`, for each alert raised.
    pub alerts: Vec<String>,
    /// Each breach of what the scenario demands; empty is success.
    pub violations: Vec<String>,
}
