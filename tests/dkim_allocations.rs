//! Signing allocates nothing in the steady state but its output. A binary of its own, because the counting allocator
//! counts for the whole process.
//!
//! aws-lc-rs makes one buffer inside each signature before it copies it out; no safe interface of it does without. So the
//! bare signatures are counted too, and the signer may not add to them.

use std::alloc::System;

use aws_lc_rs::digest::{SHA256, digest};
use postbud::dkim::{BodyHash, Profile, Selector, Signer, SigningKey};
use postbud::message::{Field, headers};
use postbud::smtp::Domain;
use postbud::time::Timestamp;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[path = "../benches/corpus/mod.rs"]
#[allow(dead_code, reason = "shared with the benches, which use all of it")]
mod corpus;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const ROUNDS: usize = 50;

fn allocations(mut work: impl FnMut()) -> usize {
    let region = Region::new(ALLOCATOR);
    for _ in 0..ROUNDS {
        work();
    }
    let change = region.change();
    change.allocations + change.reallocations
}

#[test]
fn a_signature_allocates_nothing_of_its_own() {
    let domain = Domain::parse("test.dk").unwrap();
    let keys = || [SigningKey::generate_rsa(2048).unwrap(), SigningKey::from_ed25519_seed(&[7; 32]).unwrap()];
    let [rsa, ed25519] = keys();
    let selector = Selector::parse("s").unwrap();
    let profiles = keys().map(|key| Profile::new(domain.clone(), selector.clone(), key));
    let signer = Signer::new(profiles.into()).unwrap();

    let message = corpus::newsletter(corpus::Shape::IndentedHtml, 50_000, 1);
    let fields: Vec<Field<'_>> = headers::fields(&message.header).map(Result::unwrap).collect();
    let hash = || -> BodyHash {
        let mut hasher = signer.body_hasher();
        message.body.chunks(8192).for_each(|chunk| hasher.update(chunk));
        hasher.finish()
    };
    let body = hash();
    let mut out = Vec::with_capacity(8192);
    let sign = |out: &mut Vec<u8>| {
        out.clear();
        signer.sign(&fields, &body, Timestamp::EPOCH, out).unwrap();
    };
    // The first message grows the scratch memory.
    sign(&mut out);

    let header_hash = digest(&SHA256, b"header");
    let bare = allocations(|| {
        let mut signature = [0; 256];
        rsa.sign_digest(&header_hash, &mut signature).unwrap();
        ed25519.sign_digest(&header_hash, &mut signature[..64]).unwrap();
    });
    assert_eq!(bare, 2 * ROUNDS, "aws-lc-rs allocates one buffer a signature");
    assert_eq!(allocations(|| sign(&mut out)), bare, "and the signer adds none");
    assert_eq!(
        allocations(|| {
            hash();
        }),
        0,
        "nor does the body hash"
    );

    // Into an empty vector: the output itself, in one piece for both signatures.
    let with_output = allocations(|| {
        let mut fresh = Vec::new();
        sign(&mut fresh);
    });
    assert_eq!(with_output, bare + ROUNDS);
}
