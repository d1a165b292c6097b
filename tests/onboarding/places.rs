//! The places of records: labels by their zone, and obstacles at the host.

use std::sync::Arc;
use std::time::Duration;

use postbud::customers::{Customer, Via};
use postbud::dkim::Selector;
use postbud::onboarding::alias::{self, Alias};
use postbud::onboarding::records::{self, InTheWay, RecordTable, Row};
use postbud::onboarding::{Delegation, Finding, Item, Lang, MailjetRecords, Report, Settings, Severity, report};
use postbud::resolver::{self, Dns, FixedZone, Lookup, RecordType, Resolver};
use postbud::time::Timestamp;

use crate::knot::Knot;
use crate::rig::{checker, customer, directory, domain, key_record, mailjet, own_server};
use crate::skip::skip;

const OURS: &str = "spf.webcrm.com TXT \"v=spf1 ip4:40.74.40.57 -all\"\n";
const BOTH: [Lang; 2] = [Lang::Da, Lang::En];

/// What is said of a customer's domain in a zone, as report and table.
async fn both(zone: FixedZone, customer: &Customer, name: &str) -> (Report, RecordTable) {
    both_with(Settings::default(), zone, customer, name).await
}

async fn both_with(settings: Settings, zone: FixedZone, customer: &Customer, name: &str) -> (Report, RecordTable) {
    let settings = Settings { http_timeout: Duration::from_millis(200), ..settings };
    let directory = directory(vec![customer.clone()]);
    let checker = checker(settings, Arc::new(zone));
    let (name, now) = (domain(name), Timestamp::from_millis(1_795_458_240_000));
    let report = checker.check(&directory, customer, &name, now).await;
    (report, records::table(&checker, &directory, customer, &name, now).await)
}

async fn of_mailjet(zone: &str, name: &str) -> (Report, RecordTable) {
    let zone = FixedZone::parse(&format!("{OURS}{zone}")).unwrap();
    both(zone, &customer("test-as", "Test A/S", &[name], mailjet()), name).await
}

fn row(table: &RecordTable, item: Item) -> &Row {
    table.rows.iter().find(|row| row.item == item).unwrap_or_else(|| panic!("{item:?}: {table:#?}"))
}

fn mail(table: &RecordTable, lang: Lang) -> String {
    lang.mail("x", std::slice::from_ref(table)).1
}

/// Lines of a zone file that are loaded.
fn loaded(table: &RecordTable) -> Vec<String> {
    records::zone(table, Lang::En).lines().filter(|line| !line.starts_with(';')).map(str::to_owned).collect()
}

#[tokio::test]
async fn labels_are_relative_to_the_zone_that_a_host_lies_in() {
    for (soa, name, labels) in [
        ("sub.dk", "sub.dk", ["@", "_postbud-challenge", "postbud1._domainkey", "_dmarc", "bnc3"]),
        (
            "sub.dk",
            "nyhed.sub.dk",
            ["nyhed", "_postbud-challenge.nyhed", "postbud1._domainkey.nyhed", "_dmarc.nyhed", "bnc3.nyhed"],
        ),
        (
            "sub.dk",
            "a.b.sub.dk",
            ["a.b", "_postbud-challenge.a.b", "postbud1._domainkey.a.b", "_dmarc.a.b", "bnc3.a.b"],
        ),
        ("nyhed.sub.dk", "nyhed.sub.dk", ["@", "_postbud-challenge", "postbud1._domainkey", "_dmarc", "bnc3"]),
        ("firma.co.uk", "firma.co.uk", ["@", "_postbud-challenge", "postbud1._domainkey", "_dmarc", "bnc3"]),
    ] {
        let (_, table) = of_mailjet(&format!("{soa} SOA"), name).await;
        assert_eq!(table.zone.as_deref(), Some(soa), "{name}");
        let items = [Item::Spf, Item::Ownership, Item::Dkim, Item::Dmarc, Item::ReturnPath];
        assert_eq!(items.map(|item| row(&table, item).label.as_str()), labels, "{name}");
        for (lang, heading) in [(Lang::Da, "Navn:"), (Lang::En, "Name:")] {
            let (mail, text) = (mail(&table, lang), records::text(&table, lang));
            for label in labels {
                assert!(mail.contains(&format!("{heading}  {label}\n")), "{label} in {mail}");
                assert!(text.contains(&format!("  {label}  ")), "{label} in {text}");
            }
            assert!(mail.contains(&format!("({soa})")) && text.contains(&format!("({soa})")), "{mail}{text}");
        }
    }
}

