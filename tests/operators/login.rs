//! Logins, the lifetime of sessions, and the answers to wrong logins.

use std::time::{Duration, Instant};

use crate::rig::{OPERATORS_PASSWORD, Rig};

#[test]
fn nobody_sees_a_page_without_a_login_and_a_login_leads_back_to_it() {
    let rig = Rig::start();
    let client = rig.client();
    for path in ["/", "/queue", "/customers/anna", "/live", "/nonsense", "/suppression/export?customer=anna"] {
        let answer = client.get(path);
        assert_eq!(answer.status, 303, "{path}: {}", answer.body);
        assert!(answer.field("location").starts_with("/login"), "{path}");
    }
    assert_eq!(client.get("/queue?state=held").field("location"), "/login?to=%2Fqueue%3Fstate%3Dheld");
    assert_eq!(client.post("/queue/do", &[("action", "remove")]).field("location"), "/login?over=1");
    rig.add("anna", "operate");
    let mut client = rig.client();
    let answer = client.log_in("anna", OPERATORS_PASSWORD);
    assert_eq!((answer.status, answer.field("location")), (303, "/queue"));
    let cookie = answer.field("set-cookie");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict") && cookie.contains("Path=/"), "{cookie}");
    let page = client.get("/");
    assert!(page.status == 200 && page.body.contains("What needs a person"), "{}", page.body);
    assert!(page.field("content-security-policy").contains("default-src 'none'"));
    assert_eq!(page.field("cache-control"), "no-store");
    assert_eq!(client.get("/nonsense").status, 404);
    // A link in a mail comes from another site, and without the cookie: the page is loaded once more from here.
    let mut from_mail = rig.client();
    from_mail.headers.push("Sec-Fetch-Site: cross-site".into());
    let answer = from_mail.get("/alerts");
    assert_eq!((answer.status, answer.field("refresh")), (200, "0; url=/alerts"));
}

#[test]
fn wrong_logins_are_answered_late_told_to_the_audit_and_soon_not_looked_at() {
    let rig = Rig::with(
        "",
        "[limits]\nlogin_delay = \"50ms\"\nlongest_login_delay = \"6s\"\nlogin_failures_per_address = 3\n",
    );
    rig.add("anna", "admin");
    let mut client = rig.client();
    let begun = Instant::now();
    for (name, password) in [("anna", "wrong"), ("hemmeligt-kodeord", "x"), ("anna", "wronger")] {
        let answer = client.log_in(name, password);
        assert_eq!(answer.status, 401, "{}", answer.body);
        assert!(answer.body.contains("The name or the password is wrong"), "{}", answer.body);
        assert_eq!(answer.field("set-cookie"), "");
    }
    assert!(begun.elapsed() >= Duration::from_millis(50 + 100 + 200), "{:?}", begun.elapsed());
    let answer = client.log_in("anna", OPERATORS_PASSWORD);
    assert_eq!(answer.status, 429, "the right password is not looked at either: {}", answer.body);
    std::thread::sleep(Duration::from_millis(6_200));
    assert_eq!(client.log_in("anna", OPERATORS_PASSWORD).status, 303, "it is never shut out for good");
    rig.site.wait_for_event("the login", |event| event["command"] == "operator.login");
    let failed: Vec<_> =
        rig.site.events().into_iter().filter(|event| event["command"] == "operator.login_failed").collect();
    assert_eq!(failed.len(), 3, "{failed:?}");
    assert_eq!(failed[0]["peer"], "127.0.0.1");
    let text = format!("{failed:?}");
    assert!(text.contains("anna") && !text.contains("hemmeligt"), "a mistyped name may be a password: {text}");
}

