//! The change of a key over HTTP, from the new key to mail that is signed with it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_resolver::proto::rr::rdata::TXT;
use hickory_resolver::proto::rr::{RData, Record};
use postbud::resolver::RecordType;
use serde_json::{Value, json};

use crate::rig::Rig;
use crate::support::scripted_dns::{ScriptedDns, name, soa};

/// The TXT records of the world, by name.
pub type Published = Arc<Mutex<BTreeMap<String, String>>>;

/// Starts a server of the DNS that has these records and no others.
pub fn dns(published: &Published) -> ScriptedDns {
    let published = Arc::clone(published);
    ScriptedDns::start(move |asked, kind, answer| {
        let found = published.lock().unwrap().get(asked).cloned().filter(|_| kind == RecordType::Txt);
        match found {
            Some(text) => {
                let strings = text.as_bytes().chunks(255).collect();
                answer.add_answer(Record::from_rdata(name(asked), 0, RData::TXT(TXT::from_bytes(strings))));
            }
            None => {
                answer.add_authority(soa("."));
            }
        }
        Duration::ZERO
    })
}

/// Publishes the record of the key that signs for a customer's domain.
pub fn publish_present_key(rig: &Rig, published: &Published) {
    let printed = rig.site.operate(&["dkim", "record", "anna"]);
    let text = String::from_utf8(printed.stdout).unwrap();
    let fields: Vec<&str> = text.trim().split('\t').collect();
    published.lock().unwrap().insert(fields[0].trim_end_matches('.').to_owned(), fields[2].to_owned());
}

#[test]
fn a_new_key_signs_once_it_is_published_and_not_before() {
    let published = Published::default();
    let dns = dns(&published);
    let rig = Rig::asking(dns.address, "");
    publish_present_key(&rig, &published);
    let admin = rig.client("admin");
    let rotate = || {
        let answer = admin.post("/customers/anna/keys/rotate", "{}");
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    };
    let signs = || admin.read("/customers/anna/keys")["domains"][0]["selectors"].clone();
    rig.client("operate").post("/customers/anna/keys/rotate", "{}").is_problem("forbidden");
    rig.client_of("customer", &["anna"]).post("/customers/anna/keys/rotate", "{}").is_problem("forbidden");
    admin.post("/customers/nobody/keys/rotate", "{}").is_problem("not-found");
    admin.post("/customers/anna/keys/rotate", r#"{"kye":"main"}"#).is_problem("invalid");
    admin.post("/customers/anna/keys/rotate", r#"{"key":"ed25519"}"#).is_problem("not-found");

    let first = rotate();
    let to_publish = |step: &Value| -> (String, String) {
        let steps = step["steps"].as_array().unwrap();
        let step = steps.iter().find(|step| step["value"].is_string()).unwrap_or_else(|| panic!("{steps:?}"));
        let host = step["hosts"][0].as_str().unwrap().trim_end_matches('.').to_owned();
        (host, step["value"].as_str().unwrap().to_owned())
    };
    let (host, value) = to_publish(&first);
    assert_eq!(host, "postbud2._domainkey.anna.example");
    assert!(value.starts_with("v=DKIM1") && !first.to_string().contains("PRIVATE"), "{first}");
    // Nothing is published yet: the step is the same, with the same key, and the old key signs.
    let again = rotate();
    assert_eq!((to_publish(&again), &again["waits"]), ((host.clone(), value.clone()), &json!(true)), "{again}");
    assert_eq!(signs(), json!(["postbud1"]));
    published.lock().unwrap().insert(host, value);
    let switched = rotate();
    assert_eq!(signs(), json!(["postbud2"]), "{switched}");
    let id = rig.submit("ole@anna.example", "x@example.com");
    let header = admin.read(&format!("/queue/messages/{id}"))["header"].as_str().unwrap().to_owned();
    assert!(header.contains("s=postbud2;") && !header.contains("s=postbud1;"), "{header}");
    let audit = rig.site.wait_for_event("the audit", |event| event["command"] == "key.rotate");
    assert_eq!((&audit["customer"], &audit["peer"]), (&json!("anna"), &json!("127.0.0.1")), "{audit}");
    assert!(rig.site.operate(&["check"]).status.success());
}
