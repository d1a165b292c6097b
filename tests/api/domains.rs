//! Checks of domains, what DMARC reports tell, and probes over HTTP: the answers of a world in which something is found.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::rig::Rig;
use crate::rotation::{Published, dns};
use crate::support::capture::Capture;
use crate::suppression::mend_route;

const DAY: u64 = 86_400;

fn names<'a>(list: &'a Value, field: &str) -> Vec<&'a str> {
    list.as_array().unwrap().iter().map(|it| it[field].as_str().unwrap()).collect()
}

/// The outcome of the only domain, and the severity of one of its checks.
fn outcome<'a>(job: &'a Value, item: &str) -> (&'a str, &'a str) {
    assert_eq!((&job["kind"], &job["state"]), (&json!("domain-check"), &json!("done")), "{job}");
    let check = &job["result"]["check"];
    assert_eq!(check["unkept"], json!([]), "{job}");
    let reports = check["reports"].as_array().unwrap();
    assert_eq!((reports.len(), &reports[0]["domain"]), (1, &json!("anna.example")), "{job}");
    let checks = reports[0]["checks"].as_array().unwrap();
    let check = checks.iter().find(|it| it["item"] == item).unwrap_or_else(|| panic!("no {item}: {job}"));
    (reports[0]["outcome"].as_str().unwrap(), check["severity"].as_str().unwrap())
}

