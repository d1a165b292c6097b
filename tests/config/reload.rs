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
