//! A job: its progress and its result.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::live::{self, Parts};
use super::visitor::Visitor;
use super::{Operators, show};
use crate::delivery::{ProbeReport, StepResult};
use crate::onboarding::report;
use crate::onboarding::text::Lang;
use crate::operate::jobs::{Checked, Job, JobKind, JobResult, RecordErased, TestSent};
use crate::operate::pages::Problem;
use crate::operate::pages::elements::{Mood, badge, strange, table};
use crate::operate::queue::Changed;

pub(super) async fn show(
    State(pages): State<Operators>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let job = pages.service().jobs.watched(&visitor.actor, &id)?.borrow().clone();
    let title = title(job.kind);
    let body = html! {
        h1 { (title) }
        div data-live=[job.is_running().then(|| format!("/work/{}/live", job.id))] { (part(&job)) }
    };
    let mut page = pages.page(&visitor, "", title, body);
    page.refresh_secs = job.is_running().then_some(3);
    Ok(page.into_response())
}

pub(super) async fn live(
    State(pages): State<Operators>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let seen = pages.service().jobs.watched(&visitor.actor, &id)?;
    live::stream(&pages, &visitor, move |_, _| {
        let job = seen.borrow().clone();
        async move {
            let done = (!job.is_running()).then(|| format!("/work/{}", job.id));
            Ok(Parts { parts: vec![("work", part(&job))], done })
        }
    })
}

fn title(kind: JobKind) -> &'static str {
    match kind {
        JobKind::QueueHold => "Messages are held",
        JobKind::QueueRelease => "Messages are released",
        JobKind::QueueRetry => "Messages are made due",
        JobKind::QueueBounce => "Messages are bounced",
        JobKind::QueueRemove => "Messages are removed",
        JobKind::DomainCheck => "Domains are checked",
        JobKind::Probe => "Routes are probed",
        JobKind::TestSend => "A test mail is sent",
        JobKind::RecordErase => "A recipient is erased from the record",
    }
}

/// Shows the state of a job.
pub(super) fn part(job: &Job) -> Markup {
    html! {
        section #work .card {
            @match &job.ended {
                None => {
                    p { (badge(Mood::Wait, "at work")) " since " (show::moment(job.started)) }
                    @if let Some(changed) = &job.progress { (so_far(changed)) }
                }
                Some((at, Ok(result))) => {
                    p { (badge(Mood::Good, "done")) " at " (show::moment(*at)) }
                    (came(result))
                }
                Some((at, Err(error))) => {
                    p { (badge(Mood::Bad, "failed")) " at " (show::moment(*at)) }
                    p { (strange(&error.to_string())) }
                }
            }
            @if let Some(customer) = &job.customer { p { "Customer " (show::customer(customer)) } }
        }
    }
}

fn so_far(changed: &Changed) -> Markup {
    html! { p { (show::messages(changed.count)) " so far." } }
}

fn came(result: &JobResult) -> Markup {
    match result {
        JobResult::Queue(Changed { count, busy }) => html! {
            p { (show::messages(*count)) " changed." }
            @if *busy > 0 {
                p { (show::messages(*busy)) " left alone: they were being delivered at that moment, or gone already." }
            }
            p { a href="/queue" { "To the queue" } }
        },
        JobResult::Check(checked, lang) => checks(checked, *lang),
        JobResult::Probe(reports) => html! { @for report in reports { (probe(report)) } },
        JobResult::TestSend(sent) => test_sent(sent),
        JobResult::Erased(RecordErased { events, files, later }) => html! {
            p { (show::number(*events)) " events were erased in " (show::number(*files)) " files." }
            @if !later.is_empty() {
                p { "Nodes that are away erase the recipient once they are back: " (later.join(", ")) "." }
            }
        },
    }
}

/// Shows the result of a test mail.
fn test_sent(sent: &TestSent) -> Markup {
    let TestSent { queue_id, event, route, server, code, status, reply, class, detail } = sent;
    let mood = match event.as_str() {
        "relayed" => Mood::Good,
        "bounced" => Mood::Bad,
        _ => Mood::Wait,
    };
    let said: Vec<String> =
        code.map(|code| code.to_string()).into_iter().chain(status.clone()).chain(reply.clone()).collect();
    html! {
        p { "The mail: " (badge(mood, &strange(event))) }
        dl.values {
            dt { "Queue id" } dd { (show::message(queue_id)) }
            @if let Some(route) = route { dt { "Route" } dd { (show::route(route)) } }
            @if let Some(server) = server { dt { "Server" } dd { code { (strange(server)) } } }
            @if !said.is_empty() { dt { "Reply" } dd { code { (strange(&said.join(" "))) } } }
            @if let Some(class) = class { dt { "Class" } dd { (strange(class)) } }
            @if let Some(detail) = detail { dt { "Detail" } dd { (strange(detail)) } }
        }
    }
}

/// Shows the result of a probe step by step.
pub(super) fn probe(report: &ProbeReport) -> Markup {
    let rows = report.steps.iter().map(|step| {
        let (mood, word) = result(step.finding);
        vec![
            html! { (step.step) },
            badge(mood, word),
            html! { (format!("{:.0} ms", step.took_ms)) },
            html! {
                (strange(&step.found))
                @if let Some(advice) = &step.advice { br; strong { (strange(advice)) } }
            },
        ]
    });
    let (mood, word) = result(report.worst);
    html! {
        div.head { h2 { (strange(&report.server)) } (badge(mood, word)) (show::route(&report.route)) }
        (table("Step by step, without sending mail", &["Step", "Result", "#Took", "Found"], rows))
    }
}

fn result(result: StepResult) -> (Mood, &'static str) {
    match result {
        StepResult::Ok => (Mood::Good, "ok"),
        StepResult::Warning => (Mood::Wait, "warning"),
        StepResult::Failed => (Mood::Bad, "failed"),
    }
}

/// Shows the results of checks of domains.
fn checks(checked: &Checked, lang: Lang) -> Markup {
    let texts: Vec<serde_json::Value> = checked.reports.iter().map(|it| report::json(it, lang)).collect();
    html! {
        @for unkept in &checked.unkept {
            p.note.bad { "The result of the check of " (unkept.domain) " could not be kept: " (strange(&unkept.reason)) }
        }
        @for report in &texts { (domain(report)) }
    }
}

/// Shows a report on one domain, in the API's form.
pub(super) fn domain(report: &serde_json::Value) -> Markup {
    let list = |value: &serde_json::Value| value.as_array().cloned().unwrap_or_default();
    let rows = list(&report["checks"]).into_iter().map(|check| {
        let severity = show::field(&check, "severity").into_owned();
        let mood = match severity.as_str() {
            "good" => Mood::Good,
            "hint" => Mood::Calm,
            "fault" => Mood::Bad,
            _ => Mood::Wait,
        };
        let lines = |name: &str| {
            html! { @for text in list(&check[name]) { code.block { (strange(text.as_str().unwrap_or_default())) } } }
        };
        vec![
            html! { (show::field(&check, "item")) br; span.quiet { (show::field(&check, "need")) } },
            badge(mood, &severity),
            html! {
                @for finding in list(&check["findings"]) {
                    p { (show::field(&finding, "text")) " " strong { (show::field(&finding, "next")) } }
                }
            },
            lines("found"),
            lines("expected"),
        ]
    });
    html! {
        h2 { (show::field(report, "domain")) }
        (table("What DNS says now", &["What", "Result", "Finding", "Published", "Expected"], rows))
    }
}
