//! A customer gets an API key of its own at Mailjet over HTTP, which the relay uses from then on.

use serde_json::{Value, json};

use crate::rig::Rig;
use crate::support::mailjet_api::MailjetApi;

#[test]
fn a_key_of_a_customers_own_is_made_once_and_used_without_a_reload() {
    let mailjet = MailjetApi::start(&["key"], "k=rsa; p=x");
    let rig = Rig::with(&format!(
        "[mailjet.starter]\napi = \"{}\"\nhost = \"127.0.0.1\"\nport = 9\ntls = \"off\"\nallow_plaintext_auth = true\nusername = \"key\"\n\
         password_command = [\"/bin/echo\", \"secret\"]\n",
        mailjet.url
    ));
    let admin = rig.client("admin");
    let new = json!({ "id": "carl", "name": "Carl", "domains": ["carl.example"], "route": { "via": "mailjet" } });
    let added = admin.post("/customers", &new.to_string());
    assert_eq!((added.status, &added.json()["route"]["own_key"]), (201, &json!(false)), "{added:?}");
    assert_eq!(added.json()["route"]["caps"], Value::Null, "a tier's caps are not one customer's");
    admin.post("/customers/anna/mailjet-key", "{}").is_problem("invalid");
    admin.post("/customers/carl/mailjet-key", "{\"tier\":\"best\"}").is_problem("invalid");
    let given = admin.post("/customers/carl/mailjet-key", "{}");
    assert!(given.status == 200 && given.header("etag").is_some(), "{given:?}");
    let route = given.json()["route"].clone();
    assert_eq!((&route["own_key"], &route["caps"]["concurrency"]), (&json!(true), &json!(20)), "{route}");
    let made = mailjet.world().keys_made.clone();
    assert_eq!(made.len(), 1, "{made:?}");
    let (_, key, secret) = &made[0];
    assert!(!given.body.contains(key.as_str()) && !given.body.contains(secret.as_str()), "{given:?}");
    let kept =
        |end: &str| std::fs::read_to_string(rig.site.path(&format!("config/secrets/carl.mailjet-{end}"))).unwrap();
    assert_eq!((kept("key").trim(), kept("secret").trim()), (key.as_str(), secret.as_str()));
    // No reload: its route is there.
    let routes = admin.read("/routes?limit=500").to_string();
    assert!(routes.contains("mailjet-own.carl"), "{routes}");
    admin.post("/customers/carl/mailjet-key", "{}").is_problem("invalid");
    assert_eq!(mailjet.world().keys_made.len(), 1);
    let told = rig.site.wait_for_event("the audit", |event| event["command"] == "route.login");
    assert!(told["customer"] == "carl" && !told.to_string().contains(secret.as_str()), "{told}");
}
