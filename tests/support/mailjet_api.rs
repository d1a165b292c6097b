//! Mailjet's REST API, as its documentation and its clients' sources describe it, with its kinds of failures. It has senders and DNS
//! settings of several API keys, validation and checks that see the records which the test publishes, the messages of each account with
//! their histories, and the addresses for events.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// The time between two calls about messages that an account is asked to keep. Mailjet's documentation limits the calls a second of each API
/// key and does not say how many it takes, so the stand-in takes one.
const CALL_EVERY: Duration = Duration::from_secs(1);

/// How a call fails.
#[derive(Clone, Debug)]
pub enum Fail {
    /// With this status, a Retry-After if there is one, and this text as ErrorMessage.
    Status(u16, Option<u32>, &'static str),
    /// With this status and this text for the whole answer.
    Answer(u16, &'static str),
    /// With an answer that is not JSON.
    Garbage,
    /// With an answer that has no end.
    Endless,
    /// The connection breaks before anything is done.
    Broken,
    /// The call is carried out, and the connection breaks before the answer.
    BrokenAfter,
}

/// Mailjet's data, and the DNS records that it sees.
#[derive(Default)]
pub struct World {
    /// The secret of each API key.
    pub keys: BTreeMap<String, String>,
    /// Domains that another customer's account has.
    pub owned: BTreeSet<String>,
    /// The records that Mailjet sees in DNS: tokens, values of its keys, and `spf:test.dk`.
    pub published: BTreeSet<String>,
    /// The results of the next calls: `None` is a success.
    pub fails: VecDeque<Option<Fail>>,
    /// Every call: `KEY METHOD path`.
    pub calls: Vec<String>,
    /// The value of Mailjet's key for each API key; `*` for all others.
    pub dkim: BTreeMap<String, String>,
    /// Sub-accounts: name, key and secret.
    pub keys_made: Vec<(String, String, String)>,
    /// The mail that Mailjet accepted, with its state.
    pub messages: Vec<Message>,
    /// The addresses for events.
    pub callbacks: Vec<Value>,
    /// The calls about messages that came too soon after the one before, and heard 429.
    pub hurried: Vec<String>,
    /// When the last call about messages of each API key was answered.
    answered: BTreeMap<String, Instant>,
    senders: Vec<Sender>,
}

/// A message to one recipient, as in `message` and `messagehistory`.
#[derive(Clone, Debug)]
pub struct Message {
    /// The API key whose account accepted it.
    pub key: String,
    /// The numeric id.
    pub id: u64,
    /// The other id, which the reply to the final dot names.
    pub uuid: String,
    /// The recipient of the mail.
    pub to: String,
    /// When it came, in seconds since 1970.
    pub arrived: u64,
    /// `sent`, `hardbounced`, `queued` …
    pub status: &'static str,
    /// The number of the error; 0 for none.
    pub state: u64,
    /// The steps of its history: kind, seconds since 1970, state and comment.
    pub history: Vec<(&'static str, u64, &'static str, &'static str)>,
}

impl Message {
    fn listed(&self) -> Value {
        let arrived = postbud::time::Timestamp::from_millis(self.arrived * 1000).to_string();
        json!({ "ArrivedAt": arrived, "AttachmentCount": 0, "AttemptCount": 0, "CampaignID": 7, "ContactAlt": self.to, "ContactID": 4,
            "Delay": 0, "DestinationID": 6, "FilterTime": 0, "ID": self.id, "IsClickTracked": false, "IsHTMLPartIncluded": true,
            "IsOpenTracked": false, "IsTextPartIncluded": true, "IsUnsubTracked": false, "MessageSize": 900, "SenderID": 7,
            "SpamassRules": "", "SpamassassinScore": 0, "StateID": self.state, "StatePermanent": self.status == "hardbounced",
            "Status": self.status, "Subject": "", "UUID": self.uuid })
    }
}

struct Sender {
    key: String,
    domain: String,
    id: u64,
    active: bool,
    dkim: &'static str,
    spf: &'static str,
}

impl Sender {
    fn token(&self) -> String {
        token(&self.key, &self.domain)
    }
}

/// The ownership token that an API key's account issues for a domain.
pub fn token(key: &str, domain: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, format!("{key} {domain}").as_bytes());
    digest.as_ref()[..16].iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Plays Mailjet's API on an address of its own.
pub struct MailjetApi {
    /// The base address, as in `api` of a tier.
    pub url: String,
    world: Arc<Mutex<World>>,
}

impl MailjetApi {
    /// Starts it with these API keys, each with the secret `secret`.
    pub fn start(keys: &[&str], dkim: &str) -> MailjetApi {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let world = World {
            keys: keys.iter().map(|key| ((*key).to_owned(), "secret".to_owned())).collect(),
            dkim: BTreeMap::from([("*".to_owned(), dkim.to_owned())]),
            ..World::default()
        };
        let world = Arc::new(Mutex::new(world));
        let shared = Arc::clone(&world);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(stream), shared) = (stream, Arc::clone(&shared)) else { return };
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        MailjetApi { url, world }
    }

    /// Returns its data.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Publishes the records of a domain: the token of an API key, its Mailjet key, SPF.
    pub fn publish(&self, key: &str, domain: &str) {
        let mut world = self.world();
        let dkim = world.dkim_of(key);
        world.published.extend([token(key, domain), dkim, format!("spf:{domain}")]);
    }

    /// Returns the number of calls that contain a text.
    pub fn calls(&self, part: &str) -> usize {
        self.world().calls.iter().filter(|call| call.contains(part)).count()
    }
}

impl World {
    /// Returns the number of senders in all accounts.
    pub fn senders(&self) -> usize {
        self.senders.len()
    }

    /// Returns true if a call about messages comes too soon after the one before.
    fn hurries(&mut self, key: &str, path: &str) -> bool {
        if !path.starts_with("/v3/REST/message") {
            return false;
        }
        let before = self.answered.insert(key.to_owned(), Instant::now());
        before.is_some_and(|before| before.elapsed() < CALL_EVERY)
    }

    fn dkim_of(&self, key: &str) -> String {
        self.dkim.get(key).unwrap_or(&self.dkim["*"]).clone()
    }

    /// Answers a call. Returns the status and the body.
    fn answer(&mut self, key: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let error =
            |status: u16, text: &str| (status, json!({ "ErrorInfo": "", "ErrorMessage": text, "StatusCode": status }));
        let data =
            |status: u16, list: Vec<Value>| (status, json!({ "Count": list.len(), "Data": list, "Total": list.len() }));
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let parts: Vec<&str> = path.trim_start_matches("/v3/REST/").split('/').collect();
        match (method, &parts[..]) {
            ("GET", ["sender"]) => {
                let domain = query.split('&').find_map(|pair| pair.strip_prefix("Domain=")).unwrap_or_default();
                let of = self.senders.iter().filter(|it| it.key == key && (domain.is_empty() || it.domain == domain));
                data(200, of.map(sender).collect())
            }
            ("POST", ["sender"]) => {
                let Some(domain) = body["Email"].as_str().and_then(|email| email.strip_prefix("*@")) else {
                    return error(400, "Invalid email");
                };
                if self.owned.contains(domain) {
                    return error(400, "This domain is already used by another account");
                }
                if self.senders.iter().any(|it| it.key == key && it.domain == domain) {
                    return error(
                        400,
                        "There is an already existing inactive sender with the same email. You can use \"validate\" action in order to activate it.",
                    );
                }
                let id = 100 + self.senders.len() as u64;
                let (key, domain) = (key.to_owned(), domain.to_owned());
                self.senders.push(Sender { key, domain, id, active: false, dkim: "Not checked", spf: "Not checked" });
                data(201, vec![sender(&self.senders[self.senders.len() - 1])])
            }
            ("POST", ["sender", id, "validate"]) => {
                let published = self.published.clone();
                let Some(it) = self.senders.iter_mut().find(|it| it.key == key && it.id.to_string() == **id) else {
                    return error(404, "Object not found");
                };
                it.active |= published.contains(&it.token());
                match it.active {
                    true => (200, json!({ "ValidationMethod": "DNS", "Errors": {}, "GlobalError": "" })),
                    false => (
                        400,
                        json!({ "ValidationMethod": "", "Errors": { "DNSValidationError": "No DNS record found" },
                        "GlobalError": "We are unable to validate the domain" }),
                    ),
                }
            }
            ("GET", ["dns", domain]) => {
                let dkim = self.dkim_of(key);
                match self.senders.iter().find(|it| it.key == key && it.domain == *domain) {
                    None => error(404, "Object not found"),
                    Some(it) => data(
                        200,
                        vec![json!({
                            "DKIMRecordName": format!("mailjet._domainkey.{domain}."), "DKIMRecordValue": dkim, "DKIMStatus": it.dkim,
                            "Domain": domain, "ID": it.id + 1000, "IsCheckInProgress": false, "LastCheckAt": "",
                            "OwnerShipToken": it.token(),
                            "OwnerShipTokenRecordName": format!("mailjet._{}.{domain}.", &it.token()[..8]),
                            "SPFRecordValue": "v=spf1 include:spf.mailjet.com ?all", "SPFStatus": it.spf,
                        })],
                    ),
                }
            }
            ("POST", ["dns", id, "check"]) => {
                let (published, dkim) = (self.published.clone(), self.dkim_of(key));
                let Some(it) = self.senders.iter_mut().find(|it| it.key == key && (it.id + 1000).to_string() == **id)
                else {
                    return error(404, "Object not found");
                };
                it.dkim = if published.contains(&dkim) { "OK" } else { "Error" };
                it.spf = if published.contains(&format!("spf:{}", it.domain)) { "OK" } else { "Error" };
                let errors = |status| if status == "OK" { json!([]) } else { json!(["the record was not found"]) };
                data(
                    200,
                    vec![json!({ "DKIMStatus": it.dkim, "DKIMErrors": errors(it.dkim), "DKIMRecordCurrentValue": "",
                    "SPFStatus": it.spf, "SPFErrors": errors(it.spf), "SPFRecordsCurrentValues": [] })],
                )
            }
            ("GET", ["message"]) => {
                let number = |name: &str, usual: u64| {
                    let found = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
                    found.map_or(usual, |value| value.parse().unwrap())
                };
                let (from, to) = (number("FromTS", 0), number("ToTS", u64::MAX));
                let (limit, offset) = (number("Limit", 10), number("Offset", 0));
                assert!(limit <= 1000, "Mailjet gives no more than 1,000 at once");
                let of = self.messages.iter().filter(|it| it.key == key && (from..=to).contains(&it.arrived));
                data(200, of.skip(offset as usize).take(limit as usize).map(Message::listed).collect())
            }
            ("GET", ["messagehistory", id]) => {
                let Some(message) = self.messages.iter().find(|it| it.key == key && it.id.to_string() == **id) else {
                    return error(404, "Object not found");
                };
                let step = |(kind, at, state, comment): &(&str, u64, &str, &str)| json!({ "Comment": comment, "EventAt": at, "EventType": kind, "State": state, "Useragent": "", "UseragentID": 0 });
                data(200, message.history.iter().map(step).collect())
            }
            ("GET", ["eventcallbackurl"]) => data(200, self.callbacks.clone()),
            ("POST", ["eventcallbackurl"]) => {
                if self.callbacks.iter().any(|it| it["EventType"] == body["EventType"]) {
                    return error(400, "A Eventcallbackurl resource with this EventType already exists.");
                }
                let mut new = body.clone();
                new["ID"] = (self.callbacks.len() + 1).into();
                self.callbacks.push(new.clone());
                data(201, vec![new])
            }
            ("PUT", ["eventcallbackurl", id]) => {
                let Some(it) = self.callbacks.iter_mut().find(|it| it["ID"].as_u64() == id.parse().ok()) else {
                    return error(404, "Object not found");
                };
                let number = it["ID"].clone();
                *it = body.clone();
                it["ID"] = number;
                data(200, vec![it.clone()])
            }
            ("GET", ["apikey"]) => {
                let number = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.parse().ok());
                let (limit, offset) = (number("Limit=").unwrap_or(10usize).min(1000), number("Offset=").unwrap_or(0));
                data(200, self.keys_made.iter().skip(offset).take(limit).map(api_key).collect())
            }
            ("POST", ["apikey"]) => {
                if self.keys_made.iter().any(|(_, made, _)| made == key) {
                    return error(403, "Operation not allowed");
                }
                let number = self.keys_made.len();
                let (made, secret) = (format!("{number:032x}"), format!("{:032x}", number + 0xabc));
                let name = body["Name"].as_str().unwrap_or_default().to_owned();
                self.keys.insert(made.clone(), secret.clone());
                self.keys_made.push((name, made, secret));
                data(201, vec![api_key(&self.keys_made[number])])
            }
            _ => error(404, "Resource not found"),
        }
    }
}

fn api_key((name, key, secret): &(String, String, String)) -> Value {
    json!({ "ID": 1_234_567, "ACL": "", "APIKey": key, "CreatedAt": "2026-11-29T08:00:00Z", "CustomStatus": null, "IsActive": true,
        "IsMaster": false, "Name": name, "QuarantineValue": 0, "Runlevel": "Normal", "SecretKey": secret, "Skipspamd": false,
        "TrackHost": "x1234.mjt.lu", "UserID": 1_234_567 })
}

fn sender(it: &Sender) -> Value {
    json!({ "CreatedAt": "", "DNSID": it.id + 1000, "Email": format!("*@{}", it.domain), "EmailType": "unknown", "Filename": "",
        "ID": it.id, "IsDefaultSender": false, "Name": "", "Status": if it.active { "Active" } else { "Inactive" } })
}

fn serve(stream: TcpStream, world: &Mutex<World>) {
    let mut reader = BufReader::new(&stream);
    let mut line = String::new();
    if reader.read_line(&mut line).is_err() || line.is_empty() {
        return;
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let (mut length, mut login) = (0, String::new());
    loop {
        let mut field = String::new();
        if reader.read_line(&mut field).unwrap_or(0) == 0 || field.trim().is_empty() {
            break;
        }
        let (name, value) = field.trim().split_once(": ").unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "authorization" => {
                login = String::from_utf8(STANDARD.decode(value.strip_prefix("Basic ").unwrap()).unwrap()).unwrap();
            }
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let (key, secret) = login.split_once(':').unwrap_or_default();
    let mut world = world.lock().unwrap();
    let call = format!("{key} {method} {path}");
    world.calls.push(call.clone());
    let fail = if world.hurries(key, &path) {
        world.hurried.push(call);
        Some(Fail::Status(429, None, "Too many requests"))
    } else {
        world.fails.pop_front().flatten()
    };
    if matches!(fail, Some(Fail::Broken)) {
        return;
    }
    let (mut status, mut answer) = match world.keys.get(key).is_some_and(|right| right == secret) {
        false => (
            401,
            json!({ "ErrorInfo": "", "ErrorMessage": "API key authentication/authorization failure.", "StatusCode": 401 }),
        ),
        true if matches!(fail, None | Some(Fail::BrokenAfter)) => world.answer(key, &method, &path, &body),
        true => (200, Value::Null),
    };
    drop(world);
    let mut retry = String::new();
    let mut whole = None;
    match fail {
        None => {}
        Some(Fail::Answer(code, text)) => (status, whole) = (code, Some(text)),
        Some(Fail::Broken | Fail::BrokenAfter) => return,
        Some(Fail::Garbage) => answer = json!("<html>"),
        Some(Fail::Endless) => {
            let _ = write!(&stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
            while (&stream).write_all(&[b' '; 65536]).is_ok() {}
            return;
        }
        Some(Fail::Status(code, after, text)) => {
            (status, answer) = (code, json!({ "ErrorInfo": "", "ErrorMessage": text, "StatusCode": code }));
            retry = after.map(|secs| format!("Retry-After: {secs}\r\n")).unwrap_or_default();
        }
    }
    let text = whole.map_or_else(|| answer.to_string(), str::to_owned);
    let _ = write!(
        &stream,
        "HTTP/1.1 {status} x\r\nContent-Type: application/json\r\n{retry}Content-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    );
}
