//! Deliberate faults of several nodes on one database, each of which the simulation has to find. As with those of one relay, none is in
//! the relay's code: they stand where the simulated database answers, and where the queue asks the spool.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An owner does not check its epoch, neither in a transaction nor when it continues over a new connection.
    SkipsEpochCheck,
    /// What a commit left whose outcome was unknown is not removed before the log goes on.
    SkipsTakingBack,
    /// A commit is confirmed now and then that is not kept: no sync, or a standby that was not waited for.
    LosesCommit,
    /// An attempt begins although the node's lease is over.
    IgnoresLease,
    /// A result counts as recorded, and is not.
    LosesResult,
}

impl Fault {
    pub const ALL: [Fault; 5] =
        [Fault::SkipsEpochCheck, Fault::SkipsTakingBack, Fault::LosesCommit, Fault::IgnoresLease, Fault::LosesResult];
}
