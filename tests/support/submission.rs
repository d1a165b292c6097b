//! A submission server inside the test's process, and a client that speaks line by line. Needs `certs.rs`,
//! `customers.rs` and `intake_spool.rs` as siblings.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use argon2::password_hash::{PasswordHasher, SaltString};
use postbud::customers::suppression::Suppression;
use postbud::customers::{Customer, Directory, Requirement, Routing, SigningDomain, Tier, VerificationStatus, Via};
use postbud::dkim::{SigningKey, Workers};
use postbud::events::Events;
use postbud::message::CustomerId;
use postbud::route::{Route, RouteKind};
use postbud::smtp::Domain;
use postbud::submission::{
    Allowed, Context, Counters, Limits, ListenerAuth, ListenerSettings, ListenerTls, ServerTls, Submission, Submitter,
    Submitters,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tokio_util::sync::CancellationToken;

use super::certs::Authority;
pub use super::customers::domain;
use super::customers::{self, customer, ed25519, mailjet, signed};
use super::intake_spool::{Handle, IntakeSpool};

pub const USERNAME: &str = "webcrm";
pub const PASSWORD: &str = "kanariefugl-7391";
/// A login that may only send for `own`, with bulk mail as the default.
pub const OTHER_USERNAME: &str = "own-only";
pub const OTHER_PASSWORD: &str = "undulat-2468";

/// The settings that a test may change before the server starts.
pub struct Setup {
    pub limits: Limits,
    pub auth: ListenerAuth,
    pub plaintext_auth: bool,
    pub allow_from: Vec<ipnet::IpNet>,
    pub customers: Vec<Customer>,
    pub verified: HashMap<Domain, VerificationStatus>,
    pub tier_size: u64,
    pub threads: usize,
    pub suppression: Suppression,
    /// The file of an earlier server, or a new one.
    pub known_clients: Option<PathBuf>,
}

impl Default for Setup {
    fn default() -> Self {
        let limits = Limits { login_delay: Duration::from_millis(20), ..Limits::default() };
        Setup {
            limits,
            auth: ListenerAuth::Required,
            plaintext_auth: true,
            allow_from: Vec::new(),
            customers: customers(),
            verified: HashMap::from([(domain("test.dk"), VerificationStatus::default().with(Requirement::Spf))]),
            tier_size: 15 << 20,
            threads: 2,
            suppression: Suppression::default(),
            known_clients: None,
        }
    }
}

/// A submission server and its parts.
pub struct Server {
    pub address: SocketAddr,
    pub implicit: SocketAddr,
    pub spool: Arc<IntakeSpool>,
    pub counters: Counters,
    pub events: Events,
    pub routing: Routing,
    pub submitters: Arc<ArcSwap<Submitters>>,
    pub tls: ServerTls,
    pub ca: CertificateDer<'static>,
    pub files: tempfile::TempDir,
    pub runtime: tokio::runtime::Runtime,
    pub shutdown: CancellationToken,
    submission: Submission,
}

/// Returns one key for all tests of a binary, because making RSA keys is slow.
pub fn rsa_key() -> &'static SigningKey {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    KEY.get_or_init(|| SigningKey::generate_rsa(2048).unwrap())
}

/// Makes the domain test.dk with an RSA key.
pub fn test_dk() -> SigningDomain {
    signed("test.dk", SigningKey::from_pem(rsa_key().to_pem().unwrap().as_bytes()).unwrap()).1
}

pub fn route(kind: RouteKind, message_size: u64) -> Arc<Route> {
    Arc::new(Route { kind, message_size, ..customers::route("route", "smarthost.test") })
}

fn customers() -> Vec<Customer> {
    let with_bounces =
        |customer| Customer { bounce_domains: vec![domain("bounce.webcrm.com")], bounce_mail: true, ..customer };
    let own = Via::OwnServer(route(RouteKind::OwnServer, 64 << 20));
    vec![
        with_bounces(customer("test-as", [(domain("test.dk"), test_dk()), ed25519("blåbær.dk")], mailjet())),
        with_bounces(customer("own", [ed25519("own.dk"), ed25519("hotmail.com")], own)),
    ]
}

