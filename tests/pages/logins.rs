//! Logins at a customer's own server, entered on the page: a wrong password and then the right one, and OAuth at Microsoft 365.

use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use crate::mail_server::{mail_server, proxy, token_endpoint};
use crate::rig::{Rig, Setup};
use crate::support::browser::{self, Browser};
use crate::support::certs::Authority;

const APPLICATION: &str = "01234567-89ab-cdef-0123-456789abcdef";

/// The file below `config/` with this key's value in the customer's file holds the secret, and nobody else may read it.
fn is_kept(rig: &Rig, key: &str, secret: &str) {
    let text = std::fs::read_to_string(rig.site.customer_file("test-as")).unwrap();
    let named = text.lines().find_map(|line| line.strip_prefix(key)?.trim().strip_prefix("= \"")?.split('"').next());
    let named = named.unwrap_or_else(|| panic!("no {key}: {text}"));
    let file = rig.site.customer_file("test-as").parent().unwrap().join(named);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("{secret}\n"), "{}", file.display());
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{}", file.display());
}

/// Sends a form until it is tried: a customer's server is tried every ten seconds at most.
fn try_it(browser: &Browser, fill: impl Fn(), button: &str) {
    browser.wait("a trial", || {
        fill();
        // What the page says of the trial before this one must not be taken for what it says of this one.
        browser.run("document.querySelectorAll('#trial').forEach(it => it.remove())");
        browser.click(button);
        browser.find("#trial");
        if browser.text().contains("I har lige prøvet.") {
            std::thread::sleep(std::time::Duration::from_secs(2));
            return None;
        }
        Some(())
    });
}

#[test]
fn a_wrong_password_is_named_and_the_right_one_puts_the_server_to_use() {
    let authority = Authority::new();
    let setup =
        Setup { others: "smtp.test.example. 60 IN A 127.0.0.1\n", authority: Some(&authority.pem), ..Setup::default() };
    let rig = Rig::with(&setup);
    let usual = browser::Setup::default();
    let Some(browser) = rig.browser("a_wrong_password_is_named_and_the_right_one_puts_the_server_to_use", usual) else {
        return;
    };
    let accepted = Arc::new(Mutex::new("\0crm@test.dk\0det rigtige".to_owned()));
    let server = mail_server(&authority.issue(&["smtp.test.example"]), &accepted);
    browser.go(&rig.link("test-as", &[]));
    browser.find("#server");
    browser.click("#server details summary");
    browser.is_walked_through_by_keyboard("the form of an own server");
    let fill = |password: &str| {
        browser.fill("#host", "smtp.test.example");
        browser.fill("#port", &server.port().to_string());
        browser.fill("#username", "crm@test.dk");
        browser.fill("#password", password);
        if browser.property(&browser.find("#confirm"), "checked") == false {
            browser.click("#confirm");
        }
    };
    try_it(&browser, || fill("det forkerte"), "form[action$=server] button");
    let page = browser.text();
    for wanted in ["kan ikke bruges endnu. Intet er ændret", "webCRM logger ind", "Gik galt", "535 5.7.3"] {
        assert!(page.contains(wanted), "{wanted}: {page}");
    }
    browser.is_sound("a wrong password");
    assert_eq!(browser.property(&browser.find("#username"), "value"), "crm@test.dk", "what was typed is still there");
    assert_eq!(browser.property(&browser.find("#password"), "value"), "", "and the password is not");
    let file = || std::fs::read_to_string(rig.site.customer_file("test-as")).unwrap();
    assert!(file().contains("via = \"mailjet\""), "{}", file());
    let secrets = || std::fs::read_dir(rig.site.path("config/secrets")).map_or(0, Iterator::count);
    assert_eq!(secrets(), 0, "a password that does not work is not kept");

    try_it(&browser, || fill("det rigtige"), "form[action$=server] button");
    browser.wait_for_text(&format!("smtp.test.example:{} virker og bliver brugt fra nu af", server.port()));
    browser.find("#spf");
    browser.is_sound("the right password");
    assert!(file().contains("via = \"own-server\"") && file().contains("username = \"crm@test.dk\""), "{}", file());
    is_kept(&rig, "password_file", "det rigtige");
    for secret in ["det rigtige", "det forkerte"] {
        assert!(!browser.source().contains(secret) && !file().contains(secret) && !rig.relay.log().contains(secret));
    }
    assert!(browser.all("main b, main script").is_empty(), "what the server says is no markup");
}

