//! Finds the [`FailureClass`] of a reply: the word that tells programs why a server did not take mail. It follows the [`Signal`], which
//! also decides what happens to the mail. If the signal says nothing, it follows the enhanced status code and the words of the reply.
//!
//! Words count for more than codes: servers give 5.7.1 for everything, and 5.1.1 seldom for anything but an unknown address.

use super::signal::{Phase, Signal};
use crate::message::FailureClass;
use crate::smtp::{EnhancedCode, Reply};

/// Words about a mailbox without room.
const FULL: &[&str] = &[
    "mailbox full",
    "mailbox is full",
    "mailbox has exceeded",
    "mailbox size",
    "mailbox quota",
    "mailbox would exceed",
    "exceed mailbox",
    "mailbox over",
    "over quota",
    "overquota",
    "over the quota",
    "exceeded its quota",
    "exceeded his quota",
    "exceeded their quota",
    "exceeds quota",
    "quota exceeded",
    "quota full",
    "quota is full",
    "user quota",
    "disk quota",
    "storage quota",
    "storage limit",
    "storage space",
    "out of storage",
    "inbox is full",
    "inbox full",
    "account is full",
    "user is full",
    "disk space",
    "quotaexceeded",
    "mailbox_full",
];

/// Words about the mail's own authentication.
const MAIL_AUTH: &[&str] = &[
    "dmarc",
    "dkim",
    "spf ",
    "spf)",
    "spf:",
    "spf-",
    "(spf",
    "openspf",
    "sender policy framework",
    "unauthenticated email",
    "not authenticated",
    "sender authentication",
    "email authentication",
    "authentication checks",
    "authentication requirements",
    "sender id (pra)",
];

/// Words about block lists and reputation.
const BLOCKED: &[&str] = &[
    "blacklist",
    "black list",
    "black-list",
    "blocklist",
    "block list",
    "blocked using",
    "blocked by",
    "blocked for",
    "has been blocked",
    "been blocked",
    "is blocked",
    "are blocked",
    "ip blocked",
    "was blocked",
    "blocked - see",
    "spamhaus",
    "spamcop",
    "sorbs",
    "barracudanetworks",
    "barracudacentral",
    "uceprotect",
    "surbl",
    "uribl",
    "senderscore",
    "sender score",
    "senderbase",
    "cloudmark",
    "invaluement",
    "abusix",
    "backscatterer",
    "dnsbl",
    "rbl ",
    "rbl:",
    "(rbl",
    "rbl)",
    "/rbl",
    "-rbl",
    "reputation",
    "banned",
    "listed at",
    "listed by",
    "listed in",
    "listed on",
    "permanently deferred",
    "spam source",
    "source of spam",
    "known spammer",
    "s3140",
    "s3150",
    "ip address is not allowed",
    "poor sender",
];

/// Words about too much, too fast, and not yet.
const RATE: &[&str] = &[
    "greylist",
    "graylist",
    "grey list",
    "grey-list",
    "gray-list",
    "greylisting",
    "too many",
    "too much mail",
    "too fast",
    "too quickly",
    "too frequently",
    "rate limit",
    "ratelimit",
    "rate-limit",
    "rate exceeded",
    "at a rate",
    "throttl",
    "unusual rate",
    "unexpected volume",
    "suspicious volume",
    "exceeded the maximum number",
    "exceeded the limit",
    "exceeded the max",
    "exceeded allowed",
    "limit exceeded",
    "limit reached",
    "per hour",
    "per day",
    "per minute",
    "concurrent",
    "deferred due to",
    "try again later",
    "try again in",
    "try later",
    "please retry",
    "retry later",
    "come back later",
    "temporarily deferred",
    "4.7.500",
    "server busy",
    "server is busy",
    "submissionquota",
];

/// Words about what the message holds.
const CONTENT: &[&str] = &[
    "spam",
    "junk",
    "unsolicited",
    "virus",
    "malware",
    "infected",
    "phish",
    "malicious",
    "message content",
    "content rejected",
    "content restriction",
    "content policy",
    "contents of",
    "content of",
    "attachment",
    "message size",
    "size limit",
    "message too large",
    "message too big",
    "message is too large",
    "message is too big",
    "message length",
    "maximum size",
    "exceeds the size",
    "exceeds size",
    "exceeds fixed",
    "larger than",
    "link in",
    "blocked url",
    "a url in",
    "bare lf",
    "bare linefeed",
    "header error",
    "missing header",
    "malformed",
    "rfc compliant",
    "rfc-compliant",
    "rfc 5322",
    "rfc 2822",
    "rfc5322",
    "invalid header",
    "message header",
    "multiple from",
    "messages missing",
    "line too long",
    "does not conform",
    "suspicious",
    "bulk mail",
    "unwanted",
];

