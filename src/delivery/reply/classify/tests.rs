use std::sync::LazyLock;

use super::Phase::*;
use super::*;
use crate::delivery::tls::Fallback;
use crate::message::Recipient;
use crate::route::{Login, LoginSecret};
use crate::smtp::Mailbox;
use crate::smtp::response::take_reply;

pub fn reply(text: &str) -> Reply {
    take_reply(format!("{text}\r\n").as_bytes()).unwrap().unwrap().0
}

fn by_password() -> &'static Login {
    static LOGIN: LazyLock<Login> = LazyLock::new(|| Login::new("webcrm", LoginSecret::Password("secret".to_owned())));
    &LOGIN
}

pub fn context(internal: bool) -> Context<'static> {
    Context {
        kind: RouteKind::OwnServer,
        internal,
        egress: IpAddr::from([40, 74, 40, 57]),
        login: Some(by_password()),
        sender: None,
        recipients: &[],
        fallback: None,
        taken: TakenRecipients::Nobody,
    }
}

/// One letter each: verdict (f, d), scope (r, m, s, R), trouble (-, b, ?, !).
pub fn short((meaning, trouble): &(Meaning, Option<Trouble>)) -> String {
    let verdict = if meaning.verdict == Verdict::Failed { 'f' } else { 'd' };
    let scope = match meaning.scope {
        Scope::Recipient => 'r',
        Scope::Message => 'm',
        Scope::Session => 's',
        Scope::Route => 'R',
    };
    let trouble = match trouble {
        None => '-',
        Some(Trouble::BackOff { .. }) => 'b',
        Some(Trouble::Doubt { .. }) => '?',
        Some(Trouble::Suspend { .. }) => '!',
    };
    String::from_iter([verdict, scope, trouble])
}

