//! One size, lease and burden of a matrix.

use crate::netns::world::Burden;
use crate::scenario::{Scenario, Shape};

/// One cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// Nodes.
    pub nodes: u8,
    /// The lease in milliseconds.
    pub lease_ms: u64,
    /// Ordinary programs on the machine that want a whole CPU each, whatever the number of clusters.
    pub hogs: u8,
}

impl Cell {
    /// All of them.
    pub fn all(nodes: &[u8], leases_ms: &[u64], hogs: &[u8]) -> Vec<Cell> {
        let mut cells = Vec::new();
        for &hogs in hogs {
            for &nodes in nodes {
                cells.extend(leases_ms.iter().map(|&lease_ms| Cell { nodes, lease_ms, hogs }));
            }
        }
        cells
    }

    /// The least cluster of that size in which the scenario means something; `None`: there is none.
    pub fn shape(&self, scenario: &Scenario) -> Option<Shape> {
        let with = |witnesses, nodes_vote| Shape {
            nodes: self.nodes,
            witnesses,
            nodes_vote,
            lease_ms: self.lease_ms,
            ..Shape::PAIR
        };
        // One witness, and three where a node and the witnesses must be a majority; witnesses alone; no authority; etcd.
        let shapes = [with(1, true), with(3, true), with(1, false), with(0, true), with(3, false).with_etcd()];
        shapes.into_iter().find(|shape| scenario.missing(shape).is_none())
    }

    /// What burdens the machine: the first of several clusters brings it for all.
    pub fn burden(&self, first: bool) -> Burden {
        Burden { hogs: if first { self.hogs } else { 0 }, rt_hogs: 0 }
    }
}
