//! The status page: HTML made on the server, without scripts. All content is escaped, and no secret is shown.

use std::fmt::Write;

use super::Sources;
use crate::events::{EndedAlert, Event};
use crate::operate::alerts::{AlertView, Alerts};
use crate::operate::overview::{Counts, CustomerMail, QueueOverview, StuckMail};
use crate::operate::queue::Stats;
use crate::operate::{self, Actor, Role};
use crate::route::{RouteState, RouteStatus};
use crate::time::Timestamp;
use crate::visible::visible_lines;

/// The most customers that are listed. The others are summed up.
const LINES: usize = 200;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#222}\
    table{border-collapse:collapse;width:100%;margin:.5rem 0 2rem}th,td{text-align:left;padding:.3rem .8rem .3rem 0;\
    border-bottom:1px solid #ddd;vertical-align:top}.n{text-align:right}.ready{color:#176e2c}.throttled{color:#8a5a00}\
    .suspended,.no{color:#b00020}h1{font-size:1.4rem}h2{font-size:1.1rem}";

pub(super) async fn page(sources: &Sources, now: Timestamp) -> String {
    let mut html = String::new();
    let hostname = escaped(&sources.hostname);
    put(
        &mut html,
        format_args!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <meta http-equiv=\"refresh\" content=\"30\"><title>postbud {hostname}</title><style>{STYLE}</style>\
         <h1>postbud on {hostname}</h1><p>{now} · version {}</p>",
            env!("CARGO_PKG_VERSION")
        ),
    );
    let service = &sources.service;
    let reader = Actor::new("the status page", Role::Read);
    let (overview, statuses, told) =
        tokio::join!(service.overview(&reader), service.route_statuses(&reader), service.alerts_of_all(&reader));
    readiness(&mut html, &sources.readiness.reasons(), &overview);
    if let Some(missing) =
        overview.as_ref().ok().map(|overview| &overview.stats.missing).filter(|missing| !missing.is_empty())
    {
        let missing = escaped(&missing.join("; "));
        put(&mut html, format_args!("<p class=\"no\">The part of other nodes is missing: {missing}</p>"));
    }
    match &overview {
        Ok(overview) => queue(&mut html, overview),
        Err(why) => put(&mut html, format_args!("<h2>Queue</h2><p class=\"no\">{}</p>", escaped(&why.to_string()))),
    }
    match statuses {
        Ok((statuses, _)) => routes(&mut html, &statuses),
        Err(_) => routes(&mut html, &service.routes.list()),
    }
    match &told {
        Ok(told) => alerts(&mut html, told),
        Err(why) => {
            put(&mut html, format_args!("<h2>Open alerts</h2><p class=\"no\">{}</p>", escaped(&why.to_string())))
        }
    }
    html.push_str(
        "<p>Details: <code>postbud queue list</code>, <code>postbud route list</code>, <a href=\"/metrics\">/metrics</a>, \
         <a href=\"/readyz\">/readyz</a></p></html>\n",
    );
    html
}

/// Shows whether mail is accepted, and whether accepted mail leaves.
fn readiness(html: &mut String, reasons: &[(&'static str, String)], overview: &Result<QueueOverview, operate::Error>) {
    let stuck = overview.as_ref().map(|overview| &*overview.stuck).unwrap_or_default();
    if !reasons.is_empty() {
        html.push_str("<p class=\"no\">Not ready:</p><ul>");
        for (check, reason) in reasons {
            put(html, format_args!("<li>{check}: {}</li>", escaped(reason)));
        }
        html.push_str("</ul>");
    } else if stuck.is_empty() && overview.is_ok() {
        html.push_str("<p class=\"ready\">Ready: takes mail and sends it.</p>");
        return;
    } else {
        html.push_str("<p class=\"no\">Takes mail, but not all of it leaves.</p>");
    }
    if stuck.is_empty() {
        return;
    }
    html.push_str("<h2>Mail that stands still</h2><table><tr><th>Customer<th class=\"n\">Messages<th>Why</tr>");
    for StuckMail { customer, why, messages, .. } in stuck.iter().take(LINES) {
        put(
            html,
            format_args!(
                "<tr><td>{}<td class=\"n\">{messages}<td class=\"no\">{}</tr>",
                escaped(customer),
                escaped(why)
            ),
        );
    }
    html.push_str("</table>");
    more(html, overview.as_ref().map_or(0, |overview| overview.stuck_count), "such lines");
}

fn queue(html: &mut String, overview: &QueueOverview) {
    let QueueOverview { stats, customers, customer_count, .. } = overview;
    let Stats { messages, held, deferred, delivering, bytes, disk_bytes, quarantined, .. } = stats;
    put(
        html,
        format_args!(
            "<h2>Queue: {messages} messages, {held} held, {deferred} tried before, {delivering} being delivered</h2>\
             <p>{bytes} octets of mail, {disk_bytes} on disk{}</p>",
            match quarantined {
                0 => String::new(),
                count => format!("; <span class=\"no\">{count} records set aside as unreadable</span>"),
            }
        ),
    );
    if customers.is_empty() {
        return;
    }
    html.push_str(
        "<table><tr><th>Customer<th class=\"n\">Messages<th class=\"n\">Held<th class=\"n\">Tried before\
         <th class=\"n\">Being delivered<th>Oldest</tr>",
    );
    for CustomerMail { customer, counts } in customers.iter().take(LINES) {
        let Counts { messages, held, deferred, delivering, oldest_secs } = counts;
        put(
            html,
            format_args!(
                "<tr><td>{}<td class=\"n\">{messages}<td class=\"n\">{held}<td class=\"n\">{deferred}<td class=\"n\">\
                 {delivering}<td>{} min</tr>",
                escaped(customer),
                oldest_secs / 60
            ),
        );
    }
    html.push_str("</table>");
    more(html, *customer_count, "customers");
}

fn more(html: &mut String, rows: usize, of_what: &str) {
    if rows > LINES {
        put(html, format_args!("<p>and {} more {of_what}</p>", rows - LINES));
    }
}

fn routes(html: &mut String, routes: &[RouteStatus]) {
    html.push_str(
        "<h2>Routes</h2><table><tr><th>Route<th>Server<th>State<th class=\"n\">In flight<th class=\"n\">Sent today<th>Why</tr>",
    );
    let is_well = |route: &&RouteStatus| route.state == RouteState::Ready && route.in_trouble_since.is_none();
    let (well, unwell): (Vec<_>, Vec<_>) = routes.iter().partition(is_well);
    for route in unwell.into_iter().chain(well).take(LINES) {
        let state = match &route.state {
            RouteState::Throttled { until, .. } => format!("throttled until {until}"),
            RouteState::Suspended { since, cause, .. } => {
                format!("suspended since {since}; ends by {}", cause.lifted_by())
            }
            RouteState::Ready if route.in_trouble_since.is_some() => "tries again after trouble".to_owned(),
            RouteState::Ready => route.state.as_str().to_owned(),
        };
        let cap = route.per_day.map(|cap| format!(" of {cap}")).unwrap_or_default();
        put(
            html,
            format_args!(
                "<tr><td>{}<td>{}<td class=\"{}\">{state}<td class=\"n\">{}<td class=\"n\">{}{cap}<td>{}</tr>",
                escaped(route.id.as_str()),
                escaped(&route.server),
                route.state.as_str(),
                route.in_flight,
                route.sent_today,
                escaped(route.state.reason().unwrap_or_default())
            ),
        );
    }
    html.push_str("</table>");
    more(html, routes.len(), "routes");
}

fn alerts(html: &mut String, Alerts { open, ended, notices, .. }: &Alerts) {
    html.push_str("<h2>Open alerts</h2>");
    if open.is_empty() {
        html.push_str("<p>None.</p>");
    } else {
        html.push_str("<table><tr><th>Since<th>What<th>Where</tr>");
        for AlertView { since, alert, nodes, .. } in open.iter().take(LINES) {
            row(html, &since.to_string(), "no", alert, nodes);
        }
        html.push_str("</table>");
        more(html, open.len(), "alerts");
    }
    if !ended.is_empty() {
        html.push_str("<h2>Alerts that are over</h2><table><tr><th>From, to<th>What<th>Where</tr>");
        for EndedAlert { since, end, alert } in ended {
            row(html, &format!("{since}<br>{}", end.at), "", alert, &[]);
        }
        html.push_str("</table>");
    }
    if !notices.is_empty() {
        html.push_str("<h2>What happened in the last week</h2><table><tr><th>When<th>What<th>Where</tr>");
        for AlertView { alert, nodes, .. } in notices {
            row(html, &alert.at.to_string(), "", alert, nodes);
        }
        html.push_str("</table>");
    }
}

/// One row of the table of alerts. `when` is HTML. `nodes` raised it, where there are several.
fn row(html: &mut String, when: &str, class: &str, alert: &Event<'_>, nodes: &[String]) {
    let id = alert.queue_id.map(|id| id.to_string());
    let place = [alert.customer.as_deref(), alert.route.as_deref(), id.as_deref()];
    let place = place.into_iter().flatten().chain(nodes.iter().map(String::as_str)).collect::<Vec<_>>().join(" ");
    let detail = escaped(alert.detail.as_deref().unwrap_or_default());
    put(html, format_args!("<tr><td>{when}<td class=\"{class}\">{detail}<td>{}</tr>", escaped(&place)));
}

fn put(html: &mut String, text: std::fmt::Arguments<'_>) {
    html.write_fmt(text).expect("a String takes every write");
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in visible_lines(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_said_cannot_become_markup() {
        assert_eq!(escaped("<script>'\"&"), "&lt;script&gt;&#39;&quot;&amp;");
    }
}
