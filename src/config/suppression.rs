//! Reads `[suppression]`: in the server file for all customers, in a customer's file for that one.

use std::time::Duration;

use super::reader::Table;
use crate::customers::suppression::{LONGEST_WINDOW, Mode, Policy};

/// Reads the table. Missing keys have the values of `default`.
pub(super) fn policy(table: &Table<'_>, default: Policy) -> Policy {
    let modes = [("off", Mode::Off), ("event", Mode::Event), ("refuse", Mode::Refuse)];
    let policy = Policy {
        mode: table.choice("mode", &modes).unwrap_or(default.mode),
        hard_bounces: table.number("hard_bounces", 1..=100, default.hard_bounces),
        window: longer_than_nothing(table, "window", default.window),
        bounces_expire: longer_than_nothing(table, "bounces_expire", default.bounces_expire),
    };
    if policy.window > LONGEST_WINDOW {
        let days = LONGEST_WINDOW.as_secs() / 86_400;
        table.mistake("window", format!("is longer than {days} days, for which bounces are kept"));
    }
    policy
}

fn longer_than_nothing(table: &Table<'_>, key: &'static str, default: Duration) -> Duration {
    let found = table.or(key, default);
    if found.is_zero() {
        table.mistake(key, "must be longer than nothing");
    }
    found
}