#[test]
fn oauth_at_microsoft_365_is_tried_step_by_step_and_takes_the_passwords_place() {
    let authority = Authority::new();
    let accepted = Arc::new(Mutex::new("nothing yet".to_owned()));
    let server = mail_server(&authority.issue(&["smtp.office365.com"]), &accepted);
    let tokens = token_endpoint(&authority.issue(&["login.microsoftonline.com"]), "the~Value.of-it", "a.good.token");
    let proxy = proxy(vec![("login.microsoftonline.com", tokens), ("smtp.office365.com", server)]);
    let setup = Setup {
        others: "smtp.office365.com. 60 IN A 192.0.2.25\n",
        authority: Some(&authority.pem),
        proxy: Some(proxy),
        route: Some(
            "via = \"own-server\"\nhost = \"smtp.office365.com\"\nport = 587\ntls = \"required\"\nusername = \"crm@test.dk\"\n\
             password_file = \"../customer.secret\"\n",
        ),
        ..Setup::default()
    };
    let rig = Rig::with(&setup);
    let usual = browser::Setup::default();
    let Some(browser) = rig.browser("oauth_at_microsoft_365_is_tried_step_by_step", usual) else { return };
    browser.go(&rig.link("test-as", &[]));
    browser.find("#server");
    browser.click("#oauth summary");
    let lines = || browser.run("return document.getElementById('oauth-lines').textContent");
    let lines = || lines().as_str().unwrap().to_owned();
    assert!(lines().contains("-Identity 'crm@test.dk'") && lines().contains("New-ServicePrincipal"), "{}", lines());
    browser.is_sound("OAuth");
    let fill = |secret: &str| {
        browser.fill("#tenant", "test.dk");
        browser.fill("#client", APPLICATION);
        browser.fill("#secret", secret);
    };
    let button = "form[action$=oauth] button";

    // The commonest mistake: the secret's id for its value.
    try_it(&browser, || fill("89abcdef-0123-4567-89ab-cdef01234567"), button);
    browser.wait_for_text("ikke Secret ID");
    browser.is_sound("a secret's id");
    // The next one: a secret that is none.
    try_it(&browser, || fill("another~Value"), button);
    let page = browser.text();
    for wanted in ["kan ikke bruges endnu", "Adgang hentes hos Microsoft", "Gik galt", "AADSTS7000215"] {
        assert!(page.contains(wanted), "{wanted}: {page}");
    }
    assert_eq!(browser.property(&browser.find("#tenant"), "value"), "test.dk", "what was typed is still there");
    assert!(lines().starts_with(&format!("$id = '{APPLICATION}'\n")), "the lines are made for it: {}", lines());
    browser.is_sound("the token is refused");
    // A token, but the mailbox does not know the application.
    try_it(&browser, || fill("the~Value.of-it"), button);
    let page = browser.text();
    for wanted in ["kan ikke bruges endnu", "webCRM logger ind", "535 5.7.3"] {
        assert!(page.contains(wanted), "{wanted}: {page}");
    }
    browser.is_sound("the login is refused");
    let file = || std::fs::read_to_string(rig.site.customer_file("test-as")).unwrap();
    assert!(!file().contains("[route.oauth]"), "{}", file());

    "auth=Bearer a.good.token\u{1}".clone_into(&mut accepted.lock().unwrap());
    try_it(&browser, || fill("the~Value.of-it"), button);
    browser.wait_for_text("smtp.office365.com:587 virker og bliver brugt fra nu af");
    browser.find("#spf");
    browser.is_sound("OAuth works");
    assert!(browser.all("#oauth").is_empty(), "there is nothing left to do");
    assert!(file().contains("[route.oauth]") && file().contains("# password_file"), "{}", file());
    is_kept(&rig, "client_secret_file", "the~Value.of-it");
    assert!(rig.site.path("config/secrets/test-as.oauth").exists(), "under the name that the guide gives it");
    for secret in ["the~Value.of-it", "a.good.token"] {
        assert!(!browser.source().contains(secret) && !file().contains(secret) && !rig.relay.log().contains(secret));
    }
    rig.site.wait_for_event("the alert about the password ends", |event| {
        event["subject"] == "passwords-at-microsoft365" && event["cured"] == true
    });
    let left = rig.site.operate(&["route", "list", "--microsoft365", "--json"]);
    assert!(left.status.success() && left.stdout.is_empty(), "{}", String::from_utf8_lossy(&left.stdout));
}
