//! `/alerts`: lists what needs attention, and acknowledges alerts.

use std::cmp::Reverse;

use aide::axum::ApiRouter;
use aide::axum::routing::{get_with, post_with};
use axum::Json;
use axum::extract::State;
use axum::response::NoContent;
use schemars::JsonSchema;
use serde::Deserialize;

use super::Api;
use super::caller::Caller;
use super::document::{ALERTS, said};
use super::input::{Body, PageQuery, Params, limit};
use super::problem::Problem;
use crate::operate::alerts::AlertLine;
use crate::operate::queue::Page;
use crate::time::Timestamp;

/// An acknowledgement of an alert.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AlertNote")]
struct Note {
    /// The key of the alert.
    key: String,
    /// A note for other operators. It may be empty.
    #[serde(default)]
    #[schemars(length(max = 500))]
    note: String,
}

pub(super) fn routes() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route(
            "/alerts",
            get_with(
                list,
                said(
                    ALERTS,
                    "listAlerts",
                    "List alerts",
                    "Those that are open, first what nobody took note of; then what happened in the last week; the newest first. Role read.",
                ),
            ),
        )
        .api_route(
            "/alerts/acknowledge",
            post_with(
                acknowledge,
                said(
                    ALERTS,
                    "acknowledgeAlert",
                    "Take note of an alert",
                    "It stays open until its trouble is over, and the note goes with it. Role operate.",
                ),
            ),
        )
}

async fn list(
    State(api): State<Api>,
    caller: Caller,
    Params(PageQuery { cursor, limit: most }): Params<PageQuery>,
) -> Result<Json<Page<AlertLine>>, Problem> {
    let most = limit(most)?;
    let after = cursor.as_deref().map(AlertPosition::parse).transpose()?;
    let alerts = api.0.service.alerts(&caller.0).await?;
    let mut lines = alerts.lines();
    lines.retain(|line| after.as_ref().is_none_or(|after| AlertPosition::of(line) > *after));
    lines.sort_by_cached_key(AlertPosition::of);
    let page = Page::of(lines, most, |last| AlertPosition::of(last).text());
    Ok(Json(Page { missing: alerts.missing, ..page }))
}

/// The position of an alert in the list. It stays the same while others come and go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct AlertPosition {
    /// 0 for an open alert that nobody has acknowledged, 1 for other open ones, 2 for notices.
    group: u8,
    /// When it was first raised; the newest come first.
    since: Reverse<String>,
    key: String,
}

impl AlertPosition {
    fn of(line: &AlertLine) -> Self {
        let group = match (line.open, &line.acknowledged_by) {
            (true, None) => 0,
            (true, Some(_)) => 1,
            (false, _) => 2,
        };
        AlertPosition { group, since: Reverse(line.since.clone()), key: line.key.clone() }
    }

    fn text(&self) -> String {
        format!("{}~{}~{}", self.group, self.since.0, self.key)
    }

    fn parse(text: &str) -> Result<Self, Problem> {
        AlertPosition::read(text).ok_or_else(|| {
            let detail = format!("cursor: \"{text}\" is no position in the list");
            Problem::invalid(detail, "give `next` of an answer, or leave it out to begin")
        })
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '~');
        let group = parts.next()?.parse().ok().filter(|group| *group < 3)?;
        let since = parts.next()?.parse::<Timestamp>().ok()?.to_string();
        Some(AlertPosition { group, since: Reverse(since), key: parts.next()?.to_owned() })
    }
}

async fn acknowledge(
    State(api): State<Api>,
    caller: Caller,
    Body(Note { key, note }): Body<Note>,
) -> Result<NoContent, Problem> {
    api.0.service.acknowledge_alert(&caller.0, &key, &note).await?;
    Ok(NoContent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(key: &str, open: bool, noted: bool, since: &str) -> AlertLine {
        AlertLine {
            key: key.to_owned(),
            open,
            since: since.to_owned(),
            detail: String::new(),
            customer: None,
            route: None,
            acknowledged_by: noted.then(|| "anna".to_owned()),
            acknowledged_at: None,
            note: None,
            nodes: Vec::new(),
        }
    }

    #[test]
    fn a_position_is_read_as_it_is_written_and_the_newest_unknown_alert_comes_first() {
        let (old, new) = ("2026-11-29T08:00:00.000Z", "2026-11-30T08:00:00.000Z");
        let lines = [
            line("notice", false, false, new),
            line("route:a~b", true, true, new),
            line("route:b", true, false, old),
            line("route:a", true, false, old),
            line("spool-room", true, false, new),
        ];
        let mut positions: Vec<AlertPosition> = lines.iter().map(AlertPosition::of).collect();
        positions.sort();
        let keys: Vec<&str> = positions.iter().map(|position| position.key.as_str()).collect();
        assert_eq!(keys, ["spool-room", "route:a", "route:b", "route:a~b", "notice"]);
        for position in positions {
            assert_eq!(AlertPosition::parse(&position.text()).ok(), Some(position));
        }
        for wrong in ["", "0", "0~x~y", "7~2026-11-29T08:00:00.000Z~y", "0~2026-11-29T08:00:00.000Z"] {
            assert!(AlertPosition::parse(wrong).is_err(), "{wrong}");
        }
    }
}
