//! What comes of jobs.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::delivery::ProbeReport;
use crate::onboarding::Report;
use crate::onboarding::text::Lang;
use crate::operate::queue::Changed;

/// What came of a job.
#[derive(Clone, Debug)]
pub enum JobResult {
    /// Of a command about the queue.
    Queue(Changed),
    /// Of a check of domains, in the language that was asked for.
    Check(Arc<Checked>, Lang),
    /// Of a probe: a report for each route.
    Probe(Vec<ProbeReport>),
    /// Of a test mail.
    TestSend(TestSent),
}

/// What the checks of some domains said.
#[derive(Debug, Serialize)]
pub struct Checked {
    /// One report a domain, in the order of customers and domains.
    pub reports: Vec<Report>,
    /// Reports that could not be kept. They stand, but a running relay does not know of them.
    pub unkept: Vec<Unkept>,
}

/// A report that could not be kept.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Unkept {
    /// The domain it is about.
    pub domain: String,
    /// Why it was not kept.
    pub reason: String,
}

/// What came of a test mail.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TestSent {
    /// Its queue id: `trace` tells what became of it later.
    pub queue_id: String,
    /// What was told of it last, as in the event log: `relayed`, `bounced`, `deferred`; `accepted` where nothing was told in two minutes.
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
    /// What the relay itself says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}
