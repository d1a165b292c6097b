//! Values of From as readers show them, honest and hostile.

use base64::engine::general_purpose;
use proptest::prelude::*;

use super::*;

fn b(text: impl AsRef<[u8]>) -> String {
    format!("=?utf-8?B?{}?=", general_purpose::STANDARD.encode(text))
}

fn q(text: &str) -> String {
    format!("=?UTF-8?q?{}?=", text.bytes().map(|b| format!("={b:02X}")).collect::<String>())
}

/// Returns the domains that are shown beside the address's own.
fn beside(value: &str) -> Vec<String> {
    let all = domains(value.as_bytes()).unwrap_or_else(|why| panic!("{value}: {why}"));
    all.into_iter().filter(|domain| domain != "a.dk").collect()
}

#[test]
fn another_address_is_found_however_it_is_written() {
    for name in [
        "ceo@b.dk".to_owned(),
        "<ceo@b.dk>, ".to_owned(),
        "CEO <ceo@b.dk>".to_owned(),
        "ceo\\@b\\.dk".to_owned(),
        "ceo @ b.dk".to_owned(),
        "ceo @b.dk".to_owned(),
        "@b.dk".to_owned(),
        "(ceo@b.dk)".to_owned(),
        "mailto:ceo@b.dk".to_owned(),
        "ceo@b.dk.".to_owned(),
        "ceo@b.dk via webCRM".to_owned(),
        "x@a.dk, ceo@b.dk".to_owned(),
        "ceo@B.DK".to_owned(),
        "ceo\u{ff20}b.dk".to_owned(),
        "ceo\u{fe6b}b.dk".to_owned(),
        "ceo@b\u{3002}dk".to_owned(),
        "ceo@b\u{ff0e}dk".to_owned(),
        "ceo@b\u{2024}dk".to_owned(),
        "\u{ff1c}ceo\u{ff20}\u{ff42}.dk\u{ff1e}".to_owned(),
        "ceo@xn--blbr-roah.dk".to_owned(),
        "ceo@bl\u{e5}b\u{e6}r.dk".to_owned(),
        "ceo@b..dk".to_owned(),
        "ceo@[192.0.2.1]".to_owned(),
        "ceo@[IPv6:2001:db8::1]".to_owned(),
        b("ceo@b.dk"),
        b("<ceo@b.dk>"),
        b("\"CEO\" <ceo@b.dk>, "),
        q("ceo@b.dk"),
        q("ceo\u{ff20}b.dk"),
        "=?utf-8?Q?ceo=40b.dk?=".to_owned(),
        "=?utf-8?Q?ceo@b.dk?=".to_owned(),
        "=?iso-8859-1?q?ceo=40b.dk?=".to_owned(),
        "=?utf-8*en?Q?ceo=40b.dk?=".to_owned(),
        "=?nonsense?Q?ceo=40b.dk?=".to_owned(),
        "=??Q?ceo=40b.dk?=".to_owned(),
        "=?ceo@b.dk?Q?hej?=".to_owned(),
        "=?<ceo@b.dk>?B?aGVq?=".to_owned(),
        // These are cut into several words.
        format!("{} {}", q("ceo"), q("@b.dk")),
        format!("{}\r\n\t{}", q("ceo@"), b("b.dk")),
        format!("{}  {}", b("ceo@b"), b(".dk")),
        format!("ceo{}b.dk", q("@")),
        format!("ceo {} b.dk", q("@")),
        format!("{}@b.dk", q("ceo")),
        format!("=?utf-8?B?{}?=", general_purpose::STANDARD.encode("ceo@b.dk!").trim_end_matches('=')),
        "=?utf-8?B?Y2Vv QGIu ZGs?=".to_owned(),
        "=?utf-8?Q?ceo=40?= =?utf-8?Q?b.dk?=".to_owned(),
        "=?=?utf-8?Q?ceo=40b.dk?=".to_owned(),
        "=?x?y?z =?utf-8?Q?ceo=40b.dk?=".to_owned(),
        // The full-width sign is cut within its octets.
        "=?utf-8?Q?ceo=EF=BC?= =?utf-8?Q?=A0b.dk?=".to_owned(),
        "ceo\u{a0}@\u{a0}b.dk".to_owned(),
        "ceo@\tb.dk".to_owned(),
        "CEO <ceo@b.dk".to_owned(),
        "\u{ff43}\u{ff45}\u{ff4f}\u{ff20}\u{ff42}\u{ff0e}\u{ff44}\u{ff4b}".to_owned(),
        "ceo@b\u{ff61}dk".to_owned(),
        "ceo@\u{44c}.dk".to_owned(),
        "ceo@_b.dk".to_owned(),
        "'ceo@b.dk' via a.dk".to_owned(),
        "ceo@b.dk/x@a.dk".to_owned(),
        "x@a.dk;ceo@b.dk".to_owned(),
        "=?UTF8?Q?ceo=40b=2edk?=".to_owned(),
        "=?utf-16be?B?AGMAZQBvAEAAYgAuAGQAaw==?=".to_owned(),
        "=?utf-16le?B?YwBlAG8AQABiAC4AZABrAA==?=".to_owned(),
        "=?iso-8859-15?Q?ceo=40b.dk?=x".to_owned(),
        // Readers know these sets, and we do not.
        "=?iso-2022-kr?Q?ceo=40b.dk?=".to_owned(),
        "=?iso-2022-cn?Q?ceo=40b.dk?=".to_owned(),
        "=?hz-gb-2312?Q?ceo=40b.dk?=".to_owned(),
        "=?replacement?Q?ceo=40b.dk?=".to_owned(),
        "=?utf-16?Q?ceo=40b.dk?=".to_owned(),
        "=?cp437?Q?ceo=40b.dk?=".to_owned(),
        "=?utf-16?B?/v8AYwBlAG8AQABiAC4AZABr?=".to_owned(),
        "x=?utf-8?Q?=40b.dk?=".to_owned(),
        "=?utf-8?Q?ceo=40?=\u{a0}=?utf-8?Q?b.dk?=".to_owned(),
        "=?utf-8?Q?ceo=40b=2E?= =?iso-8859-1?Q?dk?=".to_owned(),
        "=?koi8-r?B?Y2VvQGIuZGs=?=".to_owned(),
        "=?us-ascii?q?ceo=40b.dk?=".to_owned(),
        "=?utf-8?B?77ygYi5kaw==?=".to_owned(),
        "=?shift_jis?B?Y2VvgZdiLmRr?=".to_owned(),
        // The signs of the encoded word are apart until quotes are dropped.
        "=\\?utf-8?Q?ceo=40b.dk?=".to_owned(),
        "=?utf-8?Q?ceo=40b.dk?\\=".to_owned(),
        // They have no end.
        "=?utf-8?Q?ceo=40b.dk".to_owned(),
        "=?utf-8?B?Y2VvQGIuZGs".to_owned(),
        // Folding in the middle of a word.
        "=?utf-8?Q?ceo=40b\r\n .dk?=".to_owned(),
        "=?utf-8?B?Y2VvQGIu\r\n\tZGs?=".to_owned(),
        // The first word switches to two octets a character, and the second begins anew.
        "=?iso-2022-jp?B?GyRCJUY=?= =?iso-2022-jp?Q?ceo=40b.dk?=".to_owned(),
        "=?iso-2022-jp?Q?=1B$B?=\r\n =?iso-2022-jp?B?Y2VvQGIuZGsh?=".to_owned(),
        // Dots and signs of other scripts, and spaces that nobody sees.
        "ceo@b\u{a4f8}dk".to_owned(),
        "ceo@b\u{b7}dk".to_owned(),
        "ceo@b\u{6d4}dk".to_owned(),
        "ceo@b\u{701}dk".to_owned(),
        "ceo\u{24d0}b.dk".to_owned(),
        "ceo@b.\u{200a}dk".to_owned(),
        "ceo@b\u{2009}.\u{2006}dk".to_owned(),
        "ceo@b\u{2009}\u{202f}.\u{2006}\u{2009}dk".to_owned(),
        "ceo@b.dk\u{2009}Support".to_owned(),
        "ceo@<b.dk>@".to_owned(),
        "ceo@ b.dk@".to_owned(),
        "ceo@<b.dk\u{2009}@".to_owned(),
        q("ceo@b\u{200a}.dk"),
        // Signs of quotation around the domain.
        q("ceo@\"b.dk\""),
        "ceo@'b.dk'".to_owned(),
        "ceo@<b.dk>".to_owned(),
        "ceo@\u{201c}b.dk\u{201d}".to_owned(),
        // These are encoded more than once.
        b(q("ceo@b.dk")),
        b(b(b("ceo@b.dk"))),
    ] {
        for value in [format!(" \"{name}\" <x@a.dk>\r\n"), format!(" x@a.dk ({name})\r\n"), format!(" {name} <x@a.dk>")]
        {
            assert!(!beside(&value).is_empty(), "{value:?}");
        }
    }
}

