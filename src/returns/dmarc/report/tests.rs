use proptest::prelude::*;

use super::assembler::{MOST_MESSAGES, MOST_RESULTS};
use super::*;
use crate::returns::dmarc::samples::{self, BEGINS, ENDS};

fn parsed(text: impl AsRef<[u8]>) -> Result<(Head, Vec<ReportRecord>, Vec<Repair>), Unreadable> {
    let mut records = Vec::new();
    let (head, repairs) = read(&mut text.as_ref(), &mut |record| records.push(record.clone()))?;
    Ok((head, records, repairs.kinds().collect()))
}

/// A plain report with one record, of which tests break a part.
const PLAIN: &str = "<?xml version=\"1.0\"?><feedback><report_metadata><org_name>r.example</org_name><report_id>7</report_id>\
    <date_range><begin>1795737600</begin><end>1795823999</end></date_range></report_metadata><policy_published><domain>test.dk</domain>\
    <p>reject</p></policy_published><record><row><source_ip>192.0.2.1</source_ip><count>3</count><policy_evaluated>\
    <disposition>reject</disposition><dkim>fail</dkim><spf>pass</spf></policy_evaluated></row><identifiers>\
    <header_from>test.dk</header_from></identifiers><auth_results><dkim><domain>Test.dk</domain><selector>S1</selector>\
    <result>fail</result></dkim><spf><domain>test.dk</domain><result>pass</result></spf></auth_results></record></feedback>";

#[test]
fn a_plain_report_is_read_whole() {
    let (head, records, repairs) = parsed(PLAIN).unwrap();
    assert_eq!(
        head,
        Head {
            reporter: "r.example".into(),
            id: "7".into(),
            begins: BEGINS,
            ends: ENDS,
            domain: Domain::parse("test.dk").ok(),
            policy: Some(Policy::Reject),
        }
    );
    let record = ReportRecord {
        source: "192.0.2.1".parse().ok(),
        messages: 3,
        disposition: Disposition::Reject,
        dkim: Some(false),
        spf: Some(true),
        forwarded: false,
        from: Domain::parse("test.dk").ok(),
        signatures: vec![Signature { domain: "test.dk".into(), selector: "s1".into(), passes: false }],
        envelopes: vec![Envelope { domain: "test.dk".into(), passes: true }],
    };
    assert_eq!((records, repairs), (vec![record], vec![]));
}

#[test]
fn reports_of_every_big_reporter_are_read_without_repair() {
    for (name, text) in samples::all() {
        let (head, records, repairs) = parsed(&text).unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
        assert_eq!(repairs, [], "{name}");
        assert_eq!(head.begins, BEGINS, "{name}");
        assert!([ENDS, ENDS + 1].contains(&head.ends), "{name}");
        assert_eq!(head.domain.unwrap().as_str(), "test.dk", "{name}");
        assert!(!head.reporter.is_empty() && !head.id.is_empty(), "{name}");
        assert_eq!(records.iter().map(|record| record.messages).collect::<Vec<_>>(), [10, 4, 3], "{name}");
        let results: Vec<_> = records.iter().map(|record| (record.dkim.unwrap(), record.spf.unwrap())).collect();
        assert_eq!(results, [(true, true), (true, false), (false, false)], "{name}");
        assert_eq!(records[0].source, "40.74.40.57".parse().ok(), "{name}");
        assert_eq!((records[1].signatures.len(), records[1].envelopes.len()), (2, 1), "{name}");
        assert!(records.iter().all(|record| record.from.as_ref().unwrap().as_str() == "test.dk"), "{name}");
    }
    assert_eq!(parsed(samples::all()[2].1.clone()).unwrap().0.reporter, "Yahoo! & Inc.");
}

