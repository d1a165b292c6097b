//! Servers that take only so many recipients a message, and say so in every way: all recipients have the mail, once.

use std::sync::Mutex;

use postbud::spool::{Commit, Draft};

use crate::capture::{Capture, Script};
use crate::drafts::{draft, lane};
use crate::rig::{Rig, impatient, of_kind, own_server, route};

const ALL: usize = 8;
/// How many the servers here take.
const MOST: usize = 3;

/// How a server refuses more than [`MOST`]; `None` where it takes them at that point.
#[derive(Clone, Copy)]
struct Refusal {
    rcpt: Option<&'static str>,
    data: Option<&'static str>,
    end: Option<&'static str>,
    /// What it says to one more RCPT after it has refused two; nothing, and it hangs up.
    then: Option<&'static str>,
}

const AT_RCPT: Refusal = Refusal { rcpt: None, data: None, end: None, then: None };

fn refusing(how: Refusal) -> Script {
    // Recipients taken and refused since the last MAIL.
    let counts = Mutex::new((0, 0));
    Box::new(move |line| {
        let mut counts = counts.lock().unwrap();
        let (taken, refused) = &mut *counts;
        let command = line.split(' ').next().unwrap_or_default();
        let too_many = *taken > MOST || *refused > 0;
        let answer = match command {
            "MAIL" => {
                (*taken, *refused) = (0, 0);
                None
            }
            "RCPT" if *taken >= MOST && how.rcpt.is_some() => {
                *refused += 1;
                if *refused > 2 { how.then.or(how.rcpt) } else { how.rcpt }
            }
            "RCPT" => {
                *taken += 1;
                None
            }
            "DATA" if too_many => how.data,
            "." if too_many => how.end,
            _ => None,
        };
        answer.map(str::to_owned)
    })
}

async fn deliver(server: &Capture, to: &[String]) -> Vec<serde_json::Value> {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::start(folder.path(), own_server(route("own-server.x", server.address)), impatient(), None).await;
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    let _ = rig.spool.commit(Draft { lane: lane("x"), ..draft("", &to, 1, 100) }).await.unwrap();
    rig.wait_for_events("all are settled", |events| {
        of_kind(events, "relayed").len() + of_kind(events, "bounced").len() >= to.len()
    })
    .await;
    // The sender is told of bounces by mail, which is not what is looked at here.
    rig.stop().await.into_iter().filter(|event| event.get("about").is_none()).collect()
}

fn addresses(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("r{n}@example.net")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn recipients_refused_for_their_number_have_the_mail_all_the_same_and_once() {
    let rcpt = |reply| Refusal { rcpt: Some(reply), ..AT_RCPT };
    let ways = [
        rcpt("452 4.5.3 Error: too many recipients"),
        rcpt("550 Too many recipients"),
        rcpt("552 Recipient limit exceeded"),
        rcpt("550 5.5.3 no more than 3"),
        // Exim, with recipients_max_reject.
        Refusal { data: Some("554 Too many recipients"), ..rcpt("552 too many recipients") },
        Refusal { data: Some("554 5.5.1 rejected"), ..rcpt("452 4.5.3 Too many recipients") },
        Refusal { data: Some("451 4.5.3 Too many recipients"), ..AT_RCPT },
        Refusal { data: Some("550 The message exceeds the maximum number of recipients"), ..AT_RCPT },
        Refusal { end: Some("554 5.5.3 too many recipients"), ..AT_RCPT },
        Refusal { end: Some("550 Maximum number of recipients exceeded"), ..AT_RCPT },
        // It hangs up after so many refusals, with a word or without.
        Refusal { then: Some("421 4.7.0 too many errors"), ..rcpt("452 4.5.3 Error: too many recipients") },
        Refusal { then: Some(""), ..rcpt("552 too many recipients") },
    ];
    for (number, how) in ways.into_iter().enumerate() {
        let server = Capture::scripted("127.0.0.1:0", refusing(how));
        let all = addresses(ALL);
        let events = deliver(&server, &all).await;
        assert_eq!(of_kind(&events, "relayed").len(), ALL, "way {number}: {events:#?}");
        for kind in ["bounced", "deferred", "alert"] {
            assert!(of_kind(&events, kind).is_empty(), "way {number}: {events:#?}");
        }
        let received = server.received();
        assert!(received.iter().all(|mail| mail.to.len() <= MOST), "way {number}: {received:?}");
        let mut got: Vec<String> = received.iter().flat_map(|mail| mail.to.clone()).collect();
        got.sort();
        let right: Vec<String> = all.iter().map(|to| format!("<{to}>")).collect();
        assert_eq!(got, right, "way {number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipient_who_is_refused_for_the_number_alone_is_refused() {
    let script = |line: &str| line.starts_with("RCPT").then(|| "550 5.5.3 Too many recipients".to_owned());
    let server = Capture::scripted("127.0.0.1:0", Box::new(script));
    let events = deliver(&server, &addresses(5)).await;
    assert_eq!(of_kind(&events, "bounced").len(), 5, "{events:#?}");
    assert!(server.received().iter().all(|mail| mail.to.is_empty()), "nobody has it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_the_content_beside_surplus_recipients_is_for_those_who_were_taken() {
    let how = Refusal { rcpt: Some("552 too many recipients"), end: Some("554 5.6.0 cannot parse this"), ..AT_RCPT };
    let server = Capture::scripted("127.0.0.1:0", refusing(how));
    let events = deliver(&server, &addresses(ALL)).await;
    let (bounced, delivered) = (of_kind(&events, "bounced"), of_kind(&events, "relayed"));
    // The others go in transactions without surplus, which this server takes.
    assert_eq!((bounced.len(), delivered.len()), (MOST, ALL - MOST), "{events:#?}");
    assert!(
        bounced.iter().all(|event| event["reply"] == "cannot parse this" && event["class"] == "content"),
        "{bounced:#?}"
    );
}
