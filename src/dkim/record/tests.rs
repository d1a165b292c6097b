use super::*;

fn key_and_record() -> (SigningKey, TxtRecord) {
    let key = SigningKey::generate_rsa(2048).unwrap();
    let domain = Domain::parse("test.dk").unwrap();
    let record = render(&domain, &Selector::parse("postbud1").unwrap(), &key).unwrap();
    (key, record)
}

#[test]
fn what_is_rendered_is_read_back_and_matches_its_key_only() {
    let (key, record) = key_and_record();
    let parsed = KeyRecord::parse(&record.value);
    assert!(parsed.flaws.is_empty(), "{:?}", parsed.flaws);
    assert_eq!((parsed.key_type, parsed.rsa_bits), (Some(KeyType::Rsa), Some(2048)));
    assert!(parsed.is_of(&key));
    assert!(!parsed.is_of(&SigningKey::generate_rsa(2048).unwrap()));
    let ed = SigningKey::generate_ed25519().unwrap();
    assert!(!parsed.is_of(&ed));
    let text = format!("v=DKIM1; k=ed25519; p={}", ed.public_key_base64().unwrap());
    assert!(KeyRecord::parse(&text).is_of(&ed));
}

#[test]
fn a_long_value_is_split_into_strings_of_255_octets() {
    let (_, record) = key_and_record();
    let strings: Vec<_> = record.strings().collect();
    assert_eq!(strings.concat(), record.value);
    assert_eq!(strings[0].len(), 255);
    let line = record.zone_line();
    assert!(line.starts_with("postbud1._domainkey.test.dk. IN TXT ( \"v=DKIM1; k=rsa; p="));
    assert!(line.ends_with("\" )"));
}

#[test]
fn a_bare_rsa_public_key_is_accepted() {
    let (key, record) = key_and_record();
    let spki = key.public_key().unwrap();
    let bare = base64::engine::general_purpose::STANDARD.encode(der::rsa_public_key(&spki).unwrap());
    assert!(KeyRecord::parse(&format!("p={bare}")).is_of(&key));
    let spaced = KeyRecord::parse(&record.value.replace("; ", " ;\t").replace("IDAQAB", "IDAQ AB"));
    assert!(spaced.is_of(&key) && spaced.is_usable());
}

#[test]
fn findings_name_what_is_wrong() {
    let (_, record) = key_and_record();
    let good = record.value;
    let p = good.split("p=").nth(1).unwrap();
    let weak = "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYtIxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB";
    for (text, flaw, fatal) in [
        (good.replace("v=DKIM1; ", ""), Flaw::NoVersion, false),
        (format!("{}; v=DKIM1", good.replace("v=DKIM1; ", "")), Flaw::VersionNotFirst, true),
        (good.replace("DKIM1", "dkim1"), Flaw::Version("dkim1".into()), true),
        (good.replace("DKIM1", "DKIM2"), Flaw::Version("DKIM2".into()), true),
        ("v=DKIM1".into(), Flaw::NoKey, true),
        ("v=DKIM1; p=".into(), Flaw::Revoked, true),
        (format!("v=DKIM1; p={}", &p[..200]), Flaw::Truncated, true),
        (format!("v=DKIM1; p={}", &p[..201]), Flaw::Truncated, true),
        ("v=DKIM1; p=MIIB…".into(), Flaw::NotBase64('…'), true),
        (format!("v=DKIM1; p={weak}"), Flaw::Weak(1024), true),
        (good.replace("k=rsa", "k=ec"), Flaw::KeyType("ec".into()), true),
        (good.replace("k=rsa", "k=ed25519"), Flaw::OtherKeyType(KeyType::Rsa), true),
        (good.replace("k=rsa", "h=sha1"), Flaw::Hash("sha1".into()), true),
        (good.replace("k=rsa", "s=tlsrpt"), Flaw::Service("tlsrpt".into()), true),
        (good.replace("k=rsa", "t=y"), Flaw::Testing, false),
        (good.replace("k=rsa", "t=s"), Flaw::Strict, false),
        (good.replace("k=rsa", "k=RSA"), Flaw::KeyType("RSA".into()), true),
        (good.replace("k=rsa", "s=email:tlsrpt"), Flaw::Service("email:tlsrpt".into()), true),
        (good.replace("p=", "P="), Flaw::Case("P".into()), true),
        (format!("v=DKIM1; k=ed25519; p={}", "A".repeat(43)), Flaw::NoPadding, true),
        (format!("{good}; p={p}"), Flaw::Tags(Mistake::Twice("p".into())), true),
        (format!("{good}; junk"), Flaw::Tags(Mistake::NoTag("junk".into())), true),
        (format!("\"{good}\""), Flaw::Tags(Mistake::Quoting('"')), true),
        (good.replace(';', "\\;"), Flaw::Tags(Mistake::Quoting('\\')), true),
        (good.replace(" p=", "\u{a0}p="), Flaw::Tags(Mistake::Character('\u{a0}')), true),
        (format!("\u{feff}{good}"), Flaw::Tags(Mistake::Character('\u{feff}')), true),
        (good.replace("k=rsa;", "h=sha256"), Flaw::Tags(Mistake::NoSemicolon("p".into())), true),
        (format!("s._domainkey IN TXT {good}"), Flaw::Tags(Mistake::ZoneLine), true),
    ] {
        let parsed = KeyRecord::parse(&text);
        // One mistake gives one flaw: what follows from it is not reported again.
        assert_eq!(parsed.flaws, std::slice::from_ref(&flaw), "{text}");
        assert_eq!(flaw.is_fatal(), fatal, "{text}");
        assert_eq!(parsed.is_usable(), !fatal, "{text}: {:?}", parsed.flaws);
    }
    assert!(KeyRecord::parse(&format!("v=DKIM1; p={weak}")).is_usable_for_others());
    assert!(Flaw::Weak(1023).is_fatal_to_others() && Flaw::Revoked.is_fatal_to_others());
}

