//! `postbud incident`: an archive about one customer's mail that can be passed on.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;

use crate::support::capture::Capture;
use crate::support::client::{Client, message, queue_id};
use crate::support::relay::{Customer, PASSWORD, Site, USERNAME, free_port, plain_route};

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned()
}

/// Unpacks an archive; gives the text of each of its files.
fn unpacked(archive: &Path, into: &Path) -> impl Fn(&str) -> String + use<> {
    fs::create_dir_all(into).unwrap();
    let done = Command::new("tar").arg("--zstd").arg("-xf").arg(archive).arg("-C").arg(into).output().unwrap();
    assert!(done.status.success(), "{}", said(&done));
    let folder = into.join("incident");
    move |name| fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect()
}

#[test]
fn an_incident_of_one_customer_is_exported_with_its_queue_and_without_secrets_or_others() {
    let server = Capture::start();
    let login = "username = \"webcrm\"\npassword_file = \"../login.password\"\nallow_plaintext_auth = true\n";
    let site = Site::new(&[
        Customer { id: "good", domain: "good.example", route: plain_route(server.address) },
        Customer { id: "dead", domain: "dead.example", route: format!("{}{login}", plain_route(free_port())) },
        Customer { id: "other", domain: "other.example", route: plain_route(server.address) },
    ]);
    fs::write(site.path("config/login.password"), "canary-secret\n").unwrap();
    fs::set_permissions(site.path("config/login.password"), fs::Permissions::from_mode(0o600)).unwrap();
    let relay = site.start();
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    let mut send = |from: &str, to: &str| client.send(from, &[to], &message(from, to, "x")).unwrap();
    let waiting = queue_id(&send("a@dead.example", "ole@example.net")).to_owned();
    let _ = queue_id(&send("a@other.example", "stranger@example.net")).to_owned();
    server.wait_for(1, Duration::from_secs(20));
    site.wait_for_event("the dead server defers", |event| event["event"] == "deferred" && event["customer"] == "dead");

    let archive = site.path("incident.tar.zst");
    let export = |customer: &str, archive: &Path, more: &[&str]| {
        let mut all = vec!["incident", customer, archive.to_str().unwrap()];
        all.extend(more);
        site.operate(&all)
    };
    let done = export("dead", &archive, &["--since", "1h"]);
    assert!(done.status.success() && said(&done).contains("1 mails of dead"), "{}", said(&done));
    assert_eq!(archive.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let read = unpacked(&archive, &site.path("first"));
    let mails = json_lines(&read("mails.jsonl"));
    assert_eq!(mails[0]["queue_id"], waiting, "{mails:?}");
    let kinds: Vec<&str> = mails[0]["events"].as_array().unwrap().iter().filter_map(|e| e["event"].as_str()).collect();
    assert!(kinds.contains(&"accepted") && kinds.contains(&"deferred"), "{kinds:?}");
    let queue = json_lines(&read("queue.jsonl"));
    assert!(queue.len() == 1 && queue[0]["id"] == waiting, "{queue:?}");
    let routes = json_lines(&read("routes.jsonl"));
    assert!(routes.len() == 1 && routes[0]["route"] == "own-server.dead", "{routes:?}");
    assert!(read("customer.toml").contains("dead.example") && read("customer.json").contains("own-server"));
    let about: Value = serde_json::from_str(&read("incident.json")).unwrap();
    assert!(about["customer"] == "dead" && about["mails"] == 1 && about["cut"] == false, "{about}");
    for name in ["incident.json", "mails.jsonl", "queue.jsonl", "routes.jsonl", "customer.json", "customer.toml"] {
        let text = read(name);
        assert!(
            !text.contains("canary") && !text.contains("other.example") && !text.contains("stranger"),
            "{name}: {text}"
        );
    }
    let audit = site.wait_for_event("the audit keeps it", |event| event["command"] == "record.export");
    assert!(audit["customer"] == "dead" && audit["changed"] == 1, "{audit}");

    let twice = export("dead", &archive, &["--since", "1h"]);
    assert!(twice.status.code() == Some(1) && said(&twice).contains("is overwritten"), "{}", said(&twice));
    let nothing = export("dead", &site.path("nothing.tar.zst"), &["--since", "3h", "--until", "2h"]);
    assert!(nothing.status.code() == Some(1) && said(&nothing).contains("0 mails"), "{}", said(&nothing));
    let wrong = export("dead", &site.path("wrong.tar.zst"), &["--since", "1h", "--until", "2h"]);
    assert!(wrong.status.code() == Some(1) && said(&wrong).contains("ends before it begins"), "{}", said(&wrong));
    assert!(!site.path("wrong.tar.zst").exists());
    relay.stop();

    // Neither a relay that is down nor a configuration with a mistake keeps anybody from the record.
    let file = fs::read_to_string(site.config()).unwrap();
    fs::write(site.config(), format!("{file}\n[mistaken]\n")).unwrap();
    let later = site.path("later.tar.zst");
    let done = export("dead", &later, &["--since", "1h"]);
    assert!(done.status.success() && said(&done).contains("queue.jsonl: no relay is running"), "{}", said(&done));
    let read = unpacked(&later, &site.path("second"));
    assert_eq!(json_lines(&read("mails.jsonl")).len(), 1);
    assert!(read("events.jsonl").contains("record.export"), "the first export is an event of the customer");
    assert!(read("incident.json").contains("mistaken"));
}