#[test]
fn every_reply_has_its_reach() {
    let table: &[(Phase, &str, &str)] = &[
        // Before any message is concerned: the route's trouble, and mail waits.
        (Greeting, "421 4.3.2 too many connections from your address", "dRb"),
        (Greeting, "554 5.7.1 go away", "dRb"),
        (Greeting, "554 no SMTP service here", "dRb"),
        (Hello, "550 5.7.1 your HELO name is not real", "dRb"),
        (Hello, "451 4.3.0 later", "dRb"),
        (StartTls, "454 4.7.0 TLS not available", "dRb"),
        (StartTls, "501 5.5.4 no", "dRb"),
        // A login that is refused suspends at once; one that cannot be checked now does not.
        (Login, "535 5.7.8 authentication credentials invalid", "dR!"),
        (Login, "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant", "dR!"),
        (Login, "550 5.7.30 Basic authentication is not supported for Client Submission", "dR!"),
        (Login, "534 5.7.9 Application-specific password required", "dR!"),
        (Login, "501 5.5.2 cannot decode", "dR!"),
        // The login is right, and the account may send nothing more for a while.
        (Login, "535 5.7.0 The email limit is reached. Please upgrade your plan", "dRb"),
        (Login, "535 Authentication failed: Maximum credits exceeded", "dRb"),
        (Login, "550 5.7.1 webcrm@test.dk has exceeded its daily SMTP relay quota", "dRb"),
        (Login, "535 5.7.1 Too many login attempts per hour", "dR!"),
        (Login, "535 5.7.8 maximum number of failed logins per hour exceeded", "dR!"),
        (Login, "454 4.7.0 Temporary authentication failure", "dRb"),
        (Login, "432 4.3.2 Concurrent connections limit exceeded", "dRb"),
        (Login, "421 4.7.0 try later", "dRb"),
        // MAIL.
        (Mail, "421 4.4.2 connection timed out", "ds?"),
        (Mail, "432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded", "dRb"),
        (Mail, "452 4.3.1 Insufficient system resources", "dR?"),
        (Mail, "451 4.3.0 queue file write error", "dR?"),
        (Mail, "450 4.1.8 sender domain not found", "dm-"),
        (Mail, "530 5.7.0 Must issue a STARTTLS command first", "dR!"),
        (Rcpt, "550 5.7.10 Encryption needed", "dR?"),
        (Mail, "530 5.7.57 Client not authenticated to send mail", "dR!"),
        (Mail, "550 5.7.30 Basic authentication is not supported", "dR!"),
        (Mail, "550 5.4.5 Daily user sending quota exceeded", "dRb"),
        (Mail, "552 5.3.4 message too big", "fm-"),
        (Mail, "550 5.7.60 SMTP; Client does not have permissions to send as this sender", "fm-"),
        (Mail, "553 5.7.1 <a@test.dk>: Sender address rejected: not owned by user x", "fm-"),
        (Mail, "550 5.1.8 bad sender", "fm-"),
        (Mail, "555 5.5.4 unknown parameter", "fm-"),
        (Mail, "503 5.5.1 nested MAIL", "ds?"),
        // RCPT.
        (Rcpt, "550 5.1.1 no such user", "fr-"),
        (Rcpt, "550 no such user", "fr-"),
        (Rcpt, "553 5.1.3 bad address syntax", "fr-"),
        (Rcpt, "552 5.2.2 mailbox full", "fr-"),
        (Rcpt, "452 4.2.2 mailbox full", "dr-"),
        (Rcpt, "452 4.5.3 too many recipients", "dr-"),
        (Rcpt, "450 4.2.0 greylisted", "dr-"),
        (Rcpt, "451 4.7.1 try later", "dr-"),
        (Rcpt, "451 4.3.0 lookup failed", "dr-"),
        (Rcpt, "452 4.3.1 disk full", "dR?"),
        (Rcpt, "450 4.7.1 Error: rate limit exceeded", "dRb"),
        (Rcpt, "421 4.7.0 bye", "ds?"),
        (Rcpt, "554 5.7.1 <x@other.dk>: Relay access denied", "dR?"),
        (Rcpt, "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain", "dR?"),
        (Rcpt, "550 5.7.64 TenantAttribution; Relay Access Denied", "dR?"),
        // These servers refuse our address only when a recipient is named, and mean all recipients.
        (Rcpt, "554 5.7.1 <out.webcrm.com[40.74.40.57]>: Client host rejected: Access denied", "dR?"),
        (Rcpt, "554 5.7.1 Service unavailable; Client host [40.74.40.57] blocked using zen.spamhaus.org", "dR?"),
        (Rcpt, "550 5.7.1 Invalid credentials for relay [40.74.40.57].", "dR?"),
        (Rcpt, "504 5.5.2 <out>: Helo command rejected: need fully-qualified hostname", "dR?"),
        (Rcpt, "550 5.7.606 Access denied, banned sending IP [40.74.40.57]", "dR?"),
        (Mail, "554 5.7.1 <out.webcrm.com[40.74.40.57]>: Client host rejected: Access denied", "dR?"),
        (Rcpt, "554 5.7.1 Service unavailable; Sender address [a@test.dk] blocked using dbl.spamhaus.org", "fr-"),
        (End, "554 5.7.1 Blocked using a list of links", "fm-"),
        // The limit of Google's relay comes with a mailbox's code.
        (
            Rcpt,
            "450 4.2.1 Peak SMTP relay limit exceeded for customer. For more about SMTP relay sending limits see https://x",
            "dRb",
        ),
        (Rcpt, "550 5.7.1 Daily SMTP relay limit exceeded for customer", "dRb"),
        (Rcpt, "550 5.7.1 blocked by policy", "fr-"),
        // Without a code for a missing login, the reply may concern this recipient (hMailServer's distribution
        // lists).
        (Rcpt, "550 5.7.1 Authentication required", "dR?"),
        (Rcpt, "550 SMTP authentication required.", "dR?"),
        (Rcpt, "530 5.7.1 Authentication required", "dR!"),
        (Rcpt, "550 5.7.57 Client not authenticated", "dR!"),
        (Mail, "550 5.7.1 Authentication required", "dR!"),
        (Rcpt, "550 5.7.1 Server does not accept outgoing mail from unauthenticated users", "dR?"),
        (Mail, "550 5.7.1 Server does not accept outgoing mail from unauthenticated users", "dR!"),
        // At MAIL no recipient's account can be meant.
        (Mail, "550 5.2.1 This account has been suspended for sending spam", "dRb"),
        (Rcpt, "554 5.2.0 Submission quota exceeded", "dRb"),
        (Rcpt, "503 5.5.1 need MAIL", "ds?"),
        // These are Microsoft 365's blocks of a whole tenant.
        (End, "550 5.7.705 Access denied, tenant has exceeded threshold", "dRb"),
        (Mail, "550 5.7.705 Access denied, tenant has exceeded threshold", "dRb"),
        (Rcpt, "550 5.7.708 Access denied, traffic not accepted from this IP", "dR?"),
        (End, "550 5.7.708 Service unavailable. Access denied, traffic not accepted from this IP", "dR?"),
        (End, "550 5.7.750 Service unavailable. Client blocked from sending from unregistered domains", "dR?"),
        (Rcpt, "451 4.7.500 Server busy. Please try again later from [40.74.40.57]", "dRb"),
        (End, "451 4.7.500 Server busy", "dRb"),
        (Mail, "421 4.7.500 Server busy", "dRb"),
        // These replies concern the recipient, although similar words concern a route elsewhere.
        (Rcpt, "552 5.2.2 mailbox daily quota full", "fr-"),
        (Rcpt, "550 5.2.0 Message size exceeds recipient limit", "fr-"),
        (Rcpt, "550 5.4.5 no", "fr-"),
        (Rcpt, "450 4.2.1 recipient mailbox rate limit exceeded", "dr-"),
        (Rcpt, "432 4.2.1 mailbox is busy", "dr-"),
        (Rcpt, "450 4.4.2 recipient host timeout", "dr-"),
        (Rcpt, "550 5.7.1 Sender authentication required SPF", "fr-"),
        (Rcpt, "550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup; authentication required", "fr-"),
        // DATA and the final dot.
        (Data, "554 5.5.1 no valid recipients", "fm-"),
        (Data, "451 4.7.1 try later", "dm-"),
        (Data, "452 4.3.1 disk full", "dR?"),
        (Data, "503 5.5.1 need RCPT", "ds?"),
        (End, "552 5.3.4 too big", "fm-"),
        (End, "554 5.6.0 cannot parse", "fm-"),
        (End, "550 5.7.1 spam", "fm-"),
        (End, "451 4.7.1 try later", "dm-"),
        (End, "452 4.3.1 disk full", "dR?"),
        (End, "421 4.4.2 shutting down", "ds?"),
        (End, "432 4.3.2 too many", "dRb"),
        (End, "421 4.7.28 unusual rate of mail", "dRb"),
        (Mail, "421 4.4.2 Message submission rate for this client has exceeded the configured limit", "dRb"),
        (End, "450 4.7.28 unusual rate of mail", "dRb"),
        (End, "554 5.2.0 STOREDRV.Submission.Exception: limit of recipients exceeded", "dRb"),
        (End, "550 5.7.60 SendAsDenied", "fm-"),
        (End, "550 5.7.1 Email authentication is required for this sender (SPF/DKIM)", "fm-"),
        (End, "530 5.7.57 Client not authenticated to send mail", "dR!"),
    ];
    let found: Vec<_> =
        table.iter().map(|(phase, text, _)| short(&classify(*phase, &reply(text), &context(false)))).collect();
    let wrong: Vec<_> = table.iter().zip(&found).filter(|((.., right), found)| right != found).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_is_said_to_one_recipient_beside_another_that_was_taken_is_about_that_one() {
    let context = Context { taken: TakenRecipients::Others, ..context(false) };
    for (text, right) in [
        ("554 5.7.1 <x@other.dk>: Relay access denied", "fr-"),
        ("550 5.7.1 Authentication required", "fr-"),
        ("530 5.7.1 no", "fr-"),
        ("554 5.7.1 <out.webcrm.com>: Client host rejected: Access denied", "fr-"),
        // The reply names our address, so it never concerns the recipient.
        ("554 5.7.1 <out.webcrm.com[40.74.40.57]>: Client host rejected: Access denied", "dr-"),
        ("450 4.2.1 Peak SMTP relay limit exceeded for customer", "dr-"),
        // The rest of an allowance may be enough for some recipients.
        ("554 5.2.0 Submission quota exceeded", "dr-"),
        ("550 5.4.5 Daily SMTP relay limit exceeded for customer", "dr-"),
        ("550 5.4.5 no", "fr-"),
        ("450 4.7.1 Error: rate limit exceeded", "dr-"),
        ("452 4.3.1 disk full", "dr-"),
        ("421 4.7.0 bye", "ds?"),
    ] {
        let meaning = classify(Rcpt, &reply(text), &context);
        assert_eq!(short(&meaning), right, "{text}");
    }
    assert_eq!(short(&classify(End, &reply("452 4.3.1 disk full"), &context)), "dR?");
    assert_eq!(short(&classify(Rcpt, &reply("421 4.3.2 too many connections"), &context)), "ds?");
}

#[test]
fn a_server_that_takes_colleagues_only_is_not_set_up_to_relay() {
    for (text, outside, colleague) in [
        ("554 5.7.1 <x@other.dk>: Relay access denied", "dr-", "fr-"),
        ("550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain", "dr-", "fr-"),
        ("550 5.7.1 Authentication required", "dr-", "fr-"),
        ("530 5.7.1 no", "dr-", "fr-"),
        // The reply names our address.
        ("550 5.7.1 Invalid credentials for relay [40.74.40.57].", "dr-", "dr-"),
        ("550 5.1.1 no such user", "fr-", "fr-"),
    ] {
        for (internal, right) in [(false, outside), (true, colleague)] {
            let context = Context { taken: TakenRecipients::Internal, kind: RouteKind::Mailjet, ..context(internal) };
            let meaning = classify(Rcpt, &reply(text), &context);
            assert_eq!(short(&meaning), right, "{text}");
            assert_eq!(meaning.0.advice.is_some(), right == "dr-", "{text}");
        }
    }
}

#[test]
fn internal_mail_taken_for_forged_names_the_address_to_allow() {
    for (phase, text) in [
        (
            Rcpt,
            "550 5.7.68 TenantInboundAttribution; direct send not allowed for this organization from unauthorized sources",
        ),
        (Rcpt, "550 5.7.1 anonymous clients may not send as internal"),
        (End, "550 5.7.509 Access denied, sending domain test.dk does not pass DMARC verification"),
        (Rcpt, "550 5.7.64 TenantAttribution; Relay Access Denied"),
        (Rcpt, "550 sender address rejected: local sender from remote host"),
        (End, "554 mail from our own domain: forged"),
        (Rcpt, "450 4.7.1 spf check: not allowed to send"),
    ] {
        let (meaning, trouble) = classify(phase, &reply(text), &context(true));
        assert!(
            meaning.advice.as_deref().is_some_and(|a| a.contains("40.74.40.57") && a.contains("its own domain")),
            "{text}"
        );
        let permanent = text.starts_with('5');
        assert_eq!(meaning.verdict, if permanent { Verdict::Failed } else { Verdict::Deferred }, "{text}");
        assert_eq!((meaning.scope, trouble), (Scope::Recipient, None), "{text}");
        let other = classify(phase, &reply(text), &context(false));
        assert!(!other.0.advice.is_some_and(|advice| advice.contains("its own domain")), "{text}");
    }
    // A refusal of our address concerns mail to other domains, too, so none of it bounces.
    let barred =
        classify(Rcpt, &reply("554 5.7.1 <x[40.74.40.57]>: Client host rejected: Access denied"), &context(true));
    assert_eq!(short(&barred), "dR?");
    assert!(barred.0.advice.is_some_and(|advice| advice.contains("allow 40.74.40.57 there")));
    let unknown = classify(Rcpt, &reply("550 5.1.1 no such user"), &context(true));
    assert_eq!(unknown.0.advice, None);
}

#[test]
fn a_refused_login_says_what_to_change() {
    let wrong = classify(Login, &reply("535 5.7.8 no"), &context(false));
    assert!(wrong.0.advice.unwrap().contains("\"webcrm\""));
    let off = classify(Login, &reply("550 5.7.30 Basic authentication is not supported"), &context(false));
    assert!(off.0.advice.unwrap().contains("XOAUTH2"));
    for (text, hint) in [
        ("535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant", "XOAUTH2"),
        ("535 5.7.139 Authentication unsuccessful, the user credentials were incorrect", "\"webcrm\""),
        ("535 5.7.8 your account is disabled", "\"webcrm\""),
    ] {
        let advice = classify(Login, &reply(text), &context(false)).0.advice.unwrap();
        assert!(advice.contains(hint), "{text}: {advice}");
        let login = crate::route::Login {
            secret: LoginSecret::ClientCredentials {
                token_url: "https://login.test/token".to_owned(),
                client_id: "app".to_owned(),
                client_secret: "secret".to_owned(),
                scope: "smtp".to_owned(),
            },
            ..by_password().clone()
        };
        let advice =
            classify(Login, &reply(text), &Context { login: Some(&login), ..context(false) }).0.advice.unwrap();
        assert!(advice.contains("consented") && advice.contains("\"webcrm\""), "{text}: {advice}");
        assert!(!advice.contains("XOAUTH2") && !advice.contains("password"), "{text}: {advice}");
    }
    let off = classify(Mail, &reply("550 5.7.30 Basic authentication is not supported"), &context(false));
    assert!(off.0.advice.unwrap().contains("XOAUTH2"), "said after a login that it took");
    for (phase, text) in [
        (Mail, "530 5.7.0 Must issue a STARTTLS command first"),
        (Rcpt, "550 Must issue a STARTTLS command first"),
        (Login, "538 5.7.11 Encryption required for requested authentication mechanism"),
        (Login, "530 5.7.0 Must issue a STARTTLS command first"),
    ] {
        let advice = classify(phase, &reply(text), &context(false)).0.advice.unwrap();
        assert!(advice.contains("tls = \"required\""), "{text}: {advice}");
    }
}

#[test]
fn a_wish_for_tls_after_a_failed_handshake_is_no_reason_to_suspend() {
    let fallback =
        Fallback { reason: "no TLS within 30 s".to_owned(), advice: Some("look at the handshake".to_owned()) };
    let context = Context { fallback: Some(&fallback), ..context(false) };
    for (phase, text, right) in [
        (Mail, "530 5.7.0 Must issue a STARTTLS command first", "dRb"),
        (Mail, "530 5.7.57 Client not authenticated to send mail", "dRb"),
        (Rcpt, "550 Must issue a STARTTLS command first", "dRb"),
        (Rcpt, "550 5.7.10 Encryption needed", "dRb"),
        (Login, "538 5.7.11 Encryption required for requested authentication mechanism", "dRb"),
        (Login, "530 5.7.0 Must issue a STARTTLS command first", "dRb"),
        // The server got the password without TLS, and refused it.
        (Login, "535 5.7.8 authentication credentials invalid", "dR!"),
        (Mail, "550 5.1.8 bad sender", "fm-"),
    ] {
        let meaning = classify(phase, &reply(text), &context);
        assert_eq!(short(&meaning), right, "{text}");
        if let Some(Trouble::BackOff { reason, advice, .. }) = meaning.1 {
            assert!(reason.contains(&fallback.reason), "{reason}");
            assert_eq!(advice, fallback.advice);
        }
    }
    let context = Context { taken: TakenRecipients::Others, ..context };
    assert_eq!(short(&classify(Rcpt, &reply("550 5.7.10 Encryption needed"), &context)), "dr-", "for this one only");
}

#[test]
fn a_named_pause_is_kept() {
    for (text, secs) in [
        ("451 4.3.2 try again in 5 minutes", Some(300)),
        ("432 4.3.2 wait 30 seconds.", Some(30)),
        ("432 4.3.2 too fast; retry after 2 min", Some(120)),
        ("432 4.3.2 try later, in 10 s", Some(10)),
        // An allowance of a day is renewed later than a limit on speed.
        ("450 4.7.1 Rate limit exceeded: 500 messages in 24 hours", Some(3600)),
        ("450 4.7.1 Rate limit exceeded: 500 messages in 24 hours, try again in 10 minutes", Some(600)),
        // These name a limit, not a pause.
        ("432 4.3.2 more than 3 connections in 60 seconds", None),
        ("432 4.3.2 limit of 3 connections", None),
        ("432 4.3.2 wait 99999999999999999999 hours", None),
        ("432 4.3.2 wait 9999999999 hours", Some(3600)),
        ("432 4.3.2 try again in 24 hours", Some(3600)),
    ] {
        match classify(Mail, &reply(text), &context(false)).1 {
            Some(Trouble::BackOff { at_least, .. }) => {
                assert_eq!(at_least, secs.map(Duration::from_secs), "{text}")
            }
            other => panic!("{text}: {other:?}"),
        }
    }
    match classify(Mail, &reply("550 5.4.5 Daily user sending quota exceeded"), &context(false)).1 {
        Some(Trouble::BackOff { at_least, .. }) => assert_eq!(at_least, Some(QUOTA_PAUSE)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_a_limit_of_a_long_period_or_of_an_amount_stops_a_route_for_an_hour() {
    let pause = |phase: Phase, text: &str| match classify(phase, &reply(text), &context(false)).1 {
        Some(Trouble::BackOff { at_least, .. }) => at_least,
        other => panic!("{phase:?} {text}: {other:?}"),
    };
    for (text, secs) in [
        ("450 4.7.1 Too many messages, slow down", None),
        ("450 4.7.1 Please slow down", None),
        ("421 4.7.0 Too many messages from your address", None),
        ("451 4.7.1 Too many requests", None),
        ("421 4.7.0 Flood protection", None),
        ("452 4.7.1 Message limit exceeded", None),
        ("450 4.7.0 The limit on the number of allowed outgoing messages was exceeded. Try again later.", None),
        ("451 4.7.1 Slow down, try again in 2 minutes", Some(120)),
        ("450 4.7.1 You have exceeded your hourly limit of 100 messages", Some(3600)),
        ("421 4.7.0 You have reached your hourly sending limit", Some(3600)),
        ("450 4.2.0 Outgoing quota reached", Some(3600)),
        ("451 4.7.1 Du har sendt for mange mails i dag", Some(3600)),
        ("452 4.5.3 Recipient quota per day exceeded", Some(3600)),
        // A permanent code says that trying sooner is of no use.
        ("550 5.7.1 Message limit exceeded", Some(3600)),
    ] {
        for phase in [Mail, Rcpt, End] {
            assert_eq!(pause(phase, text), secs.map(Duration::from_secs), "{phase:?} {text}");
        }
    }
}

#[test]
fn a_session_that_ends_for_its_errors_does_not_stop_the_route() {
    for text in
        ["421 4.7.0 mx Error: too many errors", "421 Too many bad commands", "421 4.7.0 too many invalid recipients"]
    {
        for phase in [Mail, Rcpt, Data, End] {
            assert_eq!(short(&classify(phase, &reply(text), &context(false))), "ds?", "{phase:?} {text}");
        }
    }
    assert_eq!(short(&classify(Rcpt, &reply("450 4.7.1 Error: too many errors"), &context(false))), "dr-");
}

#[test]
fn judging_a_reply_costs_in_proportion_to_its_length() {
    let sender = Mailbox::parse("crm@test.dk").unwrap();
    let recipients = [Recipient::new(Mailbox::parse("x@test.net").unwrap())];
    let context = Context { sender: Some(&sender), recipients: &recipients, ..context(false) };
    crate::test_cost::is_linear(
        crate::test_cost::SHORT,
        |reply: &Reply| {
            for phase in [Mail, End] {
                classify(phase, reply, &context);
            }
        },
        &[
            ("words", |size| reply(&format!("550 {}", "word ".repeat(size / 5)))),
            ("too many", |size| reply(&format!("550 {}", "too many ".repeat(size / 9)))),
            ("numbers", |size| reply(&format!("550 {}", "40.74.40.5 ".repeat(size / 11)))),
            ("our address", |size| reply(&format!("550 {}", "140.74.40.57 ".repeat(size / 13)))),
            ("colons", |size| reply(&format!("550 {}", "a:".repeat(size / 2)))),
            ("one word", |size| reply(&format!("550 {}", "x".repeat(size)))),
            ("recipients and limits", |size| reply(&format!("452 {}", "recipients limit ".repeat(size / 17)))),
            ("addresses", |size| reply(&format!("550 {}", "x@test.net ".repeat(size / 11)))),
            ("clauses", |size| reply(&format!("550 {}", "x@test.net: ".repeat(size / 12)))),
            ("letters of its own", |size| reply(&format!("550 {}", "ø".repeat(size / 2)))),
        ],
    );
}
