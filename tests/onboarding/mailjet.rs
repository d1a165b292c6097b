//! Domains are registered with Mailjet over its API: from nothing to accepted, over failures at every call, and from tier to tier.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use postbud::customers::{Customer, Directory, NoRoute, Requirement, Routing, Tier, VerificationStatus, Via};
use postbud::message::{CustomerId, Lane, MailKind, Urgency};
use postbud::onboarding::mailjet::{Alerts, Pace, Registrar};
use postbud::onboarding::{Check, Finding, Item, MailjetAccount, Report, Settings};
use postbud::resolver::FixedZone;
use postbud::time::Timestamp;

use crate::customers;
use crate::mailjet_api::{Fail, MailjetApi, token};
use crate::newcomer::{Site, WORLD, err, out};
use crate::rig::{self, customer, domain, key_record, mailjet};
use crate::skip::skip;

/// A customer with test.dk, two tiers with an account each, a DNS zone, and Mailjet.
struct Rig {
    api: MailjetApi,
    zone: Arc<FixedZone>,
    settings: Arc<Settings>,
    directory: Directory,
    customer: Customer,
    _dir: tempfile::TempDir,
}

fn mailjets_key() -> String {
    key_record("test.dk").replace("v=DKIM1; ", "")
}

impl Rig {
    fn new(via: Via) -> Rig {
        let api = MailjetApi::start(&["key-a", "key-b"], &mailjets_key());
        let dir = tempfile::tempdir().unwrap();
        let account =
            |key: &str| MailjetAccount { api: api.url.parse().unwrap(), key: key.into(), secret: "secret".into() };
        let settings = Settings {
            state_dir: dir.path().join("onboarding"),
            mailjet_accounts: BTreeMap::from([
                ("starter".to_owned(), account("key-a")),
                ("trusted".to_owned(), account("key-b")),
            ]),
            http_timeout: Duration::from_millis(200),
            // Every run is due.
            check_every: Duration::ZERO,
            check_every_while_incomplete: Duration::ZERO,
            ..Settings::default()
        };
        let customer = customer("test-as", "Test A/S", &["test.dk"], via);
        let tier = |name: &str, requires: &[Requirement]| {
            let route = Arc::new(customers::route(&format!("mailjet.{name}"), "in-v3.mailjet.com"));
            (name.to_owned(), Tier { route, requires: requires.to_vec() })
        };
        let trusted = [Requirement::Ownership, Requirement::Spf, Requirement::Dkim];
        let tiers = BTreeMap::from([tier("starter", &[]), tier("trusted", &trusted)]);
        let zone = "spf.webcrm.com TXT \"v=spf1 ip4:40.74.40.57 -all\"\ntest.dk SOA\n";
        Rig {
            directory: Directory::new(vec![customer.clone()], tiers),
            customer,
            zone: Arc::new(FixedZone::parse(zone).unwrap()),
            settings: Arc::new(settings),
            api,
            _dir: dir,
        }
    }

    fn registrar(&self) -> Registrar {
        Registrar::new(Arc::clone(&self.settings)).unwrap()
    }

    /// One round of the monitor, with a new registrar: nothing is remembered but what is on disk.
    async fn round(&self) -> Report {
        self.round_with(&self.registrar(), Pace::Now).await
    }

    async fn round_with(&self, registrar: &Registrar, pace: Pace) -> Report {
        let zone: Arc<FixedZone> = Arc::clone(&self.zone);
        let checker = rig::checker(Settings::clone(&self.settings), zone);
        let (of, at) = (&self.customer, domain("test.dk"));
        let checker = registrar.informed(checker, &self.directory, of, &at, VerificationStatus::default()).unwrap();
        let mut report = checker.check(&self.directory, of, &at, Timestamp::now()).await;
        registrar.register(&self.directory, of, &mut report, pace).await;
        report
    }

