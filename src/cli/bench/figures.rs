//! The measurements of a load: counted while it runs, and reported at its end.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::load::{Report, Sent};
use crate::visible::visible;

/// The longest time that is measured, in microseconds.
const LONGEST: u64 = 3_600_000_000;

/// Counters and times of a load.
pub(super) struct Counted {
    sizes: Vec<u64>,
    began: Option<u64>,
    answered: u64,
    to_reply: Histogram<u64>,
    transaction: Histogram<u64>,
    outcomes: Outcomes,
    octets: u64,
}

/// The number of messages by their result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Outcomes {
    /// Answered 250 to the end of DATA.
    pub accepted: u64,
    /// Refused with 5xx.
    pub refused: u64,
    /// Refused with 4xx until the load ended.
    pub refused_for_now: u64,
    /// The connection broke after the end of DATA, so it is unknown whether the relay has the message.
    pub unknown: u64,
    /// Not sent, because there was no connection, or it broke before the end of DATA.
    pub unsent: u64,
    /// Attempts that were refused with 4xx and repeated.
    pub tried_again: u64,
}

/// All figures, as in the JSON output.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    what: String,
    seconds: f64,
    accepted_per_second: f64,
    octets_per_second: f64,
    outcomes: Outcomes,
    /// With a rate: messages that were due, but not started before the load ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_begun: Option<u64>,
    end_of_data_to_250_ms: Quantiles,
    transaction_ms: Quantiles,
    connections: u64,
    resumed: u64,
    /// The processor time of the load itself, as a share of one core.
    own_cpu: f64,
    replies: BTreeMap<String, u64>,
    failures: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<String>,
}

/// The quantiles of a time, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
struct Quantiles {
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

impl Counted {
    /// Counts messages of these sizes, which repeat in turn.
    pub fn new(sizes: Vec<u64>) -> Self {
        let histogram = || Histogram::new_with_max(LONGEST, 3).expect("three digits are allowed");
        Counted {
            sizes,
            began: None,
            answered: 0,
            to_reply: histogram(),
            transaction: histogram(),
            outcomes: Outcomes::default(),
            octets: 0,
        }
    }

    /// Counts a message whose attempts are complete.
    pub fn count(&mut self, sent: &Sent) {
        self.began = Some(self.began.map_or(sent.began, |began| began.min(sent.began)));
        self.answered = self.answered.max(sent.answered);
        let outcomes = &mut self.outcomes;
        outcomes.tried_again += u64::from(sent.refused);
        match sent.code {
            0 if sent.end_of_data == 0 => outcomes.unsent += 1,
            0 => outcomes.unknown += 1,
            200..300 => {
                outcomes.accepted += 1;
                self.octets += self.sizes[(sent.number % self.sizes.len() as u64) as usize];
                self.to_reply.saturating_record(sent.end_of_data_to_reply());
                self.transaction.saturating_record(sent.transaction());
            }
            400..500 => outcomes.refused_for_now += 1,
            _ => outcomes.refused += 1,
        }
    }

    /// Returns the results so far.
    pub fn outcomes(&self) -> Outcomes {
        self.outcomes
    }

    /// Returns all figures after the load. `rate` and `messages` are the requested ones.
    pub fn figures(&self, what: String, report: Report, rate: Option<f64>, messages: Option<u64>) -> Figures {
        let micros = self.began.map_or(0, |began| self.answered.saturating_sub(began)).max(1);
        let seconds = micros as f64 / 1e6;
        let outcomes = self.outcomes;
        let tried =
            outcomes.accepted + outcomes.refused + outcomes.refused_for_now + outcomes.unknown + outcomes.unsent;
        let due = rate.map(|rate| ((rate * seconds) as u64).min(messages.unwrap_or(u64::MAX)));
        Figures {
            what,
            seconds,
            accepted_per_second: outcomes.accepted as f64 / seconds,
            octets_per_second: self.octets as f64 / seconds,
            outcomes,
            not_begun: due.map(|due| due.saturating_sub(tried)),
            end_of_data_to_250_ms: Quantiles::of(&self.to_reply),
            transaction_ms: Quantiles::of(&self.transaction),
            connections: report.connections,
            resumed: report.resumed,
            own_cpu: report.cpu_us as f64 / report.elapsed_us.max(1) as f64,
            replies: report.replies,
            failures: report.failures,
            ended: report.ended,
        }
    }
}

impl Figures {
    /// Returns true if at least one message was sent and every message was accepted.
    pub fn is_well(&self) -> bool {
        let Outcomes { accepted, refused, refused_for_now, unknown, unsent, tried_again: _ } = self.outcomes;
        accepted > 0 && refused + refused_for_now + unknown + unsent == 0 && self.ended.is_none()
    }

