//! Whoever asks by the control socket, answered between two events.

use std::sync::Arc;

use keepone_arbiter::control::Question;
use keepone_proto::action::Announced;
use keepone_proto::decision::Role;
use keepone_proto::event::Event;
use keepone_proto::id::InstanceId;

use super::Driver;
use crate::clock;
use crate::control::snapshot::{Directory, Snapshot};
use crate::control::{Answer, Ask};
use crate::guardian::pulse;
use crate::heartbeat::Heartbeats;

impl Driver {
    /// Takes a snapshot, or does what is wanted.
    pub(super) fn answer(&mut self, question: Question<Ask, Answer>) {
        question.answer(|asked| match asked {
            Ask::Status => Answer::Status(Box::new(self.snapshot())),
            Ask::Why(name) => self.why(name),
            Ask::Maintenance(on) => {
                self.take(Event::Maintenance { on: *on });
                Answer::Maintenance
            }
            Ask::HandOver { instance, to } => self.hand_over(instance, to.as_deref()),
            Ask::Announce(name) => self.announce(name),
            Ask::Upgrade => {
                // The guardian decides what follows.
                self.shells.pulse.answer(pulse::UPGRADE);
                Answer::Upgrading
            }
        });
    }

    /// How the node stands now.
    pub(super) fn snapshot(&mut self) -> Snapshot {
        let directory = self.directory();
        let lines = self.shells.heartbeats.as_ref().map(Heartbeats::lines).unwrap_or_default();
        Snapshot::take(&self.node, &directory, lines, clock::now())
    }

    /// Made anew only when the core has given something up since the last reload, and somebody asks.
    fn directory(&mut self) -> Arc<Directory> {
        self.shells
            .directory
            .get_or_insert_with(|| Arc::new(Directory::of(&self.shells.plan, &self.source.running)))
            .clone()
    }

    fn why(&mut self, name: &str) -> Answer {
        let directory = self.directory();
        let why = directory.domain(name).and_then(|domain| self.node.why(clock::now(), domain));
        match why {
            Some(why) => Answer::Why(Box::new(Snapshot::bare(&self.node, &directory, clock::now())), Box::new(why)),
            None => Answer::Unknown(format!("instance {name}")),
        }
    }

    /// One burst. A frame of whoever is MASTER no more is refused by the gate.
    fn announce(&mut self, name: &str) -> Answer {
        let plan = &self.shells.plan;
        let of_name = |id: &InstanceId| plan.instance_name(*id) == Some(name);
        let found = plan.settings.domains.iter().find_map(|domain| {
            let instance = domain.instances.iter().find(|id| of_name(id))?;
            Some((domain.id, *instance, plan.settings.instances.get(usize::from(instance.0))?.announce.burst))
        });
        let Some((domain, instance, burst)) = found else { return Answer::Unknown(format!("instance {name}")) };
        match self.node.role(domain) {
            Some((Role::Master, ..)) if self.node.is_open(clock::now(), domain) => {
                self.shells.announcer.announce(domain, instance, burst, Announced::All);
                Answer::Announced
            }
            role => Answer::NotMaster(role.map_or(Role::Init, |(role, ..)| role)),
        }
    }

    fn hand_over(&mut self, instance: &str, to: Option<&str>) -> Answer {
        let directory = self.directory();
        let Some(domain) = directory.domain(instance) else { return Answer::Unknown(format!("instance {instance}")) };
        let to = match to.map(|name| (name, directory.member(name))) {
            Some((name, None)) => return Answer::Unknown(format!("member {name}")),
            Some((_, id)) => id,
            None => None,
        };
        match self.node.heir(clock::now(), domain, to) {
            Ok(heir) => {
                self.take(Event::HandOver { domain, to: heir });
                Answer::HandOver(self.shells.plan.settings.names.node(heir).into_owned())
            }
            Err(why) => Answer::Refused(why),
        }
    }
}
