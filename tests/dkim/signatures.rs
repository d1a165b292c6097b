//! The form of a finished signature, and the cases without one.

use std::time::Duration;

use postbud::dkim::{
    BodyHasher, Canonicalization, HeaderList, KeyError, Profile, Selector, SignError, Signer, SigningKey,
};
use postbud::message::{Field, headers};
use postbud::smtp::Domain;
use postbud::time::Timestamp;

use crate::corpus::{Shape, newsletter};
use crate::model;

pub const NOW: Timestamp = Timestamp::from_millis(1_795_458_240_123);

pub fn profile(key: SigningKey) -> Profile {
    Profile::new(Domain::parse("test.dk").unwrap(), Selector::parse("postbud1").unwrap(), key)
}

pub fn ed25519() -> SigningKey {
    SigningKey::from_ed25519_seed(&[7; 32]).unwrap()
}

/// The signatures of a message, one field each.
pub fn sign(signer: &Signer, header: &[u8], body: &[u8]) -> Result<Vec<Vec<u8>>, SignError> {
    let mut hasher = signer.body_hasher();
    hasher.update(body);
    let fields: Vec<Field<'_>> = headers::fields(header).map(Result::unwrap).collect();
    let mut out = Vec::new();
    signer.sign(&fields, &hasher.finish(), NOW, &mut out)?;
    Ok(model::fields(&out))
}

#[test]
fn rsa_and_ed25519_of_two_domains_verify_together() {
    let rsa = SigningKey::generate_rsa(2048).unwrap();
    let rsa_public = rsa.public_key().unwrap();
    // The model takes a bare RSAPublicKey as well as SubjectPublicKeyInfo.
    let other = Domain::parse("webcrm.com").unwrap();
    let mut second = profile(SigningKey::from_ed25519_seed(&[9; 32]).unwrap());
    second.domain = other;
    second.body_canonicalization = Canonicalization::Simple;
    second.header_canonicalization = Canonicalization::Simple;
    let keys = [rsa_public, ed25519().public_key().unwrap(), second.key.public_key().unwrap()];
    let signer = Signer::new(vec![profile(rsa), profile(ed25519()), second]).unwrap();
    for shape in Shape::ALL {
        let message = newsletter(shape, 4000, 1);
        let signatures = sign(&signer, &message.header, &message.body).unwrap();
        assert_eq!(signatures.len(), 3);
        for (signature, key) in signatures.iter().zip(&keys) {
            assert_eq!(model::verify(signature, &message.header, &message.body, key), Ok(()));
        }
        let d: Vec<_> = signatures.iter().map(|s| model::tag(s, "d").unwrap()).collect();
        assert_eq!(d, ["test.dk", "test.dk", "webcrm.com"]);
        assert_eq!(model::tag(&signatures[2], "c").unwrap(), "simple/simple");
    }
}

#[test]
fn the_default_signature_has_the_tags_of_current_practice() {
    let signer = Signer::new(vec![profile(ed25519())]).unwrap();
    let message = newsletter(Shape::QuotedPrintable, 2000, 1);
    let signature = sign(&signer, &message.header, &message.body).unwrap().remove(0);
    let tag = |name| model::tag(&signature, name);
    assert_eq!(tag("t").unwrap(), "1795458240");
    assert_eq!(tag("c").unwrap(), "relaxed/relaxed");
    assert_eq!((tag("l"), tag("x"), tag("i")), (None, None, None));
    let h = tag("h").unwrap();
    let count = |wanted| h.split(':').filter(|name| *name == wanted).count();
    for sealed in
        ["from", "subject", "to", "date", "message-id", "content-type", "mime-version", "list-unsubscribe-post"]
    {
        assert_eq!(count(sealed), 2, "{sealed}");
    }
    for sealed in ["cc", "sender", "content-disposition"] {
        assert_eq!(count(sealed), 1, "{sealed}, which the message does not have");
    }
    assert_eq!(count("list-owner"), 0);
    assert!(!h.split(':').any(|name| ["received", "bcc", "return-path", "precedence"].contains(&name)));
}

#[test]
fn expiry_and_identity_are_written_when_asked_for() {
    let mut wanted = profile(ed25519());
    wanted.expires = Some(Duration::from_secs(7 * 86400));
    wanted.identity = Some("@nyt.test.dk".into());
    let signer = Signer::new(vec![wanted]).unwrap();
    let signature = sign(&signer, b"From: a@test.dk\r\n", b"x\r\n").unwrap().remove(0);
    assert_eq!(model::tag(&signature, "x").unwrap(), (1_795_458_240u64 + 7 * 86400).to_string());
    assert_eq!(model::tag(&signature, "i").unwrap(), "@nyt.test.dk");
    for identity in ["test.dk", "@other.dk", "a b@test.dk", "a;b@test.dk", "@atest.dk", "@test.dk\r\nBcc: x"] {
        let mut wanted = profile(ed25519());
        wanted.identity = Some(identity.into());
        let refused = matches!(Signer::new(vec![wanted]), Err(KeyError::Identity { .. }));
        assert!(refused, "{identity:?}");
    }
}

