//! Commands about the queue: what waits, and what an operator does to it.

mod change;
mod look;
mod selection;
mod stopped;
