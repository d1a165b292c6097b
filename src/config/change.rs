//! Finds what changed between two versions of the server file, key by key, and in the files that its keys name.

use std::collections::{BTreeMap, BTreeSet};

use toml::de::DeValue;

use super::mistake::{Contents, ReadAgain};
use super::reader::Document;
use crate::hex::hex;

/// The keys that a reload replaces in a running relay. All other keys of the server file are read only at the start.
const RELOADED: [&str; 11] = [
    "bounces",
    "customers_dir",
    "dkim",
    "events.webhook.secret_command",
    "events.webhook.secret_env",
    "events.webhook.secret_file",
    "mailjet",
    "onboarding",
    "secrets",
    "submitter",
    "suppression",
];
/// The keys below those above that a reload does not replace.
const NOT_RELOADED: [&str; 1] = ["onboarding.bulk_requires"];
/// Marks a key whose file has changed.
const CONTENTS: &str = " (what the file holds)";

/// Every key of the server file (`listener[0].address`) with its value as text, and the digests of the files that keys name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys(BTreeMap<String, String>);

impl Keys {
    pub(super) fn of(document: &Document<'_>, files: &[Contents]) -> Self {
        let mut keys = Keys::default();
        for Contents { key, digest, .. } in files.iter().filter(|file| file.read_again == ReadAgain::WithItsKey) {
            // Several tables with one name share a key here, so the digests of all their files are joined.
            let all = keys.0.entry(format!("{key}{CONTENTS}")).or_default();
            all.push_str(&hex(digest));
        }
        for (name, value) in document.values() {
            keys.add(name.to_owned(), value);
        }
        keys
    }

    /// Returns the added, removed and changed keys that a reload does not replace. A reload reports them and keeps the old values.
    pub fn needs_restart(&self, new: &Keys) -> Vec<String> {
        let names: BTreeSet<_> = self.0.keys().chain(new.0.keys()).collect();
        let changed = names.into_iter().filter(|name| self.0.get(*name) != new.0.get(*name));
        changed.filter(|name| !is_reloaded(name)).cloned().collect()
    }

    fn add(&mut self, name: String, value: &DeValue<'_>) {
        match value {
            DeValue::Table(table) => {
                for (key, value) in table.iter() {
                    self.add(format!("{name}.{}", key.get_ref()), value.get_ref());
                }
            }
            DeValue::Array(array) if array.iter().any(|value| matches!(value.get_ref(), DeValue::Table(_))) => {
                for (index, value) in array.iter().enumerate() {
                    self.add(format!("{name}[{index}]"), value.get_ref());
                }
            }
            other => {
                self.0.insert(name, text(other));
            }
        }
    }
}

fn text(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(datetime) => datetime.to_string(),
        DeValue::Array(array) => array.iter().map(|value| text(value.get_ref()) + ",").collect(),
        DeValue::Table(_) => String::new(),
    }
}

fn is_reloaded(name: &str) -> bool {
    let is_in = |list: &[&str], name: &str| {
        list.iter().any(|prefix| {
            let rest = name.strip_prefix(prefix);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    };
    // The index of a table in a list makes no difference.
    let key = &without_indices(name.strip_suffix(CONTENTS).unwrap_or(name));
    is_in(&RELOADED, key) && !is_in(&NOT_RELOADED, key)
}

fn without_indices(key: &str) -> String {
    let parts = key.split('[').enumerate().map(|(at, part)| match at {
        0 => part,
        _ => part.split_once(']').map_or(part, |(_, rest)| rest),
    });
    parts.collect()
}
