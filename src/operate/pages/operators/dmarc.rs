//! The DMARC reports on a customer's domains: who sends in their names, and which policy comes next.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::input::{Asked, search, segment};
use super::visitor::Visitor;
use super::{Operators, live, show};
use crate::message::CustomerId;
use crate::onboarding::text::Lang;
use crate::operate::Site;
use crate::operate::customers::has_in_name;
use crate::operate::dmarc::{DAYS, DmarcReport, PolicyView};
use crate::operate::pages::Problem;
use crate::operate::pages::elements::{Mood, badge, copyable, drawing, strange, table};
use crate::returns::dmarc::plot;

/// The number of domains on a page. Each has a drawing, and DNS is asked for its policy.
const DOMAINS: usize = 20;

fn path_of(customer: &str) -> String {
    format!("/customers/{}/dmarc", segment(customer))
}

pub(super) async fn show(
    State(pages): State<Operators>,
    visitor: Visitor,
    Path(id): Path<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    let customer = pages.service().customer_with(&CustomerId::new(&id))?;
    let (wanted, all) = (asked.text("domain"), customer.domains.len());
    let domains = live::soon("dmarc", &path_of(&id), &asked, domains(&pages, &visitor, &id, wanted)).await?;
    let body = html! {
        h1 { "DMARC reports" }
        p { "Of the customer " (show::customer(&id)) ", in the last " (DAYS) " days." }
        @if all > DOMAINS {
            form.filter method="get" role="search" {
                (search("domain", "Domain", "a part of its name", wanted).render())
                div.actions { button.plain { "Show" } }
            }
            p.quiet { "At most " (DOMAINS) " of its " (show::number(all as u64)) " domains are shown." }
        }
        (domains)
        p { a href={ "/customers/" (segment(&id)) } { "Back to the customer" } }
    };
    Ok(pages.page(&visitor, "/customers", "DMARC reports", body).into_response())
}

pub(super) async fn live(
    State(pages): State<Operators>,
    visitor: Visitor,
    Path(id): Path<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    let (path, wanted) = (path_of(&id), asked.text("domain").to_owned());
    live::later("dmarc", &path, &asked, &pages, &visitor, move |pages, visitor| {
        let (id, wanted) = (id.clone(), wanted.clone());
        async move { domains(&pages, &visitor, &id, &wanted).await }
    })
}

/// Shows the customer's domains with this in their names. The record that each of them publishes now is asked of DNS.
async fn domains(pages: &Operators, visitor: &Visitor, id: &str, wanted: &str) -> Result<Markup, Problem> {
    let (site, wanted) = (Site::of_relay(pages.service()).await?, wanted.to_lowercase());
    let customer = pages.service().customer_with(&CustomerId::new(id))?;
    let mut reports = Vec::new();
    for domain in customer.domains.keys().filter(|it| has_in_name(it.as_str(), &wanted)).take(DOMAINS) {
        reports.extend(site.dmarc(&visitor.actor, id, Some(domain), DAYS).await?);
    }
    Ok(html! {
        div #dmarc {
            @if reports.is_empty() { p { "No domain fits." } }
            @for (at, report) in reports.iter().enumerate() { (domain(report, at)) }
        }
    })
}

/// One domain. `at` tells its ids from those of the others on the page.
pub(super) fn domain(report: &DmarcReport, at: usize) -> Markup {
    let view = report.view(Lang::En);
    let summary = &report.summary;
    let rows = summary.senders.iter().map(|sender| {
        vec![
            html! { (strange(&sender.name)) @if sender.ours { " (this relay)" } },
            html! { (show::number(sender.results.messages)) },
            html! { (show::number(sender.results.by_dkim)) },
            html! { (show::number(sender.results.by_spf)) },
            html! { (show::number(sender.results.failing)) },
        ]
    });
    html! {
        section.card {
            div.head { h2 { (strange(&summary.domain)) } (safety(&view.policy)) }
            p { (strange(&view.policy.text)) " " (strange(&view.policy.todo)) }
            @if let (Some(host), Some(record)) = (&view.policy.host, &view.policy.record) {
                dl.values {
                    dt { "Host" } dd { (copyable(Lang::En, &format!("host-{at}"), "the host", host)) }
                    dt { "Next record" } dd { (copyable(Lang::En, &format!("record-{at}"), "the record", record)) }
                }
            }
            p.quiet {
                (show::number(summary.reports)) " reports on " (show::messages(summary.all.messages)) ", of which "
                (show::number(summary.ours.messages)) " are ours"
                @if let Some(day) = &summary.newest_day { "; the newest is of " (strange(day)) }
                "."
            }
            @if summary.reports > 0 {
                (drawing(
                    &plot::svg(summary, Lang::En),
                    &plot::narrow_svg(summary, Lang::En),
                    &plot::description(summary, Lang::En),
                ))
            }
            @if !summary.senders.is_empty() {
                (table("Who sends in its name", &["Sender", "#Messages", "#By DKIM alone", "#By SPF alone", "#Failing"], rows))
                @if summary.more_senders > 0 { p { "and " (show::number(summary.more_senders)) " more senders" } }
            }
        }
    }
}

fn safety(policy: &PolicyView) -> Markup {
    let mood = match policy.verdict.as_str() {
        "reached" | "safe" => Mood::Good,
        "unknown" => Mood::Calm,
        _ => Mood::Wait,
    };
    badge(mood, policy.stage.as_deref().unwrap_or("not known"))
}
