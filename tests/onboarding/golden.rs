//! Every output for people and machines, against files that a reader can check. `UPDATE_GOLDEN=1` writes them anew.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use postbud::onboarding::records::{self, RecordTable};
use postbud::onboarding::rotation::RotationStep;
use postbud::onboarding::{Lang, MailjetRecords, Settings, report};
use postbud::resolver::{self, FixedZone, RecordType};
use postbud::smtp::Mailbox;
use postbud::time::Timestamp;

use crate::rig::{checker, customer, directory, domain, key_record, mailjet, own_server};

const NOW: Timestamp = Timestamp::from_millis(1_795_458_240_000);

const ZONE: &str = r#"
spf.webcrm.com TXT "v=spf1 ip4:40.74.40.57 include:spf.mailjet.com -all"
spf.mailjet.com TXT "v=spf1 ip4:87.253.232.0/21 -all"
test.dk TXT "v=spf1 ip4:111.222.333.444 include:spf.protection.outlook.com -all include:spf.webcrm.com"
spf.protection.outlook.com TXT "v=spf1 ip4:192.0.2.0/24 -all"
test.dk SOA
test.dk MX 10 test-dk.mail.protection.outlook.com
test-dk.mail.protection.outlook.com A 192.0.2.25
dmarc.test.dk TXT "v=DMARC1; p=none; pct=100"
postbud1._domainkey.test.dk.test.dk TXT "KEY"
egenserver.dk SOA
egenserver.dk MX 10 mail.egenserver.dk
mail.egenserver.dk A 192.0.2.80
_dmarc.egenserver.dk TXT "v=DMARC1; p=quarantine; rua=mailto:dmarc@egenserver.dk"
nyt.egenserver.dk FAIL
"#;

fn compare(name: &str, actual: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/onboarding").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        return std::fs::write(&path, actual).expect("the golden files can be written");
    }
    let expected =
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}; run with UPDATE_GOLDEN=1"));
    assert_eq!(actual, expected, "{name} differs; run with UPDATE_GOLDEN=1 and look at the change");
}

fn settings() -> Settings {
    let mut settings = Settings {
        http_timeout: Duration::from_millis(200),
        rua: Mailbox::parse("dmarc@reports.webcrm.com").ok(),
        ..Settings::default()
    };
    settings.mailjet.insert(
        domain("test.dk"),
        MailjetRecords {
            ownership: Some("b68ecbf07a1f5b307e60f73762b343b4".to_owned()),
            dkim: Some(key_record("test.dk").replace("v=DKIM1; ", "")),
        },
    );
    settings
}

struct All {
    test_report: postbud::onboarding::Report,
    egen_report: postbud::onboarding::Report,
    test: RecordTable,
    egen: Vec<RecordTable>,
}

fn all() -> All {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let test = customer("test-as", "Test A/S", &["test.dk"], mailjet());
        let egen = customer(
            "egen-server",
            "Egen Server ApS",
            &["egenserver.dk", "nyt.egenserver.dk"],
            own_server("egen-server", "mail.egenserver.dk"),
        );
        let directory = directory(vec![test.clone(), egen.clone()]);
        let zone = FixedZone::parse(&ZONE.replace("KEY", &key_record("test.dk"))).unwrap();
        let checker = checker(settings(), Arc::new(zone));
        let mut tables = Vec::new();
        for name in ["egenserver.dk", "nyt.egenserver.dk"] {
            tables.push(records::table(&checker, &directory, &egen, &domain(name), NOW).await);
        }
        All {
            test_report: checker.check(&directory, &test, &domain("test.dk"), NOW).await,
            egen_report: checker.check(&directory, &egen, &domain("egenserver.dk"), NOW).await,
            test: records::table(&checker, &directory, &test, &domain("test.dk"), NOW).await,
            egen: tables,
        }
    })
}

