//! A worker that goes on where another process of the same life ended, and one that hands on (docs/decisions/0210).

use std::fs::File;
use std::time::Duration;

use keepone_config::Config;
use keepone_proto::handed::{Handed, NotResumed};
use keepone_proto::id::{DomainId, Incarnation};
use keepone_proto::node::Node;
use keepone_proto::recording::{Header, Resumed};

use super::gate::make_gate;
use super::incarnation;
use crate::assemble::Plan;
use crate::driver::Shells;
use crate::exit::{ExitCode, Failure};
use crate::gate::{Gate, LeftOpen};
use crate::{clock, upgrade};

/// So long the farewell of the heartbeats' connections may take: the next process dials anew in any case.
const FAREWELL: Duration = Duration::from_millis(20);

/// How a start begins: as another life, or as the same one.
pub(super) struct Begun {
    pub(super) incarnation: Incarnation,
    pub(super) gate: Option<Gate>,
    pub(super) gate_fault: String,
    /// What it goes on with.
    pub(super) handed: Option<GoesOn>,
}

/// What a process before this one has handed on.
pub(super) struct GoesOn {
    pub(super) core: Handed,
    /// What its health checks knew.
    pub(super) servers: Vec<u8>,
}

impl GoesOn {
    /// How its core begins.
    pub(super) fn resumed(&self) -> Result<Resumed, Failure> {
        Ok(Resumed { handed: self.core.emit(), voter: incarnation()? })
    }

    /// What it held.
    pub(super) fn held(&self) -> impl Iterator<Item = DomainId> + '_ {
        self.core.held().map(|(domain, _)| domain)
    }
}

impl Begun {
    /// With the gate as it was left, if all that was handed on stands exactly so; else with one that is shut (R12).
    /// Beside what was handed on: whether all interfaces with virtual MACs were there, with what is on them.
    pub(super) fn new(config: &Config, plan: &mut Plan, handed: Option<(File, bool)>) -> Result<Self, Failure> {
        let handed = handed.and_then(|(file, all_were_there)| Some((upgrade::read(&file)?, all_were_there)));
        if let Some((handed, all_were_there)) = handed {
            let gone = || Err("an interface with a virtual MAC was not there any more".to_owned());
            match if all_were_there { go_on(config, plan, handed) } else { gone() } {
                Ok(begun) => {
                    // It was served long ago.
                    plan.settings.begin_at = None;
                    return Ok(begun);
                }
                Err(why) => {
                    tracing::warn!("upgrade: not in place, the start is an ordinary one: {why}");
                    upgrade::tell(&plan.run_dir, upgrade::Outcome::Restarted, &why);
                }
            }
        }
        let incarnation = incarnation()?;
        let (gate, gate_fault) = make_gate(plan, incarnation, &[])?;
        Ok(Begun { incarnation, gate, gate_fault, handed: None })
    }
}

/// Until when each gate was left open, under which epoch.
fn left_open(handed: &Handed) -> Vec<LeftOpen> {
    handed.held().map(|(domain, held)| (domain, held.epoch, held.gate_until)).collect()
}

fn go_on(config: &Config, plan: &Plan, (handed, servers): (Handed, Vec<u8>)) -> Result<Begun, String> {
    let place = upgrade::place(config);
    handed.check(&plan.settings, &place, upgrade::TO_RENEW, clock::now()).map_err(|why| why.to_string())?;
    let left = left_open(&handed);
    let made = make_gate(plan, handed.incarnation, &left).map_err(|failure| failure.message)?;
    let (Some(gate), gate_fault) = made else { return Err("there is no gate".to_owned()) };
    let stands = |one: &LeftOpen| gate.left_open().contains(one);
    if !left.iter().all(stands) {
        // It goes with its lock; whatever of it is open is shut by the one that follows.
        return Err("the gate does not stand as it was left".to_owned());
    }
    Ok(Begun {
        incarnation: handed.incarnation,
        gate: Some(gate),
        gate_fault,
        handed: Some(GoesOn { core: handed, servers }),
    })
}

/// The core: a new life, or the one that was handed on.
pub(super) fn node(header: &Header, handed: Option<&Handed>, config: &Config) -> Result<Node, Failure> {
    if let Some(handed) = handed {
        let checked = handed.check(&header.settings, &upgrade::place(config), upgrade::TO_RENEW, header.started);
        checked.map_err(not_kept)?;
    }
    let node = header.node().map_err(not_kept)?;
    if let Some(handed) = handed {
        let ago = header.started.since(handed.at);
        tracing::info!("upgrade: this process goes on with what the one before it held {ago:?} ago");
    }
    Ok(node)
}

/// Its guardian shuts what it was to go on with, and starts another one.
fn not_kept(why: NotResumed) -> Failure {
    Failure::say(ExitCode::Unexpected, format!("what the process before this one held can't be kept: {why}"))
}

/// Ends with everything as it is: gate, addresses, table of virtual servers.
pub(super) async fn leave(mut shells: Shells) {
    shells.checkers.leave();
    drop(shells.control.take());
    drop(shells.web.take());
    if let Some(heartbeats) = shells.heartbeats.take() {
        let _ = tokio::time::timeout(FAREWELL, heartbeats.stop()).await;
    }
    tracing::info!("upgrade: what is held is handed on");
}