#[test]
fn a_record_that_receivers_cannot_read_never_counts() {
    let (_, record) = key_and_record();
    let good = record.value;
    let p = good.split("p=").nth(1).unwrap();
    let broken = [
        format!("v=DKIM1&#59; k=rsa; p={p}"),
        format!("v=DKIM1;&nbsp;k=rsa; p={p}"),
        format!("<{good}>"),
        format!("({good})"),
        format!("'{good}'"),
        format!("{good}\""),
        format!("v=DKIM1; k=rsa; p=\"{p}\""),
        format!("v=DKIM1: k=rsa: p={p}"),
        format!("v=DKIM1 | k=rsa | p={p}"),
        format!("v:DKIM1; k:rsa; p:{p}"),
        format!("v=DKIM1; k=rsa; p {p}"),
        format!("v=DKIM1; k=rsa; p=={p}"),
        format!("{good}."),
        format!("v=DKIM1;\u{202f}k=rsa; p={p}"),
        format!("v=DKIM1;\u{2003}k=rsa; p={p}"),
        format!("v=DKIM1;\u{85}k=rsa; p={p}"),
        good.replace("IDAQAB", "IDAQ\u{200b}AB"),
        good.replace("IDAQAB", "IDAQ\u{ad}AB"),
        format!("v=DKIM1\u{37e} k=rsa; p={p}"),
        format!("v\u{ff1d}DKIM1; k=rsa; p={p}"),
        format!("v=DKIM1; k=rsa; \u{440}={p}"),
        format!("{good} {good}"),
        format!("TXT {good}"),
        format!("sel._domainkey {good}"),
        format!("sel._domainkey.test.dk={good}"),
        format!("sel._domainkey.test.dk:{good}"),
        format!("v=DKIM1 k=rsa p={p}"),
        format!("v=DKIM1, k=rsa, p={p}"),
        format!("v=DKIM1\\059 k=rsa; p={p}"),
        format!("v=DKIM1; k=rsa; p=-----BEGIN PUBLIC KEY-----{p}-----END PUBLIC KEY-----"),
        format!("{good}; k=rsa; p="),
        format!("v=DKIM1; K=RSA; P={p}"),
        format!("v=DKIM1; k=rsa; p={}", p.replace('+', "%2B").replace('/', "%2F")),
        format!("{good}<br>"),
        format!("{good}\0"),
        // RFC 6376 §3.2: no hyphen stands in a tag's name.
        format!("v=DKIM1; x-vendor=1; p={p}"),
        good.replace("v=DKIM1", "v=DKIM-1"),
        good.replace("k=rsa", "k=rsa-sha256"),
    ];
    for text in broken {
        let read = KeyRecord::parse(&text);
        assert!(!read.is_usable() && !read.flaws.is_empty(), "{text}: {read:?}");
    }
    for text in [
        format!("v=DKIM1;k=rsa;p={p};"),
        format!("k=rsa; p={p}"),
        format!("p = {p}"),
        format!(" v = DKIM1 ;\r\n\tk = rsa ; p = {p}"),
        format!("v=DKIM1; t=s:y; p={p}"),
        format!("v=DKIM1; n=a note, with k=x in it; p={p}"),
        format!("v=DKIM1; h=sha1:sha256; s=*; p={p}"),
        format!("v=DKIM1; x_vendor=1; p={p}"),
    ] {
        assert!(KeyRecord::parse(&text).is_usable(), "{text}");
    }
}

#[test]
fn a_record_costs_in_proportion_to_its_length() {
    crate::test_cost::is_linear(
        crate::test_cost::LONG,
        |text: &String| drop(KeyRecord::parse(text)),
        &[
            ("different tags", |size| (0..size / 8).map(|at| format!("x{at:05}=;")).collect()),
            ("the same tag", |size| "t=y; ".repeat(size / 5)),
            ("no semicolons", |size| "t=y ".repeat(size / 4)),
            ("semicolons", |size| ";".repeat(size)),
            ("equals signs", |size| "=".repeat(size)),
            ("names without a sign", |size| "junk;".repeat(size / 5)),
            ("blanks", |size| format!("v=DKIM1;{}", " ".repeat(size))),
            ("words before", |size| format!("{}v=DKIM1; p=", "word ".repeat(size / 5))),
            ("base64", |size| format!("v=DKIM1; p={}", "MIIB".repeat(size / 4))),
            ("base64 with blanks", |size| format!("v=DKIM1; p={}", "MI ".repeat(size / 3))),
            ("lists", |size| format!("v=DKIM1; h={}; p=", "sha1:".repeat(size / 5))),
            ("quotation marks", |size| "\"\\".repeat(size / 2)),
            ("no-break spaces", |size| format!("v=DKIM1;{}p=", "\u{a0}".repeat(size / 2))),
            ("strange letters", |size| {
                (0..size as u32 / 3).filter_map(|at| char::from_u32(0x4e00 + at % 9000)).collect()
            }),
        ],
    );
}
