//! Whether the spool takes mail, can record results, and works at all.

/// The state of a spool as its callers should treat it. All fields are `None` while everything works. The reasons are for people.
///
/// [`Spool::health`](super::Spool::health) gives a receiver that can be read at any time and waited on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// New mail is refused for want of room. Queued mail still goes out.
    pub full: Option<String>,
    /// The last write failed, so no result can be recorded. Nothing is handed out for delivery, since sending on would only make
    /// duplicates. The spool tries to write again by itself.
    pub troubled: Option<String>,
    /// The spool has given up. It takes no more work until the program is started again.
    pub stopped: Option<String>,
}

impl Health {
    /// Returns true if results can be recorded, so that mail may be handed out for delivery.
    pub fn may_deliver(&self) -> bool {
        self.troubled.is_none() && self.stopped.is_none()
    }
}