#[test]
fn a_real_name_server_says_which_zone_a_name_lies_in() {
    let records = "alias.test.dk. 60 IN CNAME cut.example.\n*.wild.dk. 60 IN CNAME www.cut.example.\n";
    let Some(knot) = Knot::start(records) else {
        return skip("a_real_name_server_says_which_zone_a_name_lies_in", "knot is not installed");
    };
    let settings = resolver::Settings {
        servers: vec![knot.address],
        timeout: Duration::from_secs(2),
        attempts: 1,
        ..resolver::Settings::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let dns = Dns::new(&settings).expect("a server is named");
        let dns: &dyn Resolver = &dns;
        for (name, zone) in [
            ("cut.example", Some("cut.example")),
            ("www.cut.example", Some("cut.example")),
            ("_dmarc.nobody.cut.example", Some("cut.example")),
            // All that the root's zone holds, and an alias into another zone.
            ("www.test.dk", None),
            ("alias.test.dk", None),
        ] {
            assert_eq!(dns.zone(name).await.unwrap().as_deref(), zone, "{name}");
        }
        assert!(dns.zone("x.dead.example").await.is_err());
        let own = Alias::Own("cut.example".to_owned());
        assert_eq!(alias::of(dns, "alias.test.dk").await.unwrap(), Some(own));
        let wildcard = Alias::Wildcard("www.cut.example".to_owned());
        assert_eq!(alias::of(dns, "nyhed.wild.dk").await.unwrap(), Some(wildcard));
        assert_eq!(alias::of(dns, "www.cut.example").await.unwrap(), None);
    });
}

#[tokio::test]
async fn a_delegated_part_of_the_domain_is_a_zone_of_its_own() {
    let (_, table) = of_mailjet("sub.dk SOA\n_domainkey.sub.dk SOA", "sub.dk").await;
    assert_eq!(row(&table, Item::Dkim).label, "postbud1");
    assert_eq!(row(&table, Item::Dmarc).label, "_dmarc");
    assert!(mail(&table, Lang::Da).contains("Navn:  postbud1\n   Zone:  _domainkey.sub.dk\n"));
}

#[tokio::test]
async fn where_the_zone_is_not_known_the_whole_name_stands_and_it_is_said_so() {
    for zone in ["", "dk SOA", "sub.dk FAIL"] {
        let (_, table) = of_mailjet(zone, "nyhed.sub.dk").await;
        assert_eq!(table.zone, None, "{zone}");
        assert!(table.rows.iter().all(|row| row.label == row.host), "{table:#?}");
        for (lang, said) in [(Lang::Da, "kunne ikke slås op"), (Lang::En, "could not be looked up")] {
            let (mail, text) = (mail(&table, lang), records::text(&table, lang));
            assert!(mail.contains(said) && text.contains(said), "{zone}: {mail}{text}");
            assert!(!mail.contains("Navn:") && !mail.contains("Name:"), "{mail}");
        }
    }
}

