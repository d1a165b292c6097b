//! Keys and passwords that are encrypted at rest, or that a command fetches, as an operator meets them.

use std::fs;

use crate::newcomer::{Relay, Site, WORLD, err, out};
use crate::skip::skip;

const PASSPHRASE: &str = "a passphrase of many characters";

/// A site with a passphrase, a Mailjet customer and one with a server of its own.
fn site(name: &str) -> Option<Site> {
    let Some(site) = Site::new(WORLD) else {
        skip(name, "knot is not installed");
        return None;
    };
    fs::write(site.file("config/secrets/passphrase"), format!("{PASSPHRASE}\n")).unwrap();
    let path = site.file("config/postbud.toml");
    let config = fs::read_to_string(&path).unwrap() + "\n[secrets]\npassphrase_file = \"secrets/passphrase\"\n";
    fs::write(&path, config).unwrap();
    let added = site.run(&["customer", "add", "test-as", "--name", "T", "--domain", "test.dk", "--via", "mailjet"], "");
    assert!(added.status.success(), "{}", err(&added));
    fs::write(site.file("password"), "tanstaaftanstaaf\n").unwrap();
    let own = [
        "--host",
        "mail.fjord.dk",
        "--port",
        "587",
        "--tls",
        "required",
        "--username",
        "u",
        "--password-from",
        "password",
    ];
    let more = ["customer", "add", "fjord", "--name", "F", "--domain", "fjord.dk", "--via", "own-server"];
    let added = site.run(&[&more[..], &own[..]].concat(), "");
    assert!(added.status.success(), "{}", err(&added));
    Some(site)
}

fn check(site: &Site) -> (Option<i32>, String) {
    let done = site.run(&["check"], "");
    (done.status.code(), out(&done) + &err(&done))
}

