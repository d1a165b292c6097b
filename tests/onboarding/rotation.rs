//! Changes of keys that go wrong on the way: nothing is signed with a key that is not published, and no key is revoked that
//! mail under way was signed with.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use crate::newcomer::{Relay, Site, WORLD, err, out, printed};
use crate::skip::skip;

/// A site with the customer test-as and its old key's record.
fn site(name: &str) -> Option<(Site, String)> {
    let Some(site) = Site::new(WORLD) else {
        skip(name, "knot is not installed");
        return None;
    };
    let added = site.run(&["customer", "add", "test-as", "--name", "T", "--domain", "test.dk", "--via", "mailjet"], "");
    assert!(added.status.success(), "{}", err(&added));
    let (host, value) = record(&site);
    let old = crate::rig::txt(&host, &value);
    Some((site, old))
}

/// Host and value of the record of the key that signs.
fn record(site: &Site) -> (String, String) {
    let printed = out(&site.run(&["dkim", "record", "test-as"], ""));
    let mut fields = printed.trim().split('\t');
    let (host, value) = (fields.next().unwrap(), fields.nth(1).unwrap());
    (host.to_owned(), value.to_owned())
}

fn rotate(site: &Site) -> std::process::Output {
    site.run(&["dkim", "rotate", "test-as"], "")
}

/// Has the relay read the configuration again, and waits until it signs with the new key.
fn reload(site: &Site, relay: &Relay) {
    assert!(Command::new("kill").args(["-HUP", &relay.0.id().to_string()]).status().unwrap().success());
    let reloaded = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        !out(&rotate(site)).contains("still signs with postbud1")
    });
    assert!(reloaded, "{}", fs::read_to_string(site.file("relay.log")).unwrap());
}

#[test]
fn a_key_that_is_not_the_published_one_never_signs() {
    let Some((mut site, _)) = site("a_key_that_is_not_the_published_one_never_signs") else { return };
    let new = printed(&out(&rotate(&site)));
    site.knot.publish(&format!("{WORLD}{new}"));
    let path = site.file("keys/test.dk.postbud2.pem");
    let key = fs::read(&path).unwrap();
    fs::copy(site.file("keys/test.dk.pem"), &path).unwrap();
    let refused = rotate(&site);
    assert_eq!(refused.status.code(), Some(1));
    assert!(err(&refused).contains("is not the key that was published at postbud2"), "{}", err(&refused));
    let file = fs::read_to_string(site.file("config/customers/test-as.toml")).unwrap();
    assert!(file.contains("selector = \"postbud1\""), "{file}");
    fs::write(&path, key).unwrap();
    let switched = rotate(&site);
    assert!(switched.status.success(), "{}{}", out(&switched), err(&switched));
    assert!(new.starts_with(&record(&site).0));
}

#[test]
fn runs_at_once_make_one_key() {
    let Some((mut site, old)) = site("runs_at_once_make_one_key") else { return };
    let at_once = |site: &Site| -> Vec<String> {
        std::thread::scope(|scope| {
            let runs: Vec<_> = (0..4).map(|_| scope.spawn(|| out(&rotate(site)))).collect();
            runs.into_iter().map(|run| run.join().unwrap()).collect()
        })
    };
    let keys: Vec<String> = at_once(&site).iter().map(|text| printed(text)).collect();
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    site.knot.publish(&format!("{WORLD}{old}{}", keys[0]));
    let steps = at_once(&site);
    assert_eq!(steps.iter().filter(|text| text.contains("now signs with selector postbud2")).count(), 1, "{steps:?}");
    let (host, value) = record(&site);
    assert_eq!(crate::rig::txt(&host, &value), keys[0], "what signs is what was published");
}

