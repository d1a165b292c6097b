//! A real Postfix as the customer's own server, with STARTTLS and login; what lies in its mailbox is verified by dkimpy with
//! the record that the customer would publish.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::own_server;
use crate::support::client::{Client, message, queue_id};
use crate::support::peers::{self, Options, REALM, start_postfix};
use crate::support::relay::{Customer, PASSWORD, Site, USERNAME};
use crate::support::skip::skip;

/// Reads a message on standard input; the argument is the record's value.
const VERIFY: &str = "import sys, dkim
record = sys.argv[1].encode()
ok = dkim.verify(sys.stdin.buffer.read(), dnsfunc=lambda name, timeout=5: record if name.startswith(b'postbud1._domainkey.good.example') else None)
print('verified' if ok else 'failed')";

fn dkimpy(mail: &str, record: &str) -> String {
    let mut python = Command::new("/usr/bin/python3")
        .args(["-c", VERIFY, record])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 starts");
    python.stdin.take().unwrap().write_all(mail.as_bytes()).unwrap();
    String::from_utf8(python.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn postfix_receives_over_starttls_with_login_and_dkimpy_verifies() {
    const NAME: &str = "postfix_receives_over_starttls_with_login_and_dkimpy_verifies";
    let dkimpy_is_there = Command::new("/usr/bin/python3").args(["-c", "import dkim"]).output();
    if !dkimpy_is_there.is_ok_and(|output| output.status.success()) {
        return skip(NAME, "python3-dkim is not installed");
    }
    let Some(postfix) = start_postfix(NAME, &Options::default()) else { return };
    let site = Site::new(&[]);
    let route = own_server(&site, &postfix, &format!("{}@{REALM}", peers::USERNAME));
    site.add(&Customer { id: "good", domain: "good.example", route });
    let relay = site.start();
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    for n in 0..5 {
        let mail = message("a@good.example", "x@test.net", &format!("n{n}"));
        queue_id(&client.send("a@good.example", &["x@test.net"], &mail).unwrap());
    }
    let mails = postfix.wait_for_mails(5);
    let printed = site.operate(&["dkim", "record", "good", "--json"]);
    let records: serde_json::Value = serde_json::from_slice(&printed.stdout).expect("dkim record --json is JSON");
    let record = records[0]["value"].as_str().unwrap();
    assert_eq!(records[0]["name"], "postbud1._domainkey.good.example");
    for mail in &mails {
        assert_eq!(dkimpy(mail, record).trim(), "verified", "{mail}");
        let forged = mail.replace("fløde", "grus");
        assert_eq!(dkimpy(&forged, record).trim(), "failed", "the verifier would take anything");
    }
    assert!(postfix.log().contains("sasl_username="), "{}", postfix.log());
    relay.stop();
}
