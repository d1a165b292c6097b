use mail_auth::common::parse::TxtRecordParser;
use mail_auth::dmarc::{Dmarc, Policy as Theirs};
use proptest::prelude::*;

use super::*;

#[test]
fn the_guides_own_record_is_read_and_its_obsolete_tag_named() {
    let text = "v=DMARC1; p=none; pct=100; rua=mailto:yourmail@yourdomain.com; sp=none; aspf=r;";
    let record = Record::parse(text).unwrap();
    assert_eq!(
        (record.policy, &record.obsolete[..], record.percent, record.unread.len()),
        (Policy::None, &["pct".to_owned()][..], None, 0)
    );
}

#[test]
fn what_keeps_receivers_from_using_a_record_is_named_for_what_it_is() {
    let policy = |tag: &str| vec![Unusable::Policy(tag.to_owned())];
    let value = |tag: &str| vec![Unusable::Value(tag.to_owned())];
    let tags = |mistake: Mistake| vec![Unusable::Tags(mistake)];
    for (text, refused) in [
        ("v=DMARC1; p=maybe", policy("p=maybe")),
        ("v=DMARC1; p=maybe; rua=mailto:a@b.dk", policy("p=maybe")),
        ("v=DMARC1; p=reject; sp=maybe", policy("sp=maybe")),
        ("v=DMARC1; p=reject; np=maybe; rua=mailto:d@test.dk", policy("np=maybe")),
        ("v=DMARC1", vec![Unusable::NoPolicy(vec![])]),
        ("v=DMARC1; rua=mailto:a@b.dk", vec![Unusable::NoPolicy(vec![])]),
        ("v=DMARC1; sp=reject; rua=mailto:a@b.dk", vec![Unusable::NoPolicy(vec!["sp".to_owned()])]),
        ("v=DMARC1; p=none; P=reject; rua=mailto:d@test.dk", tags(Mistake::Twice("P".to_owned()))),
        ("v=DMARC1; v=DMARC1; p=none", tags(Mistake::Twice("v".to_owned()))),
        ("v=DMARC1; p=none, rua=mailto:d@test.dk", tags(Mistake::NoSemicolon("rua".to_owned()))),
        ("v=DMARC1; p=none rua=mailto:d@test.dk", tags(Mistake::NoSemicolon("rua".to_owned()))),
        ("v=DMARC1;\u{a0}p=reject", tags(Mistake::Character('\u{a0}'))),
        ("v=DMARC1; p=reject\u{200b}", tags(Mistake::Character('\u{200b}'))),
        ("v=DMARC1; p=reject;; rua=mailto:d@test.dk", tags(Mistake::EmptyTag)),
        ("v=DMARC1; p=reject\\; rua=mailto:d@test.dk", tags(Mistake::Quoting('\\'))),
        ("v=DMARC1; p=reject; my rua=mailto:d@test.dk", tags(Mistake::NoTag("my rua=mailto:d@test.dk".to_owned()))),
        ("v=DMARC1; p=reject; aspf=strict", value("aspf=strict")),
        ("v=DMARC1; p=reject; fo=1:2", value("fo=1:2")),
        ("v=DMARC1; p=reject; rua=mailto:d@test.dk!10mb", value("rua=mailto:d@test.dk!10mb")),
        ("v=DMARC1; p=reject; rua=mailto:d%4@test.dk", value("rua=mailto:d%4@test.dk")),
    ] {
        assert_eq!(Record::parse(text), Err(refused), "{text}");
    }
}

#[test]
fn names_and_policies_may_be_in_any_case() {
    let record =
        Record::parse("V=DMARC1; P=Reject; SP=none; t=Y; PCT=20; RUA=mailto:a@b.dk!10m , mailto:c@d.dk;").unwrap();
    assert_eq!((record.policy, record.subdomain_policy), (Policy::Reject, Some(Policy::None)));
    assert_eq!((record.testing, record.percent), (true, Some(20)));
    assert_eq!(record.reports, ["mailto:a@b.dk!10m", "mailto:c@d.dk"]);
}

#[test]
fn only_the_exact_version_is_dmarc() {
    assert!(is_dmarc("V=DMARC1; p=none") && !is_dmarc("v=dmarc1; p=none"));
    assert!(!is_dmarc("v=DMARC1x; p=none") && !is_dmarc("p=none; v=DMARC1") && is_dmarc("v = DMARC1;p=none"));
    for near in [
        "v=dmarc1; p=none",
        "\u{feff}v=DMARC1; p=none",
        "v=DMARC1\u{a0}; p=none",
        "v=DMARC1, p=none",
        "“v=DMARC1; p=none”",
        "_dmarc IN TXT v=DMARC1; p=none",
        "_dmarc.test.dk. 3600 IN TXT \"v=DMARC1; p=none\"",
        "ｖ=DMARC1; p=none",
        "DMARC1; p=none",
    ] {
        assert!(looks_like_dmarc(near) && !is_dmarc(near), "{near}");
    }
    for other in ["v=DMARC1; p=none", "v=spf1 -all", "google-site-verification=DMARC1", ""] {
        assert!(!looks_like_dmarc(other), "{other}");
    }
}

