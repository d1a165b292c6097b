//! A customer with a fixed key, and a checker that asks whom it is told to.

use std::collections::BTreeMap;
use std::sync::Arc;

use postbud::customer::{BulkPolicy, Customer, Directory, Requirement, SigningDomain, Tier, Via};
use postbud::dkim::{Selector, Signer, SigningKey, signer::Profile};
use postbud::message::CustomerId;
use postbud::onboarding::{Checker, Secret, Settings};
use postbud::resolver::SharedResolver;
use postbud::route::{Caps, Route, RouteId, RouteKind, TlsMode, TlsPolicy, TlsVersion};
use postbud::smtp::Domain;

pub const KEY: &str = include_str!("fixed-key.pem");

pub fn key() -> SigningKey {
    SigningKey::from_pem(KEY.as_bytes()).expect("the fixture is a key")
}

pub fn domain(text: &str) -> Domain {
    Domain::parse(text).expect("a test's domain is one")
}

/// The value of our key's record.
pub fn key_record(name: &str) -> String {
    let selector = Selector::parse("postbud1").expect("a selector");
    postbud::dkim::record::render(&domain(name), &selector, &key()).expect("a key has a record").value
}

fn route(name: &str, kind: RouteKind, host: &str) -> Arc<Route> {
    Arc::new(Route {
        id: RouteId::new(name),
        kind,
        host: host.to_owned(),
        port: 587,
        tls: TlsPolicy {
            mode: TlsMode::Required,
            ca_file: None,
            pinned_sha256: None,
            server_name: None,
            client_certificate: None,
            minimum: TlsVersion::Tls12,
        },
        login: None,
        caps: Caps::default(),
        message_size: 1 << 20,
    })
}

pub fn customer(id: &str, name: &str, domains: &[&str], via: Via) -> Customer {
    let signer = |name: &str| {
        let selector = Selector::parse("postbud1").expect("a selector");
        let signer = Signer::new(vec![Profile::new(domain(name), selector, key())]).expect("a key signs");
        (domain(name), SigningDomain::Ready(Arc::new(signer)))
    };
    Customer {
        id: CustomerId::new(id),
        name: name.to_owned(),
        domains: domains.iter().map(|name| signer(name)).collect(),
        bounce_domains: Vec::new(),
        via,
        suspended: None,
        bulk: BulkPolicy::Refuse,
        bounce_mail: false,
        track_opens: None,
        track_clicks: None,
    }
}

pub fn mailjet() -> Via {
    Via::Mailjet { tier: None }
}

pub fn own_server(id: &str, host: &str) -> Via {
    Via::OwnServer(route(&format!("own-server.{id}"), RouteKind::OwnServer, host))
}

pub fn directory(customers: Vec<Customer>) -> Directory {
    let tier = |name: &str, requires: &[Requirement]| {
        let route = route(&format!("mailjet.{name}"), RouteKind::Mailjet, "in-v3.mailjet.com");
        (name.to_owned(), Tier { route, requires: requires.to_vec() })
    };
    let trusted = [Requirement::Ownership, Requirement::Spf, Requirement::Dkim];
    Directory::new(customers, BTreeMap::from([tier("starter", &[]), tier("trusted", &trusted)]))
}

pub fn checker(settings: Settings, resolver: SharedResolver) -> Checker {
    Checker { settings: Arc::new(settings), resolver, secret: Arc::new(Secret::from_octets(&[7; 32])) }
}

/// A zone file's line with a TXT value, split as DNS wants it.
pub fn txt(host: &str, value: &str) -> String {
    let strings: Vec<String> = value
        .as_bytes()
        .chunks(255)
        .map(|chunk| format!("\"{}\"", String::from_utf8_lossy(chunk).replace('\\', "\\\\").replace('"', "\\\"")))
        .collect();
    format!("{host}. 60 IN TXT ( {} )\n", strings.join(" "))
}
