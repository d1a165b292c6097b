//! A recipient is erased from the record over HTTP.

use serde_json::{Value, json};

use crate::rig::Rig;

#[test]
fn a_recipient_is_erased_and_everybody_else_is_kept() {
    let rig = Rig::start();
    let admin = rig.client("admin");
    let gone = rig.submit("ole@anna.example", "gone@example.net");
    let stays = rig.submit("ole@anna.example", "stays@example.net");
    // The other one may find the route resting, and have no attempt.
    for (id, kind) in [(&gone, "deferred"), (&stays, "accepted")] {
        rig.site.wait_for_event(kind, |event| event["event"] == kind && event["queue_id"] == id.as_str());
    }
    // Its mail does not wait on, so nothing more is told about it.
    let which = json!({ "which": { "ids": [gone] }, "reason": "x" });
    assert_eq!(admin.job("/queue/remove", &which.to_string())["state"], "done");
    admin.until("/trace?recipient=gone@example.net", |found| {
        let events = found["items"][0]["events"].as_array();
        events.is_some_and(|all| all.iter().any(|event| event["event"] == "bounced" || event["event"] == "removed"))
    });
    // What an operator did about the address is found by it, and erased with it.
    let listed = admin.post("/customers/anna/suppression", "{\"address\":\"gone@example.net\"}");
    assert_eq!(listed.status, 200, "{listed:?}");
    admin.until("/trace?recipient=gone@example.net", |found| found.to_string().contains("suppression.add"));
    let job = admin.job("/record/erase", &json!({ "recipient": "gone@example.net" }).to_string());
    assert_eq!((&job["state"], &job["kind"]), (&json!("done"), &json!("record-erase")), "{job}");
    assert!(job["result"]["erased"]["events"].as_u64().unwrap() >= 2, "{job}");
    assert_eq!(admin.read("/trace?recipient=gone@example.net")["items"], json!([]));
    let kept = admin.read(&format!("/trace?queue_id={gone}"));
    assert!(!kept.to_string().contains("gone@"), "{kept}");
    // What is left says that it is erased, and who did what.
    let events = rig.site.events();
    let added = events.iter().find(|event| event["command"] == "suppression.add").unwrap();
    assert!(added["erased"] == true && added["actor"].is_string() && !added.to_string().contains("gone@"), "{added}");
    assert!(kept.to_string().contains("\"erased\":true"), "{kept}");
    assert_ne!(admin.read("/trace?recipient=stays@example.net")["items"], json!([]));
    let told = rig.site.wait_for_event("the audit", |event| event["command"] == "record.erase");
    assert!(told["peer"] == "127.0.0.1" && !told.to_string().contains("gone@"), "{told}");
    admin.post("/record/erase", "{\"recipient\":\"nobody\"}").is_problem("invalid");
    assert_eq!(
        admin.job("/record/erase", "{\"recipient\":\"x@y.example\"}")["result"]["erased"]["events"],
        Value::from(0)
    );
}
