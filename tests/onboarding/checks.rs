//! Every kind of record, right and wrong, as a real DNS server answers it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use postbud::customers::Requirement;
use postbud::onboarding::records::{self, RecordTable};
use postbud::onboarding::{Finding, Item, Lang, MailjetRecords, Overall, Report, Seen, Settings};
use postbud::resolver::{self, Dns, FixedZone, Lookup, RecordType, Resolver};
use postbud::time::Timestamp;

use crate::knot::Knot;
use crate::rig::{checker, customer, directory, domain, key_record, mailjet, own_server, txt};
use crate::skip::skip;

pub const OURS: &str = "spf.webcrm.com. 60 IN TXT \"v=spf1 ip4:40.74.40.57 include:spf.mailjet.com -all\"\n\
                    spf.mailjet.com. 60 IN TXT \"v=spf1 ip4:87.253.232.0/21 -all\"\n\
                    bnc3.mailjet.com. 60 IN A 203.0.113.1\n";

pub fn settings() -> Settings {
    Settings { http_timeout: Duration::from_secs(2), ..Settings::default() }
}

fn dns(knot: &Knot) -> Arc<Dns> {
    let settings = resolver::Settings {
        servers: vec![knot.address],
        timeout: Duration::from_secs(2),
        attempts: 1,
        ..resolver::Settings::default()
    };
    Arc::new(Dns::new(&settings).expect("a server is named"))
}

/// Checks each domain as one of a Mailjet customer's.
pub fn reports(knot: &Knot, settings: &Settings, names: &[&str]) -> Vec<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let customer = customer("test-as", "Test A/S", names, mailjet());
        let directory = directory(vec![customer.clone()]);
        let checker = checker(settings.clone(), dns(knot));
        let mut reports = Vec::new();
        for name in names {
            reports.push(checker.check(&directory, &customer, &domain(name), Timestamp::now()).await);
        }
        reports
    })
}

pub fn codes(report: &Report, item: Item) -> BTreeSet<String> {
    let findings = report.check(item).into_iter().flat_map(|check| &check.findings);
    let code = |finding: &Finding| serde_json::to_value(finding).unwrap()["code"].as_str().unwrap().to_owned();
    findings.map(code).collect()
}

#[test]
fn a_domain_in_order_is_verified_in_everything() {
    let mut names = settings();
    // Mailjet's token in place of ours, at Mailjet's true host.
    names.mailjet.insert(
        domain("good.dk"),
        MailjetRecords {
            ownership: Some("b68ecbf07a1f5b307e60f73762b343b4".to_owned()),
            dkim: Some(key_record("good.dk").replace("v=DKIM1; ", "")),
        },
    );
    let zone = OURS.to_owned()
        + "good.dk. 60 IN MX 10 mail.good.dk.\nmail.good.dk. 60 IN A 203.0.113.2\n\
           bnc3.good.dk. 60 IN CNAME bnc3.mailjet.com.\n"
        + &txt("good.dk", "v=spf1 mx include:spf.webcrm.com -all")
        + &txt("good.dk", "google-site-verification=x")
        + &txt("mailjet._b68ecbf0.good.dk", "b68ecbf07a1f5b307e60f73762b343b4")
        + &txt("postbud1._domainkey.good.dk", &key_record("good.dk"))
        + &txt("mailjet._domainkey.good.dk", &key_record("good.dk").replace("v=DKIM1; ", ""))
        + &txt("_dmarc.good.dk", "v=DMARC1; p=none; rua=mailto:dmarc@good.dk");
    let Some(knot) = Knot::start(&zone) else {
        return skip("a_domain_in_order_is_verified_in_everything", "knot is not installed");
    };
    let report = &reports(&knot, &names, &["good.dk"])[0];
    assert_eq!(report.overall(), Overall::Good, "{report:#?}");
    for requirement in Requirement::ALL {
        assert_eq!(report.seen(requirement), Seen::Verified, "{requirement}");
    }
    assert!(codes(report, Item::ReturnPath).contains("return-path-good"));
    assert!(codes(report, Item::MailjetDkim).contains("dkim-good"));
}

