//! Unusual files that editors, file systems and strangers leave: the relay never waits for one and never guesses.

use std::fs;
use std::process::Output;

use super::scratch::Scratch;

fn check(scratch: &Scratch) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = scratch.postbud(&["check", "--config", "config/postbud.toml"]);
    (status.code(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

fn replace(scratch: &Scratch, file: &str, from: &str, to: &str) {
    let text = fs::read_to_string(scratch.path(file)).expect("the example");
    assert!(text.contains(from), "{from}");
    scratch.write(file, &text.replace(from, to));
}

#[test]
fn a_byte_order_mark_and_dos_line_ends_change_nothing() {
    let scratch = Scratch::new();
    for file in ["config/postbud.toml", "config/customers/test-as.toml"] {
        let text = fs::read_to_string(scratch.path(file)).expect("the example");
        scratch.write(file, &format!("\u{feff}{}", text.replace('\n', "\r\n")));
    }
    assert_eq!(
        check(&scratch),
        (Some(0), "OK: 1 listener, 2 customers with 3 domains, 2 Mailjet tiers and 1 own server\n".to_owned())
    );
    replace(&scratch, "config/customers/test-as.toml", "track_opens = false", "track_opens = 7");
    let (code, said) = check(&scratch);
    assert_eq!(code, Some(1));
    let text = std::fs::read_to_string(scratch.path("config/customers/test-as.toml")).expect("the example");
    let line = text.lines().position(|line| line.contains("track_opens = 7")).expect("the mistake") + 1;
    assert!(said.contains(&format!("test-as.toml:{line}: route.track_opens: ")), "the right line: {said}");
}

#[test]
fn a_byte_order_mark_changes_nothing_in_any_file_that_is_named() {
    let scratch = Scratch::new();
    scratch.write("certs/ca.pem", &fs::read_to_string(scratch.path("certs/server.pem")).expect("the certificate"));
    replace(
        &scratch,
        "config/customers/egen-server.toml",
        "# ca_file = \"../../certs/egenserver-ca.pem\"",
        "ca_file = \"../../certs/ca.pem\"",
    );
    for folder in ["config", "config/customers", "config/secrets", "keys", "certs"] {
        for entry in fs::read_dir(scratch.path(folder)).expect("the folder").flatten() {
            if entry.file_type().expect("a type").is_file() {
                let content = fs::read(entry.path()).expect("the file");
                fs::write(entry.path(), [b"\xef\xbb\xbf", content.as_slice()].concat()).expect("written");
            }
        }
    }
    assert_eq!(
        check(&scratch),
        (Some(0), "OK: 1 listener, 2 customers with 3 domains, 2 Mailjet tiers and 1 own server\n".to_owned())
    );
    let loaded = postbud::config::load(&scratch.path("config/postbud.toml")).expect("it is right");
    let logins: Vec<_> = logins(&loaded.settings.directory);
    assert_eq!(
        logins,
        [
            ("webcrm", "not-a-real-password"),
            ("not-a-real-credential", "not-a-real-credential"),
            ("not-a-real-credential", "not-a-real-credential")
        ]
    );
}

#[test]
fn a_secret_is_one_line_and_what_stands_around_it_unseen_is_told() {
    const ENV: &str = "POSTBUD_TEST_PASSWORD";
    for (content, said) in [
        ("word", ""),
        ("word\n", ""),
        ("word\r\n", ""),
        ("\u{feff}word\r\n", ""),
        ("two words", ""),
        ("søren\n", ""),
        (" word\n", "begins or ends with a blank"),
        ("word \n", "begins or ends with a blank"),
        ("\u{a0}word", "begins or ends with a blank"),
        ("word\u{200b}", "begins or ends with a blank"),
        ("\u{feff}\u{feff}word", "begins or ends with a blank"),
        ("word\u{feff}\n", "begins or ends with a blank"),
        ("\u{feff}", "is empty"),
        ("\u{feff}\r\n", "is empty"),
        ("\n", "is empty"),
        ("", "is empty"),
        ("one\ntwo\n", "must hold the value on one line"),
        ("tab\tbed", "must hold the value on one line"),
        ("word\u{1b}", "must hold the value on one line"),
    ] {
        let by_file = Scratch::new();
        by_file.write_secret("config/secrets/egenserver.password", content);
        let by_env = Scratch::new();
        replace(
            &by_env,
            "config/customers/egen-server.toml",
            "password_file = \"../secrets/egenserver.password\"",
            &format!("password_env = \"{ENV}\""),
        );
        let files = by_file.postbud(&["check"]);
        let environment = by_env.command(&["check"]).env(ENV, content).output().expect("postbud runs");
        for Output { status, stdout, stderr } in [files, environment] {
            let text = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
            let is_mistake = !said.is_empty() && !said.contains("blank");
            assert_eq!(status.code(), Some(i32::from(is_mistake)), "{content:?}: {text}");
            assert!(text.contains(said), "{content:?}: {text}");
            assert!(!said.is_empty() || text.starts_with("OK: "), "{content:?}: {text}");
            assert!(!text.contains("word\u{feff}") && !text.contains("two\n"), "the value is not shown: {text}");
        }
    }
}

#[test]
fn a_secret_in_another_character_set_is_named() {
    let scratch = Scratch::new();
    let password = scratch.path("config/secrets/egenserver.password");
    for content in [&b"s\xf8ren\n"[..], b"\xff\xfew\0o\0r\0d\0"] {
        fs::write(&password, content).expect("written");
        let (code, said) = check(&scratch);
        assert_eq!(code, Some(1));
        assert!(said.contains("does not hold UTF-8 text; save it as UTF-8"), "{said}");
    }
}

fn logins(directory: &postbud::customers::Directory) -> Vec<(&str, &str)> {
    use postbud::customers::Via;
    use postbud::route::LoginSecret;
    let own = directory.customers().filter_map(|customer| match &customer.via {
        Via::OwnServer(route) => Some(route),
        Via::Mailjet { .. } => None,
    });
    let routes = own.chain(directory.tiers().values().map(|tier| &tier.route));
    routes
        .map(|route| match route.login.as_ref().map(|login| (&login.username, &login.secret)) {
            Some((username, LoginSecret::Password(password))) => (username.as_str(), password.as_str()),
            _ => panic!("{} has no password", route.id),
        })
        .collect()
}

#[test]
fn what_gives_the_egress_address_is_said_and_held_to_it() {
    use postbud::delivery::{Egress, EgressPath};
    let egress = |lines: &str| -> Result<Egress, String> {
        let scratch = Scratch::new();
        replace(&scratch, "config/postbud.toml", "bind = \"10.0.0.4\"", lines);
        let loaded = postbud::config::load(&scratch.path("config/postbud.toml"));
        loaded.map(|loaded| loaded.settings.egress).map_err(|refused| refused.to_string())
    };
    let ours = "40.74.40.57".parse().ok();
    for (lines, bound, expected) in [
        ("", "40.74.40.57", None),
        ("bind = \"10.0.0.4\"", "10.0.0.4", None),
        ("bind = \"any\"", "0.0.0.0", ours),
        ("bind = \"0.0.0.0\"", "0.0.0.0", ours),
        ("bind = \"any\"\nexpect_seen_as = \"172.17.0.2\"", "0.0.0.0", "172.17.0.2".parse().ok()),
        ("bind = \"10.0.0.4\"\nexpect_seen_as = \"40.74.40.57\"", "10.0.0.4", ours),
    ] {
        let found = egress(lines).expect(lines);
        let EgressPath::Bind(local) = found.path else { panic!("{lines}") };
        assert_eq!((local, found.expect_seen_as), (bound.parse().expect("an address"), expected), "{lines}");
    }
    for (lines, said) in [
        ("bind = \"::\"", "is not of the family of address (40.74.40.57); write \"any\""),
        ("bind = \"ANY\"", "\"ANY\" is not an IP address like \"10.0.0.4\" or \"2001:db8::4\", nor \"any\""),
        ("bind = \"*\"", "nor \"any\""),
        ("bind = \"any\"\nproxy = \"socks5://127.0.0.1\"", "is given besides proxy"),
    ] {
        let found = egress(lines).expect_err(lines);
        assert!(found.contains(said), "{lines}: {found}");
    }
}

#[test]
fn a_dot_at_the_end_of_a_label_does_not_stand_before_a_domains_name() {
    let scratch = Scratch::new();
    let written = "ownership_label = \"_proof.\"\nreturn_path_label = \"BNC3.\"";
    replace(&scratch, "config/postbud.toml", "# ownership_label = \"_postbud-challenge\"", written);
    let read = postbud::config::load(&scratch.path("config/postbud.toml")).expect("it is right").settings.onboarding;
    assert_eq!((read.ownership_label.as_str(), read.return_path_label.as_str()), ("_proof", "bnc3"));
}

#[test]
fn a_pipe_or_folder_in_a_files_place_is_named_and_not_waited_for() {
    let scratch = Scratch::new();
    let pipe = |name: &str| {
        let made = std::process::Command::new("mkfifo").arg(scratch.path(name)).status().expect("mkfifo");
        assert!(made.success());
    };
    pipe("config/customers/pipe.toml");
    fs::create_dir(scratch.path("config/customers/folder.toml")).expect("a folder");
    fs::remove_file(scratch.path("keys/test.dk.pem")).expect("the key");
    pipe("keys/test.dk.pem");
    fs::remove_file(scratch.path("config/secrets/webcrm.hash")).expect("the hash");
    pipe("config/secrets/webcrm.hash");
    scratch.write("config/customers/large.toml", &"#".repeat((1 << 20) + 1));
    let (code, said) = check(&scratch);
    assert_eq!(code, Some(1));
    for part in [
        "customers/pipe.toml: is not a file",
        "customers/folder.toml: is not a file",
        "customers/large.toml: is larger than 1 MiB",
        "test.dk.pem: is not a file with a key",
        "webcrm.hash is not a file",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn a_link_is_followed_and_a_dead_one_is_named() {
    let scratch = Scratch::new();
    fs::rename(scratch.path("config/customers/test-as.toml"), scratch.path("config/elsewhere.txt")).expect("moved");
    std::os::unix::fs::symlink("../elsewhere.txt", scratch.path("config/customers/test-as.toml")).expect("a link");
    assert_eq!(check(&scratch).0, Some(0));
    std::os::unix::fs::symlink("nowhere", scratch.path("config/customers/dead.toml")).expect("a link");
    let (code, said) = check(&scratch);
    assert!(code == Some(1) && said.contains("dead.toml: cannot be read: No such file"), "{said}");
}

#[test]
fn a_domain_is_one_customers_however_it_is_written() {
    for (first, second) in [
        ("test.dk", "Test.DK"),
        ("test.dk", "test.dk."),
        ("blåbær.dk", "xn--blbr-roah.dk"),
        ("blåbær.dk", "BLÅBÆR.dk."),
    ] {
        let scratch = Scratch::new();
        replace(&scratch, "config/customers/test-as.toml", "[\"test.dk\"]", &format!("[\"{first}\"]"));
        replace(&scratch, "config/customers/egen-server.toml", "\"nyt.egenserver.dk\"", &format!("\"{second}\""));
        let (code, said) = check(&scratch);
        assert!(code == Some(1) && said.contains("belongs to the customer at"), "{first} {second}: {said}");
    }
}

#[test]
fn numbers_of_any_size_are_read_or_refused() {
    for (from, to) in [
        ("port = 587", "port = 99999999999999999999999999"),
        ("port = 587", "port = -1"),
        ("per_day = 10000", "per_day = 9223372036854775807"),
        ("concurrency = 3", "concurrency = 0x7fffffffffffffff"),
        ("concurrency = 3", "concurrency = 3.0"),
    ] {
        let scratch = Scratch::new();
        replace(&scratch, "config/customers/egen-server.toml", from, to);
        assert_eq!(check(&scratch).0, Some(1), "{to}");
    }
    for (from, to) in [
        ("factor = 2.0", "factor = nan"),
        ("factor = 2.0", "factor = inf"),
        ("factor = 2.0", "factor = 1e308"),
        ("give_up = \"5d\"", "give_up = \"99999999999999999999d\""),
        ("give_up = \"5d\"", "give_up = \"999999999d\""),
        ("min_free = \"1 GiB\"", "min_free = \"99999999999 TiB\""),
        ("# jitter = 0.2", "jitter = nan"),
    ] {
        let scratch = Scratch::new();
        replace(&scratch, "config/postbud.toml", from, to);
        assert_eq!(check(&scratch).0, Some(1), "{to}");
    }
}

#[test]
fn what_mailjet_gave_out_is_looked_at_before_it_is_handed_on() {
    let scratch = Scratch::new();
    let with = |records: &str| {
        let scratch = Scratch::new();
        let text = fs::read_to_string(scratch.path("config/customers/test-as.toml")).expect("the example");
        scratch.write("config/customers/test-as.toml", &format!("{text}\n{records}"));
        check(&scratch)
    };
    let (code, said) = with("[mailjet.\"test.dk\"]\nownership = \"b68ecbf0…\"\n");
    assert!(code == Some(1) && said.contains("mailjet.test.dk.ownership: \"b68ecbf0…\" is not a token"), "{said}");
    let (code, said) = with("[mailjet.\"test.dk\"]\ndkim = \"k=rsa; p=MIGf\"\n");
    assert!(code == Some(0) && said.contains("receivers could not use this record: p= is truncated"), "{said}");
    let (code, said) = with("[mailjet.\"test.dk\"]\n[mailjet.\"Test.dk.\"]\n");
    assert!(code == Some(1) && said.contains("has such a table already"), "{said}");
    scratch.write("config/customers/loud.TOML", "");
    let (code, said) = check(&scratch);
    assert!(code == Some(0) && said.contains("loud.TOML: is left alone"), "{said}");
}

#[test]
fn a_certificate_that_expires_soon_is_a_warning() {
    let scratch = Scratch::new();
    let made = crate::certs::self_signed(&["out.webcrm.com"], false);
    scratch.write("certs/server.pem", &made.chain);
    scratch.write_secret("certs/server.key", &made.key);
    let (code, said) = check(&scratch);
    assert_eq!(code, Some(0), "{said}");
    let warned = said.lines().any(|line| {
        line.starts_with("warning: ") && line.contains("listener.certificate") && line.contains("server.pem expires on")
    });
    assert!(warned, "{said}");
}
