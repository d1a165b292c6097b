//! Mailjet's API is asked about mail without a report.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::mailjet_api::{Fail, MailjetApi, Message};
use crate::support::mailjet_events::{Rig, event, guid};

fn message(number: u64, to: &str, status: &'static str) -> Message {
    Message {
        key: "key".into(),
        id: 576_460_754_655_154_000 + number,
        uuid: guid(number),
        to: to.into(),
        arrived: postbud::time::Timestamp::now().as_secs(),
        status,
        state: 0,
        history: Vec::new(),
    }
}

#[test]
fn what_was_not_heard_of_is_asked_for_page_by_page_through_outages_and_limits() {
    let api = MailjetApi::start(&["key"], "k=rsa; p=AAAA");
    let rig = Rig::new("ask_after = \"1s\"\n", &format!("api = \"{}\"\n", api.url), "");
    let relay = rig.site.start();
    let names = ["sent", "gone", "slow", "heard"];
    let ids: Vec<String> = names.iter().map(|name| rig.send(&format!("{name}@x.example"), "")).collect();
    {
        let mut world = api.world();
        let now = postbud::time::Timestamp::now().as_secs();
        // Mail of other clients of the account fills the first page.
        world.messages.extend((1000..1120).map(|number| message(number, "other@x.example", "sent")));
        world.messages.push(message(1, "sent@x.example", "opened"));
        world.messages.push(Message {
            state: 1,
            history: vec![("sent", now, "", ""), ("bounced", now + 1, "user unknown", "550 5.1.1 no such user")],
            ..message(2, "gone@x.example", "hardbounced")
        });
        world.messages.push(message(3, "slow@x.example", "queued"));
        world.messages.push(message(4, "heard@x.example", "sent"));
        world.fails.extend([
            Some(Fail::Status(503, None, "down for maintenance")),
            Some(Fail::Broken),
            Some(Fail::Status(429, Some(1), "Too many requests")),
            Some(Fail::Garbage),
        ]);
    }
    assert_eq!(rig.post(&event("sent", "heard@x.example", &ids[3], &json!({}))), 200);
    let delivered = rig.wait_for("delivered", &ids[0]);
    assert_eq!(delivered["recipient"], "sent@x.example");
    let bounced = rig.wait_for("bounced", &ids[1]);
    assert_eq!(json!([bounced["class"], bounced["code"]]), json!(["hard", 550]));
    assert!(api.calls("key GET /v3/REST/message?") >= 6, "{:?}", api.world().calls);
    assert!(api.calls("Offset=100") >= 1 && api.calls("messagehistory/576460754655154002") >= 1);
    rig.wait_for_metric("postbud_mailjet_calls_total{result=\"busy\"}", |count| count >= 1.0);
    rig.wait_for_metric("postbud_mailjet_calls_total{result=\"no_answer\"}", |count| count >= 3.0);
    // An event that comes late all the same is told once.
    assert_eq!(rig.post(&event("sent", "sent@x.example", &ids[0], &json!({}))), 200);
    rig.wait_for_metric("postbud_mailjet_outcomes_total{outcome=\"repeated\"}", |count| count >= 1.0);
    // What Mailjet has on its way is asked for again.
    api.world().messages.iter_mut().for_each(|it| it.status = if it.status == "queued" { "sent" } else { it.status });
    rig.wait_for("delivered", &ids[2]);
    for (id, told) in ids.iter().zip(["delivered", "bounced", "delivered", "delivered"]) {
        let lives: Vec<String> = rig.told(id);
        // The history of a mail that bounced late has its delivery, too.
        let kinds: Vec<&str> =
            lives.iter().map(String::as_str).filter(|kind| *kind != "delivered" || told == "delivered").collect();
        assert_eq!(kinds, ["accepted", "relayed", told], "{lives:?}");
    }
    rig.wait_for_metric("postbud_mailjet_gaps", |count| count == 0.0);
    relay.stop();
    // The only 429 is the one that was scripted.
    assert!(api.world().hurried.is_empty(), "{:?}", api.world().hurried);
}

#[test]
fn mail_that_mailjet_does_not_know_is_asked_for_again_and_counted() {
    let api = MailjetApi::start(&["key"], "k=rsa; p=AAAA");
    let rig = Rig::new("ask_after = \"1s\"\n", &format!("api = \"{}\"\n", api.url), "");
    let relay = rig.site.start();
    let id = rig.send("a@x.example", "");
    let patience = std::time::Instant::now() + Duration::from_secs(20);
    while api.calls("/v3/REST/message?") < 2 {
        assert!(std::time::Instant::now() < patience, "{:?}", api.world().calls);
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(rig.told(&id), ["accepted", "relayed"]);
    let events: Vec<Value> = rig.site.events();
    assert!(events.iter().all(|event| event["event"] != "unmatched"), "nothing is made up");
    relay.stop();
    assert!(api.world().hurried.is_empty(), "{:?}", api.world().hurried);
}
