//! Sweeps from the shell: `sweep COUNT [FIRST] [ablation|all]`, `sweep trace SEED [ablation]`,
//! `sweep scenario NAME SEED`.

use keepone_chaos::sim::{self, Ablation, Options};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let word = |place: usize| arguments.get(place).map(String::as_str).unwrap_or_default();
    let number = |place: usize, or: u64| word(place).parse().unwrap_or(or);
    let ablation = |name: &str| sim::ablation::ALL.iter().copied().find(|a: &Ablation| a.as_str() == name);
    match word(0) {
        "trace" => {
            let options = Options { trace: true, ablation: ablation(word(2)), ..Options::default() };
            let outcome = sim::run_seed(number(1, 0), &options);
            for line in &outcome.trace {
                println!("{line}");
            }
            println!("{:?} {:#?}", outcome.mode, outcome.violations);
        }
        "scenario" => {
            for scenario in keepone_chaos::scenario::ALL {
                if word(1) == "all" || word(1) == scenario.name {
                    let outcome = sim::run_scenario(scenario.name, number(2, 0));
                    println!("{}", serde_json::to_string(&outcome).unwrap_or_default());
                }
            }
        }
        _ if word(2) == "all" => {
            for row in sim::ablations(number(1, 0), number(0, 100)) {
                println!("{:34} {:6} of {:6}, two holders in {:6}", row.ablation, row.violating, row.seeds, row.dual);
            }
        }
        _ => {
            let begun = std::time::Instant::now();
            let options = Options { ablation: ablation(word(2)), ..Options::default() };
            let report = sim::sweep(number(1, 0), number(0, 100), &options);
            println!("{report:#?}\n{:?}", begun.elapsed());
        }
    }
}
