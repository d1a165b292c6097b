//! What the page advises, by the way that a customer's mail goes: how its mail server lets our address in, and mail to its own people.

use crate::rig::{Rig, Setup, path};
use crate::support::relay::{free_port, plain_route};
use crate::support::skip::skip;

/// The page in a language, once its domain was looked at.
fn page(rig: &Rig, language: &str) -> String {
    let link = rig.link("test-as", &["--language", language]);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let page = rig.get(&format!("{}/test.dk", path(&link)), "");
        if page.contains("id=\"internal\"") {
            return page;
        }
        assert!(std::time::Instant::now() < until, "{page}");
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
}

/// The text of a section of the page.
fn section<'a>(page: &'a str, id: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("id=\"{id}\"")).unwrap_or_else(|| panic!("no {id}: {page}"));
    rest.split("</section>").next().unwrap()
}

#[test]
fn each_mail_server_is_told_how_to_let_our_address_in() {
    let server = free_port();
    let own = plain_route(server);
    let setup = Setup { egress: "40.74.40.57", route: Some(&own), ..Setup::default() };
    let rig = Rig::with(&setup);
    if rig.knot.is_none() {
        return skip("each_mail_server_is_told_how_to_let_our_address_in", "no knot: install the package");
    }
    for (language, title, internal) in [
        ("da", "Sådan tillader I webCRM's adresse 40.74.40.57 på jeres mailserver", "kommer udefra, fra 40.74.40.57"),
        ("en", "How to allow webCRM's address 40.74.40.57 on your mail server", "comes from 40.74.40.57, from outside"),
    ] {
        let page = page(&rig, language);
        let server = section(&page, "server");
        assert!(server.contains(title), "{server}");
        let told: Vec<&str> = server.split("<h3>").skip(1).collect();
        for (system, wanted) in [
            ("Microsoft 365", "mail.protection.outlook.com"),
            ("Exchange", "Receive connector"),
            ("Google", "smtp-relay.gmail.com"),
            ("Postfix", "40.74.40.57/32"),
        ] {
            let steps = told.iter().find(|it| it.starts_with(system)).unwrap_or_else(|| panic!("{system}: {server}"));
            assert!(steps.contains("40.74.40.57") && steps.contains(wanted), "{language}, {system}: {steps}");
        }
        let advice = section(&page, "internal");
        assert!(advice.contains(internal), "{advice}");
        // Its MX is no big provider's, so its own people see to it.
        assert!(advice.contains("mynetworks") && !advice.contains("Mailjet"), "{advice}");
    }
}

#[test]
fn mail_to_their_own_people_comes_from_mailjet_where_mailjet_sends_it() {
    let rig = Rig::with(&Setup { egress: "40.74.40.57", ..Setup::default() });
    if rig.knot.is_none() {
        return skip("mail_to_their_own_people_comes_from_mailjet", "no knot: install the package");
    }
    for (language, wanted) in [
        ("da", "kommer udefra, fra Mailjets adresser, med test.dk som afsender"),
        ("en", "comes from outside, from Mailjet's addresses, in the name of test.dk"),
    ] {
        let page = page(&rig, language);
        let advice = section(&page, "internal");
        assert!(advice.contains(wanted) && advice.contains("spf.webcrm.com"), "{advice}");
        assert!(!advice.contains("40.74.40.57"), "our address sends nothing of it: {advice}");
    }
}

#[test]
fn a_customer_sees_how_much_its_own_key_at_mailjet_carries() {
    let own = "via = \"mailjet\"\nmailjet_account = \"own\"\nhost = \"127.0.0.1\"\nport = 9\ntls = \"off\"\nallow_plaintext_auth = true\napi = \"off\"\n\
               username = \"key\"\npassword_file = \"../mailjet.secret\"\n[route.limits]\nper_minute = 1200\nper_day = 25000\n";
    let rig = Rig::with(&Setup { route: Some(own), ..Setup::default() });
    if rig.knot.is_none() {
        return skip("a_customer_sees_how_much_its_own_key_at_mailjet_carries", "no knot: install the package");
    }
    for (language, key, caps) in [
        ("da", "jeres egen nøgle hos Mailjet", "højst sendt 1.200 mails i minuttet og til 25.000 modtagere om dagen"),
        ("en", "a key of your own at Mailjet", "At most 1,200 messages a minute and 25,000 recipients a day"),
    ] {
        let page = page(&rig, language);
        let server = section(&page, "server");
        assert!(server.contains(key) && server.contains(caps), "{language}: {server}");
    }
}
