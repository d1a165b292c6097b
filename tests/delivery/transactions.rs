//! One transaction against a scripted server: what is said, and what becomes of each recipient.

use std::sync::Arc;

use postbud::delivery::Verdict;

use super::messages::{attempt, delivery, message, route};
use super::script::{Server, Step, hello, takes_one};

fn script(parts: Vec<Vec<Step>>) -> Vec<Step> {
    parts.concat()
}

#[tokio::test]
async fn a_message_is_delivered_and_the_connection_kept() {
    let server = Server::start(vec![script(vec![hello(&[]), takes_one(), takes_one()])]).await;
    let (delivery, route) = (delivery(), Arc::new(route(server.address)));
    for _ in 0..2 {
        let outcome = attempt(&delivery, &route, &message(&["x@test.net"])).await;
        assert_eq!(outcome.recipients[0].verdict, Verdict::Delivered, "{outcome:?}");
        assert_eq!(outcome.recipients[0].reply, "250 2.0.0 queued");
        assert_eq!(outcome.trouble, None);
    }
    let heard = server.heard();
    assert_eq!(heard.len(), 1);
    assert_eq!(
        heard[0][1..5],
        [
            "MAIL FROM:<bounce@test.dk>",
            "RCPT TO:<x@test.net>",
            "DATA",
            "DKIM-Signature: v=1\r\nSubject: test\r\nFrom: a@test.dk\r\n\r\nbody\r\n..dot\r\n.\r\n"
        ]
    );
}
