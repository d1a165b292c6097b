//! The customer's own server: entered, tried at once, and used once it works.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};

use crate::rig::{self, BEFORE, Rig, path};
use crate::support::browser::{Browser, Setup};
use crate::support::skip::skip;

/// A mail server that takes everything and is told nothing of passwords.
fn mail_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let _ = (&stream).write_all(b"220 mail.test.dk <script>alert(1)</script>\r\n");
                while let Some(Ok(line)) = lines.next() {
                    let reply: &[u8] = match line.get(..4).unwrap_or_default() {
                        "QUIT" => b"221 bye\r\n",
                        _ => b"250 fine\r\n",
                    };
                    if (&stream).write_all(reply).is_err() || line.starts_with("QUIT") {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[test]
fn a_server_is_used_once_it_works_and_by_nobody_elses_word() {
    let rig = Rig::start(BEFORE);
    if rig.knot.is_none() {
        return skip("a_server_is_used_once_it_works_and_by_nobody_elses_word", "no knot: install the package");
    }
    let Some(browser) = Browser::start(Setup::default()) else {
        return skip(
            "a_server_is_used_once_it_works_and_by_nobody_elses_word",
            "no Chromium: install chromium and chromium-driver",
        );
    };
    let server = mail_server();
    browser.go(&rig.link("test-as", &[]));
    browser.find("#server");
    browser.click("#server details summary");
    browser.fill("#host", "127.0.0.1");
    browser.fill("#port", &server.port().to_string());
    browser.run("document.getElementById('tls').value = 'off'");
    browser.click("#login-no");
    // Mail goes through Mailjet now: the customer says that it is to go elsewhere.
    browser.click("form[action$=server] button");
    browser.wait_for_text("Sæt kryds ved, at mailen skal sendes gennem serveren");
    browser.click("#confirm");
    browser.click("form[action$=server] button");
    browser.wait_for_text(&format!("{server} virker og bliver brugt fra nu af"));
    let page = browser.text();
    for wanted in [
        "Serverens navn slås op",
        "webCRM præsenterer sig",
        "Afsenderen oplyses",
        "Prøven afsluttes uden at sende noget",
    ] {
        assert!(page.contains(wanted), "{wanted}: {page}");
    }
    assert!(browser.all("main script").is_empty(), "what the server says is no markup");
    let file = std::fs::read_to_string(rig.site.customer_file("test-as")).unwrap();
    assert!(file.contains("via = \"own-server\"") && file.contains(&format!("port = {}", server.port())), "{file}");
    let told = rig.site.wait_for_event("the audit", |event| event["command"] == "customer.change");
    assert!(
        told["actor"].as_str().is_some_and(|actor| actor.starts_with("link ") && actor.ends_with(" of test-as")),
        "{told}"
    );
    assert_eq!(told["peer"], "127.0.0.1", "{told}");
}

#[test]
fn a_link_leads_into_no_network_of_ours() {
    let rig = Rig::with(&rig::Setup { private: false, ..rig::Setup::default() });
    if rig.knot.is_none() {
        return skip("a_link_leads_into_no_network_of_ours", "no knot: install the package");
    }
    let link = rig.link("test-as", &[]);
    let page = || rig.get(&format!("{}/test.dk", path(&link)), "");
    let whole = loop {
        let page = page();
        if page.contains("/server\"") {
            break page;
        }
        std::thread::sleep(std::time::Duration::from_millis(300));
    };
    let (_, form) = whole.split_once("/server\">").unwrap();
    let (_, code) = form.split_once("value=\"").unwrap();
    let body = format!("form={}&host=127.0.0.1&port=25&tls=off&login=none&confirm=yes", &code[..32]);
    let request = format!(
        "POST {}/test.dk/server HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        path(&link),
        rig.pages,
        body.len()
    );
    assert!(rig.send(&request).starts_with("HTTP/1.1 303"));
    let page = page();
    assert!(page.contains("en adresse på et internt netværk"), "{page}");
    assert!(!std::fs::read_to_string(rig.site.customer_file("test-as")).unwrap().contains("own-server"));
}
