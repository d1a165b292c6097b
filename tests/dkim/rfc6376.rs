//! RFC 6376: the examples of §3.4, and the signed message of Appendix A with the key of Appendix C.
//!
//! The key has 1024 bits, which we do not sign with; so the RFC's signature is checked over our canonical octets.

use aws_lc_rs::signature::{RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use postbud::dkim::canonical::{self, Body};
use postbud::dkim::{BodyHasher, Canonicalization};
use postbud::message::headers;

use crate::model;

const PUBLIC_KEY: &str = "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYtIxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB";

const SIGNATURE: &str = "DKIM-Signature: v=1; a=rsa-sha256; s=brisbane; d=example.com;\r\n      c=simple/simple; q=dns/txt; i=joe@football.example.com;\r\n      h=Received : From : To : Subject : Date : Message-ID;\r\n      bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n      b=AuUoFEfDxTDkHlLXSZEpZj79LICEps6eda7W3deTVFOk4yAUoqOB\r\n        4nujc7YopdG5dWLSdNg6xNAZpOPr+kHxt1IrE+NahM6L/LbvaHut\r\n        KVdkLLkpVaVVQPzeRDI009SO2Il5Lu7rDNH6mZckBdrIx0orEtZV\r\n        4bmp/YzhwvcubU4=;\r\n";

const HEADER: &str = "Received: from client1.football.example.com  [192.0.2.1]\r\n      by submitserver.example.com with SUBMISSION;\r\n      Fri, 11 Jul 2003 21:01:54 -0700 (PDT)\r\nFrom: Joe SixPack <joe@football.example.com>\r\nTo: Suzie Q <suzie@shopping.example.net>\r\nSubject: Is dinner ready?\r\nDate: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\nMessage-ID: <20030712040037.46341.5F8J@football.example.com>\r\n";

const BODY: &str = "Hi.\r\n\r\nWe lost the game. Are you hungry yet?\r\n\r\nJoe.\r\n";

#[test]
fn appendix_a_verifies_over_our_canonical_octets() {
    let mut hasher = BodyHasher::new([Canonicalization::Simple]);
    hasher.update(BODY.as_bytes());
    let hash = hasher.finish();
    assert_eq!(hash.get(Canonicalization::Simple).unwrap(), b"2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=");

    // h= names the fields in the order of the message.
    let mut signed = Vec::new();
    for field in headers::fields(HEADER.as_bytes()) {
        canonical::field(Canonicalization::Simple, field.unwrap(), &mut signed);
    }
    let before_b = SIGNATURE.find("b=Au").unwrap() + 2;
    signed.extend_from_slice(&SIGNATURE.as_bytes()[..before_b]);
    signed.push(b';');
    let b = BASE64.decode(model::tag(SIGNATURE.as_bytes(), "b").unwrap()).unwrap();
    UnparsedPublicKey::new(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, BASE64.decode(PUBLIC_KEY).unwrap())
        .verify(&signed, &b)
        .unwrap();
}

#[test]
fn appendix_a_verifies_in_the_model() {
    let key = BASE64.decode(PUBLIC_KEY).unwrap();
    let (signature, header) = (SIGNATURE.as_bytes(), HEADER.as_bytes());
    assert_eq!(model::verify(signature, header, BODY.as_bytes(), &key), Ok(()));
    assert_eq!(model::verify(signature, header, b"Hi.\r\n", &key), Err("body hash"));
    let other = HEADER.replace("Suzie", "Suzy");
    assert_eq!(model::verify(signature, other.as_bytes(), BODY.as_bytes(), &key), Err("signature"));
}

#[test]
fn section_3_4_5_examples_hold_for_engine_and_model() {
    let text = b" C \r\nD \t E\r\n\r\n\r\n";
    for (how, name, expected) in [
        (Canonicalization::Relaxed, "relaxed", &b" C\r\nD E\r\n"[..]),
        (Canonicalization::Simple, "simple", b" C \r\nD \t E\r\n"),
    ] {
        let mut out = Vec::new();
        let mut body = Body::new(how);
        body.update(text, &mut out);
        body.finish(&mut out);
        assert_eq!(out, expected);
        assert_eq!(model::body(name, text), expected);
    }
    // The RFC's own example has a space before the colon ("B : Y"), which intake refuses.
    assert_eq!(model::field("relaxed", b"B: Y\t\r\n\tZ  \r\n"), b"b:Y Z\r\n");
}
