//! Formats times, ages, numbers and events.

use std::borrow::Cow;

use maud::{Markup, html};
use serde_json::Value;

use super::input::segment;
use crate::operate::pages::elements::strange;
pub(super) use crate::size::octets;
use crate::time::Timestamp;

/// Formats a time: date and time in UTC, to the second.
pub(super) fn moment(at: Timestamp) -> Markup {
    written(&at.to_string())
}

/// Formats a time of an event. Any other text is shown as a stranger's.
pub(super) fn written(text: &str) -> Markup {
    let is_moment = text.bytes().all(|octet| octet.is_ascii_digit() || b"-:.TZ".contains(&octet));
    let shown = match text.split_once('T') {
        Some((date, time)) if is_moment && date.len() == 10 && time.len() >= 8 => {
            Cow::Owned(format!("{date} {}", &time[..8]))
        }
        _ => strange(text),
    };
    html! { time datetime=(strange(text)) title="UTC" { (shown) } }
}

/// Formats an age in at most two units: `3 d 4 h`, `5 min`.
pub(super) fn age(secs: u64) -> String {
    match secs {
        0..60 => format!("{secs} s"),
        60..3600 => format!("{} min", secs / 60),
        3600..86_400 => format!("{} h {} min", secs / 3600, secs % 3600 / 60),
        _ => format!("{} d {} h", secs / 86_400, secs % 86_400 / 3600),
    }
}

/// Formats a number with spaces between thousands.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            // A space at which the line does not break.
            shown.push('\u{202f}');
        }
        shown.push(digit);
    }
    shown
}

/// Formats a number of messages: `1 message`, `2 000 messages`.
pub(super) fn messages(count: u64) -> String {
    if count == 1 { "1 message".to_owned() } else { format!("{} messages", number(count)) }
}

/// Names the nodes whose part of an answer is missing.
pub(super) fn missing(nodes: &[String]) -> Markup {
    html! {
        @if !nodes.is_empty() {
            p role="status" { strong { "The part of other nodes is missing: " } (strange(&nodes.join("; "))) }
        }
    }
}

/// Links to a customer.
pub(super) fn customer(id: &str) -> Markup {
    html! { a href={ "/customers/" (segment(id)) } { (strange(id)) } }
}

/// Links to a route.
pub(super) fn route(id: &str) -> Markup {
    html! { a.whole href={ "/routes/" (segment(id)) } { (strange(id)) } }
}

/// Links to a message.
pub(super) fn message(id: &str) -> Markup {
    html! { a href={ "/queue/" (segment(id)) } { code { (strange(id)) } } }
}

/// Links to the customer, the route and the message of an event.
pub(super) fn place(event: &Value) -> Markup {
    let text = |name: &str| event[name].as_str();
    html! {
        @if let Some(id) = text("customer") { (customer(id)) " " }
        @if let Some(id) = text("route") { (route(id)) " " }
        @if let Some(id) = text("queue_id") { (message(id)) }
    }
}

/// Returns the text of an event's field, or an empty text if it has none.
pub(super) fn field<'a>(event: &'a Value, name: &str) -> Cow<'a, str> {
    match &event[name] {
        Value::String(text) => strange(text),
        Value::Null => Cow::Borrowed(""),
        other => Cow::Owned(other.to_string()),
    }
}

/// Makes the buttons to the first and the next page of a list.
pub(super) fn pager(first: Option<&str>, next: Option<&str>) -> Markup {
    html! {
        @if first.is_some() || next.is_some() {
            nav.actions aria-label="Pages of this list" {
                @if let Some(first) = first { a.button.plain href=(first) { "First page" } }
                @if let Some(next) = next { a.button.plain href=(next) rel="next" { "Next page" } }
            }
        }
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn numbers_are_shown_for_people() {
        assert_eq!([7, 1_000, 1_234_567].map(number), ["7", "1\u{202f}000", "1\u{202f}234\u{202f}567"]);
        assert_eq!([5, 65, 3_700, 273_600].map(age), ["5 s", "1 min", "1 h 1 min", "3 d 4 h"]);
        assert_eq!([5, 1024, 5 << 30].map(octets), ["5 B", "1.0 KiB", "5.0 GiB"]);
        assert_eq!([1, 2].map(messages), ["1 message", "2 messages"]);
    }

    #[test]
    fn a_moment_is_shown_to_the_second_whatever_it_says() {
        let shown = written("2026-11-29T03:04:05.678Z").into_string();
        assert!(shown.contains(">2026-11-29 03:04:05<"), "{shown}");
        for odd in ["", "T", "2026-11-29Tæææææææ", "<script>T"] {
            assert!(!written(odd).into_string().contains("<script"), "{odd}");
        }
    }
}
