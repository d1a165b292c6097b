//! Commands by role, forms with their codes, and what pages show of what was done.

use std::time::{Duration, Instant};

use crate::client::{Answer, Client};
use crate::rig::Rig;

/// Waits until a page shows something.
fn wait_for(client: &Client, path: &str, what: &str, shows: impl Fn(&Answer) -> bool) -> Answer {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let page = client.get(path);
        if shows(&page) {
            return page;
        }
        assert!(Instant::now() < until, "{what} does not come: {}", page.body);
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_reader_sees_everything_and_changes_nothing() {
    let rig = Rig::start();
    let id = rig.submit("news@anna.example", "ole@x.example", "hello");
    let admin = rig.logged_in("anna", "admin");
    let reader = rig.logged_in("bo", "read");
    let message = format!("/queue/{id}");
    for path in [
        "/",
        "/alerts",
        "/queue",
        "/customers",
        "/customers/anna",
        "/routes",
        "/routes/own-server.anna",
        "/trace?customer=anna",
        "/suppression?customer=anna",
        "/audit",
        "/account",
        &message,
    ] {
        let page = reader.get(path);
        assert_eq!(page.status, 200, "{path}: {}", page.body);
        // The way out, and on the own account the password.
        let own = 1 + usize::from(path == "/account");
        let forms = page.body.matches("method=\"post\"").count();
        assert_eq!(forms, own, "{path} has a form that a reader may not send: {}", page.body);
    }
    // A reader who makes the forms by hand: the code is the right one, the role is not.
    let code = |kind: &str, page: &str, marker: &str| {
        // The codes are bound to the session, so the admin's does not count for the reader.
        let foreign = admin.get(page).code(marker);
        let answer = reader.post(kind, &[("form", &foreign), ("do", "resume"), ("action", "hold")]);
        assert_eq!(answer.status, 403, "{kind}: {}", answer.body);
    };
    code("/queue/confirm", "/queue", "action=\"/queue/confirm\"");
    code("/routes/own-server.anna", "/routes/own-server.anna", "id=\"suspend\"");
    let operator = rig.logged_in("carl", "operate");
    let refused =
        operator.send("/customers/anna", "id=\"pause\"", "/customers/anna", &[("do", "suspend"), ("reason", "x")]);
    assert_eq!(refused.status, 403);
    assert!(refused.body.contains("needs the role &quot;admin&quot;"), "{}", refused.body);
    assert!(rig.site.events().iter().all(|event| event["command"] != "customer.suspend"));
}

#[test]
fn a_form_without_its_code_or_from_another_site_is_refused() {
    let rig = Rig::start();
    rig.submit("news@anna.example", "ole@x.example", "hello");
    let admin = rig.logged_in("anna", "admin");
    let code = admin.get("/queue").code("action=\"/queue/confirm\"");
    let fields = [("form", code.as_str()), ("those", "all"), ("action", "hold")];
    assert_eq!(admin.post("/queue/confirm", &fields).status, 200);
    let mut stranger = admin.clone();
    stranger.headers.push("Sec-Fetch-Site: cross-site".into());
    assert_eq!(stranger.post("/queue/confirm", &fields).status, 403);
    let mut stranger = admin.clone();
    stranger.headers.push("Origin: https://evil.example".into());
    assert_eq!(stranger.post("/queue/confirm", &fields).status, 403);
    assert_eq!(admin.post("/queue/confirm", &fields[1..]).status, 403);
    let wrong = [("form", "0".repeat(32)), ("those", "all".into()), ("action", "hold".into())];
    let wrong = wrong.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(admin.post("/queue/confirm", &wrong).status, 403);
    assert_eq!(admin.post("/queue/do", &fields).status, 403, "the code of another form");
    assert_eq!(admin.post("/login", &[("name", "anna"), ("password", "x")]).status, 403);
    assert_eq!(admin.post("/alerts", &[("form", &"x".repeat(100_000))]).status, 400);
}

#[test]
fn what_a_command_hits_is_counted_shown_and_then_done() {
    let rig = Rig::start();
    let ids: Vec<String> =
        (0..3).map(|n| rig.submit("news@anna.example", &format!("to{n}@x.example"), "hello")).collect();
    rig.submit("news@bo.example", "ole@y.example", "hello");
    let anna = rig.logged_in("anna", "operate");
    let none =
        anna.send("/queue", "action=\"/queue/confirm\"", "/queue/confirm", &[("those", "ticked"), ("action", "hold")]);
    assert!(none.status == 400 && none.body.contains("no message is ticked"), "{}", none.body);
    let marker = "action=\"/queue/confirm\"";
    let fields = [("those", "all"), ("action", "hold"), ("customer", "anna")];
    let asked = anna.send("/queue?customer=anna", marker, "/queue/confirm", &fields);
    assert!(asked.body.contains("Hold 3 messages?") && asked.body.contains("customer anna"), "{}", asked.body);
    assert!(ids.iter().all(|id| asked.body.contains(id.as_str())), "{}", asked.body);
    let code = asked.code("action=\"/queue/do\"");
    let all = [("form", code.as_str()), ("action", "hold"), ("all", "1"), ("customer", "anna")];
    let without_reason = anna.post("/queue/do", &[&all[..], &[("at_most", "3")]].concat());
    assert!(without_reason.status == 400 && without_reason.body.contains("reason"), "{}", without_reason.body);
    let too_many = anna.post("/queue/do", &[&all[..], &[("at_most", "2"), ("reason", "wrong list")]].concat());
    assert!(too_many.status == 409 && too_many.body.contains("nothing was done"), "{}", too_many.body);
    let begun = anna.post("/queue/do", &[&all[..], &[("at_most", "3"), ("reason", "wrong <list>")]].concat());
    assert_eq!(begun.status, 303, "{}", begun.body);
    let done = wait_for(&anna, begun.field("location"), "the end", |page| page.body.contains("badge good"));
    assert!(done.body.contains("3 messages changed"), "{}", done.body);
    let held = anna.get("/queue?state=held");
    assert!(
        ids.iter().all(|id| held.body.contains(id.as_str())) && held.body.contains("wrong &lt;list&gt;"),
        "{}",
        held.body
    );
    // One message alone.
    let one = anna.send(
        &format!("/queue/{}", ids[0]),
        marker,
        "/queue/confirm",
        &[(&format!("id-{}", ids[0]), "on"), ("action", "remove")],
    );
    assert!(one.body.contains("Remove 1 message?") && one.body.contains("cannot be undone"), "{}", one.body);
    let code = one.code("action=\"/queue/do\"");
    let gone = anna.post(
        "/queue/do",
        &[("form", &code), ("action", "remove"), ("ids", &ids[0]), ("at_most", "1"), ("reason", "test")],
    );
    wait_for(&anna, gone.field("location"), "the end", |page| page.body.contains("1 message changed"));
    let trace = anna.get(&format!("/queue/{}", ids[0]));
    assert_eq!(trace.field("location"), format!("/trace?queue_id={}", ids[0]), "what has left is in the record");
    let audit = wait_for(&anna, "/audit?command=queue", "the audit", |page| page.body.contains("queue.remove"));
    assert!(audit.body.contains("operator anna") && audit.body.contains("127.0.0.1"), "{}", audit.body);
}

#[test]
fn an_alert_is_acknowledged_and_the_note_outlives_a_restart() {
    let rig = Rig::start();
    rig.submit("news@anna.example", "ole@x.example", "hello");
    let anna = rig.logged_in("anna", "operate");
    let is_told = |page: &Answer| page.body.contains("route:own-server.anna");
    wait_for(&anna, "/alerts", "the alert", is_told);
    let state = anna.get("/");
    assert!(
        state.body.contains("Takes mail, but not all of it leaves") && !state.body.contains("card good"),
        "{}",
        state.body
    );
    let unknown = anna.send("/alerts", "action=\"/alerts\"", "/alerts", &[("key", "route:nothing"), ("note", "")]);
    assert_eq!(unknown.status, 404, "{}", unknown.body);
    let fields = [("key", "route:own-server.anna"), ("note", "Ole <calls> them")];
    assert_eq!(anna.send("/alerts", "action=\"/alerts\"", "/alerts", &fields).status, 303);
    let noted = |page: &Answer| page.body.contains("operator anna") && page.body.contains("Ole &lt;calls&gt; them");
    assert!(noted(&anna.get("/alerts")));
    let Rig { site, relay, .. } = rig;
    relay.stop();
    let _again = site.start();
    wait_for(&anna, "/alerts", "the note", |page| noted(page) && page.body.contains("acknowledged"));
}

#[test]
fn routes_customers_and_suppression_are_commanded_as_on_the_command_line() {
    let rig = Rig::start();
    let anna = rig.logged_in("anna", "admin");
    let path = "/routes/own-server.bo";
    let stop = [("do", "suspend"), ("reason", "they move tonight")];
    assert_eq!(anna.send(path, "id=\"suspend\"", path, &stop).status, 303);
    let page = anna.get("/routes?state=suspended");
    assert!(page.body.contains("own-server.bo") && page.body.contains("they move tonight"), "{}", page.body);
    for place in ["/customers?q=bo", "/customers/bo"] {
        let page = anna.get(place).body;
        let why = page.contains("stands still") && page.contains("they move tonight");
        assert!(why && !page.contains("in service"), "its route stands still: {page}");
    }
    assert_eq!(anna.send(path, "id=\"resume\"", path, &[("do", "resume")]).status, 303);
    assert!(!anna.get("/routes?state=suspended").body.contains("own-server.bo"));
    assert!(anna.get("/customers?q=bo").body.contains("in service"));

    let path = "/customers/bo";
    assert_eq!(anna.send(path, "id=\"pause\"", path, &[("do", "pause"), ("reason", "asked <them>")]).status, 303);
    assert!(anna.get(path).body.contains("asked &lt;them&gt;"));
    let list = anna.get("/customers?q=bo").body;
    assert!(list.contains("asked &lt;them&gt;") && !list.contains("in service"), "its mail stands still: {list}");
    let found =
        wait_for(&anna, "/trace?customer=bo", "what was done", |page| page.body.contains("Not about one mail")).body;
    assert!(!found.contains("<h2> → </h2>"), "{found}");
    assert_eq!(anna.send(path, "id=\"pause\"", path, &[("do", "unpause")]).status, 303);
    assert_eq!(anna.send(path, "id=\"suspend\"", path, &[("do", "suspend"), ("reason", "unpaid")]).status, 303);
    let page = anna.get(path);
    assert!(page.body.contains("Suspended: unpaid"), "{}", page.body);
    assert_eq!(anna.send(path, "id=\"suspend\"", path, &[("do", "resume")]).status, 303);
    assert!(anna.get("/customers?q=BO.EXA").body.contains("/customers/bo"));
    assert!(!anna.get("/customers?q=nothing").body.contains("/customers/bo"));
    assert_eq!(anna.get("/customers/nobody").status, 404);
    let probe = anna.send(path, "id=\"probe\"", path, &[("do", "probe")]);
    wait_for(&anna, probe.field("location"), "the probe", |page| page.body.contains("Step by step"));
    assert_eq!(anna.send(path, "id=\"probe\"", path, &[("do", "check")]).status, 303);
    for command in ["customer.probe", "domain.check"] {
        let told = rig.site.wait_for_event(command, |event| event["command"] == command);
        assert!(told["customer"] == "bo" && told["actor"] == "operator anna" && told["peer"] == "127.0.0.1", "{told}");
    }

    let list = "/suppression?customer=bo";
    let add = [("customer", "bo"), ("address", "ole@x.example"), ("note", "asked us"), ("do", "add")];
    assert_eq!(anna.send(list, "id=\"add\"", "/suppression", &add).status, 303);
    let csv = [("customer", "bo"), ("csv", "a@x.example\r\nb@x.example\r\n")];
    assert_eq!(anna.send(list, "id=\"import\"", "/suppression/import", &csv).status, 303);
    let bad = [("customer", "bo"), ("csv", "a@x.example\r\nnonsense\r\n")];
    let refused = anna.send(list, "id=\"import\"", "/suppression/import", &bad);
    assert!(refused.status == 400 && refused.body.contains("line 2"), "{}", refused.body);
    let shown = anna.get(list);
    assert!(["ole@x.example", "a@x.example", "b@x.example"].iter().all(|it| shown.body.contains(it)), "{}", shown.body);
    let file = anna.get("/suppression/export?customer=bo");
    assert!(file.field("content-type").starts_with("text/csv") && file.body.contains("ole@x.example"), "{}", file.body);
    let remove = [("customer", "bo"), ("address", "a@x.example"), ("do", "remove")];
    assert_eq!(anna.send(list, "value=\"bo\"", "/suppression", &remove).status, 303);
    assert!(!anna.get(list).body.contains("a@x.example"));
}

#[test]
fn charts_count_what_the_event_log_tells_also_over_a_restart() {
    let rig = Rig::start();
    let anna = rig.logged_in("anna", "read");
    for n in 0..3 {
        rig.submit("news@anna.example", &format!("to{n}@x.example"), "hello");
    }
    // The table below the chart has the numbers.
    let counted = |page: &Answer| {
        let chart = page.body.split("<caption>Accepted from webCRM, recipients").nth(1).unwrap_or_default();
        let table = chart.split("</table>").next().unwrap_or_default();
        let cells = table.split("data-heading=\"accepted\"><div>").skip(1);
        cells.filter_map(|cell| cell.split('<').next()?.parse::<u64>().ok()).sum::<u64>()
    };
    wait_for(&anna, "/?span=3h", "the count", |page| counted(page) == 3);
    let Rig { site, relay, .. } = rig;
    relay.stop();
    let _again = site.start();
    for span in ["3h", "24h", "7d", "30d", "1y"] {
        wait_for(&anna, &format!("/?span={span}"), "the count", |page| page.status == 200 && counted(page) == 3);
    }
}
