//! The operator's handbook has an entry for whatever may alert somebody.

use postbud::events::Subject;

use super::{rules, text};

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
