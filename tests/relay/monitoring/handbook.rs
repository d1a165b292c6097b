//! The operator's handbook has an entry for whatever may alert somebody, and for every secret that has to be changed some day.

use std::collections::BTreeSet;

use postbud::events::Subject;

use super::{rules, source, text};
use crate::support::relay::files;

#[test]
fn every_alert_has_its_entry_in_the_runbook() {
    let book = text("docs/runbook.md");
    let headings: Vec<&str> = book.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let rules = rules();
    assert!(rules.len() > 15, "{rules:?}");
    let wanted = rules.iter().map(String::as_str).chain(Subject::KINDS);
    let missing: Vec<&str> = wanted.filter(|name| !headings.contains(name)).collect();
    assert!(missing.is_empty(), "docs/runbook.md has no entry for {missing:?}");
    let known = |heading: &str| rules.iter().any(|rule| rule == heading) || Subject::KINDS.contains(&heading);
    let unknown: Vec<&&str> = headings.iter().filter(|heading| !known(heading)).collect();
    assert!(unknown.is_empty(), "docs/runbook.md has entries for what cannot happen: {unknown:?}");
    for entry in book.split("\n### ").skip(1) {
        let name = entry.lines().next().unwrap();
        for part in ["**Means**", "**Look at**", "**Do**"] {
            assert!(entry.contains(part), "docs/runbook.md: {name} does not say {part}");
        }
    }
    for rule in text("deploy/prometheus/postbud.rules.yml").split("- alert: ").skip(1) {
        let name = rule.lines().next().unwrap();
        let link = format!("runbook: docs/runbook.md#{}", name.to_lowercase());
        assert!(rule.contains(&link), "{name}: {link}");
    }
}

/// The keys of a configuration file that name a secret, each with the first part of its table's name: `("mailjet", "password_file")`. Keys
/// and tables in comments count too, because that is where `config/` explains what else there is.
fn secrets_of(text: &str) -> BTreeSet<(String, String)> {
    let (mut table, mut found) = (String::new(), BTreeSet::new());
    for line in text.lines() {
        let line = line.trim_start_matches("# ");
        if let Some((name, _)) = line.trim_start_matches('[').split_once(']').filter(|_| line.starts_with('[')) {
            table = name.split('.').filter(|part| !part.contains('"')).collect::<Vec<_>>().join(".");
            continue;
        }
        let key = line.split_once(" = ").map_or("", |(key, _)| key);
        let is_key =
            !key.is_empty() && key.bytes().all(|octet| octet.is_ascii_lowercase() || b"_0123456789".contains(&octet));
        // The same secret from a variable of the environment or from a command is changed there.
        let names_a_secret = ["secret_file", "password_file", "password_hash_file", "passphrase_file", "private_key"];
        if is_key && names_a_secret.iter().any(|end| key.ends_with(end)) {
            found.insert((table.clone(), key.to_owned()));
        }
    }
    found
}

#[test]
fn the_handbook_says_how_to_change_every_secret_that_the_configuration_names() {
    let book = text("docs/operate.md");
    let (_, section) = book.split_once("\n## Rotating secrets\n").expect("such a section");
    let section = section.split("\n## ").next().unwrap();
    let rows: Vec<&str> = section.lines().filter(|line| line.starts_with("| ")).collect();
    let mut wanted = BTreeSet::new();
    for folder in ["config", "config/customers"] {
        for file in files(&source(folder), "toml") {
            wanted.append(&mut secrets_of(&std::fs::read_to_string(&file).unwrap()));
        }
    }
    assert!(wanted.len() > 12, "{wanted:?}");
    let is_told = |(table, key): &(String, String)| {
        // Tiers have names of their own choice, and what a customer's [route.…] has, its row has.
        let table = if table.starts_with("mailjet.") { "mailjet" } else { table.as_str() };
        rows.iter().any(|row| {
            let first = row.split(" | ").next().unwrap();
            first.contains(&format!("`{key}`"))
                && (first.contains(&format!("[{table}]")) || first.contains(&format!("[{table}.")))
        })
    };
    let missing: Vec<_> = wanted.iter().filter(|secret| !is_told(secret)).collect();
    assert!(missing.is_empty(), "docs/operate.md, \"Rotating secrets\", has no row for {missing:?}");
    // What is in no configuration file.
    for other in
        ["return-path.keys", "onboarding/secret", "postbud token", "postbud operator password", "postbud customer link"]
    {
        assert!(rows.iter().any(|row| row.contains(other)), "no row for {other}");
    }
}