#[tokio::test]
async fn a_record_about_which_dns_did_not_answer_is_not_called_missing() {
    let delegation = Delegation {
        zone: domain("dkim.webcrm.com"),
        selectors: ["postbud-a", "postbud-b"].map(|name| Selector::parse(name).unwrap()),
        rotate_every: Duration::from_secs(1),
        ttl: Duration::from_secs(300),
        updates: None,
    };
    let mut settings = Settings { delegation: Some(delegation), ..Settings::default() };
    settings.mailjet.insert(
        domain("test.dk"),
        MailjetRecords { ownership: None, dkim: Some(key_record("test.dk").replace("v=DKIM1; ", "")) },
    );
    let of = customer("test-as", "Test A/S", &["test.dk"], mailjet());
    let zone = |lines: &str| FixedZone::parse(&format!("{OURS}test.dk SOA\n{lines}")).unwrap();
    let hosts = [
        "_postbud-challenge.test.dk",
        "postbud1._domainkey.test.dk",
        "mailjet._domainkey.test.dk",
        "bnc3.test.dk",
        "postbud-a._domainkey.test.dk",
        "postbud-b._domainkey.test.dk",
    ];
    for dead in hosts {
        let (_, table) = both_with(settings.clone(), zone(&format!("{dead} FAIL")), &of, "test.dk").await;
        assert!(hosts.iter().all(|host| table.rows.iter().any(|row| row.host == *host)), "{table:#?}");
        for row in &table.rows {
            assert_eq!((row.present, row.unanswered), (false, row.host == dead), "{dead}: {row:?}");
        }
        assert!(table.is_lacking() && !table.is_done(), "the others are known to be missing");
        for (lang, word, sentence) in [
            (Lang::Da, "  (DNS svarede ikke)\n", "om denne record allerede findes"),
            (Lang::En, "  (DNS did not answer)\n", "whether this record is published already"),
        ] {
            let text = records::text(&table, lang);
            assert_eq!((text.matches(word).count(), text.matches(sentence).count()), (1, 1), "{text}");
            assert!(mail(&table, lang).contains(sentence), "{}", mail(&table, lang));
        }
        let json = records::json(std::slice::from_ref(&table), Lang::En);
        let unanswered = |row: &&serde_json::Value| row["unanswered"] == true;
        let hosts: Vec<_> =
            json[0]["rows"].as_array().unwrap().iter().filter(unanswered).map(|row| &row["host"]).collect();
        assert_eq!(hosts, [dead]);
    }
    let (_, table) = both_with(settings.clone(), zone("test.dk FAIL"), &of, "test.dk").await;
    assert!(table.rows.iter().all(|row| row.unanswered && !row.present), "{table:#?}");
    assert!(!table.is_lacking() && !table.is_done(), "nothing is known: {table:#?}");
    let (_, table) = both_with(settings, zone(""), &of, "test.dk").await;
    assert!(table.rows.iter().all(|row| !row.unanswered && !row.present) && table.is_lacking(), "{table:#?}");
}

#[tokio::test]
async fn a_record_at_a_doubled_name_is_named_with_the_label_to_type() {
    let zone = FixedZone::parse(&format!("{OURS}sub.dk SOA")).unwrap();
    zone.add_txt("postbud1._domainkey.nyhed.sub.dk.sub.dk", &key_record("nyhed.sub.dk"));
    zone.add_txt("_dmarc.nyhed.sub.dk.sub.dk", "v=DMARC1; p=none");
    let (report, _) = both(zone, &customer("x", "X", &["nyhed.sub.dk"], mailjet()), "nyhed.sub.dk").await;
    let text = report::text(&report, Lang::Da, false);
    for (found, typed) in [
        ("postbud1._domainkey.nyhed.sub.dk.sub.dk", "postbud1._domainkey.nyhed"),
        ("_dmarc.nyhed.sub.dk.sub.dk", "_dmarc.nyhed"),
    ] {
        assert!(text.contains(&format!("Recorden er oprettet på {found}.")), "{text}");
        assert!(text.contains(&format!("Skriv {typed} som navn")), "{text}");
    }
}

