//! One transaction against a scripted server: the commands, and the result for each recipient.

use std::sync::Arc;

use postbud::delivery::{Outcome, Scope, Trouble, Verdict};
use postbud::message::{BodyKind, Notify, Ret};
use postbud::route::Route;

use super::messages::{attempt, delivery, message, message_of, route};
use super::script::{Server, Step, hear, hello, say, takes_one};

const DOTTED: &str = "DKIM-Signature: v=1\r\nSubject: test\r\nFrom: a@test.dk\r\n\r\nbody\r\n..dot\r\n.\r\n";

/// Verdict and scope of each recipient, by index.
fn results(outcome: &Outcome) -> Vec<(usize, Verdict, Scope)> {
    let mut all: Vec<_> = outcome.recipients.iter().map(|r| (r.index, r.meaning.verdict, r.meaning.scope)).collect();
    all.sort_by_key(|(index, ..)| *index);
    all
}

#[tokio::test]
async fn a_message_is_delivered_and_the_connection_kept() {
    let server = Server::start(vec![[hello(&[]), takes_one(), takes_one()].concat()]).await;
    let (delivery, route) = (delivery(), Arc::new(route(server.address)));
    for _ in 0..2 {
        let outcome = attempt(&delivery, &route, &message(&["x@test.net"])).await;
        assert_eq!(results(&outcome), [(0, Verdict::Relayed, Scope::Recipient)], "{outcome:?}");
        assert_eq!(outcome.recipients[0].meaning.reply, "250 2.0.0 queued");
        assert_eq!(outcome.trouble, None);
    }
    let heard = server.heard();
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0][1..5], ["MAIL FROM:<bounce@test.dk>", "RCPT TO:<x@test.net>", "DATA", DOTTED]);
    assert_eq!(delivery.counters().reused.get(), 1);
}

#[tokio::test]
async fn with_pipelining_all_commands_go_in_one_flight() {
    // The server reads three commands before it answers any: a client that waited for the first answer would hang.
    let flight = vec![
        hear("MAIL FROM:<bounce@test.dk> SIZE="),
        hear("RCPT TO:<x@test.net>"),
        hear("RCPT TO:<y@test.net>"),
        hear("DATA"),
        say("250 2.1.0 ok\r\n250 2.1.5 ok\r\n550 5.1.1 no such user\r\n354 go"),
        Step::HearContent,
        say("250 2.0.0 queued"),
    ];
    let server = Server::start(vec![[hello(&["PIPELINING", "SIZE 1000000"]), flight].concat()]).await;
    let outcome = attempt(&delivery(), &Arc::new(route(server.address)), &message(&["x@test.net", "y@test.net"])).await;
    assert_eq!(results(&outcome), [(0, Verdict::Relayed, Scope::Recipient), (1, Verdict::Failed, Scope::Recipient)]);
    server.heard();
}

#[tokio::test]
async fn when_all_recipients_are_refused_a_354_is_answered_with_an_empty_message() {
    let script = vec![
        hear("MAIL"),
        hear("RCPT"),
        hear("DATA"),
        say("250 2.1.0 ok\r\n550 5.1.1 no such user\r\n354 go"),
        Step::HearContent,
        say("554 5.5.1 no valid recipients"),
        // The connection serves on.
        hear("RSET"),
        hear("MAIL"),
        hear("RCPT"),
        hear("DATA"),
        say("250 2.0.0 ok\r\n250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go"),
        Step::HearContent,
        say("250 2.0.0 queued"),
    ];
    let server = Server::start(vec![[hello(&["PIPELINING"]), script].concat()]).await;
    let (delivery, route) = (delivery(), Arc::new(route(server.address)));
    let outcome = attempt(&delivery, &route, &message(&["x@test.net"])).await;
    assert_eq!(results(&outcome), [(0, Verdict::Failed, Scope::Recipient)]);
    let outcome = attempt(&delivery, &route, &message(&["y@test.net"])).await;
    assert_eq!(results(&outcome), [(0, Verdict::Relayed, Scope::Recipient)]);
    let heard = server.heard();
    assert_eq!(heard[0][4], ".\r\n", "nothing of the message went to nobody");
}

