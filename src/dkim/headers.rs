//! Which header fields a signature covers (RFC 6376 §5.4, §5.4.1).
//!
//! Each name on the list is signed as often as it occurs in the message. A *sealed* name is signed once more than that, so that
//! nobody can add another field of that name (RFC 6376 §8.15). Repeated fields are signed from the bottom up (§5.4.2).
//!
//! Header fields that other programs may add on the way are sealed or not as this table says:
//!
//! | field | sealed | because |
//! |---|---|---|
//! | Sender | always | mail programs show it ("on behalf of"); neither customers' servers nor lists that keep From add one |
//! | Content-Disposition | always | it decides whether the body is shown or offered as a file; nobody adds one |
//! | List-*, Feedback-ID | where present | a second List-Unsubscribe would lead readers elsewhere. If the message has none, a mailing list or Mailjet may add one without breaking the signature |
//! | Resent-* | never | a person who forwards a message adds them (RFC 5322 §3.6.6), and the signature must still verify |
//! | In-Reply-To, References | never | nobody sees them; at worst they move mail into another thread |

use super::key::KeyError;
use crate::message::Field;

/// Sealed by default: the fields that people and mail programs read, and the fields that decide how the body is shown.
const SEALED: &[&str] = &[
    "from",
    "sender",
    "reply-to",
    "subject",
    "to",
    "cc",
    "date",
    "message-id",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "content-disposition",
];
/// Signed by default where present.
const PRESENT: &[&str] = &[
    "in-reply-to",
    "references",
    "resent-from",
    "resent-sender",
    "resent-to",
    "resent-cc",
    "resent-date",
    "list-id",
    "list-help",
    "list-subscribe",
    "list-post",
    "list-owner",
    "list-archive",
    "feedback-id",
];
/// Signed where present, even if the list does not name them: one-click unsubscription works only if signed (RFC 8058 §4).
const ALWAYS: &[&str] = &["list-unsubscribe", "list-unsubscribe-post"];
/// The fields among those that are sealed if the message has them, so that nobody can add a second one.
const SEALED_WHERE_PRESENT: &[&str] = &[
    "list-id",
    "list-help",
    "list-subscribe",
    "list-post",
    "list-owner",
    "list-archive",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "feedback-id",
];
/// Never signed: other servers add or remove these fields on the way.
const NEVER: &[&str] = &["received", "return-path", "bcc", "resent-bcc", "dkim-signature"];
const NEVER_PREFIXES: &[&str] = &["x-mj-", "x-mailjet-"];

/// The header fields that a signature covers. Names are in lower case and unique.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderList {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    name: Box<str>,
    sealed: Sealed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sealed {
    Always,
    WherePresent,
    Never,
}

impl Default for HeaderList {
    fn default() -> Self {
        HeaderList::new(SEALED.iter().copied(), PRESENT.iter().copied()).expect("the default list is legal")
    }
}

impl HeaderList {
    /// Makes a list from names to seal and names to sign where present. From is always sealed; List-Unsubscribe and
    /// List-Unsubscribe-Post are always signed where present. Returns an error for a name that is not a field name, and for
    /// fields that change on the way (Received, Return-Path, Bcc, X-MJ-*, X-Mailjet-*).
    pub fn new<'a>(
        sealed: impl IntoIterator<Item = &'a str>,
        present: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, KeyError> {
        let mut list = HeaderList { entries: Vec::new() };
        for name in ["from"].into_iter().chain(sealed) {
            list.add(name, Sealed::Always)?;
        }
        for name in present.into_iter().chain(ALWAYS.iter().copied()) {
            let is_sealed = SEALED_WHERE_PRESENT.iter().any(|sealed| sealed.eq_ignore_ascii_case(name));
            list.add(name, if is_sealed { Sealed::WherePresent } else { Sealed::Never })?;
        }
        Ok(list)
    }

    fn add(&mut self, name: &str, sealed: Sealed) -> Result<(), KeyError> {
        let lower = name.to_ascii_lowercase();
        // RFC 5322 §3.6.8; a semicolon would end the h= tag.
        if lower.is_empty() || !lower.bytes().all(|b| (33..=126).contains(&b) && b != b':' && b != b';') {
            return Err(KeyError::HeaderList(format!("\"{name}\" is not a header field name")));
        }
        if NEVER.contains(&lower.as_str()) || NEVER_PREFIXES.iter().any(|prefix| lower.starts_with(prefix)) {
            return Err(KeyError::HeaderList(format!(
                "{name} changes on the way to the recipient and would break the signature: leave it out"
            )));
        }
        if !self.entries.iter().any(|entry| *entry.name == *lower) {
            self.entries.push(Entry { name: lower.into(), sealed });
        }
        Ok(())
    }

    /// Returns each name, with `true` if it is sealed even where the message has no such field.
    pub fn names(&self) -> impl Iterator<Item = (&str, bool)> {
        self.entries.iter().map(|entry| (&*entry.name, entry.sealed == Sealed::Always))
    }

    fn position(&self, name: &[u8]) -> Option<usize> {
        self.entries
            .iter()
            .position(|entry| entry.name.len() == name.len() && entry.name.as_bytes().eq_ignore_ascii_case(name))
    }
}