#[tokio::test]
async fn a_from_domain_that_is_an_alias_hears_the_way_out_and_gets_no_line_beside_it() {
    let alias = "sub.dk SOA\nnyhed.sub.dk CNAME web.host.dk\nweb.host.dk A 192.0.2.1\n";
    for target in
        ["", "web.host.dk TXT \"v=spf1 a -all\"\n", "web.host.dk TXT \"v=spf1 a\"\nweb.host.dk TXT \"v=spf1 mx\"\n"]
    {
        let (report, table) = of_mailjet(&format!("{alias}{target}"), "nyhed.sub.dk").await;
        let spf = report.check(Item::Spf).unwrap();
        assert_eq!(spf.severity(), Severity::Fault);
        // Nothing else is said that would have to be published there.
        assert_eq!((spf.findings.len(), &spf.expected[..]), (1, &[][..]), "{spf:?}");
        for (lang, way_out) in [(Lang::Da, "Send fra et andet domæne"), (Lang::En, "Send from another domain")] {
            let first = lang.finding(&spf.findings[0]);
            assert!(first.what.contains("alias (CNAME)") && first.what.contains("web.host.dk"), "{first:?}");
            assert!(first.next.contains(way_out) && first.next.contains("ALIAS"), "{first:?}");
            for text in [mail(&table, lang), records::text(&table, lang), records::zone(&table, lang)] {
                assert!(text.contains("web.host.dk") && text.contains(way_out), "{text}");
            }
        }
        let target = "web.host.dk".to_owned();
        assert_eq!(row(&table, Item::Spf).in_the_way, Some(InTheWay::DomainAlias { target }));
        let lines = loaded(&table);
        assert!(!lines.iter().any(|line| line.starts_with("nyhed.sub.dk.")), "{lines:?}");
        // Names below an alias are no aliases.
        assert!(lines.iter().any(|line| line.starts_with("_dmarc.nyhed.sub.dk.")), "{lines:?}");
        assert!(!table.is_done());
    }
}

#[tokio::test]
async fn an_alias_to_a_record_that_works_is_no_fault() {
    let zone = "nyhed.sub.dk CNAME sub.dk\nsub.dk A 192.0.2.1\nsub.dk MX 5 sub.dk\n\
                sub.dk TXT \"v=spf1 include:spf.webcrm.com -all\"";
    let (report, table) = of_mailjet(zone, "nyhed.sub.dk").await;
    assert_eq!(report.check(Item::Spf).unwrap().severity(), Severity::Good, "{report:#?}");
    assert_eq!(report.check(Item::FromDomain).unwrap().severity(), Severity::Hint, "{report:#?}");
    assert!(row(&table, Item::Spf).present);
    // What could be better there cannot be published here, and takes nothing away.
    let (report, table) = of_mailjet(&zone.replace("-all", "-all a"), "nyhed.sub.dk").await;
    let spf = report.check(Item::Spf).unwrap();
    assert_eq!((spf.severity(), &spf.expected[..]), (Severity::Warning, &[][..]), "{report:#?}");
    assert!(!loaded(&table).iter().any(|line| line.starts_with("nyhed.sub.dk.")), "{table:#?}");
}

#[tokio::test]
async fn mail_cannot_be_received_beside_an_alias_to_a_name_that_takes_none() {
    let (report, _) = of_mailjet("nyhed.sub.dk CNAME web.host.dk\nweb.host.dk TXT x", "nyhed.sub.dk").await;
    let mx = report.check(Item::Mx).unwrap();
    let text = Lang::En.finding(&mx.findings[0]);
    assert!(text.what.contains("web.host.dk") && !text.next.contains("Publish an MX"), "{text:?}");
}

