//! The customers, keys and routes that tests begin with. Only this module names all their fields, so a test names only the fields it is
//! about: `Customer { bulk: BulkPolicy::Warn, ..customer("x", [ed25519("x.dk")], mailjet()) }`.
//!
//! Unit tests share it: inside the crate `postbud` is another name of `crate` (see lib.rs).
#![allow(dead_code, reason = "each test binary uses its part")]

use std::sync::Arc;

use postbud::customers::{BulkPolicy, Customer, Reaction, SigningDomain, Via, VolumeLimits, suppression};
use postbud::dkim::{Profile, Selector, Signer, SigningKey};
use postbud::message::CustomerId;
use postbud::route::{Caps, Route, RouteId, RouteKind, TlsPolicy};
use postbud::smtp::Domain;

pub fn domain(name: &str) -> Domain {
    Domain::parse(name).expect("a test's domain is one")
}

/// Makes a From domain that `key` signs for, at `postbud1`.
pub fn signed(name: &str, key: SigningKey) -> (Domain, SigningDomain) {
    let selector = Selector::parse("postbud1").expect("a selector");
    let signer = Signer::new(vec![Profile::new(domain(name), selector, key)]).expect("a key signs");
    (domain(name), SigningDomain::Ready(Arc::new(signer)))
}

/// Makes a From domain with a new Ed25519 key, which is cheap to make.
pub fn ed25519(name: &str) -> (Domain, SigningDomain) {
    signed(name, SigningKey::generate_ed25519().expect("a key can be made"))
}

/// Makes a customer with the usual settings: bulk mail is refused if the domain does not meet the requirements, and failures are only
/// events.
pub fn customer(id: &str, domains: impl IntoIterator<Item = (Domain, SigningDomain)>, via: Via) -> Customer {
    Customer {
        id: CustomerId::new(id),
        name: id.to_owned(),
        domains: domains.into_iter().collect(),
        bounce_domains: Vec::new(),
        via,
        own_mailjet: None,
        suspended: None,
        bulk: BulkPolicy::Refuse,
        one_click: None,
        limits: VolumeLimits { on_leap: Reaction::Off, ..VolumeLimits::default() },
        suppression: suppression::Policy::default(),
        test: None,
        contacts: Vec::new(),
        bounce_mail: false,
        track_opens: None,
        track_clicks: None,
    }
}

/// Makes a route through Mailjet, in the best tier.
pub fn mailjet() -> Via {
    Via::Mailjet { tier: None }
}

/// Makes a route on port 587 with verified TLS and no login. An id `mailjet.…` makes it one of Mailjet's.
pub fn route(id: &str, host: &str) -> Route {
    Route {
        id: RouteId::new(id),
        kind: if id.starts_with("mailjet") { RouteKind::Mailjet } else { RouteKind::OwnServer },
        host: host.to_owned(),
        port: 587,
        tls: TlsPolicy::default(),
        login: None,
        caps: Caps::default(),
        message_size: 1 << 20,
        verp: false,
        public_only: false,
    }
}
