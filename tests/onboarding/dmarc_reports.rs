//! DMARC reports as an operator meets them: imported from a maildir, while a relay runs and without one, and asked for what they say.

use std::fs;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use crate::newcomer::{Relay, Site, WORLD, err, out};
use crate::skip::skip;

const DAY: u64 = 86_400;
const POLICY: &str = "_dmarc.test.dk. 60 IN TXT \"v=DMARC1; p=none; rua=mailto:dmarc@reports.webcrm.com\"\n";
const PERMISSION: &str = "*._report._dmarc.reports.webcrm.com. 60 IN TXT \"v=DMARC1;\"\n";

/// A report on one whole day, so many days ago: 100 messages through Mailjet that pass, 5 of Microsoft 365 that pass, and what fails.
fn report(reporter: &str, domain: &str, days_ago: u64, failing: u64) -> String {
    let today = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / DAY;
    let begins = (today - days_ago) * DAY;
    let record = |ip: &str, count: u64, result: &str, signer: &str| {
        format!(
            "<record><row><source_ip>{ip}</source_ip><count>{count}</count><policy_evaluated><disposition>none</disposition><dkim>{result}</dkim>\
             <spf>fail</spf></policy_evaluated></row><identifiers><header_from>{domain}</header_from></identifiers><auth_results><dkim>\
             <domain>{domain}</domain><selector>{signer}</selector><result>{result}</result></dkim></auth_results></record>"
        )
    };
    format!(
        "<?xml version=\"1.0\"?><feedback><report_metadata><org_name>{reporter}</org_name><report_id>{days_ago}</report_id><date_range>\
         <begin>{begins}</begin><end>{}</end></date_range></report_metadata><policy_published><domain>{domain}</domain><p>none</p></policy_published>\
         {}{}{}</feedback>",
        begins + DAY - 1,
        record("87.253.233.7", 100, "pass", "mailjet"),
        record("40.107.1.2", 5, "pass", "selector1"),
        if failing > 0 { record("198.51.100.9", failing, "fail", "x") } else { String::new() },
    )
}

fn mail(xml: &str) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(xml.as_bytes()).unwrap();
    let body = BASE64_STANDARD.encode(packer.finish().unwrap());
    format!(
        "From: reports@receiver.example\r\nTo: dmarc@reports.webcrm.com\r\nSubject: Report domain: test.dk\r\n\
         Content-Type: application/gzip\r\nContent-Transfer-Encoding: base64\r\n\r\n{body}\r\n"
    )
    .into_bytes()
}

fn site(zone: &str) -> Option<Site> {
    let site = Site::new(&format!("{WORLD}{zone}"))?;
    let file = site.file("config/postbud.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}\n[returns.dmarc]\naddress = \"dmarc@reports.webcrm.com\"\n")).unwrap();
    let added =
        site.run(&["customer", "add", "test-as", "--name", "Test A/S", "--domain", "test.dk", "--via", "mailjet"], "");
    assert!(added.status.success(), "{}", err(&added));
    Some(site)
}

fn told(site: &Site) -> Value {
    let found = site.run(&["dmarc", "report", "test-as", "--json"], "");
    assert!(found.status.success(), "{}", err(&found));
    serde_json::from_slice::<Value>(&found.stdout).unwrap()[0].clone()
}

