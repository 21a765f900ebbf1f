//! `check --explain-timing`: every formula of the lease with this configuration's numbers.

use std::fmt::Write as _;
use std::time::Duration;

use keepone_proto::lease::timing::{LeaseTiming, Millis};
use keepone_proto::settings::{Authority, HeartbeatSettings, Policy, QuorumSettings};

use crate::model::{Config, GateMeans};

/// The formulas of the safety design with the numbers of this configuration, several lines.
///
/// Symbols: L_a lease, L_max longest lease of the cluster, rho clock-rate error, E_tx life of a frame behind
/// the gate, E_g lateness of the gate, H hidden-freeze allowance, RTT round trip, h and m heartbeat period
/// and misses. `tick` is 1/HZ of the kernel that is to make the gate: how late one of nftables may shut.
pub fn explain_timing(config: &Config, tick: Duration) -> String {
    let mut out = String::new();
    heartbeat(&mut out, &config.heartbeat);
    match &config.authority {
        Authority::Quorum(quorum) => {
            voters(&mut out, config, quorum);
            let timing = gate(&mut out, config.gate, quorum.timing, tick);
            lease(&mut out, &timing);
            policies(&mut out, config);
            failover(&mut out, &timing, &config.heartbeat);
        }
        Authority::None => unarbitrated(&mut out, config),
    }
    references(&mut out, config);
    out
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String never fails.
    let _ = writeln!(out, "{text}");
}

fn heartbeat(out: &mut String, heartbeat: &HeartbeatSettings) {
    line(
        out,
        format_args!(
            "heartbeat   a peer is silent after m*h = {} * {} = {}",
            heartbeat.misses,
            Millis(heartbeat.period),
            Millis(heartbeat.silence())
        ),
    );
}

fn voters(out: &mut String, config: &Config, quorum: &QuorumSettings) {
    let name = |id| {
        let member = config.cluster.as_ref().and_then(|cluster| cluster.member(id));
        member.map_or_else(|| id.to_string(), |member| member.name.clone())
    };
    let names: Vec<String> = quorum.voters.iter().map(|id| name(*id)).collect();
    let (count, majority) = (quorum.voters.len(), quorum.majority());
    line(
        out,
        format_args!(
            "voters      {count} ({}); majority q = {count}/2 + 1 = {majority}; {} may fail",
            names.join(", "),
            count - majority
        ),
    );
}

/// By what the lease is shortened for the gate's lateness; the lengths as this gate leaves them.
fn gate(out: &mut String, means: GateMeans, timing: LeaseTiming, tick: Duration) -> LeaseTiming {
    let with_nft = LeaseTiming { gate: timing.gate.max(tick), ..timing };
    let why = format!("max({}, 1/HZ = {}) = {}", Millis(timing.gate), Millis(tick), Millis(with_nft.gate));
    match means {
        GateMeans::Nft => {
            line(out, format_args!("gate        nft: E_g = {why}"));
            with_nft
        }
        GateMeans::Auto => {
            let nft =
                format!("with nft, if the kernel has no better, {why} and L_h = {}", Millis(with_nft.holder_lease()));
            line(out, format_args!("gate        auto: E_g = {} with bpf; {nft}", Millis(timing.gate)));
            timing
        }
        GateMeans::Bpf | GateMeans::Lifetime => {
            line(out, format_args!("gate        {means}: E_g = {}", Millis(timing.gate)));
            timing
        }
    }
}

fn lease(out: &mut String, t: &LeaseTiming) {
    let rho = rho(t);
    line(out, format_args!("lease       L_a = {}, L_max = {}", Millis(t.lease), Millis(t.lease_max)));
    line(
        out,
        format_args!(
            "holder      L_h = L_a*(1-rho)/(1+rho) - E_tx - E_g - H = {}*(1-{rho})/(1+{rho}) - {} - {} - {} = {}",
            Millis(t.lease),
            Millis(t.transmit),
            Millis(t.gate),
            Millis(t.hidden_freeze),
            Millis(t.holder_lease())
        ),
    );
    let room = t.holder_lease().saturating_sub(t.round_trip) / 4;
    line(
        out,
        format_args!(
            "renewal     R = min(L_a/5, (G - RTT)/3) = min({}, {}) = {} <= (L_h - RTT)/4 = ({} - {})/4 = {}",
            Millis(t.lease / 5),
            Millis(t.horizon().saturating_sub(t.round_trip) / 3),
            Millis(t.renewal_interval()),
            Millis(t.holder_lease()),
            Millis(t.round_trip),
            Millis(room)
        ),
    );
    line(
        out,
        format_args!(
            "deadline    D = the q-th largest, over the voters, of t_send + L_h = t_send + {}; renewed every {}",
            Millis(t.holder_lease()),
            Millis(t.renewal_interval())
        ),
    );
    line(
        out,
        format_args!(
            "horizon     the gate is shut at the sooner of D and t_send + G of another node's newest answer, G = {}{}",
            Millis(t.horizon()),
            if t.gate_horizon > t.horizon() { " = L_h" } else { "" }
        ),
    );
    line(
        out,
        format_args!(
            "freeze      one that the hypervisor hides from every clock costs nothing up to H = {} in a lease; beyond it \
             two may hold, for at most G/(1-rho) = {} after the resume",
            Millis(t.hidden_freeze),
            Millis(scale(t.horizon(), 1_000_000, 1_000_000 - ppm(t)))
        ),
    );
    line(
        out,
        format_args!(
            "safety      last frame gone by (L_h + E_g)/(1-rho) + E_tx = {} <= L_a/(1+rho) = {}, when a voter may let another in",
            Millis(scale(t.holder_lease() + t.gate, 1_000_000, 1_000_000 - ppm(t)) + t.transmit),
            Millis(scale(t.lease, 1_000_000, 1_000_000 + ppm(t)))
        ),
    );
    line(out, format_args!("restart     a restarted voter grants nobody else for L_max = {}", Millis(t.lease_max)));
}