#[test]
fn names_that_people_have_show_no_other_address() {
    for name in [
        "Ole Hansen".to_owned(),
        "Hansen, Ole".to_owned(),
        "support @ work".to_owned(),
        "Team@Work".to_owned(),
        "@acme".to_owned(),
        "Ole (x@a.dk)".to_owned(),
        "Kundeservice @ <first.last@a.dk>".to_owned(),
        "Kundeservice @ \u{2039}first.last@a.dk\u{203a}".to_owned(),
        "Kundeservice @ (first.last+tag@a.dk)".to_owned(),
        q("Kundeservice @ <first.last@a.dk>"),
        b("Kundeservice @ \u{2039}first.last\u{ff20}a.dk\u{203a}"),
        "info@a.dk\u{2009}\u{2013}\u{2009}Support".to_owned(),
        "info@a.dk\u{202f}Kundeservice".to_owned(),
        q("info@a.dk\u{202f}Kundeservice"),
        "'x@a.dk'".to_owned(),
        "x@a.dk".to_owned(),
        "S\u{f8}ren \u{c5}b\u{e6}k".to_owned(),
        "Kampagne 50% < 3 > 2".to_owned(),
        "Tivoli <3".to_owned(),
        "www.b.dk".to_owned(),
        "b.dk".to_owned(),
        "J.P. Hansen A/S".to_owned(),
        "M\u{f8}de @ kl.12.30".to_owned(),
        "Ole @ B.C.".to_owned(),
        "Ole\u{a0}Hansen".to_owned(),
        "=?utf-8?Q?Ole=C2=A0Hansen?=".to_owned(),
        "=?iso-8859-1?Q?Ole=A0Hansen?=".to_owned(),
        "100@2.0".to_owned(),
        "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467} Familien".to_owned(),
        "\u{2764}\u{fe0f} Tivoli".to_owned(),
        "\u{645}\u{6cc}\u{200c}\u{62e}\u{648}\u{627}\u{647}\u{645}".to_owned(),
        "\u{5e9}\u{5dc}\u{5d5}\u{5dd}".to_owned(),
        "\u{5c71}\u{7530}\u{3000}\u{592a}\u{90ce}".to_owned(),
        "Ole\u{a0}Hansen".to_owned(),
        "Ole\u{202f}Hansen\u{2009}A/S".to_owned(),
        "=?iso-8859-1?Q?Ole=A0Hansen?=".to_owned(),
        "Is it = ? or ?= or =?".to_owned(),
        q("S\u{f8}ren"),
        b("S\u{f8}ren fra Bl\u{e5}b\u{e6}r"),
        b("x@a.dk"),
        "=?iso-8859-1?Q?S=F8ren_=91x=92?=".to_owned(),
        "=?windows-1252?Q?Hansen=92s?=".to_owned(),
        "=?iso-2022-jp?B?GyRCJUYlOSVIGyhC?=".to_owned(),
        "=?windows1252?Q?S=F8ren?=".to_owned(),
        "=?latin-1?Q?S=F8ren?=".to_owned(),
        "=?cp932?B?g2WDWINn?=".to_owned(),
        "=?KOI8R?B?8NLJ18XU?=".to_owned(),
        format!("{} {}", q("S\u{f8}"), q("ren")),
    ] {
        let value = format!(" \"{name}\" <x@a.dk>\r\n");
        assert_eq!(beside(&value), Vec::<String>::new(), "{value:?}");
    }
    for name in ["Kundeservice @".to_owned(), q("Kundeservice @"), b("Kundeservice\u{ff20}")] {
        let value = format!(" \"{name}\" <anna.hansen@a.dk>\r\n");
        assert_eq!(beside(&value), Vec::<String>::new(), "{value:?}");
    }
    assert_eq!(domains(b" \"S\xf8ren\" <x@a.dk>\r\n"), Ok(vec!["a.dk".to_owned()]), "8-bit text that is not UTF-8");
    for raw in [&b"ceo\x81\x97b.dk"[..], b"ceo\xa3\xc0b.dk", b"ceo\xa1\xf7b.dk", b"ceo\xa2\x49b.dk", b"ceo\xc1\x80b.dk"]
    {
        let found = domains(&[b" \"", raw, b"\" <x@a.dk>\r\n"].concat()).unwrap();
        assert!(found.contains(&"b.dk".to_owned()), "{raw:?}: {found:?}");
    }
    assert_eq!(domains(b" \"Ole\r\n Hansen\" <x@a.dk>\r\n"), Ok(Vec::new()), "the usual case takes the short way");
}

