//! What strangers wrote stays text on every page: names, replies, subjects, reasons, events.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::input::Asked;
use super::visitor::Visitor;
use super::{alerts, audit, customer, customers, dmarc, message, overview, queue, routes, suppression, trace, work};
use crate::delivery::{ProbeReport, StepResult};
use crate::events::Event;
use crate::message::{CustomerId, QueueId};
use crate::operate::alerts::{Acknowledged, AlertView, Alerts};
use crate::operate::customers::{
    BulkName, CustomerDomain, CustomerSummary, CustomerView, FailureName, RouteView, TlsName, ViaName,
};
use crate::operate::domains::DomainView;
use crate::operate::history::{Entry, PastAlert};
use crate::operate::jobs::{Job, JobKind, JobResult, TestSent};
use crate::operate::links::Link;
use crate::operate::microsoft365::PasswordRoute;
use crate::operate::overview::{QueueOverview, StuckMail};
use crate::operate::pages::customers::made_of_strangers;
use crate::operate::pages::forms::Forms;
use crate::operate::pauses::Paused;
use crate::operate::queue::{Changed, LaneStats, Message, MessageState, Page, Recipient, Selection, Stats};
use crate::operate::suppression::Suppressed;
use crate::operate::{Actor, Error, Role};
use crate::record::Subject;
use crate::record::trace::{Found, Trace};
use crate::route::{Caps, Cause, RouteId, RouteState, RouteStatus};
use crate::time::Timestamp;

const AT: Timestamp = Timestamp::from_millis(1_795_458_240_123);

/// Texts that would be something else than text if they were not escaped.
fn hostile() -> impl Strategy<Value = String> {
    let fragment = prop_oneof![
        Just("<script>alert(1)</script>".to_owned()),
        Just("\"><img src=x onerror=alert(1)>".to_owned()),
        Just("' onmouseover='alert(1)".to_owned()),
        Just("</textarea></td></table><form action=//evil.example>".to_owned()),
        Just("javascript:alert(1)".to_owned()),
        Just("//evil.example/".to_owned()),
        Just("<!--".to_owned()),
        Just("&lt;b&gt;&#60;".to_owned()),
        Just("\u{202e}\u{0}\u{1b}[2J\r\n".to_owned()),
        ".{0,20}",
    ];
    // An empty text is left out with what stands around it.
    proptest::collection::vec(fragment, 1..4).prop_map(|parts| format!("x{}", parts.concat()))
}