#[tokio::test]
async fn no_zone_line_stands_beside_an_alias_or_an_address() {
    let zone = "sub.dk SOA\n_dmarc.sub.dk CNAME dmarc.vendor.dk\npostbud1._domainkey.sub.dk CNAME key.vendor.dk\n\
                _postbud-challenge.sub.dk CNAME proof.vendor.dk\nbnc3.sub.dk A 104.16.1.1";
    let (report, table) = of_mailjet(zone, "sub.dk").await;
    let lines = loaded(&table);
    assert_eq!(lines.len(), 1, "SPF alone: {lines:?}");
    assert!(lines[0].starts_with("sub.dk. 3600 IN TXT"), "{lines:?}");
    for (lang, proxy) in [(Lang::Da, "Slå proxyen fra"), (Lang::En, "Switch the proxy off")] {
        for text in [mail(&table, lang), records::text(&table, lang), records::zone(&table, lang)] {
            for what in ["dmarc.vendor.dk", "key.vendor.dk", "proof.vendor.dk", "104.16.1.1", "DNS only", proxy] {
                assert!(text.contains(what), "{what} in {text}");
            }
        }
        let said = report::text(&report, lang, false);
        assert!(said.contains(proxy) && said.contains("DNS only") && said.contains("104.16.1.1"), "{said}");
    }
}

#[tokio::test]
async fn a_wildcard_is_in_nobodys_way() {
    for wildcard in ["*.sub.dk CNAME web.host.dk\nweb.host.dk A 192.0.2.1", "*.sub.dk A 192.0.2.1"] {
        let (report, table) = of_mailjet(&format!("sub.dk SOA\n{wildcard}"), "nyhed.sub.dk").await;
        assert!(table.rows.iter().all(|row| row.in_the_way.is_none()), "{table:#?}");
        assert_eq!(loaded(&table).len(), table.rows.len(), "{wildcard}");
        let text = report::text(&report, Lang::En, false);
        assert!(!text.contains("alias (CNAME)") && !text.contains("DNS only"), "{text}");
    }
}

#[tokio::test]
async fn only_a_record_that_is_there_is_replaced() {
    for (zone, da, en) in [
        ("", None, None),
        ("sub.dk TXT \"v=spf1 a -all\"", Some("Den erstatter den, I har."), Some("It replaces the one you have.")),
        (
            "sub.dk TXT \"v=spf1 a -all\"\nsub.dk TXT \"v=spf1 mx -all\"",
            Some("Den erstatter alle 2, I har."),
            Some("It replaces all 2 you have."),
        ),
        ("sub.dk TXT \"google-site-verification=x\"", None, None),
        ("sub.dk TXT \"v=spf1 include:spf.webcrm.com -all\"", None, None),
    ] {
        let (_, table) = of_mailjet(zone, "sub.dk").await;
        for (lang, expected) in [(Lang::Da, da), (Lang::En, en)] {
            let why = lang.why(&table, row(&table, Item::Spf));
            let replaces = ["erstatter", "replaces"].iter().any(|word| why.contains(word));
            assert_eq!(replaces, expected.is_some(), "{zone}: {why}");
            assert!(expected.is_none_or(|expected| why.ends_with(expected)), "{zone}: {why}");
        }
    }
}

#[tokio::test]
async fn each_customer_hears_which_addresses_its_own_people_get_mail_from() {
    let exchange = "sub.dk MX 5 sub-dk.mail.protection.outlook.com";
    for mx in ["", exchange, "sub.dk MX 5 aspmx.l.google.com"] {
        let (report, table) = of_mailjet(mx, "sub.dk").await;
        for lang in BOTH {
            let said = report.check(Item::InternalMail).unwrap().findings.iter().map(|finding| lang.finding(finding));
            let texts =
                said.map(|text| text.what + &text.next).chain([mail(&table, lang), records::text(&table, lang)]);
            for text in texts {
                assert!(text.contains("Mailjets") || text.contains("Mailjet's"), "{text}");
                assert!(text.contains("spf.webcrm.com") && !text.contains("40.74.40.57"), "{text}");
            }
        }
    }
}