/// What becomes of each domain while no majority of the voters answers.
fn policies(out: &mut String, config: &Config) {
    for policy in [Policy::Strict, Policy::Degrade, Policy::AcceptDualMaster] {
        let names: Vec<String> =
            config.domains().into_iter().filter(|domain| domain.policy == policy).map(|domain| domain.name).collect();
        let what = match policy {
            Policy::Strict => "the holder lets go at D",
            Policy::Degrade => "the holder goes on while all other nodes promise, each for L_a from its receipt",
            Policy::AcceptDualMaster => "as without an arbiter: two holders are possible",
        };
        if !names.is_empty() {
            let (policy, names) = (policy.as_str(), names.join(", "));
            line(out, format_args!("silence     of the voters: {policy} for {names}: {what}"));
        }
    }
}

/// How long nobody may hold after each kind of failure, at most, with the given round trip to a majority.
fn failover(out: &mut String, t: &LeaseTiming, heartbeat: &HeartbeatSettings) {
    let claim = t.round_trip * 2;
    let order = Duration::from_millis(20);
    line(
        out,
        format_args!(
            "stop        graceful: E_tx + 4 RTT + 20 ms = {} + 4*{} + 20 ms = {}",
            Millis(t.transmit),
            Millis(t.round_trip),
            Millis(t.transmit + t.round_trip * 4 + order)
        ),
    );
    line(
        out,
        format_args!(
            "worker      killed: the guardian shuts the gate, then releases: E_tx + 4 RTT + 20 ms = {}",
            Millis(t.transmit + t.round_trip * 4 + order)
        ),
    );
    let expiry = scale(t.lease, 1_000_000, 1_000_000 - ppm(t)) + t.round_trip / 2;
    let silence = heartbeat.silence();
    line(
        out,
        format_args!(
            "node        silent: max(m*h, L_a/(1-rho) + RTT/2) + 2 RTT = max({}, {}) + {} = {}; {} more (2 h) if a voter's word is lost",
            Millis(silence),
            Millis(expiry),
            Millis(claim),
            Millis(silence.max(expiry) + claim),
            Millis(heartbeat.period * 2)
        ),
    );
}

fn unarbitrated(out: &mut String, config: &Config) {
    let h = config.heartbeat.period;
    line(out, format_args!("arbiter     none: two holders are possible while all paths between the nodes are cut"));
    if config.links.is_empty() {
        line(
            out,
            format_args!("overlap     no heartbeat links: two holders last until Advertisements are heard again"),
        );
        return;
    }
    let transmit = LeaseTiming::for_lease(Duration::from_secs(1)).transmit;
    line(
        out,
        format_args!(
            "overlap     ends after a path works again, both ways: X_sym = h + E_tx = {} + {} = {}",
            Millis(h),
            Millis(transmit),
            Millis(h + transmit)
        ),
    );
    line(
        out,
        format_args!(
            "            one way only: X_asym = (m + 1)*h = ({} + 1)*{} = {}",
            config.heartbeat.misses,
            Millis(h),
            Millis(config.heartbeat.silence() + h)
        ),
    );
}

fn references(out: &mut String, config: &Config) {
    let r = &config.references;
    if r.targets.is_empty() {
        return;
    }
    let lost = r.interval * u32::from(r.fall) + r.timeout;
    line(
        out,
        format_args!(
            "references  lost after T_ref = fall*interval + timeout = {}*{} + {} = {}; an isolated holder lets go by T_ref + m*h = {}",
            r.fall,
            Millis(r.interval),
            Millis(r.timeout),
            Millis(lost),
            Millis(lost + config.heartbeat.silence())
        ),
    );
}

fn ppm(t: &LeaseTiming) -> u64 {
    u64::from(t.rate_error_ppm).min(999_999)
}

fn rho(t: &LeaseTiming) -> String {
    let text = format!("{}.{:06}", ppm(t) / 1_000_000, ppm(t) % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `duration * up / down`, to the nanosecond.
fn scale(duration: Duration, up: u64, down: u64) -> Duration {
    let nanos = duration.as_nanos() * u128::from(up) / u128::from(down.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}
