//! What the kernel lacks for the gate and for virtual servers, and the clock.

use std::path::Path;
use std::time::Duration;

use ipvs_rs::Handle;
use keepone_bpf::{Attach, Link, Operand, Place, Program, Reg};
use keepone_config::Config;
use keepone_config::model::GateMeans;

use super::{Finding, Report, Severity};
use crate::assemble::Plan;
use crate::discipline::is_disciplined;

/// An index that no interface has: a kernel that could attach looks for it in vain, one that can't does not look.
const NO_INTERFACE: u32 = i32::MAX.unsigned_abs();
/// How long the kernel may take to load a module.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks.
pub(super) fn look(config: &Config, plan: &Plan, report: &mut Report) {
    report.findings.extend(gate(plan.gate, bpf().err(), nftables().err()));
    if plan.gate != GateMeans::Nft && plan.gate != GateMeans::Lifetime {
        report.findings.extend(bpffs(&plan.bpf_dir));
    }
    if !config.virtual_servers.is_empty() {
        ipvs(report);
    }
    report.findings.extend(clock(is_disciplined()));
}

/// A program of two instructions, attached to nothing.
fn bpf() -> Result<(), String> {
    let words = |error: &dyn std::error::Error| crate::exit::chain(error);
    let mut assembler = keepone_bpf::Asm::new();
    assembler.mov(Reg::R0, Operand::Imm(0)).exit();
    let program = assembler.assemble().map_err(|error| words(&error))?;
    let program = Program::load("keepone_doctor", "Dual MIT/GPL", &program).map_err(|error| words(&error))?;
    match Link::attach(&program, NO_INTERFACE, Attach::TcxEgress, Place::Last) {
        Err(error) if error.errno() != Some(libc::ENODEV) => Err(words(&error)),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn nftables() -> Result<(), String> {
    crate::gate::nftables_answers().map_err(|error| crate::exit::chain(&error))
}

/// What lacks for the gate of a configuration.
fn gate(means: GateMeans, no_bpf: Option<String>, no_nft: Option<String>) -> Option<Finding> {
    let remedy = "a kernel of 6.6 or later with BPF; below it, or without, 5.16 with nftables' egress hook; and the rights \
                  (CAP_BPF, CAP_NET_ADMIN)";
    let name = "no-gate";
    match (means, no_bpf, no_nft) {
        (GateMeans::Auto, Some(bpf), Some(nft)) => {
            let what = format!("neither BPF ({bpf}) nor nftables ({nft}) can make the gate: this node will not claim");
            Some(Finding::fault(name, "this kernel", what, remedy))
        }
        (GateMeans::Auto, Some(bpf), None) => {
            let what = format!("no BPF gate ({bpf}): nftables is used, which shuts up to a tick later");
            Some(Finding::warning("no-bpf", "this kernel", what, remedy))
        }
        (GateMeans::Bpf, Some(why), _) | (GateMeans::Nft, _, Some(why)) => Some(Finding::fault(
            name,
            "this kernel",
            format!("the gate that is configured can't be made: {why}"),
            remedy,
        )),
        (GateMeans::Auto, None, _)
        | (GateMeans::Bpf, None, _)
        | (GateMeans::Nft, _, None)
        | (GateMeans::Lifetime, ..) => None,
    }
}

/// The gate's pins want a bpffs, in the directory or above it.
fn bpffs(directory: &Path) -> Option<Finding> {
    let there = directory.ancestors().find(|path| path.exists())?;
    let is = keepone_bpf::is_bpffs(there).unwrap_or(false);
    let what = "it is on no bpffs: the agent mounts one there that goes with its mount namespace, and the gate with it";
    let remedy = "`mount -t bpf bpf /sys/fs/bpf`, and the same in fstab, or another `bpf_dir`";
    (!is).then(|| Finding::warning("bpffs", &directory.display().to_string(), what, remedy))
}

/// The kernel loads the module when it is asked for it by somebody who may.
fn ipvs(report: &mut Report) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let opened = match runtime {
        Ok(runtime) => runtime.block_on(async { tokio::time::timeout(PATIENCE, Handle::open()).await }),
        Err(error) => return report.skipped.push(format!("virtual servers: {error}")),
    };
    match opened {
        Ok(Ok(_)) => {}
        Ok(Err(ipvs_rs::Error::NoFamily)) => report.add(Finding::fault(
            "ipvs",
            "this kernel",
            "it has no IPVS: virtual servers are checked, and get no connections",
            "`modprobe ip_vs`, and its name in /etc/modules-load.d/keepone.conf; a kernel without it (CONFIG_IP_VS) won't do",
        )),
        Ok(Err(error)) => report.skipped.push(format!("virtual servers: {}", crate::exit::chain(&error))),
        Err(_) => report.skipped.push(format!("virtual servers: the kernel did not answer within {PATIENCE:?}")),
    }
}

fn clock(disciplined: bool) -> Option<Finding> {
    (!disciplined).then(|| Finding {
        name: "clock",
        severity: Severity::Warning,
        place: String::from("this machine"),
        what: String::from(
            "nobody disciplines its clock: logs of the nodes can't be laid side by side (leases go by no date)",
        ),
        remedy: String::from("run chrony, ntpd or systemd-timesyncd; in a container, on its host"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lacks_for_a_gate_is_as_bad_as_the_configuration_makes_it() {
        let lacks = |means, bpf: bool, nft: bool| {
            let why = |lacks: bool| lacks.then(|| String::from("why"));
            gate(means, why(bpf), why(nft)).map(|found| (found.name, found.severity))
        };
        assert_eq!(lacks(GateMeans::Auto, false, true), None);
        assert_eq!(lacks(GateMeans::Auto, true, false), Some(("no-bpf", Severity::Warning)));
        assert_eq!(lacks(GateMeans::Auto, true, true), Some(("no-gate", Severity::Fault)));
        assert_eq!(lacks(GateMeans::Bpf, true, false), Some(("no-gate", Severity::Fault)));
        assert_eq!(lacks(GateMeans::Nft, true, false), None);
        assert_eq!(lacks(GateMeans::Nft, false, true), Some(("no-gate", Severity::Fault)));
        assert_eq!(lacks(GateMeans::Lifetime, true, true), None);
    }

    #[test]
    fn a_clock_that_nobody_disciplines_is_a_warning() {
        assert_eq!(clock(true), None);
        assert_eq!(clock(false).map(|found| found.severity), Some(Severity::Warning));
    }
}
