//! SPF records as customers, panels and copying break them, each with the record that is proposed: no sender is lost, nothing unread is in
//! front of `-all`, and every repair is named.

mod reported;

use super::merge::{Note, merge};
use crate::onboarding::test_table::{Differences, owned};
use crate::onboarding::text::Lang;
use crate::smtp::Domain;

/// Names a note in a word or two.
fn short(note: &Note) -> String {
    match note {
        Note::Joined(count) => format!("{count} joined"),
        Note::Repaired(repair) => format!("{} → {}", repair.written, repair.meant),
        Note::Unread(terms) => format!("unread {}", terms.join(" ")),
        Note::Softened(_) => "softened".to_owned(),
        Note::Dead(term) => format!("dead {term}"),
        Note::Moved(term) => format!("moved {term}"),
        Note::PlusAll => "+all".to_owned(),
        Note::AddedAll => "~all".to_owned(),
        Note::Guessed(terms) => format!("guessed {}", terms.join(" ")),
        Note::Ptr => "ptr".to_owned(),
        Note::Begun => "begun".to_owned(),
    }
}

/// Returns the record to publish without our include, and what is said of the changes.
fn proposed(published: &[&str]) -> (String, Vec<String>) {
    let published = owned(published);
    let ours = Domain::parse("spf.webcrm.com").unwrap();
    match merge(&published, Some(&ours), &["mx".to_owned()]) {
        Ok(merged) => {
            let is_record = super::is_spf(published[0].as_bytes());
            assert!(is_record || super::looks_like_spf(published[0].as_bytes()), "{published:?} is not seen");
            for note in &merged.notes {
                assert!([Lang::En, Lang::Da].iter().all(|lang| !lang.note(note).is_empty()), "{note:?}");
            }
            assert!(merged.record.contains(" include:spf.webcrm.com"), "{}", merged.record);
            (merged.record.replacen(" include:spf.webcrm.com", "", 1), merged.notes.iter().map(short).collect())
        }
        Err(obstacle) => (format!("{obstacle:?}"), Vec::new()),
    }
}

