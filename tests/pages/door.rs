//! Access to the pages, and their protection.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::rig::{BEFORE, Rig, path};

#[test]
fn a_link_opens_its_customers_page_only_and_until_it_is_revoked() {
    let rig = Rig::start(BEFORE);
    let link = rig.link("test-as", &["--days", "7"]);
    let own = path(&link);
    let first = rig.get(own, "");
    assert!(first.starts_with("HTTP/1.1 303"), "{first}");
    let page = rig.get(&format!("{own}/test.dk"), "");
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("Test &amp; Søn A/S"), "{page}");
    for header in [
        "content-security-policy: default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        "cache-control: no-store",
        "referrer-policy: no-referrer",
        "x-content-type-options: nosniff",
        "x-frame-options: DENY",
    ] {
        assert!(page.to_ascii_lowercase().contains(&header.to_ascii_lowercase()), "{header}\n{page}");
    }
    for (other, status) in [
        (format!("{own}/other.example"), 404),
        (format!("{own}/TEST.dk"), 404),
        (format!("{own}/test.dk/nothing"), 404),
        (format!("{own}/..%2f..%2fetc"), 404),
        (format!("{own}x/test.dk"), 404),
        ("/link/".to_owned(), 404),
        ("/".to_owned(), 404),
        ("/assets/pages.css".to_owned(), 404),
    ] {
        let answer = rig.get(&other, "");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{other}: {answer}");
        assert!(answer.contains("<h1>Siden findes ikke</h1>"), "{other}: {answer}");
    }
    let english = rig.get("/link/nothing", "Accept-Language: en-GB\r\n");
    assert!(english.contains("There is no such page") && english.contains("lang=\"en\""), "{english}");

    let listed = rig.site.operate(&["customer", "link", "list", "test-as", "--json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed["customer"], "test-as");
    assert!(!listed.to_string().contains(own.trim_start_matches("/link/")), "no list shows what opens the page");
    let id = listed["id"].as_str().unwrap();
    let revoked = rig.site.operate(&["customer", "link", "revoke", id]);
    assert!(revoked.status.success(), "{}", String::from_utf8_lossy(&revoked.stderr));
    assert!(rig.get(&format!("{own}/test.dk"), "").starts_with("HTTP/1.1 404"));
    let events = rig.site.events();
    for command in ["link.add", "link.revoke"] {
        let told = events.iter().find(|event| event["command"] == command);
        let told = told.unwrap_or_else(|| panic!("no {command}: {events:#?}"));
        assert_eq!(told["customer"], "test-as");
        assert!(!told.to_string().contains(own.trim_start_matches("/link/")));
    }
    assert!(!rig.relay.log().contains(own.trim_start_matches("/link/")), "nor does the log");
}

#[test]
fn mistakes_about_links_name_the_remedy() {
    let rig = Rig::start(BEFORE);
    for (arguments, said) in [
        (vec!["customer", "link", "nobody"], "there is no customer"),
        (vec!["customer", "link", "test-as", "--days", "0"], "0 is not in 1..=365"),
        (vec!["customer", "link", "test-as", "--language", "fr"], "da or en"),
        (vec!["customer", "link", "revoke", "0"], "there is no link"),
        (vec!["customer", "link"], "Usage"),
    ] {
        let refused = rig.site.operate(&arguments);
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && text.contains(said), "{arguments:?}: {text}");
    }
}

#[test]
fn a_form_counts_for_its_page_only_and_never_from_another_site() {
    let rig = Rig::start(BEFORE);
    let (link, other) = (rig.link("test-as", &[]), rig.link("test-as", &[]));
    let code = |link: &str| {
        let page = loop {
            let page = rig.get(&format!("{}/test.dk", path(link)), "");
            // While a look runs there is no form.
            if page.contains("name=\"form\" value=\"") {
                break page;
            }
            std::thread::sleep(std::time::Duration::from_millis(200));
        };
        let (_, rest) = page.split_once("name=\"form\" value=\"").unwrap();
        rest[..32].to_owned()
    };
    let post = |link: &str, code: &str, headers: &str| {
        let body = format!("form={code}");
        let path = format!("{}/test.dk/check", path(link));
        rig.send(&format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            rig.pages,
            body.len()
        ))
    };
    let own = code(&link);
    // The page looks by itself, too. The audit has what its reader commands, once a check begins: five seconds after the last one.
    let checks =
        || rig.site.events().into_iter().filter(|event| event["command"] == "domain.check").collect::<Vec<_>>();
    assert!(checks().is_empty(), "{:?}", checks());
    let patience = Instant::now() + Duration::from_secs(30);
    while checks().is_empty() {
        assert!(post(&link, &own, "").starts_with("HTTP/1.1 303"));
        assert!(Instant::now() < patience, "the check is not in the audit");
        std::thread::sleep(Duration::from_millis(200));
    }
    let told = checks().remove(0);
    assert!(told["customer"] == "test-as" && told["peer"] == "127.0.0.1", "{told}");
    assert!(told["actor"].as_str().unwrap().starts_with("link "), "{told}");
    assert!(told["detail"].as_str().unwrap().contains("of test.dk"), "{told}");
    assert!(post(&link, &own, "Sec-Fetch-Site: same-origin\r\n").starts_with("HTTP/1.1 303"));
    for (link, code, headers) in [
        (&other, own.as_str(), ""),
        (&link, "", ""),
        (&link, "0123456789abcdef0123456789abcdef", ""),
        (&link, own.as_str(), "Sec-Fetch-Site: cross-site\r\n"),
        (&link, own.as_str(), "Origin: https://evil.example\r\n"),
    ] {
        let answer = post(link, code, headers);
        assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("Siden var blevet for gammel"), "{answer}");
    }
    let large = format!(
        "POST {}/test.dk/check HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: 40000\r\n\r\n",
        path(&link),
        rig.pages
    ) + &"x".repeat(40_000);
    let answer = rig.send(&large);
    assert!(answer.starts_with("HTTP/1.1 413") || answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[test]
fn whoever_guesses_links_or_asks_too_often_is_slowed_down() {
    let rig = Rig::start(BEFORE);
    let link = rig.link("test-as", &[]);
    let statuses: Vec<String> =
        (0..70).map(|_| rig.get(&format!("{}/test.dk", path(&link)), "")[9..12].to_owned()).collect();
    assert_eq!(statuses[0], "200");
    assert!(statuses.iter().any(|status| status == "429"), "{statuses:?}");
    let refused = rig.get(&format!("{}/test.dk", path(&link)), "");
    assert!(refused.starts_with("HTTP/1.1 429") || refused.starts_with("HTTP/1.1 200"), "{refused}");
    let started = std::time::Instant::now();
    for _ in 0..4 {
        rig.get("/link/guess", "");
    }
    assert!(started.elapsed().as_millis() > 500, "guesses are answered at {:?}", started.elapsed());
}
