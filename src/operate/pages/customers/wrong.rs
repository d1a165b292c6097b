//! Why a server that a customer entered is not used. The languages put it into words.

use crate::operate::own_server::NotTried;

/// Why a server is not used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// The port is not a number.
    Port,
    /// The customer's mail goes through Mailjet, and the customer has not confirmed the change.
    Unconfirmed,
    /// It was not tried.
    Not(NotTried),
    /// The trial took too long.
    TooSlow,
    /// webCRM must change something first.
    Ours,
    /// The data of the application cannot be right.
    Application,
    /// Another trial of the customer is running, or has just ended.
    TooSoon,
}
