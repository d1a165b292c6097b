//! What a customer wants done with suppressed addresses.

use std::time::Duration;

/// How a customer's list is used and filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What happens to mail for a suppressed address.
    pub mode: Mode,
    /// So many hard bounces within [`window`](Self::window) suppress an address.
    pub hard_bounces: u32,
    /// The time in which the bounces are counted.
    pub window: Duration,
    /// How long an address stays suppressed for its bounces.
    pub bounces_expire: Duration,
}

/// What happens to mail for a suppressed address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing is recorded and nothing is refused.
    Off,
    /// Addresses are recorded, and the event of the accepted mail says so.
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