#[tokio::test]
async fn behind_mailjet_dmarc_rests_on_mailjets_key_also_where_nobody_has_configured_it() {
    let zone = Arc::new(FixedZone::parse("bnc3.good.dk CNAME bnc3.mailjet.com").unwrap());
    for (host, value) in [
        ("good.dk", "v=spf1 ip4:40.74.40.57 include:spf.webcrm.com -all"),
        ("spf.webcrm.com", "v=spf1 ip4:40.74.40.57 -all"),
        ("postbud1._domainkey.good.dk", &key_record("good.dk")),
        ("_dmarc.good.dk", "v=DMARC1; p=reject; rua=mailto:dmarc@good.dk"),
    ] {
        zone.add_txt(host, value);
    }
    let customer = customer("test-as", "Test A/S", &["good.dk"], mailjet());
    let directory = directory(vec![customer.clone()]);
    let checker = checker(settings(), zone.clone());
    let (domain, now) = (domain("good.dk"), Timestamp::now());

    let report = checker.check(&directory, &customer, &domain, now).await;
    assert!(codes(&report, Item::Dkim).contains("dkim-good"), "{report:#?}");
    assert!(codes(&report, Item::MailjetDkim).contains("mailjet-key-missing"), "{report:#?}");
    let dmarc = codes(&report, Item::Dmarc);
    assert!(dmarc.contains("dmarc-on-spf-alone") && !dmarc.contains("dmarc-dkim-aligned"), "{dmarc:?}");
    let table = records::table(&checker, &directory, &customer, &domain, now).await;
    assert_eq!(table.mailjet_key_unset.as_deref(), Some("mailjet._domainkey.good.dk"));
    for text in texts(&table) {
        assert!(text.contains("mailjet._domainkey.good.dk"), "{text}");
    }

    zone.fail("mailjet._domainkey.good.dk");
    let table = records::table(&checker, &directory, &customer, &domain, now).await;
    assert!(table.unknown && table.mailjet_key_unset.is_some(), "{table:#?}");
    for text in texts(&table) {
        assert!(!text.contains("mailjet._domainkey.good.dk"), "nobody knows whether it is missing: {text}");
    }

    zone.heal("mailjet._domainkey.good.dk");
    zone.add_txt("mailjet._domainkey.good.dk", &key_record("good.dk"));
    let report = checker.check(&directory, &customer, &domain, now).await;
    assert!(codes(&report, Item::MailjetDkim).contains("mailjet-key-unset"), "{report:#?}");
    let dmarc = codes(&report, Item::Dmarc);
    assert!(!dmarc.contains("dmarc-dkim-aligned") && !dmarc.contains("dmarc-on-spf-alone"), "whose is it? {dmarc:?}");
    let table = records::table(&checker, &directory, &customer, &domain, now).await;
    assert!(table.mailjet_key_unset.is_some() && !table.unknown, "the operator has to compare it: {table:#?}");
    assert_eq!(table.mailjet_key_to_come, None, "the customer has nothing to do");
    assert!(table.rows.iter().any(|row| row.item == Item::MailjetDkim && row.present), "{table:#?}");
}

/// Counts what is asked.
struct Counting {
    zone: FixedZone,
    asked: Mutex<BTreeMap<String, usize>>,
}

impl Resolver for Counting {
    fn query<'a>(&'a self, name: &'a str, record_type: RecordType) -> Lookup<'a> {
        *self.asked.lock().unwrap().entry(format!("{record_type} {name}")).or_default() += 1;
        self.zone.query(name, record_type)
    }
}

