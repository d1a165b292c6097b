//! A customer's settings for suppressed addresses.

use std::time::Duration;

/// How a customer's list is filled and used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What happens to mail for a suppressed address.
    pub mode: Mode,
    /// This many hard bounces within [`window`](Self::window) suppress an address.
    pub hard_bounces: u32,
    /// The time over which bounces are counted.
    pub window: Duration,
    /// How long an address stays suppressed after hard bounces.
    pub bounces_expire: Duration,
}

/// What happens to mail for a suppressed address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// No list is kept, and no mail is refused.
    Off,
    /// Addresses are recorded. Mail is accepted, and its event reports the suppressed recipients.
    Event,
    /// The recipient is refused.
    Refuse,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            mode: Mode::Off,
            hard_bounces: 2,
            window: Duration::from_secs(30 * 86_400),
            bounces_expire: Duration::from_secs(180 * 86_400),
        }
    }
}