#[tokio::test]
async fn a_refused_sender_concerns_the_message_and_the_connection_serves_on() {
    let pipelined = vec![
        hear("MAIL"),
        hear("RCPT"),
        hear("DATA"),
        say("550 5.1.8 bad sender\r\n503 5.5.1 no\r\n503 5.5.1 no"),
        hear("MAIL"),
        hear("RCPT"),
        hear("DATA"),
        say("250 ok\r\n250 ok\r\n354 go"),
        Step::HearContent,
        say("250 2.0.0 queued"),
    ];
    let server = Server::start(vec![[hello(&["PIPELINING"]), pipelined].concat()]).await;
    let (delivery, route) = (delivery(), Arc::new(route(server.address)));
    let outcome = attempt(&delivery, &route, &message(&["x@test.net"])).await;
    assert_eq!(results(&outcome), [(0, Verdict::Failed, Scope::Message)]);
    assert_eq!(outcome.recipients[0].meaning.reply, "550 5.1.8 bad sender");
    let outcome = attempt(&delivery, &route, &message(&["x@test.net"])).await;
    assert_eq!(results(&outcome), [(0, Verdict::Relayed, Scope::Recipient)]);
    server.heard();
}

#[tokio::test]
async fn a_refused_sender_stays_so_where_the_server_then_hangs_up() {
    let flight = vec![hear("MAIL"), hear("RCPT"), hear("RCPT"), hear("DATA")];
    for last in ["503 5.5.1 x\r\n421 4.7.0 too many errors", "503 5.5.1 x", "421 4.7.0 too many errors"] {
        let answers = vec![say(&format!("550 5.1.8 bad sender\r\n{last}"))];
        let server = Server::start(vec![[hello(&["PIPELINING"]), flight.clone(), answers].concat()]).await;
        let to = ["x@test.net", "y@test.net"];
        let outcome = attempt(&delivery(), &Arc::new(route(server.address)), &message(&to)).await;
        let failed = |index| (index, Verdict::Failed, Scope::Message);
        assert_eq!(results(&outcome), [failed(0), failed(1)], "{last}");
        assert!(outcome.recipients.iter().all(|r| r.meaning.reply == "550 5.1.8 bad sender"), "{outcome:?}");
        assert_eq!(outcome.trouble, None, "{last}");
    }
}

#[tokio::test]
async fn without_pipelining_nothing_is_said_after_a_refused_sender() {
    let script = [hello(&[]), vec![hear("MAIL"), say("451 4.1.8 later")], takes_one()].concat();
    let server = Server::start(vec![script]).await;
    let (delivery, route) = (delivery(), Arc::new(route(server.address)));
    let outcome = attempt(&delivery, &route, &message(&["x@test.net"])).await;
    assert_eq!(results(&outcome), [(0, Verdict::Deferred, Scope::Message)]);
    let outcome = attempt(&delivery, &route, &message(&["x@test.net"])).await;
    assert_eq!(results(&outcome), [(0, Verdict::Relayed, Scope::Recipient)]);
    server.heard();
}

#[tokio::test]
async fn recipients_beyond_the_servers_limit_stay_waiting_for_the_next_transaction() {
    let script = vec![
        hear("MAIL"),
        hear("RCPT"),
        hear("RCPT"),
        hear("RCPT"),
        hear("DATA"),
        say("250 ok\r\n250 ok\r\n452 4.5.3 too many recipients\r\n452 4.5.3 too many recipients\r\n354 go"),
        Step::HearContent,
        say("250 2.0.0 queued"),
    ];
    let server = Server::start(vec![[hello(&["PIPELINING"]), script].concat()]).await;
    let to = ["x@test.net", "y@test.net", "z@test.net"];
    let outcome = attempt(&delivery(), &Arc::new(route(server.address)), &message(&to)).await;
    assert_eq!(results(&outcome), [(0, Verdict::Relayed, Scope::Recipient)]);
    assert_eq!(outcome.trouble, None);
    server.heard();
}

#[tokio::test]
async fn what_a_used_up_quota_or_a_relay_for_colleagues_only_leaves_behind_waits() {
    for (taken, refused, refusal) in [
        ("x@test.net", "y@test.net", "550 5.4.5 Daily SMTP relay limit exceeded for customer"),
        ("colleague@test.dk", "y@test.net", "554 5.7.1 <y@test.net>: Relay access denied"),
    ] {
        let script = vec![
            hear("MAIL"),
            hear("RCPT"),
            hear("RCPT"),
            hear("DATA"),
            say(&format!("250 ok\r\n250 ok\r\n{refusal}\r\n354 go")),
            Step::HearContent,
            say("250 2.0.0 queued"),
        ];
        let server = Server::start(vec![[hello(&["PIPELINING"]), script].concat()]).await;
        let outcome = attempt(&delivery(), &Arc::new(route(server.address)), &message(&[taken, refused])).await;
        let right = [(0, Verdict::Relayed, Scope::Recipient), (1, Verdict::Deferred, Scope::Recipient)];
        assert_eq!(results(&outcome), right, "{refusal}");
        assert_eq!(outcome.trouble, None);
        server.heard();
    }
}