#[test]
fn each_broken_record_keeps_its_senders_and_each_repair_is_named() {
    let mut differences = Differences::default();
    for (published, record, notes) in [
        // `all` misspelt, missing, twice, or in the wrong place.
        (&["v=spf1 mx -al"][..], "v=spf1 mx -all", &["-al → -all"][..]),
        (&["v=spf1 mx ~alll"], "v=spf1 mx ~all", &["~alll → ~all"]),
        (&["v=spf1 mx all~"], "v=spf1 mx ~all", &["all~ → ~all"]),
        (&["v=spf1 mx -all;"], "v=spf1 mx -all", &["-all; → -all"]),
        (&["v=spf1 mx all"], "v=spf1 mx ~all", &["+all"]),
        (&["v=spf1 +all"], "v=spf1 ~all", &["+all"]),
        (&["v=spf1 mx +all -all"], "v=spf1 mx ~all", &["dead -all", "+all"]),
        (&["v=spf1 -all mx include:a.dk"], "v=spf1 mx include:a.dk -all", &["moved mx", "moved include:a.dk"]),
        (&["v=spf1 ?all -all"], "v=spf1 ?all", &["dead -all"]),
        (&["v=spf1 mx include:a.dk"], "v=spf1 mx include:a.dk ~all", &["~all"]),
        (&["v=spf1 mx \"-all\""], "v=spf1 mx -all", &["\"-all\" → -all"]),
        (&["v=spf1 mx \u{2011}all"], "v=spf1 mx -all", &["\u{2011}all → -all"]),
        (&["v=spf1 mx ‐ all"], "v=spf1 mx -all", &["‐ all → -all"]),
        (&["v=spf1 mx \u{ff0d}\u{ff41}ll"], "v=spf1 mx -all", &["\u{ff0d}\u{ff41}ll → -all"]),
        (&["v=spf1 mx -\u{430}ll"], "v=spf1 mx -all", &["-\u{430}ll → -all"]),
        // A beginning that is there twice.
        (
            &["v=spf1 ip4:ip4:203.0.113.8 -all"],
            "v=spf1 ip4:203.0.113.8 -all",
            &["ip4:ip4:203.0.113.8 → ip4:203.0.113.8"],
        ),
        (&["v=spf1 include:include:a.dk -all"], "v=spf1 include:a.dk -all", &["include:include:a.dk → include:a.dk"]),
        (&["v=spf1 include:INCLUDE:a.dk -all"], "v=spf1 INCLUDE:a.dk -all", &["include:INCLUDE:a.dk → INCLUDE:a.dk"]),
        (&["v=spf1 include=include:a.dk -all"], "v=spf1 include:a.dk -all", &["include=include:a.dk → include:a.dk"]),
        (&["v=spf1 +include:include:a.dk -all"], "v=spf1 include:a.dk -all", &["+include:include:a.dk → include:a.dk"]),
        (
            &["v=spf1 ip4:ip4:ip4:192.0.2.1 -all"],
            "v=spf1 ip4:192.0.2.1 -all",
            &["ip4:ip4:ip4:192.0.2.1 → ip4:192.0.2.1"],
        ),
        (&["v=spf1 ip4:ipv4:192.0.2.1 -all"], "v=spf1 ip4:192.0.2.1 -all", &["ip4:ipv4:192.0.2.1 → ip4:192.0.2.1"]),
        (
            &["v=spf1 ip4:ip6:2001:db8::1 -all"],
            "v=spf1 ip6:2001:db8::1 -all",
            &["ip4:ip6:2001:db8::1 → ip6:2001:db8::1"],
        ),
        (
            &["v=spf1 include:ip4:192.0.2.1 -all"],
            "v=spf1 ip4:192.0.2.1 -all",
            &["include:ip4:192.0.2.1 → ip4:192.0.2.1"],
        ),
        (
            &["v=spf1 mx:mx:a.dk a:A:b.dk -all"],
            "v=spf1 mx:a.dk a:b.dk -all",
            &["mx:mx:a.dk → mx:a.dk", "a:A:b.dk → a:b.dk"],
        ),
        (&["v=spf1 mx:mx.a.dk -all"], "v=spf1 mx:mx.a.dk -all", &[]),
        (&["v=spf1 redirect=redirect=a.dk"], "v=spf1 redirect=a.dk", &["redirect=redirect=a.dk → redirect=a.dk"]),
        (
            &["v=spf1 -include:include:a.dk mx -all"],
            "v=spf1 include:a.dk mx ~all",
            &["-include:include:a.dk → include:a.dk", "unread -include:", "softened"],
        ),
        (&["v=spf1 ip4: ip4:192.0.2.1 -all"], "v=spf1 ip4:192.0.2.1 ~all", &["unread ip4:", "softened"]),
        // redirect.
        (&["v=spf1 redirect=a.dk ~all"], "v=spf1 include:a.dk ~all", &["redirect=a.dk → include:a.dk"]),
        (&["v=spf1 mx -all redirect=a.dk"], "v=spf1 mx include:a.dk -all", &["redirect=a.dk → include:a.dk"]),
        (&["v=spf1 redirect:a.dk"], "v=spf1 redirect=a.dk", &["redirect:a.dk → redirect=a.dk"]),
        (&["v=spf1 redirct=a.dk"], "v=spf1 redirect=a.dk", &["redirct=a.dk → redirect=a.dk"]),
        (&["v=spf1 include:a.dk redirect=b.dk"], "v=spf1 include:a.dk redirect=b.dk", &[]),
        // Two records, and other records in the same value.
        (&["v=spf1 mx -all", "v=spf1 include:a.dk -all"], "v=spf1 include:a.dk mx -all", &["2 joined"]),
        (&["v=spf1 mx -all", "v=spf1 include:a.dk ?all"], "v=spf1 include:a.dk mx ?all", &["2 joined"]),
        (
            &["v=spf1 mx ~all v=spf1 include:a.dk -all"],
            "v=spf1 mx include:a.dk ~all",
            &["v=spf1 → ", "moved include:a.dk", "dead -all"],
        ),
        (&["v=spf1 mx -allv=DMARC1; p=none"], "v=spf1 mx -all", &["v=DMARC1; p=none → "]),
        (&["v=spf1 mx -all v=DMARC1; p=none"], "v=spf1 mx -all", &["v=DMARC1; p=none → "]),
        (&["v=spf1 mx -all google-site-verification=abc"], "v=spf1 mx -all google-site-verification=abc", &[]),
        (&["v=spf1 mx -all MS=ms12345678"], "v=spf1 mx -all MS=ms12345678", &[]),
        // Addresses.
        (&["v=spf1 ip4:192.0.2.1/33 -all"], "v=spf1 ~all", &["unread ip4:192.0.2.1/33", "softened"]),
        (&["v=spf1 ip4:192.0.2.300 mx -all"], "v=spf1 mx ~all", &["unread ip4:192.0.2.300", "softened"]),
        (&["v=spf1 ip4:192.0.2.1:25 -all"], "v=spf1 ~all", &["unread ip4:192.0.2.1:25", "softened"]),
        (
            &["v=spf1 ip4:192.0.2.0/255.255.255.0 -all"],
            "v=spf1 ip4:192.0.2.0/24 -all",
            &["ip4:192.0.2.0/255.255.255.0 → ip4:192.0.2.0/24"],
        ),
        (&["v=spf1 ip6:[2001:db8::1] -all"], "v=spf1 ip6:2001:db8::1 -all", &["ip6:[2001:db8::1] → ip6:2001:db8::1"]),
        (&["v=spf1 ip6:2001:db8::/129 -all"], "v=spf1 ~all", &["unread ip6:2001:db8::/129", "softened"]),
        (&["v=spf1 ip:2001:db8::1 -all"], "v=spf1 ip6:2001:db8::1 -all", &["ip:2001:db8::1 → ip6:2001:db8::1"]),
        (&["v=spf1 ipv4=192.0.2.1 -all"], "v=spf1 ip4:192.0.2.1 -all", &["ipv4=192.0.2.1 → ip4:192.0.2.1"]),
        (&["v=spf1 ip4.192.0.2.1 -all"], "v=spf1 ip4:192.0.2.1 -all", &["ip4.192.0.2.1 → ip4:192.0.2.1"]),
        (&["v=spf1 a:192.0.2.1 -all"], "v=spf1 ip4:192.0.2.1 -all", &["a:192.0.2.1 → ip4:192.0.2.1"]),
        (&["v=spf1 mx/33 -all"], "v=spf1 ~all", &["unread mx/33", "softened"]),
        (&["v=spf1 a/24 mx//64 -all"], "v=spf1 a/24 mx//64 -all", &[]),
        (&["v=spf1 ip4:192.0.2.1 /24 -all"], "v=spf1 ip4:192.0.2.1/24 -all", &["ip4:192.0.2.1 /24 → ip4:192.0.2.1/24"]),
        (
            &["v=spf1 ip4:192.0.2.1,192.0.2.2 -all"],
            "v=spf1 ip4:192.0.2.1 ip4:192.0.2.2 -all",
            &["ip4:192.0.2.1,192.0.2.2 → ip4:192.0.2.1 ip4:192.0.2.2"],
        ),
        // Ranges of addresses.
        (
            &["v=spf1 ip4:192.0.2.4-192.0.2.9 mx -all"],
            "v=spf1 ip4:192.0.2.4/30 ip4:192.0.2.8/31 mx -all",
            &["ip4:192.0.2.4-192.0.2.9 → ip4:192.0.2.4/30 ip4:192.0.2.8/31"],
        ),
        (&["v=spf1 ip4:192.0.2.4-7 -all"], "v=spf1 ip4:192.0.2.4/30 -all", &["ip4:192.0.2.4-7 → ip4:192.0.2.4/30"]),
        (&["v=spf1 ip4:192.0.2.0-255 -all"], "v=spf1 ip4:192.0.2.0/24 -all", &["ip4:192.0.2.0-255 → ip4:192.0.2.0/24"]),
        (
            &["v=spf1 ip4:192.0.2.4 - 192.0.2.5 -all"],
            "v=spf1 ip4:192.0.2.4/31 -all",
            &["ip4:192.0.2.4 - 192.0.2.5 → ip4:192.0.2.4/31"],
        ),
        (
            &["v=spf1 ip4:192.0.2.4- 192.0.2.5 a -all"],
            "v=spf1 ip4:192.0.2.4/31 a -all",
            &["ip4:192.0.2.4- 192.0.2.5 → ip4:192.0.2.4/31"],
        ),
        (
            &["v=spf1 ip4:192.0.2.4\u{2013}192.0.2.5 -all"],
            "v=spf1 ip4:192.0.2.4/31 -all",
            &["ip4:192.0.2.4\u{2013}192.0.2.5 → ip4:192.0.2.4/31"],
        ),
        (
            &["v=spf1 ip4:192.0.2.4 til 192.0.2.5 -all"],
            "v=spf1 ip4:192.0.2.4/31 -all",
            &["ip4:192.0.2.4 til 192.0.2.5 → ip4:192.0.2.4/31"],
        ),
        (&["v=spf1 192.0.2.7-192.0.2.7 -all"], "v=spf1 ip4:192.0.2.7 -all", &["192.0.2.7-192.0.2.7 → ip4:192.0.2.7"]),
        (&["v=spf1 ip4:192.0.2.* -all"], "v=spf1 ip4:192.0.2.0/24 -all", &["ip4:192.0.2.* → ip4:192.0.2.0/24"]),
        (&["v=spf1 ip4:192.0.2.4 - -all"], "v=spf1 ip4:192.0.2.4 -all", &["- -all → -all"]),
        (&["v=spf1 ip4:192.0.2.0-24 -all"], "v=spf1 ~all", &["unread ip4:192.0.2.0-24", "softened"]),
        (&["v=spf1 ip4:192.0.2.9-192.0.2.4 -all"], "v=spf1 ~all", &["unread ip4:192.0.2.9-192.0.2.4", "softened"]),
        (
            &["v=spf1 -ip4:192.0.2.4-192.0.2.5 mx -all"],
            "v=spf1 mx ~all",
            &["unread -ip4:192.0.2.4-192.0.2.5", "softened"],
        ),
        (&["v=spf1 ip4:0.0.0.0/0 -all"], "v=spf1 ip4:0.0.0.0/0 -all", &[]),
        (&["v=spf1 ip4:192.0.2.1/32/32 mx -all"], "v=spf1 mx ~all", &["unread ip4:192.0.2.1/32/32", "softened"]),
        // Names.
        (&["v=spf1 include:_spf.a.dk. -all"], "v=spf1 include:_spf.a.dk. -all", &[]),
        (&["v=spf1 include:a_b -all"], "v=spf1 ~all", &["unread include:a_b", "softened"]),
        (&["v=spf1 includ:a.dk -all"], "v=spf1 include:a.dk -all", &["includ:a.dk → include:a.dk"]),
        (&["v=spf1 Include:A.dk MX -ALL"], "v=spf1 Include:A.dk MX -all", &[]),
        (&["v=spf1 \u{456}nclude:a.dk -all"], "v=spf1 include:a.dk -all", &["\u{456}nclude:a.dk → include:a.dk"]),
        (&["v=spf1 include:mailto:a@a.dk -all"], "v=spf1 ~all", &["unread include:mailto:a@a.dk", "softened"]),
        (&["v=spf1 include:a.dk/ -all"], "v=spf1 include:a.dk -all", &["include:a.dk/ → include:a.dk"]),
        (&["v=spf1 include:%7Bdomain%7D -all"], "v=spf1 ~all", &["unread include:%7Bdomain%7D", "softened"]),
        (&["v=spf1 include:<your-domain> -all"], "v=spf1 ~all", &["unread include:<your-domain>", "softened"]),
        (&["v=spf1 exists:%{i}._spf.a.dk -all"], "v=spf1 exists:%{i}._spf.a.dk -all", &[]),
        (&["v=spf1 exists:%i._spf.a.dk -all"], "v=spf1 ~all", &["unread exists:%i._spf.a.dk", "softened"]),
        (&["v=spf1 ptr:a.dk -all"], "v=spf1 ptr:a.dk -all", &["ptr"]),
        (&["v=spf1 mail.a.dk -all"], "v=spf1 ~all", &["unread mail.a.dk", "softened"]),
        (
            &["v=spf1 include:spf.protection.outlook,com mx -all"],
            "v=spf1 include:spf.protection.outlook.com mx -all",
            &["include:spf.protection.outlook,com → include:spf.protection.outlook.com"],
        ),
        (
            &["v=spf1 include:a.dk,com -all"],
            "v=spf1 include:a.dk ~all",
            &["include:a.dk,com → include:a.dk", "unread com", "softened"],
        ),
        // The version, and what was copied with the record.
        (&["v=spf2 mx -all"], "v=spf1 mx -all", &["begun"]),
        (&["v=SPF1 mx -all"], "v=spf1 mx -all", &[]),
        (&["v==spf1 mx -all"], "v=spf1 mx -all", &["begun"]),
        (&["=spf1 mx -all"], "v=spf1 mx -all", &["begun"]),
        (&["v=spf1.0 mx -all"], "v=spf1 mx -all", &["begun"]),
        (&["v=spf1 mx &ndash;all"], "v=spf1 mx -all", &["&ndash;all → -all"]),
        (&["v=spf1 mx&nbsp;&#126;all"], "v=spf1 mx ~all", &["mx&nbsp;&#126;all → mx ~all"]),
        (&["v:spf1 mx -all"], "v=spf1 mx -all", &["begun"]),
        (&["v=spf1+mx+-all"], "v=spf1 +mx -all", &["begun", "v=spf1+mx+-all → +mx -all"]),
        (&["v=spf1&nbsp;mx&nbsp;-all"], "v=spf1 mx -all", &["begun", "v=spf1&nbsp;mx&nbsp;-all → mx -all"]),
        (&["@ 3600 IN TXT \"v=spf1 mx -all\""], "v=spf1 mx -all", &["begun", "-all\" → -all"]),
        (&["TXT=v=spf1 mx -all"], "v=spf1 mx -all", &["begun"]),
        (&["v=spfl mx -all"], "v=spf1 mx -all", &["begun"]),
        (&["v=sfp1 mx -all"], "v=spf1 mx -all", &["begun"]),
        (&["v=spf mx -all"], "v=spf1 mx -all", &["begun"]),
        (&["spf mx -all"], "v=spf1 mx -all", &["begun"]),
        (&["v=3Dspf1 mx -all"], "v=spf1 mx -all", &["begun"]),
        (&["v=spf1%20mx%20-all"], "v=spf1 mx -all", &["begun", "v=spf1%20mx%20-all → mx -all"]),
        (&["v=spf1 a:a.dk\\nmx\\n-all"], "v=spf1 a:a.dk mx -all", &["a:a.dk\\nmx\\n-all → a:a.dk mx -all"]),
        (&["v=spf1 mx a:a.dk # our servers -all"], "v=spf1 mx a:a.dk ~all", &["unread # our servers", "softened"]),
        (&["v=spf1 (mx) [a] -all"], "v=spf1 mx a -all", &["(mx) → mx", "[a] → a"]),
        (&["v=spf1 mx\\; a\\; -all"], "v=spf1 mx a -all", &["mx\\; → mx", "a\\; → a"]),
        (&["v=spf1 +include:a.dk +mx -all"], "v=spf1 +include:a.dk +mx -all", &[]),
        // Others of the same kinds.
        (
            &["v=spf1 ip4:192.0.2.1\u{a0}-all"],
            "v=spf1 ip4:192.0.2.1 -all",
            &["ip4:192.0.2.1\u{a0}-all → ip4:192.0.2.1 -all"],
        ),
        (
            &["v=spf1 ip4:192.0.2.1/\u{200b}24 -all"],
            "v=spf1 ip4:192.0.2.1/24 -all",
            &["ip4:192.0.2.1/\u{200b}24 → ip4:192.0.2.1/24"],
        ),
        (&["v=spf1 IP4:192.0.2.1 -all"], "v=spf1 IP4:192.0.2.1 -all", &[]),
        (&["v=spf1 ip4 =192.0.2.1 -all"], "v=spf1 ip4:192.0.2.1 -all", &["ip4 =192.0.2.1 → ip4:192.0.2.1"]),
        (&["v=spf1 ipv4 : 192.0.2.1 -all"], "v=spf1 ip4:192.0.2.1 -all", &["ipv4 : 192.0.2.1 → ip4:192.0.2.1"]),
        (
            &["v=spf1 ip4:192.0.2.1,+ip4:192.0.2.2 -all"],
            "v=spf1 ip4:192.0.2.1 +ip4:192.0.2.2 -all",
            &["ip4:192.0.2.1,+ip4:192.0.2.2 → ip4:192.0.2.1 +ip4:192.0.2.2"],
        ),
        (
            &["v=spf1 include: spf.protection.outlook.com -all"],
            "v=spf1 include:spf.protection.outlook.com -all",
            &["include: spf.protection.outlook.com → include:spf.protection.outlook.com"],
        ),
        (&["v=spf1 include:spf.protection.outlook.com. -all"], "v=spf1 include:spf.protection.outlook.com. -all", &[]),
        (&["v=spf1 include\u{ff1a}a.dk -all"], "v=spf1 include:a.dk -all", &["include\u{ff1a}a.dk → include:a.dk"]),
        (&["v=spf1 include;a.dk -all"], "v=spf1 include:a.dk -all", &["include;a.dk → include:a.dk"]),
        (&["v=spf1 a;mx;-all"], "v=spf1 a mx -all", &["a;mx;-all → a mx -all"]),
        (&["v=spf1 mx -ALL."], "v=spf1 mx -all", &["-ALL. → -all"]),
        (&["v=spf1 mx -all -all"], "v=spf1 mx -all", &["dead -all"]),
        (&["v=spf1 mx ~all -all"], "v=spf1 mx ~all", &["dead -all"]),
        (&["v=spf1 mx -all,"], "v=spf1 mx -all", &["-all, → -all"]),
        (&["v=spf1 mx +mx -all"], "v=spf1 mx -all", &[]),
        (&["v=spf1 a:mail.test.dk/32 -all"], "v=spf1 a:mail.test.dk/32 -all", &[]),
        (&["v=spf1 ip6:2001:0DB8::/32 -all"], "v=spf1 ip6:2001:0DB8::/32 -all", &[]),
        (&["v=spf1 ip6=2001:db8::1 -all"], "v=spf1 ip6:2001:db8::1 -all", &["ip6=2001:db8::1 → ip6:2001:db8::1"]),
        (&["v=spf1 ip4:192.0.2.0/24/ -all"], "v=spf1 ip4:192.0.2.0/24 -all", &["ip4:192.0.2.0/24/ → ip4:192.0.2.0/24"]),
        (&["v=spf1 ip4:192.0.2.0\\24 -all"], "v=spf1 ~all", &["unread ip4:192.0.2.0\\24", "softened"]),
        (&["v=spf1 ip4:192.168.1 .5 -all"], "v=spf1 ip4:192.168.1.5 -all", &["ip4:192.168.1 .5 → ip4:192.168.1.5"]),
        (&["v=spf1 ip4:192,0,2,1 -all"], "v=spf1 ~all", &["unread ip4:192 0 2 1", "softened"]),
        (&["v=spf1 include:a..dk -all"], "v=spf1 ~all", &["unread include:a..dk", "softened"]),
        (&["v=spf1 include:-a.dk -all"], "v=spf1 include:-a.dk -all", &[]),
        (&["v=spf1 include:https://a.dk -all"], "v=spf1 include:a.dk -all", &["include:https://a.dk → include:a.dk"]),
        (&["v=spf1 include:www.a.dk/path -all"], "v=spf1 ~all", &["unread include:www.a.dk/path", "softened"]),
        (&["v=spf1 include:a@b.dk -all"], "v=spf1 ~all", &["unread include:a@b.dk", "softened"]),
        (&["v=spf1 include:a.dk -all\u{feff}"], "v=spf1 include:a.dk -all", &["-all\u{feff} → -all"]),
        (&["\u{200b}v=spf1 mx -all"], "v=spf1 mx -all", &["begun"]),
        (&["v=spf1\u{200b} mx -all"], "v=spf1 mx -all", &["begun"]),
        (&["v=spf1\u{3000}mx -all"], "v=spf1 mx -all", &["begun", "v=spf1\u{3000}mx → mx"]),
        (&[" v=spf1 mx -all"], "v=spf1 mx -all", &["begun"]),
        (&["v=spf1\tmx\t-all"], "v=spf1 mx -all", &["begun", "v=spf1\tmx\t-all → mx -all"]),
        (&["“v=spf1 mx -all”"], "v=spf1 mx -all", &["begun", "-all” → -all"]),
        (&["v=spf1 “mx” -all"], "v=spf1 mx -all", &["“mx” → mx"]),
        (&["TXT \"v=spf1 mx -all\""], "v=spf1 mx -all", &["begun", "-all\" → -all"]),
        (&["test.dk. IN TXT v=spf1 mx -all"], "v=spf1 mx -all", &["begun"]),
        (&["spf=v=spf1 mx -all"], "v=spf1 mx -all", &["begun"]),
        (
            &["v=spf1; include:a.dk; ~all;"],
            "v=spf1 include:a.dk ~all",
            &["begun", "include:a.dk; → include:a.dk", "~all; → ~all"],
        ),
        (&["v=spf1, include:a.dk, ~all"], "v=spf1 include:a.dk ~all", &["begun", "include:a.dk, → include:a.dk"]),
        (&["v=spf1.mx -all"], "v=spf1 mx -all", &["begun", "v=spf1.mx → mx"]),
        (
            &["v=spf1 mx include:a.dk -all include:b.dk"],
            "v=spf1 mx include:a.dk include:b.dk -all",
            &["moved include:b.dk"],
        ),
        (&["v=spf1 mx v=spf1 include:a.dk -all"], "v=spf1 mx include:a.dk -all", &["v=spf1 → "]),
    ] {
        differences.compare(published, &proposed(published), &(record.to_owned(), owned(notes)));
    }
    differences.assert_none();
}
