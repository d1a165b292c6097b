//! What changed between two versions of the server file, key by key.

use std::collections::{BTreeMap, BTreeSet};

use toml::de::DeValue;

use super::reader::Document;

/// What a reload replaces while the relay runs. Everything else of the server file is read at the start only.
const RELOADED: [&str; 6] = ["bounces", "customers_dir", "dkim", "mailjet", "onboarding.bulk", "submitter"];

/// Every key of the server file, `listener[0].address`, with its value as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys(BTreeMap<String, String>);

impl Keys {
    pub(super) fn of(document: &Document<'_>) -> Self {
        let mut keys = Keys::default();
        for (name, value) in document.values() {
            keys.add(name.to_owned(), value);
        }
        keys
    }

    /// Keys that were added, removed or changed, and that a reload does not replace.
    /// A reload names them and goes on with the old values; customers, submitters, tiers and certificates' contents need no restart.
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
    RELOADED.iter().any(|prefix| {
        name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.') || rest.starts_with('['))
    })
}