#[test]
fn a_session_ends_with_the_logout_another_password_another_role_or_its_operator() {
    let rig = Rig::start();
    let thief = |client: &crate::client::Client| client.clone().get("/").status;
    let anna = rig.logged_in("anna", "operate");
    assert_eq!(thief(&anna), 200, "whoever has the cookie is in");
    let out = anna.send("/", "action=\"/logout\"", "/logout", &[]);
    assert_eq!((out.status, out.field("location")), (303, "/login"));
    assert!(out.field("set-cookie").contains("Max-Age=0"));
    assert_eq!(thief(&anna), 303, "a cookie that was copied before is of no use");

    for arguments in
        [vec!["password", "bo"], vec!["role", "bo", "--role", "read"], vec!["logout", "bo"], vec!["remove", "bo"]]
    {
        let (_, _) = rig.operator(&["add", "bo", "--role", "operate"], OPERATORS_PASSWORD);
        let mut bo = rig.client();
        assert_eq!(bo.log_in("bo", OPERATORS_PASSWORD).status, 303, "{arguments:?}");
        let (done, said) = rig.operator(&arguments, OPERATORS_PASSWORD);
        assert!(done, "{said}");
        assert_eq!(thief(&bo), 303, "{arguments:?}");
    }
    // A restart ends no session.
    let carl = rig.logged_in("carl", "read");
    let Rig { site, relay, pages, .. } = rig;
    relay.stop();
    for file in
        std::fs::read_dir(site.path("state")).unwrap().filter_map(|file| std::fs::read(file.unwrap().path()).ok())
    {
        let secret = carl.cookie.as_deref().unwrap().split_once('=').unwrap().1.as_bytes();
        assert!(!file.windows(secret.len()).any(|window| window == secret), "the session's secret is in a file");
    }
    let _again = site.start();
    assert_eq!((carl.to, carl.get("/").status), (pages, 200));
}

#[test]
fn an_operator_changes_its_own_password_with_the_old_one_only() {
    let rig = Rig::start();
    let anna = rig.logged_in("anna", "read");
    let mut other = rig.client();
    other.log_in("anna", OPERATORS_PASSWORD);
    let change = |old: &str, new: &str, again: &str| {
        let fields = [("do", "password"), ("old", old), ("new", new), ("again", again)];
        anna.send("/account", "id=\"change\"", "/account", &fields)
    };
    for (old, new, again, said) in [
        ("wrong wrong wrong", "a new long password", "a new long password", "old password is wrong"),
        (OPERATORS_PASSWORD, "short", "short", "fewer than 12"),
        (OPERATORS_PASSWORD, "a new long password", "another long password", "differ"),
    ] {
        let answer = change(old, new, again);
        assert!(answer.status == 400 && answer.body.contains(said), "{}: {}", answer.status, answer.body);
    }
    assert_eq!(change(OPERATORS_PASSWORD, "a new long password", "a new long password").status, 303);
    assert_eq!((anna.get("/").status, other.get("/").status), (303, 303));
    assert_eq!(rig.client().log_in("anna", "a new long password").status, 303);
}

#[test]
fn a_trusted_proxy_names_the_operator_and_nobody_else_does() {
    let lines = "proxies = [\"127.0.0.1/32\"]\ntrusted_header = \"X-Remote-User\"";
    let rig = Rig::with(lines, "");
    let (done, said) = rig.operator(&["add", "anna@webcrm.dk", "--role", "read", "--no-password"], "");
    assert!(done, "{said}");
    let with = |headers: &[&str]| {
        let mut client = rig.client();
        client.headers = headers.iter().map(|header| (*header).to_owned()).collect();
        client
    };
    let anna = with(&["X-Remote-User: anna@webcrm.dk"]);
    let page = anna.get("/");
    assert!(page.status == 200 && page.body.contains("anna@webcrm.dk") && !page.body.contains("action=\"/logout\""));
    for headers in [
        &[][..],
        &["X-Remote-User: nobody"],
        &["X-Remote-User: Anna@webcrm.dk"],
        &["X-Remote-User: anna@webcrm.dk", "X-Remote-User: anna@webcrm.dk"],
        &["Cookie: postbud-operator=x"],
    ] {
        assert_eq!(with(headers).get("/").status, 303, "{headers:?}");
    }
    let elsewhere = Rig::with("proxies = [\"192.0.2.9/32\"]\ntrusted_header = \"X-Remote-User\"", "");
    elsewhere.operator(&["add", "anna", "--role", "admin", "--no-password"], "");
    let mut client = elsewhere.client();
    client.headers.push("X-Remote-User: anna".into());
    assert_eq!(client.get("/").status, 303, "this machine is no trusted proxy there");
}
