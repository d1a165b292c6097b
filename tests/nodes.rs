//! Several nodes on one database: real processes of the real binary, a real PostgreSQL, and servers that count what they get.
//!
//! `tests/nodes/run` makes the same for as long as one likes.

#[path = "support"]
mod support {
    pub mod capture;
    pub mod client;
    pub mod contract;
    pub mod http;
    pub mod ports;
    pub mod postgres;
    pub mod relay;
    pub mod skip;
}

#[path = "nodes/cluster.rs"]
mod cluster;
#[path = "nodes/commands.rs"]
mod commands;
#[path = "nodes/configuration.rs"]
mod configuration;
#[path = "nodes/day.rs"]
mod day;
#[path = "nodes/erasure.rs"]
mod erasure;
#[path = "nodes/faults.rs"]
mod faults;
#[path = "nodes/forwarded.rs"]
mod forwarded;
#[path = "nodes/known.rs"]
mod known;
#[path = "nodes/load.rs"]
mod load;
#[path = "nodes/moves.rs"]
mod moves;
#[path = "nodes/network.rs"]
mod network;
#[path = "nodes/spool_move.rs"]
mod spool_move;
#[path = "nodes/standby_machine.rs"]
mod standby_machine;
#[path = "nodes/webhooks.rs"]
mod webhooks;
#[path = "nodes/whole.rs"]
mod whole;
#[path = "nodes/wire.rs"]
mod wire;
