//! Why a server that a customer entered is not used. The languages put it into words.

use crate::operate::own_server::NotTried;

/// Why a server is not used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// The port is no number.
    Port,
    /// A customer whose mail goes through Mailjet has not said that it is to go there.
    Unconfirmed,
    /// It was not tried.
    Not(NotTried),
    /// The trial took too long.
    TooSlow,
    /// webCRM has to change something first.
    Ours,
    /// What was entered about the application cannot be right.
    Application,
    /// Another trial of the customer runs, or has just ended.
    TooSoon,
}