/// Makes a cheap Argon2id hash, because the tests are about logins, not about the cost.
pub fn hash(password: &str) -> String {
    let params = argon2::Params::new(64, 1, 1, None).unwrap();
    let salt = SaltString::encode_b64(b"0123456789abcdef").unwrap();
    argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
        .hash_password(password.as_bytes(), &salt)
        .unwrap()
        .to_string()
}

pub fn submitters() -> Submitters {
    let all = Submitter {
        username: USERNAME.to_owned(),
        password_hash: hash(PASSWORD),
        customers: Allowed::All,
        urgency: None,
        test: None,
    };
    let own = Submitter {
        username: OTHER_USERNAME.to_owned(),
        password_hash: hash(OTHER_PASSWORD),
        customers: Allowed::Listed(BTreeSet::from([CustomerId::new("own")])),
        urgency: Some(postbud::message::Urgency::Bulk),
        test: None,
    };
    Submitters::new(vec![all, own]).unwrap()
}

impl Setup {
    pub fn with(change: impl FnOnce(&mut Limits)) -> Self {
        let mut setup = Setup::default();
        change(&mut setup.limits);
        setup
    }

    pub fn start(self) -> Server {
        let files = tempfile::tempdir().unwrap();
        let (certificate, private_key) = (files.path().join("cert.pem"), files.path().join("key.pem"));
        let authority = Authority::new();
        write_certificate(&authority, &certificate, &private_key);
        let tls = ServerTls::load(&certificate, &private_key).unwrap();
        let tier = Tier { route: route(RouteKind::Mailjet, self.tier_size), requires: Vec::new() };
        let directory = Directory::new(self.customers, BTreeMap::from([("starter".to_owned(), tier)]));
        let routing = Routing::new(directory, None);
        routing.set_statuses(self.verified);
        let spool = Handle::default();
        let context = Context {
            hostname: domain("out.webcrm.test"),
            limits: self.limits,
            first_retry: Duration::from_secs(60),
            bulk_requires: vec![Requirement::Spf],
            routing,
            suppression: self.suppression,
            submitters: Arc::new(ArcSwap::from_pointee(submitters())),
            spool: Arc::new(spool.clone()),
            workers: Workers::start(1, 64).unwrap(),
            events: Events::default(),
            counters: Counters::default(),
            known_clients: self.known_clients.or_else(|| Some(files.path().join("known-clients.json"))),
        };
        let listener = |tls| ListenerSettings {
            address: "127.0.0.1:0".parse().unwrap(),
            tls,
            auth: self.auth,
            allow_plaintext_auth: self.plaintext_auth,
            allow_from: self.allow_from.clone(),
        };
        let listeners =
            vec![listener(ListenerTls::StartTls(tls.clone())), listener(ListenerTls::Implicit(tls.clone()))];
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(self.threads).enable_all().build().unwrap();
        let shutdown = CancellationToken::new();
        let (counters, routing, submitters) =
            (context.counters.clone(), context.routing.clone(), Arc::clone(&context.submitters));
        let events = context.events.clone();
        let submission = {
            let _inside = runtime.enter();
            Submission::start(listeners, context, shutdown.clone()).unwrap()
        };
        let [address, implicit] = submission.addresses() else { panic!("two listeners") };
        Server {
            address: *address,
            implicit: *implicit,
            spool: spool.0,
            counters,
            events,
            routing,
            submitters,
            tls,
            ca: CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap(),
            files,
            runtime,
            shutdown,
            submission,
        }
    }
}

fn write_certificate(authority: &Authority, certificate: &PathBuf, private_key: &PathBuf) {
    let issued = authority.issue(&["localhost"]);
    std::fs::write(certificate, issued.chain).unwrap();
    std::fs::write(private_key, issued.key).unwrap();
}

impl Server {
    /// Connects, and reads the greeting.
    pub fn connect(&self) -> Client<TcpStream> {
        let mut client = Client::over(self.dial());
        client.hear("220 out.webcrm.test ESMTP");
        client
    }

    /// Connects and logs in.
    pub fn logged_in(&self) -> Client<TcpStream> {
        let mut client = self.connect();
        client.log_in();
        client
    }

