//! A customer with a fixed key, and a checker that asks a given resolver.

use std::collections::BTreeMap;
use std::sync::Arc;

use postbud::customers::{Customer, Directory, Requirement, Tier, Via};
use postbud::dkim::{Selector, SigningKey};
use postbud::onboarding::{Checker, Secret, Settings};
use postbud::resolver::SharedResolver;

use crate::customers;
pub use crate::customers::{domain, mailjet};

pub const KEY: &str = include_str!("fixed-key.pem");

pub fn key() -> SigningKey {
    SigningKey::from_pem(KEY.as_bytes()).expect("the fixture is a key")
}

/// The value of our key's record.
pub fn key_record(name: &str) -> String {
    let selector = Selector::parse("postbud1").expect("a selector");
    postbud::dkim::record::render(&domain(name), &selector, &key()).expect("a key has a record").value
}

pub fn customer(id: &str, name: &str, domains: &[&str], via: Via) -> Customer {
    let all = domains.iter().map(|name| customers::signed(name, key()));
    Customer { name: name.to_owned(), ..customers::customer(id, all, via) }
}

pub fn own_server(id: &str, host: &str) -> Via {
    Via::OwnServer(Arc::new(customers::route(&format!("own-server.{id}"), host)))
}

pub fn directory(customers: Vec<Customer>) -> Directory {
    let tier = |name: &str, requires: &[Requirement]| {
        let route = Arc::new(customers::route(&format!("mailjet.{name}"), "in-v3.mailjet.com"));
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
