//! The whole path of a customer, with nothing typed at webCRM but its name and domain: added, sent a link, published by delegation from what
//! its page shows, checked there, verified against a real DNS server that takes dynamic updates, moved to the better tier, its first newsletter relayed and delivered, and its key changed
//! without it.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use postbud::dkim::verify::{Keys, verify};
use postbud::resolver::{Dns, Settings};
use postbud::time::Timestamp;
use serde_json::{Value, json};

use crate::capture::Capture;
use crate::client::Client;
use crate::http;
use crate::knot::TSIG;
use crate::mailjet_api::MailjetApi;
use crate::newcomer::{Relay, Site, WORLD, err, out};
use crate::ports::free_port;
use crate::rig::key_record;
use crate::skip::skip;

const NAME: &str = "from_a_name_and_a_domain_to_a_relayed_newsletter_and_a_changed_key";
const PATIENCE: Duration = Duration::from_secs(90);
/// The last part of the path that Mailjet's events come to, and the password there.
const SECRET: &str = "3f0c9a7e51d24b6f8a10";

/// webCRM's side: a listener, two tiers with Mailjet's API behind them, a place for Mailjet's events, a zone with keys that takes updates.
fn configuration(
    (submission, hooks, pages): (SocketAddr, SocketAddr, SocketAddr),
    mailjet: SocketAddr,
    api: &str,
    dns: SocketAddr,
) -> String {
    let tier = |name: &str, more: &str| {
        format!(
            "[mailjet.{name}]\napi = \"{api}\"\nhost = \"{}\"\nport = {}\ntls = \"off\"\nallow_plaintext_auth = true\nusername = \"key-{name}\"\n\
             password_file = \"secrets/mailjet\"\n{more}\n",
            mailjet.ip(),
            mailjet.port()
        )
    };
    format!(
        "hostname = \"out.webcrm.com\"\nstate_dir = \"../state\"\ncustomers_dir = \"customers\"\n\
         [[listener]]\naddress = \"{submission}\"\ntls = \"off\"\nauth = \"off\"\nallow_from = [\"127.0.0.0/8\"]\n\
         [egress]\naddress = \"40.74.40.57\"\nbind = \"127.0.0.1\"\n[events]\nlog = \"../state/events.jsonl\"\n\
         [returns.mailjet]\naddress = \"{hooks}\"\nurl = \"http://localhost\"\ntls = \"off\"\nsecret_file = \"secrets/hooks\"\nusername = \"mailjet\"\n\
         password_file = \"secrets/hooks\"\n{}{}[dns]\nservers = [\"{dns}\"]\nlongest_ttl = \"1s\"\nlongest_negative_ttl = \"1s\"\n\
         [onboarding]\ncheck_every_while_incomplete = \"1s\"\ncheck_every = \"1s\"\nrotation_overlap = \"1s\"\nhttp_timeout = \"1s\"\nbulk = \"refuse\"\n\
         [dkim.delegation]\nzone = \"keys.example\"\nttl = \"1s\"\nserver = \"{dns}\"\ntsig_key = \"postbud\"\n\
         tsig_secret_file = \"secrets/tsig\"\n\
         [pages.customers]\naddress = \"{pages}\"\nurl = \"http://{pages}\"\ntls = \"off\"\n",
        tier("starter", ""),
        tier("trusted", "requires = [\"ownership\", \"spf\", \"dkim\"]"),
    )
}