#[tokio::test]
async fn five_hundred_recipients_go_in_flights_that_cannot_deadlock() {
    let to: Vec<String> =
        (0..500).map(|i| format!("recipient-with-a-long-name-{i:04}@a-long-domain-name.test.net")).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    let mut script = hello(&["PIPELINING"]);
    script.extend([hear("MAIL"), say("250 ok")]);
    for _ in 0..500 {
        script.extend([hear("RCPT"), say(&format!("250 2.1.5 {}", "y".repeat(400)))]);
    }
    script.extend([hear("DATA"), say("354 go"), Step::HearContent, say("250 2.0.0 queued")]);
    let server = Server::start(vec![script]).await;
    let outcome = attempt(&delivery(), &Arc::new(route(server.address)), &message(&to)).await;
    assert_eq!(
        outcome.recipients.iter().filter(|r| r.meaning.verdict == Verdict::Relayed).count(),
        500,
        "{:?}",
        outcome.trouble
    );
    server.heard();
}

#[tokio::test]
async fn what_the_server_lacks_bounces_before_anything_is_sent() {
    let plain = || [hello(&["SIZE 60"]), vec![hear("QUIT")]].concat();
    let server = Server::start(vec![plain(), [hello(&["SIZE"]), vec![hear("QUIT")]].concat()]).await;
    let (delivery, route) = (delivery(), Arc::new(route(server.address)));
    let too_large = attempt(&delivery, &route, &message(&["x@test.net"])).await;
    let says = |outcome: &Outcome, limit: &str| {
        let reply = &outcome.recipients[0].meaning.reply;
        assert!(reply.starts_with("5.3.4 the message has") && reply.ends_with(limit), "{outcome:?}");
    };
    says(&too_large, "the server takes at most 60");
    let mut eight_bit = message_of(&["x@test.net"], &["A: b\r\n\r\n\u{e5}\r\n"]);
    eight_bit.record.envelope.body = BodyKind::EightBit;
    let eight_bit = attempt(&delivery, &route, &eight_bit).await;
    assert!(eight_bit.recipients[0].meaning.reply.contains("5.6.3"), "{eight_bit:?}");
    let mut utf8 = message_of(&["s\u{f8}ren@test.net"], &["A: b\r\n\r\n"]);
    utf8.record.envelope.smtputf8 = true;
    let utf8 = attempt(&delivery, &route, &utf8).await;
    assert!(utf8.recipients[0].meaning.reply.contains("5.6.7"), "{utf8:?}");
    let mut in_header = message_of(&["x@test.net"], &["Subject: \u{e5}\r\n\r\n"]);
    in_header.record.envelope.smtputf8 = true;
    let in_header = attempt(&delivery, &route, &in_header).await;
    assert!(in_header.recipients[0].meaning.reply.contains("5.6.7"), "{in_header:?}");
    assert_eq!(results(&utf8), [(0, Verdict::Failed, Scope::Recipient)]);
    for outcome in [too_large, eight_bit, in_header] {
        assert_eq!(results(&outcome), [(0, Verdict::Failed, Scope::Message)]);
    }
    let small = Arc::new(Route { message_size: 50, ..Route::clone(&route) });
    says(&attempt(&delivery, &small, &message(&["x@test.net"])).await, "its route (message_size) takes at most 50");
    delivery.shutdown().await;
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn an_address_outside_ascii_does_not_stop_mail_to_other_recipients() {
    let to = ["s\u{f8}ren@test.net", "x@test.net"];
    let in_utf8 = |header: &str| {
        let mut message = message_of(&to, &[header, "\r\nhi\r\n"]);
        message.record.envelope.smtputf8 = true;
        message
    };
    let server = Server::start(vec![[hello(&[]), takes_one(), takes_one()].concat()]).await;
    let (delivery, route) = (delivery(), Arc::new(route(server.address)));
    // The field for Mailjet does not leave over this route.
    for header in ["A: b\r\n", "X-MJ-CustomID: \u{f8}\r\nA: b\r\n"] {
        let outcome = attempt(&delivery, &route, &in_utf8(header)).await;
        let right = [(0, Verdict::Failed, Scope::Recipient), (1, Verdict::Relayed, Scope::Recipient)];
        assert_eq!(results(&outcome), right, "{header:?}");
        let refused = outcome.recipients.iter().find(|r| r.index == 0).unwrap();
        assert!(refused.meaning.reply.contains("5.6.7"), "{outcome:?}");
    }
    let heard = server.heard().concat();
    assert_eq!(heard.iter().filter(|line| line.as_str() == "MAIL FROM:<bounce@test.dk>").count(), 2, "{heard:?}");
}

#[tokio::test]
async fn what_the_server_offers_is_used() {
    let script = vec![
        hear("MAIL FROM:<bounce@test.dk> SIZE=46 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb"),
        say("250 ok"),
        hear("RCPT TO:<s\u{f8}ren@test.net> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+40b"),
        say("250 ok"),
        hear("RCPT TO:<y@test.net> NOTIFY=NEVER"),
        say("250 ok"),
        hear("DATA"),
        say("354 go"),
        Step::HearContent,
        say("250 ok"),
    ];
    let server = Server::start(vec![[hello(&["SIZE", "8BITMIME", "SMTPUTF8", "DSN"]), script].concat()]).await;
    let mut message = message_of(
        &["s\u{f8}ren@test.net", "y@test.net"],
        &["A: b\r\n\r\n\u{e5}\u{e5}\u{e5}\u{e5}\u{e5}\u{e5}\r\n.\r\n"],
    );
    let envelope = &mut message.record.envelope;
    (envelope.body, envelope.smtputf8) = (BodyKind::EightBit, true);
    (envelope.ret, envelope.envid) = (Some(Ret::Headers), Some("a+2Bb".to_owned()));
    envelope.recipients[0].notify = Some(Notify { success: true, failure: false, delay: true });
    envelope.recipients[0].orcpt = Some("rfc822;a+40b".to_owned());
    envelope.recipients[1].notify = Some(Notify::NEVER);
    let outcome = attempt(&delivery(), &Arc::new(route(server.address)), &message).await;
    assert!(
        outcome.recipients.iter().all(|r| r.meaning.verdict == Verdict::Relayed),
        "{outcome:?}, {:?}",
        server.heard()
    );
    assert_eq!(outcome.reported, [0, 1], "with DSN the server reports a success itself");
}

#[tokio::test]
async fn a_server_that_takes_dsn_parameters_reports_further_however_much_it_says() {
    for (extensions, reported) in [(&["DSN"][..], &[0][..]), (&[], &[])] {
        for answer in [say("250 ok"), Step::SayForEver(b"250-and so on\r\n".to_vec())] {
            let mut script = [hello(extensions), takes_one()].concat();
            script.pop();
            script.push(answer);
            let server = Server::start(vec![script]).await;
            let outcome = attempt(&delivery(), &Arc::new(route(server.address)), &message(&["x@test.net"])).await;
            assert_eq!(results(&outcome), [(0, Verdict::Relayed, Scope::Recipient)]);
            assert_eq!(outcome.reported, reported, "{extensions:?}: {outcome:?}");
        }
    }
}

#[tokio::test]
async fn an_original_recipient_in_utf8_goes_in_ascii_where_smtputf8_is_not_asked_for() {
    for (smtputf8, rcpt) in [
        (false, "RCPT TO:<x@test.net> NOTIFY=NEVER ORCPT=utf-8;s\\x{F8}ren@test.net\r\n"),
        (true, "RCPT TO:<x@test.net> NOTIFY=NEVER ORCPT=utf-8;s\u{f8}ren@test.net\r\n"),
    ] {
        let script = [hello(&["SMTPUTF8", "DSN"]), takes_one()].concat();
        let server = Server::start(vec![script]).await;
        let subject = if smtputf8 { "Subject: \u{e5}\r\n\r\n" } else { "Subject: a\r\n\r\n" };
        let mut message = message_of(&["x@test.net"], &[subject]);
        message.record.envelope.smtputf8 = smtputf8;
        message.record.envelope.recipients[0].notify = Some(Notify::NEVER);
        message.record.envelope.recipients[0].orcpt = Some("utf-8;s\u{f8}ren@test.net".to_owned());
        let outcome = attempt(&delivery(), &Arc::new(route(server.address)), &message).await;
        assert_eq!(results(&outcome), [(0, Verdict::Relayed, Scope::Recipient)]);
        let heard = server.heard();
        let rcpt = rcpt.trim_end();
        assert!(heard.concat().iter().any(|line| line.trim_end() == rcpt), "{heard:?}");
    }
}

#[tokio::test]
async fn a_server_that_knows_only_helo_is_served() {
    let script = [
        vec![say("220 old"), hear("EHLO"), say("502 5.5.1 what?"), hear("HELO out.webcrm.test"), say("250 old")],
        takes_one(),
    ];
    let server = Server::start(vec![script.concat()]).await;
    let outcome = attempt(&delivery(), &Arc::new(route(server.address)), &message(&["x@test.net"])).await;
    assert_eq!(results(&outcome), [(0, Verdict::Relayed, Scope::Recipient)]);
    server.heard();
}

#[tokio::test]
async fn a_refusal_at_the_end_concerns_all_that_were_accepted() {
    for (reply, verdict, scope, throttled) in [
        ("554 5.6.0 spam", Verdict::Failed, Scope::Message, false),
        ("451 4.7.1 later", Verdict::Deferred, Scope::Message, false),
        ("432 4.3.2 slower", Verdict::Deferred, Scope::Route, true),
    ] {
        let mut script = [hello(&[]), takes_one()].concat();
        script.pop();
        script.push(say(reply));
        let server = Server::start(vec![script]).await;
        let outcome = attempt(&delivery(), &Arc::new(route(server.address)), &message(&["x@test.net"])).await;
        assert_eq!(results(&outcome), [(0, verdict, scope)], "{reply}");
        assert_eq!(matches!(outcome.trouble, Some(Trouble::BackOff { .. })), throttled, "{reply}");
        assert!(!outcome.recipients[0].meaning.unknown);
        server.heard();
    }
}

#[tokio::test]
async fn internal_mail_refused_as_forged_names_the_remedy() {
    let script = [
        hello(&[]),
        vec![
            hear("MAIL"),
            say("250 ok"),
            hear("RCPT"),
            say("550 5.7.68 TenantInboundAttribution; Direct Send not allowed"),
        ],
    ];
    let server = Server::start(vec![script.concat()]).await;
    let outcome = attempt(&delivery(), &Arc::new(route(server.address)), &message(&["colleague@test.dk"])).await;
    assert_eq!(results(&outcome), [(0, Verdict::Failed, Scope::Recipient)]);
    assert!(outcome.recipients[0].meaning.advice.as_deref().unwrap().contains("allow 40.74.40.57"));
}

#[tokio::test]
async fn an_account_that_is_blocked_is_the_senders_only_if_it_has_the_senders_name() {
    for (reply, verdict, scope) in [
        ("550 5.7.1 The account bounce@test.dk is blocked", Verdict::Deferred, Scope::Route),
        ("550 5.7.1 The account x@test.net is blocked", Verdict::Failed, Scope::Recipient),
        ("550 bounce@test.dk over limit", Verdict::Deferred, Scope::Route),
        ("550 x@test.net accepts max 10 mails per hour", Verdict::Deferred, Scope::Recipient),
        ("450 x@test.net is over its hourly limit", Verdict::Deferred, Scope::Recipient),
    ] {
        let script = [hello(&[]), vec![hear("MAIL FROM:<bounce@test.dk>"), say("250 ok"), hear("RCPT"), say(reply)]];
        let server = Server::start(vec![script.concat()]).await;
        let outcome = attempt(&delivery(), &Arc::new(route(server.address)), &message(&["x@test.net"])).await;
        assert_eq!(results(&outcome), [(0, verdict, scope)], "{reply}");
    }
}

#[tokio::test]
async fn what_is_said_of_one_recipient_after_the_content_leaves_the_route_alone() {
    for (reply, verdict) in [
        (
            "554 delivery error: your message to y@test.net cannot be delivered. This account has been disabled",
            Verdict::Failed,
        ),
        ("550 y@test.net has exceeded its limit of 100 messages per day", Verdict::Deferred),
        ("451 y@test.net: rate limit exceeded", Verdict::Deferred),
    ] {
        let taken = |command| [hear(command), say("250 ok")];
        let content = [hear("DATA"), say("354 go"), Step::HearContent, say(reply)];
        let script = [&hello(&[])[..], &taken("MAIL"), &taken("RCPT"), &taken("RCPT"), &content].concat();
        let server = Server::start(vec![script]).await;
        let message = message(&["x@test.net", "y@test.net"]);
        let outcome = attempt(&delivery(), &Arc::new(route(server.address)), &message).await;
        assert_eq!(results(&outcome), [(0, verdict, Scope::Message), (1, verdict, Scope::Message)], "{reply}");
        assert_eq!(outcome.trouble, None, "{reply}");
    }
}
