//! What the probe says of servers that a real one seldom is.

use std::sync::Arc;
use std::time::Duration;

use postbud::delivery::{Delivery, Finding, ProbeReport};
use postbud::route::Route;
use postbud::smtp::Mailbox;

use super::messages::{route, settings_from};
use super::script::{Server, Step, hear, hello, say};

fn rehearsal() -> Vec<Step> {
    vec![hear("MAIL"), say("250 ok"), hear("RCPT"), say("250 ok"), hear("RSET"), say("250 ok"), hear("QUIT")]
}

async fn probe(delivery: &Delivery, route: Route) -> ProbeReport {
    let mailbox = |text| Mailbox::parse(text).unwrap();
    delivery.probe(&Arc::new(route), &mailbox("a@test.dk"), &mailbox("b@test.dk")).await
}

#[tokio::test]
async fn commands_have_the_time_that_a_delivery_gives_them() {
    let mut slow = rehearsal();
    slow.insert(1, Step::Pause(Duration::from_millis(600)));
    let server = Server::start(vec![[hello(&[]), slow].concat()]).await;
    let mut settings = settings_from([127, 0, 0, 1].into());
    settings.timeouts.handshake = Duration::from_millis(300);
    settings.timeouts.mail = Duration::from_secs(10);
    let report = probe(&Delivery::new(settings).unwrap(), route(server.address)).await;
    assert!(report.steps.iter().any(|step| step.step == "MAIL" && step.finding == Finding::Ok), "{report}");
}
