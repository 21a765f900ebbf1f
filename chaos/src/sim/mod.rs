//! The simulated world.

/// Runs seeds 0 to `seeds`; returns the exit code, 1 if an invariant broke.
///
/// # Errors
/// Always, until the simulator is here.
pub fn sweep(_seeds: u64, _json: bool) -> Result<u8, String> {
    Err("the simulator is not built in: use `run SCENARIO --world netns`".to_owned())
}

/// Runs a scenario in the simulated world.
///
/// # Errors
/// Always, until the simulator is here.
pub fn run(_scenario: &crate::scenario::Scenario, _seed: u64) -> Result<crate::outcome::Outcome, String> {
    Err("the simulator is not built in: use --world netns".to_owned())
}