/// Every page with this text wherever a stranger's can be.
fn pages(text: &str) -> Vec<(&'static str, String)> {
    let owned = || text.to_owned();
    let visitor = Visitor::of(Actor::of_operator("anna", Role::Admin));
    let forms = Forms::new();
    let asked = Asked::of(&[("actor", text), ("customer", text), ("command", text)]);
    let event = json!({
        "at": text, "event": text, "customer": text, "route": text, "queue_id": text, "recipient": text, "sender": text,
        "server": text, "reply": text, "detail": text, "class": text, "actor": text, "peer": text, "command": text,
        "message_id": text, "reference": text, "campaign": text, "next_attempt": text, "code": 550, "status": text,
    });
    let alert = AlertView {
        key: owned(),
        since: AT,
        alert: Event::alert(owned())
            .with_subject(Subject::Route(owned()))
            .about_customer(&CustomerId::new(text))
            .into_owned(),
        acknowledged: None,
        nodes: vec![owned()],
    };
    let noted = Acknowledged { actor: owned(), at: AT, note: owned() };
    let known = AlertView { acknowledged: Some(noted), ..alert.clone() };
    let all_alerts =
        Alerts { open: vec![alert.clone(), known], ended: Vec::new(), notices: vec![alert], missing: vec![owned()] };
    let past = PastAlert { id: owned(), since: AT, ended: Some(AT), ended_detail: Some(owned()), event: event.clone() };
    let message = message_of(text, &event);
    let list = Page::new(vec![message.clone()], Some(owned()));
    let route = RouteStatus {
        id: RouteId::new(text),
        server: text.into(),
        state: RouteState::Suspended { cause: Cause::Login, reason: text.into(), since: AT },
        in_trouble_since: Some(AT),
        in_flight: 1,
        sent_today: 2,
        per_day: Some(3),
        password_hint: Some(owned()),
    };
    let stats = Stats { messages: 1, lanes: vec![lane(text)], ..Stats::default() };
    let stuck = StuckMail { customer: owned(), why: owned(), messages: 7, route: Some(owned()), held: false };
    let overview = Ok(QueueOverview {
        stats,
        routes_in_trouble: vec![route.clone()],
        stuck: vec![stuck],
        stuck_count: 1,
        ..QueueOverview::default()
    });
    let selection =
        Selection { customer: Some(owned()), sender: Some(owned()), tag: Some(owned()), ..Selection::default() };
    let job = |ended| Job {
        id: owned(),
        kind: JobKind::Probe,
        customer: Some(owned()),
        started: AT,
        ended: Some((AT, ended)),
        progress: Some(Changed { count: 1, busy: 1 }),
    };
    let probe = ProbeReport { route: owned(), server: owned(), worst: StepResult::Failed, steps: Vec::new() };
    let password = PasswordRoute {
        customer: owned(),
        route: owned(),
        server: owned(),
        username: owned(),
        state: Some(owned()),
        hint: Some(owned()),
        needs: owned(),
    };
    // Records are copied as they are, and made of characters that are seen.
    let seen: String = text.chars().filter(|c| !c.is_control()).collect();
    let sent = TestSent {
        queue_id: owned(),
        event: owned(),
        route: Some(owned()),
        server: Some(owned()),
        code: Some(550),
        status: Some(owned()),
        reply: Some(owned()),
        class: Some(owned()),
        detail: Some(owned()),
    };
    let report = json!({ "domain": text, "checks": [{ "item": text, "need": text, "severity": text, "found": [text],
        "expected": [text], "findings": [{ "text": text, "next": text }] }] });
    let suppressed =
        Suppressed { address: owned(), reason: owned(), since: owned(), expires: Some(owned()), note: owned() };
    let found = Found {
        traces: vec![Trace { queue_id: Some(owned()), events: vec![event.clone()] }],
        more: true,
        missing: vec![text.into()],
    };
    let entry = Entry { id: owned(), event: event.clone() };
    let shown = customer_of(text);
    vec![
        ("alerts", alerts::current(&all_alerts, 0, &visitor, &forms).into_string()),
        ("past alerts", alerts::history(&Page::new(vec![past], Some(owned())), text).into_string()),
        ("audit", audit::list(&Page::new(vec![entry], Some(owned())), &asked).into_string()),
        ("queue", queue::list(&list, &|_: &str| owned(), true, &visitor, &forms).into_string()),
        ("asking", queue::asking(&selection, queue::ACTIONS[3], 9, &list, &visitor, &forms).into_string()),
        ("message", message::details(&message, &visitor, &forms).into_string()),
        ("trace", trace::answer(&found).into_string()),
        ("passwords", routes::passwords(&[password]).into_string()),
        ("routes", routes::table_of([&route].into_iter()).into_string()),
        ("route", routes::details(&route, None, Some(text)).into_string()),
        ("customers", customers::rows(&Page::new(vec![summary(text)], Some(owned())), &[], text, true).into_string()),
        ("customer", customer::details(&shown).into_string()),
        ("commands", customer::commands(&shown, &visitor, &forms).into_string()),
        ("suppression", suppression::list(&[suppressed], text, text, true, &visitor, &forms).into_string()),
        ("probe", work::part(&job(Ok(JobResult::Probe(vec![probe])))).into_string()),
        ("test mail", work::part(&job(Ok(JobResult::TestSend(sent)))).into_string()),
        ("records", customer::published(&made_of_strangers::table(&seen, 6)).into_string()),
        ("dmarc", dmarc::domain(&made_of_strangers::dmarc(&seen), 0).into_string()),
        ("failed job", work::part(&job(Err(Error::invalid(owned(), owned())))).into_string()),
        ("check", work::domain(&report).into_string()),
        ("overview", overview::state(&[("spool", owned())], &Ok(all_alerts), &overview).into_string()),
    ]
}

