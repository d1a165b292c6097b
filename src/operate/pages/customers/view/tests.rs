use std::sync::Arc;
use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::message::CustomerId;
use crate::onboarding::connect::Apply;
use crate::onboarding::dmarc::step::step;
use crate::onboarding::records::{InTheWay, Row, SentThrough};
use crate::onboarding::{Check, Item, Need, RecordTable, Report};
use crate::operate::customers::has_in_name;
use crate::operate::dmarc::DmarcReport;
use crate::operate::pages::customers::server;

fn tab(domain: &str, is_in_order: Option<bool>) -> Tab {
    Tab { domain: domain.to_owned(), path: "/a".to_owned(), is_in_order }
}

fn row(item: Item, text: &str) -> Row {
    Row {
        item,
        need: Need::Required,
        kind: "TXT",
        host: format!("h{text}"),
        label: format!("l{text}"),
        zone: Some(format!("z{text}")),
        value: format!("v{text}"),
        alternative: Some(format!("http://{text}")),
        present: false,
        unanswered: false,
        replaces: 1,
        in_the_way: Some(InTheWay::Alias { target: text.to_owned() }),
        role: None,
        notes: Vec::new(),
        first: None,
        obstacles: Vec::new(),
    }
}

/// Records with this text wherever a stranger's can be.
pub fn table(text: &str, rows: usize) -> RecordTable {
    let owned = || text.to_owned();
    let items = [Item::Spf, Item::Ownership, Item::Dkim, Item::MailjetDkim, Item::Dmarc, Item::ReturnPath];
    RecordTable {
        domain: owned(),
        zone: Some(owned()),
        egress: owned(),
        sent_through: SentThrough::Mailjet { include: owned() },
        rows: items.into_iter().cycle().take(rows).map(|item| row(item, text)).collect(),
        unknown: false,
        broken_keys: vec![owned()],
        mailjet_key_unset: Some(owned()),
        mailjet_key_to_come: Some(owned()),
        rotation_unreadable: Some(owned()),
    }
}

/// DMARC reports with this text for every name in them.
pub fn dmarc(text: &str) -> DmarcReport {
    let mut summary = crate::returns::dmarc::tests::summary(30);
    summary.domain = text.to_owned();
    for (at, sender) in summary.senders.iter_mut().enumerate() {
        (sender.name, sender.key, sender.ours) = (text.to_owned(), text.to_owned(), at == 0);
    }
    let host = format!("_dmarc.{text}");
    let step = step(host, Some("v=DMARC1; p=none"), None, None, &summary.facts());
    DmarcReport { summary, step: Ok(step) }
}

/// A result in which every text that strangers write is this one.
fn look(text: &str, rows: usize) -> DomainLook {
    let owned = || text.to_owned();
    let mut checks: Vec<Check> = Item::ALL.into_iter().map(|item| Check::new(item, Need::Required)).collect();
    for check in &mut checks {
        check.say(Finding::SpfNearMiss { text: owned() });
        check.say(Finding::WrongHost { found_at: owned(), right_host: owned(), zone: Some(owned()) });
        check.say(Finding::ReturnPathWrong { host: owned(), found: owned(), target: owned() });
    }
    for check in checks.iter_mut().filter(|check| check.item != Item::Spf) {
        check.found = vec![owned()];
    }
    let report =
        Report { customer: owned(), domain: Domain::parse("test.dk").unwrap(), checked_at: Timestamp::EPOCH, checks };
    let apply = Some(Apply { provider: owned(), url: format!("https://dc.example/?x={text}") });
    let (table, dmarc) = (table(text, rows), Some(dmarc(text)));
    let (provider, name_servers) = (DnsProvider::Other, vec![owned()]);
    DomainLook { table, report, provider, name_servers, apply, dmarc, unkept: Some(owned()) }
}

