//! The steps of a conversation with a smarthost, as the probe shows them and the metrics label them.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use serde::{Serialize, Serializer};

/// One step of a conversation, from looking up the host to the last command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Looking up the host's addresses.
    Resolve,
    /// Reading the certificate files that the route's configuration names.
    Policy,
    /// Opening the TCP connection.
    Connect,
    /// Reading the server's first reply.
    Greeting,
    /// Sending EHLO, or HELO.
    Hello,
    /// Sending STARTTLS and making the handshake.
    Tls,
    /// Checking the server's certificate.
    Certificate,
    /// Fetching the login's token from its provider.
    Token,
    /// Logging in with AUTH.
    Login,
    /// MAIL FROM (RFC 5321 §3.3).
    Mail,
    /// RCPT TO (RFC 5321 §3.3).
    Rcpt,
    /// Sending DATA, up to the 354.
    Data,
    /// Sending the final dot, up to the server's reply.
    End,
    /// Sending RSET, which ends the probe without mail.
    Rset,
    /// Offering the relay's own return path as sender.
    ReturnPath,
    /// Naming the same recipient without a login, to see whether the server relays for strangers.
    OpenRelay,
}

impl Step {
    /// The step's name in reports, JSON and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Step::Resolve => "resolve",
            Step::Policy => "policy",
            Step::Connect => "connect",
            Step::Greeting => "greeting",
            Step::Hello => "hello",
            Step::Tls => "tls",
            Step::Certificate => "certificate",
            Step::Token => "token",
            Step::Login => "login",
            Step::Mail => "MAIL",
            Step::Rcpt => "RCPT",
            Step::Data => "DATA",
            Step::End => "final dot",
            Step::Rset => "RSET",
            Step::ReturnPath => "return path",
            Step::OpenRelay => "open relay",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Step {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(self.as_str())
    }
}

/// A step that was taken, for the probe.
#[derive(Clone, Debug)]
pub struct TakenStep {
    /// The step that was taken.
    pub step: Step,
    /// How long the step took.
    pub took: Duration,
    /// The result of the step.
    pub found: String,
    /// Advice about a failed step after which the connection was made in another way.
    pub advice: Option<String>,
}

/// Records the steps of a connection for the probe. A delivery does not record, and pays nothing for it.
#[derive(Default)]
pub struct StepLog(Option<Vec<TakenStep>>);

impl StepLog {
    /// A log that records every step.
    pub fn kept() -> Self {
        StepLog(Some(Vec::new()))
    }

    /// The steps so far.
    pub fn steps(self) -> Vec<TakenStep> {
        self.0.unwrap_or_default()
    }

    /// Records that a step that began at `begun` is done.
    pub fn done(&mut self, step: Step, begun: Instant, found: impl FnOnce() -> String) {
        if let Some(steps) = &mut self.0 {
            steps.push(TakenStep { step, took: begun.elapsed(), found: found(), advice: None });
        }
    }

    /// Records that a connection begun at `begun` failed at `step` for this reason, and that another way is tried. `before` is
    /// the number of steps that were recorded when it began.
    pub fn failed(&mut self, step: Step, reason: &str, begun: Instant, before: usize, advice: &str) {
        if let Some(steps) = &mut self.0 {
            let done: Duration = steps[before..].iter().map(|step| step.took).sum();
            let found = reason.to_owned();
            let took = begun.elapsed().saturating_sub(done);
            steps.push(TakenStep { step, took, found, advice: Some(advice.to_owned()) });
        }
    }

    /// Drops all but the first `before` steps, because the others are made again.
    pub fn forget_from(&mut self, before: usize) {
        self.0.iter_mut().for_each(|steps| steps.truncate(before));
    }

    /// The number of steps recorded so far.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, Vec::len)
    }
}