    /// The customer publishes everything, and Mailjet sees it.
    fn publish(&self) {
        self.zone.add_txt("test.dk", "v=spf1 include:spf.webcrm.com -all");
        self.zone.add_txt("mailjet._domainkey.test.dk", &mailjets_key());
        self.zone.add_txt("postbud1._domainkey.test.dk", &key_record("test.dk"));
        for key in ["key-a", "key-b"] {
            let token = token(key, "test.dk");
            self.zone.add_txt(&format!("mailjet._{}.test.dk", &token[..8]), &token);
            self.api.publish(key, "test.dk");
        }
    }

    /// The route of the domain's mail with these requirements verified, or why there is none.
    fn route(&self, verified: &[Requirement]) -> Result<String, NoRoute> {
        let routing = Routing::new(self.directory.clone(), None);
        let status = verified.iter().fold(VerificationStatus::default(), |it, one| it.with(*one));
        routing.set_statuses([(domain("test.dk"), status)].into());
        routing.set_acceptance(self.registrar().acceptance(&self.directory, |_| None).0);
        let lane = Lane {
            customer: CustomerId::new("test-as"),
            domain: domain("test.dk"),
            urgency: Urgency::Single,
            kind: MailKind::Mail,
        };
        routing.resolve(&lane).map(|route| route.id.to_string())
    }
}

const ALL: [Requirement; 3] = [Requirement::Ownership, Requirement::Spf, Requirement::Dkim];

fn account(report: &Report) -> &Check {
    report.check(Item::MailjetAccount).expect("the account is checked")
}

fn accepts(report: &Report, tier: &str) -> bool {
    let is_it = |finding: &Finding| matches!(finding, Finding::MailjetAccepts { tier: of, .. } if of == tier);
    account(report).findings.iter().any(is_it)
}

#[tokio::test]
async fn a_domain_is_registered_proven_and_accepted_with_nothing_typed_in() {
    let rig = Rig::new(mailjet());
    let report = rig.round().await;
    assert!(!accepts(&report, "starter") && !accepts(&report, "trusted"), "{report:?}");
    assert_eq!(rig.api.calls("POST /v3/REST/sender"), 2, "{:?}", rig.api.world().calls);
    assert_eq!(rig.api.calls("/validate") + rig.api.calls("/check"), 0, "our own check sees nothing yet");
    assert!(matches!(rig.route(&[]), Err(NoRoute::NotAccepted { tier, .. }) if tier == "starter"));

    // The next check hands on what Mailjet has issued.
    let report = rig.round().await;
    let expected: Vec<&String> = report.checks.iter().flat_map(|check| &check.expected).collect();
    assert!(expected.iter().any(|line| line.contains(&token("key-a", "test.dk"))), "{expected:?}");
    assert!(expected.iter().any(|line| line.contains(&mailjets_key())), "{expected:?}");

    rig.publish();
    let report = rig.round().await;
    assert!(accepts(&report, "starter") && accepts(&report, "trusted"), "{:?}", account(&report));
    assert_eq!(rig.route(&ALL).unwrap(), "mailjet.trusted");
    assert_eq!(rig.route(&[]).unwrap(), "mailjet.starter");
    let posts = rig.api.calls("POST");
    rig.round().await;
    assert_eq!(rig.api.calls("POST"), posts, "an accepted domain is only read again");
}

#[tokio::test]
async fn mailjet_is_not_asked_more_often_than_the_pace_allows_but_for_a_person() {
    let mut rig = Rig::new(mailjet());
    let hour = Duration::from_secs(3600);
    let slow = Settings { check_every: hour, check_every_while_incomplete: hour, ..Settings::clone(&rig.settings) };
    rig.settings = Arc::new(slow);
    let registrar = rig.registrar();
    rig.round_with(&registrar, Pace::Usual).await;
    let calls = rig.api.calls("");
    rig.round_with(&registrar, Pace::Usual).await;
    assert_eq!(rig.api.calls(""), calls);
    rig.publish();
    let report = rig.round_with(&registrar, Pace::Now).await;
    assert!(accepts(&report, "starter"), "{:?}", account(&report));
}

