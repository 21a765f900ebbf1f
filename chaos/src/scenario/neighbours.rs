//! What two releases go through together: not among `run`'s scenarios, since one release alone has no neighbour.

use super::{Demands, Limit, MOVES, NODES_APART, PLAIN, SPARE, Scenario, start, step};
use crate::fault::{Fault, Who};

/// Every machine is stopped in good order and started again, one after the other, and the nodes are cut from each other.
///
/// Half of the lease is the longest silence: where the lease is not transferred from one release to the other, the next
/// holder waits until it has run out.
pub const NEIGHBOURS: Scenario = Scenario {
    name: "neighbours",
    what: "backup, master and witness are stopped in good order and started again; then the nodes are apart",
    steps: &[
        step(1000, "SIGTERM backup", Fault::Terminate { who: Who::Backup }),
        step(2500, "backup up again", start(Who::Backup)),
        step(6000, "SIGTERM master", Fault::Terminate { who: Who::Master }),
        step(7500, "master up again", start(Who::Master)),
        step(13_000, "SIGTERM witness", Fault::Terminate { who: Who::Witness }),
        step(14_500, "witness up again", start(Who::Witness)),
        step(17_500, "nodes apart", NODES_APART),
        step(20_000, "healed", Fault::Heal),
    ],
    lasts_ms: 23_000,
    demands: Demands { outage: Limit::ms(super::LEASE_MS / 2), final_holder: Some(Who::Master), ..MOVES },
    needs: SPARE,
    ..PLAIN
};