#[test]
fn every_output_reads_as_it_did() {
    let all = all();
    for lang in [Lang::Da, Lang::En] {
        compare(&format!("check-mailjet.{lang}.txt"), &report::text(&all.test_report, lang, false));
        compare(&format!("check-own-server.{lang}.txt"), &report::text(&all.egen_report, lang, true));
        compare(&format!("check-mailjet.{lang}.json"), &format!("{:#}\n", report::json(&all.test_report, lang)));
        compare(&format!("records-mailjet.{lang}.txt"), &records::text(&all.test, lang));
        compare(&format!("records-mailjet.{lang}.zone"), &records::zone(&all.test, lang));
        let own: String = all.egen.iter().map(|table| records::text(table, lang)).collect();
        compare(&format!("records-own-server.{lang}.txt"), &own);
        let (subject, body) = lang.mail("Test A/S", std::slice::from_ref(&all.test));
        compare(&format!("mail-mailjet.{lang}.txt"), &format!("Subject: {subject}\n\n{body}"));
        let (subject, body) = lang.mail("Egen Server ApS", &all.egen);
        compare(&format!("mail-own-server.{lang}.txt"), &format!("Subject: {subject}\n\n{body}"));
        let text = |text: &str| text.to_owned();
        let hosts = |number| ["nyt.test.dk", "test.dk"].map(|at| format!("postbud{number}._domainkey.{at}")).to_vec();
        let steps: String = [
            RotationStep::Publish { hosts: hosts(2), value: text("v=DKIM1; k=rsa; p=…") },
            RotationStep::Waiting { hosts: hosts(2) },
            RotationStep::InZone { selector: text("postbud-b") },
            RotationStep::PublishZone {
                lines: vec![text("postbud-b.test.dk.dkim.webcrm.com. 300 IN TXT \"v=DKIM1; k=rsa; p=…\"")],
            },
            RotationStep::Settling { until: NOW.to_string() },
            RotationStep::Unanswered {
                reason: resolver::Error::Timeout {
                    name: text("postbud2._domainkey.test.dk"),
                    record_type: RecordType::Txt,
                },
            },
            RotationStep::Switched {
                selector: text("postbud2"),
                file: text("config/customers/test-as.toml"),
                taken: false,
            },
            RotationStep::StillSigning { selector: text("postbud1") },
            RotationStep::NotSeen { selector: text("postbud2") },
            RotationStep::Overlap { until: NOW.to_string() },
            RotationStep::Revoke { hosts: hosts(1) },
            RotationStep::StillQueued { customer: text("test-as") },
            RotationStep::QueueNotSeen,
            RotationStep::Done { selector: text("postbud2"), old_file: Some(text("keys/test.dk.pem")) },
            RotationStep::Done { selector: text("postbud2"), old_file: None },
        ]
        .iter()
        .map(|step| lang.rotation(step) + "\n\n")
        .collect();
        compare(&format!("rotation.{lang}.txt"), &steps);
    }
    compare("records-mailjet.json", &format!("{:#}\n", serde_json::to_value(&all.test).unwrap()));
}

#[test]
fn what_we_tell_customers_repeats_none_of_the_guides_mistakes() {
    let all = all();
    for lang in [Lang::Da, Lang::En] {
        for text in [
            records::zone(&all.test, lang),
            lang.mail("Test A/S", std::slice::from_ref(&all.test)).1,
            records::text(&all.test, lang),
        ] {
            // The customer's own broken term may be quoted as left out, never proposed.
            let proposed: Vec<&str> = text.lines().filter(|line| line.contains("v=spf1")).collect();
            assert_eq!(proposed.len(), 1, "one SPF record: {text}");
            assert!(!proposed[0].contains("111.222.333.444"), "{text}");
            for wrong in ["*dmarc", "pct=", "mailjet_b68ecbf0"] {
                assert!(!text.contains(wrong), "{wrong} in {text}");
            }
            assert!(text.contains("mailjet._b68ecbf0.test.dk") && text.contains("_dmarc.test.dk"), "{text}");
        }
    }
}
