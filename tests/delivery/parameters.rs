//! Servers that refuse a parameter that they offer: it is left out once before anybody bounces.

use std::sync::Arc;

use postbud::delivery::{Outcome, Verdict};
use postbud::message::{BodyKind, Notify, Ret};

use super::messages::{Message, attempt, delivery, message_of, route};
use super::script::{Server, Step, hear, hello, say};

const OFFERS: &[&str] = &["SIZE", "8BITMIME", "DSN"];
const WITH: &str = "MAIL FROM:<bounce@test.dk> SIZE=46 BODY=8BITMIME RET=HDRS ENVID=a+2Bb";

/// With everything that MAIL and RCPT can carry.
fn demanding(to: &[&str]) -> Message {
    let mut message = message_of(to, &["A: b\r\n\r\n\u{e5}\u{e5}\u{e5}\u{e5}\u{e5}\u{e5}\r\n.\r\n"]);
    let envelope = &mut message.record.envelope;
    envelope.body = BodyKind::EightBit;
    (envelope.ret, envelope.envid) = (Some(Ret::Headers), Some("a+2Bb".to_owned()));
    for recipient in &mut envelope.recipients {
        recipient.notify = Some(Notify { success: true, failure: false, delay: false });
        recipient.orcpt = Some("rfc822;a+40b".to_owned());
    }
    message
}

fn verdicts(outcome: &Outcome) -> Vec<(usize, Verdict)> {
    let mut all: Vec<_> = outcome.recipients.iter().map(|r| (r.index, r.meaning.verdict)).collect();
    all.sort_by_key(|(index, _)| *index);
    all
}

fn one(line: &'static str, reply: &str) -> Vec<Step> {
    vec![hear(line), say(reply)]
}

fn content() -> Vec<Step> {
    vec![hear("DATA"), say("354 go"), Step::HearContent, say("250 taken")]
}

/// Lines that have no parameter.
fn heard_bare(server: &Server) -> Vec<String> {
    let lines = server.heard().concat().into_iter();
    lines.filter(|line| (line.starts_with("MAIL") || line.starts_with("RCPT")) && line.ends_with('>')).collect()
}

#[tokio::test]
async fn a_parameter_of_mail_that_is_refused_is_left_out() {
    for reply in
        ["501 5.5.4 Invalid arguments", "504 5.5.4 no", "555 5.5.4 Unsupported option", "550 unknown keyword BODY"]
    {
        let bare = [one("MAIL", "250 ok"), one("RCPT", "250 ok"), content()].concat();
        let server = Server::start(vec![[hello(OFFERS), one(WITH, reply), bare].concat()]).await;
        let outcome = attempt(&delivery(), &Arc::new(route(server.address)), &demanding(&["x@test.net"])).await;
        assert_eq!(verdicts(&outcome), [(0, Verdict::Relayed)], "{reply}: {outcome:?}");
        assert!(outcome.reported.is_empty(), "the server was not asked for reports");
        assert_eq!(heard_bare(&server), ["MAIL FROM:<bounce@test.dk>", "RCPT TO:<x@test.net>"], "{reply}");
    }
}

#[tokio::test]
async fn a_parameter_of_one_recipient_that_is_refused_is_left_out_for_that_one() {
    let flight = ["MAIL", "RCPT", "RCPT", "DATA"].map(hear).to_vec();
    let answers = "250 ok\r\n250 ok\r\n501 <y@test.net> ORCPT=rfc822;a+40b: malformed address\r\n354 go";
    let first = [flight, vec![say(answers), Step::HearContent, say("250 taken")]].concat();
    let second = vec![
        hear("MAIL"),
        hear("RCPT"),
        hear("DATA"),
        say("250 ok\r\n250 ok\r\n354 go"),
        Step::HearContent,
        say("250 taken"),
    ];
    let offers = [OFFERS, &["PIPELINING"]].concat();
    let server = Server::start(vec![[hello(&offers), first, second].concat()]).await;
    let to = demanding(&["x@test.net", "y@test.net"]);
    let outcome = attempt(&delivery(), &Arc::new(route(server.address)), &to).await;
    assert_eq!(verdicts(&outcome), [(0, Verdict::Relayed), (1, Verdict::Relayed)], "{outcome:?}");
    assert_eq!(outcome.reported, [0]);
    assert_eq!(heard_bare(&server), ["MAIL FROM:<bounce@test.dk>", "RCPT TO:<y@test.net>"]);
}

#[tokio::test]
async fn a_server_that_hangs_up_on_a_parameter_is_asked_again_over_a_new_connection() {
    let flight = ["MAIL", "RCPT", "DATA"].map(hear).to_vec();
    let offers = [OFFERS, &["PIPELINING"]].concat();
    let first = [hello(&offers), flight.clone(), vec![say("501 5.5.4 bad SIZE parameter")]].concat();
    let taken = vec![say("250 ok\r\n250 ok\r\n354 go"), Step::HearContent, say("250 taken")];
    let server = Server::start(vec![first, [hello(&offers), flight, taken].concat()]).await;
    let outcome = attempt(&delivery(), &Arc::new(route(server.address)), &demanding(&["x@test.net"])).await;
    assert_eq!(verdicts(&outcome), [(0, Verdict::Relayed)], "{outcome:?}");
    assert_eq!(server.heard().len(), 2);
}

#[tokio::test]
async fn what_is_refused_without_parameters_too_is_refused() {
    let refused = [
        hello(OFFERS),
        one("MAIL", "250 ok"),
        one("RCPT", "501 5.1.3 bad address"),
        one("RSET", "250 ok"),
        one("MAIL", "250 ok"),
        one("RCPT", "501 5.1.3 bad address"),
    ];
    let server = Server::start(vec![refused.concat()]).await;
    let outcome = attempt(&delivery(), &Arc::new(route(server.address)), &demanding(&["x@test.net"])).await;
    assert_eq!(verdicts(&outcome), [(0, Verdict::Failed)], "{outcome:?}");
    server.heard();
}

#[tokio::test]
async fn what_the_message_needs_is_not_left_out() {
    // Nothing but SMTPUTF8 was sent, and without it the address cannot be written.
    let script =
        [hello(&["SMTPUTF8"]), one("MAIL FROM:<bounce@test.dk> SMTPUTF8", "555 5.5.4 Unsupported option: SMTPUTF8")];
    let server = Server::start(vec![script.concat()]).await;
    let mut message = message_of(&["s\u{f8}ren@test.net"], &["A: b\r\n\r\n"]);
    message.record.envelope.smtputf8 = true;
    let outcome = attempt(&delivery(), &Arc::new(route(server.address)), &message).await;
    assert_eq!(verdicts(&outcome), [(0, Verdict::Failed)], "{outcome:?}");
    // A message that is too large is so without SIZE, too.
    let script = [hello(&["SIZE"]), one("MAIL", "552 5.3.4 message too large for the SIZE parameter")];
    let server = Server::start(vec![script.concat()]).await;
    let outcome = attempt(&delivery(), &Arc::new(route(server.address)), &demanding_nothing()).await;
    assert_eq!(verdicts(&outcome), [(0, Verdict::Failed)], "{outcome:?}");
    assert_eq!(server.heard()[0].iter().filter(|line| line.starts_with("MAIL")).count(), 1);
}

fn demanding_nothing() -> Message {
    message_of(&["x@test.net"], &["A: b\r\n\r\nhi\r\n"])
}
