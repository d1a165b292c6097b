//! Reads returned mail that was written only for people: by qmail, old Exim and Exchange, and gateways. Also recognises automatic replies,
//! which are no returned mail (RFC 3834).

use super::mime::MimeMessage;
use super::said::{named_in, quoted_in};
use super::{Action, DeliveryStatus};

/// The most octets of text that are read.
const TEXT: usize = 64 << 10;
/// The lines that precede the copy of the returned message. Text behind them says nothing about the recipient.
const COPIES: [&str; 8] = [
    "--- Below this line is a copy of the message",
    "------ This is a copy of ",
    "------ This is a copy of your message",
    "--- The following addresses had",
    "-----Original Message-----",
    "----- Original message",
    "Original message headers:",
    "Message header follows",
];
/// The names and local parts of senders of returned mail.
const DAEMONS: [&str; 9] = [
    "mailer-daemon",
    "postmaster",
    "mailerdaemon",
    "mail-daemon",
    "microsoftexchange",
    "mdaemon",
    "mail delivery s",
    "mail administrator",
    "system administrator",
];
/// The beginnings of subjects of people's answers.
const ANSWERS: [&str; 9] = ["re:", "sv:", "vs:", "aw:", "antw:", "fw:", "fwd:", "vb:", "wg:"];
/// Subjects and beginnings of texts that report a failure.
const FAILED: [&str; 32] = [
    "undeliver",
    "could not be delivered",
    "couldn't be delivered",
    "wasn't able to deliver",
    "was not able to deliver",
    "unable to deliver",
    "cannot be delivered",
    "not been delivered",
    "not delivered",
    "delivery failed",
    "delivery failure",
    "delivery has failed",
    "delivery status notification (failure)",
    "failure notice",
    "returned mail",
    "returned to sender",
    "mail delivery failed",
    "mail system error",
    "permanent error",
    "permanent fatal errors",
    "non-delivery",
    "nondelivery",
    "nondeliverable",
    "kunne ikke leveres",
    "kan ikke leveres",
    "ikke leveret",
    "kunne ikke afleveres",
    "kunde inte levereras",
    "unzustellbar",
    "nicht zugestellt",
    "onbestelbaar",
    "non remis",
];
/// The same for mail that is still tried.
const DELAYED: [&str; 12] = [
    "delivery status notification (delay)",
    "delayed",
    "will be retried",
    "still being retried",
    "will continue to try",
    "will keep trying",
    "not yet been delivered",
    "could not be delivered yet",
    "do not need to resend",
    "not necessary to resend",
    "temporarily unable to deliver",
    "warning: message",
];
/// Subjects of automatic replies.
const AWAY: [&str; 15] = [
    "automatic reply",
    "auto reply",
    "auto-reply",
    "autoreply",
    "auto:",
    "out of office",
    "out of the office",
    "automatisk svar",
    "autosvar",
    "fraværende",
    "ikke på kontoret",
    "automatische antwort",
    "abwesenheit",
    "réponse automatique",
    "on vacation",
];

/// Returns the fate that a text reports, if it is returned mail.
pub(super) fn fate(message: &MimeMessage<'_>) -> Option<DeliveryStatus> {
    let subject = lower(&message.subject());
    let text = text_of(message);
    let start = lower(&text[..text.floor_char_boundary(4096)]);
    let names_failed = message.value("X-Failed-Recipients");
    let says = |words: &[&str]| words.iter().any(|word| subject.contains(word) || start.contains(word));
    let is_said_to_fail = FAILED.iter().any(|word| subject.contains(word));
    let is_bounce = names_failed.is_some()
        || is_from_a_daemon(message)
        || start.contains("qmail-send program")
        || FAILED.iter().any(|word| subject.starts_with(word));
    // The text of a person, or of a program that answers for one, may tell of anything that was not delivered.
    let is_answer = ANSWERS.iter().any(|word| subject.starts_with(word)) || is_automatic(message, &subject);
    if !is_bounce && (is_answer || !is_said_to_fail) {
        return None;
    }
    let quoted = quoted_in(&text);
    let is_delayed = says(&DELAYED) && !is_said_to_fail;
    let is_failed = names_failed.is_some() || says(&FAILED);
    if !(is_delayed || is_failed || quoted.is_some()) {
        return None;
    }
    let named = names_failed.iter().flat_map(|names| names.split(',')).map(|name| name.trim().to_owned());
    Some(DeliveryStatus {
        action: if is_delayed { Action::Delayed } else { Action::Failed },
        recipients: named.take(10).collect(),
        said: quoted.or_else(|| named_in(&text)).unwrap_or_default(),
        server: None,
        until: None,
    })
}