#[tokio::test]
async fn every_call_may_fail_in_every_way_and_the_next_run_takes_it_up() {
    let ways = [
        Fail::Status(500, None, "oops"),
        Fail::Status(503, None, ""),
        Fail::Garbage,
        Fail::Endless,
        Fail::Broken,
        Fail::BrokenAfter,
        Fail::Status(401, None, "no"),
        Fail::Status(404, None, "strange"),
        Fail::Status(400, None, "strange"),
    ];
    // A domain that is published already needs 9 calls in two runs.
    for fail in ways {
        for at in 0..9 {
            fails_once(&fail, at).await;
        }
    }
}

#[tokio::test]
async fn answers_that_say_nothing_and_refusals_of_any_code_are_taken_up_by_the_next_run() {
    let ways = [
        Fail::Status(403, None, "Operation not allowed"),
        Fail::Status(405, None, ""),
        Fail::Status(408, None, ""),
        Fail::Status(422, None, "strange"),
        Fail::Status(429, None, "no word of how long"),
        Fail::Status(302, None, ""),
        Fail::Status(520, None, "of somebody between"),
        Fail::Answer(200, ""),
        Fail::Answer(200, "{}"),
        Fail::Answer(200, "[]"),
        Fail::Answer(200, "{\"Count\":1,\"Data\":null,\"Total\":1}"),
        Fail::Answer(200, "{\"Count\":1,\"Data\":[{}],\"Total\":1}"),
        Fail::Answer(200, "{\"Count\":1,\"Data\":[null],\"Total\":1}"),
        Fail::Answer(200, "{\"Count\":1,\"Data\":[{\"ID\":\"x\"}"),
        Fail::Answer(204, ""),
        Fail::Answer(500, "<html>\u{202e}\u{1b}[2J</html>"),
    ];
    for (number, fail) in ways.iter().enumerate() {
        for at in [number % 3, 3 + number % 3, 6 + number % 3] {
            fails_once(fail, at).await;
        }
    }
}

/// One call of a registration fails; a run after that has the domain accepted.
async fn fails_once(fail: &Fail, at: usize) {
    let rig = Rig::new(Via::Mailjet { tier: Some("trusted".into()) });
    rig.publish();
    rig.api.world().fails = (0..at).map(|_| None).chain([Some(fail.clone())]).collect();
    let mut reports = Vec::new();
    for _ in 0..4 {
        reports.push(rig.round().await);
    }
    let said: Vec<_> = reports.iter().map(|report| &account(report).findings).collect();
    assert!(accepts(&reports[3], "trusted"), "{fail:?} at {at}: {said:?}");
    assert!(rig.api.world().fails.is_empty(), "{fail:?} at {at} was met: {:?}", rig.api.world().calls);
    assert_eq!(rig.api.world().senders(), 1, "{fail:?} at {at}");
    assert_eq!(rig.route(&ALL).unwrap(), "mailjet.trusted");
}

#[tokio::test]
async fn an_outage_takes_nothing_away_and_becomes_an_alert_when_it_lasts() {
    let rig = Rig::new(mailjet());
    rig.publish();
    rig.round().await;
    rig.round().await;
    rig.api.world().fails = (0..2).map(|_| Some(Fail::Status(502, None, ""))).collect();
    let report = rig.round().await;
    assert!(account(&report).findings.iter().any(|it| matches!(it, Finding::MailjetSilent { hours: 0, .. })));
    assert!(accepts(&report, "starter"), "{:?}", account(&report));
    assert_eq!(rig.route(&ALL).unwrap(), "mailjet.trusted");
    assert_eq!(Alerts::of(account(&report), &domain("test.dk")).raised, []);
    let mut long = Check::new(Item::MailjetAccount, postbud::onboarding::Need::Required);
    long.say(Finding::MailjetSilent { tier: "starter".into(), reason: "x".into(), hours: 2 });
    assert_eq!(Alerts::of(&long, &domain("test.dk")).raised[0].0, "starter");
}

