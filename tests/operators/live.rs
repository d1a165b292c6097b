//! Pages that change by themselves while somebody looks at them, and types into them.

use crate::in_browser::{browser, takes};
use crate::rig::{OPERATORS_PASSWORD, Rig};
use crate::support::browser::{Browser, Setup};
use crate::support::script::Server;

/// Marks the page, so that a reload would be noticed.
fn mark(browser: &Browser) {
    browser.run("window.isTheSame = true");
}

fn is_the_same(browser: &Browser) {
    assert_eq!(browser.run("return window.isTheSame === true"), true, "the page was loaded again");
}

fn part(browser: &Browser, id: &str) -> String {
    // By one script: between two requests the part may be replaced.
    let text = browser.run(&format!("return document.getElementById('{id}')?.innerText"));
    text.as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_come_and_go_and_a_note_that_is_being_typed_stays_with_its_alert() {
    let rig = Rig::start();
    rig.submit("news@anna.example", "ole@x.example", "hello");
    rig.site.wait_for_event("the alert", |event| event["event"] == "alert" && event["route"] == "own-server.anna");
    let Some(browser) = browser(&rig, Setup { languages: "en", ..Setup::default() }) else { return };
    browser.go(&format!("http://{}/alerts", rig.pages));
    browser.wait_for_text("route:own-server.anna");
    mark(&browser);
    browser.fill("input[name='note']", "Ole calls th");

    // A newer alert comes first, where the older one was.
    rig.submit("news@bo.example", "ole@y.example", "hello");
    browser.wait_for_text("route:own-server.bo");
    let order = part(&browser, "open");
    assert!(order.find("route:own-server.bo") < order.find("route:own-server.anna"), "{order}");
    browser.press("em");
    let typed = browser.run(
        "return [...document.querySelectorAll('#open form')].map(it => it.elements.key.value + ' ' + it.elements.note.value)",
    );
    assert_eq!(
        typed,
        serde_json::json!(["route:own-server.bo ", "route:own-server.anna Ole calls them"]),
        "the note and the cursor stay with their alert"
    );
    browser.is_sound("alerts that have come");

    let _server = Server::start_at(rig.server_of_anna, vec![takes(), takes(), takes()]).await;
    let other = rig.logged_in("bo", "operate");
    let path = "/routes/own-server.anna";
    if other.get(path).body.contains("id=\"resume\"") {
        assert_eq!(other.send(path, "id=\"resume\"", path, &[("do", "resume")]).status, 303);
    }
    browser.wait("the end", || (!part(&browser, "open").contains("route:own-server.anna")).then_some(()));
    browser.wait("the history", || part(&browser, "history").contains("Over: ").then_some(()));
    assert!(part(&browser, "open").contains("route:own-server.bo"), "the other one is still open");
    is_the_same(&browser);
}

#[test]
fn a_route_and_a_message_show_what_others_do_to_them() {
    let rig = Rig::start();
    let id = rig.submit("news@bo.example", "ole@y.example", "hello");
    let Some(browser) = browser(&rig, Setup { languages: "en", ..Setup::default() }) else { return };
    let other = rig.logged_in("carl", "operate");
    let path = "/routes/own-server.bo";
    browser.go(&format!("http://{}{path}", rig.pages));
    browser.find("button[value='suspend']");
    mark(&browser);
    let suspended = other.send(path, "id=\"suspend\"", path, &[("do", "suspend"), ("reason", "they move tonight")]);
    assert_eq!(suspended.status, 303, "{}", suspended.body);
    browser.wait_for_text("they move tonight");
    browser.wait("what can be done now", || browser.all("button[value='suspend']").is_empty().then_some(()));
    is_the_same(&browser);
    browser.click("button[value='resume']");
    browser.find("button[value='suspend']");

    browser.go(&format!("http://{}/queue/{id}", rig.pages));
    browser.find("#message");
    mark(&browser);
    let held = rig.site.operate(&["queue", "hold", &id, "--reason", "wrong list"]);
    assert!(held.status.success(), "{}", String::from_utf8_lossy(&held.stderr));
    browser.wait_for_text("wrong list");
    is_the_same(&browser);
    // A live part brings a button that copies.
    browser.click("#message button.copier");
    browser.wait("it is copied", || {
        let said = browser.run("return document.getElementById('said').textContent");
        said.as_str().is_some_and(|said| !said.is_empty()).then_some(())
    });
    let removed = rig.site.operate(&["queue", "remove", &id]);
    assert!(removed.status.success(), "{}", String::from_utf8_lossy(&removed.stderr));
    browser
        .wait("it is found in the trace", || browser.url().ends_with(&format!("/trace?queue_id={id}")).then_some(()));
}

#[test]
fn lists_show_what_happens_and_a_tick_stays_with_its_message() {
    let rig = Rig::start();
    let first = rig.submit("news@bo.example", "ole@y.example", "hello");
    let second = rig.submit("news@bo.example", "eva@y.example", "hello");
    let Some(browser) = browser(&rig, Setup { languages: "en", ..Setup::default() }) else { return };
    browser.go(&format!("http://{}/queue?customer=bo", rig.pages));
    browser.click(&format!("input[name='id-{second}']"));
    browser.click("input[name='those'][value='all']");
    mark(&browser);
    let held = rig.site.operate(&["queue", "hold", &first, "--reason", "wrong list"]);
    assert!(held.status.success(), "{held:?}");
    browser.wait_for_text("wrong list");
    let checked =
        browser.run("return [...document.querySelectorAll('#list input:checked')].map(it => it.name + ' ' + it.value)");
    assert_eq!(checked, serde_json::json!([format!("id-{second} on"), "those all"]), "what was chosen stays");
    let removed = rig.site.operate(&["queue", "remove", &first]);
    assert!(removed.status.success(), "{removed:?}");
    browser.wait("it is gone", || browser.all(&format!("input[name='id-{first}']")).is_empty().then_some(()));
    // What comes is shown where it fits the filters, and nowhere else.
    rig.submit("news@anna.example", "ole@x.example", "hello");
    let third = rig.submit("news@bo.example", "ida@y.example", "hello");
    browser.find(&format!("input[name='id-{third}']"));
    assert!(!part(&browser, "list").contains("ole@x.example"), "{}", part(&browser, "list"));
    is_the_same(&browser);
    browser.is_sound("a queue that changes");

    browser.go(&format!("http://{}/routes?q=own-server", rig.pages));
    browser.find("#list table");
    mark(&browser);
    let suspended = rig.site.operate(&["route", "suspend", "own-server.anna", "--reason", "they move tonight"]);
    assert!(suspended.status.success(), "{suspended:?}");
    browser.wait_for_text("they move tonight");
    is_the_same(&browser);

    // A customer's mail stands still for one reason, and then for another: its server is not there.
    browser.go(&format!("http://{}/customers?q=anna", rig.pages));
    browser.wait_for_text("they move tonight");
    mark(&browser);
    let resumed = rig.site.operate(&["route", "resume", "own-server.anna"]);
    assert!(resumed.status.success(), "{resumed:?}");
    browser.wait_for_text("cannot connect");
    is_the_same(&browser);
}

/// No DNS answers here, and to hear that takes a while.
#[test]
fn what_dns_is_asked_for_comes_to_a_page_that_is_shown_at_once() {
    let rig = Rig::start();
    let client = rig.logged_in("carl", "read");
    let Some(browser) = browser(&rig, Setup { languages: "en", ..Setup::default() }) else { return };
    for (path, says) in
        [("/customers/anna/dmarc", "anna.example"), ("/customers/anna/domains/anna.example", "_postbud-challenge")]
    {
        let at_once = client.get(path).body;
        assert!(at_once.contains("DNS is being asked") && !at_once.contains(says), "{at_once}");
        let link = format!("{path}?wait=1");
        assert!(at_once.contains(&format!("<noscript><p><a href=\"{link}\"")), "{at_once}");
        // What comes by itself comes once: the browser is told not to ask again.
        let stream = client.get(&format!("{path}/live")).body;
        assert!(stream.contains(says) && stream.contains("event: end\ndata: "), "{stream}");
        let whole = client.get(&link).body;
        assert!(whole.contains(says) && !whole.contains("DNS is being asked"), "{whole}");
        browser.go(&format!("http://{}{path}", rig.pages));
        mark(&browser);
        browser.wait_for_text(says);
        is_the_same(&browser);
        browser.is_sound(path);
    }
    assert_eq!(client.get("/customers/nobody/dmarc?wait=1").status, 404);
    browser.go(&format!("http://{}/customers/anna/domains/other.example", rig.pages));
    browser.wait_for_text("has no domain other.example");
}

#[test]
fn a_page_that_is_open_when_the_session_ends_asks_for_the_login_and_comes_back() {
    let rig = Rig::start();
    let Some(browser) = browser(&rig, Setup { languages: "en", ..Setup::default() }) else { return };
    browser.go(&format!("http://{}/queue?state=held", rig.pages));
    browser.wait_for_text("Nothing that waits fits.");
    let (done, said) = rig.operator(&["logout", "anna"], "");
    assert!(done, "{said}");
    browser.find("form[action='/login']");
    assert!(!browser.text().contains("nothing was done"), "nobody did anything: {}", browser.text());
    browser.fill("#name", "anna");
    browser.fill("#password", OPERATORS_PASSWORD);
    browser.click("form[action='/login'] button");
    browser.wait_for_text("Nothing that waits fits.");
    assert!(browser.url().ends_with("/queue?state=held"), "{}", browser.url());
}
