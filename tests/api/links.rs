//! Links to a customer's page over HTTP.

use serde_json::{Value, json};

use crate::client::raw;
use crate::rig::Rig;
use crate::support::http::request;
use crate::support::relay::free_port;

#[test]
fn a_link_opens_the_page_until_it_is_taken_back_and_its_secret_is_shown_once() {
    let pages = free_port();
    let rig =
        Rig::with(&format!("[pages.customers]\naddress = \"{pages}\"\ntls = \"off\"\nurl = \"http://{pages}\"\n"));
    let admin = rig.client("admin");
    let made = admin.post("/customers/anna/links", r#"{"days":7,"language":"en"}"#);
    assert_eq!(made.status, 201, "{made:?}");
    let link = made.json();
    assert_eq!((&link["customer"], &link["language"], &link["expired"]), (&json!("anna"), &json!("en"), &json!(false)));
    let (id, url) = (link["id"].as_str().unwrap(), link["url"].as_str().unwrap());
    let path = url.strip_prefix(&format!("http://{pages}")).expect("a URL of the pages");
    let secret = path.rsplit('/').next().unwrap();
    let opened = || raw(pages, request("GET", path, &pages.to_string(), &[], None).as_bytes());
    let first = opened();
    assert_eq!((first.status, first.field("location")), (303, format!("{path}/anna.example").as_str()), "{first:?}");

    let listed = admin.get("/customers/anna/links");
    assert_eq!(listed.json()["items"].as_array().map(Vec::len), Some(1), "{listed:?}");
    assert_eq!(listed.json()["items"][0]["id"], id);
    assert_eq!(listed.json()["items"][0]["url"], Value::Null);
    assert!(!listed.body.contains(secret), "{listed:?}");
    assert_eq!(admin.read("/customers/bo/links"), json!({ "items": [] }));

    // The link of another customer is not found.
    let take_back = |of: &str| admin.send("DELETE", &format!("/customers/{of}/links/{id}"), &[], None);
    take_back("bo").is_problem("not-found");
    assert_eq!(opened().status, 303);
    let gone = take_back("anna");
    assert_eq!((gone.status, gone.json()), (200, json!({ "id": id })), "{gone:?}");
    assert_eq!(opened().status, 404);
    take_back("anna").is_problem("not-found");
    assert_eq!(admin.read("/customers/anna/links"), json!({ "items": [] }));
    for command in ["link.add", "link.revoke"] {
        let told = rig.site.wait_for_event(command, |event| event["command"] == command);
        assert!(told["customer"] == "anna" && told["peer"] == "127.0.0.1", "{told}");
        assert!(!told.to_string().contains(secret), "{told}");
    }
    assert!(!rig.relay.log().contains(secret));

    for (body, said) in [
        (r#"{"days":0}"#, "days"),
        (r#"{"days":366}"#, "days"),
        (r#"{"language":"fr"}"#, "language"),
        (r#"{"dyas":7}"#, "dyas"),
    ] {
        let refused = admin.post("/customers/anna/links", body);
        assert!(refused.is_problem("invalid").body.contains(said), "{body}: {refused:?}");
    }
    admin.post("/customers/nobody/links", "{}").is_problem("not-found");
}