#[test]
fn what_is_plainly_meant_is_taken_and_named() {
    use Repair as R;
    let plain = parsed(PLAIN).unwrap();
    for (from, to, expected) in [
        ("<org_name>r.example</org_name>", "<email>a@r.example</email>", vec![R::Reporter]),
        ("<report_id>7</report_id>", "", vec![R::Id]),
        ("<domain>test.dk</domain><p>", "<domain></domain><p>", vec![]),
        ("<begin>1795737600</begin>", "<begin>2026-11-27T00:00:00Z</begin>", vec![R::Times]),
        ("<begin>1795737600</begin>", "<begin>1795737600000</begin>", vec![R::Times]),
        (
            "<begin>1795737600</begin><end>1795823999</end>",
            "<begin>1795823999</begin><end>1795737600</end>",
            vec![R::Times],
        ),
        ("<count>3</count>", "<count>3.0</count>", vec![R::Count]),
        ("<source_ip>192.0.2.1</source_ip>", "<source_ip>[192.0.2.1]</source_ip>", vec![]),
        ("<source_ip>192.0.2.1</source_ip>", "<source_ip> 192.0.2.1:25 </source_ip>", vec![]),
        ("<source_ip>192.0.2.1</source_ip>", "<source_ip>::ffff:192.0.2.1</source_ip>", vec![]),
        ("<disposition>reject</disposition>", "<disposition>Reject</disposition>", vec![]),
        ("<header_from>test.dk</header_from>", "<header_from>TEST.dk.</header_from>", vec![]),
        ("<header_from>test.dk</header_from>", "<header_from>&lt;a@test.dk&gt;</header_from>", vec![]),
        ("identifiers>", "identities>", vec![]),
        ("<source_ip>192.0.2.1</source_ip>", "<Source_IP>192.0.2.1</Source_IP>", vec![R::Names]),
        ("<feedback>", "<feedback xmlns=\"urn:ietf:params:xml:ns:dmarc-2.0\">", vec![]),
        ("</record></feedback>", "</record>", vec![R::Truncated]),
        ("</record></feedback>", "</record><record><row><source_ip>192.0", vec![R::Truncated]),
        ("</row>", "", vec![R::Nesting]),
        ("<org_name>r.example", "<org_name>r.example&bomb;", vec![R::Entity]),
        ("<?xml version=\"1.0\"?>", "<!DOCTYPE f [<!ENTITY a \"x\"><!ENTITY b \"&a;&a;\">]>", vec![]),
        ("<?xml version=\"1.0\"?>", "", vec![]),
        ("<?xml version=\"1.0\"?>", "\u{feff}\n\n", vec![]),
        ("</record>", "</record><record></record>", vec![R::EmptyRecord]),
        ("<row>", "<row><!-- a comment --><?pi x?>", vec![]),
        ("<count>3</count>", "<count><![CDATA[3]]></count>", vec![]),
        ("<auth_results>", "<auth_results/><auth_results>", vec![]),
        // RFC 9990 allows elements of others in an extension, by names that mean something elsewhere.
        (
            "</policy_published>",
            "<discovery_method>treewalk</discovery_method><testing>n</testing></policy_published><extension><x:arc xmlns:x=\"urn:x\">\
             <x:domain>other.dk</x:domain><x:p>none</x:p><x:count>99</x:count><x:source_ip>192.0.2.9</x:source_ip></x:arc></extension>",
            vec![],
        ),
        (
            "<report_id>7</report_id>",
            "<report_id>7</report_id><generator>v1</generator><error>no policy</error>",
            vec![],
        ),
    ] {
        let text = PLAIN.replace(from, to);
        let (head, records, repairs) = parsed(&text).unwrap_or_else(|error| panic!("{to}: {error}"));
        let expected: Vec<R> = if head.domain.is_none() { vec![R::PolicyDomain] } else { expected };
        assert_eq!(repairs, expected, "{to}");
        assert_eq!(records, plain.1, "{to}");
        assert!(head.ends - head.begins < 86_401, "{to}");
    }
}

#[test]
fn what_lacks_is_concluded_or_counted_as_unknown() {
    let (_, records, repairs) = parsed(PLAIN.replace("<count>3</count>", "<count>many</count>")).unwrap();
    assert_eq!((records[0].messages, &repairs[..]), (1, &[Repair::Count][..]));
    let (_, records, repairs) = parsed(PLAIN.replace("<count>3</count>", "<count>-3</count>")).unwrap();
    assert_eq!((records[0].messages, &repairs[..]), (1, &[Repair::Count][..]));
    let (_, records, repairs) = parsed(PLAIN.replace("192.0.2.1", "somewhere")).unwrap();
    assert_eq!((records[0].source, &repairs[..]), (None, &[Repair::Address][..]));
    let (_, records, repairs) = parsed(PLAIN.replace("<header_from>test.dk", "<header_from>?? ??")).unwrap();
    assert_eq!((&records[0].from, &repairs[..]), (&None, &[Repair::From][..]));
    let bare = PLAIN.replace("<dkim>fail</dkim><spf>pass</spf></policy", "</policy");
    let (_, records, _) = parsed(bare).unwrap();
    assert_eq!((records[0].dkim, records[0].spf), (None, None));
    for reason in
        ["<type>forwarded</type>", "<type>mailing_list</type>", "<type>local_policy</type><comment>arc=pass</comment>"]
    {
        let text = PLAIN.replace("</spf></policy", &format!("</spf><reason>{reason}</reason></policy"));
        assert!(parsed(text).unwrap().1[0].forwarded, "{reason}");
    }
}

