//! The change from a password to OAuth at Microsoft 365: by command and over HTTP, with the step named that fails, and while mail flows.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::mail_server::{Accepted, Taken, mail_server, mail_server_that_keeps, proxy, token_endpoint};
use crate::rig::{Rig, Setup};
use crate::support::certs::Authority;
use crate::support::http::{Answer, raw, request};
use crate::support::relay::{binary, free_port};
use crate::support::skip::skip;

const APPLICATION: &str = "01234567-89ab-cdef-0123-456789abcdef";
const PASSWORD: &str = "\0crm@test.dk\0the old password";
const TOKEN: &str = "auth=Bearer a.good.token\u{1}";
const PATIENCE: Duration = Duration::from_secs(60);

fn wait(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_route_changes_to_oauth_while_mail_flows_and_each_mail_arrives_once() {
    let this = "a_route_changes_to_oauth_while_mail_flows_and_each_mail_arrives_once";
    let authority = Authority::new();
    let accepted: Accepted = Arc::new(Mutex::new(format!("{PASSWORD}\n{TOKEN}")));
    let taken = Taken::default();
    let server = mail_server_that_keeps(&authority.issue(&["smtp.office365.com"]), &accepted, &taken);
    let tokens = token_endpoint(&authority.issue(&["login.microsoftonline.com"]), "the~Value.of-it", "a.good.token");
    let setup = Setup {
        others: "smtp.office365.com. 60 IN A 192.0.2.25\n",
        authority: Some(&authority.pem),
        proxy: Some(proxy(vec![("login.microsoftonline.com", tokens), ("smtp.office365.com", server)])),
        more: "[retry]\nfirst = \"1s\"\nlongest = \"1s\"\n",
        // So few messages over a connection that the old login is soon asked for again.
        route: Some(
            "via = \"own-server\"\nhost = \"smtp.office365.com\"\nport = 587\ntls = \"required\"\nusername = \"crm@test.dk\"\n\
             password_file = \"../customer.secret\"\n[route.limits]\nmessages_per_connection = 3\n",
        ),
        ..Setup::default()
    };
    let rig = Rig::with(&setup);
    if rig.knot.is_none() {
        return skip(this, "no knot: install the package");
    }
    let count = || taken.lock().unwrap().len();
    let site = &rig.site;
    let is_over = AtomicBool::new(false);
    let mails = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut mails = BTreeMap::new();
            while !is_over.load(Ordering::Relaxed) {
                let subject = format!("mail {} of them", mails.len());
                mails.insert(site.submit("news@test.dk", "ole@x.example", &subject), subject);
                std::thread::sleep(Duration::from_millis(20));
            }
            mails
        });
        wait("mail flows with the password", || count() >= 10);

        std::fs::write(site.path("secret"), "the~Value.of-it\n").unwrap();
        let switched = Command::new(binary())
            .args(["route", "oauth", "test-as", "--tenant", "test.dk", "--client-id", APPLICATION, "--switch"])
            .args(["--secret-from".into(), site.path("secret"), "--config".into(), site.config()])
            .env("SSL_CERT_FILE", site.path("authority.pem"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&[switched.stdout, switched.stderr].concat()).into_owned();
        assert!(switched.status.success(), "{said}");
        let at_the_switch = count();
        wait("mail goes on with the password until the reload", || count() >= at_the_switch + 5);

        // The administrator is quicker than the reload: the old login is refused, and mail waits.
        TOKEN.clone_into(&mut accepted.lock().unwrap());
        site.wait_for_event("the old login is refused", |event| {
            event["event"] == "alert" && event["route"] == "own-server.test-as" && event["cured"] != true
        });
        let listed = site.operate(&["route", "list", "--microsoft365", "--json"]);
        assert!(listed.stdout.is_empty(), "the file says OAuth: {}", String::from_utf8_lossy(&listed.stdout));
        rig.relay.signal("HUP");
        let at_the_reload = count();
        wait("mail flows with the token", || count() >= at_the_reload + 20);
        is_over.store(true, Ordering::Relaxed);
        sender.join().unwrap()
    });
    wait("all mail has left", || count() >= mails.len());
    for (id, _) in mails.iter() {
        site.wait_for_event("relayed", |event| event["event"] == "relayed" && event["queue_id"] == id.as_str());
    }
    let mut arrived: BTreeMap<String, usize> = BTreeMap::new();
    for content in taken.lock().unwrap().iter() {
        let subject = content.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap_or_default();
        *arrived.entry(subject.to_owned()).or_default() += 1;
    }
    let wanted: BTreeMap<String, usize> = mails.into_values().map(|subject| (subject, 1)).collect();
    assert_eq!(arrived, wanted, "each arrived, and none twice");
    assert!(!site.events().iter().any(|event| event["event"] == "bounced" || event["event"] == "lost"));
    rig.relay.stop();
}