#[test]
fn a_record_is_called_missing_only_if_dns_answered() {
    for (present, unanswered, badges) in [
        (true, false, ["all published", ">published<"]),
        (false, false, ["not all published", ">missing<"]),
        (false, true, ["not all known", ">DNS did not answer<"]),
    ] {
        let mut table = made_of_strangers::table("x", 1);
        table.rows[0].present = present;
        table.rows[0].unanswered = unanswered;
        (table.mailjet_key_unset, table.mailjet_key_to_come, table.rotation_unreadable) = (None, None, None);
        table.broken_keys.clear();
        let shown = customer::published(&table).into_string();
        assert!(badges.iter().all(|badge| shown.contains(badge)), "{badges:?}: {shown}");
        assert_eq!(shown.contains("missing"), !present && !unanswered, "{shown}");
    }
}

fn message_of(text: &str, event: &Value) -> Message {
    let owned = || text.to_owned();
    Message {
        id: QueueId::from_u64(7).to_string(),
        message_id: owned(),
        customer: owned(),
        kind: "mail".into(),
        urgency: "bulk".into(),
        route: Some(owned()),
        sender: owned(),
        from_domain: owned(),
        reference: Some(owned()),
        campaign: Some(owned()),
        tags: vec![owned()],
        envid: Some(owned()),
        size: 7,
        arrived: owned(),
        age_secs: 7,
        state: MessageState::Deferred,
        held: Some(owned()),
        stopped: Some(owned()),
        attempts: 1,
        due: owned(),
        recipient_count: 2,
        waiting_count: 2,
        recipients: vec![Recipient { address: owned(), state: "waiting".into(), reply: Some(owned()) }],
        header: Some(format!("Subject: {text}")),
        history: vec![event.clone()],
    }
}

fn lane(text: &str) -> LaneStats {
    LaneStats {
        customer: text.to_owned(),
        domain: text.to_owned(),
        urgency: "bulk".into(),
        kind: "mail".into(),
        route: Some(text.to_owned()),
        stopped: Some(text.to_owned()),
        messages: 7,
        held: 1,
        deferred: 1,
        delivering: 0,
        oldest_secs: 100,
    }
}

fn summary(text: &str) -> CustomerSummary {
    CustomerSummary {
        id: text.to_owned(),
        name: text.to_owned(),
        domains: vec![text.to_owned(); 5],
        via: ViaName::OwnServer,
        suspended: Some(text.to_owned()),
        stuck: Some(text.to_owned()),
    }
}

fn customer_of(text: &str) -> customer::Shown {
    let owned = || text.to_owned();
    let domain = CustomerDomain { domain: owned(), selectors: vec![owned()], broken: Some(owned()) };
    customer::Shown {
        view: CustomerView {
            id: owned(),
            name: owned(),
            domains: vec![domain],
            bounce_domains: vec![owned()],
            suspended: Some(owned()),
            pause: None,
            stuck: Some(owned()),
            bulk: BulkName::Warn,
            bounces: FailureName::Event,
            contacts: Vec::new(),
            test: true,
            test_allow: vec![owned()],
            test_redirect: Some(owned()),
            route: RouteView {
                via: ViaName::OwnServer,
                tier: Some(owned()),
                track_opens: None,
                track_clicks: None,
                host: Some(owned()),
                port: Some(25),
                tls: Some(TlsName::Off),
                username: Some(owned()),
                own_key: true,
                caps: Some(Caps::default().into()),
            },
            mailjet: std::collections::BTreeMap::new(),
            remarks: vec![owned()],
        },
        wanted: String::new(),
        domains: vec![DomainView::of_text(text)],
        missing: vec![owned()],
        lanes: vec![lane(text)],
        links: Some(vec![Link {
            id: owned(),
            customer: owned(),
            language: Some(owned()),
            created: owned(),
            expires: owned(),
            expired: false,
            last_used: Some(owned()),
        }]),
        paused: Some(Paused {
            customer: owned(),
            cause: "operator".into(),
            reason: owned(),
            since: owned(),
            until: Some(owned()),
            spares_single: true,
        }),
    }
}