/// Returns true for an automatic reply: an absence note, a receipt.
pub(super) fn is_auto_reply(message: &MimeMessage<'_>) -> bool {
    is_automatic(message, &lower(&message.subject()))
}

fn is_automatic(message: &MimeMessage<'_>, subject: &str) -> bool {
    // RFC 3834 §5: "no" means that a person sent it.
    let submitted = message.value("Auto-Submitted").is_some_and(|value| !lower(&value).starts_with("no"));
    let fields = ["X-Autoreply", "X-Autorespond", "X-AutoReply-From", "X-Mail-Autoreply", "X-Autogenerated"];
    let precedence = message.value("Precedence").map(|value| lower(&value)).unwrap_or_default();
    submitted
        || fields.iter().any(|name| message.value(name).is_some())
        || ["auto_reply", "auto-reply"].contains(&precedence.as_str())
        || AWAY.iter().any(|word| subject.contains(word))
}

fn is_from_a_daemon(message: &MimeMessage<'_>) -> bool {
    let from = lower(&message.value("From").unwrap_or_default());
    DAEMONS.iter().any(|name| from.contains(name))
}

/// Returns the first text of a message, up to the copy of the returned message.
fn text_of(message: &MimeMessage<'_>) -> String {
    let part = message.part(&["text/plain"]).or_else(|| message.part(&["text/html"]));
    let mut text = part.map(|part| part.text()).unwrap_or_default();
    text.truncate(text.floor_char_boundary(TEXT));
    if part.is_some_and(|part| part.media_type == "text/html") {
        text = without_tags(&text);
    }
    let end = COPIES.iter().filter_map(|words| text.find(words)).min();
    text.truncate(end.unwrap_or(text.len()));
    text
}

/// Removes the tags from HTML, because only the words matter.
fn without_tags(html: &str) -> String {
    let mut text = String::with_capacity(html.len());
    let mut is_tag = false;
    for c in html.chars() {
        match c {
            '<' => is_tag = true,
            '>' if is_tag => {
                is_tag = false;
                text.push(' ');
            }
            c if !is_tag => text.push(c),
            _ => {}
        }
    }
    text
}

