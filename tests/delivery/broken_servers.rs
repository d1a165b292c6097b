//! A server that breaks, stalls or babbles at every point. Mail waits, nothing is lost, nothing hangs, and only a break after
//! the final dot leaves the outcome unknown.

use std::sync::Arc;
use std::time::Duration;

use postbud::delivery::{Delivery, Outcome, Scope, Trouble, Verdict};
use postbud::route::Route;

use super::messages::{attempt, delivery, message, message_of, route};
use super::script::{Server, Step, hear, hello, say, takes_one};

/// A dialogue in which every `Say` is a point where a server can break.
fn dialogue() -> Vec<Step> {
    [hello(&[]), takes_one()].concat()
}

/// `dialogue()` up to its `nth` answer, which is replaced by `other`.
fn broken_at(nth: usize, other: &[Step]) -> Vec<Step> {
    let mut script = Vec::new();
    let mut answers = 0;
    for step in dialogue() {
        if matches!(step, Step::Say(_)) {
            if answers == nth {
                script.extend_from_slice(other);
                return script;
            }
            answers += 1;
        }
        script.push(step);
    }
    panic!("there are only {answers} answers");
}

const ANSWERS: [&str; 6] = ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "final dot"];
const LAST: usize = ANSWERS.len() - 1;

async fn outcome_of(script: Vec<Step>) -> Outcome {
    let server = Server::start(vec![script]).await;
    let outcome = bounded(&delivery(), &Arc::new(route(server.address))).await;
    assert_eq!(server.connections(), 1, "a fresh connection that breaks is not tried again within the attempt");
    outcome
}

async fn bounded(delivery: &Delivery, route: &Arc<Route>) -> Outcome {
    tokio::time::timeout(Duration::from_secs(20), attempt(delivery, route, &message(&["x@test.net"])))
        .await
        .expect("the attempt ends")
}

fn waits(outcome: &Outcome, nth: usize) {
    let [recipient] = outcome.recipients.as_slice() else { panic!("{outcome:?}") };
    assert_eq!(recipient.meaning.verdict, Verdict::Deferred, "{}: {outcome:?}", ANSWERS[nth]);
    assert_eq!(recipient.meaning.unknown, nth == LAST, "{}: {outcome:?}", ANSWERS[nth]);
    let scope = if nth < 2 { Scope::Route } else { Scope::Session };
    assert_eq!(recipient.meaning.scope, scope, "{}: {outcome:?}", ANSWERS[nth]);
    // Within the transaction it may be the message's own.
    let trouble = outcome.trouble.as_ref().unwrap_or_else(|| panic!("{}: {outcome:?}", ANSWERS[nth]));
    assert_eq!(matches!(trouble, Trouble::BackOff { .. }), nth < 2, "{}: {outcome:?}", ANSWERS[nth]);
    assert_eq!(matches!(trouble, Trouble::Doubt { .. }), nth >= 2, "{}: {outcome:?}", ANSWERS[nth]);
    assert_eq!(trouble.advice().is_some_and(|advice| advice.contains("duplicate")), nth == LAST, "{outcome:?}");
}

#[tokio::test]
async fn closing_at_any_point_makes_mail_wait() {
    for nth in 0..ANSWERS.len() {
        waits(&outcome_of(broken_at(nth, &[])).await, nth);
        waits(&outcome_of(broken_at(nth, &[Step::Reset])).await, nth);
    }
}