/// Words about an address that accepts no mail.
const HARD: &[&str] = &[
    "user unknown",
    "unknown user",
    "unknown recipient",
    "recipient unknown",
    "unknown address",
    "address unknown",
    "unknown account",
    "unknown mailbox",
    "unknown local",
    "no such",
    "not exist",
    "not found",
    "doesn't exist",
    "doesn\u{2019}t exist",
    "nonexistent",
    "non-existent",
    "non existent",
    "invalid recipient",
    "invalid mailbox",
    "invalid address",
    "invalid user",
    "bad destination",
    "bad recipient",
    "recipient rejected",
    "recipient not",
    "recipient address rejected",
    "recipient is not",
    "address rejected",
    "address is not valid",
    "not a valid",
    "not valid",
    "no mailbox",
    "no user",
    "no account",
    "no recipient",
    "not our customer",
    "not known",
    "is unknown",
    "isn't known",
    "not listed",
    "not a known",
    "unable to find",
    "could not be found",
    "couldn't be found",
    "can't be found",
    "cannot be found",
    "doesn't have",
    "does not have",
    "unrouteable",
    "unroutable",
    "undeliverable",
    "mailbox unavailable",
    "mailbox is unavailable",
    "mailbox disabled",
    "mailbox is disabled",
    "mailbox inactive",
    "mailbox is inactive",
    "account disabled",
    "account is disabled",
    "account has been disabled",
    "account that you tried to reach is disabled",
    "account inactive",
    "account is inactive",
    "account suspended",
    "account has been suspended",
    "user disabled",
    "user is disabled",
    "user suspended",
    "no longer",
    "closed",
    "deactivated",
    "discontinued",
    "terminated",
    "expired",
    "moved",
    "null mx",
    "domain does not accept",
    "does not accept mail",
    "does not receive mail",
    "never logged",
    "resolver.adr",
    "recipnotfound",
    "user doesn",
    "not local",
    "alias unknown",
];

/// Words about rules of the server.
const POLICY: &[&str] = &[
    "policy",
    "policies",
    "not allowed",
    "not permitted",
    "not authorized",
    "not authorised",
    "unauthorized",
    "unauthorised",
    "access denied",
    "access is denied",
    "permission",
    "administrative prohibition",
    "administratively",
    "prohibited",
    "restricted",
    "restriction",
    "forbidden",
    "rejected by",
    "sender rejected",
    "sender address",
    "sender domain",
    "sender denied",
    "sender is not",
    "relay",
    "spoof",
    "forged",
    "reverse dns",
    "ptr record",
    "rdns",
    "helo",
    "ehlo",
    "delivery not authorized",
    "security",
    "envelope blocked",
    "header based",
    "anti-spoofing",
    "not verified",
    "resolver.rst",
    "manual",
];

/// Words about a server or a network out of order.
const NETWORK: &[&str] = &[
    "timeout",
    "timed out",
    "time out",
    "connection",
    "network",
    "dns",
    "lookup",
    "look up",
    "resolve",
    "temporary failure",
    "temporary error",
    "temporarily unavailable",
    "local error",
    "internal error",
    "server error",
    "system error",
    "configuration error",
    "service unavailable",
    "service not available",
    "not available",
    "unreachable",
    "disk full",
    "system resources",
    "resources",
    "shutting down",
    "maintenance",
    "out of order",
    "ldap",
    "database",
    "loop",
    "too many hops",
    "hop count",
];

/// Returns why a server did not take mail. `text` is the reply's text in lower case.
pub fn failure_class(phase: Phase, signal: Signal, reply: &Reply, text: &str) -> FailureClass {
    let negative = Negative { phase, reply, text };
    if negative.is_mail_auth() {
        return FailureClass::Auth;
    }
    match signal {
        Signal::TooBusy | Signal::Quota => FailureClass::Rate,
        Signal::Blocked | Signal::Barred => FailureClass::Blocked,
        Signal::WantsTls | Signal::WantsLogin | Signal::MayWantLogin => FailureClass::Auth,
        Signal::NoRelay => FailureClass::Policy,
        Signal::InternalSpoof | Signal::SendAs => negative.of_policy(),
        Signal::OutOfOrder | Signal::Sequence => FailureClass::Network,
        Signal::Closing => negative.by_words().unwrap_or(FailureClass::Network),
        Signal::Plain => negative.plain(),
    }
}

/// Returns why a recipient's server did not take mail, from its reply as another server or service passes it on.
pub(crate) fn class_of_reported(reply: &Reply) -> FailureClass {
    failure_class(Phase::Rcpt, Signal::Plain, reply, &reply.lines.join(" ").to_ascii_lowercase())
}

/// A negative reply without a signal.
struct Negative<'a> {
    phase: Phase,
    reply: &'a Reply,
    text: &'a str,
}