#[test]
fn from_a_maildir_to_the_next_policy() {
    let Some(site) = site(&format!("{POLICY}{PERMISSION}")) else {
        return skip("from_a_maildir_to_the_next_policy", "knot is not installed");
    };
    for folder in ["cur", "new", "tmp"] {
        fs::create_dir_all(site.file(&format!("Maildir/{folder}"))).unwrap();
    }
    for days_ago in 1..=28 {
        for reporter in ["google.com", "Outlook.com"] {
            let name = format!("Maildir/cur/{days_ago}.{reporter}:2,S");
            fs::write(site.file(&name), mail(&report(reporter, "test.dk", days_ago, 0))).unwrap();
        }
    }

    // Nothing is known yet.
    let before = site.run(&["dmarc", "report", "test-as"], "");
    assert!(
        out(&before).contains("No reports have come.") && out(&before).contains("not safe yet"),
        "{}",
        out(&before)
    );

    let taken = site.run(&["dmarc", "import", "Maildir"], "");
    assert!(taken.status.success(), "{} {}", out(&taken), err(&taken));
    assert!(out(&taken).starts_with("56 reports taken (0 with repairs), 0 duplicates, 0 refused"), "{}", out(&taken));
    let again = site.run(&["dmarc", "import", "Maildir", "--json"], "");
    assert!(again.status.success(), "{}", err(&again));
    let last: Value = serde_json::from_str(out(&again).lines().last().unwrap()).unwrap();
    assert_eq!((&last["taken"], &last["duplicates"], &last["refused"]), (&0.into(), &56.into(), &0.into()));
    let notes = fs::read_dir(site.file("state/audit")).unwrap();
    let notes: Vec<String> = notes.map(|note| fs::read_to_string(note.unwrap().path()).unwrap()).collect();
    assert_eq!(notes.iter().filter(|note| note.contains("dmarc.import")).count(), 1, "{notes:?}");

    let json = told(&site);
    assert_eq!((&json["all"]["messages"], &json["ours"]["messages"]), (&(28 * 210).into(), &(28 * 200).into()));
    assert_eq!(json["policy"]["verdict"], "safe");
    let record = "v=DMARC1; p=quarantine; rua=mailto:dmarc@reports.webcrm.com; t=y";
    assert_eq!(json["policy"]["record"], record);
    let text = out(&site.run(&["dmarc", "report", "test-as", "--lang", "da"], ""));
    for part in ["5.880 mails", "95,2 %", "Microsoft 365", record, "sikker nu"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let check = out(&site.run(&["domain", "check", "test-as"], ""));
    assert!(check.contains("By the reports, the next DMARC policy is safe now: p=quarantine; t=y."), "{check}");

    let plotted = site.run(&["dmarc", "plot", "test-as", "-o", "test.dk.svg"], "");
    assert!(plotted.status.success(), "{}", err(&plotted));
    let picture = fs::read_to_string(site.file("test.dk.svg")).unwrap();
    assert!(picture.starts_with("<svg") && picture.contains("In all 5,880 messages"), "{picture}");

    // A stranger that is seen day after day has to be known by somebody.
    for days_ago in 1..=4 {
        let taken = site.run(&["dmarc", "import", "-"], &report("mail.example", "test.dk", days_ago, 9));
        assert!(taken.status.success(), "{}", err(&taken));
    }
    assert_eq!(told(&site)["policy"]["verdict"], "safe");
    for days_ago in 1..=28 {
        site.run(&["dmarc", "import", "-"], &report("other.example", "test.dk", days_ago, 9));
    }
    let json = told(&site);
    assert_eq!(
        (&json["policy"]["verdict"], &json["policy"]["senders"][0]),
        (&"safe-unless".into(), &"198.51.100.0/24".into())
    );
}

#[test]
fn what_is_refused_is_named_and_a_running_relay_sees_what_is_imported_beside_it() {
    let Some(site) = site(POLICY) else {
        let name = "what_is_refused_is_named_and_a_running_relay_sees_what_is_imported_beside_it";
        return skip(name, "knot is not installed");
    };
    let relay = Relay::start(&site);
    fs::create_dir(site.file("reports")).unwrap();
    let whole = report("google.com", "test.dk", 2, 0);
    for (name, octets) in [
        ("a.xml", whole.clone().into_bytes()),
        ("b.xml", report("google.com", "stranger.dk", 2, 0).into_bytes()),
        ("c.eml", b"Subject: hello\n\nno report\n".to_vec()),
        ("d.zip", b"PK\x05\x06\0\0\0\0".to_vec()),
        ("e.xml", report("cut.example", "test.dk", 2, 0).split_once("</feedback>").unwrap().0.as_bytes().to_vec()),
        ("f.xml", b"<html></html>".to_vec()),
    ] {
        fs::write(site.file(&format!("reports/{name}")), octets).unwrap();
    }
    let imported = site.run(&["dmarc", "import", "reports"], "");
    assert_eq!(imported.status.code(), Some(1));
    assert!(
        out(&imported).starts_with("2 reports taken (1 with repairs), 0 duplicates, 4 refused"),
        "{}",
        out(&imported)
    );
    for reason in [
        "reports/b.xml: refused: it is about stranger.dk, and no configured customer has this domain",
        "reports/c.eml: refused: the mail has no report attached",
        "reports/d.zip: refused: the archive is empty",
        "reports/e.xml: taken with repairs: broken off; what was complete is taken",
        "reports/f.xml: refused: it is no DMARC report: it begins with <html>",
    ] {
        assert!(err(&imported).contains(reason), "{reason}: {}", err(&imported));
    }
    assert_eq!(told(&site)["reports"], 2);
    let missing = site.run(&["dmarc", "import", "nowhere"], "");
    assert!(missing.status.code() == Some(1) && err(&missing).contains("cannot read nowhere"), "{}", err(&missing));

    // webCRM's own record is missing, and whose part that is, is said.
    let zone = site.run(&["dmarc", "zone"], "");
    assert_eq!(zone.status.code(), Some(1));
    assert!(out(&zone).contains("*._report._dmarc.reports.webcrm.com. 3600 IN TXT \"v=DMARC1;\""), "{}", out(&zone));
    assert!(out(&zone).contains("; test.dk: missing"), "{}", out(&zone));
    let check = out(&site.run(&["domain", "check", "test-as"], ""));
    assert!(
        check.contains("webCRM's zone lacks the TXT record at test.dk._report._dmarc.reports.webcrm.com"),
        "{check}"
    );
    let unknown = site.run(&["dmarc", "report", "test-as", "--domain", "other.dk"], "");
    assert!(err(&unknown).contains("Its domains are: test.dk"), "{}", err(&unknown));
    drop(relay);
}
