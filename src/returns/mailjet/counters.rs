//! The metrics of Mailjet's events.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::report::Kind;

/// The result of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its event is in the log.
    Told,
    /// It was received before.
    Repeated,
    /// It adds nothing to earlier reports, for example a delivery after a bounce.
    Late,
    /// An opening or click, which is not configured to be reported.
    Unwanted,
    /// Mailjet continues to try.
    ForNow,
    /// No mail of ours matches it.
    Unmatched,
    /// The log no longer has the mail, or its recipient was erased.
    Forgotten,
}

impl Fate {
    const ALL: [Fate; 7] =
        [Fate::Told, Fate::Repeated, Fate::Late, Fate::Unwanted, Fate::ForNow, Fate::Unmatched, Fate::Forgotten];

    fn as_str(self) -> &'static str {
        match self {
            Fate::Told => "told",
            Fate::Repeated => "repeated",
            Fate::Late => "late",
            Fate::Unwanted => "unwanted",
            Fate::ForNow => "for_now",
            Fate::Unmatched => "unmatched",
            Fate::Forgotten => "forgotten",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    event: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FateLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabel {
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabel {
    result: &'static str,
}

/// The counters of Mailjet's events. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    answers: Family<AnswerLabel, Counter>,
    received: Family<KindLabel, Counter>,
    fates: Family<FateLabel, Counter>,
    calls: Family<CallLabel, Counter>,
    /// Events of an unknown kind.
    pub(super) unknown: Counter,
    /// Reports that were accepted and are not in the log yet.
    pub(super) waiting: Gauge,
    /// The age of the oldest such report in seconds.
    pub(super) lag: Gauge,
    /// Recipients about whom nothing was reported in time.
    pub(super) gaps: Gauge,
    /// The age of the oldest such recipient in seconds.
    pub(super) oldest_gap: Gauge,
    /// Reports that Mailjet's API returned when it was asked.
    pub(super) filled: Counter,
    /// Recipients about whom nothing was ever reported.
    pub(super) given_up: Counter,
    /// Recipients whose mail Mailjet took.
    pub(super) relayed: Counter,
}

impl Counters {
    /// Adds the counters to a registry.
    pub fn register(&self, registry: &mut Registry) {
        // All labels exist from the start, so that an alerting rule sees the first event as a change.
        for fate in Fate::ALL {
            drop(self.fates.get_or_create(&FateLabel { outcome: fate.as_str() }));
        }
        for kind in Kind::ALL {
            drop(self.received.get_or_create(&KindLabel { event: kind.as_str() }));
        }
        let mut register = |name, help, metric: &Counter| registry.register(name, help, metric.clone());
        register("mailjet_unknown_events", "Events of Mailjet's of a kind that is not known", &self.unknown);
        register("mailjet_filled", "Reports that Mailjet's API gave when it was asked", &self.filled);
        register("mailjet_unheard", "Recipients given up of which Mailjet never reported anything", &self.given_up);
        register("mailjet_relayed", "Recipients that Mailjet took and whose events are expected", &self.relayed);
        let mut register = |name, help, metric: &Gauge| registry.register(name, help, metric.clone());
        register("mailjet_waiting_events", "Events taken from Mailjet that are not in the record yet", &self.waiting);
        register(
            "mailjet_lag_seconds",
            "Age of the oldest event taken from Mailjet that is not in the record yet",
            &self.lag,
        );
        register("mailjet_gaps", "Recipients of which Mailjet has reported nothing in time", &self.gaps);
        register(
            "mailjet_oldest_gap_seconds",
            "For how long nothing was heard of the oldest of them",
            &self.oldest_gap,
        );
        registry.register("mailjet_requests", "Answers to requests of Mailjet's, by status", self.answers.clone());
        registry.register("mailjet_events", "Events taken from Mailjet, by kind", self.received.clone());
        registry.register("mailjet_outcomes", "What became of Mailjet's events", self.fates.clone());
        registry.register(
            "mailjet_calls",
            "Calls of Mailjet's API about mail that nothing was heard of",
            self.calls.clone(),
        );
    }

    pub(super) fn answered(&self, code: u16) {
        self.answers.get_or_create(&AnswerLabel { code }).inc();
    }

    pub(super) fn received(&self, kind: Kind) {
        self.received.get_or_create(&KindLabel { event: kind.as_str() }).inc();
    }

    pub(super) fn became(&self, fate: Fate, count: usize) {
        self.fates.get_or_create(&FateLabel { outcome: fate.as_str() }).inc_by(count as u64);
    }

    pub(super) fn called(&self, result: &'static str) {
        self.calls.get_or_create(&CallLabel { result }).inc();
    }
}
