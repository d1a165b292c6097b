//! Says whether the spool accepts mail, can record results, and works at all.

/// The state of a spool as its callers should treat it. All fields are `None` while everything works. The reasons are for people.
///
/// [`Spool::health`](super::Spool::health) gives a receiver that can be read at any time and waited on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// New mail is refused for lack of room. Queued mail still goes out.
    pub full: Option<String>,
    /// The last write failed, so no result can be recorded. Nothing is leased, because further attempts would only make duplicates. The
    /// spool tries to write again on its own.
    pub troubled: Option<String>,
    /// The spool has given up. It does no more work until the program is started again.
    pub stopped: Option<String>,
}

impl Health {
    /// Returns true if results can be recorded, so that mail may be handed out for delivery.
    pub fn may_deliver(&self) -> bool {
        self.troubled.is_none() && self.stopped.is_none()
    }
}
