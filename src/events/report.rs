//! Alerts about the journal: it cannot be written, or lines were lost.

use std::io;

use super::{Event, Events, Subject};
use crate::record::journal::writer::TroubleReporter;

pub(super) struct ToOperators(pub(super) Events);

impl TroubleReporter for ToOperators {
    fn troubled(&self, why: &io::Error) {
        tracing::error!("the event log cannot be written: {why}. It is tried again every second");
        let detail = format!(
            "the event log cannot be written: {why}. Events of mail wait in the spool, and mail is taken and delivered on as long as \
             the spool's disk has room. Make room on the log's disk, or mend it"
        );
        self.0.raise(Subject::EventLog, detail);
    }

    fn recovered(&self) {
        tracing::warn!("the event log can be written again");
        self.0.resolve(&Subject::EventLog, "the event log can be written again");
    }

    fn lost(&self, count: u64) -> Vec<u8> {
        tracing::error!(count, "events were lost");
        let detail = format!(
            "{count} events are missing here (refusals, alerts, commands): the log could not be written and the memory for waiting \
             lines was full. Make room on the log's disk or look at why it is slow. No event of accepted mail is missing"
        );
        let mut line = Vec::new();
        Event::alert(detail).write_line(&mut line);
        line
    }
}
