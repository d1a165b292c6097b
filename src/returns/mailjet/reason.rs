//! Finds out why mail bounced behind Mailjet: from Mailjet's own words, and from the reply of the recipient's server if Mailjet passes it
//! on.
//!
//! Mailjet has few words, and some say little ("policy issue"). For these, the reply decides, by the same function as for replies to our
//! own deliveries.

use super::report::{Kind, Report};
use crate::delivery::class_of_reported;
use crate::message::{FailureClass, ReplyText};
use crate::smtp::Reply;

/// The reason of a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reason {
    pub class: FailureClass,
    /// True if no later mail will reach the address, so that it counts for the suppression list.
    pub for_good: bool,
    /// The reply of the recipient's server, if Mailjet passes it on.
    pub reply: Option<ReplyText>,
    /// Mailjet's text for people.
    pub detail: String,
}

/// Returns true if Mailjet continues to try, so that nothing is decided yet.
pub(super) fn is_for_now(report: &Report) -> bool {
    report.kind == Kind::Bounce && !report.hard && report.error.eq_ignore_ascii_case("greylisted")
}

/// Returns the reason of a reported failure.
pub(super) fn reason(report: &Report) -> Reason {
    let reply = reply_in(&report.comment);
    let by_reply = reply.as_ref().map(class_of);
    let class = match by_error(report) {
        Some((class, true)) => class,
        Some((class, false)) => by_reply.filter(|it| *it != FailureClass::Unknown).unwrap_or(class),
        None => by_reply.unwrap_or(FailureClass::Unknown),
    };
    // Mailjet refuses mail in advance ("blocked") for an address that it knows to be gone.
    let for_good = class == FailureClass::Hard && (report.hard || report.kind == Kind::Blocked);
    let what = match report.kind {
        Kind::Blocked => "Mailjet did not send it",
        _ if report.hard => "Mailjet reports a bounce for good",
        _ => "Mailjet reports a bounce",
    };
    let words: Vec<&str> = [&*report.related_to, &*report.error].into_iter().filter(|word| !word.is_empty()).collect();
    let mut detail = what.to_owned();
    if !words.is_empty() {
        detail = format!("{detail}: {}", words.join(", "));
    }
    if reply.is_none() && !report.comment.is_empty() {
        detail = format!("{detail}: {}", report.comment);
    }
    Reason { class, for_good, reply: reply.map(|reply| ReplyText::new(reply.to_string(), Some(class))), detail }
}

/// Returns the reply with which the recipient's server took a mail, as Mailjet passes it on: `sent (250 2.0.0 OK)`.
pub(super) fn taken_with(report: &Report) -> Option<ReplyText> {
    let said = report.comment.strip_prefix("sent (").and_then(|rest| rest.strip_suffix(')')).unwrap_or(&report.comment);
    let heard = ReplyText::from(said.trim());
    heard.code().is_some_and(|code| (200..300).contains(&code)).then_some(heard)
}

/// Returns the class for Mailjet's words, and true if they are sufficient.
fn by_error(report: &Report) -> Option<(FailureClass, bool)> {
    let no_host = if report.hard { FailureClass::Hard } else { FailureClass::Network };
    Some(match report.error.to_ascii_lowercase().as_str() {
        "user unknown" | "mailbox inactive" | "invalid domain" | "typofix" => (FailureClass::Hard, true),
        "quota exceeded" => (FailureClass::MailboxFull, true),
        "no mail host" => (no_host, true),
        "sender blocked" => (FailureClass::Blocked, true),
        "content blocked"
        | "spam preblocked"
        | "spam pre-blocked"
        | "bad or empty template"
        | "error in template language" => (FailureClass::Content, true),
        "greylisted" => (FailureClass::Rate, true),
        // Mailjet keeps its own lists of addresses that bounced or complained, and of duplicates.
        "preblocked" | "pre-blocked" | "duplicate in campaign" | "blacklisted" | "spam reporter" => {
            (FailureClass::Policy, true)
        }
        "relay/access denied" | "policy issue" => (FailureClass::Policy, false),
        "system issue" | "protocol issue" | "connection issue" => (FailureClass::Network, false),
        _ => match report.related_to.to_ascii_lowercase().as_str() {
            "system" => (FailureClass::Network, false),
            "spam" => (FailureClass::Content, false),
            "mailjet" => (FailureClass::Policy, false),
            _ => return None,
        },
    })
}

fn class_of(reply: &Reply) -> FailureClass {
    class_of_reported(reply)
}

