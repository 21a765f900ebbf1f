//! Whoever grants leases, and the node's own voter.

use std::sync::Arc;

use keepone_arbiter::etcd::{EtcdClient, GoesOn};
use keepone_arbiter::quic::{Identity, Roster, TransportSettings};
use keepone_arbiter::witness::client::{ClientSettings, WitnessClient};
use keepone_arbiter::witness::state::{Store, Writer};
use keepone_config::Config;
use keepone_config::model::Cluster;
use keepone_proto::event::Event;
use keepone_proto::handed::Handed;
use keepone_proto::id::{Incarnation, NodeId};
use keepone_proto::lease::generation::oldest_served;
use keepone_proto::lease::record::Record as VoterRecord;
use keepone_proto::lease::register::RegisterSettings;
use keepone_proto::lease::register::keeper::Generation;
use keepone_proto::lease::set_digest;
use keepone_proto::settings::Authority;
use tokio::sync::mpsc;

use crate::assemble::Plan;
use crate::exit::{ExitCode, Failure};

/// The connections to the witnesses, if there are any.
pub(super) fn start_witnesses(
    plan: &Plan,
    keys: Option<&(Identity, Arc<Roster>)>,
    events: &mpsc::Sender<Event>,
) -> Option<WitnessClient> {
    let (identity, roster) = keys.cloned()?;
    let witnesses = plan.witnesses.clone();
    let settings = ClientSettings {
        identity,
        roster,
        witnesses,
        source: None,
        interface: None,
        transport: TransportSettings::default(),
    };
    let events = events.clone();
    Some(WitnessClient::start(&settings, move |event| {
        // A full queue loses an answer as a network would.
        let _ = events.try_send(event);
    }))
}

/// The connection to etcd, if that is the authority: of the life that holds, and perhaps goes on with what another process of
/// it has handed on.
pub(super) fn start_etcd(
    plan: &Plan,
    incarnation: Incarnation,
    handed: Option<&Handed>,
    events: &mpsc::Sender<Event>,
) -> Result<Option<EtcdClient>, Failure> {
    let (Some(etcd), Some(quorum)) = (&plan.etcd, plan.settings.quorum()) else { return Ok(None) };
    let register = RegisterSettings {
        cluster: plan.settings.cluster,
        digest: plan.settings.digest,
        me: (plan.settings.node, incarnation),
        lease_max: quorum.timing.lease_max,
        sessions: etcd.session.is_some(),
        generation: Generation {
            number: quorum.generation,
            serves: oldest_served(quorum.generation, quorum.former().is_some()),
            set: set_digest(plan.settings.cluster, quorum),
        },
        domains: plan.settings.domains.iter().map(|domain| domain.id).collect(),
        guards: plan.settings.guards,
    };
    let events = events.clone();
    // The register is as old as this process, also where the life is older.
    let of_store = (NodeId::STORE, super::incarnation()?);
    let held = |handed: &Handed| handed.held().map(|(domain, held)| (domain, held.epoch)).collect();
    let from = handed.map(|handed| GoesOn { seen: handed.store, held: held(handed) }).unwrap_or_default();
    let client = EtcdClient::start(etcd, register, of_store, from, move |event| {
        // A full queue loses an answer as a network would.
        let _ = events.try_send(event);
    });
    client.map(Some).map_err(|error| Failure::new(ExitCode::Key, &error))
}

/// The node's own voter, if it votes: its record of a former life, and the thread that writes it (V6).
pub(super) fn open_voter(
    config: &Config,
    cluster: &Cluster,
    events: &mpsc::Sender<Event>,
) -> Result<(Option<VoterRecord>, Option<Writer>), Failure> {
    let Authority::Quorum(quorum) = &config.authority else { return Ok((None, None)) };
    // Only for `keepone voters` and `keepone authority`, so it costs the voter nothing if the directory is full.
    let noted = crate::voters::own::note(&cluster.run_dir, cluster.id, quorum);
    let _ = noted.inspect_err(|error| tracing::warn!(%error, "the generation was not noted in run_dir"));
    if !quorum.votes(cluster.node) {
        return Ok((None, None));
    }
    let store =
        Store::open(&cluster.state_dir, &cluster.name).map_err(|error| Failure::new(ExitCode::Directory, &error))?;
    let record = store.load().unwrap_or_else(|error| {
        // A wait of L_max and nothing else (V7).
        tracing::error!(error = %crate::exit::chain(&error), "the voter starts without its record");
        None
    });
    let events = events.clone();
    // Who asks for an epoch asks several times a second: each trouble is told once.
    let mut told = None;
    let writer = Writer::spawn(store, move |ticket, outcome| {
        let error = outcome.err().map(|error| crate::exit::chain(&error));
        if told != error {
            match &error {
                Some(error) => tracing::error!(error, "the voter's record can't be written: it grants nothing new"),
                None => tracing::info!("the voter's record can be written again"),
            }
            told.clone_from(&error);
        }
        let _ = events.blocking_send(Event::Persisted { ticket, error });
    });
    let writer =
        writer.map_err(|error| Failure::say(ExitCode::Unexpected, format!("no thread for the voter: {error}")))?;
    Ok((record, Some(writer)))
}
