//! Files as editors, file systems and strangers leave them: nothing is waited for, nothing is guessed.

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
    assert!(said.contains("test-as.toml:21: route.track_opens: "), "the right line: {said}");
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