#[test]
fn what_would_have_to_be_guessed_is_refused() {
    let records_gone = format!("{}</feedback>", PLAIN.split_once("<record>").unwrap().0);
    let cut = &PLAIN[..PLAIN.find("</record>").unwrap()];
    let nested = format!("<feedback>{}", "<a>".repeat(100));
    for (text, expected) in [
        (String::new(), Unreadable::Nothing),
        ("no XML".into(), Unreadable::Nothing),
        ("<html><body>404</body></html>".into(), Unreadable::Other("html".into())),
        ("<\u{1b}[31mx>".into(), Unreadable::Other("\\u{1b}[31mx".into())),
        (records_gone, Unreadable::NoRecords),
        (cut.to_owned(), Unreadable::Broken("its end is missing".into())),
        (
            PLAIN.replace("date_range", "dates").replace("begin", "b").replace("<end", "<e").replace("</end", "</e"),
            Unreadable::NoTime,
        ),
        (PLAIN.replace("<count>3", "<count>99999999999"), Unreadable::Implausible("99999999999".into())),
        (
            PLAIN.replace("<count>3", "<count>99999999999999999999999999"),
            Unreadable::Implausible("99999999999999999999999999".into()),
        ),
        (
            PLAIN.replace("<count>3", &format!("<count>{}", "9".repeat(99))),
            Unreadable::Implausible("9".repeat(30) + "…"),
        ),
        (nested, Unreadable::TooDeep),
    ] {
        assert_eq!(parsed(&text).unwrap_err(), expected, "{}", text.get(..60).unwrap_or(&text));
    }
}

#[test]
fn hostile_xml_takes_neither_memory_nor_meaning() {
    let laughs =
        "<!DOCTYPE l [<!ENTITY a \"ha\">]>".replace("<!ENTITY a \"ha\">", &"<!ENTITY b \"&a;&a;&a;\">".repeat(2_000));
    let long_text = PLAIN.replace("r.example", &"x".repeat(1 << 20));
    let long_tag = PLAIN.replace("<feedback>", &format!("<feedback {}>", "a='b' ".repeat(1 << 18)));
    let long_comment = PLAIN.replace("<record>", &format!("<!--{}--><record>", "x".repeat(1 << 20)));
    let endless = PLAIN.replace("<record>", &format!("<record{}", "x".repeat(1 << 20)));
    for text in [PLAIN.replace("<?xml version=\"1.0\"?>", &laughs), long_text, long_tag, long_comment, endless] {
        if let Ok((head, records, _)) = parsed(&text) {
            assert!(head.reporter.len() <= 200 && records.len() <= 1, "{}", head.reporter.len());
        }
    }
    let results = "<dkim><domain>a.dk</domain></dkim>".repeat(10_000);
    let (_, records, _) = parsed(PLAIN.replace("<auth_results>", &format!("<auth_results>{results}"))).unwrap();
    assert_eq!(records[0].signatures.len(), MOST_RESULTS);
}

#[test]
fn a_report_cut_anywhere_gives_the_records_before_the_cut() {
    for (name, text) in samples::all() {
        let whole = parsed(&text).unwrap().1;
        for end in 0..text.len() {
            if let Ok((_, records, repairs)) = parsed(&text.as_bytes()[..end]) {
                assert_eq!(records, whole[..records.len()], "{name} at {end}");
                assert!(repairs.contains(&Repair::Truncated) || text[end..].trim().len() < 2, "{name} at {end}");
            }
        }
    }
}

#[test]
fn reports_cost_in_proportion_to_their_length() {
    let shapes: &[crate::test_cost::Shape<String>] = &[
        ("records", |size| {
            let (before, record) = PLAIN.split_once("<record>").unwrap();
            let record = record.strip_suffix("</feedback>").unwrap();
            format!("{before}{}</feedback>", format!("<record>{record}").repeat(size / record.len()))
        }),
        ("open elements", |size| format!("<feedback>{}", "<record>".repeat(size / 8))),
        ("ends", |size| format!("<feedback>{}", "</record>".repeat(size / 9))),
        ("text", |size| format!("<feedback><record><count>{}", "7 ".repeat(size / 2))),
        ("entities", |size| format!("<feedback><record><count>{}", "&amp;".repeat(size / 5))),
        ("results", |size| {
            format!("<feedback><record><auth_results>{}", "<dkim><domain>a</domain></dkim>".repeat(size / 31))
        }),
        ("names", |size| format!("<feedback>{}", "<aaaaaaaaaaaaaaaaaaaaaaaaaa/>".repeat(size / 29))),
        ("less-thans", |size| "<".repeat(size)),
        ("ampersands", |size| format!("<a>{}", "&".repeat(size))),
    ];
    crate::test_cost::is_linear(crate::test_cost::LONG, |text: &String| drop(parsed(text)), shapes);
}

proptest! {
    #[test]
    fn whatever_comes_is_read_or_refused(octets in prop::collection::vec(any::<u8>(), 0..2_000)) {
        let _ = parsed(&octets);
    }

    #[test]
    fn a_report_with_anything_put_into_it_is_read_or_refused(
        at in any::<prop::sample::Index>(),
        sample in 0usize..8,
        junk in "(<[a-z_/!\\[?-]{0,12}>?|&[a-z#0-9]{0,9};?|[ -~]{0,12}|\u{0}|\u{fffd}){0,6}",
    ) {
        let text = samples::all().remove(sample).1;
        let at = at.index(text.len());
        let broken = [&text.as_bytes()[..at], junk.as_bytes(), &text.as_bytes()[at..]].concat();
        if let Ok((head, records, _)) = parsed(broken) {
            prop_assert!(head.begins <= head.ends);
            prop_assert!(records.iter().all(|record| record.messages <= MOST_MESSAGES));
        }
    }
}
