//! For `tests/fuzz` only (feature `fuzzing`): what a smarthost's certificate says, in words, what its replies mean, and what a token
//! endpoint answers.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::StatusCode;

use super::auth::login::Blame;
use super::auth::oauth::TokenAnswer;
use super::auth::sasl::Exchange;
use super::commands::may_refuse_parameters;
use super::reply::classify::{Context, Phase, TakenRecipients, classify};
use super::reply::number_of_recipients::is_about_number_of_recipients;
use super::tls::certificate::{PublicKey, broken_signature_among, describe, is_pinnable};
use crate::message::Recipient;
use crate::route::RouteKind;
use crate::smtp::{Mailbox, Mechanism, Reply};
use crate::visible::is_unseen;

/// Answers a challenge by every mechanism, as often as the server may ask.
///
/// # Panics
/// Panics if an answer is more than one line, or if the exchange never ends.
pub fn challenge(reply: &Reply) {
    let text = reply.lines.first().map_or("", String::as_str);
    for mechanism in [Mechanism::Plain, Mechanism::Login, Mechanism::CramMd5, Mechanism::Xoauth2] {
        let mut exchange = Exchange::new(mechanism, "webcrm", "secret");
        let mut asked = 0;
        while let Some(line) = exchange.answer(text) {
            assert!(!line.contains(['\r', '\n']), "one line");
            asked += 1;
            assert!(asked < 8, "{mechanism:?} goes on for ever");
        }
    }
}

/// Judges a negative reply wherever it may be heard.
pub fn judge(reply: &Reply) {
    let phases = [
        Phase::Greeting,
        Phase::Hello,
        Phase::StartTls,
        Phase::Login,
        Phase::Mail,
        Phase::Rcpt,
        Phase::Data,
        Phase::End,
    ];
    let mailbox = |text| Mailbox::parse(text).expect("an address");
    let (sender, recipients) = (mailbox("crm@test.dk"), [Recipient::new(mailbox("x@test.net"))]);
    let context = Context {
        kind: RouteKind::OwnServer,
        internal: reply.code.is_multiple_of(2),
        egress: IpAddr::from([40, 74, 40, 57]),
        login: None,
        sender: Some(&sender),
        recipients: &recipients,
        fallback: None,
        taken: TakenRecipients::Nobody,
    };
    for phase in phases {
        let _ = classify(phase, reply, &context);
    }
    let _ = (is_about_number_of_recipients(reply), Blame::of(reply), may_refuse_parameters(reply));
}

/// Describes octets that a server sent for its certificate.
///
/// # Panics
/// Panics if a description holds a character that is not shown, or has no bound.
pub fn certificate(octets: &[u8]) {
    let key = PublicKey::of(octets);
    let fault = key.as_ref().and_then(PublicKey::fault);
    if let Some(key) = &key {
        assert!(key.info().len() <= octets.len());
        assert!(fault.is_some() || is_pinnable(octets, false), "a key without a fault can be pinned");
    }
    assert!(key.is_some() || !is_pinnable(octets, true));
    let _ = broken_signature_among(std::iter::once(octets));
    let Some(described) = describe(octets) else { return };
    assert_eq!(described.key_fault, fault);
    let single = [&described.subject, &described.issuer, &described.not_after];
    for text in single.into_iter().chain(&described.names).chain(&described.faults) {
        assert!(!text.chars().any(is_unseen), "{text:?}");
        assert!(text.len() <= 5_000, "{} octets", text.len());
    }
    assert!(described.names.len() <= octets.len());
    assert!(described.usable_names().count() <= described.names.len());
}

/// Reads what a token endpoint answers: the last digit of the status, and then the body.
///
/// # Panics
/// Panics if a text is long or holds a character that is not shown, or if a token is used for longer than a day.
pub fn token_answer(octets: &[u8]) {
    let (digit, body) = octets.split_first().map_or((0, octets), |(digit, body)| (*digit, body));
    for hundreds in 2..=5 {
        let status = StatusCode::from_u16(hundreds * 100 + u16::from(digit % 100)).expect("a status");
        match TokenAnswer::read(status, &String::from_utf8_lossy(body)) {
            TokenAnswer::Token { usable, .. } => {
                assert!(status.is_success() && usable <= Duration::from_secs(86_400), "{status}: {usable:?}");
            }
            TokenAnswer::Denied(reason) | TokenAnswer::Later(reason) => {
                assert!(reason.len() <= 1_024, "{} octets", reason.len());
                assert!(!reason.chars().any(is_unseen), "{reason:?}");
            }
        }
    }
}