#[test]
fn what_readers_may_decode_in_another_way_is_refused() {
    for (charset, word) in [
        ("utf-16", "=?utf-16?B?AGMAZQBvAEAAYgAuAGQAaw==?="),
        ("ucs-2", "=?ucs-2?B?AGMAZQBvAEAAYgAuAGQAaw==?="),
        ("ibm037", "=?ibm037?B?g4WWfIJLhJI=?="),
        ("cp437", "=?cp437?Q?S=9Bren?="),
        ("utf-7", "=?utf-7?Q?ceo+AEA-b.dk?="),
        ("UTF_7", "=?UTF_7?Q?ceo+AEAAYgAuAGQAaw?="),
        ("unicode-1-1-utf-7", "=?unicode-1-1-utf-7?Q?ceo+AEA-b.dk?="),
        ("utf7", "=?utf7?Q?ceo+AEA-b.dk?="),
        ("utf-7-imap", "=?utf-7-imap?Q?ceo&AEA-b.dk?="),
        ("hz-gb-2312", "=?hz-gb-2312?Q?ceo~{#=40~}b.dk?="),
        ("iso-2022-kr", "=?iso-2022-kr?B?GyQpQw4jQA9iLmRr?="),
        ("utf-32", "=?utf-32?B?AAAAYwAAAEA=?="),
        // Within another word, and behind one.
        ("utf7", "=?utf-8?Q?=3D=3Futf7=3FQ=3Fceo+AEA-b.dk=3F=3D?="),
        ("utf7", "=?utf-8?Q?ceo?= =?utf7?Q?+AEA-b.dk?="),
    ] {
        let value = format!(" {word} <x@a.dk>\r\n");
        assert_eq!(domains(value.as_bytes()), Err(AddressError::Charset(charset.to_owned())), "{value:?}");
    }
    for word in
        ["=?utf8?Q?S=C3=B8ren?=", "=?UTF_16LE?B?UwBvAA==?=", "=?x-unknown?Q?Ole_Hansen?=", "=?cp437?Q?Ole_(1)?="]
    {
        assert!(domains(format!(" {word} <x@a.dk>\r\n").as_bytes()).is_ok(), "{word}");
    }
}