/// The customer's route, with a password.
const ROUTE: &str = "via = \"own-server\"\nhost = \"smtp.office365.com\"\nport = 587\ntls = \"required\"\nusername = \"crm@test.dk\"\n\
                     password_file = \"../customer.secret\"\n";

#[test]
fn the_command_and_the_interface_name_the_step_that_fails_and_then_switch() {
    let this = "the_command_and_the_interface_name_the_step_that_fails_and_then_switch";
    let authority = Authority::new();
    let accepted: Accepted = Arc::new(Mutex::new(PASSWORD.to_owned()));
    let server = mail_server(&authority.issue(&["smtp.office365.com"]), &accepted);
    let tokens = token_endpoint(&authority.issue(&["login.microsoftonline.com"]), "the~Value.of-it", "a.good.token");
    let api = free_port();
    let setup = Setup {
        others: "smtp.office365.com. 60 IN A 192.0.2.25\n",
        authority: Some(&authority.pem),
        proxy: Some(proxy(vec![("login.microsoftonline.com", tokens), ("smtp.office365.com", server)])),
        more: &format!("[api]\naddress = \"{api}\"\ntls = \"off\"\n"),
        route: Some(ROUTE),
        ..Setup::default()
    };
    let rig = Rig::with(&setup);
    if rig.knot.is_none() {
        return skip(this, "no knot: install the package");
    }
    let site = &rig.site;
    let before = std::fs::read_to_string(site.customer_file("test-as")).unwrap();
    let made = site.operate(&["token", "add", "webcrm", "--role", "admin"]);
    let bearer = format!("Bearer {}", String::from_utf8(made.stdout).unwrap().trim());
    let by_http = |secret: &str, switch: bool| -> Answer {
        let body =
            serde_json::json!({ "tenant": "test.dk", "client_id": APPLICATION, "secret": secret, "switch": switch });
        let fields = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        let path = "/api/v1/customers/test-as/oauth";
        raw(api, request("POST", path, "localhost", &fields, Some(&body.to_string())).as_bytes())
    };
    let by_command = |secret: &str| {
        std::fs::write(site.path("secret"), format!("{secret}\n")).unwrap();
        let done = Command::new(binary())
            .args(["route", "oauth", "test-as", "--tenant", "test.dk", "--client-id", APPLICATION, "--switch"])
            .args(["--secret-from".into(), site.path("secret"), "--config".into(), site.config()])
            .env("SSL_CERT_FILE", site.path("authority.pem"))
            .output()
            .unwrap();
        (done.status.code(), String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned())
    };
    // Another application's secret gets no token. With the right one there is a token, and the mailbox does not know the application.
    for (secret, step, means) in [
        ("another~Value", "token", "gave the application no token"),
        ("the~Value.of-it", "login", "the mailbox does not accept it"),
    ] {
        let (code, said) = by_command(secret);
        assert!(code == Some(1) && said.contains(&format!("the step \"{step}\" failed: ")), "{said}");
        assert!(said.contains(means) && said.contains("nothing was changed"), "{said}");
        let tried = by_http(secret, true);
        let json = tried.json();
        assert_eq!((tried.status, &json["failed_step"]), (200, &serde_json::json!(step)), "{tried:?}");
        assert!(json["works"] == false && json["switched"] == false, "{tried:?}");
        assert!(json["failed_means"].as_str().unwrap().contains(means), "{tried:?}");
        assert!(!tried.body.contains(secret), "no secret comes back: {tried:?}");
    }
    assert_eq!(std::fs::read_to_string(site.customer_file("test-as")).unwrap(), before);
    by_http("01234567-89ab-cdef-0123-456789abcdef", true).is_problem("invalid");
    // The tenant lets the application in. A trial alone changes nothing; with `switch` the relay uses it at once.
    TOKEN.clone_into(&mut accepted.lock().unwrap());
    let tried = by_http("the~Value.of-it", false);
    assert!(tried.json()["works"] == true && tried.json()["switched"] == false, "{tried:?}");
    assert_eq!(std::fs::read_to_string(site.customer_file("test-as")).unwrap(), before);
    let ask = |path: &str| {
        raw(api, request("GET", path, "localhost", &[("Authorization", bearer.as_str())], None).as_bytes()).json()
    };
    let listed = ask("/api/v1/routes/microsoft365");
    assert_eq!(listed["items"][0]["username"], "crm@test.dk", "{listed}");
    let guide = ask(&format!("/api/v1/customers/test-as/oauth?client_id={APPLICATION}"));
    assert!(guide["text"].as_str().unwrap().contains("New-ServicePrincipal"), "{guide}");
    let switched = by_http("the~Value.of-it", true);
    assert_eq!((switched.status, &switched.json()["switched"]), (200, &serde_json::json!(true)), "{switched:?}");
    assert_eq!(ask("/api/v1/routes/microsoft365")["items"], serde_json::json!([]));
    site.wait_for_event("the alert about the password ends", |event| {
        event["subject"] == "passwords-at-microsoft365" && event["cured"] == true
    });
}