#[test]
fn a_check_says_what_is_published_and_the_domain_keeps_verdicts_and_history() {
    let published = Published::default();
    let dns = dns(&published);
    let rig = Rig::asking(dns.address, "");
    let operator = rig.client("operate");
    let check = |body: &str| operator.job("/domains/anna.example/check", body);
    // A customer's own server may sign with a key of its own, so ours is a recommendation.
    assert_eq!(outcome(&check("{}"), "dkim"), ("recommendations", "fault"));
    let told = rig.site.wait_for_event("the audit", |event| event["command"] == "domain.check");
    assert_eq!((&told["customer"], &told["peer"]), (&json!("anna"), &json!("127.0.0.1")), "{told}");
    assert!(told["actor"].as_str().unwrap().starts_with("token operate-"), "{told}");
    let before = operator.read("/domains/anna.example");
    assert!(before["last_checked"].is_string() && before["next_check"].is_string(), "{before}");
    let dkim = |view: &Value| {
        let all = view["requirements"].as_array().unwrap();
        all.iter().find(|it| it["requirement"] == "dkim").unwrap_or_else(|| panic!("{view}")).clone()
    };
    assert_eq!(dkim(&before)["verified"], false, "{before}");
    assert!(!dkim(&before)["faults"].as_array().unwrap().is_empty(), "{before}");

    // What the records say is published as it stands there.
    let records = operator.read("/domains/anna.example/records?lang=en");
    assert_eq!(records["done"], false, "{records}");
    for record in records["records"].as_array().unwrap() {
        assert_eq!(record["type"], "TXT", "{record}");
        let host = record["host"].as_str().unwrap().trim_end_matches('.').to_owned();
        published.lock().unwrap().insert(host, record["value"].as_str().unwrap().to_owned());
    }
    let good = check("{}");
    assert_eq!(outcome(&good, "dkim").1, "good", "{good}");
    assert_eq!(operator.read("/domains/anna.example/records")["done"], true);
    let view = operator.read("/domains/anna.example");
    assert_eq!(dkim(&view)["verified"], true, "{view}");
    assert_eq!(dkim(&view)["faults"], json!([]), "{view}");
    let verified = operator.read("/domains?customer=anna")["items"][0]["verified"].clone();
    assert!(verified.as_array().unwrap().contains(&json!("dkim")), "{verified}");
    let changes = |view: &Value| {
        let all = view["history"].as_array().unwrap();
        let of_dkim = all.iter().filter(|change| change["requirement"] == "dkim");
        of_dkim.map(|change| change["change"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(changes(&view), ["verified"], "{view}");

    // A record that vanishes counts for a while, and the history has it.
    let key = published.lock().unwrap().remove("postbud1._domainkey.anna.example").expect("it was published");
    let danish = check(r#"{"lang":"da"}"#);
    assert_eq!(outcome(&danish, "dkim"), ("recommendations", "fault"));
    let view = operator.read("/domains/anna.example");
    assert!(dkim(&view)["verified"] == true && dkim(&view)["vanished"].is_string(), "{view}");
    assert_eq!(changes(&view), ["verified", "vanished"], "{view}");
    let english = check(r#"{"lang":"en"}"#);
    let texts = |job: &Value| job["result"]["check"]["reports"][0]["checks"].to_string();
    assert_ne!(texts(&danish), texts(&english));
    published.lock().unwrap().insert("postbud1._domainkey.anna.example".to_owned(), key);
    assert_eq!(outcome(&check("{}"), "dkim").1, "good");
    assert_eq!(changes(&operator.read("/domains/anna.example")), ["verified", "vanished", "returned"]);
}

/// A report on yesterday: 100 messages that pass by the customer's own key, and 5 that fail.
fn report() -> String {
    let today = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / DAY;
    let begins = (today - 1) * DAY;
    let record = |ip: &str, count: u64, selector: &str, result: &str| {
        format!(
            "<record><row><source_ip>{ip}</source_ip><count>{count}</count><policy_evaluated><disposition>none</disposition>\
             <dkim>{result}</dkim><spf>fail</spf></policy_evaluated></row><identifiers><header_from>anna.example</header_from>\
             </identifiers><auth_results><dkim><domain>anna.example</domain><selector>{selector}</selector><result>{result}</result>\
             </dkim></auth_results></record>"
        )
    };
    format!(
        "<?xml version=\"1.0\"?><feedback><report_metadata><org_name>google.com</org_name><report_id>1</report_id><date_range>\
         <begin>{begins}</begin><end>{}</end></date_range></report_metadata><policy_published><domain>anna.example</domain><p>none</p>\
         </policy_published>{}{}</feedback>",
        begins + DAY - 1,
        record("127.0.0.1", 100, "postbud1", "pass"),
        record("198.51.100.9", 5, "other", "fail")
    )
}

#[test]
fn what_dmarc_reports_tell_is_said_to_whoever_may_see_the_customer() {
    let published = Published::default();
    published.lock().unwrap().insert("_dmarc.anna.example".to_owned(), "v=DMARC1; p=none".to_owned());
    let dns = dns(&published);
    let rig = Rig::asking(dns.address, "[returns.dmarc]\naddress = \"dmarc@reports.example\"\n");
    fs::write(rig.site.path("report.xml"), report()).unwrap();
    let imported = rig.site.operate(&["dmarc", "import", rig.site.path("report.xml").to_str().unwrap()]);
    assert!(imported.status.success(), "{imported:?}");
    let anna = rig.client_of("customer", &["anna"]);
    // On a busy machine the answer about the published policy may come too late once.
    let told = anna.until("/customers/anna/dmarc?domain=anna.example&days=7&lang=en", |told| {
        told["domains"][0]["policy"]["verdict"] != "unknown"
    });
    assert_eq!(told["domains"].as_array().map(Vec::len), Some(1), "{told}");
    let domain = &told["domains"][0];
    assert_eq!((&domain["domain"], &domain["reports"]), (&json!("anna.example"), &json!(1)), "{told}");
    assert_eq!((&domain["all"]["messages"], &domain["ours"]["messages"]), (&json!(105), &json!(100)), "{told}");
    let policy = &domain["policy"];
    assert_eq!((&policy["stage"], &policy["verdict"]), (&json!("none"), &json!("not-yet")), "{told}");
    assert!(!policy["reasons"].as_array().unwrap().is_empty() && policy["text"].is_string(), "{told}");
    let danish = anna.read("/customers/anna/dmarc?lang=da");
    assert_ne!(danish["domains"][0]["policy"]["text"], policy["text"]);
    for path in ["/customers/anna/dmarc?days=0", "/customers/anna/dmarc?days=401", "/customers/anna/dmarc?dys=7"] {
        anna.get(path).is_problem("invalid");
    }
    anna.get("/customers/anna/dmarc?domain=bo.example").is_problem("not-found");
    let drawn = anna.get("/customers/anna/dmarc.svg?days=7&lang=da");
    assert_eq!((drawn.status, drawn.header("content-type")), (200, Some("image/svg+xml")), "{drawn:?}");
    assert!(drawn.body.starts_with("<svg") && !drawn.body.contains("<script"), "{drawn:?}");
    let bo = rig.client_of("customer", &["bo"]);
    for path in ["/customers/anna/dmarc", "/customers/anna/dmarc.svg"] {
        let bo = bo.get(path);
        assert!([403, 404].contains(&bo.status) && !bo.body.contains("105"), "{bo:?}");
    }
}

#[test]
fn a_probe_says_step_by_step_whether_mail_can_be_delivered_and_sends_none() {
    let rig = Rig::start();
    let server = Capture::start();
    mend_route(&rig.client("admin"), &server);
    // A customer probes its own route.
    let anna = rig.client_of("customer", &["anna"]);
    let job = anna.job("/customers/anna/probe", r#"{"from":"ole@anna.example","to":"x@example.com"}"#);
    assert_eq!(
        (&job["kind"], &job["state"], &job["customer"]),
        (&json!("probe"), &json!("done"), &json!("anna")),
        "{job}"
    );
    let reports = job["result"]["probe"].as_array().unwrap();
    assert_eq!(reports.len(), 1, "{job}");
    let report = &reports[0];
    assert_eq!((&report["route"], &report["server"]), (&json!("own-server.anna"), &json!(server.address.to_string())));
    assert_ne!(report["verdict"], "failed", "{job}");
    let steps = names(&report["steps"], "step");
    for step in ["connect", "greeting", "hello", "MAIL", "RCPT", "RSET"] {
        assert!(steps.contains(&step), "{step}: {job}");
    }
    let of = |step: &str| report["steps"].as_array().unwrap().iter().find(|it| it["step"] == step).unwrap();
    assert!(of("RCPT")["found"].as_str().unwrap().starts_with("RCPT TO:<x@example.com>: 250"), "{job}");
    assert!(server.received().is_empty(), "no mail is sent");
    let told = rig.site.wait_for_event("the audit", |event| event["command"] == "customer.probe");
    assert_eq!((&told["customer"], &told["peer"]), (&json!("anna"), &json!("127.0.0.1")), "{told}");
    assert!(told["actor"].as_str().unwrap().starts_with("token customer-"), "{told}");
    assert!(told["detail"].as_str().unwrap().contains("<ole@anna.example>"), "{told}");

    // Nobody listens at bo's server, and the failed step says so.
    let job = rig.client("operate").job("/customers/bo/probe", "{}");
    let report = &job["result"]["probe"][0];
    let last = report["steps"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&report["verdict"], &last["step"], &last["finding"]),
        (&json!("failed"), &json!("connect"), &json!("failed")),
        "{job}"
    );
    assert_eq!(
        rig.site.wait_for_event("bo's", |event| event["command"] == "customer.probe" && event["customer"] == "bo")["peer"],
        "127.0.0.1"
    );
    // The command line probes and checks under its own name. The relay reads its notes every few seconds.
    rig.site.operate(&["probe", "bo"]);
    rig.site.operate(&["domain", "check", "bo"]);
    for command in ["customer.probe", "domain.check"] {
        let by_a_user = |event: &Value| event["actor"].as_str().is_some_and(|actor| actor.starts_with("uid "));
        let told = rig.site.wait_for_event(command, |event| event["command"] == command && by_a_user(event));
        assert_eq!((&told["customer"], &told["peer"]), (&json!("bo"), &Value::Null), "{told}");
    }
}
