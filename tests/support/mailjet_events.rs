//! Mailjet's side of its events. It accepts mail over SMTP and names it in its reply. It sends events to the relay as its documentation
//! describes, singly or grouped, and repeats them until it gets 200.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::capture::{Capture, Received};
use super::client::{Client, queue_id};
use super::http;
use super::relay::{Customer, PASSWORD, Site, USERNAME, free_port};

/// The last part of the path of the endpoint.
pub const SECRET: &str = "3f0c9a7e51d24b6f8a10";
/// The name and the password of the endpoint.
pub const LOGIN: &str = "mailjet:twelve characters";

/// Mailjet's SMTP server, which puts a GUID for each message into its reply.
pub struct Smtp {
    /// The received mail.
    pub capture: Capture,
}

impl Smtp {
    /// Starts the server.
    pub fn start() -> Smtp {
        let number = AtomicU64::new(1);
        let script = move |line: &str| {
            (line == ".").then(|| format!("250 OK queued as {}", guid(number.fetch_add(1, Ordering::SeqCst))))
        };
        Smtp { capture: Capture::scripted("127.0.0.1:0", Box::new(script)) }
    }

    /// Returns the `[mailjet.trusted]` of a relay whose mail is sent there, with further lines.
    pub fn tier(&self, more: &str) -> String {
        let (ip, port) = (self.capture.address.ip(), self.capture.address.port());
        format!(
            "[mailjet.trusted]\nhost = \"{ip}\"\nport = {port}\ntls = \"off\"\nallow_plaintext_auth = true\nusername = \"key\"\n\
             password_file = \"mailjet.secret\"\n{more}\n"
        )
    }
}

/// Returns the GUID of the message with this number.
pub fn guid(number: u64) -> String {
    format!("1ab23cd4-e567-8901-2345-{number:012x}")
}

/// A relay whose mail goes to Mailjet, with an endpoint for its events.
pub struct Rig {
    pub site: Site,
    pub smtp: Smtp,
    /// The address of the endpoint for events.
    pub endpoint: SocketAddr,
}

impl Rig {
    /// Starts it with further lines in `[returns.mailjet]`, in the tier, and at the end of the customer's file.
    pub fn new(returns: &str, tier: &str, customer: &str) -> Rig {
        let (smtp, endpoint) = (Smtp::start(), free_port());
        let site = Site::with(&[], &format!("{}{}", smtp.tier(tier), section(endpoint, returns)));
        std::fs::write(site.path("config/mailjet.secret"), "secret").unwrap();
        std::fs::write(site.path("config/events.secret"), SECRET).unwrap();
        std::fs::write(site.path("config/events.password"), LOGIN.split_once(':').unwrap().1).unwrap();
        // The domain is registered by hand, so every tier accepts its mail.
        let route = format!("via = \"mailjet\"\n{customer}\n[mailjet.\"news.example\"]\n");
        site.add(&Customer { id: "news", domain: "news.example", route });
        Rig { site, smtp, endpoint }
    }

    /// Submits a mail with further header lines to one recipient, and waits until Mailjet has accepted it. Returns its queue id.
    pub fn send(&self, to: &str, fields: &str) -> String {
        let mut client = Client::login(self.site.smtp, USERNAME, PASSWORD).unwrap();
        let mail = format!("From: <nyt@news.example>\r\nTo: <{to}>\r\nSubject: x\r\n{fields}\r\nhello\r\n");
        let id = queue_id(&client.send("nyt@news.example", &[to], mail.as_bytes()).unwrap()).to_owned();
        self.wait_for("relayed", &id);
        id
    }

    /// Waits for an event of a mail.
    pub fn wait_for(&self, kind: &str, id: &str) -> Value {
        self.site.wait_for_event(kind, |event| event["event"] == kind && event["queue_id"] == id)
    }

    /// Returns the events of a mail, in the order of the log.
    pub fn told(&self, id: &str) -> Vec<String> {
        let of = |event: &Value| event["queue_id"] == id;
        self.site
            .events()
            .iter()
            .filter(|event| of(event))
            .map(|event| event["event"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Returns the received message with this queue id in its payload.
    pub fn received(&self, id: &str) -> Received {
        let is_it =
            |mail: &Received| String::from_utf8_lossy(mail.header()).contains(&format!("X-MJ-EventPayload: {id}"));
        self.smtp.capture.received().into_iter().find(is_it).expect("Mailjet has the mail")
    }

    /// Sends a body of events. Returns the status.
    pub fn post(&self, body: &Value) -> u16 {
        self.try_post(body.to_string().as_bytes()).expect("the endpoint answers")
    }

    /// Does the same with octets. Returns `None` if the connection broke before the answer.
    pub fn try_post(&self, body: &[u8]) -> Option<u16> {
        post(self.endpoint, "POST", &format!("/mailjet/{SECRET}"), Some(LOGIN), body).map(|(status, _)| status)
    }

    /// Sends a body of events as Mailjet does: again and again until the answer is 200. Returns what it heard before; `None` for a
    /// connection that broke.
    pub fn deliver(&self, body: &Value) -> Vec<Option<u16>> {
        let patience = std::time::Instant::now() + Duration::from_secs(60);
        let mut heard = Vec::new();
        loop {
            match self.try_post(body.to_string().as_bytes()) {
                Some(200) => return heard,
                other => heard.push(other),
            }
            assert!(std::time::Instant::now() < patience, "the endpoint does not take the events: {heard:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until the value of a metric fits.
    pub fn wait_for_metric(&self, line: &str, fits: impl Fn(f64) -> bool) {
        let patience = std::time::Instant::now() + Duration::from_secs(20);
        loop {
            let page = super::relay::get(self.site.web, "/metrics");
            let found = page.lines().find_map(|it| it.strip_prefix(line)?.strip_prefix(' ')?.parse().ok());
            if found.is_some_and(&fits) {
                return;
            }
            assert!(std::time::Instant::now() < patience, "{line} is {found:?}:\n{page}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Returns `[returns.mailjet]` with this address and further lines.
pub fn section(endpoint: SocketAddr, more: &str) -> String {
    format!(
        "[returns.mailjet]\naddress = \"{endpoint}\"\nurl = \"http://localhost:{}\"\ntls = \"off\"\nsecret_file = \"events.secret\"\n\
         username = \"mailjet\"\npassword_file = \"events.password\"\n{more}\n",
        endpoint.port()
    )
}

/// Makes an event as Mailjet writes it, about a mail with this payload.
pub fn event(kind: &str, to: &str, payload: &str, more: &Value) -> Value {
    let now = postbud::time::Timestamp::now().as_secs();
    let mut event = json!({
        "event": kind, "time": now, "MessageID": 19_421_777_835_146_490u64, "Message_GUID": guid(0xffff_ffff), "email": to,
        "mj_campaign_id": 7257, "mj_contact_id": 4, "customcampaign": "", "CustomID": "", "Payload": payload
    });
    event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    event
}

/// Sends one request. Returns the status and the head of the answer, or `None` if the connection broke before.
pub fn post(to: SocketAddr, method: &str, path: &str, login: Option<&str>, body: &[u8]) -> Option<(u16, String)> {
    let login = login.map(|login| format!("Authorization: Basic {}\r\n", STANDARD.encode(login))).unwrap_or_default();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{login}Content-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    let answer = http::text(to, &[head.as_bytes(), body].concat())?;
    let status = answer.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some((status, answer))
}