/// A page on which every text that strangers write is this one.
fn page(text: &str, rows: usize) -> String {
    let owned = || text.to_owned();
    let look = look(text, rows);
    let snapshot = Snapshot { customer: CustomerId::new("x"), look };
    let known = Known { snapshot: Some(Arc::new(snapshot)), ..Known::default() };
    let stored = DomainView::of_text(text);
    let view = View {
        lang: Lang::Da,
        customer: text,
        domains: &[tab(text, Some(true)), tab("b", Some(false)), tab("c", None)],
        domain_count: 4,
        wanted: text,
        domain: "test.dk",
        path: "/link/x/test.dk",
        code: html! {},
        server: server::tests::part_with(text),
        has_own_server: false,
        known: &known,
        stored: Some(&stored),
        expires: owned(),
    };
    view.page().render()
}

#[test]
fn a_domain_is_found_by_a_part_of_its_name_as_people_write_it() {
    for (query, expected) in [
        (None, ""),
        (Some("find=%20N%C3%86%20"), "næ"),
        (Some("lang=da&find="), ""),
        (Some("x=1"), ""),
        (Some("find=%ff"), "\u{fffd}"),
    ] {
        assert_eq!(wanted(query), expected, "{query:?}");
    }
    let domain = Domain::parse("nyhed.nærum.dk").unwrap();
    for (wanted, expected) in [("", true), ("nærum", true), ("xn--", true), ("nyhed.n", true), ("ole", false)] {
        assert_eq!(has_in_name(domain.as_str(), wanted), expected, "{wanted}");
    }
}

/// Returns the tags of a page with the names of their attributes, without any value.
fn skeleton(page: &str) -> Vec<String> {
    let tags = page.split('<').skip(1).map(|rest| rest.split('>').next().unwrap_or_default());
    tags.map(|tag| tag.split('"').step_by(2).collect::<Vec<_>>().join("\"\"")).collect()
}

proptest! {
    #[test]
    fn nothing_that_strangers_write_becomes_markup(text in "[<>&\"'`/=;:a-zA-Z0-9\u{0}-\u{1f}\u{202e}\u{feff}æ -]{0,60}") {
        prop_assert_eq!(skeleton(&page(&text, 6)), skeleton(&page("x", 6)), "{:?}", text);
    }
}

#[test]
fn markup_of_strangers_is_shown_as_text() {
    for text in
        ["\"><script>alert(1)</script>", "' onmouseover='x", "</title><img src=x onerror=y>", "javascript:x", "]]><!--"]
    {
        assert_eq!(skeleton(&page(text, 6)), skeleton(&page("x", 6)), "{text}");
    }
}

#[test]
fn each_provider_has_words_of_its_own_in_both_languages() {
    let mut look = look("test", 1);
    (look.table.zone, look.name_servers) = (Some("test.dk".to_owned()), vec!["ns1.firma.example.".to_owned()]);
    look.table.rows[0].present = false;
    let mut seen = Vec::new();
    for provider in DnsProvider::ALL {
        look.provider = provider;
        let [da, en] = [Lang::Da, Lang::En].map(|lang| panel(words(lang), &look).into_string());
        let steps = |text: &str| text.matches("<li>").count();
        assert!(steps(&da) >= 3 && steps(&da) == steps(&en), "{provider:?}: {da} {en}");
        for text in [&da, &en] {
            let is_named = text.contains("ns1.firma.example") && text.contains("Punktum dk");
            match provider.name() {
                Some(name) => assert!(text.contains(name) && !is_named, "{text}"),
                None => assert!(is_named, "{text}"),
            }
        }
        assert!(da.contains("zonen test.dk") && en.contains("the zone test.dk"), "{da} {en}");
        seen.extend([da, en]);
    }
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), count, "no two are the same");
}

#[test]
#[ignore = "measures: run it alone"]
fn a_page_is_rendered_within_20_milliseconds() {
    page("warm", 60);
    let best = (0..5)
        .map(|_| {
            let begun = Instant::now();
            page("v=spf1 include:x.dk -all", 60);
            begun.elapsed()
        })
        .min()
        .unwrap();
    println!("a page with 60 records is rendered in {best:?}");
    // The limit is wide, because this is a debug build on a busy machine.
    assert!(best.as_millis() < 200, "{best:?}");
}