fn lower(text: &str) -> String {
    text.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(Action, String)> {
        let text = text.replace('\n', "\r\n");
        let found = fate(&MimeMessage::of(text.as_bytes()))?;
        Some((found.action, found.said.line()))
    }

    #[test]
    fn qmail_exim_and_exchange_are_read_in_their_own_words() {
        let qmail = "From: MAILER-DAEMON@mx.test\nSubject: failure notice\n\nHi. This is the qmail-send program at mx.test.\n\
            I'm afraid I wasn't able to deliver your message to the following addresses.\n\
            This is a permanent error; I've given up. Sorry it didn't work out.\n\n<gone@x.dk>:\n\
            192.0.2.1 does not like recipient.\nRemote host said: 550 5.1.1 no such user\nGiving up on 192.0.2.1.\n\n\
            --- Below this line is a copy of the message.\n\nSubject: 552 5.2.2 full\n";
        assert_eq!(read(qmail), Some((Action::Failed, "550 5.1.1 no such user Giving up on 192.0.2.1.".into())));
        let exim = "From: Mail Delivery System <Mailer-Daemon@mail.test>\nAuto-Submitted: auto-replied\nX-Failed-Recipients: gone@x.dk\n\
            Subject: Mail delivery failed: returning message to sender\n\nThis message was created automatically by mail delivery software.\n\n\
            A message that you sent could not be delivered to one or more of its\nrecipients. This is a permanent error. The following \
            address(es) failed:\n\n  gone@x.dk\n    host mx.x.dk [192.0.2.1]\n    SMTP error from remote mail server after RCPT TO:<gone@x.dk>:\n\
            \u{20}   550 Unknown user\n";
        assert_eq!(read(exim), Some((Action::Failed, "550 Unknown user".into())));
        let delayed = "From: Mailer-Daemon@mail.test\nSubject: Warning: message 1abc delayed 24 hours\n\nThis message was created automatically.\n\
            No action is required on your part. Delivery attempts will continue for some time.\n";
        assert_eq!(read(delayed), Some((Action::Delayed, String::new())));
        let silent_qmail = "From: MAILER-DAEMON@mx.test\nSubject: failure notice\n\nHi. This is the qmail-send program at mx.test.\n\n\
            <gone@x.dk>:\nThis address no longer accepts mail.\n\n--- Below this line is a copy of the message.\n\na@b\n";
        let said = "<gone@x.dk>: This address no longer accepts mail.".to_owned();
        assert_eq!(read(silent_qmail), Some((Action::Failed, said)));
        let old_exim = "From: Mail Delivery System <x@mail.test>\nSubject: Mail delivery failed: returning message to sender\n\n\
            A message that you sent could not be delivered. The following address(es) failed:\n\n  gone@x.dk\n\n    Unrouteable address\n";
        assert_eq!(read(old_exim), Some((Action::Failed, "gone@x.dk Unrouteable address".into())));
        let groupwise = "From: Mail Administrator <x@mail.test>\nSubject: Message status - undeliverable\n\nThe message that you sent was \
            undeliverable to the following:\n\tgone@x.dk (user not found)\n\nPossibly truncated original message follows:\n";
        let said =
            "The message that you sent was undeliverable to the following: gone@x.dk (user not found)".to_owned();
        assert_eq!(read(groupwise), Some((Action::Failed, said)));
        let by_nobody = "From: noreply@x.dk\nAuto-Submitted: auto-replied\nSubject: Undeliverable: Nyhed\n\nno\n";
        assert_eq!(read(by_nobody), Some((Action::Failed, String::new())));
        let exchange = "From: <postmaster@x.dk>\nSubject: Undeliverable: =?utf-8?Q?Nyhed?=\nContent-Type: text/html\n\n\
            <p>Delivery has failed to these recipients</p><p>gone@x.dk</p>Remote Server returned <b>'550 5.1.10 RESOLVER.ADR.RecipientNotFound;\
            \u{20}not found'</b>\n";
        let (action, said) = read(exchange).unwrap();
        assert!(action == Action::Failed && said.starts_with("550 5.1.10 RESOLVER.ADR"), "{said}");
    }

    #[test]
    fn a_person_who_is_away_has_refused_nothing() {
        for text in [
            "From: Anna <a@x.dk>\nSubject: Re: x\nAuto-Submitted: auto-replied\n\nI am away. Your mail could not be delivered to me.\n",
            "From: a@x.dk\nSubject: Automatisk svar: Nyhed\n\n550 5.1.1 is my room\n",
            "From: a@x.dk\nSubject: =?utf-8?Q?Frav=C3=A6rende?=\n\nHej\n",
            "From: a@x.dk\nSubject: x\nPrecedence: auto_reply\n\nx\n",
            "From: a@x.dk\nSubject: x\nX-Autoreply: yes\n\nx\n",
        ] {
            assert_eq!(read(text), None, "{text}");
            let text = text.replace('\n', "\r\n");
            assert!(is_auto_reply(&MimeMessage::of(text.as_bytes())), "{text}");
        }
        let person = "From: a@x.dk\nAuto-Submitted: no\nSubject: Re: your mail\n\nThanks!\n";
        assert_eq!(read(person), None);
        assert!(!is_auto_reply(&MimeMessage::of(person.as_bytes())));
    }

    #[test]
    fn a_person_who_tells_of_what_was_not_delivered_has_refused_nothing() {
        for text in [
            "From: a@x.dk\nSubject: Re: Nyhed\n\nMy parcel was not delivered yet. It is delayed, and your mail to b@x.dk could not be delivered.\n",
            "From: a@x.dk\nSubject: Nyhed\n\nThe letter was returned to sender: 550 5.1.1 is what my server said.\n",
            "From: a@x.dk\nSubject: SV: Undeliverable: Nyhed\n\nWhat is this?\n",
            "From: a@x.dk\nSubject: Your train is delayed\n\nWarning: message from b@x.dk\n",
            "From: a@x.dk\nSubject: Automatic reply: Delivery failed\n\nI am away.\n",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn prose_costs_in_proportion_to_its_length() {
        crate::test_cost::is_linear(
            crate::test_cost::LONG,
            |text: &String| drop(fate(&MimeMessage::of(text.as_bytes()))),
            &[
                ("words", |size| format!("From: postmaster@x.dk\r\n\r\n{}", "delivery 550 5.1.1 ".repeat(size / 19))),
                ("tags", |size| format!("Content-Type: text/html\r\n\r\n{}", "<a<b>".repeat(size / 5))),
                ("copies", |size| format!("From: postmaster@x.dk\r\n\r\n{}", "--- Below ".repeat(size / 10))),
                ("subjects", |size| format!("Subject: {}\r\n\r\n", "=?utf-8?Q?a?= ".repeat(size / 14))),
            ],
        );
    }
}
