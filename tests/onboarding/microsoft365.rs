//! Routes that log in at Microsoft 365 with a password: the list, the administrator's lines, and the change to OAuth.

use std::fs;

use postbud::config::ServerFile;
use postbud::operate::microsoft365::Application;
use postbud::operate::{Actor, Role, Site as Commands};
use zeroize::Zeroizing;

use crate::newcomer::{Relay, Site, WORLD, err, out};
use crate::skip::skip;

const ID: &str = "01234567-89ab-cdef-0123-456789abcdef";

/// A site with a customer at Microsoft 365 and one with a server of its own.
fn site(name: &str) -> Option<Site> {
    let Some(site) = Site::new(WORLD) else {
        skip(name, "knot is not installed");
        return None;
    };
    fs::write(site.file("password"), "tanstaaftanstaaf\n").unwrap();
    for (id, host) in [("nordlys", "smtp.office365.com"), ("fjord", "mail.fjord.dk")] {
        let (domain, mailbox) = (format!("{id}.dk"), format!("crm@{id}.dk"));
        let own = [
            "--via",
            "own-server",
            "--host",
            host,
            "--port",
            "587",
            "--tls",
            "required",
            "--password-from",
            "password",
        ];
        let more = ["customer", "add", id, "--name", id, "--domain", &domain, "--username", &mailbox];
        let added = site.run(&[&more[..], &own[..]].concat(), "");
        assert!(added.status.success(), "{}", err(&added));
    }
    Some(site)
}

#[test]
fn routes_with_a_password_at_microsoft_365_are_listed_told_and_counted() {
    let Some(site) = site("routes_with_a_password_at_microsoft_365_are_listed_told_and_counted") else { return };
    let list = || site.run(&["route", "list", "--microsoft365", "--json"], "");
    let routes: Vec<serde_json::Value> = out(&list()).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(routes.len(), 1, "{routes:?}");
    assert_eq!(routes[0]["customer"], "nordlys");
    assert_eq!(routes[0]["username"], "crm@nordlys.dk");
    assert_eq!(routes[0]["state"], serde_json::Value::Null, "no relay runs");
    assert!(routes[0]["needs"].as_str().unwrap().contains("postbud route oauth nordlys"));
    let _relay = Relay::start(&site);
    let log = fs::read_to_string(site.file("relay.log")).unwrap();
    assert!(
        log.contains("Microsoft 365 switches passwords over SMTP off") && log.contains("own-server.nordlys"),
        "{log}"
    );
    let text = out(&site.run(&["route", "list", "--microsoft365"], ""));
    assert!(text.contains("nordlys") && !text.contains("fjord"), "{text}");
}

#[test]
fn the_administrators_lines_name_the_mailbox_and_what_is_wrong_is_said_before_anything_is_tried() {
    let Some(site) = site("the_administrators_lines_name_the_mailbox") else { return };
    let oauth = |more: &[&str]| site.run(&[&["route", "oauth"], more].concat(), "");
    let guide = out(&oauth(&["nordlys", "--client-id", ID]));
    assert!(guide.contains("-Identity 'crm@nordlys.dk'") && guide.contains(&format!("$id = '{ID}'")), "{guide}");
    let before = fs::read_to_string(site.file("config/customers/nordlys.toml")).unwrap();
    fs::write(site.file("secret"), "a~value\n").unwrap();
    for (more, says) in [
        (&["fjord"][..], "does not go to Microsoft 365"),
        (&["nordlys", "--tenant", "nordlys.dk", "--client-id", "crm", "--secret-from", "secret"], "no application id"),
        (&["nordlys", "--tenant", "a b", "--client-id", ID, "--secret-from", "secret"], "no tenant"),
        (&["nordlys", "--tenant", "nordlys.dk", "--client-id", ID, "--secret-from", "absent"], "cannot read absent"),
        (&["nordlys", "--tenant", "nordlys.dk", "--client-id", ID], "--secret-from"),
    ] {
        let refused = oauth(more);
        assert!(!refused.status.success() && err(&refused).contains(says), "{more:?}: {}", err(&refused));
    }
    // The name of Microsoft's server does not resolve here: the probe names that step, and nothing is changed.
    let all = ["nordlys", "--tenant", "nordlys.dk", "--client-id", ID, "--secret-from", "secret", "--switch"];
    let failed = oauth(&all);
    assert_eq!(failed.status.code(), Some(1), "{}{}", out(&failed), err(&failed));
    assert!(out(&failed).contains("FAIL") && err(&failed).contains("nothing was changed"), "{}", out(&failed));
    assert_eq!(fs::read_to_string(site.file("config/customers/nordlys.toml")).unwrap(), before);
}

#[tokio::test]
async fn a_switch_changes_the_file_the_secret_and_nothing_else() {
    let Some(site) = site("a_switch_changes_the_file_the_secret_and_nothing_else") else { return };
    let commands = || {
        let files = ServerFile { path: site.file("config/postbud.toml") };
        Commands::open(&files).unwrap()
    };
    let application =
        Application { tenant: "nordlys.dk".into(), client_id: ID.into(), secret: Zeroizing::new("a~value".into()) };
    let admin = Actor::new("anna", Role::Admin);
    let reader = Actor::new("bo", Role::Read);
    assert!(commands().switch_to_oauth(&reader, "nordlys", &application).is_err());
    let written = commands().switch_to_oauth(&admin, "nordlys", &application).unwrap();
    assert_eq!(written.len(), 2, "{written:?}");
    let file = fs::read_to_string(site.file("config/customers/nordlys.toml")).unwrap();
    assert!(file.contains("# password_file") && file.contains("[route.oauth]") && file.contains(ID), "{file}");
    assert_eq!(fs::read_to_string(site.file("config/secrets/nordlys.oauth")).unwrap(), "a~value\n");
    assert_eq!(commands().microsoft365(&admin).await.unwrap(), []);
    let again = commands().switch_to_oauth(&admin, "nordlys", &application).unwrap_err();
    assert!(again.to_string().contains("by hand"), "{again}");
    let notes = fs::read_dir(site.file("state/audit")).unwrap();
    let notes: Vec<String> = notes.map(|it| fs::read_to_string(it.unwrap().path()).unwrap()).collect();
    assert!(notes.iter().any(|note| note.contains("route.login") && !note.contains("a~value")), "{notes:?}");
}
