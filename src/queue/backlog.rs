//! Warns as soon as more mail waits for a route than its caps can let through in time, and not only when somebody misses the mail.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::events::Subject;
use crate::queue::inner::Inner;
use crate::route::{Route, RouteId};
use crate::spool;

const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Runs until the queue stops. Each backlog raises one alert, which ends when the backlog is gone.
pub(super) async fn run(inner: Arc<Inner>) {
    let mut told = BTreeSet::new();
    while tokio::time::timeout(LOOK_EVERY, inner.stop.cancelled()).await.is_err() {
        let Ok(lanes) = spool::all_lanes(&*inner.parts.spool).await else { continue };
        let mut backlogs: BTreeMap<RouteId, (Arc<Route>, u64)> = BTreeMap::new();
        for (lane, stats) in lanes {
            if let Ok(route) = inner.parts.routing.resolve(&lane) {
                let waiting = stats.records - stats.held;
                backlogs.entry(route.id.clone()).or_insert((route, 0)).1 += waiting;
            }
        }
        let late = inner.with_routes(|routes, now| routes.late(&backlogs, now));
        told.retain(|id| late.contains_key(id));
        for (id, last) in late {
            if told.insert(id.clone()) {
                let (route, waiting) = &backlogs[&id];
                let caps = describe_caps(route);
                let detail =
                    format!("{waiting} messages wait for a route that carries {caps}: the last leaves about {last}");
                inner.alert(None, Some(&id), Some(Subject::Backlog(id.to_string())), detail);
            }
        }
        inner.parts.events.resolve_where(|subject| match subject {
            Subject::Backlog(id) if !told.contains(&RouteId::new(id)) => Some("what waits leaves in time".into()),
            _ => None,
        });
    }
}

fn describe_caps(route: &Route) -> String {
    let minute = route.caps.per_minute.map(|cap| format!("{cap} messages a minute"));
    let day = route.caps.per_day.map(|cap| format!("{cap} recipients a day"));
    minute.into_iter().chain(day).collect::<Vec<_>>().join(" and ")
}
