//! Kept connections that refuse for their own sake, and stay open: a new one is tried before anybody bounces or waits.

use std::sync::Arc;

use postbud::delivery::{Outcome, Trouble, Verdict};

use super::messages::{attempt, delivery, message, route};
use super::script::{Server, Step, hear, hello, say, takes_one};

fn verdicts(outcome: &Outcome) -> Vec<Verdict> {
    outcome.recipients.iter().map(|recipient| recipient.meaning.verdict).collect()
}

/// Greets, takes one message, then goes on like this until it hears QUIT.
fn then(further: Vec<Step>) -> Vec<Step> {
    [hello(&[]), takes_one(), further, vec![hear("QUIT"), say("221 bye")]].concat()
}

/// Without PIPELINING: the steps up to a refusal at MAIL, RCPT, DATA or the final dot.
fn refused_at(command: &str, reply: &str) -> Vec<Step> {
    let taken = |command| [hear(command), say("250 ok")];
    match command {
        "MAIL" => vec![hear("MAIL"), say(reply)],
        "RCPT" => [taken("MAIL").to_vec(), vec![hear("RCPT"), say(reply)]].concat(),
        "." => {
            let content = vec![hear("DATA"), say("354 go"), Step::HearContent, say(reply)];
            [taken("MAIL").to_vec(), taken("RCPT").to_vec(), content].concat()
        }
        _ => [taken("MAIL").to_vec(), taken("RCPT").to_vec(), vec![hear("DATA"), say(reply)]].concat(),
    }
}

#[tokio::test]
async fn a_server_that_takes_two_messages_a_connection_gets_all_of_six() {
    for refusal in [
        "451 4.7.0 Too many messages",
        "452 4.5.3 Too many messages this session",
        "450 4.7.1 later",
        "550 message limit reached",
        "554 5.7.0 Too many messages in this connection",
    ] {
        let script =
            [hello(&[]), takes_one(), takes_one(), refused_at("MAIL", refusal), vec![hear("QUIT"), say("221 bye")]];
        let server =
            Server::start(vec![script.concat(), script.concat(), [hello(&[]), takes_one(), takes_one()].concat()])
                .await;
        let (delivery, route) = (delivery(), Arc::new(route(server.address)));
        for number in 0..6 {
            let outcome = attempt(&delivery, &route, &message(&["x@test.net"])).await;
            assert_eq!(verdicts(&outcome), [Verdict::Relayed], "{refusal}, message {number}: {outcome:?}");
            assert_eq!(outcome.trouble, None);
        }
        assert_eq!(server.heard().len(), 3, "{refusal}");
    }
}

#[tokio::test]
async fn a_kept_connection_that_refuses_everybody_before_the_content_is_replaced_within_the_attempt() {
    for command in ["MAIL", "RCPT", "DATA"] {
        for reply in ["450 4.3.0 no more of you", "550 no", "554 5.7.1 denied"] {
            let second = [hello(&[]), takes_one()].concat();
            let server = Server::start(vec![then(refused_at(command, reply)), second]).await;
            let (delivery, route) = (delivery(), Arc::new(route(server.address)));
            for _ in 0..2 {
                let outcome = attempt(&delivery, &route, &message(&["x@test.net"])).await;
                assert_eq!(verdicts(&outcome), [Verdict::Relayed], "{reply} at {command}: {outcome:?}");
            }
            assert_eq!(server.heard().len(), 2, "{reply} at {command}");
        }
    }
}

#[tokio::test]
async fn a_kept_connection_that_refuses_content_for_its_own_sake_is_replaced_within_the_attempt() {
    for (command, reply) in [
        (".", "451 4.7.0 try again later"),
        (".", "452 4.5.3 Too many messages this session"),
        (".", "550 too many messages in this connection"),
        (".", "421 4.7.0 enough of you"),
        ("DATA", "421 4.7.0 enough of you"),
    ] {
        // After a 421 the server closes the connection.
        let goodbye = if reply.starts_with("421") { vec![] } else { vec![hear("QUIT"), say("221 bye")] };
        let first = [hello(&[]), takes_one(), refused_at(command, reply), goodbye].concat();
        let server = Server::start(vec![first, [hello(&[]), takes_one()].concat()]).await;
        let (delivery, route) = (delivery(), Arc::new(route(server.address)));
        for _ in 0..2 {
            let outcome = attempt(&delivery, &route, &message(&["x@test.net"])).await;
            assert_eq!(verdicts(&outcome), [Verdict::Relayed], "{reply} at {command}: {outcome:?}");
            assert_eq!(outcome.trouble, None, "{reply} at {command}");
        }
        assert_eq!(server.heard().len(), 2, "{reply} at {command}");
    }
}

#[tokio::test]
async fn a_server_that_refuses_all_content_for_now_gets_each_message_once_an_attempt() {
    let refuses = [hello(&[]), refused_at(".", "451 4.7.1 scanner is down"), vec![hear("QUIT"), say("221 bye")]];
    let server = Server::start(vec![refuses.concat(), refuses.concat()]).await;
    let (delivery, route) = (delivery(), Arc::new(route(server.address)));
    for _ in 0..2 {
        let outcome = attempt(&delivery, &route, &message(&["x@test.net"])).await;
        assert_eq!(verdicts(&outcome), [Verdict::Deferred], "{outcome:?}");
    }
    assert_eq!(server.heard().len(), 2);
}

