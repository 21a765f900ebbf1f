//! Tests of the simulator: it finds nothing with all guards on, and each guard's absence without it.

use super::scenarios::run_traced;
use super::*;

#[test]
fn three_hundred_seeds_hold_every_invariant() {
    let report = sweep(0, 300, &Options::default());
    assert_eq!((report.violating, report.dual), (0, 0), "{:#?}", report.examples);
    assert!(report.simulated_s > 2000 && report.events > 100_000, "{report:?}");
}

#[test]
fn every_mode_holds_its_invariants() {
    for mode in [Mode::Pair, Mode::Three, Mode::Unarbitrated] {
        let report = sweep(7000, 40, &Options { mode: Some(mode), ..Options::default() });
        assert_eq!(report.violating, 0, "{mode:?} {:#?}", report.examples);
    }
}

#[test]
fn a_guard_that_is_taken_out_is_missed() {
    for ablation in ablation::ALL {
        let options = Options { ablation: Some(*ablation), ..Options::default() };
        let found = (0..400).find(|seed| !run_seed(*seed, &options).violations.is_empty());
        assert!(found.is_some(), "nothing shows that {} is missing", ablation.as_str());
    }
}

#[test]
fn without_an_arbiter_or_without_the_margin_two_hold_at_once() {
    for ablation in [Ablation::Arbiter, Ablation::DriftMargin, Ablation::ShutBeforeRelease, Ablation::KernelGate] {
        let options = Options { ablation: Some(ablation), ..Options::default() };
        let found = (0..400).find(|seed| run_seed(*seed, &options).is_dual());
        assert!(found.is_some(), "{}: never two holders", ablation.as_str());
    }
}

#[test]
fn one_seed_is_one_history_i25() {
    for seed in 40..60 {
        let (first, second) = (run_seed(seed, &Options::default()), run_seed(seed, &Options::default()));
        assert_eq!((first.hash, first.events), (second.hash, second.events), "seed {seed}");
        assert_ne!(first.hash, run_seed(seed + 1, &Options::default()).hash);
    }
    let traced = Options { trace: true, ..Options::default() };
    assert_eq!(run_seed(40, &traced).trace, run_seed(40, &traced).trace);
    assert_eq!(run_seed(40, &traced).hash, run_seed(40, &Options::default()).hash, "looking changes nothing");
}

#[test]
fn the_report_of_a_sweep_does_not_depend_on_the_threads() {
    let options = Options { ablation: Some(Ablation::ShutBeforeRelease), ..Options::default() };
    let (first, second) = (sweep(0, 130, &options), sweep(0, 130, &options));
    assert_eq!(serde_json::to_string(&first).ok(), serde_json::to_string(&second).ok());
    let alone = (0..130).filter(|seed| !run_seed(*seed, &options).violations.is_empty()).count();
    assert_eq!(usize::try_from(first.violating).ok(), Some(alone));
}

#[test]
fn every_named_scenario_holds_what_it_demands() {
    for scenario in crate::scenario::ALL.iter().filter(|scenario| !scenario.is_real_only()) {
        for seed in 0..3 {
            let outcome = run_scenario(scenario.name, seed).unwrap();
            assert_eq!(outcome.violations, Vec::<String>::new(), "{} seed {seed}", scenario.name);
            assert_eq!((outcome.world, outcome.seed, outcome.dual_holder_ms), ("sim", seed, 0.0));
        }
    }
    assert!(run_scenario("no-such-scenario", 0).is_none());
}

#[test]
fn a_scenario_can_be_read_in_words() {
    let scenario = crate::scenario::find("graceful-stop").unwrap();
    let (_, trace) = run_traced(scenario, 1, true).unwrap();
    assert!(trace.iter().any(|line| line.contains("MASTER → INIT (stopping)")));
    assert!(trace.iter().any(|line| line.contains("Transfer")));
}
