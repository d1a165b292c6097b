//! Golden files: each folder of `mistakes/` is laid over the examples; `expected` is the output of `postbud check`.
//!
//! `POSTBUD_BLESS=1 cargo test --test config` writes them anew; read the difference before committing it.

use std::fs;

use super::scratch::{Scratch, project};

#[test]
fn every_mistake_is_found_with_file_line_key_and_remedy() {
    let cases = project().join("tests/config/mistakes");
    let mut names: Vec<_> = fs::read_dir(&cases).expect("the cases").flatten().map(|entry| entry.path()).collect();
    names.sort();
    assert!(names.len() >= 10, "{names:?}");
    let mut differing = Vec::new();
    for case in names {
        let scratch = Scratch::new();
        scratch.overlay(&case);
        scratch.write("keys/empty.pem", "");
        scratch.write("keys/open.pem", &fs::read_to_string(scratch.path("keys/test.dk.pem")).expect("the key"));
        let checked = scratch.postbud(&["check", "--config", "config/postbud.toml"]);
        let said = format!(
            "{}{}exit {}\n",
            String::from_utf8_lossy(&checked.stdout),
            String::from_utf8_lossy(&checked.stderr),
            checked.status.code().expect("an exit code"),
        );
        let expected = case.join("expected");
        if std::env::var_os("POSTBUD_BLESS").is_some() {
            fs::write(&expected, &said).expect("the golden file can be written");
        }
        let expected = fs::read_to_string(&expected).unwrap_or_default();
        if said != expected {
            differing.push(format!("--- {}\n{said}--- expected\n{expected}", case.display()));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn a_broken_key_of_one_customer_is_a_mistake_to_check_but_does_not_stop_the_others() {
    let scratch = Scratch::new();
    scratch.write_secret("keys/test.dk.pem", "no key");
    let loaded =
        postbud::config::load(&scratch.path("config/postbud.toml")).map_err(|e| e.to_string()).expect("it starts");
    assert_eq!(loaded.remarks.broken.len(), 1);
    let ready = |domain: &str| {
        let domain = postbud::smtp::Domain::parse(domain).expect("a domain");
        let customer = loaded.settings.directory.by_domain(&domain).expect("a customer");
        matches!(customer.domains[&domain], postbud::customers::SigningDomain::Ready(_))
    };
    assert!(!ready("test.dk"));
    assert!(ready("egenserver.dk") && ready("nyt.egenserver.dk"));
}

#[test]
fn no_secret_is_ever_said() {
    let scratch = Scratch::new();
    let canary = "CANARY-7f3a";
    let file = fs::read_to_string(scratch.path("config/customers/egen-server.toml")).expect("the example");
    let inline =
        file.replace("password_file = \"../secrets/egenserver.password\"", &format!("password = \"{canary}\""));
    assert!(inline.contains(canary));
    scratch.write("config/customers/egen-server.toml", &inline);
    scratch.write_secret("config/secrets/mailjet-starter.secret", &format!("{canary}\n{canary}\n"));
    scratch.write_secret("config/secrets/webcrm.hash", &format!("$argon2id${canary}"));
    for arguments in [["check", "--config"].as_slice(), ["check", "--json", "--config"].as_slice()] {
        let checked = scratch.postbud(&[arguments, &["config/postbud.toml"]].concat());
        assert_eq!(checked.status.code(), Some(1));
        assert!(!String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()).contains(canary));
    }
}

#[test]
fn a_secret_in_place_of_the_name_of_a_file_or_variable_is_not_said() {
    for canary in
        ["CANARY-7f3a", "CANARY_7F3A", "canary7f3a/../x", "./7f3a.password", "Canary 7f3a = x", "c\u{e5}nary7f3a"]
    {
        for kind in ["file", "env"] {
            let scratch = Scratch::new();
            let places = [
                ("config/customers/egen-server.toml", "password_file = \"../secrets/egenserver.password\"", "password"),
                ("config/postbud.toml", "password_hash_file = \"secrets/webcrm.hash\"", "password_hash"),
                ("config/postbud.toml", "password_file = \"secrets/mailjet-starter.secret\"", "password"),
                ("config/postbud.toml", "username_file = \"secrets/mailjet-trusted.key\"", "username"),
            ];
            for (file, line, key) in places {
                let text = fs::read_to_string(scratch.path(file)).expect("the example");
                assert!(text.contains(line), "{line} in {file}");
                scratch.write(file, &text.replace(line, &format!("{key}_{kind} = \"{canary}\"")));
            }
            let checked = scratch.postbud(&["check", "--json", "--config", "config/postbud.toml"]);
            let said = String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()).into_owned();
            assert!(!said.to_lowercase().contains("7f3a"), "{said}");
            let told = format!("the {} characters that stand here are not shown", canary.chars().count());
            assert_eq!(said.matches(&told).count(), places.len(), "{said}");
        }
    }
}
