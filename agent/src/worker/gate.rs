//! The gate of a start.

use keepone_config::model::GateMeans;
use keepone_proto::id::Incarnation;

use crate::assemble::Plan;
use crate::exit::{ExitCode, Failure};
use crate::gate::{Gate, GateConfig, GateError, LeftOpen, Means};

/// The gate as configured; with `auto` the strongest that the kernel makes. One that can make neither means 1
/// nor 2 is then no failure: the node says so and, under an authority, does not claim (R14).
pub(super) fn make_gate(
    plan: &Plan,
    incarnation: Incarnation,
    left_open: &[LeftOpen],
) -> Result<(Option<Gate>, String), Failure> {
    let open = |means| {
        Gate::open_new(&GateConfig {
            bpf_dir: plan.bpf_dir.clone(),
            run_dir: plan.run_dir.clone(),
            domains: plan.gate_domains.clone(),
            exempt: std::collections::BTreeSet::new(),
            incarnation,
            means,
            left_open: left_open.to_vec(),
        })
    };
    let opened = match plan.gate {
        GateMeans::Auto => match strongest(open) {
            Ok(gate) => Ok(gate),
            Err(error) if is_taken(&error) || is_rights(&error) => Err(error),
            Err(_) => match open(Means::Lifetime) {
                Ok(gate) => Ok(gate),
                Err(error) => return Ok((None, crate::exit::chain(&error))),
            },
        },
        GateMeans::Bpf => open(Means::Bpf),
        GateMeans::Nft => open(Means::Nft),
        GateMeans::Lifetime => open(Means::Lifetime),
    };
    let gate = opened.map_err(|error| {
        let code = match &error {
            error if is_taken(error) => ExitCode::Running,
            error if is_rights(error) => ExitCode::NotPermitted,
            _ => ExitCode::NoGate,
        };
        Failure::new(code, &error)
    })?;
    tracing::info!(
        "the gate is {} ({}): it shuts {:?} late at most",
        gate.means().as_str(),
        if gate.is_adopted() { "of the former run" } else { "new" },
        gate.means().lateness()
    );
    for warning in gate.warnings() {
        tracing::warn!("{warning}");
    }
    Ok((Some(gate), String::new()))
}

/// Means 1, else means 2; else the error that is of more use.
fn strongest(open: impl Fn(Means) -> Result<Gate, GateError>) -> Result<Gate, GateError> {
    let bpf = match open(Means::Bpf) {
        Err(error) if !is_taken(&error) => error,
        other => return other,
    };
    match open(Means::Nft) {
        Ok(gate) => {
            tracing::warn!(error = %crate::exit::chain(&bpf), "no BPF gate in this kernel; nftables is used");
            Ok(gate)
        }
        Err(error) if is_taken(&error) => Err(error),
        Err(nft) => {
            tracing::error!(
                bpf = %crate::exit::chain(&bpf), nft = %crate::exit::chain(&nft),
                "no gate in the kernel; only address lifetimes remain"
            );
            Err(if is_rights(&bpf) { bpf } else { nft })
        }
    }
}

fn is_taken(error: &GateError) -> bool {
    matches!(error, GateError::Taken { .. })
}

fn is_rights(error: &GateError) -> bool {
    match error {
        GateError::Bpf(keepone_bpf::BpfError::NotPermitted { .. }) => true,
        GateError::Nft(error) => error.errno() == Some(libc::EPERM),
        _ => false,
    }
}
