//! `postbud demo --once`, as the README tells a newcomer to run it.

#[path = "support/http.rs"]
mod http;

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

#[test]
fn the_demo_delivers_and_verifies_three_newsletters_and_leaves_nothing_behind() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let demo = Command::new(env!("CARGO_BIN_EXE_postbud"))
        .args(["demo", "--once"])
        .env("TMPDIR", scratch.path())
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
    let mut demo = Command::new(env!("CARGO_BIN_EXE_postbud"))
        .arg("demo")
        .env("TMPDIR", scratch.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("postbud runs");
    // Open to the end: a demo whose output nobody reads any more ends.
    let mut lines = BufReader::new(demo.stdout.take().expect("its output")).lines().map_while(Result::ok);
    let mut said = Vec::new();
    for line in lines.by_ref() {
        let is_up = line.contains("The relay stays up");
        said.push(line);
        if is_up {
            break;
        }
    }
    let page = |name: &str| {
        let line = said.iter().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{name}: {said:#?}"));
        let url = line.split("http://").nth(1).expect("an address").split([' ', ',']).next().expect("a URL");
        let (address, path) = url.split_once('/').expect("a host and a path");
        let request = format!("GET /{path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
        http::text(address, request.as_bytes()).unwrap_or_else(|| panic!("nobody listens at {address}"))
    };
    let (status, operators, customer) = (page("status page"), page("operators' pages"), page("what the customer sees"));
    let ended = Command::new("kill").args(["-TERM", &demo.id().to_string()]).status().expect("kill");
    assert!(ended.success() && demo.wait().expect("it ends").success());
    assert!(status.contains(" 200 OK") && status.contains("nordlys"), "{status}");
    assert!(operators.contains(" 200 OK") || operators.contains(" 303 "), "{operators}");
    assert!(
        customer.contains(" 303 ") && customer.contains("/nordlys.example"),
        "to the customer's domain: {customer}"
    );
}
