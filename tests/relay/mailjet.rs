//! What is left of our signature behind a server that rewrites mail the way Mailjet does, by two verifiers: mail-auth and
//! dkimpy. What `docs/onboarding.md` says of it rests on this.

use std::collections::BTreeMap;
use std::process::Command;

use postbud::dkim::verify::{Keys, verify};
use postbud::resolver::FixedZone;
use postbud::smtp::Domain;

use crate::support::client::{Client, queue_id};
use crate::support::mailjet::Mailjet;
use crate::support::relay::{Customer, PASSWORD, Site, USERNAME};
use crate::support::skip::skip;

const OURS: &str = "postbud1";
const THEIRS: &str = "mailjet";

/// Arguments: the message's file, and name and value of each record. Prints selector and verdict of each signature.
const DKIMPY: &str = r#"
import re, sys, dkim
records = dict(zip(sys.argv[2::2], sys.argv[3::2]))
mail = open(sys.argv[1], "rb").read()
selectors = re.findall(rb"(?im)^dkim-signature:(?:.|\n[ \t])*?\bs=([^;]+);", mail.replace(b"\r\n", b"\n"))
for index, selector in enumerate(selectors):
    lookup = lambda name, timeout=5: records[name.decode().rstrip(".")].encode()
    try:
        good = dkim.DKIM(mail).verify(idx=index, dnsfunc=lookup)
    except dkim.DKIMException:
        good = False
    print(selector.decode().strip(), good)
"#;

/// A relay with a tier that leads to `mailjet`, and a customer for each domain with these lines in `[route]`.
fn site(mailjet: &Mailjet, signing: &str, customers: &[(&str, &str)]) -> Site {
    let tier = format!(
        "{signing}\n[mailjet.starter]\nhost = \"{}\"\nport = {}\ntls = \"off\"\nallow_plaintext_auth = true\n\
         username = \"key\"\npassword_file = \"mailjet.secret\"\n",
        mailjet.address().ip(),
        mailjet.address().port(),
    );
    let site = Site::with(&[], &tier);
    std::fs::write(site.path("config/mailjet.secret"), "secret").unwrap();
    for (domain, route) in customers {
        let route = format!("via = \"mailjet\"\n{route}\n");
        site.add(&Customer { id: domain.split('.').next().unwrap(), domain, route });
    }
    site
}

/// An HTML mail with a link; `more` are further header lines.
fn newsletter(domain: &str, more: &str) -> Vec<u8> {
    format!(
        "From: Nyheder <nyt@{domain}>\r\nTo: <x@test.net>\r\nSubject: Tilbud\r\nDate: Mon, 23 Nov 2026 12:00:00 +0100\r\n\
         Message-ID: <1@webcrm.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/html; charset=us-ascii\r\n{more}\r\n\
         <html><body><a href=\"https://{domain}/\">Se her</a></body></html>\r\n"
    )
    .into_bytes()
}

/// Sends through the relay and the server behind it; which selectors' signatures verify, after both verifiers agreed.
fn survivors(site: &Site, mailjet: &Mailjet, count: usize, domain: &str, more: &str) -> BTreeMap<String, bool> {
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    queue_id(&client.send(&format!("nyt@{domain}"), &["x@test.net"], &newsletter(domain, more)).unwrap());
    let (mail, theirs) = mailjet.passed_on(count, &Domain::parse(domain).unwrap());
    let printed = site.operate(&["dkim", "record", domain.split('.').next().unwrap(), "--json"]);
    let ours: serde_json::Value = serde_json::from_slice(&printed.stdout).expect("dkim record --json is JSON");
    let records =
        [(ours[0]["name"].as_str().unwrap(), ours[0]["value"].as_str().unwrap()), (&theirs.name, &theirs.value)];

    let zone = FixedZone::new();
    records.iter().for_each(|(name, value)| zone.add_txt(name, value));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let verdicts = runtime.block_on(verify(&mail, Keys::Dns(&zone))).unwrap();
    assert!(verdicts.iter().all(|verdict| verdict.domain == domain), "{verdicts:?}");
    let found: BTreeMap<String, bool> =
        verdicts.into_iter().map(|verdict| (verdict.selector, verdict.result.is_ok())).collect();

    if dkimpy_is_there() {
        let file = site.path("passed-on.eml");
        std::fs::write(&file, &mail).unwrap();
        let arguments = records.iter().flat_map(|(name, value)| [name, value]);
        let output = Command::new("/usr/bin/python3").args(["-c", DKIMPY]).arg(&file).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let second: BTreeMap<String, bool> = text
            .lines()
            .map(|line| line.split_once(' ').unwrap())
            .map(|(selector, good)| (selector.to_owned(), good == "True"))
            .collect();
        assert_eq!(second, found, "dkimpy and mail-auth disagree on\n{}", String::from_utf8_lossy(&mail));
    }
    found
}

fn dkimpy_is_there() -> bool {
    let output = Command::new("/usr/bin/python3").args(["-c", "import dkim"]).output();
    output.is_ok_and(|output| output.status.success())
}

fn verdicts(ours: bool) -> BTreeMap<String, bool> {
    BTreeMap::from([(OURS.to_owned(), ours), (THEIRS.to_owned(), true)])
}

#[test]
fn behind_mailjet_only_its_own_signature_verifies() {
    if !dkimpy_is_there() {
        skip("behind_mailjet_only_its_own_signature_verifies", "python3-dkim is not installed; mail-auth alone judges");
    }
    let mailjet = Mailjet::start();
    let customers = [
        ("account.example", ""),
        ("clicks.example", "track_opens = false\n"),
        ("opens.example", "track_clicks = false\n"),
        // The body is left alone, but Message-ID is not, and it is signed.
        ("off.example", "track_opens = false\ntrack_clicks = false\n"),
    ];
    let site = site(&mailjet, "", &customers);
    let relay = site.start();
    for (sent, (domain, _)) in customers.iter().enumerate() {
        assert_eq!(survivors(&site, &mailjet, sent + 1, domain, ""), verdicts(false), "{domain}");
    }
    relay.stop();
}

#[test]
fn our_signature_passes_mailjet_where_it_covers_nothing_that_is_rewritten() {
    if !dkimpy_is_there() {
        let name = "our_signature_passes_mailjet_where_it_covers_nothing_that_is_rewritten";
        skip(name, "python3-dkim is not installed; mail-auth alone judges");
    }
    let mailjet = Mailjet::start();
    let without_message_id = "[dkim]\nsealed_headers = [\"From\", \"Reply-To\", \"Subject\", \"To\", \"Cc\", \"Date\", \
        \"MIME-Version\", \"Content-Type\", \"Content-Transfer-Encoding\"]\n";
    let off = "track_opens = false\ntrack_clicks = false\n";
    let site = site(&mailjet, without_message_id, &[("off.example", off), ("account.example", "")]);
    let relay = site.start();
    assert_eq!(survivors(&site, &mailjet, 1, "off.example", ""), verdicts(true));
    assert_eq!(survivors(&site, &mailjet, 2, "account.example", ""), verdicts(false), "the trackers change the body");
    let replaced = ["List-Unsubscribe: <https://off.example/u>\r\n", "Feedback-ID: 7:webcrm\r\n"];
    for (sent, field) in (3..).zip(replaced) {
        assert_eq!(survivors(&site, &mailjet, sent, "off.example", field), verdicts(false), "{field}");
    }
    relay.stop();
}
