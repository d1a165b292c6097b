//! Delivery: one attempt at one smarthost, and what came of it. It decides nothing: the queue does.

pub mod outcome;

pub use outcome::{Outcome, RecipientOutcome, Scope, Trouble, Verdict};