#[test]
fn encoded_words_that_readers_take_apart_in_different_ways_are_refused() {
    for (word, why) in [
        // The padding in the middle: as one text the octets are others than as two.
        ("=?utf-8?B?Y2VvQA==Yi5kaw==?=", AddressError::Encoded),
        ("=?utf-8?B?Ym8=Y2VvQGIuZGs=?=", AddressError::Encoded),
        // More octets than a character needs.
        ("=?utf-8?Q?ceo=C1=80b.dk?=", AddressError::Encoded),
        ("=?utf-8?Q?ceo=E0=81=80b.dk?=", AddressError::Encoded),
        ("=?x-unknown?Q?ceo=C1=80b.dk?=", AddressError::Encoded),
        // The mark says another order or another encoding than the character set.
        ("=?utf-16be?B?//5jAGUAbwBAAGIALgBkAGsA?=", AddressError::Charset("utf-16be".to_owned())),
        ("=?utf-16le?B?/v8AYwBlAG8AQABiAC4AZABr?=", AddressError::Charset("utf-16le".to_owned())),
        ("=?iso-8859-1?B?/v//Q/9F/0//IP9C/w7/RP9L?=", AddressError::Charset("iso-8859-1".to_owned())),
        ("=?utf-8?B?/v//Q/9F/0//IP9C/w7/RP9L?=", AddressError::Charset("utf-8".to_owned())),
        ("=?iso-8859-1?Q?=EF=BB=BFceo=EF=BC=A0b.dk?=", AddressError::Charset("iso-8859-1".to_owned())),
        // Escapes of a programming language, which its mail library obeys.
        ("=?unicode-escape?Q?ceo=5Cx40b.dk?=", AddressError::Charset("unicode-escape".to_owned())),
    ] {
        let value = format!(" {word} <x@a.dk>\r\n");
        assert_eq!(domains(value.as_bytes()), Err(why), "{value:?}");
    }
    for word in [
        "=?utf-8?B?w4Fi?=",
        "=?iso-8859-1?Q?=C0_la_carte?=",
        "=?utf-8?Q?=C3=80=C3?=",
        "=?utf-8?B?UG9zdCA=?=",
        "=?gbk?B?waa4wQ==?=",
    ] {
        assert!(domains(format!(" {word} <x@a.dk>\r\n").as_bytes()).is_ok(), "{word}");
    }
}