#[test]
fn what_was_meant_is_what_is_proposed() {
    for (text, meant) in [
        (
            "v=DMARC1; p=reject; rua=mailto:a@b.dk; rua=mailto:c@d.dk",
            "v=DMARC1; p=reject; rua=mailto:a@b.dk,mailto:c@d.dk",
        ),
        ("v=DMARC1; p=reject; p=reject", "v=DMARC1; p=reject"),
        ("v=DMARC1; p=reject; p=none", "v=DMARC1; p=none"),
        ("v=DMARC1; p=reject; aspf=s; aspf=r; x=y", "v=DMARC1; p=reject; aspf=s"),
        ("v=DMARC1; p=none, rua=mailto:a@b.dk", "v=DMARC1; p=none; rua=mailto:a@b.dk"),
        ("v=DMARC1;\u{a0}p=Quarantine; pct=0; rua=mailto:a@b.dk", "v=DMARC1; p=quarantine; t=y; rua=mailto:a@b.dk"),
        ("v=DMARC1; p=none; pct=0", "v=DMARC1; p=none"),
        ("v=DMARC1; p=reject; pct=50; ri=86400", "v=DMARC1; p=reject; pct=50"),
        ("_dmarc IN TXT \"v=DMARC1; p=reject; sp=none\"", "v=DMARC1; p=reject; sp=none"),
        ("v=dmarc1; p=reject; adkim=strict; fo=1", "v=DMARC1; p=reject; fo=1"),
        ("v=DMARC1; p=reject; rua=a@b.dk,mailto:c@d.dk", "v=DMARC1; p=reject; rua=mailto:a@b.dk,mailto:c@d.dk"),
        // Addresses as people write them.
        ("v=DMARC1;p=none;rua=a@b.dk", "v=DMARC1; p=none; rua=mailto:a@b.dk"),
        ("v=DMARC1; p=none; rua=mailto: a@b.dk", "v=DMARC1; p=none; rua=mailto:a@b.dk"),
        ("v=DMARC1; p=none; rua=mailto:a@b.dk; mailto:c@d.dk", "v=DMARC1; p=none; rua=mailto:a@b.dk,mailto:c@d.dk"),
        ("v=DMARC1; p=none; rua=mailto:a@b.dk mailto:c@d.dk", "v=DMARC1; p=none; rua=mailto:a@b.dk,mailto:c@d.dk"),
        ("v=DMARC1; p=none; rua:mailto:a@b.dk", "v=DMARC1; p=none; rua=mailto:a@b.dk"),
        ("v=DMARC1; p=none; rua=\"mailto:a@b.dk\"", "v=DMARC1; p=none; rua=mailto:a@b.dk"),
        ("v=DMARC1; p=none; rua=<mailto:a@b.dk>", "v=DMARC1; p=none; rua=mailto:a@b.dk"),
        ("v=DMARC1; p=none; rua=mailto//a@b.dk", "v=DMARC1; p=none; rua=mailto:a@b.dk"),
        ("v=DMARC1; p=none; rua=mail:a@b.dk", "v=DMARC1; p=none; rua=mailto:a@b.dk"),
        ("v=DMARC1; p=none; rua=mailbox@b.dk", "v=DMARC1; p=none; rua=mailto:mailbox@b.dk"),
        ("v=DMARC1; p=none; ruf=a@b.dk; rua=https://b.dk/x", "v=DMARC1; p=none; ruf=mailto:a@b.dk"),
        // The version, and what stands around the record.
        ("v=DMARC; p=quarantine", "v=DMARC1; p=quarantine"),
        ("v=DMARC 1; p=reject", "v=DMARC1; p=reject"),
        ("v:DMARC1; p=reject", "v=DMARC1; p=reject"),
        ("v=DMARC1|p=reject", "v=DMARC1; p=reject"),
        ("v=DMARC1\\;p=reject", "v=DMARC1; p=reject"),
        ("v=DMARC1;&nbsp;p=reject", "v=DMARC1; p=reject"),
        ("Value v=DMARC1; p=reject", "v=DMARC1; p=reject"),
        ("v=DMARC1; p=reject v=DMARC1; p=none", "v=DMARC1; p=none"),
        ("v=DMARC1;\u{202f}p=reject", "v=DMARC1; p=reject"),
        ("v=DMARC1;\u{85}p=reject", "v=DMARC1; p=reject"),
        ("v=DMARC1; p\u{200b}=re\u{ad}ject\u{37e}", "v=DMARC1; p=reject"),
        ("v=DMARC1; p=reject; adkim=relaxed; aspf=S; pct=100%", "v=DMARC1; p=reject; aspf=s"),
    ] {
        assert_eq!(amended(text).as_deref(), Some(meant), "{text}");
        assert!(Record::parse(meant).is_ok(), "{meant}");
    }
    // What was plainly meant does not count for that.
    for text in
        ["v=DMARC1; policy=none", "v=DMARC1; p:none", "v=DMARC1; \u{440}=none", "v=DMARC1; p=none.", "v=DMARC1; p=non"]
    {
        assert_eq!(amended(text).as_deref(), Some("v=DMARC1; p=none"), "{text}");
        assert!(Record::parse(text).is_err(), "{text}");
    }
    // Nor does a policy for names below the domain become its own.
    for below in ["ssp=reject", "subdomain=reject", "sub_policy=quarantine", "nnp=reject"] {
        assert_eq!(amended(&format!("v=DMARC1; {below}")), None, "{below}");
    }
    for unknown in ["v=DMARC1; p=monitor", "v=DMARC1; p=maybe", "v=DMARC1; sp=maybe", "v=DMARC1; p=reject; p=maybe", ""]
    {
        assert_eq!(amended(unknown), None, "{unknown}");
    }
}