#[tokio::test]
async fn the_records_to_publish_go_by_the_same_look_at_dns_as_the_check() {
    let zone = "good.dk TXT \"v=spf1 include:x.dk -all\"\nx.dk TXT \"v=spf1 ip4:192.0.2.1 -all\"\n\
                spf.webcrm.com TXT \"v=spf1 ip4:40.74.40.57 -all\"";
    let resolver = Arc::new(Counting { zone: FixedZone::parse(zone).unwrap(), asked: Mutex::default() });
    // Where records go is asked besides: the zones they lie in, and aliases in their place.
    let asked = || {
        let mut asked = std::mem::take(&mut *resolver.asked.lock().unwrap());
        asked.retain(|question, _| !question.starts_with("SOA ") && !question.starts_with("CNAME "));
        asked
    };
    let customer = customer("test-as", "Test A/S", &["good.dk"], mailjet());
    let directory = directory(vec![customer.clone()]);
    let checker = checker(settings(), resolver.clone());
    let (domain, now) = (domain("good.dk"), Timestamp::now());
    checker.check(&directory, &customer, &domain, now).await;
    let by_check = asked();
    let table = records::table(&checker, &directory, &customer, &domain, now).await;
    assert!(table.rows.iter().any(|row| row.value == "v=spf1 include:x.dk include:spf.webcrm.com -all"), "{table:#?}");
    assert_eq!(asked(), by_check);
}

#[tokio::test]
async fn nobody_is_asked_to_publish_the_spf_record_that_stands_there() {
    for (record, ours, to_mend) in [
        ("v=spf1 include:spf.webcrm.com -all", "v=spf1 -all", None),
        ("v=spf1 include:gone.dk include:spf.webcrm.com -all", "v=spf1 ip4:40.74.40.57 -all", Some("gone.dk")),
    ] {
        let zone = format!("good.dk TXT \"{record}\"\nspf.webcrm.com TXT \"{ours}\"");
        let customer = customer("test-as", "Test A/S", &["good.dk"], mailjet());
        let directory = directory(vec![customer.clone()]);
        let checker = checker(settings(), Arc::new(FixedZone::parse(&zone).unwrap()));
        let table = records::table(&checker, &directory, &customer, &domain("good.dk"), Timestamp::now()).await;
        let row = table.rows.iter().find(|row| row.item == Item::Spf).expect("a row for SPF");
        assert!(row.present && !table.is_done(), "{row:?}");
        let [text, zone, mail] = texts(&table);
        assert!(zone.contains(&format!("\n; good.dk. 3600 IN TXT \"{record}\"")), "{zone}");
        assert!(!mail.contains(record), "{mail}");
        for text in [text, zone, mail] {
            assert_eq!(text.contains("gone.dk, "), to_mend.is_some(), "{text}");
            assert!(!text.contains("spf.webcrm.com,"), "webCRM's own to mend: {text}");
        }
    }
}

fn texts(table: &RecordTable) -> [String; 3] {
    let mail = Lang::Da.mail("x", std::slice::from_ref(table)).1;
    [records::text(table, Lang::En), records::zone(table, Lang::Da), mail]
}