#[test]
fn a_run_killed_anywhere_is_taken_up_by_the_next() {
    let Some((mut site, old)) = site("a_run_killed_anywhere_is_taken_up_by_the_next") else { return };
    let mut published = format!("{WORLD}{old}");
    // From the first milliseconds, where nothing has happened, to long after the step.
    for round in 0..24u64 {
        let mut run = Command::new(env!("CARGO_BIN_EXE_postbud"))
            .args(["dkim", "rotate", "test-as", "--config", "config/postbud.toml"])
            .current_dir(site.dir.path())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(4 * round));
        let _ = run.kill();
        run.wait().unwrap();
        let (host, value) = record(&site);
        assert!(
            published.contains(&crate::rig::txt(&host, &value)),
            "round {round}: {host} signs and is not published"
        );
        if round == 12 {
            let new = printed(&out(&rotate(&site)));
            published += &new;
            site.knot.publish(&published);
        }
    }
    let last = rotate(&site);
    assert!(out(&last).contains("postbud2"), "{}{}", out(&last), err(&last));
    assert!(record(&site).0.starts_with("postbud2."));
}

/// Hands one mail in; it waits, since no smarthost can be looked up.
fn submit(port: u16) {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    let mut expect = |code: &str| loop {
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        assert!(line.starts_with(code), "{line}");
        if line.as_bytes().get(3) == Some(&b' ') {
            return;
        }
    };
    expect("220");
    for (command, code) in [
        ("EHLO webcrm.test", "250"),
        ("MAIL FROM:<a@test.dk>", "250"),
        ("RCPT TO:<b@example.org>", "250"),
        ("DATA", "354"),
        ("From: a@test.dk\r\nTo: b@example.org\r\nSubject: x\r\n\r\nx\r\n.", "250"),
    ] {
        write!(&stream, "{command}\r\n").unwrap();
        expect(code);
    }
}

#[test]
fn the_old_key_stays_while_mail_signed_with_it_waits_in_the_queue() {
    let Some((mut site, old)) = site("the_old_key_stays_while_mail_signed_with_it_waits_in_the_queue") else { return };
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = fs::read_to_string(site.file("config/postbud.toml")).unwrap();
    fs::write(site.file("config/postbud.toml"), config.replace("127.0.0.1:0", &format!("127.0.0.1:{port}"))).unwrap();
    let relay = Relay::start(&site);
    submit(port);
    let held = site.run(&["queue", "hold", "--customer", "test-as", "--reason", "wrong list"], "");
    assert!(held.status.success(), "{}{}", out(&held), err(&held));
    let new = printed(&out(&rotate(&site)));
    site.knot.publish(&format!("{WORLD}{old}{new}"));
    let switched = rotate(&site);
    assert!(switched.status.success(), "{}{}", out(&switched), err(&switched));
    reload(&site, &relay);
    std::thread::sleep(Duration::from_millis(1100));
    let kept = rotate(&site);
    assert_eq!(kept.status.code(), Some(1));
    assert!(out(&kept).contains("still waits in the queue"), "{}{}", out(&kept), err(&kept));
    let removed = site.run(&["queue", "remove", "--customer", "test-as", "--reason", "wrong list"], "");
    assert!(removed.status.success(), "{}{}", out(&removed), err(&removed));
    drop(relay);
    let unknown = rotate(&site);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(out(&unknown).contains("nobody knows"), "{}{}", out(&unknown), err(&unknown));
    let _relay = Relay::start(&site);
    let revoke = rotate(&site);
    assert!(out(&revoke).contains("Revoke the old key"), "{}{}", out(&revoke), err(&revoke));
}