    pub fn dial(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// Returns the TLS settings of a client that trusts the server.
    pub fn client_tls(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        Arc::new(config.with_root_certificates(roots).with_no_client_auth())
    }

    /// Returns the path of the certificate, for real clients.
    pub fn ca_file(&self) -> PathBuf {
        let path = self.files.path().join("cert.pem");
        assert!(path.exists());
        path
    }

    /// Stops the server and waits for its end.
    pub fn stop(&self) {
        self.shutdown.cancel();
        self.runtime.block_on(async {
            tokio::time::timeout(Duration::from_secs(20), self.submission.stopped()).await.expect("stops in time");
        });
    }

    /// Returns the metric of messages refused for this reason.
    pub fn refused(&self, reason: &'static str) -> u64 {
        self.counters.refused.get_or_create(&postbud::submission::ReasonLabels { reason }).get()
    }
}

pub type Tls = StreamOwned<ClientConnection, TcpStream>;

/// Begins TLS on a connection.
pub fn tls(config: &Arc<ClientConfig>, stream: TcpStream) -> Tls {
    let name = ServerName::try_from("localhost").unwrap();
    StreamOwned::new(ClientConnection::new(Arc::clone(config), name).unwrap(), stream)
}

/// A client that speaks line by line.
pub struct Client<S: Read + Write> {
    stream: BufReader<S>,
}

impl<S: Read + Write> Client<S> {
    pub fn over(stream: S) -> Self {
        Client { stream: BufReader::new(stream) }
    }

    pub fn into_stream(self) -> S {
        self.stream.into_inner()
    }

    pub fn stream(&mut self) -> &mut S {
        self.stream.get_mut()
    }

    /// Sends octets unchanged.
    pub fn send(&mut self, octets: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(octets.as_ref()).unwrap();
        self.stream.get_mut().flush().unwrap();
    }

    /// Reads one whole reply, with its lines joined by LF.
    pub fn reply(&mut self) -> String {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            let read = self.stream.read_line(&mut line).unwrap_or_else(|e| panic!("{e} after {lines:?}"));
            assert!(read > 0, "closed after {lines:?}");
            let line = line.strip_suffix("\r\n").expect("a whole line").to_owned();
            let more = line.as_bytes().get(3) == Some(&b'-');
            lines.push(line);
            if !more {
                return lines.join("\n");
            }
        }
    }

    /// Reads a reply that begins with `start`.
    pub fn hear(&mut self, start: &str) -> String {
        let reply = self.reply();
        assert!(reply.starts_with(start), "expected {start:?}, heard {reply:?}");
        reply
    }

    /// Sends a line and reads a reply that begins with `start`.
    pub fn say(&mut self, line: &str, start: &str) -> String {
        self.send(format!("{line}\r\n"));
        let reply = self.reply();
        assert!(reply.starts_with(start), "{line:?}: expected {start:?}, heard {reply:?}");
        reply
    }

    /// Runs a conversation: `C: line` and `S: start of reply`, one per line.
    pub fn script(&mut self, script: &str) {
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            match line.split_at(3) {
                ("C: ", said) => self.send(format!("{said}\r\n")),
                ("S: ", heard) => {
                    self.hear(heard);
                }
                _ => panic!("neither C: nor S: in {line:?}"),
            }
        }
    }

    /// Sends EHLO and AUTH.
    pub fn log_in(&mut self) {
        self.say("EHLO client.test", "250");
        self.say(&format!("AUTH PLAIN {}", plain(USERNAME, PASSWORD)), "235 2.7.0");
    }

    /// Sends MAIL, RCPT and DATA, up to the 354.
    pub fn begin(&mut self, mail_from: &str) {
        self.say(&format!("MAIL FROM:<{mail_from}>"), "250 2.1.0");
        self.say("RCPT TO:<kunde@example.com>", "250 2.1.5");
        self.say("DATA", "354");
    }

    /// Sends a whole message and returns the answer.
    pub fn mail(&mut self, mail_from: &str, message: &str) -> String {
        self.begin(mail_from);
        self.send(message.replace('\n', "\r\n"));
        self.send(".\r\n");
        self.reply()
    }

    /// Asserts that the server has closed the connection without a further reply.
    pub fn closed(&mut self) {
        let mut rest = Vec::new();
        // A reset also closes the connection.
        let _ = self.stream.read_to_end(&mut rest);
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }
}

/// Returns the initial response of AUTH PLAIN.
pub fn plain(username: &str, password: &str) -> String {
    base64(&format!("\0{username}\0{password}"))
}

pub fn base64(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}
