//! Deliberate faults: each is a wrong that the relay could do, and the simulation has to find every one of them.
//!
//! None of them is in the relay's code. They stand where a simulated machine or database does something for the relay, or between the
//! queue and the spool, and change what passes there as if the relay had not asked for it, or had asked for something else. So they exist
//! in the unit tests' build alone, and nothing in the relay asks whether one is on.

use super::here;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The log is not synced before mail is acknowledged.
    SkipsSync,
    /// New names in the spool's folder are not synced.
    SkipsFolderSync,
    /// Connections leave from another address now and then.
    LeavesFromElsewhere,
    /// The signature is left out of some mail.
    LeavesUnsigned,
    /// A message is forgotten as soon as it is acknowledged.
    LosesAcknowledged,
    /// A result counts as recorded, and is not.
    LosesResult,
    /// A message is leased a second time while its first attempt goes on.
    LeasesTwice,
    /// A message counts as relayed once its last octet is sent, whatever the server answers.
    SettlesBeforeReply,
    /// A recipient counts as relayed that the server put off.
    TakesLaterForNow,
    /// The cap on messages a minute is forgotten.
    ForgetsMinute,
    /// The cap on recipients a day is forgotten at a restart.
    ForgetsDay,
    /// The cap on connections at once is one too high.
    OneConnectionMore,
    /// The caps on recipients in a transaction and on messages over a connection are forgotten.
    ForgetsTransactionCaps,
    /// Held mail is delivered.
    DeliversHeld,
    /// A message that was put off is not tried again.
    ForgetsDeferred,
    /// An owner does not check its epoch, neither in a transaction nor when it continues over a new connection.
    SkipsEpochCheck,
    /// What a commit left whose outcome was unknown is not removed before the log goes on.
    SkipsTakingBack,
    /// A commit is confirmed now and then that is not kept: no sync, or a standby that was not waited for.
    LosesCommit,
    /// An attempt begins although the node's lease is over.
    IgnoresLease,
    /// A message that is being sent is sent to its end although the node's lease is over.
    SendsAfterLease,
    /// A node does not divide the caps on connections of a route that all nodes use.
    KeepsCapsWhole,
    /// A node takes a part of a day's allowance without a look at what the others took.
    ForgetsDayOfOthers,
    /// The next owner of a customer's mail does not learn what the customer's server got from the last one.
    ForgetsCarried,
}

impl Fault {
    /// Those that the simulation of one relay has to find.
    pub const ALONE: [Fault; 15] = [
        Fault::SkipsSync,
        Fault::SkipsFolderSync,
        Fault::LeavesFromElsewhere,
        Fault::LeavesUnsigned,
        Fault::LosesAcknowledged,
        Fault::LosesResult,
        Fault::LeasesTwice,
        Fault::SettlesBeforeReply,
        Fault::TakesLaterForNow,
        Fault::ForgetsMinute,
        Fault::ForgetsDay,
        Fault::OneConnectionMore,
        Fault::ForgetsTransactionCaps,
        Fault::DeliversHeld,
        Fault::ForgetsDeferred,
    ];
    /// Those that the simulation of several nodes has to find.
    pub const OF_NODES: [Fault; 14] = [
        Fault::SkipsEpochCheck,
        Fault::SkipsTakingBack,
        Fault::LosesCommit,
        Fault::IgnoresLease,
        Fault::SendsAfterLease,
        Fault::LosesResult,
        Fault::KeepsCapsWhole,
        Fault::ForgetsDayOfOthers,
        Fault::ForgetsCarried,
        Fault::LosesAcknowledged,
        Fault::LeasesTwice,
        Fault::SettlesBeforeReply,
        Fault::ForgetsMinute,
        Fault::ForgetsDeferred,
    ];
}

/// Returns true if this thread's machine has the fault.
pub fn is_on(fault: Fault) -> bool {
    here().is_some_and(|machine| machine.hardware.fault == Some(fault))
}
