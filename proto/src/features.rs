//! What this release can say that an older one can't, and the releases of members (docs/upgrading.md).
//!
//! A feature is used towards others only while every node of the cluster has said that it has it, so that a rolling upgrade
//! switches it on by its last step, and the first step back switches it off. What a node has said may be a moment old: it may have
//! been restarted as another release since. So no rule of safety may rest on a feature.

use core::fmt;

/// A set of features, as it travels: bits that this release does not know are kept, and mean nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features(pub u64);

/// One feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// Profiles tell what becomes of each domain while its authority is silent (D4), so that nodes of different policies
    /// are found.
    ProfilePolicy,
}

impl Feature {
    /// All that this release has.
    pub const ALL: [Feature; 1] = [Feature::ProfilePolicy];

    /// Its place in the set, 0 to 63; never given to another.
    fn bit(self) -> u64 {
        match self {
            Feature::ProfilePolicy => 1,
        }
    }

    /// Its name, for the operator.
    pub fn as_str(self) -> &'static str {
        match self {
            Feature::ProfilePolicy => "profile-policy",
        }
    }
}

impl Features {
    /// Those of this release.
    pub fn of_this_release() -> Self {
        Feature::ALL.iter().fold(Features::default(), |all, feature| Features(all.0 | feature.bit()))
    }

    /// Whether it is among them.
    pub fn has(self, feature: Feature) -> bool {
        self.0 & feature.bit() != 0
    }

    /// What both have.
    #[must_use]
    pub fn and(self, other: Features) -> Features {
        Features(self.0 & other.0)
    }
}

/// A release's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release {
    /// Major.
    pub major: u16,
    /// Minor.
    pub minor: u16,
    /// Patch.
    pub patch: u16,
}

impl Release {
    /// This one.
    pub const OURS: Release = Release {
        major: number(env!("CARGO_PKG_VERSION_MAJOR")),
        minor: number(env!("CARGO_PKG_VERSION_MINOR")),
        patch: number(env!("CARGO_PKG_VERSION_PATCH")),
    };
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Cargo's digits, read by the compiler; what is no number, or above 65535, does not compile.
#[allow(clippy::panic)] // The compiler's, not the program's.
const fn number(digits: &str) -> u16 {
    match u16::from_str_radix(digits, 10) {
        Ok(number) => number,
        Err(_) => panic!("the package's version is no number"),
    }
}
