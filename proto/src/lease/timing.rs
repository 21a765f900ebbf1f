//! The lease's lengths and the formulas that tie them (safety.md, Time and parameters).
//!
//! What must stay true: the holder's last frame is gone by `t_send + (L_h + E_g)/(1−ρ) + E_tx`, which is
//! before `t_send + L_a/(1+ρ)`, the earliest instant at which a voter may let another in.

use core::fmt;
use core::time::Duration;

use crate::time::nanos;

/// Renewing more often than this costs more than a horizon so short is worth.
const SHORTEST_RENEWAL: Duration = Duration::from_millis(5);
/// Parts per million.
const PPM: u64 = 1_000_000;

/// What kind of machine the lengths are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Profile {
    /// The clock can't be stopped without the machine: H = 0, and G = L_h.
    #[default]
    Metal,
    /// A hypervisor may stop the machine and hide it from every clock: H = G = 500 ms, and a lease long enough.
    Vm,
}

impl Profile {
    /// L_a where the operator gives none: 1 s on metal, 2 s in a virtual machine.
    pub const fn default_lease(self) -> Duration {
        match self {
            Profile::Metal => Duration::from_secs(1),
            Profile::Vm => Duration::from_secs(2),
        }
    }

    /// From its name in a configuration: `metal` or `vm`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "metal" => Some(Profile::Metal),
            "vm" => Some(Profile::Vm),
            _ => None,
        }
    }
}

/// The lengths, as the operator chose them or by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LeaseTiming {
    /// L_a: lease length at the voter.
    pub lease: Duration,
    /// L_max: the longest that any voter of the cluster grants; a restarted voter waits this long (V7).
    pub lease_max: Duration,
    /// ρ in parts per million: bound on |clock rate − 1|; 10 000 by default.
    pub rate_error_ppm: u32,
    /// E_tx: life of a frame behind the gate (queue, ring, switch).
    pub transmit: Duration,
    /// E_g: lateness of the gate, as all members allow for it.
    pub gate: Duration,
    /// Lateness of this node's own gate; the longer of the two counts here. In no digest (V9): nobody else need
    /// know, since it only shortens what this node makes of a lease.
    pub own_gate: Duration,
    /// H: hidden-freeze allowance, zero on metal.
    pub hidden_freeze: Duration,
    /// G: the gate never stays open longer than this after the sending of the newest request that another node's
    /// voter has answered; what is above L_h is as good as L_h.
    pub gate_horizon: Duration,
    /// The longest round trip to a voter that the cluster is made for.
    pub round_trip: Duration,
}

impl LeaseTiming {
    /// The defaults of safety.md for a lease of `lease`: ρ = 1 %, E_tx = 20 ms, E_g = 0.1 ms, H = 0,
    /// round trip 20 ms, L_max = L_a.
    pub const fn for_lease(lease: Duration) -> Self {
        LeaseTiming {
            lease,
            lease_max: lease,
            rate_error_ppm: 10_000,
            own_gate: Duration::ZERO,
            transmit: Duration::from_millis(20),
            gate: Duration::from_micros(100),
            hidden_freeze: Duration::ZERO,
            gate_horizon: Duration::MAX,
            round_trip: Duration::from_millis(20),
        }
    }

    /// The same with the H and G of a profile.
    pub const fn for_profile(profile: Profile, lease: Duration) -> Self {
        let timing = Self::for_lease(lease);
        match profile {
            Profile::Metal => timing,
            Profile::Vm => LeaseTiming {
                hidden_freeze: Duration::from_millis(500),
                gate_horizon: Duration::from_millis(500),
                ..timing
            },
        }
    }

    /// L_h = L_a·(1−ρ)/(1+ρ) − E_tx − E_g − H, or zero where that is negative.
    pub fn holder_lease(&self) -> Duration {
        let rho = u64::from(self.rate_error_ppm).min(PPM);
        let scaled = u128::from(nanos(self.lease)) * u128::from(PPM - rho) / u128::from(PPM + rho);
        let scaled = Duration::from_nanos(u64::try_from(scaled).unwrap_or(u64::MAX));
        scaled
            .saturating_sub(self.transmit)
            .saturating_sub(self.gate.max(self.own_gate))
            .saturating_sub(self.hidden_freeze)
    }