#[tokio::test]
async fn an_own_server_without_a_login_hears_that_it_has_to_let_our_address_send() {
    use postbud::route::{Login, LoginSecret};
    let password = || LoginSecret::Password("x".to_owned());
    for logs_in in [false, true] {
        let Via::OwnServer(route) = own_server("egen", "mail.sub.dk") else { unreachable!() };
        let mut route = (*route).clone();
        let login = Login::new("webcrm", password());
        route.login = logs_in.then_some(login);
        let customer = customer("egen", "Egen ApS", &["sub.dk"], Via::OwnServer(Arc::new(route)));
        let (report, table) = both(FixedZone::new(), &customer, "sub.dk").await;
        for (lang, relay) in
            [(Lang::Da, "webCRM logger ikke ind på mail.sub.dk"), (Lang::En, "does not log in at mail.sub.dk")]
        {
            for text in [report::text(&report, lang, false), mail(&table, lang), records::text(&table, lang)] {
                assert_eq!(text.contains(relay), !logs_in, "{text}");
                assert!(text.contains("40.74.40.57"), "{text}");
            }
        }
    }
}

#[tokio::test]
async fn an_international_name_is_shown_in_its_own_letters_and_typed_as_dns_holds_it() {
    let (report, table) = of_mailjet("xn--blbr-roah.dk SOA", "blåbær.dk").await;
    for lang in BOTH {
        let said = report::text(&report, lang, false);
        assert!(said.starts_with("blåbær.dk (xn--blbr-roah.dk) (test-as)\n"), "{said}");
        assert!(said.contains("_dmarc.blåbær.dk"), "{said}");
        let (subject, body) = lang.mail("x", std::slice::from_ref(&table));
        assert!(subject.contains("blåbær.dk"), "{subject}");
        assert!(body.contains("== blåbær.dk (xn--blbr-roah.dk) ==") && body.contains("http://blåbær.dk/"), "{body}");
        assert!(body.contains("Host:  _dmarc.xn--blbr-roah.dk\n"), "{body}");
        assert!(records::text(&table, lang).starts_with("blåbær.dk (xn--blbr-roah.dk): "));
    }
    for line in loaded(&table) {
        assert!(line.is_ascii() && line.contains("xn--blbr-roah.dk."), "{line}");
    }
}

#[tokio::test]
async fn a_from_domain_that_a_wildcard_answers_for_hears_so() {
    for (zone, is_wildcards) in [
        ("*.test.dk CNAME web.host.dk\nweb.host.dk TXT \"x\"", true),
        ("*.test.dk TXT \"v=spf1 include:spf.webcrm.com -all\"", true),
        ("*.test.dk MX 10 mail.test.dk", true),
        ("*.test.dk TXT \"a\"\n*.test.dk TXT \"b\"", true),
        ("*.test.dk TXT \"a\"\nnyhed.test.dk TXT \"b\"", false),
        ("*.test.dk MX 10 mail.test.dk\nnyhed.test.dk TXT \"b\"", false),
        ("nyhed.test.dk TXT \"v=spf1 mx -all\"", false),
        ("nyhed.test.dk CNAME web.host.dk\nweb.host.dk TXT \"x\"", false),
        ("test.dk TXT \"x\"", false),
        ("test.dk FAIL", false),
    ] {
        let (report, _) = of_mailjet(zone, "nyhed.test.dk").await;
        let check = report.check(Item::FromDomain).unwrap();
        let said = check.findings.iter().any(|finding| matches!(finding, Finding::FromDomainWildcard { .. }));
        assert_eq!(said, is_wildcards, "{zone}: {check:?}");
        assert!(check.severity() <= Severity::Hint);
    }
}

