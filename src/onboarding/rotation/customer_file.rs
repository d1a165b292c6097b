//! Reads the selector and the key file from a customer's file, and replaces them. The rest of the text, including comments, stays
//! unchanged.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use crate::customers::KeyPlace;
use crate::dkim::Selector;

/// The selector and the key file that a customer's file names in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The selector, as written in the file.
    pub selector: String,
    /// The path of the private key's file, relative to the customer's file.
    pub private_key: String,
    at: [Range<usize>; 2],
}

impl Named {
    /// Reads one place from the text of a customer's file. Returns `None` if `[dkim]` does not name a key there.
    pub fn of(text: &str, place: KeyPlace) -> Option<Self> {
        let root = DeTable::parse(text).ok()?;
        let DeValue::Table(dkim) = root.get_ref().get("dkim")?.get_ref() else { return None };
        let value = |key: &str| {
            let value = dkim.get(key)?;
            let DeValue::String(text) = value.get_ref() else { return None };
            Some((text.to_string(), value.span()))
        };
        let (selector, selector_at) = value(place.selector())?;
        let (private_key, private_key_at) = value(place.private_key())?;
        Some(Named { selector, private_key, at: [selector_at, private_key_at] })
    }

    /// Returns `text` with another selector and file in this place. `text` must be the text from which this value was read.
    pub fn replaced(&self, text: &str, selector: &Selector, private_key: &str) -> String {
        let [selector_at, private_key_at] = self.at.clone();
        let mut changes = [(selector_at, toml_string(selector.as_str())), (private_key_at, toml_string(private_key))];
        // Replace the later value first, so that the span of the earlier one stays valid.
        changes.sort_by_key(|(span, _)| std::cmp::Reverse(span.start));
        let mut text = text.to_owned();
        for (span, value) in changes {
            text.replace_range(span, &value);
        }
        text
    }
}

/// Returns a text as a TOML string.
pub fn toml_string(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# note\nname = \"x\"\n[dkim] # here\nselector = 'postbud1'   # old\nprivate_key = \"../keys/a.pem\"\n\
                        ed25519_private_key = \"../keys/e.pem\" # second\ned25519_selector = \"postbud1e\"\n\
                        [route]\nvia = \"mailjet\"\n";

    #[test]
    fn a_customers_file_keeps_its_comments_and_its_other_key() {
        let new = Selector::parse("postbud2").unwrap();
        let main = Named::of(FILE, KeyPlace::Main).unwrap();
        assert_eq!((main.selector.as_str(), main.private_key.as_str()), ("postbud1", "../keys/a.pem"));
        let after = main.replaced(FILE, &new, "../keys/\"b\".pem");
        assert!(after.contains("selector = \"postbud2\"   # old\n"), "{after}");
        assert!(after.starts_with("# note\nname = \"x\"\n[dkim] # here\n"), "{after}");
        assert!(after.ends_with("[route]\nvia = \"mailjet\"\n"), "{after}");
        let main = Named::of(&after, KeyPlace::Main).unwrap();
        assert_eq!(main.private_key, "../keys/\"b\".pem");
        let second = |text| Named::of(text, KeyPlace::Ed25519).map(|named| (named.selector, named.private_key));
        assert_eq!(second(&after), second(FILE));

        let after = Named::of(FILE, KeyPlace::Ed25519).unwrap().replaced(FILE, &new, "n.pem");
        assert!(
            after.contains("ed25519_private_key = \"n.pem\" # second\ned25519_selector = \"postbud2\"\n"),
            "{after}"
        );
        assert!(after.contains("selector = 'postbud1'"), "{after}");
    }

    #[test]
    fn a_byte_order_mark_and_dos_line_ends_do_not_shift_what_is_replaced() {
        let text = format!("\u{feff}{}", FILE.replace('\n', "\r\n"));
        let after = Named::of(&text, KeyPlace::Main).unwrap().replaced(&text, &Selector::parse("s2").unwrap(), "n.pem");
        assert_eq!(
            after,
            text.replace("'postbud1'", "\"s2\"").replace("\"../keys/a.pem\"", "\"n.pem\""),
            "nothing else changes"
        );
    }

    #[test]
    fn a_place_without_a_key_is_none() {
        for text in
            ["name = 1", "dkim = 3", "[dkim]\nselector = \"a\"", "[dkim]\nselector = 1\nprivate_key = \"a\"", "["]
        {
            assert_eq!(Named::of(text, KeyPlace::Main), None, "{text}");
        }
    }
}
