//! Reads `[limits]` of a customer's file.

use super::reader::Table;
use crate::customers::{Reaction, VolumeLimits};

pub(super) fn limits(table: &Table<'_>) -> VolumeLimits {
    let default = VolumeLimits::default();
    let reaction = |key: &'static str, default| {
        let choices = [("off", Reaction::Off), ("alert", Reaction::Alert), ("pause", Reaction::Pause)];
        table.choice(key, &choices).unwrap_or(default)
    };
    let many = 1..=1_000_000_000;
    let limits = VolumeLimits {
        per_hour: table.number_if_any("messages_per_hour", many.clone()),
        per_day: table.number_if_any("messages_per_day", many.clone()),
        spare_single: table.or("spare_single", default.spare_single),
        on_leap: reaction("on_leap", default.on_leap),
        leap_factor: table.number("leap_factor", 2..=1000, default.leap_factor),
        leap_volume: table.number("leap_volume", many.clone(), default.leap_volume),
        on_bounces: reaction("on_bounces", default.on_bounces),
        bounce_percent: table.number("bounce_percent", 0.1..=100.0, default.bounce_percent),
        on_complaints: reaction("on_complaints", default.on_complaints),
        complaint_percent: table.number("complaint_percent", 0.01..=100.0, default.complaint_percent),
        rate_volume: table.number("rate_volume", many, default.rate_volume),
    };
    if let (Some(hour), Some(day)) = (limits.per_hour, limits.per_day)
        && hour > day
    {
        table.warning("messages_per_hour", format!("{hour} an hour are never reached with {day} a day"));
    }
    limits
}
