use super::*;
use crate::returns::dmarc::samples::{Sizes, gzip, mail, multipart, zip};

fn opened(octets: &[u8]) -> Result<Vec<String>, Unopened> {
    let mut found = Vec::new();
    open(octets, &mut |xml| {
        let mut text = String::new();
        // What breaks off gives what it has.
        let _ = xml.read_to_string(&mut text);
        found.push(text);
    })?;
    Ok(found)
}

const XML: &str = "<?xml version=\"1.0\"?><feedback>one</feedback>";

#[test]
fn reports_are_found_in_every_wrapping() {
    let zips = [Sizes::Before, Sizes::Behind, Sizes::BehindUnsigned, Sizes::Behind64, Sizes::Stored];
    let mut wrapped = vec![XML.as_bytes().to_vec(), format!("\r\n \u{feff}{XML}").into_bytes(), gzip(XML.as_bytes())];
    wrapped.extend(zips.map(|sizes| zip("a.xml", XML.as_bytes(), sizes)));
    wrapped.push(zip("a.xml.gz", &gzip(XML.as_bytes()), Sizes::Before));
    wrapped.push(gzip(&gzip(XML.as_bytes())));
    for octets in wrapped {
        let kinds =
            ["application/gzip", "application/zip", "application/octet-stream", "text/xml", "text/plain", "x/y"];
        let mails = kinds.into_iter().flat_map(|kind| [mail(kind, &octets), multipart(kind, &octets)]);
        for wrapped in mails.chain([octets.clone()]) {
            let found = opened(&wrapped).unwrap();
            assert!(found.len() == 1 && found[0].trim_start_matches(['\r', '\n', ' ', '\u{feff}']) == XML, "{found:?}");
        }
    }
}

#[test]
fn an_archive_with_several_entries_gives_every_report() {
    let mut archive = zip("__MACOSX/x", b"\0\x05\x16\x07 notes", Sizes::Before);
    let cut = |archive: &mut Vec<u8>| archive.truncate(archive.len() - b"PK\x01\x02 the directory".len());
    cut(&mut archive);
    archive.extend(zip("a.xml", XML.as_bytes(), Sizes::Behind));
    cut(&mut archive);
    archive.extend(zip("b.xml", XML.as_bytes(), Sizes::Before));
    assert_eq!(opened(&archive).unwrap(), [XML, XML]);
}

#[test]
fn what_is_cut_off_gives_what_it_has() {
    let long = format!("<feedback>{}", "<record>something</record>".repeat(5_000));
    let packed = gzip(long.as_bytes());
    let archive = zip("a.xml", long.as_bytes(), Sizes::Before);
    for octets in [&packed[..packed.len() / 2], &archive[..archive.len() / 2]] {
        let found = opened(octets).unwrap();
        assert!(found.len() == 1 && found[0].len() > 1000 && long.starts_with(&found[0]), "{}", found[0].len());
    }
}

#[test]
fn what_holds_no_report_is_refused_with_the_reason() {
    let mut locked = zip("a.xml", XML.as_bytes(), Sizes::Before);
    locked[6] |= 1;
    let mut lzma = zip("a.xml", XML.as_bytes(), Sizes::Before);
    lzma[8] = 14;
    let deep = gzip(&gzip(&gzip(XML.as_bytes())));
    let cases: [(&[u8], Unopened); 12] = [
        (b"", Unopened::Unknown),
        (b"hello", Unopened::Unknown),
        (b"BZh91AY", Unopened::Archive("bzip2")),
        (b"PK\x05\x06\0\0\0\0", Unopened::Empty),
        (b"PK\x03\x04", Unopened::Empty),
        (&locked, Unopened::Encrypted),
        (&lzma, Unopened::Method(14)),
        (&deep, Unopened::Nested),
        (&gzip(b"hello"), Unopened::Unknown),
        (b"Subject: x\n\nhello", Unopened::NothingAttached),
        (&mail("application/zip", &locked), Unopened::Encrypted),
        (&vec![b'x'; LONGEST + 1], Unopened::TooLarge(LONGEST + 1)),
    ];
    for (octets, reason) in cases {
        assert_eq!(opened(octets), Err(reason), "{:?}", String::from_utf8_lossy(&octets[..octets.len().min(40)]));
    }
}

#[test]
fn decompression_bombs_go_out() {
    let mut zeros = vec![b' '; 100 << 20];
    // What does not begin as XML is not even unpacked.
    assert_eq!(opened(&gzip(&zeros)), Err(Unopened::Unknown));
    zeros[0] = b'<';
    let bomb = gzip(&zeros);
    assert!(bomb.len() < 200_000);
    let in_mail = multipart("application/gzip", &bomb);
    // A bomb in the entry before the report, which is skipped and not read.
    let mut before = zip("x", &zeros[1..], Sizes::Before);
    before.extend(zip("a.xml", XML.as_bytes(), Sizes::Before));
    // One that begins as a report does.
    let dressed = gzip(&[XML.as_bytes(), &zeros].concat());
    for octets in [bomb.clone(), gzip(&bomb), zip("a.xml", &zeros, Sizes::Behind), in_mail, before, dressed] {
        let mut most = 0;
        let found = open(&octets, &mut |xml| {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = xml.read(&mut buffer) {
                most += count as u64;
            }
        });
        assert_eq!(found, Err(Unopened::Bomb));
        assert!(most <= MOST_OUT.max(MOST_GROWTH * octets.len() as u64), "{most}");
    }
}

#[test]
fn containers_cost_in_proportion_to_their_length() {
    crate::test_cost::is_linear(
        crate::test_cost::LONG,
        |octets: &Vec<u8>| drop(opened(octets)),
        &[
            ("gzip heads", |size| b"\x1f\x8b\x08\0".repeat(size / 4)),
            ("zip heads", |size| b"PK\x03\x04".repeat(size / 4)),
            ("entries", |size| zip("a", b"<a>", Sizes::Stored).repeat(size / 60)),
            ("mails", |size| mail("text/xml", XML.as_bytes()).repeat(size / 400)),
            ("blank", |size| vec![b' '; size]),
        ],
    );
}
