//! What the operator asks of a running witness, and its answers.
//!
//! What must stay true: none of it ends a loan before its time or lends anything. Reports are made in the loop that
//! answers the members, so they are of one moment, and short.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use keepone_proto::id::{ClusterId, DomainId, NodeId, hash_name};
use keepone_proto::lease::voter::InUse;
use keepone_proto::time::Instant;
use tokio::sync::oneshot;

use super::config::ClusterConfig;
use super::hall::{Hall, tell};
use super::metrics;
use super::report::{ClusterStatus, DiskStatus, Kept, Lease, MemberStatus, Revoked};
use super::seat::{Seat, number};
use super::server::StartError;

/// A domain or node that nobody has spoken of for so long may be forgotten; a voter's longest lease is seconds.
pub const UNASKED: Duration = Duration::from_secs(60);

/// A question or an order, with where the answer goes. Errors are words with a remedy.
#[derive(Debug)]
pub enum Ask {
    /// Does the loop still turn?
    Alive(oneshot::Sender<()>),
    /// How every cluster stands.
    Status(oneshot::Sender<(Duration, Vec<ClusterStatus>)>),
    /// Every domain.
    Leases(oneshot::Sender<Vec<Lease>>),
    /// Take the vote for a domain's holder back.
    Revoke {
        /// Which.
        what: Which,
        /// For how long its holder gets no vote.
        length: Duration,
        /// The answer.
        answer: oneshot::Sender<Result<Revoked, String>>,
    },
    /// Forget a domain, or else what is remembered of a node.
    Forget {
        /// Which.
        what: Which,
        /// The answer.
        answer: oneshot::Sender<Result<String, String>>,
    },
    /// All records as they stand.
    Backup(oneshot::Sender<Vec<Kept>>),
    /// OpenMetrics.
    Metrics(oneshot::Sender<String>),
    /// Serve these clusters from now on: in words, what that means.
    Replace(Vec<ClusterConfig>, oneshot::Sender<Result<Vec<String>, StartError>>),
}

/// A domain or a node, by name or number; the cluster may be left out where only one fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Which {
    /// Name of the cluster.
    pub cluster: Option<String>,
    /// Name or number.
    pub name: String,
}

impl Hall {
    pub(super) fn answer(&mut self, now: Instant, ask: Ask) {
        match ask {
            Ask::Alive(to) => tell(to, ()),
            Ask::Status(to) => {
                let clusters = self.open().map(|seat| self.status(now, seat)).collect();
                tell(to, (now.since(self.started), clusters));
            }
            Ask::Leases(to) => tell(to, self.open().flat_map(|seat| leases(now, seat)).collect()),
            Ask::Revoke { what, length, answer } => tell(answer, self.revoke(now, &what, length)),
            Ask::Forget { what, answer } => tell(answer, self.forget(now, &what)),
            Ask::Backup(to) => tell(to, self.clusters.values().map(kept).collect()),
            Ask::Metrics(to) => {
                let clusters: Vec<ClusterStatus> = self.open().map(|seat| self.status(now, seat)).collect();
                let times = self.open().map(|seat| (seat.config.name.clone(), seat.times.seen())).collect();
                tell(to, metrics::text(now.since(self.started), &clusters, &times));
            }
            Ask::Replace(clusters, to) => tell(to, self.replace(&clusters)),
        }
    }

    fn open(&self) -> impl Iterator<Item = &Seat> {
        self.clusters.values().filter(|seat| !seat.config.members.is_empty())
    }

    fn status(&self, now: Instant, seat: &Seat) -> ClusterStatus {
        let (config, standing, disk) = (&seat.config, seat.voter.standing(now), seat.times.seen());
        let members = config.members.iter().map(|member| MemberStatus {
            name: member.name.clone(),
            id: member.id.get(),
            candidate: !member.witness,
            connected: seat.is_connected(member.id),
            asked_ms: seat.asked.get(&member.id).map(|at| millis(now.since(*at))),
            unread_version: seat.unread.get(&member.id).copied(),
            dropped: member.keys.iter().map(|key| self.rates.dropped(*key)).sum(),
        });
        ClusterStatus {
            name: config.name.clone(),
            generation: standing.generation,
            floor: standing.floor,
            lease_max_ms: millis(config.quorum.timing.lease_max),
            quiet_ms: millis(standing.quiet_for),
            domains: seat.voter.domains(now).count(),
            lent: standing.lent.into(),
            grants: seat.counts.grants,
            renewals: seat.counts.renewals,
            ended: seat.counts.ended,
            refusals: seat.counts.refusals.iter().map(|(why, count)| (why.as_str().to_owned(), *count)).collect(),
            members: members.collect(),
            disk: DiskStatus {
                writes: disk.count(),
                failed: disk.failed,
                last_ms: disk.last.as_secs_f64() * 1e3,
                longest_ms: disk.longest.as_secs_f64() * 1e3,
                sum_ms: disk.sum.as_secs_f64() * 1e3,
            },
        }
    }

    /// The one domain that is meant.
    fn domain(&self, now: Instant, what: &Which) -> Result<(ClusterId, DomainId), String> {
        let ids = [Some(hash_name(&what.name)), u64::from_str_radix(&what.name, 16).ok()];
        let within = |seat: &&Seat| what.cluster.as_ref().is_none_or(|name| *name == seat.config.name);
        let mut fits = self.open().filter(within).flat_map(|seat| {
            let known = move |id: &u64| seat.voter.domains(now).any(|(known, _)| known.0 == *id);
            ids.into_iter().flatten().find(known).map(|id| (seat.config.id, DomainId(id)))
        });
        let first = fits.next().ok_or_else(|| {
            format!("no domain {:?} is known here: `keepone-witness leases` lists what is", what.name)
        })?;
        match fits.next() {
            None => Ok(first),
            Some(_) => Err(format!("more than one cluster has a domain {:?}: name one with --cluster", what.name)),
        }
    }

