use std::fs;

use postbud::config::{Loaded, load};

use super::scratch::Scratch;

fn changed(edits: &[(&str, &str)]) -> Vec<String> {
    let scratch = Scratch::new();
    let path = scratch.path("config/postbud.toml");
    let loaded = |what: &str| -> Loaded { load(&path).map_err(|e| e.to_string()).expect(what) };
    let before = loaded("the example");
    let mut text = fs::read_to_string(&path).expect("the example");
    for (from, to) in edits {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    fs::write(&path, text).expect("written");
    before.keys.needs_restart(&loaded("the edited example").keys)
}

#[test]
fn keys_that_need_a_restart_are_named() {
    let edits = [
        ("127.0.0.1:2525", "127.0.0.1:2526"),
        ("bind = \"10.0.0.4\"", "bind = \"10.0.0.5\""),
        ("min_free = \"1 GiB\"", "min_free = \"2 GiB\""),
        ("[web]\naddress = \"127.0.0.1:8025\"", ""),
        ("# signer_threads = 0", "signer_threads = 2"),
        ("# bulk_requires = [\"spf\"]", "bulk_requires = [\"dkim\"]"),
    ];
    let expected = [
        "egress.bind",
        "listener[0].address",
        "onboarding.bulk_requires",
        "signer_threads",
        "spool.min_free",
        "web.address",
    ];
    assert_eq!(changed(&edits), expected);
}

#[test]
fn submitters_tiers_signing_and_customers_need_no_restart() {
    let edits = [
        ("username = \"webcrm\"", "username = \"webcrm2\""),
        ("requires = [\"ownership\", \"spf\", \"dkim\"]", "requires = [\"spf\"]"),
        ("# expires = \"14d\"", "expires = \"14d\""),
        ("# bulk = \"warn\"", "bulk = \"refuse\""),
        ("# check_every = \"6h\"", "check_every = \"3h\""),
        ("# bounces = \"event\"", "bounces = \"mail\""),
    ];
    assert_eq!(changed(&edits), Vec::<String>::new());
}

#[test]
fn comments_and_spaces_change_nothing() {
    assert_eq!(
        changed(&[("# Our name", "#  our name"), ("factor = 2.0", "factor   =   2.0  # twice")]),
        Vec::<String>::new()
    );
}

/// What is named after the contents of `file` changed, with `edits` in the server file from the start.
fn changed_file(edits: &[(&str, &str)], file: &str, content: &str) -> Vec<String> {
    let scratch = Scratch::new();
    let path = scratch.path("config/postbud.toml");
    let mut text = fs::read_to_string(&path).expect("the example");
    for (from, to) in edits {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    fs::write(&path, text).expect("written");
    scratch.write_secret("config/secrets/webhook", "0123456789abcdef0123456789abcdef\n");
    scratch.write_secret("config/secrets/proxy", "one\n");
    scratch.write_secret("config/secrets/bounces", "one\n");
    let before = load(&path).map_err(|e| e.to_string()).expect("the edited example");
    scratch.write_secret(file, content);
    let after = load(&path).map_err(|e| e.to_string()).expect("with the other content");
    before.keys.needs_restart(&after.keys)
}

#[test]
fn a_file_that_holds_another_secret_is_named_where_a_reload_does_not_take_it() {
    let proxy = [(
        "bind = \"10.0.0.4\"",
        "proxy = \"socks5://127.0.0.1:1080\"\nproxy_username = \"u\"\nproxy_password_file = \"secrets/proxy\"\n#",
    )];
    assert_eq!(
        changed_file(&proxy, "config/secrets/proxy", "two\n"),
        ["egress.proxy_password_file (what the file holds)"]
    );
    assert_eq!(changed_file(&proxy, "config/secrets/proxy", "one\n"), Vec::<String>::new());
    let bounces = [(
        "# [bounce_mail.route]",
        "[bounce_mail.route]\nhost = \"bounces.webcrm.com\"\nusername = \"u\"\npassword_file = \"secrets/bounces\"\n#",
    )];
    let named = changed_file(&bounces, "config/secrets/bounces", "two\n");
    assert_eq!(named, ["bounce_mail.route.password_file (what the file holds)"]);
}

/// A server file in which every server and a route have certificates of their own, in `certs/`.
fn with_certificates_everywhere(scratch: &Scratch) -> String {
    let pair = |name: &str| {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        scratch.write(&format!("certs/{name}.pem"), &made.cert.pem());
        scratch.write_secret(&format!("certs/{name}.key"), &made.signing_key.serialize_pem());
        format!("certificate = \"../certs/{name}.pem\"\nprivate_key = \"../certs/{name}.key\"\n")
    };
    pair("server");
    scratch.write_secret("config/secrets/events", "0123456789abcdef0123456789abcdef\n");
    let mut text = fs::read_to_string(scratch.path("config/postbud.toml")).expect("the example");
    for (table, keys) in [
        ("api", "tls = \"implicit\"\n"),
        ("pages.customers", "tls = \"implicit\"\nurl = \"https://mail.webcrm.com\"\n"),
        ("pages.operators", "tls = \"implicit\"\nurl = \"https://post.webcrm.com\"\n"),
        ("returns", "domain = \"returns.webcrm.com\"\nlisten = \"127.0.0.1:2600\"\n"),
        (
            "returns.mailjet",
            "tls = \"implicit\"\nurl = \"https://hooks.webcrm.com\"\nsecret_file = \"secrets/events\"\n\
             username = \"mailjet\"\npassword_file = \"secrets/events\"\n",
        ),
    ] {
        text.push_str(&format!("\n[{table}]\n{keys}{}", pair(table)));
    }
    let of_route =
        pair("route").replace("certificate =", "client_certificate =").replace("private_key =", "client_key =");
    let route = "[bounce_mail.route]\nhost = \"bounces.webcrm.com\"\nca_file = \"../certs/route.pem\"";
    text.push_str(&format!("\n{route}\n{of_route}"));
    text
}

#[test]
fn no_certificate_of_a_server_or_a_route_needs_a_restart_and_that_of_a_database_does() {
    let scratch = Scratch::new();
    let text = with_certificates_everywhere(&scratch);
    let named = text.lines().filter(|line| !line.starts_with('#') && line.contains("\"../certs/")).count();
    assert_eq!(named, 7 * 2 + 1, "{text}");
    scratch.write("config/postbud.toml", &text);
    let loaded = || load(&scratch.path("config/postbud.toml")).map_err(|e| e.to_string()).expect("it is usable");
    let before = loaded();
    // New ones in all files.
    with_certificates_everywhere(&scratch);
    assert_eq!(before.keys.needs_restart(&loaded().keys), Vec::<String>::new());

    let database =
        "[spool]\nbackend = \"postgres\"\n[spool.postgres]\nhost = \"db.internal\"\nca_file = \"../certs/route.pem\"\n";
    let text = text.replace("[spool]\nbackend = \"embedded\"", database).replace("\nmin_free = ", "\n# min_free = ");
    scratch.write("config/postbud.toml", &text);
    let before = loaded();
    with_certificates_everywhere(&scratch);
    assert_eq!(before.keys.needs_restart(&loaded().keys), ["spool.postgres.ca_file (what the file holds)"]);
}

#[test]
fn several_database_servers_without_a_word_about_standbys_are_warned_about() {
    let database = |lines: &str| {
        let scratch = Scratch::new();
        let path = scratch.path("config/postbud.toml");
        let text = fs::read_to_string(&path).expect("the example");
        let spool = format!("[spool]\nbackend = \"postgres\"\n[spool.postgres]\n{lines}\n");
        let text = text.replace("[spool]\nbackend = \"embedded\"", &spool).replace("\nmin_free = ", "\n# min_free = ");
        fs::write(&path, text).expect("written");
        let loaded = load(&path).map_err(|e| e.to_string()).expect("it is usable");
        let warnings = loaded.remarks.warnings.iter().map(ToString::to_string);
        warnings.filter(|warning| warning.contains("names several servers")).count()
    };
    assert_eq!(database("host = [\"db1.internal\", \"db2.internal\"]"), 1);
    assert_eq!(database("host = [\"db1.internal\", \"db2.internal\"]\nstandbys = 1"), 0);
    assert_eq!(database("host = [\"db1.internal\", \"db2.internal\"]\nstandbys = 0"), 0, "the operator says so");
    assert_eq!(database("host = \"db.internal\""), 0);
}

#[test]
fn a_file_that_holds_another_secret_is_not_named_where_a_reload_takes_it() {
    let webhook = [
        ("# [[events.webhook]]\n# name", "[[events.webhook]]\nname"),
        ("# url = \"https://app", "url = \"https://app"),
        ("# secret_file = \"secrets/webhook", "secret_file = \"secrets/webhook"),
    ];
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = postbud::dkim::SigningKey::generate_rsa(2048).and_then(|key| key.to_pem()).expect("a key");
    for (file, content) in [
        ("config/secrets/webhook", "fedcba9876543210fedcba9876543210\n"),
        ("config/secrets/webcrm.hash", "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdB$SqlVijFGiPG+935vDSGEsA"),
        ("config/secrets/mailjet-starter.secret", "other\n"),
        ("config/secrets/egenserver.password", "other\n"),
        ("keys/test.dk.pem", key.as_str()),
    ] {
        assert_eq!(changed_file(&webhook, file, content), Vec::<String>::new(), "{file}");
    }
    let scratch = Scratch::new();
    let path = scratch.path("config/postbud.toml");
    let before = load(&path).map_err(|e| e.to_string()).expect("the example");
    scratch.write("certs/server.pem", &other.cert.pem());
    scratch.write_secret("certs/server.key", &other.signing_key.serialize_pem());
    let after = load(&path).map_err(|e| e.to_string()).expect("with the other certificate");
    assert_eq!(before.keys.needs_restart(&after.keys), Vec::<String>::new());
}
