//! Routes that have to be changed before somebody else switches something off, and a test mail over one that works.

use crate::rig::Rig;
use crate::support::relay::Customer;
use crate::support::script::{Server, Step, hear, say, takes_one};

#[test]
fn routes_with_a_password_at_microsoft_365_are_listed_with_what_each_needs() {
    let rig = Rig::start();
    let anna = rig.logged_in("anna", "read");
    assert!(!anna.get("/routes").body.contains("Microsoft 365"));
    let none = anna.get("/routes/microsoft365");
    assert!(none.body.contains("No route logs in there with a password."), "{}", none.body);
    std::fs::write(rig.site.path("config/customer.secret"), "a password\n").unwrap();
    let route = "via = \"own-server\"\nhost = \"smtp.office365.com\"\nport = 587\ntls = \"required\"\nusername = \"crm@carl.example\"\n\
                 password_file = \"../customer.secret\"\n";
    rig.site.add(&Customer { id: "carl", domain: "carl.example", route: route.to_owned() });
    rig.relay.signal("HUP");
    rig.site
        .wait_for_event("the reload", |event| event["event"] == "alert" && event.to_string().contains("Microsoft 365"));
    let routes = anna.get("/routes");
    assert!(routes.body.contains("1 route logs in at Microsoft 365 with a password"), "{}", routes.body);
    let listed = anna.get("/routes/microsoft365");
    for wanted in
        ["crm@carl.example", "smtp.office365.com:587", "/customers/carl", "postbud route oauth carl", "Nothing so far"]
    {
        assert!(listed.body.contains(wanted), "{wanted}: {}", listed.body);
    }
    assert!(!listed.body.contains("/customers/bo"), "{}", listed.body);
}

#[test]
fn a_customers_own_key_at_mailjet_is_shown_with_its_caps() {
    let tier = "[mailjet.starter]\nhost = \"127.0.0.1\"\nport = 9\ntls = \"off\"\nallow_plaintext_auth = true\napi = \"off\"\nusername = \"key\"\n\
                password_command = [\"/bin/echo\", \"secret\"]\n";
    let rig = Rig::with("", tier);
    let login = tier.lines().skip(1).fold(String::new(), |all, line| all + line + "\n");
    let own = format!(
        "via = \"mailjet\"\nmailjet_account = \"own\"\n{login}[route.limits]\nper_minute = 1200\nper_day = 25000\n"
    );
    rig.site.add(&Customer { id: "carl", domain: "carl.example", route: own });
    rig.site.add(&Customer { id: "dora", domain: "dora.example", route: "via = \"mailjet\"\n".to_owned() });
    rig.relay.signal("HUP");
    let anna = rig.logged_in("anna", "read");
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !anna.get("/routes").body.contains("mailjet-own.carl") {
        assert!(std::time::Instant::now() < until, "{}", anna.get("/routes").body);
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let customer = anna.get("/customers/carl").body;
    for wanted in
        ["with an API key of its own", "/routes/mailjet-own.carl", "1 200 messages a minute", "25 000 recipients a day"]
    {
        assert!(customer.replace('\u{202f}', " ").contains(wanted), "{wanted}: {customer}");
    }
    let route = anna.get("/routes/mailjet-own.carl").body;
    assert!(route.contains("/customers/carl") && route.replace('\u{202f}', " ").contains("25 000"), "{route}");
    let of_tier = anna.get("/customers/dora").body;
    assert!(!of_tier.contains("Caps") && !of_tier.contains("API key of its own"), "{of_tier}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sends_a_test_mail() {
    let rig = Rig::start();
    let mut script = vec![say("220 mail.anna.example ESMTP"), hear("EHLO"), say("250 mail.anna.example")];
    script.extend(takes_one());
    let takes = || -> Vec<Step> { script.clone() };
    let _server = Server::start_at(rig.server_of_anna, vec![takes(), takes()]).await;
    let bo = rig.logged_in("bo", "operate");
    let fields = [("do", "test"), ("to", "no address")];
    let refused = bo.send("/customers/anna", "id=\"test\"", "/customers/anna", &fields);
    assert_eq!(refused.status, 400, "{}", refused.body);
    let fields = [("do", "test"), ("to", "ole@x.example")];
    let begun = bo.send("/customers/anna", "id=\"test\"", "/customers/anna", &fields);
    assert_eq!(begun.status, 303, "{}", begun.body);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let page = bo.get(begun.field("location"));
        if page.body.contains("badge good") && page.body.contains("relayed") {
            assert!(page.body.contains("own-server.anna"), "{}", page.body);
            break;
        }
        assert!(std::time::Instant::now() < until, "{}", page.body);
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    let reader = rig.logged_in("carl", "read");
    assert!(!reader.get("/customers/anna").body.contains("id=\"test\""), "a reader has no such form");
}
