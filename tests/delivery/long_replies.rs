//! Long replies: what a server says is kept up to a bound, once, however long it is and to however many recipients.

use std::sync::Arc;

use postbud::delivery::{Outcome, Verdict};

use super::messages::{attempt, delivery, message, route};
use super::script::{Server, Step, hear, hello, say};

/// What an outcome keeps of a reply, with its codes.
const MOST: usize = 1100;

/// 32 KB, in lines of a KB.
fn long(code: &str) -> String {
    let line = format!("5.7.1 æ{}", "y".repeat(980));
    let lines: Vec<String> = (1..=32).map(|n| format!("{code}{}{line}", if n == 32 { ' ' } else { '-' })).collect();
    lines.join("\r\n")
}

fn is_clipped(outcome: &Outcome, begins: &str) {
    for recipient in &outcome.recipients {
        let reply = &recipient.meaning.reply;
        assert!(
            reply.len() <= MOST && reply.starts_with(begins) && reply.ends_with("[…]"),
            "{} octets: {reply}",
            reply.len()
        );
    }
    if let Some(trouble) = &outcome.trouble {
        assert!(trouble.in_words().len() < MOST + 500, "{trouble:?}");
    }
}

#[tokio::test]
async fn a_long_refusal_of_each_of_many_recipients_is_clipped() {
    const RECIPIENTS: usize = 500;
    let to: Vec<String> = (0..RECIPIENTS).map(|n| format!("r{n}@test.net")).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    let mut script = [hello(&[]), vec![hear("MAIL"), say("250 ok")]].concat();
    script.extend((0..RECIPIENTS).flat_map(|_| [hear("RCPT"), say(&long("550"))]));
    let server = Server::start(vec![script]).await;
    let outcome = attempt(&delivery(), &Arc::new(route(server.address)), &message(&to)).await;
    assert_eq!(outcome.recipients.len(), RECIPIENTS);
    assert!(outcome.recipients.iter().all(|recipient| recipient.meaning.verdict == Verdict::Failed));
    is_clipped(&outcome, "550 5.7.1 æyyy");
    server.heard();
}

#[tokio::test]
async fn a_long_reply_is_clipped_at_every_step() {
    let scripts = [
        vec![say(&long("554"))],
        vec![say("220 x"), hear("EHLO"), say(&long("554"))],
        [hello(&[]), vec![hear("MAIL"), say(&long("554"))]].concat(),
        [hello(&[]), vec![hear("MAIL"), say("250 ok"), hear("RCPT"), say(&long("554"))]].concat(),
        [hello(&[]), vec![hear("MAIL"), say("250 ok"), hear("RCPT"), say("250 ok"), hear("DATA"), say(&long("554"))]]
            .concat(),
        [hello(&[]), content(&long("554"))].concat(),
    ];
    for script in scripts {
        let server = Server::start(vec![script]).await;
        let outcome = attempt(&delivery(), &Arc::new(route(server.address)), &message(&["x@test.net"])).await;
        is_clipped(&outcome, "554 5.7.1 æyyy");
    }
    for (code, begins, verdict) in
        [("250", "250", Verdict::Relayed), ("350", "350", Verdict::Deferred), ("451", "451", Verdict::Deferred)]
    {
        let server = Server::start(vec![[hello(&[]), content(&long(code))].concat()]).await;
        let outcome = attempt(&delivery(), &Arc::new(route(server.address)), &message(&["x@test.net"])).await;
        assert_eq!(outcome.recipients[0].meaning.verdict, verdict, "{code}");
        assert!(outcome.recipients[0].meaning.reply.len() <= MOST, "{code}");
        assert!(outcome.recipients[0].meaning.reply.starts_with(begins), "{code}");
    }
}

fn content(answer: &str) -> Vec<Step> {
    let taken = ["MAIL", "RCPT"].into_iter().flat_map(|command| [hear(command), say("250 ok")]);
    taken.chain([hear("DATA"), say("354 go"), Step::HearContent, say(answer)]).collect()
}
