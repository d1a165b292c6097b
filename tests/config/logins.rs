//! Logins of routes: the mechanism that `auth` names, and the place that advice names.

use std::fs;
use std::sync::Arc;

use postbud::config::load;
use postbud::customers::Via;
use postbud::message::CustomerId;
use postbud::route::{Login, Route};
use postbud::smtp::Mechanism;

use super::scratch::Scratch;

const CUSTOMER: &str = "config/customers/egen-server.toml";

/// The logins of the customer with an own server and of a Mailjet tier, with the customer's file changed so.
fn logins(edits: &[(&str, &str)]) -> (Login, Login) {
    let scratch = Scratch::new();
    let mut file = fs::read_to_string(scratch.path(CUSTOMER)).expect("the example");
    for (from, to) in edits {
        assert!(file.contains(from), "{from}");
        file = file.replace(from, to);
    }
    scratch.write(CUSTOMER, &file);
    scratch.write_secret("config/secrets/egenserver.oauth", "geheim\n");
    let loaded = load(&scratch.path("config/postbud.toml")).map_err(|e| e.to_string()).expect("it starts");
    let directory = &loaded.settings.directory;
    let customer = directory.get(&CustomerId::new("egen-server")).expect("the customer");
    let login = |route: &Arc<Route>| {
        let mut login = route.login.clone().expect("a login");
        login.stands_in = login.stands_in.replace(&scratch.path("").display().to_string(), "");
        login
    };
    let Via::OwnServer(own) = &customer.via else { panic!("{:?}", customer.via) };
    (login(own), login(&directory.tiers()["trusted"].route))
}

#[test]
fn auth_names_the_only_mechanism() {
    assert_eq!(logins(&[]).0.mechanism, None);
    for (word, mechanism) in
        [("plain", Mechanism::Plain), ("login", Mechanism::Login), ("cram-md5", Mechanism::CramMd5)]
    {
        let named = format!("auth = \"{word}\"\nusername =");
        assert_eq!(logins(&[("username =", &named)]).0.mechanism, Some(mechanism));
    }
}

#[test]
fn the_place_of_a_login_names_its_keys_their_files_and_the_table() {
    let (own, tier) = logins(&[]);
    let folder = "config/customers/../secrets";
    assert_eq!(
        own.stands_in,
        format!("username and password_file ({folder}/egenserver.password) in [route] of {CUSTOMER}")
    );
    assert_eq!(
        tier.stands_in,
        "username_file (config/secrets/mailjet-trusted.key) and password_file (config/secrets/mailjet-trusted.secret) in \
         [mailjet.trusted] of config/postbud.toml"
    );
    let oauth = "[route.oauth]\ntoken_url = \"https://login.test/token\"\nclient_id = \"app\"\n\
                 client_secret_file = \"../secrets/egenserver.oauth\"\n[route.limits]\n";
    let edits =
        [("password_file = \"../secrets/egenserver.password\"", "auth = \"xoauth2\""), ("[route.limits]\n", oauth)];
    let (own, _) = logins(&edits);
    assert_eq!(own.mechanism, Some(Mechanism::Xoauth2));
    assert_eq!(
        own.stands_in,
        format!(
            "username in [route] of {CUSTOMER}, or client_id, scope, token_url or client_secret_file \
             ({folder}/egenserver.oauth) in [route.oauth]"
        )
    );
}