/// Pieces that records are made of, right and wrong.
fn text() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "v=DMARC1",
        "; ",
        ";",
        " ",
        "\t",
        ",",
        "p=reject",
        "p=none",
        "p = quarantine",
        "sp=none",
        "np=",
        "P=reject",
        "rua=mailto:a@b.dk",
        "mailto:c@d.dk!10m",
        "!",
        "%",
        "aspf=s",
        "adkim=x",
        "fo=1:d",
        "fo=",
        "pct=0",
        "t=y",
        "psd=n",
        "\u{a0}",
        "\u{feff}",
        "\u{200b}",
        "\"",
        "\\",
        "=",
        "x",
        "rua",
        "\r\n",
        "ø",
        "\u{c}",
    ]);
    let any = prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat());
    prop_oneof![any.clone(), any.prop_map(|rest| format!("v=DMARC1; p=reject; {rest}"))]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn what_counts_as_verified_is_the_same_policy_to_a_strangers_parser(text in text()) {
        if is_dmarc(&text) && let Ok(record) = Record::parse(&text) {
            let theirs = Dmarc::parse(text.as_bytes());
            let theirs = theirs.map_err(|error| TestCaseError::fail(format!("{text:?}: {error:?}")))?;
            let same = |ours: Policy| match ours {
                Policy::None => Theirs::None,
                Policy::Quarantine => Theirs::Quarantine,
                Policy::Reject => Theirs::Reject,
            };
            prop_assert_eq!(&theirs.p, &same(record.policy), "{:?}", text);
            prop_assert_eq!(&theirs.sp, &same(record.subdomain_policy.unwrap_or(record.policy)), "{:?}", text);
        }
    }

    #[test]
    fn what_is_proposed_can_be_used(text in text()) {
        if let Some(proposed) = amended(&text) {
            prop_assert!(is_dmarc(&proposed), "{} became {}", text, proposed);
            let record = Record::parse(&proposed);
            prop_assert!(record.is_ok(), "{} became {}: {:?}", text, proposed, record);
            prop_assert!(Dmarc::parse(proposed.as_bytes()).is_ok(), "{} became {}", text, proposed);
            prop_assert_eq!(amended(&proposed), Some(proposed.clone()));
            if let Ok(before) = Record::parse(&text) {
                prop_assert_eq!(before.policy, record.unwrap().policy);
            }
        }
    }
}

#[test]
fn a_record_costs_in_proportion_to_its_length() {
    crate::test_cost::is_linear(
        crate::test_cost::LONG,
        |text: &String| {
            let _ = Record::parse(text);
            amended(text);
            looks_like_dmarc(text);
        },
        &[
            ("different tags", |size| {
                format!("v=DMARC1; p=none; {}", (0..size / 8).map(|at| format!("x{at:05}=;")).collect::<String>())
            }),
            ("the same tag", |size| format!("v=DMARC1; {}", "p=none; ".repeat(size / 8))),
            ("no semicolons", |size| format!("v=DMARC1; {}", "p=none, ".repeat(size / 8))),
            ("addresses", |size| format!("v=DMARC1; p=none; rua={}", "mailto:a@b.dk,".repeat(size / 14))),
            ("addresses at fault", |size| format!("v=DMARC1; p=none; rua={}", "x!%,".repeat(size / 4))),
            ("failure options", |size| format!("v=DMARC1; p=none; fo={}", "1:".repeat(size / 2))),
            ("words before", |size| format!("{}v=DMARC1; p=none", "word ".repeat(size / 5))),
            ("semicolons", |size| format!("v=DMARC1{}", ";".repeat(size))),
            ("no-break spaces", |size| format!("v=DMARC1;{}p=none", "\u{a0}".repeat(size / 2))),
        ],
    );
}
