//! Reads the hard bounces of a period from the event log. The suppression lists use it when they may have missed one.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use memchr::memmem;
use serde::Deserialize;

use super::files::search;
use crate::time::Timestamp;

/// A server's refusal of a recipient for good, at an attempt of this relay, as the event log has it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct HardBounce {
    pub at: Timestamp,
    pub customer: String,
    pub recipient: String,
    code: Option<u16>,
    status: Option<String>,
    reply: Option<String>,
}

impl HardBounce {
    /// The server's reply as it came.
    pub fn said(&self) -> String {
        let code = self.code.map(|code| code.to_string());
        [code, self.status.clone(), self.reply.clone()].into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

/// An event that may be a hard bounce. `reason`, `actor`, `test` and `about` each show that it is none: it is a report of another system, an
/// operator's command, about mail in test mode, or about a notification.
#[derive(Deserialize)]
struct Line {
    event: String,
    class: Option<String>,
    reason: Option<serde::de::IgnoredAny>,
    actor: Option<serde::de::IgnoredAny>,
    test: Option<serde::de::IgnoredAny>,
    about: Option<serde::de::IgnoredAny>,
}

/// Returns the hard bounces from `since` on, oldest first. Reads files, so it must not run on an async worker.
pub(crate) fn hard_bounces(log: &Path, since: Timestamp) -> io::Result<Vec<HardBounce>> {
    let mut found = Vec::new();
    search(log, &[], (since, Timestamp::NEVER), |lines| {
        found.extend(lines.split(|octet| *octet == b'\n').filter_map(hard_bounce).filter(|it| it.at >= since));
        Ok(ControlFlow::Continue(()))
    })?;
    found.sort_by_key(|bounce| bounce.at);
    Ok(found)
}

fn hard_bounce(line: &[u8]) -> Option<HardBounce> {
    // Most lines are about something else.
    memmem::find(line, b"\"bounced\"")?;
    let Line { event, class, reason, actor, test, about } = serde_json::from_slice(line).ok()?;
    let is_one = event == "bounced" && class.as_deref() == Some("hard");
    let is_other = reason.is_some() || actor.is_some() || test.is_some() || about.is_some();
    (is_one && !is_other).then(|| serde_json::from_slice(line).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hard_bounces_of_own_attempts_since_then_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("events.jsonl");
        let line = |at: &str, more: &str| {
            format!(
                "{{\"at\":\"2020-11-30T10:00:{at}.000Z\",\"event\":\"bounced\",\"customer\":\"acme\",\"recipient\":\"a{at}@x.dk\",\
                 \"code\":550,\"status\":\"5.1.1\",\"reply\":\"no \\\"bounced\\\" user\"{more}}}\n"
            )
        };
        let hard = ",\"class\":\"hard\"";
        let text = [
            line("01", hard),
            line("03", hard),
            line("02", hard),
            line("04", ",\"class\":\"content\""),
            line("05", &format!("{hard},\"reason\":\"mailjet\"")),
            line("06", &format!("{hard},\"actor\":\"anna\"")),
            line("07", &format!("{hard},\"test\":true")),
            line("08", &format!("{hard},\"about\":\"notification\"")),
            line("09", hard).replace("\"event\":\"bounced\"", "\"event\":\"expired\""),
            "{\"event\":\"bounced\"".to_owned(),
        ];
        std::fs::write(&log, text.concat()).unwrap();
        let found = hard_bounces(&log, "2020-11-30T10:00:02Z".parse().unwrap()).unwrap();
        let found: Vec<(&str, String)> = found.iter().map(|it| (it.recipient.as_str(), it.said())).collect();
        let said = || "550 5.1.1 no \"bounced\" user".to_owned();
        assert_eq!(found, [("a02@x.dk", said()), ("a03@x.dk", said())]);
    }
}
