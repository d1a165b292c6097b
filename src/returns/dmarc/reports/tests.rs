use std::collections::BTreeMap;

use super::*;
use crate::onboarding::dmarc::step::{PolicyStage, Reason, Safety, judge};
use crate::returns::dmarc::samples::{self, BEGINS, Sizes, gzip, mail, zip};
use crate::returns::dmarc::store::SCHEMA;
use crate::test_customers::{customer, ed25519, mailjet};

struct Rig {
    reports: Reports,
    _dir: tempfile::TempDir,
}

/// Two days after the samples.
fn now() -> Timestamp {
    Timestamp::from_millis((BEGINS + 2 * DAY) * 1000)
}

fn test_dk() -> Domain {
    Domain::parse("test.dk").unwrap()
}

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(dir.path(), &[SCHEMA]).unwrap();
        let directory =
            Arc::new(Directory::new(vec![customer("test-as", [ed25519("test.dk")], mailjet())], BTreeMap::new()));
        let onboarding = Arc::new(onboarding::Settings::default());
        let in_force = move || (Arc::clone(&directory), Arc::clone(&onboarding));
        Rig { reports: Reports::open(database, Settings::default().keep, in_force).unwrap(), _dir: dir }
    }

    fn take(&self, octets: &[u8]) -> Result<TakenReports, ReportRefused> {
        self.reports.take_at(octets, now())
    }

    fn summary(&self) -> Summary {
        self.reports.summary(&test_dk(), 30, now()).unwrap()
    }
}

