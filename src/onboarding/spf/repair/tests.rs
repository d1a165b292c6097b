use proptest::prelude::*;

use super::*;

fn reads(text: &str) -> (String, Vec<String>) {
    let reading = read(text);
    (reading.terms.join(" "), reading.unread)
}

#[test]
fn what_is_plainly_meant_is_read() {
    let mut wrong = Vec::new();
    for (text, meant) in [
        // Strange characters.
        ("v=spf1 include:a.dk\u{a0}include:b.dk -all", "include:a.dk include:b.dk -all"),
        ("v=spf1\u{a0}mx\u{2003}a\u{3000}-all", "mx a -all"),
        ("v=spf1 mx -all\u{200b}", "mx -all"),
        ("v=spf1 mx\u{200c} a\u{200d} -all\u{feff}", "mx a -all"),
        ("v=spf1 include:a\u{ad}.dk -all", "include:a.dk -all"),
        ("v=spf1 include:a.dk\u{200b}include:b.dk -all", "include:a.dk include:b.dk -all"),
        ("v=spf1 mx –all", "mx -all"),
        ("v=spf1 mx —all", "mx -all"),
        ("v=spf1 mx −all", "mx -all"),
        ("v=spf1 mx ∼all", "mx ~all"),
        ("“v=spf1 mx -all”", "mx -all"),
        ("«v=spf1 mx -all»", "mx -all"),
        ("'v=spf1 mx -all'", "mx -all"),
        ("\\\"v=spf1 mx -all\\\"", "mx -all"),
        ("v=spf1 ｍｘ ｉｎｃｌｕｄｅ：ａ．ｄｋ －ａｌｌ", "mx include:a.dk -all"),
        ("v=spf1\tmx\r\n\ta\n-all\r\n", "mx a -all"),
        ("v=spf1 mx\u{2028}-all", "mx -all"),
        ("v=spf1 include:blåbær.dk -all", "include:xn--blbr-roah.dk -all"),
        // The version.
        ("\u{feff}v=spf1 mx -all", "mx -all"),
        ("\u{a0}v=spf1 mx -all", "mx -all"),
        ("v=spf1; mx -all", "mx -all"),
        ("v=spf1;mx;-all;", "mx -all"),
        ("v=spf1, mx, -all", "mx -all"),
        ("v = spf1 mx -all", "mx -all"),
        ("v =spf 1 mx -all", "mx -all"),
        ("V=SPF1 MX -ALL", "MX -ALL"),
        ("v=spf1include:a.dk -all", "include:a.dk -all"),
        ("v=spf1mx -all", "mx -all"),
        ("v=spf1-all", "-all"),
        ("v=spf10 mx -all", "mx -all"),
        ("vspf1 mx -all", "mx -all"),
        ("spf1 mx -all", "mx -all"),
        ("mx include:a.dk -all", "mx include:a.dk -all"),
        ("test.dk. 3600 IN TXT \"v=spf1 mx -all\"", "mx -all"),
        ("@ IN TXT ( \"v=spf1 mx \" \"a -all\" )", "mx a -all"),
        ("SPF: v=spf1 mx -all", "mx -all"),
        ("mx v=spf1 a -all", "mx a -all"),
        ("v=spf1 v=spf1 mx -all", "mx -all"),
        ("v=spf1 mx -all v=spf1 a -all", "mx -all a -all"),
        // Blanks too many.
        ("v=spf1 ip4: 203.0.113.7 -all", "ip4:203.0.113.7 -all"),
        ("v=spf1 ip4 :203.0.113.7 -all", "ip4:203.0.113.7 -all"),
        ("v=spf1 ip4 : 203.0.113.7 -all", "ip4:203.0.113.7 -all"),
        ("v=spf1 ip4 203.0.113.7 -all", "ip4:203.0.113.7 -all"),
        ("v=spf1 include: a.dk -all", "include:a.dk -all"),
        ("v=spf1 include a.dk -all", "include:a.dk -all"),
        ("v=spf1 include:spf. webcrm.com -all", "include:spf.webcrm.com -all"),
        ("v=spf1 include:spf.webcrm .com -all", "include:spf.webcrm.com -all"),
        ("v=spf1 mx : a.dk -all", "mx:a.dk -all"),
        ("v=spf1 ip4:192.0.2.0 /24 -all", "ip4:192.0.2.0/24 -all"),
        ("v=spf1 ip4:192.0.2.0/ 24 -all", "ip4:192.0.2.0/24 -all"),
        ("v=spf1 mx - all", "mx -all"),
        ("v=spf1 mx ~ all", "mx ~all"),
        ("v=spf1 redirect = a.dk", "redirect=a.dk"),
        ("\"v=spf1 include:a.d\" \"k -all\"", "include:a.dk -all"),
        // Blanks too few.
        ("v=spf1 ip4:192.0.2.1~all", "ip4:192.0.2.1 ~all"),
        ("v=spf1 ip4:192.0.2.1/24-all", "ip4:192.0.2.1/24 -all"),
        ("v=spf1 include:a.dkinclude:b.dk -all", "include:a.dk include:b.dk -all"),
        ("v=spf1 include:a.dk-all", "include:a.dk -all"),
        ("v=spf1 include:a.dk?all", "include:a.dk ?all"),
        ("v=spf1 mx-all", "mx -all"),
        ("v=spf1 a+mx+ip4:192.0.2.1-all", "a +mx +ip4:192.0.2.1 -all"),
        ("v=spf1 mx -allv=spf1", "mx -all"),
        ("v=spf1 mx -allinclude:a.dk", "mx -all include:a.dk"),
        ("v=spf1 -allmx", "-all mx"),
        ("v=spf1 ip4:192.0.2.1ip4:192.0.2.2mx -all", "ip4:192.0.2.1 ip4:192.0.2.2 mx -all"),
        ("v=spf1 ip4:192.0.2.1a -all", "ip4:192.0.2.1 a -all"),
        ("v=spf1 include:a.dkmx:b.dk -all", "include:a.dk mx:b.dk -all"),
        ("v=spf1 ip6:2001:db8::a:1include:a.dk -all", "ip6:2001:db8::a:1 include:a.dk -all"),
        ("v=spf1 ip4:192.0.2.1,ip4:192.0.2.2;ip4:192.0.2.3 -all", "ip4:192.0.2.1 ip4:192.0.2.2 ip4:192.0.2.3 -all"),
        // Names and signs.
        (
            "v=spf1 ipv4:192.0.2.1 ipv6:2001:db8::1 ip:192.0.2.2 -all",
            "ip4:192.0.2.1 ip6:2001:db8::1 ip4:192.0.2.2 -all",
        ),
        ("v=spf1 192.0.2.1 192.0.2.0/24 2001:db8::/32 -all", "ip4:192.0.2.1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all"),
        ("v=spf1 +192.0.2.1 [2001:db8::1] -all", "+ip4:192.0.2.1 ip6:2001:db8::1 -all"),
        (
            "v=spf1 mx:192.0.2.1 a:192.0.2.0/24 include:192.0.2.9 -all",
            "ip4:192.0.2.1 ip4:192.0.2.0/24 ip4:192.0.2.9 -all",
        ),
        ("v=spf1 ip6:192.0.2.1 ip4:2001:db8::1 -all", "ip4:192.0.2.1 ip6:2001:db8::1 -all"),
        ("v=spf1 ip4:192.0.2.0/255.255.255.0 -all", "ip4:192.0.2.0/24 -all"),
        ("v=spf1 ip4:192.0.2.0/08 ip4:192.0.2.1. -all", "ip4:192.0.2.0/8 ip4:192.0.2.1 -all"),
        ("v=spf1 ip4:mail.a.dk -all", "a:mail.a.dk -all"),
        ("v=spf1 include=a.dk ip4=192.0.2.1 mx=b.dk -all", "include:a.dk ip4:192.0.2.1 mx:b.dk -all"),
        ("v=spf1 redirect:a.dk", "redirect=a.dk"),
        ("v=spf1 inlcude:a.dk includes:b.dk -all", "include:a.dk include:b.dk -all"),
        (
            "v=spf1 include::a.dk include:.b.dk include:https://c.dk/ include:<d.dk> -all",
            "include:a.dk include:b.dk include:c.dk include:d.dk -all",
        ),
        ("v=spf1 mx --all", "mx -all"),
        ("v=spf1 mx -all.", "mx -all"),
        ("v=spf1 mx: a: -all", "mx a -all"),
        ("v=spf1 include:a.dk. -all", "include:a.dk. -all"),
    ] {
        let found = reads(text);
        if found != (meant.to_owned(), vec![]) {
            wrong.push(format!("{text}: {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_word_processors_web_pages_and_zone_files_made_of_a_record_is_read() {
    let mut wrong = Vec::new();
    for (text, meant, unread) in [
        // Web pages.
        ("v=spf1 mx&nbsp;include:a.dk&nbsp;-all", "mx include:a.dk -all", &[][..]),
        ("v=spf1&#160;mx -all", "mx -all", &[]),
        ("<p>v=spf1 mx -all</p>", "mx -all", &[]),
        ("v=spf1 mx -all<br/>", "mx -all", &[]),
        ("v=spf1 mx -all<br>v=spf1 a -all", "mx -all a -all", &[]),
        ("&quot;v=spf1 mx -all&quot;", "mx -all", &[]),
        ("v=spf1 mx%20-all", "mx -all", &[]),
        // Zone files, and what `dig` shows of strange octets.
        ("v=spf1 include:a.dk\\194\\160include:b.dk -all", "include:a.dk include:b.dk -all", &[]),
        ("v=spf1 include:a.dk\\160include:b.dk -all", "include:a.dk include:b.dk -all", &[]),
        ("v=spf1 mx\\032-all", "mx -all", &[]),
        ("v=spf1\\; mx\\; -all", "mx -all", &[]),
        ("v=spf1 mx\\t-all", "mx -all", &[]),
        ("v=spf1 ip4:192.0.2.1\\24 -all", "-all", &["ip4:192.0.2.1\\24"]),
        ("\\239\\187\\191v=spf1 mx -all", "mx -all", &[]),
        // Word processors.
        ("v=spf1 mx \u{ad}all", "mx -all", &[]),
        ("v=spf1 mx \u{2012}all", "mx -all", &[]),
        ("v=spf1\u{180e}mx -all", "mx -all", &[]),
        ("v=spf1\u{2060} mx\u{202f}a\u{85}-all", "mx a -all", &[]),
        ("v\u{a0}=\u{a0}spf1 mx -all", "mx -all", &[]),
        ("v=spf1 m\u{445} -all", "mx -all", &[]),
        ("v=spf1 \u{456}nclude:a.dk -all", "include:a.dk -all", &[]),
        // Lists.
        ("v=spf1 a:a.dk,b.dk,c.dk -all", "a:a.dk a:b.dk a:c.dk -all", &[]),
        ("v=spf1 ~include:a.dk;mx.b.dk -all", "~include:a.dk ~include:mx.b.dk -all", &[]),
        ("v=spf1 ip4:192.0.2.1,192.0.2.2 -all", "ip4:192.0.2.1 ip4:192.0.2.2 -all", &[]),
        ("v=spf1 include:a.dk, b.dk -all", "include:a.dk -all", &["b.dk"]),
        ("v=spf1 include:_spf.a,com -all", "include:_spf.a.com -all", &[]),
        ("v=spf1 include:_spf.a.dk,com include:a.dk,and -all", "include:_spf.a.dk include:a.dk -all", &["com", "and"]),
        ("v=spf1 ip4:192.0.2.1 | ip4:192.0.2.2 -all", "ip4:192.0.2.1 ip4:192.0.2.2 -all", &[]),
        ("v=spf1 ip4:192.0.2.1 and include:a.dk -all", "ip4:192.0.2.1 include:a.dk -all", &["and"]),
        ("v=spf1 ip4:192.0.2.1&ip4:192.0.2.2 -all", "ip4:192.0.2.1 ip4:192.0.2.2 -all", &[]),
        (
            "v=spf1 ip4:192.0.2.4-ip4:192.0.2.7 ip4:192.0.2.8 - ip4:192.0.2.9 -all",
            "ip4:192.0.2.4/30 ip4:192.0.2.8/31 -all",
            &[],
        ),
        ("v=spf1 include:a.dk?include:b.dk -all", "include:a.dk include:b.dk -all", &[]),
        // Addresses.
        ("v=spf1 ip:4:192.0.2.1 ip 4:192.0.2.2 -all", "ip4:192.0.2.1 ip4:192.0.2.2 -all", &[]),
        (
            "v=spf1 lp4:192.0.2.1 ipp4:192.0.2.2 p4:192.0.2.3 ip44:192.0.2.4 -all",
            "ip4:192.0.2.1 ip4:192.0.2.2 ip4:192.0.2.3 ip4:192.0.2.4 -all",
            &[],
        ),
        ("v=spf1 ip4;192.0.2.1 ip4.192.0.2.2 -all", "ip4:192.0.2.1 ip4:192.0.2.2 -all", &[]),
        ("v=spf1 ip4:192.0.2.0//24 ip4:http://192.0.2.1 -all", "ip4:192.0.2.0/24 ip4:192.0.2.1 -all", &[]),
        ("v=spf1 ip4:\u{200e}192.0.2.1 -all", "ip4:192.0.2.1 -all", &[]),
        ("v=spf1 ip4:192.0.2.x -all", "-all", &["ip4:192.0.2.x"]),
        ("v=spf1 ip4:192.0.2.x.* ip4:192.0.2.1-24 -all", "-all", &["ip4:192.0.2.x.*", "ip4:192.0.2.1-24"]),
        (
            "v=spf1 ip4:192.0.2.9-192.0.2.4 ip4:192.0.2.4-3 -all",
            "-all",
            &["ip4:192.0.2.9-192.0.2.4", "ip4:192.0.2.4-3"],
        ),
        ("v=spf1 ip4:192.0.2.1-192.0.9.254 -all", "-all", &["ip4:192.0.2.1-192.0.9.254"]),
        ("v=spf1 ip4:1.0.0.0-120.0.0.0 ip4:*.*.*.* -all", "-all", &["ip4:1.0.0.0-120.0.0.0", "ip4:*.*.*.*"]),
        ("v=spf1 ip4:192.0.2.4-mail.a.dk -all", "-all", &["ip4:192.0.2.4-mail.a.dk"]),
        ("v=spf1 ip4:192.0.2.1:587 ip4:192.0.2.001 -all", "-all", &["ip4:192.0.2.1:587", "ip4:192.0.2.001"]),
        ("v=spf1 ip6:2001:db8:::1 ip6:2001:db8::1%eth0 -all", "-all", &["ip6:2001:db8:::1", "ip6:2001:db8::1%eth0"]),
        // Names.
        ("v=spf1 a:*.a.dk mx:@ a:mail -all", "-all", &["a:*.a.dk", "mx:@", "a:mail"]),
        ("v=spf1 include:_spf..a.com include:a.dk/24 -all", "-all", &["include:_spf..a.com", "include:a.dk/24"]),
        ("v=spf1 include.a.dk incluce:b.dk included:c.dk -all", "include:a.dk include:b.dk include:c.dk -all", &[]),
        // The end, and the version.
        ("v=spf1 a mx ~all.", "a mx ~all", &[]),
        ("v=spf1 a mx ~al1", "a mx ~all", &[]),
        ("v=spf1 a mx all-", "a mx -all", &[]),
        ("v-spf1 mx -all", "mx -all", &[]),
        ("v=spf.1 mx -all", "mx -all", &[]),
        ("v=spf1 include:a.dk -all MS=ms12345678", "include:a.dk -all MS=ms12345678", &[]),
        ("@ TXT v=spf1 mx -all", "mx -all", &[]),
    ] {
        let unread: Vec<String> = unread.iter().map(|piece| (*piece).to_owned()).collect();
        let found = reads(text);
        if found != (meant.to_owned(), unread) {
            wrong.push(format!("{text}: {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // Another protocol's record beside the right one is nobody's mistake.
    assert!(!is_meant("spf2.0/pra mx -all"));
}

#[test]
fn what_nobody_can_know_is_kept_apart() {
    for (text, meant, unread) in [
        ("v=spf1 ip4:111.222.333.444 mx -all", "mx -all", vec!["ip4:111.222.333.444"]),
        ("v=spf1 ip4:192.0.2 mx -all", "mx -all", vec!["ip4:192.0.2"]),
        ("v=spf1 ip4:192.0.2.1/33 -all", "-all", vec!["ip4:192.0.2.1/33"]),
        ("v=spf1 ip4:192.0.2.0/255.0.255.0 -all", "-all", vec!["ip4:192.0.2.0/255.0.255.0"]),
        ("v=spf1 mail.a.dk -all", "-all", vec!["mail.a.dk"]),
        ("v=spf1 a mail.a.dk -all", "a -all", vec!["mail.a.dk"]),
        ("v=spf1 include:localhost include: -all", "-all", vec!["include:localhost", "include:"]),
        ("v=spf1 include:user@a.dk -all", "-all", vec!["include:user@a.dk"]),
        ("v=spf1 mx -a1l0", "mx", vec!["-a1l0"]),
        ("v=spf1 a - mx -all", "a mx -all", vec!["-"]),
        ("v=spf1 exists:%{x}.a.dk -all", "-all", vec!["exists:%{x}.a.dk"]),
        ("v=spf1 søren -all", "-all", vec!["søren"]),
        ("v=spf1 a:b.dk\u{a0}c.dk -all", "a:b.dk -all", vec!["c.dk"]),
        ("v=spf1 mx b=<A`> c=&nb'sp; d=\\1`94 -all", "mx -all", vec!["b=<A>", "c=&nbsp", "d=\\194"]),
    ] {
        let unread: Vec<String> = unread.into_iter().map(str::to_owned).collect();
        assert_eq!(reads(text), (meant.to_owned(), unread), "{text}");
    }
}

#[test]
fn a_record_that_is_right_is_read_as_it_stands() {
    for text in [
        "v=spf1 a mx/24 a:mail.test.dk/24//64 ip4:192.0.2.0/24 ip6:2001:db8::/32 ?include:_spf.test.dk ~all",
        "v=spf1 exists:%{ir}.%{l1r,-}._spf.%{d2} ptr ptr:test.dk -all exp=e.test.dk future=x:y",
        "v=spf1 ip6:::1 ip6:2001:db8::a:b:c -ip4:192.0.2.1 +A +ALL",
        "v=spf1 redirect=_spf.%{d}",
        "v=spf1",
    ] {
        let reading = read(text);
        let terms = text.trim_start_matches("v=spf1").trim().to_owned();
        assert_eq!((reading.terms.join(" "), reading.repairs, reading.unread), (terms, vec![], vec![]), "{text}");
    }
}

#[test]
fn repairs_are_named_by_what_stands_there() {
    let repair = |written: &str, meant: &str| Repair { written: written.to_owned(), meant: meant.to_owned() };
    for (text, repairs) in [
        ("v=spf1 ip4: 203.0.113.7 mx -all", vec![repair("ip4: 203.0.113.7", "ip4:203.0.113.7")]),
        (
            "v=spf1 a.b v=spf1 ip4:192.0.2.1~all",
            vec![repair("v=spf1", ""), repair("ip4:192.0.2.1~all", "ip4:192.0.2.1 ~all")],
        ),
        ("v=spf1 mx\u{a0}a –all", vec![repair("mx\u{a0}a", "mx a"), repair("–all", "-all")]),
        ("v=spf1  mx   -all", vec![]),
    ] {
        assert_eq!(read(text).repairs, repairs, "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(800))]
    #[test]
    fn any_text_is_read_as_terms_that_strict_parsers_take(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "v=spf1", " ", " ", ":", "=", "/", ".", "-", "~", "include", "include:a.dk", "ip4:", "192.0.2.1", "2001:db8::1", "/24",
            "all", "-all", "mx", "a", "a:", "%{d}", "%", "{", "\u{a0}", "\u{200b}", "–", "\"", "\\", ",", ";", "ø", "\t", "redirect=b.dk",
            "exists:%{i}.c.dk", "x=y", "exp=", "@", "1"]), 0..24)
    ) {
        let text = pieces.concat();
        for text in [text.clone(), format!("v=spf1 {text}")] {
            for term in read(&text).terms {
                prop_assert!(is_sound(&term) && !is_without_effect(&term), "{:?}: {}", text, term);
            }
            is_meant(&text);
        }
    }

    #[test]
    fn no_text_is_too_strange(text in "\\PC{0,200}|.{0,200}") {
        read(&text);
    }
}

#[test]
fn reading_costs_in_proportion_to_the_length() {
    crate::test_cost::is_linear(
        [250, 500, 1000],
        |text: &String| {
            read(text);
            is_meant(text);
        },
        &[
            ("terms", |size| format!("v=spf1 {}", "mx ".repeat(size / 3))),
            ("no version", |size| "ip4:192.0.2.1 ".repeat(size / 14)),
            ("glued terms", |size| format!("v=spf1 {}", "include:a.dk".repeat(size / 12))),
            ("glued short terms", |size| format!("v=spf1 {}", "mx:a.dk".repeat(size / 7))),
            ("colons", |size| format!("v=spf1 {}", "a:".repeat(size / 2))),
            ("hexadecimal colons", |size| format!("v=spf1 ip6:{}", "aa:".repeat(size / 3))),
            ("a name and colons", |size| format!("v=spf1 {}:{}", "x".repeat(size / 2), "aa:".repeat(size / 6))),
            ("hyphens", |size| format!("v=spf1 {}", "-".repeat(size))),
            ("hyphens apart", |size| format!("v=spf1 {}", "- ".repeat(size / 2))),
            ("all and all", |size| format!("v=spf1 {}", "-all".repeat(size / 4))),
            ("pluses", |size| format!("v=spf1 {}", "a+".repeat(size / 2))),
            ("dots apart", |size| format!("v=spf1 include:a{}", " .a".repeat(size / 3))),
            ("signs apart", |size| format!("v=spf1 {}", ": ".repeat(size / 2))),
            ("names and signs", |size| format!("v=spf1 {}", "include : ".repeat(size / 10))),
            ("escaped octets", |size| format!("v=spf1 {}", "\\032".repeat(size / 4))),
            ("backslashes", |size| format!("v=spf1 {}", "\\".repeat(size))),
            ("entities", |size| format!("v=spf1 {}", "mx&nbsp;".repeat(size / 8))),
            ("ampersands and brackets", |size| format!("v=spf1 {}", "&<".repeat(size / 2))),
            ("lists of names", |size| format!("v=spf1 include:a.dk{}", ",b.dk".repeat(size / 5))),
            ("versions", |size| "v=spf1 ".repeat(size / 7)),
            ("glued versions", |size| "v=spf1".repeat(size / 6)),
            ("digits", |size| format!("v=spf{}", "1".repeat(size))),
            ("quotation marks", |size| format!("v=spf1 {}", "\"mx\" ".repeat(size / 5))),
            ("commas", |size| format!("v=spf1 {}", "mx,".repeat(size / 3))),
            ("no-break spaces", |size| format!("v=spf1 {}", "mx\u{a0}".repeat(size / 4))),
            ("invisible letters", |size| format!("v=spf1 {}", "\u{200b}".repeat(size / 3))),
            ("macros", |size| format!("v=spf1 {}", "exists:%{i}.a.dk ".repeat(size / 17))),
            ("open braces", |size| format!("v=spf1 {}", "%{".repeat(size / 2))),
            ("one long name", |size| format!("v=spf1 include:{}", "a.".repeat(size / 2))),
            ("one long word of letters", |size| format!("v=spf1 {}", "ø".repeat(size / 2))),
            ("blanks", |size| format!("v=spf1 {}", " ".repeat(size))),
        ],
    );
}
