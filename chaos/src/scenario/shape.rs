//! The clusters that a scenario is for.

/// What a cluster is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Nodes, 2 to 9.
    pub nodes: u8,
    /// Witnesses, 0 to 5.
    pub witnesses: u8,
    /// Whether the nodes are voters; without, the witnesses alone are.
    pub nodes_vote: bool,
    /// Length of the lease in milliseconds.
    pub lease_ms: u64,
    /// Whether the VIP is an IPv6 address.
    pub ipv6: bool,
    /// Whether the gate is of nf_tables; of its domains only the watched one is read.
    pub nft: bool,
    /// Whether etcd decides: its members stand where the witnesses would.
    pub etcd: bool,
    /// Whether grants hang on leases of etcd's (`etcd_lease`), where etcd decides.
    pub sessions: bool,
}

/// The least lease, in milliseconds, of clusters where etcd decides: while it elects a leader nobody can renew.
const ETCD_LEASE_MS: u64 = 2000;
/// The least lease, in milliseconds, that a start fits into also where it is slow.
const IN_PLACE_MS: u64 = 1000;
/// Members of etcd, at least: one may be missing.
const ETCD_MEMBERS: u8 = 3;

impl Shape {
    /// The recommended pair.
    pub const PAIR: Shape = Shape {
        nodes: 2,
        witnesses: 1,
        nodes_vote: true,
        lease_ms: super::LEASE_MS,
        ipv6: false,
        nft: false,
        etcd: false,
        sessions: false,
    };

    /// The same nodes with etcd as the authority.
    pub fn with_etcd(self) -> Self {
        let lease_ms = self.lease_ms.max(ETCD_LEASE_MS);
        Shape { witnesses: self.witnesses.max(ETCD_MEMBERS), nodes_vote: false, lease_ms, etcd: true, ..self }
    }

    /// How many vote. Two nodes without a witness have no authority: there would be no failover with one.
    pub fn voters(&self) -> u8 {
        let nodes = if self.nodes_vote { self.nodes } else { 0 };
        let voters = nodes + self.witnesses;
        if self.witnesses == 0 && voters < 3 { 0 } else { voters }
    }

    /// Its name in file names.
    pub fn slug(&self) -> String {
        let voters = if self.nodes_vote || self.etcd { "" } else { "v" };
        let family = if self.ipv6 { "-ipv6" } else { "" };
        let gate = if self.nft { "-nft" } else { "" };
        let third = match (self.etcd, self.sessions) {
            (false, _) => "w",
            (true, false) => "e",
            (true, true) => "s",
        };
        format!("{}n{}{third}{voters}-{}ms{family}{gate}", self.nodes, self.witnesses, self.lease_ms)
    }

    /// Its name in tables: nodes, witnesses, voters.
    pub fn name(&self) -> String {
        let voters = if self.nodes_vote || self.etcd { "" } else { ", witnesses vote" };
        let third = match (self.etcd, self.sessions) {
            (false, _) => "witnesses",
            (true, false) => "members of etcd",
            (true, true) => "members of etcd and its leases",
        };
        let family = if self.ipv6 { ", IPv6" } else { "" };
        let gate = if self.nft { ", nft" } else { "" };
        format!("{} nodes + {} {third}{voters}, lease {} ms{family}{gate}", self.nodes, self.witnesses, self.lease_ms)
    }
}

/// What a scenario needs of a cluster, to mean what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// Whether there is an authority, if that matters.
    pub authority: Option<bool>,
    /// At least so many nodes.
    pub min_nodes: u8,
    /// At least so many witnesses.
    pub min_witnesses: u8,
    /// Whether the nodes vote, if that matters.
    pub nodes_vote: Option<bool>,
    /// Whether a majority must be left without any one voter.
    pub spare_voter: bool,
    /// Whether one node and the witnesses must be a majority without the other nodes.
    pub without_the_others: bool,
    /// Whether it is about etcd.
    pub etcd: bool,
    /// Whether programs are to be replaced under their leases (docs/decisions/0210).
    pub in_place: bool,
}

impl Needs {
    /// Why a cluster is not one for the scenario; `None`: it is.
    pub fn missing(&self, shape: &Shape) -> Option<&'static str> {
        let voters = shape.voters();
        if self.etcd != shape.etcd {
            return Some(if self.etcd { "it is about etcd" } else { "it is about voters" });
        }
        if self.authority.is_some_and(|authority| authority != (voters > 0)) {
            return Some(if voters > 0 {
                "it is about a cluster without an authority"
            } else {
                "it needs an authority"
            });
        }
        if self.in_place && (shape.nft || shape.lease_ms < IN_PLACE_MS) {
            return Some("a program is replaced in place under leases of a second or more, and a gate of means bpf");
        }
        if shape.nodes < self.min_nodes {
            return Some("it needs more nodes");
        }
        if shape.witnesses < self.min_witnesses {
            return Some("it needs more witnesses");
        }
        if self.nodes_vote.is_some_and(|vote| vote != shape.nodes_vote) {
            return Some("it is about the other kind of voters");
        }
        let spare = voters > 0 && voters - 1 > voters / 2;
        if self.spare_voter && !spare {
            return Some("every voter is needed for a majority");
        }
        let own = u8::from(shape.nodes_vote) + shape.witnesses;
        (self.without_the_others && own <= voters / 2).then_some("a node needs other nodes for a majority")
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ALONE, APART, ARBITRATED, SPARE, VOTING, WITNESSED};
    use super::*;

    #[test]
    fn a_cluster_fits_only_the_scenarios_that_mean_something_there() {
        let alone = Shape { witnesses: 0, ..Shape::PAIR };
        let one_witness_votes = Shape { nodes_vote: false, ..Shape::PAIR };
        let three = Shape { nodes: 3, witnesses: 0, ..Shape::PAIR };
        assert_eq!((alone.voters(), Shape::PAIR.voters(), one_witness_votes.voters(), three.voters()), (0, 3, 1, 3));
        let fits = |needs: Needs| [Shape::PAIR, alone, one_witness_votes].map(|shape| needs.missing(&shape).is_none());
        assert_eq!(fits(ARBITRATED), [true, false, true]);
        assert_eq!(fits(SPARE), [true, false, false]);
        assert_eq!(fits(APART), [true, false, false]);
        let four = Shape { witnesses: 1, ..three };
        assert_eq!((SPARE.missing(&four), APART.missing(&Shape { witnesses: 3, ..three })), (None, None));
        assert_eq!(APART.missing(&four), Some("a node needs other nodes for a majority"));
        assert_eq!(fits(VOTING), [true, false, false]);
        assert_eq!(fits(ALONE), [false, true, false]);
        assert_eq!(WITNESSED.missing(&three), Some("it needs more witnesses"));
    }
}
