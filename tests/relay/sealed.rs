//! A customer whose key and password are encrypted at rest: its mail leaves signed with that key, after a login with that password.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postbud::dkim::verify::{Keys, verify};
use postbud::resolver::FixedZone;

use crate::support::capture::Capture;
use crate::support::relay::{Customer, Site, plain_route};

const SECRET: &str = "et kodeord, som kun serveren kender";

#[test]
fn mail_leaves_signed_and_logged_in_with_what_is_encrypted_at_rest() {
    let logins = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&logins);
    let right = format!("AUTH PLAIN {}", STANDARD.encode(format!("\0crm@anna.example\0{SECRET}")));
    let script = move |line: &str| {
        line.starts_with("AUTH").then(|| {
            heard.lock().unwrap().push(line.to_owned());
            if line == right { "235 2.7.0 welcome" } else { "535 5.7.8 no" }.to_owned()
        })
    };
    let server = Capture::scripted("127.0.0.1:0", Box::new(script));
    let login = "allow_plaintext_auth = true\nusername = \"crm@anna.example\"\npassword_file = \"../anna.secret\"\n";
    let route = plain_route(server.address) + login;
    let customer = Customer { id: "anna", domain: "anna.example", route };
    let site = Site::with(&[customer], "[secrets]\npassphrase_file = \"passphrase\"\n");
    let (key, password) = (site.key("anna.example"), site.path("config/anna.secret"));
    fs::write(site.path("config/passphrase"), "a passphrase of many characters\n").unwrap();
    fs::write(&password, SECRET).unwrap();
    let published = site.operate(&["dkim", "record", "anna", "--json"]);
    let published: serde_json::Value = serde_json::from_slice(&published.stdout).expect("dkim record --json is JSON");

    let sealed = site.operate(&["seal", key.to_str().unwrap(), password.to_str().unwrap()]);
    assert!(sealed.status.success(), "{sealed:?}");
    assert!(fs::read_to_string(&key).unwrap().starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    assert!(fs::read_to_string(&password).unwrap().starts_with("-----BEGIN POSTBUD ENCRYPTED SECRET-----"));

    let relay = site.start();
    site.submit("news@anna.example", "ole@x.example", "encrypted at rest");
    let mail = server.wait_for(1, Duration::from_secs(20)).remove(0).content;
    assert_eq!(logins.lock().unwrap().len(), 1, "one login, and it was right: {logins:?}");
    let zone = FixedZone::new();
    zone.add_txt(published[0]["name"].as_str().unwrap(), published[0]["value"].as_str().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let verdicts = runtime.block_on(verify(&mail, Keys::Dns(&zone))).unwrap();
    assert!(verdicts.len() == 1 && verdicts[0].result.is_ok(), "{verdicts:?}");
    relay.stop();
}
