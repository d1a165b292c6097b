use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::*;
use crate::customers::{Directory, Routing, Tier};
use crate::message::CustomerId;
use crate::route::{ADDED, Route};
use crate::submission::Allowed;
use crate::test_customers::{self, domain, ed25519, mailjet};

fn route(id: &str) -> Arc<Route> {
    Arc::new(Route { message_size: 1000, ..test_customers::route(id, "smarthost.test") })
}

fn customer(id: &str, domains: &[&str], via: Via) -> Customer {
    Customer {
        bounce_domains: vec![domain("bounce.webcrm.com")],
        ..test_customers::customer(id, domains.iter().map(|name| ed25519(name)), via)
    }
}

fn path(mail_from: &str) -> ReversePath {
    match mail_from {
        "" => ReversePath::Null,
        address => ReversePath::Mailbox(Mailbox::parse(address).unwrap()),
    }
}

fn verified(name: &str, requirement: Requirement) -> HashMap<Domain, VerificationStatus> {
    HashMap::from([(domain(name), VerificationStatus::default().with(requirement))])
}

struct World {
    mailjet: Customer,
    own: Customer,
    verified: HashMap<Domain, VerificationStatus>,
    identity: Identity,
    tier_requires: Vec<Requirement>,
}

impl World {
    fn new() -> Self {
        World {
            mailjet: customer("acme", &["acme.dk", "news.acme.dk", "gmail.com"], mailjet()),
            own: customer("own", &["own.dk"], Via::OwnServer(route("own-server.own"))),
            verified: HashMap::new(),
            identity: Identity::Network,
            tier_requires: Vec::new(),
        }
    }

    fn decide(&self, mail_from: &str, header: &str) -> Result<Decision, String> {
        let tier = Tier { route: route("mailjet.starter"), requires: self.tier_requires.clone() };
        let tiers = BTreeMap::from([("starter".to_owned(), tier)]);
        let directory = Directory::new(vec![self.mailjet.clone(), self.own.clone()], tiers);
        let reverse_path = path(mail_from);
        let bounds = crate::message::scan::Bounds { fields: 100, received: 10 };
        let header = crate::message::scan::scan(header.as_bytes(), bounds).unwrap();
        let routing = Routing::new(directory, None);
        routing.set_statuses(self.verified.clone());
        decide(&routing.view(), &[Requirement::Spf], &self.identity, &reverse_path, &header)
            .map_err(|refusal| refusal.reply.to_string())
    }

    fn refusal(&self, mail_from: &str, header: &str) -> String {
        self.decide(mail_from, header).map(|d| d.customer.id.clone()).expect_err("refused")
    }
}

#[test]
fn from_sender_and_mail_from_belong_to_one_customer() {
    let world = World::new();
    for (mail_from, header) in [
        ("a@acme.dk", "From: a@acme.dk\r\n"),
        ("a@news.acme.dk", "From: a@acme.dk\r\nSender: b@news.acme.dk\r\n"),
        ("x+1@bounce.webcrm.com", "From: a@acme.dk\r\n"),
        ("", "From: a@own.dk\r\n"),
    ] {
        assert!(world.decide(mail_from, header).is_ok(), "{mail_from} {header}");
    }
    for (mail_from, header) in [
        ("a@own.dk", "From: a@acme.dk\r\n"),
        ("a@evil.dk", "From: a@acme.dk\r\n"),
        ("a@x.acme.dk", "From: a@acme.dk\r\n"),
        ("a@acme.dk", "From: a@own.dk\r\n"),
        ("a@acme.dk", "From: a@acme.dk\r\nSender: b@own.dk\r\n"),
        ("a@acme.dk", "From: a@evil.dk\r\n"),
        ("a@acme.dk", "From: a@[192.0.2.1]\r\n"),
        ("", "From: a@acme.dk\r\n"),
    ] {
        let refusal = world.refusal(mail_from, header);
        assert!(refusal.starts_with("550 5.7.1 "), "{mail_from} {header}: {refusal}");
    }
}

