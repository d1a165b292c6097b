//! `postbud demo --once`, as the README tells a newcomer to run it.

#[path = "support/http.rs"]
mod http;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn the_demo_delivers_and_verifies_three_newsletters_and_leaves_nothing_behind() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let demo = Command::new(env!("CARGO_BIN_EXE_postbud"))
        .args(["demo", "--once"])
        .env("TMPDIR", scratch.path())
        // A system without ca-certificates.
        .env("SSL_CERT_FILE", scratch.path().join("none"))
        .env("SSL_CERT_DIR", scratch.path())
        .output()
        .expect("postbud runs");
    let said = String::from_utf8_lossy(&demo.stdout);
    let complained = String::from_utf8_lossy(&demo.stderr);
    assert!(demo.status.success(), "{said}{complained}");
    assert_eq!(said.matches("signature d=nordlys.example s=postbud1: verified by mail-auth").count(), 3, "{said}");
    assert_eq!(said.matches("event relayed:").count(), 3, "{said}");
    assert!(said.contains("3 of 3 newsletters arrived"), "{said}");
    assert!(said.contains("operators' pages http://127.0.0.1:"), "{said}");
    let left: Vec<_> = std::fs::read_dir(scratch.path()).expect("the folder").flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn the_demo_stays_up_and_its_pages_answer_until_it_is_told_to_end() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    // Its lines stay open to the end: a demo whose output nobody reads any more ends.
    let (mut demo, mut lines) = begin(scratch.path());
    let mut said = Vec::new();
    for line in lines.by_ref() {
        let is_up = line.contains("The relay stays up");
        said.push(line);
        if is_up {
            break;
        }
    }
    let url = |name: &str| {
        let line = said.iter().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{name}: {said:#?}"));
        let url = line.split("http://").nth(1).expect("an address").split([' ', ',']).next().expect("a URL");
        let (address, path) = url.split_once('/').expect("a host and a path");
        (address.to_owned(), format!("/{path}"))
    };
    let ask = |method: &str, (address, path): &(String, String), fields: &[(&str, &str)], body: Option<&str>| {
        let to = address.parse().expect("an address");
        http::raw(to, http::request(method, path, address, fields, body).as_bytes())
    };
    let get = |place: &(String, String)| ask("GET", place, &[], None);
    let status = get(&url("status page"));

    // What the customer sees: the link leads to its domain, of which something is in order, and something is missing.
    let customer = url("what the customer sees");
    let first = get(&customer);
    let place = (customer.0, first.field("location").to_owned());
    let until = Instant::now() + Duration::from_secs(60);
    let whole = loop {
        let page = get(&place);
        // Until its records were looked at, the page has no steps.
        if page.body.contains("id=\"spf\"") {
            break page;
        }
        assert!(Instant::now() < until, "{page:?}");
        std::thread::sleep(Duration::from_millis(500));
    };

    // The operators' login is the one that is printed.
    let (operators, front) = url("operators' pages");
    let line = said.iter().find(|line| line.contains("operators' pages")).expect("a line");
    let (name, password) = line.rsplit_once("login ").and_then(|(_, login)| login.split_once(" / ")).expect("a login");
    let login = (operators.clone(), "/login".to_owned());
    let code = get(&login).code("action=\"/login\"");
    let form = format!("form={code}&name={name}&password={}&to=/", password.trim());
    let kind = ("Content-Type", "application/x-www-form-urlencoded");
    let let_in = ask("POST", &login, &[kind], Some(&form));
    let cookie = let_in.field("set-cookie").split(';').next().unwrap_or_default().to_owned();
    let overview = ask("GET", &(operators, front), &[("Cookie", &cookie)], None);

    let ended = Command::new("kill").args(["-TERM", &demo.id().to_string()]).status().expect("kill");
    assert!(ended.success() && demo.wait().expect("it ends").success());
    assert!(status.status == 200 && status.body.contains("nordlys"), "{status:?}");
    assert_eq!(first.status, 303, "{first:?}");
    assert!(place.1.ends_with("/nordlys.example"), "to the customer's domain: {first:?}");
    let badges = |class: &str| whole.body.matches(&format!("class=\"badge {class}\"")).count();
    assert!(
        badges("good") > 0 && badges("wait") > 0,
        "something is in order, and something is missing: {}",
        whole.body
    );
    assert_eq!((name, let_in.status), ("demo", 303), "{let_in:?}");
    assert!(overview.status == 200 && overview.body.contains("What needs a person"), "{overview:?}");
}

#[test]
fn an_interrupted_demo_leaves_nothing_behind_either() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    for (signal, until) in [("-INT", "webCRM submits"), ("-HUP", "The relay stays up")] {
        let (mut demo, mut lines) = begin(scratch.path());
        assert!(lines.by_ref().any(|line| line.contains(until)), "it never says {until}");
        let told = Command::new("kill").args([signal, &demo.id().to_string()]).status().expect("kill");
        // A demo whose output nobody reads ends by itself.
        lines.for_each(drop);
        demo.wait().expect("it ends");
        let left: Vec<_> = std::fs::read_dir(scratch.path()).expect("the folder").flatten().collect();
        assert!(told.success() && left.is_empty(), "{signal}: {left:?}");
    }
}

/// Starts a demo whose temporary files are in this folder. Returns its process, and the lines that it prints.
fn begin(scratch: &Path) -> (Child, impl Iterator<Item = String>) {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_postbud"))
        .arg("demo")
        .env("TMPDIR", scratch)
        .stdout(Stdio::piped())
        .spawn()
        .expect("postbud runs");
    let lines = BufReader::new(demo.stdout.take().expect("its output")).lines().map_while(Result::ok);
    (demo, lines)
}
