//! A fleet of workers reconnects to Redis: the real client of the filter, with a clock and a network that are simulated.
//!
//! ```sh
//! cargo run --example reconnect_storm                    # 1,000 workers with 10 requests/s each, 5 s without a server
//! cargo run --example reconnect_storm -- 8 25 3 511      # workers, their requests/s, seconds, the server's tcp-backlog
//! ```
//!
//! ```text
//! requests ──► Client (real: reconnects, jitter, timeouts, Sentinel) ──► network ──► Server
//!              one for each worker                                       a delay     one thread, with a queue
//! ```
//!
//! It prints one line of JSON for each way in which a server can go away. docs/scale.md has the results, and says how they
//! compare with real workers. The model leaves out what Envoy adds: its own CPU time, and the bridge.

mod fleet;
mod report;
mod server;

use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::time::Duration;

use fleet::{Fleet, Scenario};

fn main() -> Result<(), Box<dyn Error>> {
    let mut numbers = env::args().skip(1).map(|word| word.parse::<u32>());
    let mut next = |default| numbers.next().unwrap_or(Ok(default));
    let (workers, rate, outage, backlog) = (next(1000)?, next(10)?, next(5)?, next(511)?);
    let (outage, backlog) = (Duration::from_secs(outage.into()), usize::try_from(backlog)?);
    let mut out = io::stdout().lock();
    for scenario in Scenario::ALL {
        let mut fleet = Fleet::new(scenario, workers, rate, outage, backlog, 1)?;
        fleet.run();
        writeln!(out, "{}", fleet.report())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const WORKERS: u32 = 60;
    const OUTAGE: Duration = Duration::from_secs(3);

    fn run(scenario: Scenario) -> Value {
        let mut fleet = Fleet::new(scenario, WORKERS, 5, OUTAGE, 511, 1).unwrap();
        fleet.run();
        fleet.report()
    }

    #[test]
    fn each_command_has_one_outcome() {
        for scenario in Scenario::ALL {
            let report = run(scenario);
            assert!(report["commands"].as_u64().unwrap() > 0, "{scenario:?}: {report}");
            assert_eq!(report["commands_without_outcome"], 0, "{scenario:?}: {report}");
        }
    }

    #[test]
    fn each_worker_has_a_good_answer_after_the_outage() {
        for scenario in Scenario::ALL {
            let report = run(scenario);
            assert_eq!(report["workers_with_an_answer"], WORKERS, "{scenario:?}: {report}");
        }
    }

    /// The longest delay between two attempts is a second (`redis/reconnect.rs`).
    #[test]
    fn worker_comes_back_within_the_longest_delay() {
        let report = run(Scenario::Restart);
        let last = report["last_good_answer_ms"].as_f64().unwrap();
        assert!((0.0..1500.0).contains(&last), "{report}");
    }

    /// All of them lost the server in the same moment, and always have a request that wants to connect.
    #[test]
    fn delays_spread_the_reconnects_over_the_second() {
        let mut fleet = Fleet::new(Scenario::Restart, 30, 100, OUTAGE, 511, 1).unwrap();
        fleet.run();
        let report = fleet.report();
        let most = report["most_connects_in_100_ms"].as_u64().unwrap();
        assert!(most < 15, "{report}");
    }

    #[test]
    fn same_seed_gives_the_same_storm() {
        assert_eq!(run(Scenario::SentinelCrash), run(Scenario::SentinelCrash));
    }
}
