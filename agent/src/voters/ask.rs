//! The question to each voter, and to each node without a vote: a witness where it listens, a node on each heartbeat link.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use keepone_arbiter::etcd::EtcdSettings;
use keepone_arbiter::quic::visit::{VisitError, ask};
use keepone_arbiter::quic::{EndpointSettings, Identity, Refusals, Roster, TransportSettings};
use keepone_proto::id::{DomainId, NodeId};
use keepone_proto::lease::config_digest;
use keepone_proto::wire::lease::{Envelope, Message, Standing, unpack};

use super::Scene;
use super::judge::{Answer, Heard};
use crate::assemble::Plan;
use crate::exit::{ExitCode, Failure};

/// How long a voter may take: handshakes and datagrams that are lost a few times.
const LIMIT: Duration = Duration::from_millis(1500);

/// Where a voter is asked from and at.
#[derive(Debug, Clone)]
struct Way {
    local: SocketAddr,
    interface: Option<String>,
    address: SocketAddr,
    /// The link's name, where there may be several.
    link: Option<String>,
}

/// Asks all of them but this node itself, at once.
///
/// # Errors
/// No socket of the runtime can be had.
pub(super) fn all(scene: &Scene<'_>, plan: &Plan, keys: &(Identity, Arc<Roster>)) -> Result<Heard, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::say(ExitCode::Unexpected, format!("no runtime: {error}")))?;
    runtime.block_on(async {
        let mut visits = tokio::task::JoinSet::new();
        let mut heard = Heard::new();
        if scene.asked().any(|id| id == NodeId::STORE) {
            heard.insert(NodeId::STORE, of_store(scene, plan).await);
        }
        for voter in scene.asked().filter(|voter| ![scene.cluster.node, NodeId::STORE].contains(voter)) {
            let ways = ways(scene, plan, voter);
            if ways.is_empty() {
                heard.insert(voter, Err(String::from("no heartbeat link leads to it: add it to one")));
            }
            for way in ways {
                let question = question(scene);
                let settings = settings(&way, keys);
                let votes = !scene.others.contains(&voter);
                // Who has no vote says by which configuration it asks for grants: with where etcd is, which no voter knows.
                let (theirs, plain) = (plan.settings.digest, question.digest);
                visits.spawn(async move {
                    let visited = visit(settings, voter, &way, question).await;
                    let answer = visited.map(|answer| {
                        let agrees = !votes && answer.digest == theirs;
                        if agrees { Answer { digest: plain, ..answer } } else { answer }
                    });
                    (voter, answer)
                });
            }
        }
        while let Some(visited) = visits.join_next().await {
            let Ok((voter, answer)) = visited else { continue };
            match (heard.get_mut(&voter), answer) {
                // Any link will do.
                (_, Ok(answer)) => {
                    heard.insert(voter, Ok(answer));
                }
                (Some(Ok(_)), Err(_)) => {}
                (Some(Err(words)), Err(more)) => *words = format!("{words}; {more}"),
                (None, Err(words)) => {
                    heard.insert(voter, Err(words));
                }
            }
        }
        Ok(heard)
    })
}

/// What etcd keeps of generations. For how long it has does not show: an agent finds out by waiting.
async fn of_store(scene: &Scene<'_>, plan: &Plan) -> Result<Answer, String> {
    let Some(etcd) = &plan.etcd else { return Err("the file does not say where it is: name its endpoints".to_owned()) };
    let settings = EtcdSettings { patience: LIMIT, ..etcd.clone() };
    let record = keepone_arbiter::etcd::read_record(&settings, scene.cluster.id).await?;
    let timing = &scene.quorum.timing;
    let standing = Standing {
        generation: scene.quorum.generation,
        floor: record.floor,
        floor_for: timing.lease_max,
        opened: record.opened,
        quiet_for: Duration::ZERO,
        lent: 0,
    };
    Ok(Answer { standing, digest: config_digest(scene.cluster.id, scene.quorum), from_disk: false })
}

fn ways(scene: &Scene<'_>, plan: &Plan, voter: NodeId) -> Vec<Way> {
    if let Some(address) = scene.cluster.member(voter).and_then(|member| member.witness) {
        // The route decides, as with the agent's own connection.
        let local: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        return vec![Way { local, interface: None, address, link: None }];
    }
    let on_link = |link: &crate::assemble::LinkPlan| {
        let (_, address) = link.peers.iter().find(|(peer, _)| *peer == voter)?;
        let local = SocketAddr::new(link.local.ip(), 0);
        Some(Way { local, interface: Some(link.interface.clone()), address: *address, link: Some(link.name.clone()) })
    };
    plan.links.iter().filter_map(on_link).collect()
}

fn settings(way: &Way, (identity, roster): &(Identity, Arc<Roster>)) -> EndpointSettings {
    EndpointSettings {
        local: way.local,
        interface: way.interface.clone(),
        admit: Some([way.address.ip()].into()),
        accepts: false,
        identity: identity.clone(),
        roster: roster.clone(),
        transport: TransportSettings::default(),
        refusals: Refusals::default(),
    }
}

/// With a nonce that nothing else has: by it the answer finds its way.
fn question(scene: &Scene<'_>) -> Envelope {
    Envelope {
        cluster: scene.cluster.id,
        digest: config_digest(scene.cluster.id, scene.quorum),
        domain: DomainId(0),
        nonce: getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id())),
        message: Message::Inspect,
    }
}

async fn visit(settings: EndpointSettings, voter: NodeId, way: &Way, question: Envelope) -> Result<Answer, String> {
    let (nonce, address) = (question.nonce, way.address);
    let read = |bytes: &[u8]| {
        let answers = unpack(bytes).ok()?.flatten().filter(|envelope| envelope.nonce == nonce);
        answers.into_iter().find_map(|envelope| match envelope.message {
            Message::Report { standing, .. } => {
                Some(Ok(Answer { standing, digest: envelope.digest, from_disk: false }))
            }
            Message::Refuse { why, .. } => Some(Err(why)),
            _ => None,
        })
    };
    let told = ask(&settings, (voter, address), &question.emit(), LIMIT, read).await;
    let on = way.link.as_ref().map(|link| format!(" (link {link})")).unwrap_or_default();
    match told {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(why)) => {
            Err(format!("{address} refuses to say ({why:?}): compare the cluster's name and members there"))
        }
        Err(error @ VisitError::Silence(_)) => {
            Err(format!("{error}{on}: start it, or open UDP {} there and on the way", address.port()))
        }
        Err(error) => Err(format!("{error}{on}")),
    }
}