/// What is published below `case.dk`, and the finding that must name it.
fn broken_cases() -> Vec<(&'static str, Item, &'static str, String)> {
    let key = key_record("x.dk");
    let other = "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYtIxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB";
    let spf = |name: &str, record: &str| txt(name, record);
    let many: String = (0..11).map(|i| format!(" a:e{i}.c.dk")).collect();
    vec![
        ("s-none.dk", Item::Spf, "spf-missing", String::new()),
        ("s-near.dk", Item::Spf, "spf-near-miss", spf("s-near.dk", "\"v=spf1 include:spf.webcrm.com -all\"")),
        (
            "s-two.dk",
            Item::Spf,
            "spf-several",
            spf("s-two.dk", "v=spf1 -all") + &spf("s-two.dk", "v=spf1 include:spf.webcrm.com -all"),
        ),
        (
            "s-syntax.dk",
            Item::Spf,
            "spf-syntax",
            spf("s-syntax.dk", "v=spf1 ip4:111.222.333.444 include:spf.webcrm.com -all"),
        ),
        ("s-after.dk", Item::Spf, "spf-after-all", spf("s-after.dk", "v=spf1 -all include:spf.webcrm.com")),
        ("s-shadow.dk", Item::Spf, "spf-include-shadowed", spf("s-shadow.dk", "v=spf1 -all include:spf.webcrm.com")),
        ("s-every.dk", Item::Spf, "spf-everybody", spf("s-every.dk", "v=spf1 include:spf.webcrm.com +all")),
        ("s-ptr.dk", Item::Spf, "spf-ptr", spf("s-ptr.dk", "v=spf1 ptr include:spf.webcrm.com -all")),
        ("s-miss.dk", Item::Spf, "spf-include-missing", spf("s-miss.dk", "v=spf1 mx -all")),
        ("s-addr.dk", Item::Spf, "spf-address-only", spf("s-addr.dk", "v=spf1 ip4:40.74.40.57 -all")),
        ("s-loop.dk", Item::Spf, "spf-loop", spf("s-loop.dk", "v=spf1 include:s-loop.dk -all")),
        (
            "s-many.dk",
            Item::Spf,
            "spf-too-many-lookups",
            spf("s-many.dk", &format!("v=spf1{many} include:spf.webcrm.com -all"))
                + &(0..11).map(|i| format!("e{i}.c.dk. 60 IN A 192.0.2.9\n")).collect::<String>()
                + &spf("unused.dk", "x"),
        ),
        (
            "s-void.dk",
            Item::Spf,
            "spf-too-many-void-lookups",
            spf("s-void.dk", "v=spf1 a:v1.dk a:v2.dk a:v3.dk include:spf.webcrm.com -all"),
        ),
        (
            "s-inc.dk",
            Item::Spf,
            "spf-include-without-record",
            spf("s-inc.dk", "v=spf1 include:nothing.dk include:spf.webcrm.com -all"),
        ),
        (
            "s-dead.dk",
            Item::Spf,
            "unanswered",
            spf("s-dead.dk", "v=spf1 include:x.dead.example include:spf.webcrm.com -all"),
        ),
        ("k-none.dk", Item::Dkim, "dkim-missing", String::new()),
        (
            "k-two.dk",
            Item::Dkim,
            "dkim-several",
            txt("postbud1._domainkey.k-two.dk", &key) + &txt("postbud1._domainkey.k-two.dk", other),
        ),
        (
            "k-other.dk",
            Item::Dkim,
            "dkim-mismatch",
            txt("postbud1._domainkey.k-other.dk", &key.replace("IDAQAB", "IDAQAC")),
        ),
        ("k-flaw.dk", Item::Dkim, "dkim-flaw", txt("postbud1._domainkey.k-flaw.dk", &key[..200])),
        ("k-revoked.dk", Item::Dkim, "dkim-flaw", txt("postbud1._domainkey.k-revoked.dk", "v=DKIM1; p=")),
        ("k-weak.dk", Item::Dkim, "dkim-flaw", txt("postbud1._domainkey.k-weak.dk", other)),
        ("k-double.dk", Item::Dkim, "wrong-host", txt("postbud1._domainkey.k-double.dk.k-double.dk", &key)),
        (
            "j-gone.dk",
            Item::MailjetDkim,
            "mailjet-key-missing",
            txt("mailjet._domainkey.j-gone.dk", "v=DKIM1; p=") + &txt("mailjet._domainkey.j-gone.dk", other),
        ),
        (
            "j-odd.dk",
            Item::MailjetDkim,
            "mailjet-key-missing",
            txt("mailjet._domainkey.j-odd.dk", &key.replace("DKIM1", "DKIM2")),
        ),
        ("d-none.dk", Item::Dmarc, "dmarc-missing", String::new()),
        (
            "d-two.dk",
            Item::Dmarc,
            "dmarc-several",
            txt("_dmarc.d-two.dk", "v=DMARC1; p=none") + &txt("_dmarc.d-two.dk", "v=DMARC1; p=reject"),
        ),
        ("d-bad.dk", Item::Dmarc, "dmarc-invalid", txt("_dmarc.d-bad.dk", "v=DMARC1; p=no")),
        (
            "d-old.dk",
            Item::Dmarc,
            "dmarc-obsolete",
            txt("_dmarc.d-old.dk", "v=DMARC1; p=none; pct=100; rua=mailto:a@d-old.dk"),
        ),
        ("d-host.dk", Item::Dmarc, "wrong-host", txt("dmarc.d-host.dk", "v=DMARC1; p=none")),
        (
            "d-rua.dk",
            Item::Dmarc,
            "dmarc-reports-refused",
            txt("_dmarc.d-rua.dk", "v=DMARC1; p=none; rua=mailto:a@elsewhere.example"),
        ),
        (
            "d-rej.dk",
            Item::Dmarc,
            "dmarc-without-dkim",
            txt("_dmarc.d-rej.dk", "v=DMARC1; p=reject; rua=mailto:a@d-rej.dk"),
        ),
        ("sub.d-rej.dk", Item::Dmarc, "dmarc-inherited", String::new()),
        ("o-none.dk", Item::Ownership, "ownership-missing", String::new()),
        ("o-wrong.dk", Item::Ownership, "ownership-wrong-value", txt("_postbud-challenge.o-wrong.dk", "something")),
        ("r-none.dk", Item::ReturnPath, "return-path-missing", String::new()),
        ("r-else.dk", Item::ReturnPath, "return-path-wrong", "bnc3.r-else.dk. 60 IN CNAME mail.example.\n".to_owned()),
        ("m-none.dk", Item::Mx, "mx-missing", String::new()),
        ("m-null.dk", Item::Mx, "mx-null", "m-null.dk. 60 IN MX 0 .\n".to_owned()),
        ("hotmail.dk", Item::FromDomain, "public-provider", String::new()),
        ("x.dead.example", Item::Dkim, "unanswered", String::new()),
    ]
}