#[test]
fn what_commands_write_is_encrypted_and_signs_and_logs_in_all_the_same() {
    let Some(site) = site("what_commands_write_is_encrypted") else { return };
    let key = fs::read_to_string(site.file("keys/test.dk.pem")).unwrap();
    assert!(key.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"), "{key}");
    let password = fs::read_to_string(site.file("config/secrets/fjord.password")).unwrap();
    assert!(
        password.starts_with("-----BEGIN POSTBUD ENCRYPTED SECRET-----") && !password.contains("tans"),
        "{password}"
    );
    let (code, said) = check(&site);
    assert_eq!(code, Some(0), "{said}");
    let record = out(&site.run(&["dkim", "record", "test-as"], ""));
    assert!(record.starts_with("postbud1._domainkey.test.dk"), "{record}");
    let rotated = site.run(&["dkim", "rotate", "test-as"], "");
    assert!(rotated.status.success(), "{}", err(&rotated));
    let next = fs::read_to_string(site.file("keys/test.dk.postbud2.pem")).unwrap();
    assert!(next.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"), "{next}");

    // Opened and sealed again, they are the same keys.
    let files = ["keys/test.dk.pem", "config/secrets/fjord.password"];
    let opened = site.run(&[&["seal", "--open"], &files[..]].concat(), "");
    assert!(opened.status.success(), "{}", err(&opened));
    assert_eq!(fs::read_to_string(site.file("config/secrets/fjord.password")).unwrap(), "tanstaaftanstaaf\n");
    assert!(fs::read_to_string(site.file("keys/test.dk.pem")).unwrap().starts_with("-----BEGIN PRIVATE KEY-----"));
    assert_eq!(out(&site.run(&["dkim", "record", "test-as"], "")), record);
    let sealed = site.run(&[&["seal"], &files[..]].concat(), "");
    assert!(sealed.status.success(), "{}", err(&sealed));
    assert!(!fs::read_to_string(site.file("config/secrets/fjord.password")).unwrap().contains("tans"));
    assert_eq!(out(&site.run(&["dkim", "record", "test-as"], "")), record);
    let again = site.run(&["seal", "keys/test.dk.pem"], "");
    assert!(err(&again).contains("stays as it is"), "{}", err(&again));
    let nonsense = site.run(&["seal", "config/postbud.toml"], "");
    assert!(
        !nonsense.status.success() && err(&nonsense).contains("neither a private key nor a secret"),
        "{}",
        err(&nonsense)
    );
}

#[test]
fn a_wrong_passphrase_and_a_missing_one_are_said_where_they_matter() {
    let Some(site) = site("a_wrong_passphrase_and_a_missing_one_are_said_where_they_matter") else { return };
    let path = site.file("config/postbud.toml");
    let config = fs::read_to_string(&path).unwrap();
    fs::write(site.file("config/secrets/passphrase"), "another passphrase of many characters\n").unwrap();
    let (code, said) = check(&site);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("fjord.toml") && said.contains("does not open it"), "{said}");
    for (passphrase, says) in [("short\n", "fewer than 16 characters"), ("\n", "is empty")] {
        fs::write(site.file("config/secrets/passphrase"), passphrase).unwrap();
        assert!(check(&site).1.contains(says), "{says}");
    }
    for (key, says) in [
        ("passphrase_command = [\"/no/such/program\"]", "cannot be started"),
        ("passphrase_command = []", "no command"),
        ("passphrase_env = \"NO_SUCH_VARIABLE_HERE\"", "no environment variable"),
        ("passphrase = \"typed into the file itself\"", "does not belong in this file"),
        ("", "names no passphrase"),
    ] {
        fs::write(&path, config.replace("passphrase_file = \"secrets/passphrase\"", key)).unwrap();
        let (code, said) = check(&site);
        assert_eq!(code, Some(1), "{key}: {said}");
        assert!(said.contains(says) && !said.contains("typed into"), "{key}: {said}");
    }
}

#[test]
fn a_vault_holds_keys_and_passwords_behind_a_command() {
    let Some(site) = site("a_vault_holds_keys_and_passwords_behind_a_command") else { return };
    let record = out(&site.run(&["dkim", "record", "test-as"], ""));
    let vault = site.file("vault");
    fs::create_dir(&vault).unwrap();
    fs::rename(site.file("keys/test.dk.pem"), vault.join("key")).unwrap();
    fs::rename(site.file("password"), vault.join("password")).unwrap();
    let file = site.file("config/customers/test-as.toml");
    let before = fs::read_to_string(&file).unwrap();
    let by = |command: &str| {
        fs::write(&file, before.replace("private_key = \"../../keys/test.dk.pem\"", command)).unwrap();
    };
    by(&format!("private_key_command = [\"cat\", \"{}\"]", vault.join("key").display()));
    let own = site.file("config/customers/fjord.toml");
    let text = fs::read_to_string(&own).unwrap();
    let password = format!("password_command = [\"cat\", \"{}\"]", vault.join("password").display());
    fs::write(&own, text.replace("password_file = \"../secrets/fjord.password\"", &password)).unwrap();
    let (code, said) = check(&site);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(out(&site.run(&["dkim", "record", "test-as"], "")), record);
    let rotated = site.run(&["dkim", "rotate", "test-as"], "");
    assert!(err(&rotated).contains("replaced in its vault"), "{}", err(&rotated));
    for (command, says) in [
        ("private_key_command = [\"/no/such/program\"]", "cannot be started"),
        ("private_key_command = [\"sh\", \"-c\", \"echo denied >&2; exit 7\"]", "denied"),
        ("private_key_command = [\"true\"]", "printed nothing"),
        ("private_key_command = [\"echo\", \"no key\"]", "no private key in PEM form"),
        ("private_key_command = \"cat key\"", "private_key_command"),
        ("private_key = \"k.pem\"\nprivate_key_command = [\"true\"]", "keep one of them"),
    ] {
        by(command);
        let (code, said) = check(&site);
        assert_eq!(code, Some(1), "{command}: {said}");
        assert!(said.contains(says), "{command}: {said}");
    }
}

#[test]
fn a_relay_starts_with_the_passphrase_from_its_environment_or_from_a_command_and_not_without() {
    let Some(site) = site("a_relay_starts_with_the_passphrase_from_its_environment_or_from_a_command") else { return };
    let path = site.file("config/postbud.toml");
    let config = fs::read_to_string(&path).unwrap();
    let vault = site.file("vault");
    fs::rename(site.file("config/secrets/passphrase"), &vault).unwrap();
    let by =
        |source: &str| fs::write(&path, config.replace("passphrase_file = \"secrets/passphrase\"", source)).unwrap();
    let right: &[(&str, &str)] = &[("POSTBUD_TEST_PASSPHRASE", PASSPHRASE)];
    let wrong: &[(&str, &str)] = &[("POSTBUD_TEST_PASSPHRASE", "another passphrase of many characters")];
    let environment = "passphrase_env = \"POSTBUD_TEST_PASSPHRASE\"";
    let command = format!("passphrase_command = [\"cat\", \"{}\"]", vault.display());
    for (source, given) in [(environment, right), (command.as_str(), &[])] {
        by(source);
        let relay = Relay::start_in(&site, given);
        let log = fs::read_to_string(site.file("relay.log")).unwrap();
        assert!(!log.contains("ERROR") && !log.contains("cannot be used"), "{source}: {log}");
        // The key signs: its record is that of the key, which only the passphrase opens.
        let record = site.run_in(given, &["dkim", "record", "test-as"], "");
        assert!(out(&record).starts_with("postbud1._domainkey.test.dk"), "{source}: {}", err(&record));
        drop(relay);
    }
    let refused = "passphrase_command = [\"sh\", \"-c\", \"echo the vault is locked >&2; exit 3\"]";
    for (source, given, says) in [
        (environment, wrong, "does not open it"),
        (environment, &[][..], "no environment variable"),
        (refused, &[], "the vault is locked"),
    ] {
        by(source);
        let started = site.run_in(given, &["run"], "");
        assert!(!started.status.success() && err(&started).contains(says), "{source}: {}", err(&started));
    }
}