#[tokio::test]
async fn an_account_that_is_told_to_wait_makes_no_calls_meanwhile() {
    let rig = Rig::new(Via::Mailjet { tier: Some("trusted".into()) });
    let registrar = rig.registrar();
    rig.api.world().fails.push_back(Some(Fail::Status(429, Some(600), "Too many requests")));
    rig.round_with(&registrar, Pace::Now).await;
    let report = rig.round_with(&registrar, Pace::Now).await;
    assert_eq!(rig.api.calls(""), 1, "{:?}", rig.api.world().calls);
    let found = &account(&report).findings;
    let is_busy = |it: &Finding| matches!(it, Finding::MailjetSilent { reason, .. } if reason.contains("another"));
    assert!(found.iter().any(is_busy), "{found:?}");
    let reloaded = registrar.with_settings(Arc::clone(&rig.settings)).unwrap();
    rig.round_with(&reloaded, Pace::Now).await;
    assert_eq!(rig.api.calls(""), 1, "a reload does not forget it");
}

#[tokio::test]
async fn a_domain_of_another_account_and_a_wrong_key_are_said_with_the_remedy() {
    let rig = Rig::new(Via::Mailjet { tier: Some("trusted".into()) });
    rig.publish();
    rig.api.world().owned.insert("test.dk".to_owned());
    let report = rig.round().await;
    let alerts = Alerts::of(account(&report), &domain("test.dk"));
    let [(subject, finding)] = &alerts.raised[..] else { panic!("{alerts:?}") };
    assert_eq!((subject.as_str(), &alerts.over[..]), ("trusted/test.dk", &["trusted".to_owned()][..]));
    let text = postbud::onboarding::Lang::En.finding(finding);
    assert!(text.what.contains("belongs to another account") && text.next.contains("release it"), "{text:?}");
    assert!(matches!(rig.route(&ALL), Err(NoRoute::NotAccepted { .. })));

    rig.api.world().owned.clear();
    rig.api.world().keys.insert("key-b".into(), "another".into());
    let report = rig.round().await;
    let alerts = Alerts::of(account(&report), &domain("test.dk"));
    assert_eq!((alerts.raised[0].0.as_str(), alerts.over.len()), ("trusted", 0), "{alerts:?}");
    rig.api.world().keys.insert("key-b".into(), "secret".into());
    rig.round().await;
    let report = rig.round().await;
    assert!(accepts(&report, "trusted"), "{:?}", account(&report));
    assert_eq!(Alerts::of(account(&report), &domain("test.dk")).over, ["trusted", "trusted/test.dk"]);
}

#[tokio::test]
async fn mail_moves_to_another_tier_only_once_its_account_accepts_the_domain() {
    let mut rig = Rig::new(Via::Mailjet { tier: Some("starter".into()) });
    rig.publish();
    rig.round().await;
    rig.round().await;
    assert_eq!(rig.route(&ALL).unwrap(), "mailjet.starter");
    assert_eq!(rig.api.calls("key-b"), 0, "a fixed tier is the only one");
    rig.api.world().published.remove(&token("key-b", "test.dk"));
    let tiers = rig.directory.tiers().clone();
    rig.customer = customer("test-as", "Test A/S", &["test.dk"], Via::Mailjet { tier: Some("trusted".into()) });
    rig.directory = Directory::new(vec![rig.customer.clone()], tiers);
    assert_eq!(rig.route(&ALL).unwrap(), "mailjet.starter", "before the first call");
    rig.round().await;
    let report = rig.round().await;
    assert!(!accepts(&report, "trusted"), "{:?}", account(&report));
    assert_eq!(rig.route(&ALL).unwrap(), "mailjet.starter");
    rig.publish();
    rig.round().await;
    assert_eq!(rig.route(&ALL).unwrap(), "mailjet.trusted");
}

