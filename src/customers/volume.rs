//! How much a customer may send, and what of its sending is odd enough to be told or stopped (`[limits]` in its file).

/// The limits of one customer's mail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VolumeLimits {
    /// The most messages an hour that leave. More wait for the next hour.
    pub per_hour: Option<u32>,
    /// The most messages a day that leave, from midnight UTC on. More wait for the next day.
    pub per_day: Option<u32>,
    /// True if single mail neither counts nor waits.
    pub spare_single: bool,
    /// What happens when more messages leave in an hour than [`leap_factor`](Self::leap_factor) times the busiest hour of the last seven
    /// days, and at least [`leap_volume`](Self::leap_volume): a password may have leaked.
    pub on_leap: Reaction,
    /// See [`on_leap`](Self::on_leap).
    pub leap_factor: u32,
    /// See [`on_leap`](Self::on_leap).
    pub leap_volume: u32,
    /// What happens when of at least [`rate_volume`](Self::rate_volume) recipients of the last 24 hours more than
    /// [`bounce_percent`](Self::bounce_percent) bounced for good.
    pub on_bounces: Reaction,
    /// See [`on_bounces`](Self::on_bounces).
    pub bounce_percent: f64,
    /// The same for complaints.
    pub on_complaints: Reaction,
    /// See [`on_complaints`](Self::on_complaints).
    pub complaint_percent: f64,
    /// Rates of fewer recipients say nothing.
    pub rate_volume: u32,
}

/// What happens when a customer's mail looks wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Nothing happens.
    Off,
    /// The operator is told.
    Alert,
    /// The operator is told, and the customer's mail is paused until somebody resumes it.
    Pause,
}

/// No limits; what is odd is told.
impl Default for VolumeLimits {
    fn default() -> Self {
        VolumeLimits {
            per_hour: None,
            per_day: None,
            spare_single: false,
            on_leap: Reaction::Alert,
            leap_factor: 10,
            leap_volume: 1000,
            on_bounces: Reaction::Alert,
            bounce_percent: 10.0,
            on_complaints: Reaction::Alert,
            complaint_percent: 0.3,
            rate_volume: 200,
        }
    }
}