#[test]
fn reports_of_every_reporter_add_up() {
    let rig = Rig::new();
    let samples = samples::all();
    for (name, text) in &samples {
        let taken = rig.take(text.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(taken.reports.len(), 1, "{name}");
        assert_eq!((taken.reports[0].duplicate, taken.reports[0].messages), (false, 17), "{name}");
    }
    let count = samples.len() as u64;
    let summary = rig.summary();
    assert_eq!((summary.reports, summary.reporter_count, summary.days_with_reports), (count, 8, 1));
    assert_eq!(summary.newest_day.as_deref(), Some("2026-11-27"));
    assert_eq!((summary.all.messages, summary.ours.messages), (17 * count, 14 * count));
    assert_eq!((summary.all.by_both, summary.all.by_dkim, summary.all.failing), (10 * count, 4 * count, 3 * count));
    assert_eq!((summary.hit.messages, summary.hit.strangers, summary.hit.ours), (3 * count, 3 * count, 0));
    let keys: Vec<_> = summary.senders.iter().map(|sender| (sender.key.as_str(), sender.ours)).collect();
    assert_eq!(keys, [("relay", true), ("mailjet", true), ("network:192.0.2.0/24", false)]);
    assert_eq!(summary.by_day.iter().map(|day| day.ours_passing).sum::<u64>(), 14 * count);
    let Safety::NotYet { reasons } = judge(PolicyStage::None, &summary.facts()) else { panic!() };
    assert_eq!(reasons[0], Reason::FewDays { days: 1, needed: 14 });
}

#[test]
fn a_report_counts_once_whichever_way_it_comes() {
    let rig = Rig::new();
    let xml = &samples::all()[0].1;
    let packed = gzip(xml.as_bytes());
    let ways = [
        xml.clone().into_bytes(),
        packed.clone(),
        zip("a.xml", xml.as_bytes(), Sizes::Before),
        mail("application/gzip", &packed),
    ];
    let duplicates: Vec<bool> = ways.iter().map(|way| rig.take(way).unwrap().reports[0].duplicate).collect();
    assert_eq!(duplicates, [false, true, true, true]);
    // An id counts once, whatever else stands in a second report with it.
    let forged = xml.replace("<count>10</count>", "<count>10000</count>");
    assert!(rig.take(forged.as_bytes()).unwrap().reports[0].duplicate);
    assert_eq!(rig.summary().all.messages, 17);
    // Without an id the content tells.
    let nameless = xml.replace("<report_id>8293631894893125362</report_id>", "");
    assert!(!rig.take(nameless.as_bytes()).unwrap().reports[0].duplicate);
    assert!(rig.take(nameless.as_bytes()).unwrap().reports[0].duplicate);
    let other = nameless.replace("<count>10</count>", "<count>11</count>");
    assert!(!rig.take(other.as_bytes()).unwrap().reports[0].duplicate);
    // Another domain, range or reporter makes another report.
    let next_day = xml.replace(&BEGINS.to_string(), &(BEGINS + 1).to_string());
    assert!(!rig.take(next_day.as_bytes()).unwrap().reports[0].duplicate);
}

#[test]
fn strangers_domains_are_refused_and_their_records_left_out() {
    let rig = Rig::new();
    let xml = &samples::all()[0].1;
    let foreign = rig.take(xml.replace("test.dk", "stranger.dk").as_bytes());
    assert!(matches!(&foreign, Err(ReportRefused::Foreign(domain)) if domain == "stranger.dk"), "{foreign:?}");
    // Its records speak of a customer, but the policy is another's.
    let forged = rig.take(
        xml.replace("<domain>test.dk</domain>\n    <adkim>", "<domain>stranger.dk</domain>\n    <adkim>").as_bytes(),
    );
    assert!(matches!(&forged, Err(ReportRefused::Foreign(_))), "{forged:?}");
    // One record of another domain does not cost the others.
    let mixed = xml.replacen("<header_from>test.dk", "<header_from>stranger.dk", 1);
    let taken = rig.take(mixed.as_bytes()).unwrap();
    assert_eq!((taken.reports[0].messages, &taken.reports[0].repairs[..]), (7, &[Repair::ForeignRecords][..]));
    // A name below a customer's domain belongs to it.
    let below = xml.replace("<header_from>test.dk", "<header_from>nyhed.test.dk").replace("8293", "1111");
    assert_eq!(rig.take(below.as_bytes()).unwrap().reports[0].domains, [test_dk()]);
}

#[test]
fn times_that_cannot_be_are_refused() {
    let rig = Rig::new();
    let xml = &samples::all()[0].1;
    let at = |begins: u64, ends: u64| {
        let text = xml.replace(&BEGINS.to_string(), &begins.to_string());
        rig.take(text.replace(&samples::ENDS.to_string(), &ends.to_string()).as_bytes())
    };
    for (begins, ends, reason) in [
        (BEGINS + 5 * DAY, BEGINS + 6 * DAY, "future"),
        (BEGINS - 500 * DAY, BEGINS - 499 * DAY, "kept for 400 days"),
        (BEGINS - 100 * DAY, BEGINS, "at most 35"),
    ] {
        let refused = at(begins, ends).unwrap_err();
        assert!(refused.to_string().contains(reason) && refused.code() == "time", "{refused}");
    }
    assert!(at(BEGINS - 7 * DAY, BEGINS).is_ok());
}

#[test]
fn old_reports_leave_with_their_sums() {
    let rig = Rig::new();
    rig.take(samples::all()[0].1.as_bytes()).unwrap();
    rig.reports.tidy(now() + Duration::from_secs(398 * DAY)).unwrap();
    assert_eq!(rig.summary().reports, 1);
    rig.reports.tidy(now() + Duration::from_secs(399 * DAY)).unwrap();
    assert_eq!((rig.summary().reports, rig.summary().all.messages), (0, 0));
}

#[test]
fn a_flood_of_reports_and_sources_stays_small() {
    let rig = Rig::new();
    let record = |n: u32| {
        let [_, b, c, d] = n.to_be_bytes();
        format!(
            "<record><row><source_ip>11.{b}.{c}.{d}</source_ip><count>1</count></row><identifiers><header_from>test.dk</header_from></identifiers></record>"
        )
    };
    for report in 0..3 {
        let records: String = (0..2_000).map(|n| record((report * 2_000 + n) << 8)).collect();
        let text = samples::all()[0]
            .1
            .replace("8293", &report.to_string())
            .replace("</feedback>", &format!("{records}</feedback>"));
        let taken = rig.take(text.as_bytes()).unwrap();
        assert!(taken.reports[0].repairs.contains(&Repair::ManySources));
    }
    let summary = rig.summary();
    assert_eq!(summary.all.messages, 3 * 2_017);
    assert!(summary.senders.len() as u64 + summary.more_senders < 520, "{}", summary.more_senders);
    assert!(summary.senders.iter().any(|sender| sender.key == "others"));
}

#[test]
fn refusals_say_what_kind_they_are() {
    let rig = Rig::new();
    for (octets, code) in [
        (&b"Subject: hello\n\nthere"[..], "no-report"),
        (b"<html></html>", "no-report"),
        (b"<feedback><record>", "malformed"),
        (b"BZh9", "archive"),
        (&gzip(&[&b"<feedback>"[..], &b"<a/>".repeat(25 << 20)].concat()), "bomb"),
    ] {
        let refused = rig.take(octets).unwrap_err();
        assert!(refused.code() == code && !refused.is_temporary(), "{refused}");
    }
}

#[test]
fn metrics_count_reports_and_tell_the_age_of_the_newest() {
    let rig = Rig::new();
    let mut registry = Registry::default();
    rig.reports.register(&mut registry);
    let xml = &samples::all()[0].1;
    let soon = xml.replace(&BEGINS.to_string(), &(Timestamp::now().as_secs() - 2 * DAY).to_string());
    let soon = soon.replace(&samples::ENDS.to_string(), &(Timestamp::now().as_secs() - DAY).to_string());
    rig.reports.take(soon.as_bytes()).unwrap();
    rig.reports.take(soon.as_bytes()).unwrap();
    rig.reports.take(b"hello").unwrap_err();
    let text = crate::metrics::Format::Text.encode(&registry);
    for line in [
        "dmarc_reports_total{result=\"taken\",reason=\"\"} 1",
        "dmarc_reports_total{result=\"duplicate\",reason=\"\"} 1",
        "dmarc_reports_total{result=\"refused\",reason=\"no-report\"} 1",
        "dmarc_newest_report_seconds{domain=\"test.dk\"} 864",
        "dmarc_domains 1",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

/// What it costs is measured with the release build: benches/README.md.
#[test]
fn ten_megabytes_are_read() {
    let rig = Rig::new();
    let taken = rig.take(large(10 << 20).as_bytes()).unwrap();
    assert!(taken.reports[0].messages > 10_000);
}

fn large(size: usize) -> String {
    let (before, rest) =
        samples::all().remove(0).1.split_once("  <record>").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let record = format!("  <record>{}  </record>\n", rest.split_once("  </record>").unwrap().0);
    let mut text = before;
    let mut n = 0u32;
    while text.len() < size {
        n += 1;
        let [_, b, c, d] = n.to_be_bytes();
        text.push_str(&record.replace("40.74.40.57", &format!("11.{b}.{c}.{d}")));
    }
    text.push_str("</feedback>\n");
    text
}
