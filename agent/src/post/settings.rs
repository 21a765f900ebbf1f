//! Who is told of what.

use std::collections::BTreeSet;
use std::path::PathBuf;

use keepone_config::Config;
use keepone_config::model::{EventKind, Mail, Webhook};
use keepone_proto::id::hash_name;

use super::news::{News, What};

/// Where what waits lies, below the state directory; without a cluster below the run directory.
const SPOOL: &str = "post";

/// Who is told of what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The node's name: `router_id`, its name in the cluster, or the host's.
    pub(super) node: String,
    /// Spools, one directory for each who is told.
    pub(super) spool: PathBuf,
    /// Who is told.
    pub(super) jobs: Vec<Job>,
}

/// One who is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Job {
    Mail {
        mail: Mail,
        /// Instances and groups with `smtp_alert`.
        domains: BTreeSet<String>,
        /// The host's name: how a relay is greeted, and whose users bare names are.
        host: String,
    },
    Webhook(Webhook),
}

/// Whether there is anybody to be written to, and by which server.
pub(crate) fn is_mailed(config: &Config) -> bool {
    config.global.mail.server.is_some() && !config.global.mail.recipients.is_empty()
}

impl Settings {
    pub(crate) fn of(config: &Config, run_dir: PathBuf) -> Self {
        let host = host();
        let cluster = config.cluster.as_ref();
        let member = cluster.and_then(|cluster| cluster.me()).map(|member| member.name.clone());
        let node = config.global.router_id.clone().or(member).unwrap_or_else(|| host.clone());
        let domains = config.domains().into_iter().filter(|domain| {
            let group = config.sync_groups.iter().any(|group| group.name == domain.name && group.smtp_alert);
            let mut instances = domain.instances.iter().filter_map(|at| config.instances.get(*at));
            (domain.is_group && group) || instances.any(|instance| instance.options.smtp_alert)
        });
        let mail =
            Job::Mail { mail: config.global.mail.clone(), domains: domains.map(|domain| domain.name).collect(), host };
        let is_mailed = is_mailed(config);
        let webhooks = config.global.webhooks.iter().cloned().map(Job::Webhook);
        Settings {
            node,
            spool: cluster.map_or(run_dir, |cluster| cluster.state_dir.clone()).join(SPOOL),
            jobs: is_mailed.then_some(mail).into_iter().chain(webhooks).collect(),
        }
    }

    /// Nobody is told of anything.
    pub(super) fn is_idle(&self) -> bool {
        self.jobs.is_empty()
    }
}

impl Job {
    /// Its directory below the spool; the same for the same receiver, whatever else changes.
    pub(super) fn directory(&self) -> String {
        match self {
            Job::Mail { .. } => "mail".to_owned(),
            Job::Webhook(Webhook { name, .. }) => {
                let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
                if is_plain { format!("webhook-{name}") } else { format!("webhook.{:016x}", hash_name(name)) }
            }
        }
    }

    /// For the log.
    pub(super) fn who(&self) -> String {
        match self {
            Job::Mail { .. } => "mail".to_owned(),
            Job::Webhook(webhook) => format!("webhook {}", webhook.name),
        }
    }

    /// Whether it is told of this.
    pub(super) fn wants(&self, news: &News) -> bool {
        match (self, &news.what) {
            (Job::Mail { mail, domains, .. }, What::Transition { domain, states, .. }) => {
                let is_fault = states.iter().any(|state| state.state == "FAULT");
                domains.contains(domain) && !(mail.no_faults && is_fault)
            }
            (Job::Mail { domains, .. }, What::Alert { domain: Some(domain), .. }) => domains.contains(domain),
            (Job::Mail { domains, .. }, What::Alert { domain: None, .. }) => !domains.is_empty(),
            (Job::Mail { .. }, What::Server(server)) => server.mail,
            (Job::Webhook(webhook), what) => webhook.events.contains(&match what {
                What::Transition { .. } => EventKind::Transition,
                What::Alert { .. } => EventKind::Alert,
                What::Server(_) => EventKind::Server,
            }),
        }
    }
}

fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    // What stands in a greeting and behind an @.
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.');
    if is_name { name.to_owned() } else { "localhost".to_owned() }
}
