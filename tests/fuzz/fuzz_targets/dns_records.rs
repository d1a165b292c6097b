//! What strangers' DNS holds: key records, SPF and DMARC are read without a panic, what counts as usable is so to another parser,
//! a macro expands within bounds, and the records that are proposed in place of what was found can be used and need no further
//! change.
//!
//! `tests/fuzz/run 120 dns_records`
#![no_main]

use libfuzzer_sys::fuzz_target;
use mail_auth::common::parse::TxtRecordParser;
use mail_auth::common::verify::DomainKey;
use mail_auth::dmarc::Dmarc;
use mail_auth::spf::Spf;
use postbud::dkim::KeyRecord;
use postbud::onboarding::dmarc;
use postbud::onboarding::spf::macros::{MacroString, Values};
use postbud::onboarding::spf::{Directive, Mechanism, Record, is_spf, looks_like_spf, merge};
use postbud::smtp::Domain;

fuzz_target!(|input: &[u8]| {
    // Records are separated by a NUL, which no text of DNS needs.
    let texts: Vec<String> = input.split(|b| *b == 0).map(|text| String::from_utf8_lossy(text).into_owned()).collect();
    for text in &texts {
        let key = KeyRecord::parse(text);
        assert!(!key.is_usable() || (!key.public_key.is_empty() && DomainKey::parse(text.as_bytes()).is_ok()));
        if dmarc::is_dmarc(text)
            && let Ok(record) = dmarc::Record::parse(text)
        {
            let theirs = Dmarc::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error:?}"));
            assert_eq!(format!("{:?}", theirs.p), format!("{:?}", record.policy), "{text}");
        }
        if let Some(record) = dmarc::amended(text) {
            assert!(dmarc::Record::parse(&record).is_ok(), "{record}");
        }
        assert!(!(is_spf(text.as_bytes()) && looks_like_spf(text.as_bytes())));
        if let Some(name) = MacroString::domain_spec(text) {
            let values = Values {
                ip: [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into(),
                local: "strong-bad",
                sender_domain: "email.example.com",
                domain: "email.example.com",
                helo: "mail.example.com",
                validated: None,
            };
            assert!(name.expand(&values).len() <= 253);
        }
    }
    let include = Domain::parse("spf.webcrm.com").expect("a name");
    let published: Vec<String> =
        texts.into_iter().filter(|text| is_spf(text.as_bytes()) || looks_like_spf(text.as_bytes())).collect();
    // Where everybody may send and not all of it can be read, nothing is proposed.
    let Ok(merged) = merge(&published, Some(&include), &["mx".to_owned()]) else { return };
    let record = Record::parse(&merged.record).unwrap_or_else(|faults| panic!("{}: {faults:?}", merged.record));
    assert!(Spf::parse(merged.record.as_bytes()).is_ok(), "{}", merged.record);
    let is_ours = |name: &str| name.trim_end_matches('.').eq_ignore_ascii_case(include.as_str());
    let ours = |d: &&Directive| matches!(&d.mechanism, Mechanism::Include(name) if name.literal().is_some_and(is_ours));
    assert_eq!(record.directives.iter().filter(ours).count(), 1, "{}", merged.record);
    let again = merge(std::slice::from_ref(&merged.record), Some(&include), &[]).expect("all of it is read");
    assert_eq!(again.record, merged.record);
    assert!(!again.changed);
});
