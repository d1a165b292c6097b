//! Any message, split anywhere, against the slow model.

use postbud::dkim::canonical::{self, Body};
use postbud::dkim::{BodyHasher, Canonicalization, Signer};
use postbud::message::Field;
use proptest::prelude::*;

use crate::corpus::{Shape, newsletter};
use crate::model;
use crate::signatures::{ed25519, profile, sign};

const BOTH: [(Canonicalization, &str); 2] =
    [(Canonicalization::Relaxed, "relaxed"), (Canonicalization::Simple, "simple")];

fn engine(how: Canonicalization, chunks: &[&[u8]]) -> Vec<u8> {
    let mut body = Body::new(how);
    let mut out = Vec::new();
    for chunk in chunks {
        body.update(chunk, &mut out);
    }
    body.finish(&mut out);
    out
}

/// Text in which everything canonicalization looks at is frequent, in pieces long enough for every path of the kernel.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => Just(b"\r\n".to_vec()),
        3 => Just(b" ".to_vec()),
        2 => Just(b"\t".to_vec()),
        1 => Just(b"\r".to_vec()),
        1 => Just(b"\n".to_vec()),
        1 => Just(b"\0".to_vec()),
        1 => prop::collection::vec(prop_oneof![Just(b' '), Just(b'\t')], 0..90),
        4 => prop::collection::vec(prop_oneof![8 => 33u8..=255, 1 => Just(b' ')], 1..20),
        1 => prop::collection::vec(prop_oneof![20 => 33u8..=126, 1 => Just(b' ')], 60..200),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn bodies_are_canonicalized_as_the_model_does(text in text(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|cut| &text[cut[0]..cut[1]]).collect();
        for (how, name) in BOTH {
            prop_assert_eq!(engine(how, &chunks), model::body(name, &text), "{}", name);
        }
    }

    #[test]
    fn fields_are_canonicalized_as_the_model_does(name in "[!-9;-~]{1,20}", value in text()) {
        // Folded where a line ends, as in a field that a message can hold.
        let value: Vec<u8> = value
            .split(|octet| *octet == b'\n')
            .map(|line| line.to_vec())
            .collect::<Vec<_>>()
            .join(&b"\n "[..]);
        let raw = [name.as_bytes(), b":", &value, b"\r\n"].concat();
        for (how, name) in BOTH {
            let mut out = Vec::new();
            canonical::field(how, Field::new(&raw).unwrap(), &mut out);
            prop_assert_eq!(out, model::field(name, &raw), "{}", name);
        }
    }

    #[test]
    fn signatures_verify_in_the_model(
        fields in prop::collection::vec(("(From|To|Cc|Subject|X-Any|List-Unsubscribe|received)", "[ -~æøå\t]{0,100}"), 0..12),
        folds in prop::collection::vec(any::<bool>(), 12),
        text in text(),
    ) {
        let mut header = b"From: a@test.dk\r\n".to_vec();
        for ((name, value), fold) in fields.iter().zip(folds).filter(|((name, _), _)| name != "From") {
            let between = if fold { "\r\n " } else { "" };
            header.extend_from_slice(format!("{name}:{between}{value}\r\n").as_bytes());
        }
        let mut simple = profile(ed25519());
        (simple.header_canonicalization, simple.body_canonicalization) = (Canonicalization::Simple, Canonicalization::Simple);
        let signer = Signer::new(vec![profile(ed25519()), simple]).unwrap();
        for signature in sign(&signer, &header, &text).unwrap() {
            prop_assert_eq!(model::verify(&signature, &header, &text, &ed25519().public_key().unwrap()), Ok(()));
        }
    }
}

#[test]
fn every_split_in_two_gives_the_same_hash() {
    let odd = b"a  \r\n\t\r\n b\tc \r\n\r\n\r\n d\r e\r\r\n \r\n\r\n".to_vec();
    let long = newsletter(Shape::IndentedHtml, 3000, 3).body;
    for text in [odd, long] {
        let hash = |chunks: &[&[u8]]| {
            let mut hasher = BodyHasher::new([Canonicalization::Relaxed, Canonicalization::Simple]);
            chunks.iter().for_each(|chunk| hasher.update(chunk));
            hasher.finish()
        };
        let whole = hash(&[&text]);
        for cut in 0..=text.len() {
            assert_eq!(hash(&[&text[..cut], &text[cut..]]), whole, "cut at {cut}");
        }
        let octets: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(hash(&octets), whole);
    }
}

#[test]
fn newsletters_are_canonicalized_as_the_model_does() {
    for shape in Shape::ALL {
        let text = newsletter(shape, 30_000, 5).body;
        for (how, name) in BOTH {
            let expected = model::body(name, &text);
            for size in [1, 63, 64, 65, 1000, 8192, text.len()] {
                let chunks: Vec<&[u8]> = text.chunks(size).collect();
                assert_eq!(engine(how, &chunks), expected, "{shape:?} {name} in chunks of {size}");
            }
        }
    }
}

#[test]
fn a_body_of_blank_lines_only_counts_them() {
    let text = b" \r\n".repeat(100_000);
    assert_eq!(engine(Canonicalization::Relaxed, &[&text]), b"");
    let then = [&text[..], b"x"].concat();
    assert_eq!(engine(Canonicalization::Relaxed, &[&then]), model::body("relaxed", &then));
}