fn events(site: &Site) -> Vec<Value> {
    let log = fs::read_to_string(site.file("state/events.jsonl")).unwrap_or_default();
    log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn wait<T>(site: &Site, what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        let log = || fs::read_to_string(site.file("relay.log")).unwrap_or_default();
        assert!(Instant::now() < end, "{what}\n{:#?}\n{}", events(site), log());
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A newsletter of the customer's, as webCRM submits it. Returns the reply.
fn newsletter(submission: SocketAddr, subject: &str) -> String {
    let mut client = Client::connect(submission).unwrap();
    client.say("EHLO webcrm").unwrap();
    let content = format!(
        "From: Test A/S <news@test.dk>\r\nTo: <anna@example.net>\r\nSubject: {subject}\r\nDate: Sun, 29 Nov 2026 08:00:00 +0000\r\n\
         Message-ID: <{subject}@test.dk>\r\nPrecedence: bulk\r\nList-Unsubscribe: <https://app.webcrm.com/u/1>\r\n\
         List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\r\nHello\r\n"
    );
    client.send("news@test.dk", &["anna@example.net"], content.as_bytes()).unwrap()
}

#[test]
fn from_a_name_and_a_domain_to_a_relayed_newsletter_and_a_changed_key() {
    let Some(mut site) = Site::new(WORLD) else { return skip(NAME, "knot is not installed") };
    let (server, submission) = (Capture::start(), free_port("127.0.0.1"));
    let api = MailjetApi::start(&["key-starter", "key-trusted"], &key_record("test.dk").replace("v=DKIM1; ", ""));
    let (hooks, pages) = (free_port("127.0.0.1"), free_port("127.0.0.1"));
    let config = configuration((submission, hooks, pages), server.address, &api.url, site.knot.address);
    fs::write(site.file("config/postbud.toml"), config).unwrap();
    fs::write(site.file("config/secrets/tsig"), TSIG).unwrap();
    fs::write(site.file("config/secrets/hooks"), SECRET).unwrap();
    let relay = Relay::start(&site);

    // All that is typed.
    let added =
        site.run(&["customer", "add", "test-as", "--name", "Test A/S", "--domain", "test.dk", "--via", "mailjet"], "");
    assert!(added.status.success(), "{}{}", out(&added), err(&added));
    assert!(err(&added).contains("its key is in webCRM's zone"), "{}", err(&added));
    let refused = newsletter(submission, "too-early");
    assert!(refused.starts_with("550"), "{refused}");

    // The customer opens the link that webCRM sends, publishes the lines that stand there, as they stand there, and nothing else.
    let made = site.run(&["customer", "link", "test-as", "--language", "en", "--json"], "");
    let link: Value = serde_json::from_slice(&made.stdout).unwrap_or_else(|error| panic!("{error}: {}", err(&made)));
    let page = Page::at(pages, link["url"].as_str().unwrap());
    let lines = wait(&site, "the records are on the page", || page.zone_lines());
    let records: String = lines.lines().filter(|line| !line.starts_with(';')).map(|line| format!("{line}\n")).collect();
    assert!(records.contains("IN CNAME postbud-a.test.dk.keys.example."), "{lines}");
    assert!(!records.contains("v=DKIM1; k=rsa; p=") || records.contains("mailjet._domainkey"), "{records}");
    site.knot.publish(&format!("{WORLD}{records}"));
    ["key-starter", "key-trusted"].iter().for_each(|key| api.publish(key, "test.dk"));
    wait(&site, "the page says that everything is in order", || {
        page.checked().contains("Everything is in order").then_some(())
    });

    // The relay knows it, and moves the customer to the better tier.
    wait(&site, "the domain is verified", || {
        let check = site.run(&["domain", "check", "test-as", "--json"], "");
        let report: Value = serde_json::from_str(&out(&check)).ok()?;
        let is_required = |check: &&Value| check["need"] == "required";
        let checks = report[0]["checks"].as_array()?;
        checks
            .iter()
            .filter(is_required)
            .all(|check| check["severity"] != "fault" && check["severity"] != "unknown")
            .then_some(())
    });
    let relayed = wait(&site, "a newsletter leaves through the better tier", || {
        let subject = format!("n{}", events(&site).len());
        let reply = newsletter(submission, &subject);
        if !reply.starts_with("250") {
            return None;
        }
        let id = reply.rsplit(' ').next()?.trim().to_owned();
        let relayed = wait(&site, "the newsletter is relayed", || {
            events(&site).into_iter().find(|event| event["event"] == "relayed" && event["queue_id"] == id.as_str())
        });
        (relayed["route"] == "mailjet.trusted").then_some(relayed)
    });
    assert_eq!(relayed["customer"], "test-as");
    let last = |server: &Capture| String::from_utf8_lossy(server.received().last().unwrap().header()).into_owned();
    assert!(last(&server).contains("s=postbud-a;"), "{}", last(&server));
    assert!(verifies(&site, &server));

    // Mailjet says that the recipient's server took it.
    let id = relayed["queue_id"].as_str().unwrap();
    bring(
        hooks,
        &json!({
            "event": "sent", "time": Timestamp::now().as_secs(), "MessageID": 19_421_777_835_146_490u64, "email": "anna@example.net",
            "CustomID": "", "Payload": id, "smtp_reply": "sent (250 2.0.0 OK)"
        }),
    );
    let delivered = wait(&site, "the newsletter is delivered", || {
        events(&site).into_iter().find(|event| event["event"] == "delivered" && event["queue_id"] == id)
    });
    assert_eq!((&delivered["recipient"], &delivered["route"]), (&json!("anna@example.net"), &json!("mailjet.trusted")));

    // The key changes at a command, and the customer publishes nothing.
    let rotated = wait(&site, "the other selector signs", || {
        site.run(&["dkim", "rotate", "test-as", "--leaked"], "");
        let file = fs::read_to_string(site.file("config/customers/test-as.toml")).unwrap();
        file.contains("selector = \"postbud-b\"").then_some(file)
    });
    assert!(!rotated.contains("postbud-a\""), "{rotated}");
    // The command says that the relay has to read its files again.
    let told = Command::new("kill").args(["-HUP", &relay.0.id().to_string()]).status().unwrap();
    assert!(told.success());
    let count = server.received().len();
    wait(&site, "mail is signed with the new key", || {
        assert!(newsletter(submission, "after").starts_with("250"));
        server.wait_for(count + 1, Duration::from_secs(20));
        last(&server).contains("s=postbud-b;").then_some(())
    });
    assert!(verifies(&site, &server));
    drop(relay);
}

/// The customer's page, used as without scripts.
struct Page {
    pages: SocketAddr,
    path: String,
}

impl Page {
    fn at(pages: SocketAddr, link: &str) -> Self {
        Page { pages, path: format!("{}/test.dk", &link[link.find("/link/").expect("a link")..]) }
    }

    fn ask(&self, method: &str, path: &str, body: Option<&str>) -> http::Answer {
        // A link gets a request back every second.
        std::thread::sleep(Duration::from_secs(1));
        let kind = [("Content-Type", "application/x-www-form-urlencoded")];
        let request = http::request(method, path, &self.pages.to_string(), &kind, body);
        http::raw(self.pages, request.as_bytes())
    }

    /// The records as lines of a zone file, once the domain was looked at.
    fn zone_lines(&self) -> Option<String> {
        let page = self.ask("GET", &self.path, None).body;
        let (_, rest) = page.split_once("id=\"zone-lines\"")?;
        let text = rest.split_once('>')?.1.split("</pre>").next()?;
        Some(text.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    }

    /// Presses "check now" where the page has the button, and gives what the page says before it has an answer.
    fn checked(&self) -> String {
        let page = self.ask("GET", &self.path, None);
        let check = format!("{}/check", self.path);
        let form = format!("action=\"{check}\"");
        // While a look runs, there is no button.
        if page.body.contains(&form) {
            let pressed = self.ask("POST", &check, Some(&format!("form={}", page.code(&form))));
            assert_eq!(pressed.status, 303, "{pressed:?}");
        }
        page.body
    }
}

/// Brings an event as Mailjet does.
fn bring(hooks: SocketAddr, event: &Value) {
    let body = event.to_string();
    let login = BASE64_STANDARD.encode(format!("mailjet:{SECRET}"));
    let head = format!(
        "POST /mailjet/{SECRET} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAuthorization: Basic {login}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let answer = http::text(hooks, head.as_bytes()).expect("the endpoint is there");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// Returns true if our signature of the last mail verifies with what DNS has now.
fn verifies(site: &Site, server: &Capture) -> bool {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let settings = Settings { servers: vec![site.knot.address], longest_ttl: Duration::ZERO, ..Settings::default() };
    let received = server.received();
    let content = &received.last().unwrap().content;
    runtime.block_on(async {
        let checks = verify(content, Keys::Dns(&Dns::new(&settings).unwrap())).await.unwrap();
        checks.iter().any(|check| check.domain == "test.dk" && check.result.is_ok())
    })
}
