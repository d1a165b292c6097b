//! Canonicalization and the signer on any octets: no panic, the same result however the input is split, the same as a
//! simple model, and a field that is folded and whole.
//!
//! `tests/fuzz/run 120 dkim_signer`
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use postbud::dkim::canonical::{self, Body};
use postbud::dkim::{Canonicalization, KeyRecord, Profile, Selector, Signer, SigningKey};
use postbud::message::{Field, headers};
use postbud::smtp::Domain;
use postbud::time::Timestamp;

#[path = "../../dkim/model.rs"]
#[allow(dead_code)]
mod model;

static SIGNER: LazyLock<Signer> = LazyLock::new(|| {
    let profile = |how| {
        let key = SigningKey::from_ed25519_seed(&[7; 32]).expect("a seed");
        let mut profile =
            Profile::new(Domain::parse("test.dk").expect("a name"), Selector::parse("s").expect("a name"), key);
        (profile.header_canonicalization, profile.body_canonicalization) = (how, how);
        profile
    };
    Signer::new(vec![profile(Canonicalization::Relaxed), profile(Canonicalization::Simple)]).expect("profiles")
});

// The first octet says where chunks end; the header ends at the first empty line.
fuzz_target!(|input: &[u8]| {
    let Some((seed, message)) = input.split_first() else { return };
    let chunk = usize::from(*seed) + 1;
    let end = message.windows(4).position(|w| w == b"\r\n\r\n").map_or(0, |at| at + 2);
    let (header, body) = message.split_at(end);
    let body = body.strip_prefix(b"\r\n").unwrap_or(body);

    for (how, name) in [(Canonicalization::Relaxed, "relaxed"), (Canonicalization::Simple, "simple")] {
        let mut state = Body::new(how);
        let mut out = Vec::new();
        body.chunks(chunk).for_each(|chunk| state.update(chunk, &mut out));
        state.finish(&mut out);
        assert_eq!(out, model::body(name, body));
    }

    let fields: Vec<Field<'_>> = headers::fields(header).filter_map(Result::ok).collect();
    for field in &fields {
        let mut out = Vec::new();
        canonical::field(Canonicalization::Relaxed, *field, &mut out);
        assert!(out.ends_with(b"\r\n") && !out.ends_with(b" \r\n"));
    }
    let mut hasher = SIGNER.body_hasher();
    body.chunks(chunk).for_each(|chunk| hasher.update(chunk));
    let mut out = Vec::new();
    if SIGNER.sign(&fields, &hasher.finish(), Timestamp::from_millis(1), &mut out).is_ok() {
        let signatures: Vec<_> = headers::fields(&out).map(|field| field.expect("a whole field")).collect();
        assert_eq!(signatures.len(), 2);
        assert!(out.split(|b| *b == b'\n').all(|line| line.len() <= 79));
    }
    // Records come from customers' DNS.
    let _ = KeyRecord::parse(&String::from_utf8_lossy(message));
});
