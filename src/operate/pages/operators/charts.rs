//! The charts of what was counted: of everything, and of one route.

use maud::{Markup, html};

use super::input::query;
use crate::operate::history::{Bucket, Span};
use crate::operate::pages::chart;

/// Links to the same page with charts of other periods.
pub(super) fn spans(path: &str, chosen: Span) -> Markup {
    html! {
        nav.pages aria-label="How far back the charts go" {
            @for span in Span::ALL {
                a href={ (query(path, &[("span", span.as_str())])) "#charts" } aria-current=[(span == chosen).then_some("true")] {
                    (span.as_str())
                }
            }
        }
    }
}

/// Shows the charts of all mail.
pub(super) fn charts(buckets: &[Bucket], span: Span) -> Markup {
    let one = |title: &str, series: &[&str], values: fn(&Bucket) -> Vec<u64>| {
        let points: Vec<(String, Vec<u64>)> =
            buckets.iter().map(|bucket| (label(bucket, span), values(bucket))).collect();
        chart::bars(title, "The numbers", series, &points)
    };
    html! {
        div.charts {
            (one("Accepted from webCRM, recipients", &["accepted"], |it| vec![it.counts.accepted]))
            (one("Left the relay, recipients", &["relayed", "given up"], |it| vec![it.counts.relayed, it.counts.bounced]))
            (one("Delivered, as Mailjet reports", &["delivered"], |it| vec![it.counts.delivered]))
            (one("Attempts to be repeated", &["deferred"], |it| vec![it.counts.deferred]))
            (one("Waiting messages, at most", &["waiting"], |it| vec![it.counts.waiting]))
            (one("Age of the oldest waiting message, minutes", &["minutes"], |it| vec![it.counts.oldest_secs.div_ceil(60)]))
        }
    }
}

/// Shows the charts of one route.
pub(super) fn charts_of_route(buckets: &[Bucket], span: Span) -> Markup {
    let points = |values: fn(&Bucket) -> Vec<u64>| -> Vec<(String, Vec<u64>)> {
        buckets.iter().map(|bucket| (label(bucket, span), values(bucket))).collect()
    };
    let left = points(|it| vec![it.counts.relayed, it.counts.bounced]);
    let deferred = points(|it| vec![it.counts.deferred]);
    html! {
        div.charts {
            (chart::bars("Left over this route, recipients", "The numbers", &["relayed", "given up"], &left))
            (chart::bars("Attempts to be repeated", "The numbers", &["deferred"], &deferred))
        }
    }
}

/// Formats the start of a bucket, as short as the period allows.
fn label(bucket: &Bucket, span: Span) -> String {
    let text = bucket.start.to_string();
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default().to_owned();
    match span {
        Span::Hours | Span::Day => part(11, 16),
        Span::Week => format!("{} {}", part(5, 10), part(11, 13)),
        Span::Month | Span::Year => part(5, 10),
    }
}
