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
use super::input::{Body, Params, limit};
use super::problem::Problem;
use crate::operate::alerts::AlertLine;
use crate::operate::queue::Page;
use crate::time::Timestamp;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Filters {
    /// The position to continue from: `next` of the previous answer.
    cursor: Option<String>,
    /// The number of alerts, from 1 to 500; the default is 50.
    limit: Option<u16>,
}

/// An acknowledgement of an alert.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Note {
    /// The key of the alert.
    key: String,
    /// A note for other operators. It may be empty.
    #[serde(default)]
    #[schemars(length(max = 500))]
    note: String,
}

/// Returns the paths.
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
    Params(Filters { cursor, limit: most }): Params<Filters>,
) -> Result<Json<Page<AlertLine>>, Problem> {
    let most = limit(most)?;
    let after = cursor.as_deref().map(Place::parse).transpose()?;
    let alerts = api.0.service.alerts(&caller.0).await?;
    let mut all: Vec<(Place, AlertLine)> = alerts.lines().into_iter().map(|line| (Place::of(&line), line)).collect();
    all.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut left = all.into_iter().filter(|(place, _)| after.as_ref().is_none_or(|after| place > after));
    let page: Vec<(Place, AlertLine)> = left.by_ref().take(most).collect();
    let next = left.next().and(page.last()).map(|(place, _)| place.text());
    let items = page.into_iter().map(|(_, line)| line).collect();
    Ok(Json(Page { items, next, missing: alerts.missing }))
}

/// The place of an alert in the list. It stays where it is while others come and go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// 0 for an open alert that nobody took note of, 1 for other open ones, 2 for notices.
    group: u8,
    /// When it was first raised; the newest come first.
    since: Reverse<String>,
    key: String,
}

impl Place {
    fn of(line: &AlertLine) -> Self {
        let group = match (line.open, &line.acknowledged_by) {
            (true, None) => 0,
            (true, Some(_)) => 1,
            (false, _) => 2,
        };
        Place { group, since: Reverse(line.since.clone()), key: line.key.clone() }
    }

    fn text(&self) -> String {
        format!("{}~{}~{}", self.group, self.since.0, self.key)
    }

    fn parse(text: &str) -> Result<Self, Problem> {
        Place::read(text).ok_or_else(|| {
            let detail = format!("cursor: \"{text}\" is no place in the list");
            Problem::invalid(detail, "give `next` of an answer, or leave it out to begin")
        })
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '~');
        let group = parts.next()?.parse().ok().filter(|group| *group < 3)?;
        let since = parts.next()?.parse::<Timestamp>().ok()?.to_string();
        Some(Place { group, since: Reverse(since), key: parts.next()?.to_owned() })
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
    fn a_place_is_read_as_it_is_written_and_the_newest_unknown_alert_comes_first() {
        let (old, new) = ("2026-11-29T08:00:00.000Z", "2026-11-30T08:00:00.000Z");
        let lines = [
            line("notice", false, false, new),
            line("route:a~b", true, true, new),
            line("route:b", true, false, old),
            line("route:a", true, false, old),
            line("spool-room", true, false, new),
        ];
        let mut places: Vec<Place> = lines.iter().map(Place::of).collect();
        places.sort();
        let keys: Vec<&str> = places.iter().map(|place| place.key.as_str()).collect();
        assert_eq!(keys, ["spool-room", "route:a", "route:b", "route:a~b", "notice"]);
        for place in places {
            assert_eq!(Place::parse(&place.text()).ok(), Some(place));
        }
        for wrong in ["", "0", "0~x~y", "7~2026-11-29T08:00:00.000Z~y", "0~2026-11-29T08:00:00.000Z"] {
            assert!(Place::parse(wrong).is_err(), "{wrong}");
        }
    }
}