#[test]
fn every_broken_case_is_named() {
    let cases = broken_cases();
    let zone: String = OURS.to_owned() + &cases.iter().map(|case| case.3.as_str()).collect::<String>();
    let Some(knot) = Knot::start(&zone) else {
        return skip("every_broken_case_is_named", "knot is not installed");
    };
    let names: Vec<&str> = cases.iter().map(|case| case.0).collect();
    let mut wrong = Vec::new();
    let found = reports(&knot, &settings(), &names);
    for check in found.iter().flat_map(|report| &report.checks).filter(|check| check.expected.is_empty()) {
        for (lang, shown) in [(Lang::En, "record shown"), (Lang::En, "one shown"), (Lang::Da, "viste")] {
            let next = check.findings.iter().map(|finding| lang.finding(finding).next);
            wrong.extend(next.filter(|next| next.contains(shown)).map(|next| format!("nothing is shown: {next}")));
        }
    }
    for ((name, item, code, _), report) in cases.iter().zip(found) {
        let found = codes(&report, *item);
        if !found.contains(*code) {
            wrong.push(format!("{name}: {code} is not in {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_dead_name_server_leaves_everything_unknown() {
    let Some(knot) = Knot::start(OURS) else {
        return skip("a_dead_name_server_leaves_everything_unknown", "knot is not installed");
    };
    let report = &reports(&knot, &settings(), &["dead.example"])[0];
    for requirement in Requirement::ALL {
        assert_eq!(report.seen(requirement), Seen::Unknown, "{requirement}: {report:#?}");
    }
    assert_eq!(report.overall(), Overall::Unknown);
}

#[test]
fn an_own_server_customer_needs_no_include_and_no_alias() {
    let zone = OURS.to_owned()
        + &txt("egen.dk", "v=spf1 a:mail.egen.dk -all")
        + "mail.egen.dk. 60 IN A 203.0.113.7\negen.dk. 60 IN MX 5 mail.egen.dk.\n";
    let Some(knot) = Knot::start(&zone) else {
        return skip("an_own_server_customer_needs_no_include_and_no_alias", "knot is not installed");
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let report = runtime.block_on(async {
        let customer = customer("egen", "Egen ApS", &["egen.dk"], own_server("egen", "mail.egen.dk"));
        let directory = directory(vec![customer.clone()]);
        checker(settings(), dns(&knot)).check(&directory, &customer, &domain("egen.dk"), Timestamp::now()).await
    });
    assert_eq!(report.seen(Requirement::Spf), Seen::Verified, "{report:#?}");
    assert!(report.check(Item::ReturnPath).is_none());
    assert!(codes(&report, Item::OwnServer).contains("probe-skipped"));
    assert!(codes(&report, Item::InternalMail).contains("internal-mail"));
}
