//! The results of jobs.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::delivery::ProbeReport;
use crate::onboarding::Report;
use crate::onboarding::text::Lang;
use crate::operate::queue::Changed;

/// The result of a job.
#[derive(Clone, Debug)]
pub enum JobResult {
    /// The result of a queue command.
    Queue(Changed),
    /// The result of a check of domains, with texts in this language.
    Check(Arc<Checked>, Lang),
    /// The result of a probe: a report for each route.
    Probe(Vec<ProbeReport>),
    /// The result of a test mail.
    TestSend(TestSent),
    /// The result of an erasure of a recipient.
    Erased(RecordErased),
}

/// The result of an erasure of a recipient from the record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecordErased {
    /// The number of events about the recipient.
    pub events: u64,
    /// The number of files that held such events.
    pub files: u64,
    /// The nodes that were away or did not answer. Each erases the recipient from its own record by itself, as soon as it is back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub later: Vec<String>,
}

/// The results of checks of domains.
#[derive(Debug, Serialize)]
pub struct Checked {
    /// One report for each domain, in the order of customers and domains.
    pub reports: Vec<Report>,
    /// Reports that could not be stored. They are valid, but a running relay does not use them.
    pub unkept: Vec<Unkept>,
}

/// A report that could not be stored.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Unkept {
    /// The domain of the report.
    pub domain: String,
    /// Why it was not stored.
    pub reason: String,
}

/// The result of a test mail.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TestSent {
    /// The queue id, with which `trace` shows later events.
    pub queue_id: String,
    /// Its latest event, as in the event log: `relayed`, `bounced` or `deferred`; `accepted` if there was no result within 100 seconds.
    pub event: String,
    /// The route that was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// The server that was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The reply's three digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// The reply's enhanced status code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The reply's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<String>,
    /// Why it failed, in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// The relay's own remark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}