    /// How long this node's clock has to show, after the gate has been shut, until the last frame is gone in
    /// real time (R8): E_tx·(1+ρ), since the clock may run fast.
    pub fn drain(&self) -> Duration {
        let rho = u64::from(self.rate_error_ppm).min(PPM);
        Duration::from_nanos(
            (u128::from(nanos(self.transmit)) * u128::from(PPM + rho))
                .div_ceil(u128::from(PPM))
                .try_into()
                .unwrap_or(u64::MAX),
        )
    }

    /// G as it works: no more than L_h.
    pub fn horizon(&self) -> Duration {
        self.gate_horizon.min(self.holder_lease())
    }

    /// R, how often the holder renews: L_a/5, or a third of what G leaves beside a round trip, so that two lost
    /// renewals do not shut the gate.
    pub fn renewal_interval(&self) -> Duration {
        (self.lease / 5).min(self.horizon().saturating_sub(self.round_trip) / 3)
    }

    #[allow(clippy::result_large_err, reason = "made once, when a configuration is read")]
    /// Refuses lengths that do not fit each other; the message has the formula with the numbers in it.
    pub fn check(&self) -> Result<(), TimingError> {
        if self.rate_error_ppm > 200_000 {
            return Err(TimingError::RateError { ppm: self.rate_error_ppm });
        }
        if self.lease > self.lease_max {
            return Err(TimingError::LeaseAboveMax { lease: self.lease, lease_max: self.lease_max });
        }
        let holder = self.holder_lease();
        let renewal = self.renewal_interval();
        let room = holder.saturating_sub(self.round_trip) / 4;
        if holder.is_zero() || renewal > room {
            return Err(TimingError::LeaseTooShort { timing: *self, holder, renewal, room });
        }
        if renewal < SHORTEST_RENEWAL {
            return Err(TimingError::HorizonTooShort { timing: *self, renewal });
        }
        Ok(())
    }
}

/// Lengths that do not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimingError {
    /// ρ beyond any clock.
    #[error("rate error of {ppm} ppm: at most 200000 (20 %) can be covered")]
    RateError {
        /// As configured.
        ppm: u32,
    },
    /// L_a > L_max.
    #[error("lease L_a = {} is longer than the longest lease of the cluster, L_max = {}: raise L_max or lower L_a",
        Millis(*lease), Millis(*lease_max))]
    LeaseAboveMax {
        /// L_a.
        lease: Duration,
        /// L_max.
        lease_max: Duration,
    },
    /// G leaves no time to renew in.
    #[error("gate horizon too short: the gate is shut G = {} after the last renewal was sent, so R = (G - RTT)/3 = ({} - {})/3 \
        = {} would be needed, and at least {} is: raise gate_horizon, or lower round_trip",
        Millis(timing.horizon()), Millis(timing.horizon()), Millis(timing.round_trip), Millis(*renewal),
        Millis(SHORTEST_RENEWAL))]
    HorizonTooShort {
        /// The lengths.
        timing: LeaseTiming,
        /// R.
        renewal: Duration,
    },
    /// R does not fit in a quarter of what the holder has.
    #[error("lease too short: R = min(L_a/5, (G - RTT)/3) = {} must be at most (L_h - RTT)/4 = ({} - {})/4 = {}, where \
        L_h = L_a*(1-rho)/(1+rho) - E_tx - E_g - H = {}*(1-{rho})/(1+{rho}) - {} - {} - {} = {}: lengthen the lease, \
        or lower E_tx, H or the round trip",
        Millis(*renewal), Millis(*holder), Millis(timing.round_trip), Millis(*room), Millis(timing.lease),
        Millis(timing.transmit), Millis(timing.gate.max(timing.own_gate)), Millis(timing.hidden_freeze), Millis(*holder),
        rho = Ppm(timing.rate_error_ppm))]
    LeaseTooShort {
        /// The lengths.
        timing: LeaseTiming,
        /// L_h.
        holder: Duration,
        /// R.
        renewal: Duration,
        /// (L_h − RTT)/4.
        room: Duration,
    },
}