#[test]
fn what_a_reader_shows_as_anothers_address_is_refused_and_ordinary_names_are_not() {
    let world = World::new();
    let shown_as_others = [
        "\"ceo@own.dk via acme\" <a@acme.dk>",
        "=?utf-8?Q?ceo@own.dk?= <a@acme.dk>",
        "=?UTF-8?b?Y2VvQG93bi5kaw==?= <a@acme.dk>",
        "=?utf-8?B?Y2VvQG93bi5kaw?= <a@acme.dk>",
        "=?utf-8?B?Y2Vv?= =?utf-8?B?QG93bi5kaw==?= <a@acme.dk>",
        "=?utf-8?Q?ceo?=\r\n =?utf-8?Q?=40own.dk?= <a@acme.dk>",
        "=?utf-8?Q?ceo=40?= =?utf-8?B?b3duLmRr?= <a@acme.dk>",
        "\"=?utf-8?Q?ceo=40own.dk?=\" <a@acme.dk>",
        "a@acme.dk (=?utf-8?Q?ceo=40own.dk?=)",
        "x=?utf-8?Q?ceo=40own.dk?=y <a@acme.dk>",
        "=?windows-1252?Q?ceo=40own.dk?= <a@acme.dk>",
        "=?utf-16?B?/v8AYwBlAG8AQABvAHcAbgAuAGQAaw==?= <a@acme.dk>",
        "=?utf-16le?B?YwBlAG8AQABvAHcAbgAuAGQAawA=?= <a@acme.dk>",
        "=?iso-2022-jp?B?Y2VvGyRCIXcbKEJvd24uZGs=?= <a@acme.dk>",
        "=?gb18030?B?Y2Vvo8Bvd24uZGs=?= <a@acme.dk>",
        "=?euc-kr?B?Y2Vvo8Bvd24uZGs=?= <a@acme.dk>",
        "=?big5?B?Y2VvokhvdxuuZGs=?= ceo@own.dk <a@acme.dk>",
        "=?unknown-8bit?Q?ceo=40own.dk?= <a@acme.dk>",
        "=?x-unknown?Q?ceo=40own.dk?= <a@acme.dk>",
        "=?utf-8?Q?ceo=40own=2Edk_?= <a@acme.dk>",
        "=?utf-8?q?ceo_=40_own.dk?= <a@acme.dk>",
        "=?utf-8?Q?=63=65=6F=40=6F=77=6E=2E=64=6B?= <a@acme.dk>",
        "=?utf-8?Q?ceo=EF=BC=A0own.dk?= <a@acme.dk>",
        "=?utf-8?Q?ceo@ow=C2=ADn.dk?= <a@acme.dk>",
        "\"ceo@own\u{ff0e}dk\" <a@acme.dk>",
        "\"ceo@\u{ff4f}\u{ff57}\u{ff4e}.dk\" <a@acme.dk>",
        "\"ceo@\u{1d428}\u{1d430}\u{1d427}.dk\" <a@acme.dk>",
        "\"ceo@\u{43e}wn.dk\" <a@acme.dk>",
        "\"ceo@own.dk.\" <a@acme.dk>",
        "\"ceo@own.dk,\" <a@acme.dk>",
        "\"CEO@OWN.DK\" <a@acme.dk>",
        "\"mailto:ceo@own.dk\" <a@acme.dk>",
        "\"<ceo@own.dk\" <a@acme.dk>",
        "\"ceo@own.dk>\" <a@acme.dk>",
        "\"[ceo@own.dk]\" <a@acme.dk>",
        "\"ceo\\@own.dk\" <a@acme.dk>",
        "ceo\\@own.dk <a@acme.dk>",
        "\"ceo\"@\"own.dk\" <a@acme.dk>",
        "ceo @ own.dk <a@acme.dk>",
        "\"ceo @ own.dk\" <a@acme.dk>",
        "\"ceo@\r\n own.dk\" <a@acme.dk>",
        "\"ceo@ow\u{ad}n.dk\" <a@acme.dk>",
        "\"ceo@own\u{2060}.dk\" <a@acme.dk>",
        "\"ceo\u{fe0f}@own.dk\" <a@acme.dk>",
        "\"ceo@\u{34f}own.dk\" <a@acme.dk>",
        "\"ceo@o\u{e0077}wn.dk\" <a@acme.dk>",
        "\"\u{2066}ceo@own.dk\u{2069}\" <a@acme.dk>",
        "\"ceo@own\u{3164}.dk\" <a@acme.dk>",
        "\"kd.nwo\u{ff20}oec\u{202e}\" <a@acme.dk>",
        "\"ceo@[192.0.2.1]\" <a@acme.dk>",
        "\"a@acme.dk, ceo@own.dk\" <a@acme.dk>",
        "\"a@acme.dk;ceo@own.dk\" <a@acme.dk>",
        "\"a@acme.dk\u{a0}ceo@own.dk\" <a@acme.dk>",
        "\"ceo@own.dka@acme.dk\" <a@acme.dk>",
        "\"ceo@acme.dk.own.dk\" <a@acme.dk>",
        "\"ceo@notacme.dk\" <a@acme.dk>",
        "(ceo@own.dk) a@acme.dk",
        "a@acme.dk (Boss (ceo@own.dk))",
        "<a@acme.dk> (ceo@own.dk)",
        "<a@acme.dk> ceo@own.dk",
        "a@acme.dk, <ceo@own.dk>",
        "\"x\" <a@acme.dk> \"ceo@own.dk\"",
    ];
    // Some are refused before: the header is read first.
    let is_taken = |header: &str| {
        let bounds = crate::message::scan::Bounds { fields: 100, received: 10 };
        crate::message::scan::scan(header.as_bytes(), bounds).is_ok() && world.decide("a@acme.dk", header).is_ok()
    };
    let mut wrong = Vec::new();
    for from in shown_as_others {
        if is_taken(&format!("From: {from}\r\n")) {
            wrong.push(format!("taken: {from}"));
        }
        for field in ["Sender", "Resent-From", "Resent-Sender"] {
            if is_taken(&format!("From: a@acme.dk\r\n{field}: {from}\r\n")) {
                wrong.push(format!("taken: {field}: {from}"));
            }
        }
    }
    for from in [
        "\"a@acme.dk\" <a@acme.dk>",
        "\"A@ACME.DK\" <a@acme.dk>",
        "\"info@news.acme.dk\" <a@acme.dk>",
        "\"ACME @ home\" <a@acme.dk>",
        "\"@acme\" <a@acme.dk>",
        "\"Følg @acme_dk\" <a@acme.dk>",
        "\"C@fé\" <a@acme.dk>",
        "\"ACME.dk\" <a@acme.dk>",
        "=?utf-8?Q?S=C3=B8ren_fra_acme.dk?= <a@acme.dk>",
        "=?utf-8?Q?Caf=C3=A9_=40_acme?= <a@acme.dk>",
        "\"Hansen, Ole (salg)\" <a@acme.dk>",
        "Ole Hansen <a@acme.dk>",
        "a@acme.dk (Ole Hansen)",
        "\"Ole & Søn A/S\" <a@acme.dk>",
        "\"Mødes kl. 12:30 @ torvet\" <a@acme.dk>",
        "\"\u{1f4e7} ACME\" <a@acme.dk>",
        "\"5 < 6 > 4\" <a@acme.dk>",
        "\"Ole \\\"Bossen\\\" Hansen\" <a@acme.dk>",
        "\"own.dk\" <a@acme.dk>",
        "\"50 % rabat\" <a@acme.dk>",
        "\"\" <a@acme.dk>",
        "<a@acme.dk>",
    ] {
        if let Err(refusal) = world.decide("a@acme.dk", &format!("From: {from}\r\n")) {
            wrong.push(format!("refused: {from}: {refusal}"));
        }
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_submitter_sends_for_its_customers_only() {
    let mut world = World::new();
    world.identity = Identity::Submitter(Arc::new(Submitter {
        username: "acme-only".into(),
        password_hash: String::new(),
        customers: Allowed::Listed(BTreeSet::from([CustomerId::new("acme")])),
        urgency: Some(Urgency::Bulk),
        test: None,
    }));
    world.verified = verified("acme.dk", Requirement::Spf);
    assert_eq!(world.decide("a@acme.dk", "From: a@acme.dk\r\n").unwrap().urgency, Urgency::Bulk);
    assert!(world.refusal("a@own.dk", "From: a@own.dk\r\n").contains("this login may not send"));
}

#[test]
fn bulk_mail_is_refused_with_the_missing_step() {
    let mut world = World::new();
    let newsletter = "From: a@acme.dk\r\nList-Unsubscribe: <https://acme.dk/u>\r\nX-Mailjet-Prio: 3\r\n";
    assert!(world.refusal("a@acme.dk", newsletter).contains("spf step"));
    world.mailjet.bulk = BulkPolicy::Warn;
    assert!(world.decide("a@acme.dk", newsletter).unwrap().warning.unwrap().contains("spf"));
    world.verified = verified("acme.dk", Requirement::Spf);
    let decision = world.decide("a@acme.dk", newsletter).unwrap();
    assert_eq!((decision.warning, decision.urgency), (None, Urgency::Single));
    let refusal = world.refusal("a@acme.dk", "From: a@gmail.com\r\nPrecedence: bulk\r\n");
    assert!(refusal.contains("public mailbox"), "{refusal}");
    assert!(world.decide("a@acme.dk", "From: a@gmail.com\r\n").is_ok());
}

#[test]
fn bulk_mail_without_one_click_unsubscription_is_refused_or_noted_with_what_lacks() {
    let mut world = World::new();
    world.verified = verified("acme.dk", Requirement::Spf);
    let good = "From: a@acme.dk\r\nList-Unsubscribe: <https://acme.dk/u>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n";
    let bad = "From: a@acme.dk\r\nPrecedence: bulk\r\nList-Unsubscribe: <mailto:u@acme.dk>\r\n";
    world.mailjet.one_click = Some(BulkPolicy::Refuse);
    let refusal = world.refusal("a@acme.dk", bad);
    assert!(refusal.starts_with("550 5.7.1 ") && refusal.contains("lacks an https address"), "{refusal}");
    assert_eq!(world.decide("a@acme.dk", good).unwrap().warning, None);
    assert!(world.decide("a@acme.dk", "From: a@acme.dk\r\n").is_ok(), "single mail");
    world.mailjet.one_click = Some(BulkPolicy::Warn);
    assert!(world.decide("a@acme.dk", bad).unwrap().warning.unwrap().contains("lacks an https address"));
    world.verified = HashMap::new();
    world.mailjet.bulk = BulkPolicy::Warn;
    let both = world.decide("a@acme.dk", bad).unwrap().warning.unwrap();
    assert!(both.contains("spf step") && both.contains("https"), "{both}");
    world.mailjet.one_click = None;
    assert!(!world.decide("a@acme.dk", bad).unwrap().warning.unwrap().contains("https"));
}

#[test]
fn suspended_customers_and_broken_keys_are_deferred() {
    let mut world = World::new();
    world.mailjet.suspended = Some("unpaid".into());
    let refusal = world.refusal("a@acme.dk", "From: a@acme.dk\r\n");
    assert!(refusal.starts_with("450 4.7.1 ") && !refusal.contains("unpaid"), "{refusal}");
    world.mailjet.suspended = None;
    world.mailjet.domains.insert(domain("acme.dk"), SigningDomain::Broken("keys/acme.pem: no such file".into()));
    let refusal = world.refusal("a@acme.dk", "From: a@acme.dk\r\n");
    assert!(refusal.starts_with("451 4.7.5 ") && !refusal.contains("pem"), "{refusal}");
}

#[test]
fn a_domain_that_no_tier_takes_hears_what_is_missing() {
    let mut world = World::new();
    world.tier_requires = vec![Requirement::Ownership];
    assert!(world.refusal("a@acme.dk", "From: a@acme.dk\r\n").contains("its ownership step"));
}

#[test]
fn a_reverse_path_bounds_the_size_by_the_largest_route_that_its_mail_could_take() {
    let World { mailjet, mut own, .. } = World::new();
    own.bounce_domains.push(domain("gmail.com"));
    let tier = |id: &str, message_size, requires: &[Requirement]| {
        let route = Arc::new(Route { message_size, ..test_customers::route(id, "smarthost.test") });
        (id.to_owned(), Tier { route, requires: requires.to_vec() })
    };
    let tiers = [tier("starter", 50_000, &[]), tier("trusted", 90_000, &[Requirement::Spf])];
    let directory = Directory::new(vec![mailjet, own], BTreeMap::from(tiers));
    let routing = Routing::new(directory, None);
    let accepts_up_to = |mail_from: &str| accepts_up_to(&routing.view(), &path(mail_from));
    assert_eq!(accepts_up_to("a@acme.dk"), 50_000 - ADDED);
    // From may be in the other domain, whose tier accepts larger messages.
    routing.set_statuses(verified("news.acme.dk", Requirement::Spf));
    assert_eq!(accepts_up_to("a@acme.dk"), 90_000 - ADDED);
    // These reverse paths reveal nothing about From.
    for mail_from in ["", "a@[192.0.2.1]", "x@bounce.webcrm.com", "a@gmail.com", "a@elsewhere.dk"] {
        assert_eq!(accepts_up_to(mail_from), u64::MAX, "{mail_from}");
    }
}
