//! The running relay: wires the stages to each other, replaces what may be replaced while running, and stops in order.
//!
//! It knows every stage and decides nothing; no stage knows it.

mod settings;

pub use settings::{Reload, Settings};
