//! Tokens: from the command line to the interface and back.

use std::time::Instant;

use crate::client::Client;
use crate::rig::Rig;

#[test]
fn a_token_counts_at_once_until_it_is_revoked_also_after_a_restart() {
    let mut rig = Rig::start();
    let client = rig.client("read");
    let who = client.read("/token");
    assert_eq!((who["role"].as_str(), who["address"].as_str()), (Some("read"), Some("127.0.0.1")));
    let name = who["name"].as_str().unwrap().trim_start_matches("token ").to_owned();
    rig.relay.stop();
    rig.relay = rig.site.start();
    assert_eq!(client.get("/token").status, 200);
    let list = rig.site.operate(&["token", "list", "--json"]);
    let list = String::from_utf8(list.stdout).unwrap();
    let shown: serde_json::Value = serde_json::from_str(list.trim()).unwrap();
    assert_eq!((shown["name"].as_str(), shown["role"].as_str()), (Some(name.as_str()), Some("read")));
    assert!(shown["last_used"].is_string() && !list.contains(&client.token), "{list}");
    assert!(rig.site.operate(&["token", "revoke", &name]).status.success());
    client.get("/token").is_problem("no-token");
    assert!(!rig.site.operate(&["token", "revoke", &name]).status.success(), "there is none any more");
    let audit = |action: &str| rig.site.wait_for_event(action, |event| event["command"] == action);
    for action in ["token.add", "token.revoke"] {
        assert!(audit(action)["detail"].as_str().unwrap().contains(&name));
    }
    let state = std::fs::read_to_string(rig.site.path("state/events.jsonl")).unwrap();
    assert!(!state.contains(&client.token) && !rig.relay.log().contains(&client.token));
}

#[test]
fn an_expired_token_says_so_to_its_holder() {
    let rig = Rig::start();
    let made = rig.site.operate(&["token", "add", "short", "--role", "read", "--expires", "1s"]);
    let client = Client { to: rig.api, token: String::from_utf8(made.stdout).unwrap().trim().to_owned() };
    let answer = loop {
        let answer = client.get("/token");
        if answer.status != 200 {
            break answer;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    assert_eq!(answer.status, 401);
    assert!(answer.is_problem("no-token").body.contains("short has expired"), "{answer:?}");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
}

#[test]
fn tokens_that_cannot_be_are_refused_with_the_remedy() {
    let rig = Rig::start();
    for (arguments, said) in [
        (vec!["a b", "--role", "read"], "no name for a token"),
        (vec!["../x", "--role", "read"], "no name for a token"),
        (vec!["x", "--role", "customer"], "none is named"),
        (vec!["x", "--role", "customer", "--customer", "nobody"], "no customer \"nobody\""),
        (vec!["x", "--role", "admin", "--customer", "anna"], "sees every customer"),
        (vec!["x", "--role", "read", "--expires", "0s"], "expired already"),
        (vec!["x", "--role", "root"], "invalid value"),
    ] {
        let mut all = vec!["token", "add"];
        all.extend(&arguments);
        let made = rig.site.operate(&all);
        let error = String::from_utf8_lossy(&made.stderr).into_owned();
        assert!(!made.status.success() && error.contains(said), "{arguments:?}: {error}");
    }
    rig.client("read");
    let list = rig.site.operate(&["token", "list", "--json"]);
    let taken: serde_json::Value = serde_json::from_slice(&list.stdout).unwrap();
    let again = rig.site.operate(&["token", "add", taken["name"].as_str().unwrap(), "--role", "read"]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("already"));
}

#[test]
fn wrong_tokens_are_answered_later_each_time_and_keep_no_right_one_out() {
    let rig = Rig::start();
    let right = rig.client("read");
    let wrong = Client { to: rig.api, token: "postbud_wrong".into() };
    let took = |client: &Client| {
        let begun = Instant::now();
        let status = client.get("/token").status;
        (status, begun.elapsed().as_millis())
    };
    // 1 and 2 seconds, from [limits] login_delay.
    let (first, second) = (took(&wrong), took(&wrong));
    assert!(first.0 == 401 && first.1 >= 1_000, "{first:?}");
    assert!(second.0 == 401 && second.1 >= 2_000, "{second:?}");
    let (status, millis) = took(&right);
    assert!(status == 200 && millis < 1_000, "{status} after {millis}");
}

#[test]
fn an_address_with_too_many_wrong_tokens_hears_429_and_when_to_come_back() {
    let rig =
        Rig::with("[limits]\nlogin_delay = \"1ms\"\nlongest_login_delay = \"10s\"\nlogin_failures_per_address = 3\n");
    let right = rig.client("read");
    for _ in 0..3 {
        Client { to: rig.api, token: "postbud_wrong".into() }.get("/token").is_problem("no-token");
    }
    let refused = Client { to: rig.api, token: String::new() }.get("/queue");
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("10")));
    refused.is_problem("too-many");
    assert_eq!(right.get("/token").status, 200);
}