    /// Formats the figures for people.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n", self.what);
        let mut row = |name: &str, value: String| {
            let _ = writeln!(text, "  {name:<22} {value}");
        };
        let o = &self.outcomes;
        row(
            "accepted",
            format!(
                "{} messages in {:.1} s: {:.1}/s, {:.2} MB/s",
                o.accepted,
                self.seconds,
                self.accepted_per_second,
                self.octets_per_second / 1e6
            ),
        );
        if o.accepted > 0 {
            row("end of DATA to 250", self.end_of_data_to_250_ms.text());
            row("whole transaction", self.transaction_ms.text());
        }
        row(
            "refused",
            format!(
                "{} for good, {} for now until the end; {} attempts were refused for now and made again",
                o.refused, o.refused_for_now, o.tried_again
            ),
        );
        row("without an answer", format!("{} after the end of DATA, {} not sent", o.unknown, o.unsent));
        if let Some(not_begun) = self.not_begun.filter(|not_begun| *not_begun > 0) {
            row("behind the rate", format!("{not_begun} messages that were due were not begun"));
        }
        let resumed = 100.0 * self.resumed as f64 / self.connections.max(1) as f64;
        row("connections", format!("{}, {resumed:.0} % resumed TLS", self.connections));
        row("the load's own CPU", format!("{:.0} % of a core", 100.0 * self.own_cpu));
        if self.own_cpu > 0.8 && o.accepted > 0 {
            row("", "the load itself is at its limit: the relay may be faster than this".to_owned());
        }
        for (reply, times) in &self.replies {
            row("heard", format!("{times} × {}", visible(reply)));
        }
        for failure in &self.failures {
            row("failure", visible(failure).into_owned());
        }
        if let Some(why) = &self.ended {
            row("ended early", visible(why).into_owned());
        }
        text
    }
}

impl Quantiles {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile: f64| Duration::from_micros(histogram.value_at_quantile(quantile)).as_secs_f64() * 1e3;
        let max = Duration::from_micros(histogram.max()).as_secs_f64() * 1e3;
        // The end of a bucket may be longer than any measured time.
        Quantiles {
            p50: at(0.5).min(max),
            p90: at(0.9).min(max),
            p99: at(0.99).min(max),
            p999: at(0.999).min(max),
            max,
        }
    }

    fn text(&self) -> String {
        format!(
            "p50 {:.2}  p90 {:.2}  p99 {:.2}  p99.9 {:.2}  max {:.2} ms",
            self.p50, self.p90, self.p99, self.p999, self.max
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWERED: Sent = Sent {
        number: 0,
        due: 1_000_000,
        began: 1_000_000,
        end_of_data: 1_002_000,
        answered: 1_005_000,
        code: 250,
        refused: 0,
    };

    #[test]
    fn each_end_of_a_message_is_counted_by_itself() {
        let mut counted = Counted::new(vec![1_000, 3_000]);
        counted.count(&ANSWERED);
        counted.count(&Sent { number: 1, answered: 2_000_000, refused: 2, ..ANSWERED });
        counted.count(&Sent { code: 550, ..ANSWERED });
        counted.count(&Sent { code: 451, refused: 1, ..ANSWERED });
        counted.count(&Sent { code: 0, ..ANSWERED });
        counted.count(&Sent { code: 0, end_of_data: 0, ..ANSWERED });
        let expected = Outcomes { accepted: 2, refused: 1, refused_for_now: 1, unknown: 1, unsent: 1, tried_again: 3 };
        assert_eq!(counted.outcomes(), expected);
        let figures = counted.figures("x".to_owned(), Report::default(), Some(10.0), None);
        assert_eq!((figures.seconds, figures.octets_per_second, figures.not_begun), (1.0, 4_000.0, Some(4)));
        assert!((2.9..3.1).contains(&figures.end_of_data_to_250_ms.p50), "{figures:?}");
        assert!(!figures.is_well() && figures.text().contains("1 for good, 1 for now"), "{}", figures.text());
    }

    #[test]
    fn a_load_is_well_if_it_accepted_something_and_nothing_else_happened() {
        let mut counted = Counted::new(vec![1_000]);
        let told = |counted: &Counted, report| counted.figures(String::new(), report, None, None).is_well();
        assert!(!told(&counted, Report::default()));
        counted.count(&ANSWERED);
        assert!(told(&counted, Report::default()));
        assert!(!told(&counted, Report { ended: Some("the login was refused".to_owned()), ..Report::default() }));
    }
}