/// A duration in milliseconds with what is needed of three decimals.
pub struct Millis(pub Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        match micros % 1000 {
            0 => write!(f, "{} ms", micros / 1000),
            rest if rest % 100 == 0 => write!(f, "{}.{} ms", micros / 1000, rest / 100),
            rest => write!(f, "{}.{rest:03} ms", micros / 1000),
        }
    }
}

/// Parts per million as a plain fraction.
struct Ppm(u32);

impl fmt::Display for Ppm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", u64::from(self.0) / PPM, u64::from(self.0) % PPM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_second_leaves_the_holder_the_960_ms_of_the_table() {
        let timing = LeaseTiming::for_lease(Duration::from_secs(1));
        assert_eq!(timing.holder_lease().as_millis(), 960);
        assert_eq!(timing.check(), Ok(()));
    }

    #[test]
    fn the_fast_lease_of_300_ms_fits_and_100_ms_does_not() {
        assert_eq!(LeaseTiming::for_lease(Duration::from_millis(300)).check(), Ok(()));
        let error = LeaseTiming::for_lease(Duration::from_millis(100)).check().unwrap_err().to_string();
        assert!(error.contains("(G - RTT)/3) = 19.30") && error.contains("100 ms*(1-0.010000)"), "{error}");
    }

    #[test]
    fn in_a_virtual_machine_the_gate_is_renewed_thrice_within_g() {
        let mut t = LeaseTiming::for_profile(Profile::Vm, Profile::Vm.default_lease());
        assert_eq!(t.check(), Ok(()));
        assert_eq!((t.horizon(), t.renewal_interval()), (Duration::from_millis(500), Duration::from_millis(160)));
        t.lease = Duration::from_millis(1000);
        t.lease_max = t.lease;
        let error = t.check().unwrap_err().to_string();
        assert!(error.contains("must be at most") && error.contains("- 500 ms = 460."), "{error}");
        t.lease = Duration::from_millis(2000);
        t.lease_max = t.lease;
        t.gate_horizon = Duration::from_millis(30);
        let error = t.check().unwrap_err().to_string();
        assert!(error.contains("R = (G - RTT)/3 = (30 ms - 20 ms)/3 = 3.333 ms"), "{error}");
        t.gate_horizon = Duration::from_secs(60);
        assert_eq!(t.horizon(), t.holder_lease(), "the lease bounds it anyway");
    }

    #[test]
    fn the_last_frame_of_who_shut_by_hand_is_gone_even_by_a_fast_clock() {
        let timing = LeaseTiming::for_lease(Duration::from_secs(1));
        assert_eq!(timing.drain(), Duration::from_micros(20_200));
    }

    #[test]
    fn the_last_frame_is_gone_before_a_voter_lets_another_in() {
        for (lease_ms, own_gate_ms) in [(300, 0), (300, 10), (500, 4), (1000, 0), (5000, 10)] {
            for ppm in [0, 100, 10_000, 50_000] {
                let mut t = LeaseTiming::for_lease(Duration::from_millis(lease_ms));
                (t.rate_error_ppm, t.own_gate) = (ppm, Duration::from_millis(own_gate_ms));
                let rho = f64::from(ppm) / 1e6;
                let shut = t.holder_lease() + t.gate.max(t.own_gate);
                let last_frame = shut.as_secs_f64() / (1.0 - rho) + t.transmit.as_secs_f64();
                let free = t.lease.as_secs_f64() / (1.0 + rho);
                assert!(last_frame <= free + 1e-9, "L_a {lease_ms} ms, rho {rho}: {last_frame} > {free}");
            }
        }
    }
}