#[tokio::test]
async fn mail_moves_to_an_account_of_the_customers_own_only_once_it_accepts_the_domain() {
    let mut rig = Rig::new(mailjet());
    rig.publish();
    rig.round().await;
    rig.round().await;
    let tiers = rig.directory.tiers().clone();
    rig.customer.own_mailjet = Some(Arc::new(customers::route("mailjet-own.test-as", "in-v3.mailjet.com")));
    rig.directory = Directory::new(vec![rig.customer.clone()], tiers);
    let mut settings = Settings::clone(&rig.settings);
    let own = MailjetAccount { key: "key-c".into(), ..settings.mailjet_accounts["starter"].clone() };
    settings.mailjet_accounts.insert("own.test-as".to_owned(), own);
    rig.settings = Arc::new(settings);
    rig.api.world().keys.insert("key-c".into(), "secret".into());
    assert_eq!(rig.route(&ALL).unwrap(), "mailjet.trusted", "before the first call");
    rig.round().await;
    rig.round().await;
    assert_eq!(rig.route(&ALL).unwrap(), "mailjet.trusted", "its token is not published");
    let token = token("key-c", "test.dk");
    rig.zone.add_txt(&format!("mailjet._{}.test.dk", &token[..8]), &token);
    rig.api.publish("key-c", "test.dk");
    rig.round().await;
    assert_eq!(rig.route(&ALL).unwrap(), "mailjet-own.test-as");
    rig.api.world().keys.remove("key-c");
    rig.round().await;
    assert_eq!(rig.route(&ALL).unwrap(), "mailjet-own.test-as", "a blocked key's mail waits in its own route");
}

#[tokio::test]
async fn accounts_with_different_keys_name_the_one_to_publish_and_break_nothing_that_works() {
    let rig = Rig::new(mailjet());
    let other =
        "k=rsa; p=".to_owned() + mailjets_key().split("p=").nth(1).unwrap().trim_end_matches("IDAQAB") + "QIDAQAB";
    rig.api.world().dkim.insert("key-b".into(), other.clone());
    rig.publish();
    rig.api.world().published.remove(&other);
    rig.round().await;
    let report = rig.round().await;
    assert!(accepts(&report, "starter") && !accepts(&report, "trusted"), "{:?}", account(&report));
    let said = &account(&report).findings;
    assert!(said.iter().all(|it| !matches!(it, Finding::MailjetObjects { requirement: "spf", .. })), "{said:?}");
    assert_eq!(rig.route(&[Requirement::Ownership]).unwrap(), "mailjet.starter");
}

#[tokio::test]
async fn what_mailjet_issues_anew_is_what_the_customer_is_asked_to_publish() {
    let rig = Rig::new(Via::Mailjet { tier: Some("trusted".into()) });
    rig.round().await;
    let newer = mailjets_key().replace("p=", "s=email; p=");
    rig.api.world().dkim.insert("key-b".into(), newer.clone());
    rig.round().await;
    let report = rig.round().await;
    let expected: Vec<&String> = report.checks.iter().flat_map(|check| &check.expected).collect();
    let mut of_mailjet = expected.iter().filter(|line| line.starts_with("mailjet._domainkey")).peekable();
    assert!(of_mailjet.peek().is_some() && of_mailjet.all(|line| line.contains(&newer)), "{expected:?}");
}

#[tokio::test]
async fn a_domain_that_is_entered_by_hand_is_never_asked_about_and_taken_by_every_tier() {
    let mut rig = Rig::new(mailjet());
    let mut settings = Settings::clone(&rig.settings);
    settings.mailjet.insert(domain("test.dk"), postbud::onboarding::MailjetRecords::default());
    rig.settings = Arc::new(settings);
    let report = rig.round().await;
    assert!(report.check(Item::MailjetAccount).is_none());
    assert_eq!((rig.api.calls(""), rig.route(&ALL).unwrap()), (0, "mailjet.trusted".to_owned()));
}

#[test]
fn a_new_customer_is_brought_in_with_its_name_and_domain_alone() {
    let name = "a_new_customer_is_brought_in_with_its_name_and_domain_alone";
    let Some(mut site) = Site::new(WORLD) else { return skip(name, "knot is not installed") };
    let api = MailjetApi::start(&["key"], &mailjets_key());
    let path = site.file("config/postbud.toml");
    let config = std::fs::read_to_string(&path).unwrap().replace("api = \"off\"", &format!("api = \"{}\"", api.url));
    std::fs::write(&path, config).unwrap();
    let added = site.run(&["customer", "add", "test-as", "--name", "T", "--domain", "test.dk", "--via", "mailjet"], "");
    assert!(added.status.success(), "{}", err(&added));
    assert!(out(&added).contains(&token("key", "test.dk")), "{}", out(&added));
    let records = site.run(&["domain", "records", "test-as", "--zone"], "");
    assert!(records.status.success(), "{}{}", out(&records), err(&records));
    site.knot.publish(&format!("{WORLD}{}", out(&records)));
    api.publish("key", "test.dk");
    let checked = site.run(&["domain", "check", "test-as"], "");
    assert_eq!(checked.status.code(), Some(0), "{}{}", out(&checked), err(&checked));
    assert!(
        out(&checked).contains("Mailjet's account of the tier trusted takes mail of test.dk."),
        "{}",
        out(&checked)
    );
}

