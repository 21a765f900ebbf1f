//! The command line of the model checker.

use clap::{Args, Parser, Subcommand};
use keepone_model::check::{Report, check};
use keepone_model::guard::Mutant;
use keepone_model::protocol::Lease;
use serde_json::json;

/// Checks the lease protocol exhaustively: 2 candidates, 3 voters, a network that loses, duplicates and
/// reorders, restarts with and without disk.
#[derive(Debug, Parser)]
#[command(name = "keepone-model", version)]
#[command(after_help = "Exit codes: 0 as it should be, 1 a violation, or a mutant that was not caught, 2 usage.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The protocol as it is: no violation within the bounds.
    Check(Options),
    /// Each guard taken out in turn: each must be missed.
    Mutants(Options),
}

#[derive(Debug, Clone, Copy, Args)]
struct Options {
    /// Attempts of the candidates in all.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=8))]
    attempts: u8,
    /// Restarts of the candidates' agents in all.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=3))]
    node_restarts: u8,
    /// Restarts of voters in all, each with its disk or without.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=4))]
    voter_restarts: u8,
    /// Stop after so many steps; 0: go on to the end.
    #[arg(long, default_value_t = 0)]
    limit: usize,
    /// Threads; with more than one a counterexample may be a little longer than the shortest.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Print each counterexample in words.
    #[arg(long)]
    words: bool,
    /// Only one line of JSON on the standard output.
    #[arg(long)]
    json: bool,
}

impl Options {
    fn model(&self, mutant: Option<Mutant>) -> Lease {
        let (attempts, node_restarts, voter_restarts) = (self.attempts, self.node_restarts, self.voter_restarts);
        Lease { attempts, node_restarts, voter_restarts, mutant }
    }
}

fn main() {
    let well = match Cli::parse().command {
        Command::Check(options) => whole(&options),
        Command::Mutants(options) => mutants(&options),
    };
    std::process::exit(i32::from(!well));
}

fn whole(options: &Options) -> bool {
    let report = check(options.model(None), options.limit, options.threads);
    let well = report.violated.is_empty() && report.unseen.is_empty();
    if options.json {
        println!("{}", in_json(options, &report, well));
        return well;
    }
    println!(
        "{} states ({} steps, depth {}) in {:.1} s; bounds: {} attempts and {} restarts of candidates, {} restarts of voters",
        report.states,
        report.steps,
        report.depth,
        report.took.as_secs_f64(),
        options.attempts,
        options.node_restarts,
        options.voter_restarts
    );
    println!("{}", if report.exhaustive { "every state within the bounds was looked at" } else { "not exhaustive" });
    for (name, way) in &report.violated {
        println!("VIOLATED {name}, after {} steps:", way.len());
        print_way(way);
    }
    for name in &report.seen {
        println!("seen: {name}");
    }
    for name in &report.unseen {
        println!("NOT SEEN: {name}");
    }
    if well {
        println!("no violation");
    }
    well
}

fn mutants(options: &Options) -> bool {
    let mut caught = 0;
    let mut rows = Vec::new();
    for mutant in Mutant::ALL {
        let (attempts, node_restarts, voter_restarts) = mutant.bounds();
        let model = Lease { attempts, node_restarts, voter_restarts, mutant: Some(mutant) };
        let report = check(model, options.limit, options.threads);
        let way = report.violated.first();
        caught += usize::from(way.is_some());
        let (name, rules, states) = (mutant.name(), mutant.rules(), report.states);
        if options.json {
            rows.push(json!({
                "mutant": name, "rules": rules, "states": states, "counterexample": way.map(|(_, way)| way.len()),
            }));
            continue;
        }
        match way {
            Some((property, way)) => {
                println!("{name:32} {rules:12} caught: {} steps, {states} states ({property})", way.len());
                if options.words {
                    print_way(way);
                }
            }
            None => println!("{name:32} {rules:12} NOT CAUGHT in {states} states"),
        }
    }
    let well = caught == Mutant::ALL.len();
    if options.json {
        println!("{}", json!({ "rows": rows, "mutants": Mutant::ALL.len(), "caught": caught }));
    } else {
        println!("{caught} of {} caught", Mutant::ALL.len());
    }
    well
}

fn print_way(way: &[String]) {
    for (number, step) in way.iter().enumerate() {
        println!("    {:2} {step}", number + 1);
    }
}

fn in_json(options: &Options, report: &Report, well: bool) -> serde_json::Value {
    json!({
        "attempts": options.attempts,
        "node_restarts": options.node_restarts,
        "voter_restarts": options.voter_restarts,
        "states": report.states,
        "steps": report.steps,
        "depth": report.depth,
        "seconds": report.took.as_secs_f64(),
        "exhaustive": report.exhaustive,
        "violated": report.violated.iter().map(|(name, way)| json!({ "property": name, "steps": way })).collect::<Vec<_>>(),
        "unseen": report.unseen,
        "ok": well,
    })
}