const NONE: u32 = u32::MAX;

/// The fields of one message that are signed. Its memory is reused for the next message.
#[derive(Default)]
pub(super) struct Selection {
    // `bottom` has, for each entry of the list, the index of the lowest field with that name. `above` has, for each field of the
    // message, the index of the next field above it with the same name.
    bottom: Vec<u32>,
    above: Vec<u32>,
}

/// One name in `h=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signed<'a> {
    /// A field the signature covers.
    Field { name: &'a str, index: usize },
    /// A name listed once more than it occurs: the signature breaks if such a field is added (RFC 6376 §5.4).
    Seal { name: &'a str },
}

impl Selection {
    /// Finds the fields of the list in a message. `fields` is the header from top to bottom.
    pub(super) fn choose(&mut self, list: &HeaderList, fields: &[Field<'_>]) {
        self.bottom.clear();
        self.bottom.resize(list.entries.len(), NONE);
        self.above.clear();
        for (index, field) in (0u32..).zip(fields) {
            let above =
                list.position(field.name()).map_or(NONE, |entry| std::mem::replace(&mut self.bottom[entry], index));
            self.above.push(above);
        }
    }

    /// Returns the names of `h=` in order.
    pub(super) fn iter<'a>(&'a self, list: &'a HeaderList) -> impl Iterator<Item = Signed<'a>> {
        list.entries.iter().zip(&self.bottom).flat_map(move |(entry, bottom)| {
            let name = &*entry.name;
            let index = |at: u32| (at != NONE).then_some(at as usize);
            let is_sealed = match entry.sealed {
                Sealed::Always => true,
                Sealed::WherePresent => *bottom != NONE,
                Sealed::Never => false,
            };
            std::iter::successors(index(*bottom), move |at| index(self.above[*at]))
                .map(move |index| Signed::Field { name, index })
                .chain(is_sealed.then_some(Signed::Seal { name }))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::headers;

    fn chosen(list: &HeaderList, block: &str) -> Vec<String> {
        let fields: Vec<_> = headers::fields(block.as_bytes()).map(Result::unwrap).collect();
        let mut selection = Selection::default();
        selection.choose(list, &fields);
        selection
            .iter(list)
            .map(|signed| match signed {
                Signed::Field { name, index } => format!("{name}#{index}"),
                Signed::Seal { name } => name.to_owned(),
            })
            .collect()
    }

    #[test]
    fn repeated_fields_are_signed_from_the_bottom_up() {
        let list = HeaderList::new(["to"], ["references"]).unwrap();
        let block = "To: a\r\nReferences: 1\r\nFROM: x\r\nReceived: r\r\nto: b\r\nREFERENCES: 2\r\n";
        let expected = ["from#2", "from", "to#4", "to#0", "to", "references#5", "references#1"];
        assert_eq!(chosen(&list, block), expected);
    }

    #[test]
    fn one_click_unsubscription_is_signed_under_any_list() {
        let list = HeaderList::new([], []).unwrap();
        let block = "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nFrom: x\r\nList-Unsubscribe: <https://x>\r\n";
        assert_eq!(
            chosen(&list, block),
            [
                "from#1",
                "from",
                "list-unsubscribe#2",
                "list-unsubscribe",
                "list-unsubscribe-post#0",
                "list-unsubscribe-post"
            ]
        );
    }

    #[test]
    fn what_lists_add_to_single_mail_is_sealed_only_where_the_message_has_it() {
        let list = HeaderList::new([], ["List-Id", "Feedback-ID", "Resent-From", "X-Own"]).unwrap();
        assert_eq!(chosen(&list, "From: x\r\n"), ["from#0", "from"]);
        let block = "From: x\r\nlist-id: 1\r\nResent-From: x\r\nX-Own: 1\r\nFeedback-ID: 2\r\n";
        let expected =
            ["from#0", "from", "list-id#1", "list-id", "feedback-id#4", "feedback-id", "resent-from#2", "x-own#3"];
        assert_eq!(chosen(&list, block), expected);
        // A field that the operator lists is sealed in any case.
        let list = HeaderList::new(["List-Unsubscribe"], []).unwrap();
        assert_eq!(chosen(&list, "From: x\r\n"), ["from#0", "from", "list-unsubscribe"]);
    }

    #[test]
    fn what_changes_on_the_way_is_never_signed() {
        for name in
            ["Received", "return-path", "BCC", "X-MJ-CustomID", "x-mailjet-campaign", "DKIM-Signature", "", "a b", "a:"]
        {
            assert!(HeaderList::new([name], []).is_err(), "{name:?}");
            assert!(HeaderList::new([], [name]).is_err(), "{name:?}");
        }
    }

    #[test]
    fn the_default_list_follows_current_practice() {
        let list = HeaderList::default();
        let sealed: Vec<_> = list.names().filter(|(_, sealed)| *sealed).map(|(name, _)| name).collect();
        assert_eq!(sealed, SEALED);
        assert!(list.names().any(|name| name == ("list-unsubscribe-post", false)));
    }
}
