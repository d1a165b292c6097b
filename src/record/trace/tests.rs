use super::*;
use crate::record::archive;
use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

/// A journal of three files: an archive, a full file, and the file that is being written.
struct Journal {
    dir: tempfile::TempDir,
    ids: Vec<QueueId>,
}

impl Journal {
    fn new() -> Journal {
        let dir = tempfile::tempdir().unwrap();
        let ids: Vec<QueueId> =
            (0..30).map(|n| QueueId::first_at(Timestamp::now() + Duration::from_millis(n * 5))).collect();
        let mut texts = [String::new(), String::new(), String::new()];
        for (n, id) in ids.iter().enumerate() {
            let at = id.arrived();
            let recipients = [format!("r{n}@x.dk"), "All@x.dk".to_owned()];
            // Without another reference, the ENVID is the reference.
            let envid = if n % 2 == 0 { format!("ref-{n}") } else { format!("env-{n}") };
            let common = format!(
                r#""queue_id":"{id}","message_id":"m{n}@a.dk","reference":"ref-{n}","envid":"{envid}","campaign":"c{}","tags":["t{}","all"],"customer":"cust{}","sender":"news@a.dk""#,
                n % 3,
                n % 3,
                n % 2
            );
            let text = &mut texts[n / 10];
            for recipient in &recipients {
                writeln!(text, r#"{{"at":"{at}","event":"accepted",{common},"recipient":"{recipient}"}}"#).unwrap();
            }
            // This event comes ten mails later, so that the events of some mails are in two files.
            let later = &mut texts[((n + 5) / 10).min(2)];
            for recipient in &recipients {
                let at = at + Duration::from_millis(1);
                writeln!(later, r#"{{"at":"{at}","event":"relayed",{common},"recipient":"{recipient}"}}"#).unwrap();
            }
            writeln!(later, r#"{{"at":"{}","event":"held",{common}}}"#, at + Duration::from_millis(2)).unwrap();
        }
        writeln!(
            texts[2],
            r#"{{"at":"{}","event":"rejected","customer":"cust0","recipient":"r3@x.dk"}}"#,
            Timestamp::now() + Duration::from_secs(1)
        )
        .unwrap();
        texts[2].push_str("{\"at\":\"torn");
        let journal = Journal { dir, ids };
        let (first, second) = (journal.path("e.jsonl.000001"), journal.path("e.jsonl.000002"));
        fs::write(&first, &texts[0]).unwrap();
        archive::close(&first, &journal.path("e.jsonl.000001.zst"), 0o600).unwrap();
        fs::write(second, &texts[1]).unwrap();
        fs::write(journal.path("e.jsonl"), &texts[2]).unwrap();
        journal
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn find(&self, query: &Query, most: usize) -> Found {
        find(&self.path("e.jsonl"), query, most).unwrap()
    }
}

fn kinds(trace: &Trace) -> Vec<&str> {
    trace.events.iter().map(|event| event["event"].as_str().unwrap()).collect()
}

#[test]
fn every_key_finds_the_whole_life_of_its_mail() {
    let journal = Journal::new();
    for n in [0usize, 7, 12, 25] {
        let id = journal.ids[n].to_string();
        for query in [
            Query { queue_id: Some(journal.ids[n]), ..Query::default() },
            Query { message_id: Some(format!("<M{n}@a.dk>")), ..Query::default() },
            Query { reference: Some(format!("ref-{n}")), ..Query::default() },
            Query { reference: Some(format!("ref-{n}")), sender: Some("news@A.dk".into()), ..Query::default() },
        ] {
            let found = journal.find(&query, 10);
            assert_eq!(found.traces.len(), 1, "{query:?}");
            assert_eq!(found.traces[0].queue_id.as_ref(), Some(&id));
            assert_eq!(kinds(&found.traces[0]), ["accepted", "accepted", "relayed", "relayed", "held"], "{query:?}");
        }
    }
}

#[test]
fn a_life_is_cut_to_its_newest_events() {
    let journal = Journal::new();
    let kinds = |most| -> Vec<String> {
        let life = life(&journal.path("e.jsonl"), journal.ids[7], most).unwrap();
        life.iter().map(|event| event["event"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(kinds(9), ["accepted", "accepted", "relayed", "relayed", "held"]);
    assert_eq!(kinds(2), ["relayed", "held"]);
}

#[test]
fn a_recipients_mail_shows_no_other_recipient() {
    let journal = Journal::new();
    let found = journal.find(&Query { recipient: Some("R3@x.dk".into()), ..Query::default() }, 10);
    assert_eq!(found.traces.len(), 2, "the mail and what was refused");
    assert_eq!(kinds(&found.traces[0]), ["rejected"]);
    assert_eq!(kinds(&found.traces[1]), ["accepted", "relayed", "held"]);
}

#[test]
fn the_newest_mails_come_first_and_more_are_announced() {
    let journal = Journal::new();
    let all = Query { recipient: Some("all@x.dk".into()), ..Query::default() };
    let found = journal.find(&all, 4);
    let ids: Vec<_> = found.traces.iter().map(|trace| trace.queue_id.clone().unwrap()).collect();
    let newest: Vec<_> = journal.ids.iter().rev().take(4).map(ToString::to_string).collect();
    assert_eq!((ids, found.more), (newest, true));
    let found = journal.find(&all, 30);
    assert_eq!((found.traces.len(), found.more), (30, false));
}

#[test]
fn a_search_that_finds_more_than_its_limit_is_continued_to_its_end() {
    let journal = Journal::new();
    let questions = [
        Query { recipient: Some("all@x.dk".into()), ..Query::default() },
        Query { customer: Some("cust0".into()), ..Query::default() },
        Query { tag: Some("all".into()), ..Query::default() },
        // Two mails to this recipient, one of them refused.
        Query { recipient: Some("r3@x.dk".into()), ..Query::default() },
        // Old mails are found by their late events.
        Query { from: Some(journal.ids[20].arrived()), customer: Some("cust1".into()), ..Query::default() },
    ];
    for question in questions {
        let whole = journal.find(&question, 100);
        assert!(whole.next().is_none() && whole.traces.len() > 1, "{question:?}");
        for most in [1, 4, 7, whole.traces.len()] {
            let (mut traces, mut after, mut pages) = (Vec::new(), None, 0);
            loop {
                let page = journal.find(&Query { after, ..question.clone() }, most);
                assert!(page.traces.len() <= most);
                after = page.next().map(|next| next.to_string().parse().unwrap());
                traces.extend(page.traces);
                pages += 1;
                assert!(pages <= whole.traces.len(), "a page makes no progress: {question:?}");
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(pages, whole.traces.len().div_ceil(most), "{question:?}");
            assert_eq!(traces, whole.traces, "{question:?}");
        }
    }
    // What arrives meanwhile is on no further page.
    let question = Query { recipient: Some("all@x.dk".into()), ..Query::default() };
    let first = journal.find(&question, 10);
    let text = fs::read_to_string(journal.path("e.jsonl")).unwrap();
    let id = QueueId::first_at(Timestamp::now() + Duration::from_secs(60));
    let new = format!("{{\"at\":\"{}\",\"queue_id\":\"{id}\",\"recipient\":\"all@x.dk\"}}", id.arrived());
    fs::write(journal.path("e.jsonl"), text.replace("{\"at\":\"torn", &format!("{new}\n"))).unwrap();
    let rest = journal.find(&Query { after: first.next(), ..question.clone() }, 100);
    assert_eq!((rest.traces.len(), journal.find(&question, 100).traces.len()), (20, 31));
}

#[test]
fn only_a_cursor_of_a_search_is_one() {
    for text in ["", "-", "x-6H0K9MEFC7721", "1795458240000", "1-../x", "1-a b", &format!("1-{}", "a".repeat(101))] {
        assert_eq!(text.parse::<TracePosition>(), Err(NotAPosition), "{text}");
    }
    let place = TracePosition::of(QueueId::first_at(Timestamp::from_millis(1_795_458_240_000)));
    assert_eq!(place.to_string().parse(), Ok(place));
}

#[test]
fn customer_and_time_narrow_a_question_or_make_one() {
    let journal = Journal::new();
    let of_customer = Query { customer: Some("cust1".into()), ..Query::default() };
    assert_eq!(journal.find(&of_customer, 100).traces.len(), 15);
    for n in [3, 4, 13, 14, 28, 29] {
        let envid = if n % 2 == 0 { format!("REF-{n}") } else { format!("ENV-{n}") };
        let found = journal.find(&Query { envid: Some(envid), ..Query::default() }, 100);
        assert_eq!(found.traces.len(), 1, "{n}");
        assert_eq!(found.traces[0].queue_id, Some(journal.ids[n].to_string()));
    }
    // The reference of a mail with another ENVID is no ENVID.
    assert!(journal.find(&Query { envid: Some("ref-3".into()), ..Query::default() }, 100).traces.is_empty());
    let tagged = Query { tag: Some("T1".into()), ..Query::default() };
    assert_eq!(journal.find(&tagged, 100).traces.len(), 10);
    let both = Query { campaign: Some("c1".into()), ..of_customer };
    assert_eq!(journal.find(&both, 100).traces.len(), 5);
    let (from, until) = (Some(Timestamp::EPOCH), Some(journal.ids[0].arrived() - Duration::from_millis(1)));
    assert!(journal.find(&Query { from, until, ..Query::default() }, 100).traces.is_empty());
    assert!(journal.find(&Query { campaign: Some("c9".into()), ..Query::default() }, 100).traces.is_empty());
}

#[test]
fn a_search_ends_when_it_has_the_newest_mails_and_their_whole_lives() {
    const MAILS: u64 = 3_000;
    let dir = tempfile::tempdir().unwrap();
    let now = Timestamp::now();
    let ids: Vec<QueueId> = (0..MAILS).map(|n| QueueId::first_at(now + Duration::from_millis(n * 5))).collect();
    let line = |n: u64, event: &str, at: Timestamp| {
        let (id, customer, reply) = (ids[n as usize], n % 2, "x".repeat(300));
        format!(
            "{{\"at\":\"{at}\",\"event\":\"{event}\",\"queue_id\":\"{id}\",\"customer\":\"c{customer}\",\"reply\":\"{reply}\"}}\n"
        )
    };
    let mut text = String::new();
    for (n, id) in ids.iter().enumerate() {
        text.push_str(&line(n as u64, "accepted", id.arrived()));
        if let Some(earlier) = (n as u64).checked_sub(1_500) {
            text.push_str(&line(earlier, "relayed", id.arrived()));
        }
    }
    // Whoever reads this file hears that it is damaged.
    fs::write(dir.path().join("e.jsonl.000001.zst"), "damaged").unwrap();
    fs::write(dir.path().join("e.jsonl"), text).unwrap();
    let log = dir.path().join("e.jsonl");
    let found_ids = |query: &Query, most: usize| -> Vec<String> {
        let found = find(&log, query, most).unwrap();
        assert!(found.more && found.traces.iter().all(|trace| kinds(trace)[0] == "accepted"));
        found.traces.into_iter().map(|trace| trace.queue_id.unwrap()).collect()
    };
    for most in [1, 20, 400] {
        let newest: Vec<String> = ids.iter().rev().step_by(2).take(most).map(ToString::to_string).collect();
        assert_eq!(found_ids(&Query { customer: Some("c1".into()), ..Query::default() }, most), newest);
    }
    assert!(find(&log, &Query { customer: Some("c1".into()), ..Query::default() }, 5_000).is_err());
    let known: Vec<u64> = vec![1_700, 2_900];
    let lives = lives(&log, known.iter().map(|n| ids[*n as usize])).unwrap();
    let count: Vec<usize> = lives.values().map(Vec::len).collect();
    assert_eq!(count, [1, 1], "the first file is not read for mails whose beginning is found");
}

#[test]
fn what_several_nodes_found_is_one_answer_with_each_event_once() {
    let event =
        |id: &str, second: u32| serde_json::json!({"event_id": id, "at": format!("2026-11-29T08:00:{second:02}.000Z")});
    let mail = |id: &str, events: Vec<Value>| Trace { queue_id: Some(id.into()), events };
    let part = |traces| Found { traces, ..Found::default() };
    let parts = || {
        vec![
            part(vec![mail("b", vec![event("1", 5), event("3", 9)]), mail("a", vec![event("0", 1)])]),
            part(vec![mail("c", vec![event("7", 6)]), mail("b", vec![event("1", 5), event("2", 7)])]),
        ]
    };
    let found = Found::of_nodes(parts(), 5, vec!["node2 does not answer".into()]);
    let expected = [
        mail("c", vec![event("7", 6)]),
        mail("b", vec![event("1", 5), event("2", 7), event("3", 9)]),
        mail("a", vec![event("0", 1)]),
    ];
    assert_eq!((&found.traces[..], found.more, found.missing.len()), (&expected[..], false, 1));
    let cut = Found::of_nodes(parts(), 2, Vec::new());
    assert_eq!((&cut.traces[..], cut.more), (&expected[..2], true));
    assert_eq!((found.next(), cut.next()), (None, Some(expected[1].position())));
}

#[test]
fn an_answer_of_several_nodes_ends_where_the_shortest_part_ends() {
    let ids: Vec<QueueId> =
        (1..=6).rev().map(|second| QueueId::first_at(Timestamp::from_millis(second * 1000))).collect();
    let mail = |n: usize| Trace { queue_id: Some(ids[n].to_string()), events: Vec::new() };
    let part =
        |mails: &[usize], more| Found { traces: mails.iter().map(|n| mail(*n)).collect(), more, missing: Vec::new() };
    // The first node has the mails 0, 3 and 5, of which one fills its page.
    let first = Found::of_nodes(vec![part(&[0], true), part(&[1, 2, 4], false)], 5, Vec::new());
    assert_eq!((&first.traces, first.more), (&vec![mail(0)], true));
    assert_eq!(first.next(), Some(TracePosition::of(ids[0])));
    let second = Found::of_nodes(vec![part(&[3], true), part(&[1, 2], true)], 5, Vec::new());
    assert_eq!((&second.traces, second.more), (&vec![mail(1), mail(2)], true));
    let last = Found::of_nodes(vec![part(&[3, 5], false), part(&[4], false)], 5, Vec::new());
    assert_eq!((&last.traces, last.more), (&vec![mail(3), mail(4), mail(5)], false));
}

#[test]
fn an_answer_has_fewer_mails_if_their_events_are_many_and_the_next_one_goes_on() {
    let journal = Journal::new();
    let all = journal.find(&Query { campaign: Some("c1".into()), ..Query::default() }, 100);
    let whole: Vec<&Trace> = all.traces.iter().collect();
    assert!(whole.len() == 10 && !all.more);
    for octets in [1, 3_000, 5_000, usize::MAX] {
        let mut query = Query { campaign: Some("c1".into()), ..Query::default() };
        let mut paged = Vec::new();
        loop {
            let found = find_within(&journal.path("e.jsonl"), &query, 7, octets).unwrap();
            let size: usize =
                found.traces.iter().flat_map(|mail| &mail.events).map(|event| event.to_string().len()).sum();
            assert!(found.traces.len() == 1 || size <= octets, "{octets}: {} mails, {size}", found.traces.len());
            query.after = found.next();
            paged.extend(found.traces);
            if query.after.is_none() {
                break;
            }
        }
        assert_eq!(paged.iter().collect::<Vec<_>>(), whole, "{octets}");
    }
}