#[tokio::test]
async fn a_message_refused_for_good_at_its_end_costs_no_connection() {
    let script = [hello(&[]), takes_one(), refused_at(".", "554 5.6.0 it has a virus"), takes_one()];
    let server = Server::start(vec![script.concat()]).await;
    let (delivery, route) = (delivery(), Arc::new(route(server.address)));
    for right in [Verdict::Relayed, Verdict::Failed, Verdict::Relayed] {
        let outcome = attempt(&delivery, &route, &message(&["x@test.net"])).await;
        assert_eq!(verdicts(&outcome), [right], "{outcome:?}");
    }
    assert_eq!(server.heard().len(), 1);
}

#[tokio::test]
async fn with_pipelining_all_recipients_refused_get_a_new_connection_too() {
    let flight = ["MAIL", "RCPT", "RCPT", "DATA"].map(hear).to_vec();
    let refused = [flight.clone(), vec![say("250 ok\r\n451 4.7.1 a\r\n451 4.7.1 b\r\n503 no recipients")]].concat();
    let taken =
        [flight, vec![say("250 ok\r\n250 ok\r\n250 ok\r\n354 go"), Step::HearContent, say("250 taken")]].concat();
    let offers = hello(&["PIPELINING"]);
    let first = [offers.clone(), taken.clone(), refused, vec![hear("QUIT"), say("221 bye")]].concat();
    let server = Server::start(vec![first, [offers, taken].concat()]).await;
    let (delivery, route) = (delivery(), Arc::new(route(server.address)));
    for _ in 0..2 {
        let outcome = attempt(&delivery, &route, &message(&["x@test.net", "y@test.net"])).await;
        assert_eq!(verdicts(&outcome), [Verdict::Relayed; 2], "{outcome:?}");
    }
    server.heard();
}

#[tokio::test]
async fn what_a_new_connection_refuses_too_is_refused() {
    let second = [hello(&[]), refused_at("MAIL", "550 5.1.8 bad sender"), takes_one()].concat();
    let server = Server::start(vec![then(refused_at("MAIL", "550 5.1.8 bad sender")), second]).await;
    let (delivery, route) = (delivery(), Arc::new(route(server.address)));
    let to = message(&["x@test.net"]);
    assert_eq!(verdicts(&attempt(&delivery, &route, &to).await), [Verdict::Relayed]);
    assert_eq!(verdicts(&attempt(&delivery, &route, &to).await), [Verdict::Failed]);
    // The message was refused, and not the connection: it serves on.
    assert_eq!(verdicts(&attempt(&delivery, &route, &to).await), [Verdict::Relayed]);
    assert_eq!(server.heard().len(), 2);
}

#[tokio::test]
async fn an_unknown_recipient_costs_no_connection() {
    for reply in ["550 5.1.1 no such user", "552 5.2.2 mailbox full", "450 4.2.1 mailbox busy"] {
        let script =
            [hello(&[]), takes_one(), refused_at("RCPT", reply), vec![hear("RSET"), say("250 ok")], takes_one()];
        let server = Server::start(vec![script.concat()]).await;
        let (delivery, route) = (delivery(), Arc::new(route(server.address)));
        for taken in [true, false, true] {
            let outcome = attempt(&delivery, &route, &message(&["x@test.net"])).await;
            assert_eq!(verdicts(&outcome) == [Verdict::Relayed], taken, "{reply}: {outcome:?}");
        }
        assert_eq!(server.heard().len(), 1, "{reply}");
    }
}

#[tokio::test]
async fn trouble_drops_the_connection_that_it_came_over() {
    for (command, reply) in [
        ("RCPT", "554 5.7.1 Relay access denied"),
        ("MAIL", "432 4.3.2 sender thread limit exceeded"),
        ("MAIL", "550 5.4.5 Daily user sending quota exceeded"),
        ("MAIL", "530 5.7.57 Client not authenticated"),
    ] {
        let first = [hello(&[]), refused_at(command, reply), vec![hear("QUIT"), say("221 bye")]].concat();
        let server = Server::start(vec![first, [hello(&[]), takes_one()].concat()]).await;
        let (delivery, route) = (delivery(), Arc::new(route(server.address)));
        let outcome = attempt(&delivery, &route, &message(&["x@test.net"])).await;
        assert_eq!(verdicts(&outcome), [Verdict::Deferred], "{reply}: {outcome:?}");
        assert!(outcome.trouble.is_some(), "{reply}");
        assert_eq!(delivery.idle_connections(), 0, "{reply}");
        let outcome = attempt(&delivery, &route, &message(&["x@test.net"])).await;
        assert_eq!(verdicts(&outcome), [Verdict::Relayed], "{reply}: {outcome:?}");
        assert_eq!(server.heard().len(), 2, "{reply}");
    }
}

#[tokio::test]
async fn where_no_new_connection_comes_about_mail_waits() {
    let busy = vec![say("421 4.3.2 too many connections")];
    let server = Server::start(vec![then(refused_at("MAIL", "550 no")), busy]).await;
    let (delivery, route) = (delivery(), Arc::new(route(server.address)));
    assert_eq!(verdicts(&attempt(&delivery, &route, &message(&["x@test.net"])).await), [Verdict::Relayed]);
    let outcome = attempt(&delivery, &route, &message(&["x@test.net"])).await;
    assert_eq!(verdicts(&outcome), [Verdict::Deferred], "{outcome:?}");
    assert!(matches!(outcome.trouble, Some(Trouble::BackOff { .. })), "{outcome:?}");
}
