//! One button: the customer goes to a provider that knows our template, confirms there, and comes back.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::rig::{BEFORE, Rig, SPF_BEFORE, Setup};
use crate::support::browser;

const TEMPLATE: &str = "/v2/domainTemplates/providers/webcrm.com/services/mail";

/// A provider that asks its customer, and tells `agreed` with which values the template is applied.
fn serve(stream: TcpStream, port: u16, agreed: &Sender<BTreeMap<String, String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first)?;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if header.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let target = first.split(' ').nth(1).unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let answer = if path == "/v2/test.dk/settings" {
        format!(
            "{{\"providerId\":\"stand-in\",\"providerName\":\"Stand & <b>In</b> DNS\",\"urlSyncUX\":\"http://dc.localhost:{port}/ui\",\
             \"urlAPI\":\"http://dc.localhost:{port}\"}}"
        )
    } else if path == TEMPLATE {
        "{}".to_owned()
    } else if path == format!("/ui{TEMPLATE}/apply") && first.starts_with("GET") {
        "<!doctype html><title>x</title><form method=post><button id=agree>Godkend</button></form>".to_owned()
    } else if path == format!("/ui{TEMPLATE}/apply") {
        let _ = agreed.send(url::form_urlencoded::parse(query.as_bytes()).into_owned().collect());
        "<!doctype html><title>x</title><p>Recordene er oprettet".to_owned()
    } else {
        String::new()
    };
    let status = if answer.is_empty() { "404 Not Found" } else { "200 OK" };
    let kind = if answer.starts_with('{') { "application/json" } else { "text/html; charset=utf-8" };
    (&stream).write_all(
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}",
            answer.len()
        )
        .as_bytes(),
    )
}

fn provider() -> (u16, Receiver<BTreeMap<String, String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (agreed, told) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let agreed = agreed.clone();
            // A browser that opens connections ahead and says nothing on them is no matter.
            std::thread::spawn(move || serve(stream, port, &agreed).unwrap_or_default());
        }
    });
    (port, told)
}

/// The zone as the provider has it afterwards: the groups that were asked for, by the template in `config/domain-connect/`.
fn applied(values: &BTreeMap<String, String>) -> String {
    let text = std::fs::read_to_string("config/domain-connect/webcrm.com.mail.json").unwrap();
    let template: serde_json::Value = serde_json::from_str(&text).unwrap();
    let groups: Vec<&str> = values["groupId"].split(',').collect();
    let filled = |text: &serde_json::Value| {
        let mut text = text.as_str().unwrap().to_owned();
        for (name, value) in values {
            text = text.replace(&format!("%{name}%"), value);
        }
        assert!(!text.contains('%'), "the link lacks a value: {text}: {values:?}");
        text
    };
    let mut zone = String::new();
    for record in template["records"].as_array().unwrap() {
        if !groups.contains(&record["groupId"].as_str().unwrap()) {
            continue;
        }
        let host = match filled(&record["host"]).as_str() {
            "@" => "test.dk.".to_owned(),
            host => format!("{host}.test.dk."),
        };
        zone += &match record["type"].as_str().unwrap() {
            // It merges the rules with the record that is there.
            "SPFM" => SPF_BEFORE.replace(" -all", &format!(" {} -all", filled(&record["spfRules"]))),
            "CNAME" => format!("{host} 60 IN CNAME {}.\n", filled(&record["pointsTo"]).trim_end_matches('.')),
            _ => {
                let value = filled(&record["data"]);
                let strings: Vec<String> =
                    value.as_bytes().chunks(255).map(|it| format!("\"{}\"", String::from_utf8_lossy(it))).collect();
                format!("{host} 60 IN TXT {}\n", strings.join(" "))
            }
        };
    }
    BEFORE.replace(SPF_BEFORE, "") + &zone
}

#[test]
fn one_button_creates_the_records_at_the_provider() {
    let (port, told) = provider();
    let setup = Setup {
        zone: &format!("{BEFORE}_domainconnect.test.dk. 60 IN TXT \"dc.localhost:{port}\"\n"),
        others: "dc.localhost. 60 IN A 127.0.0.1\n",
        http_port: Some(port),
        more: "[onboarding.domain_connect]\nprivate_key = \"../keys/domain-connect.pem\"\n",
        ..Setup::default()
    };
    let mut rig = Rig::with(&setup);
    let usual = browser::Setup::default();
    let Some(browser) = rig.browser("one_button_creates_the_records_at_the_provider", usual) else { return };
    let link = rig.link("test-as", &[]);
    browser.go(&link);
    browser.find("#connect");
    assert!(browser.text().contains("Stand & <b>In</b> DNS kan oprette recordene for jer"), "{}", browser.text());
    browser.is_sound("one button");
    browser.click("#connect a.button");
    browser.click("#agree");
    browser.wait_for_text("Recordene er oprettet");
    let values = told.recv().unwrap();
    assert_eq!(values["domain"], "test.dk");
    assert!(!values["sig"].is_empty() && values["key"] == "_dck1", "{values:?}");
    rig.publish(&applied(&values));
    browser.go(&link);
    rig.check_until(&browser, "all is in order", |page| page.contains("Alt er i orden"));
    assert!(browser.all("#connect").is_empty(), "there is nothing left to create");
    rig.site.wait_for_event("the tier has moved", |event| event["event"] == "domain.tier_moved");
}
