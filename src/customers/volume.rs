//! How much a customer may send, and which unusual mail raises an alert or a pause (`[limits]` in the customer's file).

/// The limits of one customer's mail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VolumeLimits {
    /// The most messages per hour. More wait for the next hour.
    pub per_hour: Option<u32>,
    /// The most messages per day, which begins at midnight UTC. More wait for the next day.
    pub per_day: Option<u32>,
    /// True if single mail is neither counted nor delayed.
    pub spare_single: bool,
    /// What happens if more messages leave in an hour than [`leap_factor`](Self::leap_factor) times the busiest hour of the last seven
    /// days, and more than [`leap_volume`](Self::leap_volume). The reason may be a stolen password.
    pub on_leap: Reaction,
    /// A leap is a volume of more than this many times the usual one (see [`on_leap`](Self::on_leap)).
    pub leap_factor: u32,
    /// A volume up to this one is never a leap (see [`on_leap`](Self::on_leap)).
    pub leap_volume: u32,
    /// What happens if the last 24 hours had at least [`rate_volume`](Self::rate_volume) recipients, and more than
    /// [`bounce_percent`](Self::bounce_percent) of them bounced for good.
    pub on_bounces: Reaction,
    /// The percentage of bounces above which [`on_bounces`](Self::on_bounces) applies.
    pub bounce_percent: f64,
    /// What happens if more than [`complaint_percent`](Self::complaint_percent) of the recipients complained.
    pub on_complaints: Reaction,
    /// The percentage of complaints above which [`on_complaints`](Self::on_complaints) applies.
    pub complaint_percent: f64,
    /// Rates are computed only for at least this many recipients, because fewer say nothing.
    pub rate_volume: u32,
}

/// What happens if a customer's mail is unusual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// The rule is not applied.
    Off,
    /// An alert is raised.
    Alert,
    /// An alert is raised, and the customer is paused until an operator resumes it.
    Pause,
}

/// No caps; unusual mail raises an alert.
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
