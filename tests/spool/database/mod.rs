//! The spool in PostgreSQL, against a real server: one that is lost, slow, full or unfit, and other nodes that want the spool.

mod backup;
mod faults;
mod fitness;
mod nodes;
mod rig;
mod room;