#[tokio::test]
async fn the_reason_for_a_dmarc_record_goes_by_its_policy_and_a_strict_one_waits_for_the_key() {
    let customer = customer("own", "Own A/S", &["test.dk"], own_server("own", "mail.test.dk"));
    for (published, policy) in [
        ("", "none"),
        ("v=DMARC1;\u{a0}p=none", "none"),
        ("v=DMARC1;\u{a0}p=quarantine", "quarantine"),
        ("v=DMARC1;\u{a0}p=reject", "reject"),
        ("v=DMARC1; p=reject; rua=mailto:a@test.dk; aspf=r; aspf=r", "reject"),
    ] {
        for has_key in [false, true] {
            let zone = FixedZone::new();
            if !published.is_empty() {
                zone.add_txt("_dmarc.test.dk", published);
            }
            if has_key {
                zone.add_txt("postbud1._domainkey.test.dk", &key_record("test.dk"));
            }
            let (report, table) = both(zone, &customer, "test.dk").await;
            let row = row(&table, Item::Dmarc);
            assert!(row.value.contains(&format!("p={policy}")) && !row.present, "{published}: {row:?}");
            let json = records::json(std::slice::from_ref(&table), Lang::En);
            let all = json[0]["rows"].as_array().unwrap();
            let shown = all.iter().find(|row| row["item"] == "dmarc").unwrap();
            let watches = policy == "none";
            for lang in BOTH {
                let only_watching =
                    ["changing nothing", "ændrer den ikke noget"].iter().any(|w| lang.why(&table, row).contains(w));
                assert_eq!(only_watching, watches, "{published}");
                let waits = mail(&table, lang).contains(&format!("p={policy}, "));
                assert_eq!(waits, !watches && !has_key, "{published}, {has_key}: {}", mail(&table, lang));
            }
            assert_eq!(!shown["notes"].as_array().unwrap().is_empty(), !watches && !has_key, "{shown}");
            let check = report.check(Item::Dmarc).unwrap();
            let said = check.findings.iter().any(|finding| matches!(finding, Finding::DmarcKeyFirst { .. }));
            assert_eq!(said, !watches && !has_key, "{check:?}");
        }
    }
}

#[tokio::test]
async fn what_was_repaired_in_a_record_stands_in_the_json_too() {
    let (_, table) = of_mailjet("test.dk TXT \"v=spf1 ip4: 203.0.113.7 -all\"", "test.dk").await;
    let remarks: Vec<String> = row(&table, Item::Spf).remarks(Lang::Da).collect();
    assert!(!remarks.is_empty());
    let json = records::json(std::slice::from_ref(&table), Lang::Da);
    let rows = json[0]["rows"].as_array().unwrap();
    let shown = rows.iter().find(|row| row["item"] == "spf").unwrap();
    assert_eq!(shown["notes"], serde_json::json!(remarks));
}

/// A zone that answers every question late.
struct Slow(FixedZone);

impl Resolver for Slow {
    fn query<'a>(&'a self, name: &'a str, record_type: RecordType) -> Lookup<'a> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_secs(9)).await;
            self.0.query(name, record_type).await
        })
    }
}

#[tokio::test(start_paused = true)]
async fn the_table_of_records_takes_no_longer_than_the_check() {
    let customer = customer("test-as", "Test A/S", &["nyhed.test.dk"], mailjet());
    let directory = directory(vec![customer.clone()]);
    for secs in [5, 20, 60] {
        let settings = Settings { check_time: Duration::from_secs(secs), ..Settings::default() };
        let zone =
            FixedZone::parse("nyhed.test.dk TXT \"v=spf1 include:a.dk -all\"\na.dk TXT \"v=spf1 -all\"").unwrap();
        let checker = checker(settings, Arc::new(Slow(zone)));
        let begun = tokio::time::Instant::now();
        let table = records::table(&checker, &directory, &customer, &domain("nyhed.test.dk"), Timestamp::EPOCH).await;
        assert!(begun.elapsed() <= Duration::from_secs(secs), "{secs}: {:?}", begun.elapsed());
        assert!(table.unknown || secs > 20, "{table:?}");
    }
}
