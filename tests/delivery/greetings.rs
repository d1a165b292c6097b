//! EHLO and HELO: a server that refuses us by name is heard, and HELO is for servers that do not know EHLO.

use std::sync::Arc;

use postbud::delivery::{StepResult, Trouble, Verdict};
use postbud::smtp::Mailbox;

use super::messages::{attempt, delivery, message, route};
use super::script::{Server, Step, hear, say, takes_one};

fn greeted(further: Vec<Step>) -> Vec<Step> {
    [vec![say("220 mail.test.dk"), hear("EHLO")], further].concat()
}

#[tokio::test]
async fn a_refusal_of_ehlo_is_told_with_its_advice() {
    const REFUSAL: &str = "550 5.7.1 your HELO name does not match";
    let ends: [Vec<Step>; 6] = [
        // It hangs up; it waits for QUIT; it would refuse HELO, too.
        vec![say(REFUSAL)],
        vec![say(REFUSAL), Step::Hang],
        vec![say("550-5.7.1 your HELO name\r\n550 5.7.1 does not match"), Step::Hang],
        // It says that it does not know EHLO, and refuses HELO in each way.
        vec![say("502 5.7.1 your HELO name does not match"), hear("HELO"), say("503 5.5.1 bad sequence")],
        vec![say("500 5.7.1 your HELO name does not match"), hear("HELO")],
        vec![say("504 5.7.1 your HELO name does not match"), hear("HELO"), say("250-no\r\nend")],
    ];
    for (number, end) in ends.into_iter().enumerate() {
        let server = Server::start(vec![greeted(end.clone()), greeted(end)]).await;
        let (delivery, route) = (delivery(), Arc::new(route(server.address)));
        let outcome = attempt(&delivery, &route, &message(&["x@test.net"])).await;
        let meaning = &outcome.recipients[0].meaning;
        assert_eq!(meaning.verdict, Verdict::Deferred, "end {number}: {outcome:?}");
        assert!(meaning.reply.contains("5.7.1 your HELO name does not match (at EHLO)"), "end {number}: {outcome:?}");
        assert!(
            meaning.advice.as_deref().is_some_and(|advice| advice.contains("hostname")),
            "end {number}: {outcome:?}"
        );
        let Some(trouble @ Trouble::BackOff { .. }) = outcome.trouble else { panic!("end {number}: {outcome:?}") };
        let shown = trouble.in_words();
        assert!(shown.contains("does not match") && shown.contains("40.74.40.57"), "{shown}");
        let mailbox = |text| Mailbox::parse(text).unwrap();
        let report = delivery.probe(&route, &mailbox("a@test.dk"), &mailbox("b@test.dk")).await;
        let last = report.steps.last().unwrap();
        assert_eq!((last.step.as_str(), last.finding), ("hello", StepResult::Failed), "end {number}: {report}");
        assert!(last.found.contains("does not match") && last.advice.is_some(), "end {number}: {report}");
    }
}

#[tokio::test]
async fn helo_is_tried_where_ehlo_is_not_known() {
    for reply in [
        "500 Syntax error, command unrecognized",
        "502 5.5.1 what?",
        "504 not here",
        "501 Unknown command",
        "550 Command not recognized",
        "554 5.5.1 Invalid command EHLO",
        "503 unsupported command",
        "550 EHLO not supported",
        "554 5.5.0 Please use HELO",
        "501 ESMTP is not available, say HELO",
        "500 5.5.1 Unrecognised verb",
    ] {
        let script = greeted([vec![say(reply), hear("HELO out.webcrm.test"), say("250 old")], takes_one()].concat());
        let server = Server::start(vec![script]).await;
        let outcome = attempt(&delivery(), &Arc::new(route(server.address)), &message(&["x@test.net"])).await;
        assert_eq!(outcome.recipients[0].meaning.verdict, Verdict::Relayed, "{reply}: {outcome:?}");
        server.heard();
    }
    for reply in ["501 5.5.4 Invalid EHLO argument", "550 go away", "554 5.7.1 no", "451 4.7.1 later", "421 4.3.2 busy"]
    {
        let server = Server::start(vec![greeted(vec![say(reply), Step::Hang])]).await;
        let outcome = attempt(&delivery(), &Arc::new(route(server.address)), &message(&["x@test.net"])).await;
        assert!(outcome.recipients[0].meaning.reply.starts_with(reply), "{reply}: {outcome:?}");
        assert_eq!(server.heard()[0].len(), 1, "{reply}: HELO was said");
    }
}

#[tokio::test]
async fn a_refusal_of_ehlo_is_heard_whatever_comes_after_it() {
    const NAME: &str = "504 5.5.2 <out.webcrm.test>: Helo command rejected: need fully-qualified hostname";
    let helo = |said: &str| vec![say(NAME), hear("HELO"), say(said)];
    for (script, told, advised) in [
        // For the moment: it closes, or waits.
        (vec![say("450 4.7.1 <out.webcrm.test>: Helo command rejected: Host not found")], "450 4.7.1", true),
        (vec![say("451 4.7.1 greylisted, come back later"), Step::Hang], "451 4.7.1", false),
        (vec![say("421 4.7.0 out.webcrm.test: closing")], "421 4.7.0", false),
        // For good, by a name or by an address.
        (vec![say("550 Access denied - Invalid HELO name (See RFC2821 4.1.1.1)")], "550 Access denied", true),
        (vec![say("554 5.7.1 EHLO from 40.74.40.57 refused")], "554 5.7.1", true),
        (vec![say("501 Syntactically invalid EHLO argument(s)"), Step::Hang], "501 Syntactically", true),
        // HELO is tried and fails in each way; what EHLO heard counts.
        (helo(NAME), "504 5.5.2", true),
        (helo("503 5.5.1 Bad sequence of commands"), "504 5.5.2", true),
        (helo("421 4.7.0 bye"), "504 5.5.2", true),
        (vec![say(NAME), hear("HELO"), Step::Reset], "504 5.5.2", true),
    ] {
        let server = Server::start(vec![greeted(script)]).await;
        let outcome = attempt(&delivery(), &Arc::new(route(server.address)), &message(&["x@test.net"])).await;
        let meaning = &outcome.recipients[0].meaning;
        assert_eq!(meaning.verdict, Verdict::Deferred, "{outcome:?}");
        assert!(meaning.reply.starts_with(told) && meaning.reply.ends_with("(at EHLO)"), "{told}: {outcome:?}");
        assert_eq!(meaning.advice.is_some(), advised, "{told}: {outcome:?}");
        assert!(matches!(outcome.trouble, Some(Trouble::BackOff { .. })), "{told}: {outcome:?}");
        server.heard();
    }
}