#[tokio::test]
async fn silence_at_any_point_ends_in_time_and_slows_the_route() {
    let mut silent = tokio::task::JoinSet::new();
    for nth in 0..ANSWERS.len() {
        silent.spawn(async move { (nth, outcome_of(broken_at(nth, &[Step::Hang])).await) });
    }
    while let Some(ended) = silent.join_next().await {
        let (nth, outcome) = ended.unwrap();
        waits(&outcome, nth);
        let said = format!("no answer within 1 s (at {})", ANSWERS[nth]);
        assert!(outcome.recipients[0].meaning.reply.contains(&said), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_reply_that_comes_byte_by_byte_is_read_and_an_endless_one_is_cut_off() {
    let slow: Vec<Step> = b"250 2.0.0 queued\r\n"
        .iter()
        .flat_map(|byte| [Step::Say(vec![*byte]), Step::Pause(Duration::from_millis(5))])
        .collect();
    let outcome = outcome_of(broken_at(LAST, &slow)).await;
    assert_eq!(outcome.recipients[0].meaning.verdict, Verdict::Relayed);
    let drip: Vec<Step> = (0..40).flat_map(|_| [say("250-more"), Step::Pause(Duration::from_millis(100))]).collect();
    waits(&outcome_of(broken_at(LAST, &drip)).await, LAST);
}

#[tokio::test]
async fn endless_replies_and_junk_are_refused_at_any_point() {
    let babble: [&[u8]; 6] = [
        b"250-and so on\r\n",
        b"250 without end ",
        b"\0\xff\xfe\x80binary",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"999 what\r\n",
    ];
    for nth in 0..ANSWERS.len() {
        for text in babble {
            let outcome = outcome_of(broken_at(nth, &[Step::SayForEver(text.to_vec())])).await;
            if nth == LAST && text.starts_with(b"250") {
                // Its code was heard, and with it that the message was taken: sending it again would make a duplicate.
                assert_eq!(outcome.recipients[0].meaning.verdict, Verdict::Relayed, "{outcome:?}");
                assert!(outcome.recipients[0].meaning.reply.starts_with("250"), "{outcome:?}");
            } else {
                waits(&outcome, nth);
            }
        }
    }
}

#[tokio::test]
async fn blank_lines_between_replies_are_passed_over_and_the_connection_is_kept() {
    let spaced = |steps: Vec<Step>| -> Vec<Step> {
        let space = |step| match step {
            Step::Say(text) => Step::Say([b"\r\n", text.as_slice(), b"\r\n \r\n"].concat()),
            other => other,
        };
        steps.into_iter().map(space).collect()
    };
    let script = spaced([hello(&[]), takes_one(), takes_one()].concat());
    let flight = vec![hear("MAIL"), hear("RCPT"), hear("DATA"), say("250 ok\r\n\r\n250 ok\r\n\n354 go")];
    let pipelined = [hello(&["PIPELINING"]), flight, vec![Step::HearContent, say("\r\n250 ok")]].concat();
    for script in [script, spaced(pipelined)] {
        let server = Server::start(vec![script]).await;
        let (delivery, route) = (delivery(), Arc::new(route(server.address)));
        assert_eq!(
            bounded(&delivery, &route).await.recipients[0].meaning.verdict,
            Verdict::Relayed,
            "{:?}",
            server.heard()
        );
        assert_eq!(delivery.idle_connections(), 1);
    }
    let server = Server::start(vec![spaced([hello(&[]), takes_one(), takes_one()].concat())]).await;
    let (delivery, route) = (delivery(), Arc::new(route(server.address)));
    for _ in 0..2 {
        assert_eq!(bounded(&delivery, &route).await.recipients[0].meaning.verdict, Verdict::Relayed);
    }
    assert_eq!(server.connections(), 1);
    let endless = Step::SayForEver(b"\r\n".to_vec());
    let outcome = outcome_of([hello(&[]), vec![hear("MAIL"), endless]].concat()).await;
    assert_eq!(outcome.recipients[0].meaning.verdict, Verdict::Deferred, "{outcome:?}");
}

#[tokio::test]
async fn a_reply_whose_lines_contradict_each_other_makes_mail_wait_whichever_comes_last() {
    for (nth, point) in ANSWERS.into_iter().enumerate() {
        for text in ["250-2.0.0 ok\r\n550 5.7.1 no", "550-5.7.1 no\r\n250 2.0.0 ok", "220-x\r\n354 y"] {
            let outcome = outcome_of(broken_at(nth, &[say(text), Step::Hang])).await;
            waits(&outcome, nth);
            let reply = &outcome.recipients[0].meaning.reply;
            assert!(reply.contains("different codes") && reply.contains(&format!("(at {point})")), "{point}: {reply}");
        }
        for text in ["550-5.1.1 gone\r\n450 4.2.0 later", "450-4.2.0 later\r\n550 5.1.1 gone"] {
            let outcome = outcome_of(broken_at(nth, &[say(text)])).await;
            let [recipient] = outcome.recipients.as_slice() else { panic!("{outcome:?}") };
            assert_eq!(
                (recipient.meaning.verdict, recipient.meaning.unknown),
                (Verdict::Deferred, false),
                "{point}: {outcome:?}"
            );
            assert!(recipient.meaning.reply.starts_with("450 4.2.0"), "{point}: {outcome:?}");
        }
    }
}

#[tokio::test]
async fn octets_that_are_no_reply_are_quoted() {
    for (octets, shown) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "\"HTTP/1.1 400 Bad Request\""),
        (b"\x1b[31mno\r\n", r#""\u{1b}[31mno""#),
        (b"\x15\x03\x01\x00\x02\x02\xff", r"\xff"),
        // Without its line end, and then it hangs up.
        (b"554 go away", "\"554 go away\""),
        (b"5", "\"5\""),
    ] {
        for (nth, point) in ANSWERS.into_iter().enumerate() {
            let outcome = outcome_of(broken_at(nth, &[Step::Say(octets.to_vec())])).await;
            assert!(outcome.recipients[0].meaning.reply.contains(shown), "{point}: {outcome:?}");
        }
    }
    let unfinished = outcome_of(vec![Step::Say(b"220 mail".to_vec()), Step::Hang]).await;
    let reply = &unfinished.recipients[0].meaning.reply;
    assert!(reply.contains("within 1 s, only \"220 mail\" (at greeting)"), "{reply}");
    // Behind a whole reply, where nothing was asked any more.
    let script = vec![hear("MAIL"), say("250 ok"), hear("RCPT"), say("250 ok\r\n* OK IMAP4"), Step::Hang];
    let outcome = outcome_of([hello(&[]), script].concat()).await;
    assert!(outcome.recipients[0].meaning.reply.contains("\"* OK IMAP4"), "{outcome:?}");
}

#[tokio::test]
async fn a_server_that_closes_at_one_recipient_leaves_those_it_took_for_another_transaction() {
    for (last, reply) in
        [(vec![say("421 4.7.0 bye")], "421 4.7.0 bye"), (vec![], "the server closed the connection (at RCPT)")]
    {
        let took = ["MAIL", "RCPT", "RCPT"].into_iter().flat_map(|command| [hear(command), say("250 ok")]).collect();
        let server = Server::start(vec![[hello(&[]), took, vec![hear("RCPT")], last].concat()]).await;
        let to = ["a@test.net", "b@test.net", "poison@test.net", "c@test.net"];
        let outcome = attempt(&delivery(), &Arc::new(route(server.address)), &message(&to)).await;
        let [poison] = outcome.recipients.as_slice() else { panic!("{outcome:?}") };
        assert_eq!(
            (poison.index, poison.meaning.verdict, poison.meaning.scope),
            (2, Verdict::Deferred, Scope::Session)
        );
        assert_eq!(poison.meaning.reply, reply);
        assert_eq!(outcome.again, [0, 1]);
        assert!(matches!(outcome.trouble, Some(Trouble::Doubt { .. })), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_refusal_at_any_step_is_reported() {
    for (nth, point) in ANSWERS.into_iter().enumerate() {
        for (reply, permanent) in [("451 4.7.1 later", false), ("550 5.7.1 never", true), ("421 4.3.2 bye", false)] {
            let outcome = outcome_of(broken_at(nth, &[say(reply)])).await;
            let [recipient] = outcome.recipients.as_slice() else { panic!("{outcome:?}") };
            assert!(recipient.meaning.reply.starts_with(reply), "{}: {outcome:?}", point);
            let bounces = permanent && nth >= 2;
            assert_eq!(recipient.meaning.verdict == Verdict::Failed, bounces, "{}: {outcome:?}", point);
            assert!(!recipient.meaning.unknown, "an answer was heard: {outcome:?}");
        }
    }
}

#[tokio::test]
async fn unexpected_replies_do_not_shift_the_conversation() {
    // A server that says 250 once too often would otherwise have its leftover taken for the next transaction's answers.
    let babbler = [hello(&[]), takes_one(), vec![say("250 2.0.0 again"), Step::Hang]].concat();
    let server = Server::start(vec![babbler, [hello(&[]), takes_one()].concat()]).await;
    let (delivery, route) = (delivery(), Arc::new(route(server.address)));
    assert_eq!(bounded(&delivery, &route).await.recipients[0].meaning.verdict, Verdict::Relayed);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(bounded(&delivery, &route).await.recipients[0].meaning.verdict, Verdict::Relayed);
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn an_answer_before_the_content_is_not_taken_for_the_answer_to_it() {
    // Whatever answers once too often and then refuses the message: it must not count as delivered.
    let hasty = [
        hello(&[]),
        vec![hear("MAIL"), say("250 ok"), hear("RCPT"), say("250 ok"), hear("DATA"), say("354 go\r\n250 2.0.0 ok")],
        vec![Step::Hang],
    ];
    let outcome = outcome_of(hasty.concat()).await;
    assert_eq!(
        (outcome.recipients[0].meaning.verdict, outcome.recipients[0].meaning.unknown),
        (Verdict::Deferred, false),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn replies_that_do_not_fit_the_commands_are_named_and_deliver_nothing() {
    let before_data = |rcpt: Vec<Step>| [vec![hear("MAIL"), say("250 ok"), hear("RCPT")], rcpt].concat();
    let scripts = [
        ("one too many", before_data(vec![say("250 ok\r\n250 ok"), Step::Hang])),
        ("two too many, late", before_data(vec![say("250 ok"), hear("DATA"), say("250 ok\r\n354 go"), Step::Hang])),
        ("one missing", before_data(vec![say("354 go"), Step::Hang])),
    ];
    for (what, script) in scripts {
        let outcome = outcome_of([hello(&[]), script].concat()).await;
        let [recipient] = outcome.recipients.as_slice() else { panic!("{what}: {outcome:?}") };
        assert_eq!(
            (recipient.meaning.verdict, recipient.meaning.unknown),
            (Verdict::Deferred, false),
            "{what}: {outcome:?}"
        );
        assert!(recipient.meaning.reply.contains("do not fit our commands"), "{what}: {outcome:?}");
        assert!(matches!(outcome.trouble, Some(Trouble::Doubt { .. })), "{what}: {outcome:?}");
    }
    // With the answers to all its commands in its greeting.
    let hasty = vec![say("220 x\r\n250 x\r\n250 ok\r\n250 ok\r\n354 go\r\n250 taken"), Step::Hang];
    assert_eq!(outcome_of(hasty).await.recipients[0].meaning.verdict, Verdict::Deferred);
}

/// Says two replies to a recipient that it does not know, one after the other.
const TWICE: &str = "550 5.1.1 no such user\r\n550 5.1.1 see https://help.test.net/";

#[tokio::test]
async fn replies_out_of_step_refuse_nobody_and_the_next_commands_go_one_by_one() {
    let flight = |answers: &str| {
        let heard = ["MAIL", "RCPT", "RCPT", "DATA"].map(hear).to_vec();
        [hello(&["PIPELINING"]), heard, vec![say(answers), Step::Hang]].concat()
    };
    let unknown_first = flight(&format!("250 ok\r\n{TWICE}\r\n250 ok\r\n354 go"));
    let unknown_last = flight(&format!("250 ok\r\n250 ok\r\n{TWICE}\r\n354 go"));
    for (first, to) in [
        (unknown_first, ["unknown@test.net", "x@test.net"]),
        // What answers DATA was the second word on the recipient: it is not the message that was refused.
        (unknown_last, ["x@test.net", "unknown@test.net"]),
    ] {
        let one_by_one = if to[0] == "x@test.net" {
            vec![hear("MAIL"), say("250 ok"), hear("RCPT"), say("250 ok"), hear("RCPT"), say(TWICE), Step::Hang]
        } else {
            vec![hear("MAIL"), say("250 ok"), hear("RCPT"), say(TWICE), Step::Hang]
        };
        let server = Server::start(vec![
            first,
            [hello(&["PIPELINING"]), one_by_one].concat(),
            [hello(&["PIPELINING"]), takes_one()].concat(),
        ])
        .await;
        let (delivery, route) = (delivery(), Arc::new(route(server.address)));
        let outcome = attempt(&delivery, &route, &message(&to)).await;
        assert_eq!(outcome.recipients.len(), 2, "{outcome:?}");
        for recipient in &outcome.recipients {
            let found = (recipient.meaning.verdict, recipient.meaning.scope);
            assert_eq!(found, (Verdict::Deferred, Scope::Session), "{to:?}: {outcome:?}");
            assert!(recipient.meaning.reply.contains("do not fit our commands"), "{outcome:?}");
        }
        assert!(matches!(outcome.trouble, Some(Trouble::Doubt { .. })), "{outcome:?}");
        // One by one it is known whose refusal it is.
        let mut outcome = attempt(&delivery, &route, &message(&to)).await;
        outcome.recipients.sort_by_key(|recipient| recipient.index);
        for (to, recipient) in to.iter().zip(&outcome.recipients) {
            let right = if *to == "x@test.net" { Verdict::Deferred } else { Verdict::Failed };
            assert_eq!(recipient.meaning.verdict, right, "{to}: {outcome:?}");
        }
        let outcome = attempt(&delivery, &route, &message(&["x@test.net"])).await;
        assert_eq!(outcome.recipients[0].meaning.verdict, Verdict::Relayed, "{outcome:?}");
    }
}

#[tokio::test]
async fn an_unexpected_421_is_not_out_of_step() {
    let heard = ["MAIL", "RCPT", "RCPT", "DATA"].map(hear).to_vec();
    let answers = "250 ok\r\n550 5.1.1 no such user\r\n250 ok\r\n554 5.6.0 no\r\n421 4.7.0 bye";
    let script = [hello(&["PIPELINING"]), heard, vec![say(answers), Step::Hang]].concat();
    let server = Server::start(vec![script]).await;
    let outcome =
        attempt(&delivery(), &Arc::new(route(server.address)), &message(&["unknown@test.net", "x@test.net"])).await;
    assert!(outcome.recipients.iter().all(|recipient| recipient.meaning.verdict == Verdict::Failed), "{outcome:?}");
}

#[tokio::test]
async fn a_kept_connection_that_died_is_replaced_within_the_attempt() {
    let second = || [hello(&[]), takes_one()].concat();
    // Closed while waiting; closed at MAIL; 421 at MAIL; silent at MAIL; broken after RCPT.
    let deaths: [Vec<Step>; 5] = [
        vec![],
        vec![hear("MAIL")],
        vec![hear("MAIL"), say("421 4.4.2 idle too long")],
        vec![hear("MAIL"), Step::Hang],
        vec![hear("MAIL"), say("250 ok"), hear("RCPT"), Step::Reset],
    ];
    for (i, death) in deaths.into_iter().enumerate() {
        let server = Server::start(vec![[hello(&[]), takes_one(), death].concat(), second()]).await;
        let (delivery, route) = (delivery(), Arc::new(route(server.address)));
        for _ in 0..2 {
            let outcome = bounded(&delivery, &route).await;
            assert_eq!(outcome.recipients[0].meaning.verdict, Verdict::Relayed, "death {i}: {outcome:?}");
            assert_eq!(outcome.trouble, None, "death {i}");
        }
        assert_eq!(server.connections(), 2, "death {i}");
    }
}

#[tokio::test]
async fn a_kept_connection_that_breaks_after_the_dot_is_not_tried_again() {
    let mut dies = [hello(&[]), takes_one(), takes_one()].concat();
    dies.pop();
    let server = Server::start(vec![dies]).await;
    let (delivery, route) = (delivery(), Arc::new(route(server.address)));
    assert_eq!(bounded(&delivery, &route).await.recipients[0].meaning.verdict, Verdict::Relayed);
    waits(&bounded(&delivery, &route).await, LAST);
    assert_eq!(server.connections(), 1);
    assert_eq!(delivery.counters().unknown.get(), 1);
}

#[tokio::test]
async fn a_refusal_in_the_middle_of_a_large_message_is_read() {
    let line = "x".repeat(998) + "\r\n";
    let chunk = line.repeat(250);
    let chunks: Vec<&str> = std::iter::once("A: b\r\n\r\n").chain((0..60).map(|_| chunk.as_str())).collect();
    let message = message_of(&["x@test.net"], &chunks);
    let script = [
        hello(&[]),
        vec![
            hear("MAIL"),
            say("250 ok"),
            hear("RCPT"),
            say("250 ok"),
            hear("DATA"),
            say("354 go"),
            Step::HearSome(100_000),
            say("552 5.3.4 too large for us"),
            Step::Hang,
        ],
    ];
    let server = Server::start(vec![script.concat()]).await;
    let outcome = attempt(&delivery(), &Arc::new(route(server.address)), &message).await;
    assert_eq!(outcome.recipients[0].meaning.verdict, Verdict::Failed, "{outcome:?}");
    assert!(outcome.recipients[0].meaning.reply.contains("too large for us"));
}

#[tokio::test]
async fn damaged_bytes_are_reported_and_never_ended_by_a_dot() {
    let script = [
        hello(&[]),
        vec![
            hear("MAIL"),
            say("250 ok"),
            hear("RCPT"),
            say("250 ok"),
            hear("DATA"),
            say("354 go"),
            // Whatever comes, no end of data does: the connection closes.
            Step::HearContent,
        ],
    ];
    let server = Server::start(vec![script.concat()]).await;
    let damaged = message_of(&["x@test.net"], &["A: b\r\n\r\n", "smuggled\n.\nMAIL FROM:<x>\r\n"]);
    let outcome = attempt(&delivery(), &Arc::new(route(server.address)), &damaged).await;
    assert!(outcome.recipients.is_empty());
    assert!(outcome.hold.is_some(), "{outcome:?}");
}

#[tokio::test]
async fn a_server_that_does_not_listen_makes_mail_wait_and_slows_the_route() {
    let address = super::peers::free_port("127.0.0.1");
    let outcome = bounded(&delivery(), &Arc::new(route(address))).await;
    waits(&outcome, 0);
    assert!(outcome.recipients[0].meaning.reply.contains("refused"), "{outcome:?}");
}
