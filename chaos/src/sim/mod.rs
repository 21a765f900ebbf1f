//! The simulated world.

/// Runs a scenario in the simulated world.
///
/// # Errors
/// Always, until the simulator is here.
pub fn run(_scenario: &crate::scenario::Scenario, _seed: u64) -> Result<crate::outcome::Outcome, String> {
    Err("the simulator is not built in: use --world netns".to_owned())
}