#[test]
fn customers_move_to_keys_of_their_own_one_by_one_and_a_key_is_made_once() {
    let name = "customers_move_to_keys_of_their_own_one_by_one_and_a_key_is_made_once";
    let Some(mut site) = Site::new(WORLD) else { return skip(name, "knot is not installed") };
    let api = MailjetApi::start(&["key"], &mailjets_key());
    let path = site.file("config/postbud.toml");
    let config = std::fs::read_to_string(&path).unwrap().replace("api = \"off\"", &format!("api = \"{}\"", api.url));
    std::fs::write(&path, config).unwrap();
    for (id, domain) in [("test-as", "test.dk"), ("fjord", "fjord.dk")] {
        let added = site.run(&["customer", "add", id, "--name", "T", "--domain", domain, "--via", "mailjet"], "");
        assert!(added.status.success(), "{}", err(&added));
    }
    let give = |more: &[&str]| site.run(&[&["customer", "mailjet-key", "test-as"], more].concat(), "");
    let unclear = give(&[]);
    assert!(err(&unclear).contains("Name one of these tiers: starter, trusted"), "{}", err(&unclear));
    // The key is made behind many others, and the answer is lost.
    let others = (0..2_000).map(|n| (format!("postbud c{n}"), format!("{n:032x}"), format!("{n:032x}")));
    api.world().keys_made = others.collect();
    // Eleven lists of 200 come before it.
    api.world().fails = (0..11).map(|_| None).chain([Some(Fail::BrokenAfter)]).collect();
    let broken = give(&["--tier", "trusted"]);
    assert!(!broken.status.success() && err(&broken).contains("run the command again later"), "{}", err(&broken));
    let file = || std::fs::read_to_string(site.file("config/customers/test-as.toml")).unwrap();
    assert!(!file().contains("\nmailjet_account"), "{}", file());
    let given = give(&["--tier", "trusted"]);
    assert!(given.status.success(), "{}", err(&given));
    assert_eq!(api.world().keys_made.len(), 2_001, "{:?}", api.world().calls);
    assert!(file().contains("mailjet_account = \"own\"\nusername_file"), "{}", file());
    let made = api.world().keys_made[2_000].clone();
    assert_eq!(std::fs::read_to_string(site.file("config/secrets/test-as.mailjet-secret")).unwrap().trim(), made.2);
    assert!(err(&give(&["--tier", "trusted"])).contains("of its own already"));
    // The stand-in takes calls where the tier's address says; the own key's account is at the same place.
    let text =
        file().replace("mailjet_account = \"own\"", &format!("mailjet_account = \"own\"\napi = \"{}\"", api.url));
    std::fs::write(site.file("config/customers/test-as.toml"), text).unwrap();
    let records = out(&site.run(&["domain", "records", "test-as", "--zone"], ""));
    assert!(records.contains(&token(&made.1, "test.dk")), "{records}");
    site.knot.publish(&format!("{WORLD}{records}"));
    api.publish(&made.1, "test.dk");
    for _ in 0..2 {
        site.run(&["domain", "check", "test-as"], "");
    }
    let checked = out(&site.run(&["domain", "check", "test-as"], ""));
    assert!(checked.contains("account of the tier own.test-as takes mail of test.dk"), "{checked}");
    let routes = site.run(&["check"], "");
    assert!(routes.status.success(), "{}{}", out(&routes), err(&routes));
    let _relay = crate::newcomer::Relay::start(&site);
    let listed = out(&site.run(&["route", "list", "--json"], ""));
    assert!(listed.contains("mailjet-own.test-as") && !listed.contains("mailjet-own.fjord"), "{listed}");
}