/// Returns the first negative reply in a text, such as `550 5.1.1 no such user`, also behind other words.
fn reply_in(text: &str) -> Option<Reply> {
    let is_code =
        |word: &str| word.len() == 3 && word.starts_with(['4', '5']) && word.bytes().all(|b| b.is_ascii_digit());
    let starts = std::iter::once(0).chain(text.match_indices([' ', '(', ':', '"', '\'']).map(|(at, _)| at + 1));
    let at = starts.into_iter().find(|at| {
        let rest = &text[*at..];
        rest.get(..3).is_some_and(is_code) && matches!(rest.as_bytes().get(3), None | Some(b' ' | b'-'))
    })?;
    let line = text[at..].replacen('-', " ", usize::from(text.as_bytes().get(at + 3) == Some(&b'-')));
    let heard = ReplyText::from(line.as_str());
    let said = heard.reply()?.to_owned();
    Some(Reply { code: heard.code()?, enhanced: heard.status(), lines: vec![said] })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounce(hard: bool, related_to: &str, error: &str, comment: &str) -> Report {
        let (related_to, error, comment) = (related_to.into(), error.into(), comment.into());
        Report { hard, related_to, error, comment, ..Report::new(Kind::Bounce) }
    }

    #[test]
    fn every_documented_error_has_its_class_and_replies_decide_where_the_words_say_little() {
        use FailureClass::*;
        for (hard, related_to, error, comment, class) in [
            (true, "recipient", "user unknown", "", Hard),
            (true, "recipient", "User Unknown", "550 5.1.1 no such user", Hard),
            (true, "recipient", "mailbox inactive", "", Hard),
            (false, "recipient", "quota exceeded", "452 4.2.2 full", MailboxFull),
            (true, "domain", "invalid domain", "", Hard),
            (true, "domain", "no mail host", "", Hard),
            (false, "domain", "no mail host", "", Network),
            (false, "domain", "relay/access denied", "", Policy),
            (true, "domain", "relay/access denied", "550 5.1.1 User unknown", Hard),
            (true, "domain", "relay/access denied", "554 5.7.1 blocked using zen.spamhaus.org", Blocked),
            (false, "domain", "greylisted", "450 4.7.1 greylisted", Rate),
            (true, "spam", "sender blocked", "", Blocked),
            (true, "spam", "content blocked", "", Content),
            (false, "spam", "policy issue", "", Policy),
            (false, "spam", "policy issue", "421 4.7.0 try again later", Rate),
            (true, "spam", "policy issue", "550 5.7.26 unauthenticated email", Auth),
            (false, "system", "system issue", "", Network),
            (false, "system", "protocol issue", "", Network),
            (false, "system", "connection issue", "", Network),
            (true, "mailjet", "preblocked", "", Policy),
            (true, "mailjet", "duplicate in campaign", "", Policy),
            (true, "mailjet", "spam preblocked", "", Content),
            (true, "mailjet", "typofix", "", Hard),
            (true, "mailjet", "blacklisted", "", Policy),
            (true, "mailjet", "something new", "", Policy),
            (true, "system", "something new", "", Network),
            (true, "something new", "something new", "550 5.2.2 mailbox full", MailboxFull),
            (true, "", "", "host x.dk said: 550 5.1.1 <a@x.dk>: user unknown", Hard),
            (true, "", "", "", Unknown),
            (true, "", "", "no code here", Unknown),
        ] {
            let found = reason(&bounce(hard, related_to, error, comment));
            assert_eq!(found.class, class, "{related_to} {error} {comment}");
        }
    }

    #[test]
    fn only_an_address_that_is_gone_counts_for_the_suppression_list() {
        assert!(reason(&bounce(true, "recipient", "user unknown", "")).for_good);
        assert!(!reason(&bounce(false, "recipient", "user unknown", "")).for_good);
        assert!(!reason(&bounce(true, "spam", "content blocked", "")).for_good);
        let blocked = |error: &str| Report { kind: Kind::Blocked, ..bounce(false, "", error, "") };
        assert!(reason(&blocked("user unknown")).for_good);
        assert!(!reason(&blocked("preblocked")).for_good);
    }

    #[test]
    fn the_reply_is_found_apart_from_mailjets_own_words() {
        let found = reason(&bounce(true, "recipient", "user unknown", "smtp; 550-5.1.1 no such user"));
        let reply = found.reply.unwrap();
        assert_eq!((reply.code(), reply.status().map(|it| it.to_string())), (Some(550), Some("5.1.1".into())));
        assert_eq!((reply.reply(), reply.class), (Some("no such user"), Some(FailureClass::Hard)));
        assert_eq!(found.detail, "Mailjet reports a bounce for good: recipient, user unknown");
        let found = reason(&bounce(false, "domain", "no mail host", "Name service error for x.dk"));
        assert_eq!(found.reply, None);
        assert_eq!(found.detail, "Mailjet reports a bounce: domain, no mail host: Name service error for x.dk");
        for text in ["", "5", "55", "5500 x", "x550 y", "a 650 b", "12:550", "é550 x"] {
            let found = reply_in(text);
            assert_eq!(found.is_some(), text == "12:550", "{text}: {found:?}");
        }
    }

    #[test]
    fn the_reply_to_a_mail_that_was_taken_is_read() {
        let sent = |comment: &str| taken_with(&Report { comment: comment.into(), ..Report::new(Kind::Sent) });
        let heard = sent("sent (250 2.0.0 OK 1433333948 fa5si855896wjc.199 - gsmtp)").unwrap();
        assert_eq!((heard.code(), heard.reply()), (Some(250), Some("OK 1433333948 fa5si855896wjc.199 - gsmtp")));
        assert_eq!(sent("250 ok").unwrap().code(), Some(250));
        for odd in ["", "sent", "sent (550 5.1.1 no)", "sent ()"] {
            assert_eq!(sent(odd), None, "{odd}");
        }
    }

    #[test]
    fn greylisting_decides_nothing() {
        assert!(is_for_now(&bounce(false, "domain", "greylisted", "")));
        assert!(!is_for_now(&bounce(true, "domain", "greylisted", "")));
        assert!(!is_for_now(&bounce(false, "domain", "no mail host", "")));
    }
}