#[test]
fn the_field_is_folded_to_78_columns_and_the_same_every_time() {
    for (selector, domain) in [
        ("s", "test.dk"),
        ("postbud1", "nyhedsbrev.en-temmelig-lang-virksomhed-med-mange-ord-i-navnet.dk"),
        ("a-selector-of-forty-octets-or-even-longer", "marketing.afdeling.kommunikation.koncern.test.dk"),
    ] {
        let mut wanted = profile(SigningKey::generate_rsa(2048).unwrap());
        wanted.selector = Selector::parse(selector).unwrap();
        wanted.domain = Domain::parse(domain).unwrap();
        wanted.expires = Some(Duration::from_secs(86400));
        let signer = Signer::new(vec![wanted, profile(ed25519())]).unwrap();
        let mut header = newsletter(Shape::Base64, 2000, 1).header;
        header.extend_from_slice("To: again@test.dk\r\nReferences: <x>\r\nSender: x\r\n".repeat(20).as_bytes());
        let signatures = sign(&signer, &header, b"x\r\n").unwrap();
        for signature in &signatures {
            let text = std::str::from_utf8(signature).unwrap();
            assert!(text.ends_with("\r\n") && !text.contains("\r\n\r\n"), "{text}");
            for line in text.split_terminator("\r\n") {
                assert!(line.len() <= 78, "{line}");
                assert!(!line.trim().is_empty() && line.trim_end() == line, "{line:?}");
            }
        }
        assert_eq!(signatures, sign(&signer, &header, b"x\r\n").unwrap());
    }
}

#[test]
fn a_tag_longer_than_a_line_stands_alone() {
    let mut wanted = profile(ed25519());
    wanted.domain = Domain::parse(&format!("{}.test.dk", ["x".repeat(60).as_str(); 3].join("."))).unwrap();
    let signer = Signer::new(vec![wanted]).unwrap();
    let signature = sign(&signer, b"From: a@test.dk\r\n", b"x\r\n").unwrap().remove(0);
    let text = String::from_utf8(signature.clone()).unwrap();
    assert!(text.contains("\r\n d=xxx"), "{text}");
    assert_eq!(model::verify(&signature, b"From: a@test.dk\r\n", b"x\r\n", &ed25519().public_key().unwrap()), Ok(()));
    let mut too_long = profile(ed25519());
    too_long.domain = Domain::parse(&["x".repeat(49).as_str(); 5].join(".")).unwrap();
    assert!(matches!(Signer::new(vec![too_long]), Err(KeyError::NameTooLong(_))));
}

#[test]
fn a_message_needs_one_from() {
    let signer = Signer::new(vec![profile(ed25519())]).unwrap();
    assert_eq!(sign(&signer, b"To: a@test.dk\r\n", b"").unwrap_err(), SignError::NoFrom);
    assert_eq!(sign(&signer, b"", b"").unwrap_err(), SignError::NoFrom);
    let two = b"From: a@test.dk\r\nTo: x\r\nFROM: b@test.dk\r\n";
    assert_eq!(sign(&signer, two, b"").unwrap_err(), SignError::SeveralFrom(2));
    assert_eq!(Signer::new(vec![]).unwrap_err(), KeyError::NoProfile);
}

#[test]
fn a_failed_signature_leaves_the_output_as_it_was() {
    let mut simple = profile(ed25519());
    simple.body_canonicalization = Canonicalization::Simple;
    let signer = Signer::new(vec![profile(ed25519()), simple]).unwrap();
    let foreign = BodyHasher::new([Canonicalization::Relaxed]).finish();
    let mut out = b"before".to_vec();
    let from = Field::new(b"From: a@test.dk\r\n").unwrap();
    let error = signer.sign(&[from], &foreign, NOW, &mut out).unwrap_err();
    assert_eq!(error, SignError::NotHashed(Canonicalization::Simple));
    assert_eq!(out, b"before");
}

#[test]
fn one_more_of_a_sealed_field_breaks_the_signature() {
    let signer = Signer::new(vec![profile(ed25519())]).unwrap();
    let header = b"From: a@test.dk\r\nSubject: x\r\nX-Other: 1\r\nList-Unsubscribe: <https://test.dk/u>\r\nList-Id: <test.dk>\r\n\
        List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n";
    let signature = sign(&signer, header, b"x\r\n").unwrap().remove(0);
    let key = ed25519().public_key().unwrap();
    let verify = |header: &[u8]| model::verify(&signature, header, b"x\r\n", &key);
    assert_eq!(verify(header), Ok(()));
    for added in [
        "From: b@evil.dk\r\n",
        "Sender: b@evil.dk\r\n",
        "Subject: y\r\n",
        "Cc: y\r\n",
        "Reply-To: y\r\n",
        "Content-Type: y\r\n",
        "Content-Disposition: attachment\r\n",
        "List-Unsubscribe: <https://evil.dk>\r\n",
        "list-unsubscribe-post: List-Unsubscribe=One-Click\r\n",
        "List-Id: <evil.dk>\r\n",
    ] {
        assert_eq!(verify(&[added.as_bytes(), header].concat()), Err("signature"), "{added}");
        assert_eq!(verify(&[header, added.as_bytes()].concat()), Err("signature"), "{added} at the end");
    }
    // What those who pass mail on may add.
    let added =
        b"X-Other: 2\r\nReceived: y\r\nResent-From: z@liste.dk\r\nResent-Date: x\r\nList-Post: <mailto:z@liste.dk>\r\n";
    assert_eq!(verify(&[&added[..], header].concat()), Ok(()));
}

#[test]
fn a_list_of_ones_own_is_kept() {
    let mut wanted = profile(ed25519());
    wanted.headers = HeaderList::new(["Subject"], ["X-Own", "To"]).unwrap();
    let signer = Signer::new(vec![wanted]).unwrap();
    let header = b"X-OWN: 1\r\nFrom: a@test.dk\r\nTo:b\r\nX-own:2\r\n";
    let signature = sign(&signer, header, b"x\r\n").unwrap().remove(0);
    assert_eq!(model::tag(&signature, "h").unwrap(), "from:from:subject:x-own:x-own:to");
    assert_eq!(model::verify(&signature, header, b"x\r\n", &ed25519().public_key().unwrap()), Ok(()));
}