    fn revoke(&mut self, now: Instant, what: &Which, length: Duration) -> Result<Revoked, String> {
        let (cluster, domain) = self.domain(now, what)?;
        let seat = self.clusters.get_mut(&cluster).ok_or("no such cluster")?;
        let label = seat.label(domain);
        let Some((barred, lent)) = seat.voter.revoke(now, domain, length) else {
            return Err(format!("nobody has held {label} by this vote, so there is nothing to take back"));
        };
        let node = seat.names.get(&barred.node).cloned().unwrap_or_else(|| barred.node.to_string());
        let config = &seat.config;
        let alone = config.quorum.voters.len() == 1;
        tracing::warn!(
            "cluster {}: domain {label}: the operator takes the vote for {node} back, for {} ms",
            config.name,
            length.as_millis()
        );
        let left_ms = lent.map_or(0, |lent| millis(lent.until.since(now)));
        let (cluster, domain) = (config.name.clone(), number(domain));
        Ok(Revoked { cluster, domain, node, barred_ms: millis(length), left_ms, alone })
    }

    fn forget(&mut self, now: Instant, what: &Which) -> Result<String, String> {
        if let Ok((cluster, domain)) = self.domain(now, what) {
            return self.forget_domain(now, cluster, domain);
        }
        let within = |seat: &Seat| what.cluster.as_ref().is_none_or(|name| *name == seat.config.name);
        let is_meant = |id: &NodeId, name: &String| *name == what.name || id.to_string() == what.name;
        let found = self.clusters.values_mut().find_map(|seat| {
            let node = within(seat).then(|| seat.names.iter().find(|(id, name)| is_meant(id, name)).map(|(id, _)| *id));
            Some((node.flatten()?, seat))
        });
        let Some((node, seat)) = found else {
            return Err(format!(
                "neither a domain nor a node {:?} is known here: `keepone-witness leases` and `status` list what is",
                what.name
            ));
        };
        let holds =
            seat.voter.domains(now).filter(|(_, granted)| granted.is_some_and(|g| g.epoch.node == node)).count();
        if holds > 0 {
            return Err(format!(
                "{} holds {holds} domains by this vote: stop its agent, or move them with `keepone-witness revoke`",
                what.name
            ));
        }
        if let Some(age) = seat.asked.get(&node).map(|at| now.since(*at)).filter(|age| *age < UNASKED) {
            return Err(format!(
                "{} asked something {} s ago: stop its agent and wait until it has been silent for {} s",
                what.name,
                age.as_secs(),
                UNASKED.as_secs()
            ));
        }
        seat.forget_node(node);
        Ok(format!(
            "cluster {}: nothing is remembered of {} but the epochs that it used; take it out of the configuration too, if it has left",
            seat.config.name, what.name
        ))
    }

    fn forget_domain(&mut self, now: Instant, cluster: ClusterId, domain: DomainId) -> Result<String, String> {
        let seat = self.clusters.get_mut(&cluster).ok_or("no such cluster")?;
        let label = seat.label(domain);
        let name = |node: NodeId| seat.names.get(&node).cloned().unwrap_or_else(|| node.to_string());
        let forgotten = seat.voter.forget(now, domain, UNASKED).map_err(|why| match why {
            InUse::Unknown => format!("no domain {label} is known here"),
            InUse::Lent(lent) => format!(
                "{label} is held by {} for {} ms yet: stop what serves it there first",
                name(lent.epoch.node),
                lent.until.since(now).as_millis()
            ),
            InUse::Pending => format!("a new epoch of {label} is being written: somebody claims it now"),
            InUse::Quiet(left) => format!(
                "this witness has just started, and a loan of its former life may live: try again in {} ms",
                left.as_millis()
            ),
            InUse::Asked(age) => format!(
                "somebody asked for {label} {} s ago: take it out of the nodes' configurations, and wait until nobody has asked for {} s",
                age.as_secs(),
                UNASKED.as_secs()
            ),
        })?;
        seat.carry_out(now, forgotten);
        self.schedule(cluster);
        Ok(format!("domain {label} is forgotten; should it come back, its epochs go on above those that were used"))
    }
}

fn leases(now: Instant, seat: &Seat) -> Vec<Lease> {
    let name = |node: NodeId| seat.names.get(&node).cloned().unwrap_or_else(|| node.to_string());
    let domains = seat.voter.domains(now).map(|(id, granted)| {
        let epoch = granted.map(|granted| granted.epoch).or_else(|| seat.voter.highest(id));
        Lease {
            cluster: seat.config.name.clone(),
            domain: number(id),
            name: seat.domains.get(&id).cloned(),
            holder: granted.map(|granted| name(granted.epoch.node)),
            epoch: epoch.map(|epoch| epoch.to_string()),
            counter: epoch.map_or(0, |epoch| epoch.counter),
            left_ms: granted.map(|granted| millis(granted.until.since(now))),
            barred: seat.voter.barred(now, id).map(|barred| (name(barred.node), millis(barred.until.since(now)))),
            asked_ms: seat.voter.asked_at(id).map(|at| millis(now.since(at))),
        }
    });
    domains.collect()
}

fn kept(seat: &Seat) -> Kept {
    let record = seat.voter.record().emit();
    Kept { cluster: seat.config.name.clone(), crc: crc32fast::hash(&record), record: BASE64.encode(record) }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