impl Negative<'_> {
    fn plain(&self) -> FailureClass {
        match self.phase {
            Phase::Login => FailureClass::Auth,
            Phase::StartTls => FailureClass::Network,
            Phase::Greeting | Phase::Hello => self.by_words().unwrap_or(match self.reply.is_permanent() {
                true => FailureClass::Blocked,
                false => FailureClass::Network,
            }),
            Phase::Mail | Phase::Rcpt | Phase::Data | Phase::End => {
                self.by_telling_code().or_else(|| self.by_words()).unwrap_or_else(|| self.by_code())
            }
        }
    }

    fn of_policy(&self) -> FailureClass {
        if self.says(MAIL_AUTH) { FailureClass::Auth } else { FailureClass::Policy }
    }

    fn says(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.text.contains(word))
    }

    fn status(&self) -> Option<(u16, u16)> {
        self.reply.enhanced.map(|EnhancedCode(_, subject, detail)| (subject, detail))
    }

    /// RFC 7372, and what Microsoft and Google have besides.
    fn is_mail_auth(&self) -> bool {
        matches!(self.status(), Some((7, 20..=24 | 26 | 509 | 512 | 515)))
    }

    /// Status codes that mean one thing whatever the words are.
    fn by_telling_code(&self) -> Option<FailureClass> {
        let permanent = self.reply.is_permanent();
        match self.status()? {
            (2, 2) => Some(FailureClass::MailboxFull),
            // Exchange and Gmail also say 5.1.1 and 5.1.10 for what words call otherwise, but never the other way about.
            (1, 1 | 10) if permanent && !self.says(FULL) && !self.says(BLOCKED) => Some(FailureClass::Hard),
            (1, 2 | 3 | 6) if permanent => Some(FailureClass::Hard),
            (1, 7 | 8) => Some(FailureClass::Policy),
            (7, 25 | 511 | 606..=649) => Some(FailureClass::Blocked),
            (7, 28) => Some(FailureClass::Rate),
            (3, 4) | (2, 3) => Some(FailureClass::Content),
            (4, 6) => Some(FailureClass::Network),
            (4, 310 | 312) => Some(FailureClass::Hard),
            _ => None,
        }
    }

    fn by_words(&self) -> Option<FailureClass> {
        let (permanent, to_one) = (self.reply.is_permanent(), self.phase == Phase::Rcpt);
        if self.says(FULL) && !self.says(&["message size", "maximum message", "sending", "submission"]) {
            return Some(FailureClass::MailboxFull);
        }
        if self.says(MAIL_AUTH) {
            return Some(FailureClass::Auth);
        }
        if self.says(BLOCKED) {
            // Past the content, a list of links or of spammers' words is about the content.
            let of_content =
                self.phase == Phase::End && self.says(&["url", "link", "uribl", "surbl", "content", "spam c"]);
            return Some(if of_content { FailureClass::Content } else { FailureClass::Blocked });
        }
        if self.says(RATE) && (!permanent || !self.says(HARD)) {
            return Some(FailureClass::Rate);
        }
        // Before the content nobody can have seen it; only its size was announced.
        if self.says(CONTENT) {
            return Some(FailureClass::Content);
        }
        if self.says(&["sender address", "sender rejected", "sender domain", "sender denied"]) {
            return Some(FailureClass::Policy);
        }
        if permanent && self.says(HARD) && (to_one || !self.says(POLICY)) {
            return Some(FailureClass::Hard);
        }
        if self.says(POLICY) {
            return Some(FailureClass::Policy);
        }
        if self.says(NETWORK) {
            return Some(FailureClass::Network);
        }
        None
    }

    /// What is left to go by is the code.
    fn by_code(&self) -> FailureClass {
        let permanent = self.reply.is_permanent();
        match (self.status(), self.reply.code) {
            (Some((1, _)), _) if permanent => FailureClass::Hard,
            (Some((2, 0 | 1 | 4)), _) if permanent => FailureClass::Hard,
            (Some((4, 1 | 4)), _) if permanent && self.phase == Phase::Rcpt => FailureClass::Hard,
            (Some((3 | 4, _)), _) => FailureClass::Network,
            (Some((6, _)), _) => FailureClass::Content,
            (Some((7, _)), 450 | 451) => FailureClass::Rate,
            (Some((7, _)), _) => FailureClass::Policy,
            (Some((5, 3)), _) => FailureClass::Rate,
            (_, 552) if self.phase == Phase::Rcpt => FailureClass::MailboxFull,
            (_, 552) => FailureClass::Content,
            (_, 551 | 553) if self.phase == Phase::Rcpt => FailureClass::Hard,
            (_, 421) => FailureClass::Network,
            _ => FailureClass::Unknown,
        }
    }
}