/// The elements that a page opens, in their order.
fn elements(html: &str) -> Vec<&str> {
    let opened = html.split('<').skip(1).filter(|part| part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '!'));
    opened.map(|part| part.split([' ', '>', '/']).next().unwrap_or_default()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_strangers_wrote_is_text_and_leads_nowhere_else(text in hostile()) {
        // The same pages with a text that is nothing but text have the same elements.
        for ((name, html), (_, plain)) in pages(&text).into_iter().zip(pages("x")) {
            prop_assert_eq!(elements(&html), elements(&plain), "{}", name);
            let unseen = html.chars().find(|c| c.is_control() && *c != '\n' && *c != '\t');
            // What a form sends back must be what it was.
            let shown = html.split("value=\"").map(|part| part.split_once('"').map_or(part, |(_, rest)| rest)).collect::<String>();
            prop_assert!(unseen.is_none() || !shown.contains(unseen.unwrap()), "{}: {:?}", name, unseen);
            for target in html.split("href=\"").skip(1).chain(html.split("action=\"").skip(1)) {
                let target = target.split('"').next().unwrap_or_default();
                prop_assert!(target.starts_with('#') || (target.starts_with('/') && !target.starts_with("//")), "{}: {}", name, target);
            }
        }
    }
}

#[test]
fn what_was_done_about_a_recipient_is_not_shown_as_a_mail() {
    let found = |event: Value| {
        let traces = vec![Trace { queue_id: None, events: vec![event] }];
        trace::answer(&Found { traces, more: false, missing: Vec::new() }).into_string()
    };
    let done = found(json!({ "event": "audit", "command": "suppression.add", "recipient": "ole@x.example" }));
    assert!(done.contains("Not about one mail") && !done.contains("Message-ID"), "{done}");
    assert!(found(json!({ "event": "domain.verified", "customer": "a" })).contains("Not about one mail"));
    let refused = found(json!({ "event": "rejected", "sender": "a@b.example", "recipient": "ole@x.example" }));
    assert!(refused.contains("a@b.example → ole@x.example"), "{refused}");
}

#[test]
fn a_page_shows_no_form_to_a_role_that_may_not_send_it() {
    let (forms, reader) = (Forms::new(), Visitor::of(Actor::of_operator("bo", Role::Read)));
    let event = json!({});
    let shown = customer::Shown { links: None, ..customer_of("x") };
    for html in [
        queue::list(&Page::new(vec![message_of("x", &event)], None), &|_: &str| String::new(), false, &reader, &forms),
        message::details(&message_of("x", &event), &reader, &forms),
        customer::commands(&shown, &reader, &forms),
    ] {
        assert!(!html.into_string().contains("method=\"post\""), "a reader sees a form");
    }
    let operator = Visitor::of(Actor::of_operator("bo", Role::Operate));
    let shown = customer::Shown { links: None, ..shown };
    let html = customer::commands(&shown, &operator, &forms).into_string();
    assert!(html.contains("value=\"check\"") && !html.contains("value=\"suspend\""));
}

#[test]
fn all_is_well_only_where_no_mail_stands_still_and_everything_is_known() {
    let quiet = || Ok(QueueOverview::default());
    let state = |reasons: &[(&'static str, String)], alerts, overview| {
        overview::state(reasons, &alerts, &overview).into_string()
    };
    let is_green = |html: &str| html.contains("card good");
    assert!(is_green(&state(&[], Ok(Alerts::default()), quiet())));
    let stuck = StuckMail { customer: "a".into(), why: "held".into(), messages: 1, route: None, held: true };
    let stands = Ok(QueueOverview { stuck: vec![stuck], stuck_count: 1, ..quiet().unwrap() });
    let failed = || Error::failed("the spool cannot be read", "see the log");
    for html in [
        state(&[("spool", "full".to_owned())], Ok(Alerts::default()), quiet()),
        state(&[], Ok(Alerts::default()), stands),
        state(&[], Ok(Alerts::default()), Err(failed())),
        state(&[], Err(failed()), quiet()),
    ] {
        assert!(!is_green(&html) && html.contains("badge bad"), "{html}");
    }
    let alert =
        AlertView { key: "x".into(), since: AT, alert: Event::alert("look"), acknowledged: None, nodes: Vec::new() };
    let html = state(&[], Ok(Alerts { open: vec![alert], ..Alerts::default() }), quiet());
    assert!(!is_green(&html) && html.contains("look"), "{html}");
}