#[test]
fn what_is_obeyed_instead_of_shown_is_refused() {
    for (name, why) in [
        ("=?utf-8?Q?ceo=00?=", AddressError::Control),
        ("=?utf-8?Q?a=0D=0ABcc:_x?=", AddressError::Control),
        ("=?utf-8?B?YQ0KYg==?=", AddressError::Control),
        ("=?utf-8?Q?=1B[31m?=", AddressError::Control),
        ("=?utf-8?Q?=C2=9B2J?=", AddressError::Control),
        ("=?e (H.dk\x14tf-8?Q?ceo?=", AddressError::Control),
        ("=?\u{202e}utf-8?Q?ceo?=", AddressError::Unseen('\u{202e}')),
        ("a\x1b[2Jb", AddressError::Control),
        ("a\x7fb", AddressError::Control),
        ("kd.\u{202e}b", AddressError::Unseen('\u{202e}')),
        ("=?utf-8?Q?kd=E2=80=AE?=", AddressError::Unseen('\u{202e}')),
        ("\u{202a}a", AddressError::Unseen('\u{202a}')),
        ("\u{2066}a\u{2069}", AddressError::Unseen('\u{2066}')),
        ("a\u{2069}", AddressError::Unseen('\u{2069}')),
        ("c\u{200b}eo", AddressError::Unseen('\u{200b}')),
        ("c\u{200d}eo", AddressError::Unseen('\u{200d}')),
        ("ceo\u{200c}@b.dk", AddressError::Unseen('\u{200c}')),
        ("a\u{feff}", AddressError::Unseen('\u{feff}')),
        ("a\u{2060}b", AddressError::Unseen('\u{2060}')),
        ("a\u{ad}b", AddressError::Unseen('\u{ad}')),
        ("a\u{2028}b", AddressError::Unseen('\u{2028}')),
        ("a\u{2029}b", AddressError::Unseen('\u{2029}')),
        ("a\u{e0041}b", AddressError::Unseen('\u{e0041}')),
    ] {
        for value in [format!(" \"{name}\" <x@a.dk>\r\n"), format!(" x@a.dk ({name})\r\n")] {
            assert_eq!(domains(value.as_bytes()), Err(why.clone()), "{value:?}");
        }
    }
    for (text, ok) in [
        ("s\u{f8}ren", true),
        ("a+b", true),
        ("\u{5c71}", true),
        ("ceo\u{ff20}b.dk", false),
        ("ceo\u{fe6b}b", false),
        ("\u{ff1c}ceo\u{ff1e}", false),
        ("a\u{202e}b", false),
        ("a\u{200b}b", false),
        ("a\u{200d}b", false),
    ] {
        assert_eq!(check_local_part(text).is_ok(), ok, "{text:?}");
    }
}

proptest! {
    /// An address without encoding is found whatever stands around it.
    #[test]
    fn an_address_in_clear_is_always_found(before in "[ -~\u{e6}\u{ff20}]{0,20}", behind in "[ (,;<>\"]{0,10}") {
        let value = format!("{before}ceo@b.dk{behind}");
        prop_assume!(!value.contains("=?"));
        let found = domains(value.as_bytes()).unwrap();
        prop_assert!(is_plain(value.as_bytes()) || found.iter().any(|domain| domain == "b.dk"), "{}: {:?}", value, found);
    }

    #[test]
    fn any_octets_are_read(value in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = domains(&value);
    }
}