#[test]
fn the_old_key_stays_while_the_running_relay_signs_with_it() {
    let Some(mut site) = Site::new(WORLD) else {
        return skip("the_old_key_stays_while_the_running_relay_signs_with_it", "knot is not installed");
    };
    let added = site.run(&["customer", "add", "test-as", "--name", "T", "--domain", "test.dk", "--via", "mailjet"], "");
    assert!(added.status.success(), "{}", err(&added));
    let relay = Relay::start(&site);
    let key = printed(&out(&rotate(&site)));
    site.knot.publish(&format!("{WORLD}{key}"));
    let switched = rotate(&site);
    assert!(switched.status.success(), "{}{}", out(&switched), err(&switched));
    std::thread::sleep(Duration::from_millis(1100));
    let refused = rotate(&site);
    assert_eq!(refused.status.code(), Some(1));
    assert!(out(&refused).contains("still signs with postbud1"), "{}{}", out(&refused), err(&refused));

    reload(&site, &relay);
    std::thread::sleep(Duration::from_millis(1100));
    // Nothing was published at the old selector, so there is nothing to revoke.
    let done = rotate(&site);
    assert!(done.status.success() && out(&done).contains("postbud2 signs"), "{}{}", out(&done), err(&done));
}

#[test]
fn a_rotation_can_be_taken_up_from_another_folder() {
    let Some(mut site) = Site::new(&format!("{WORLD}test.dk. 60 IN TXT \"v=spf1 mx -all\"\n")) else {
        return skip("a_rotation_can_be_taken_up_from_another_folder", "knot is not installed");
    };
    let added = site.run(&["customer", "add", "test-as", "--name", "T", "--domain", "test.dk", "--via", "mailjet"], "");
    assert!(added.status.success(), "{}", err(&added));
    let none = site.run(&["dkim", "rotate", "test-as", "--key", "ed25519"], "");
    assert!(err(&none).contains("names no such key: [dkim] ed25519_selector"), "{}", err(&none));
    let begun = site.run(&["dkim", "rotate", "test-as"], "");
    assert!(begun.status.success(), "{}", err(&begun));
    site.knot.publish(&format!("{WORLD}{}", printed(&out(&begun))));
    let config = site.file("config/postbud.toml");
    let elsewhere = Command::new(env!("CARGO_BIN_EXE_postbud"))
        .args(["dkim", "rotate", "test-as", "--config", config.to_str().unwrap()])
        .current_dir("/")
        .output()
        .unwrap();
    assert!(elsewhere.status.success(), "{}{}", out(&elsewhere), err(&elsewhere));
    assert!(fs::read_to_string(site.file("config/customers/test-as.toml")).unwrap().contains("\"postbud2\""));
    // Somebody puts the old key back: nothing is revoked on the strength of what is no longer so.
    let file = site.file("config/customers/test-as.toml");
    let back = fs::read_to_string(&file)
        .unwrap()
        .replace("postbud2", "postbud1")
        .replace("test.dk.postbud1.pem", "test.dk.pem");
    fs::write(&file, back).unwrap();
    let refused = site.run(&["dkim", "rotate", "test-as"], "");
    assert_eq!(refused.status.code(), Some(1));
    assert!(err(&refused).contains("signs with postbud1 again"), "{}", err(&refused));
}

#[test]
fn a_rotation_that_cannot_be_read_is_not_taken_for_a_broken_key() {
    let Some(site) = Site::new(WORLD) else {
        return skip("a_rotation_that_cannot_be_read_is_not_taken_for_a_broken_key", "knot is not installed");
    };
    let added = site.run(&["customer", "add", "test-as", "--name", "T", "--domain", "test.dk", "--via", "mailjet"], "");
    assert!(added.status.success(), "{}", err(&added));
    fs::create_dir_all(site.file("state/onboarding/rotations")).unwrap();
    fs::write(site.file("state/onboarding/rotations/test-as.main.json"), "{").unwrap();
    let records = site.run(&["domain", "records", "test-as"], "");
    assert_eq!(records.status.code(), Some(1));
    assert!(out(&records).contains("postbud1._domainkey.test.dk"), "{}", out(&records));
    assert!(
        err(&records).contains("test-as.main.json: EOF") && !err(&records).contains("the key of"),
        "{}",
        err(&records)
    );
}
