//! The submitter's own names for a message: a reference, a campaign, tags. They come back in every event about it.
//!
//! `X-Postbud-Reference`, `X-Postbud-Campaign` and `X-Postbud-Tags` are meant for this relay only. They are cut before the message is
//! signed, and a malformed one is refused with its name. `X-MJ-CustomID` and `X-Mailjet-Campaign` have the same meaning if the message has
//! no field of ours for it. They stay in the message for Mailjet, which also judges malformed ones.

use thiserror::Error;

use super::display;
use super::headers::Field;
use crate::visible::is_unseen;

/// The most octets of a reference or a campaign.
const NAME: usize = 255;
/// The most octets of a tag.
const TAG: usize = 64;
/// The most tags of one message.
const TAGS: usize = 20;

/// The submitter's names for a message. Each is empty if the submitter gave none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    /// The submitter's reference, for this message alone.
    pub reference: Option<Box<str>>,
    /// The campaign that the message belongs to.
    pub campaign: Option<Box<str>>,
    /// Words that group messages as the submitter likes.
    pub tags: Box<[Box<str>]>,
    /// Which of Mailjet's fields are added on the way to Mailjet.
    pub for_mailjet: ForMailjet,
}

/// Decides which of Mailjet's fields a message gets on the way to Mailjet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForMailjet {
    /// The reference came in X-Postbud-Reference, and the message has no X-MJ-CustomID.
    pub adds_reference: bool,
    /// The campaign came in X-Postbud-Campaign, and the message has no X-Mailjet-Campaign.
    pub adds_campaign: bool,
    /// The message has its own X-MJ-EventPayload.
    pub has_payload: bool,
}

/// Why one of our fields is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReferenceError {
    /// The name begins with `X-Postbud-`, but there is no such field.
    #[error("is not known: there are X-Postbud-Reference, X-Postbud-Campaign and X-Postbud-Tags")]
    Unknown,
    /// The field stands in the header more than once.
    #[error("occurs more than once")]
    Twice,
    /// The value is too long.
    #[error("is longer than {0} octets")]
    TooLong(usize),
    /// The field names too many tags.
    #[error("names more than {0} tags")]
    TooMany(usize),
    /// A tag is too long.
    #[error("has a tag that is longer than {0} octets")]
    LongTag(usize),
    /// The value holds characters that cannot be seen, or octets that are not UTF-8.
    #[error("holds characters that cannot be seen; use plain text, UTF-8 or encoded words")]
    Unseen,
}

/// Collects the fields that name the message, while the header is read.
#[derive(Default)]
pub(super) struct ReferenceFields<'a> {
    reference: Option<&'a [u8]>,
    campaign: Option<&'a [u8]>,
    tags: Option<&'a [u8]>,
    mailjet_reference: Option<&'a [u8]>,
    mailjet_campaign: Option<&'a [u8]>,
    has_payload: bool,
}

/// What happens to a header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldUse {
    /// The field has nothing to do with references.
    Other,
    /// The field was read, and stays in the message for Mailjet.
    Kept,
    /// The field was read, and is cut.
    Cut,
}

impl<'a> ReferenceFields<'a> {
    /// Looks at one field. A field with another name costs two comparisons.
    pub fn take(&mut self, field: &Field<'a>) -> Result<FieldUse, ReferenceError> {
        let [b'X' | b'x', b'-', b'P' | b'p' | b'M' | b'm', ..] = field.name() else { return Ok(FieldUse::Other) };
        if field.is("X-MJ-CustomID") {
            self.mailjet_reference = Some(field.value());
        } else if field.is("X-Mailjet-Campaign") {
            self.mailjet_campaign = Some(field.value());
        } else if field.is("X-MJ-EventPayload") {
            self.has_payload = true;
        } else if field.name().get(..10).is_some_and(|start| start.eq_ignore_ascii_case(b"X-Postbud-")) {
            let place = if field.is("X-Postbud-Reference") {
                &mut self.reference
            } else if field.is("X-Postbud-Campaign") {
                &mut self.campaign
            } else if field.is("X-Postbud-Tags") {
                &mut self.tags
            } else {
                return Err(ReferenceError::Unknown);
            };
            return match place.replace(field.value()) {
                Some(_) => Err(ReferenceError::Twice),
                None => Ok(FieldUse::Cut),
            };
        } else {
            return Ok(FieldUse::Other);
        }
        Ok(FieldUse::Kept)
    }

    /// Reads the values of the collected fields. The error names the field.
    pub fn read(self) -> Result<References, (&'static str, ReferenceError)> {
        let named = |name| move |why| (name, why);
        let reference = self.reference.map(name).transpose().map_err(named("X-Postbud-Reference"))?.flatten();
        let campaign = self.campaign.map(name).transpose().map_err(named("X-Postbud-Campaign"))?.flatten();
        let tags = self.tags.map(tags).transpose().map_err(named("X-Postbud-Tags"))?.unwrap_or_default();
        let for_mailjet = ForMailjet {
            adds_reference: reference.is_some() && self.mailjet_reference.is_none(),
            adds_campaign: campaign.is_some() && self.mailjet_campaign.is_none(),
            has_payload: self.has_payload,
        };
        let of_mailjet = |value: Option<&[u8]>| value.and_then(|value| name(value).ok().flatten());
        Ok(References {
            reference: reference.or_else(|| of_mailjet(self.mailjet_reference)),
            campaign: campaign.or_else(|| of_mailjet(self.mailjet_campaign)),
            tags,
            for_mailjet,
        })
    }
}

/// Reads a reference or a campaign. `None` if the field is empty.
fn name(value: &[u8]) -> Result<Option<Box<str>>, ReferenceError> {
    let text = text(value)?;
    match text.len() {
        0 => Ok(None),
        1..=NAME => Ok(Some(text.into())),
        _ => Err(ReferenceError::TooLong(NAME)),
    }
}

/// Reads tags separated by commas. A repeated tag counts once.
fn tags(value: &[u8]) -> Result<Box<[Box<str>]>, ReferenceError> {
    let mut tags: Vec<Box<str>> = Vec::new();
    for tag in text(value)?.split(',').map(str::trim).filter(|tag| !tag.is_empty()) {
        if tag.len() > TAG {
            return Err(ReferenceError::LongTag(TAG));
        }
        if tags.iter().any(|known| **known == *tag) {
            continue;
        }
        if tags.len() == TAGS {
            return Err(ReferenceError::TooMany(TAGS));
        }
        tags.push(tag.into());
    }
    Ok(tags.into())
}

/// Returns the text of a field: unfolded, with encoded words decoded, without white space at its ends.
fn text(value: &[u8]) -> Result<String, ReferenceError> {
    let text = std::str::from_utf8(value).map_err(|_| ReferenceError::Unseen)?.trim();
    let unfolded = text.replace("\r\n", "").replace('\t', " ");
    let text = display::decoded_text(&unfolded);
    match text.chars().any(|c| is_unseen(c) && !display::is_picture_selector(c)) {
        true => Err(ReferenceError::Unseen),
        false => Ok(text.trim().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::headers::fields;

    fn read(block: &str) -> Result<References, String> {
        let mut found = ReferenceFields::default();
        for field in fields(block.as_bytes()) {
            let field = field.unwrap();
            found.take(&field).map_err(|why| format!("{} {why}", String::from_utf8_lossy(field.name())))?;
        }
        found.read().map_err(|(name, why)| format!("{name} {why}"))
    }

    fn all(block: &str) -> (Option<String>, Option<String>, Vec<String>) {
        let References { reference, campaign, tags, .. } = read(block).unwrap();
        let text = |text: Box<str>| text.into_string();
        (reference.map(text), campaign.map(text), tags.iter().cloned().map(text).collect())
    }

    #[test]
    fn names_are_read_as_a_person_would_write_them() {
        let some = |text: &str| Some(text.to_owned());
        for (block, right) in [
            ("X-Postbud-Reference: order 7\r\n", (some("order 7"), None, vec![])),
            ("x-postbud-reference:  a\r\n  b \r\n", (some("a  b"), None, vec![])),
            ("X-Postbud-Campaign: =?utf-8?Q?for=C3=A5r?=\r\n", (None, some("forår"), vec![])),
            ("X-Postbud-Campaign: forår\r\n", (None, some("forår"), vec![])),
            ("X-Postbud-Tags: a, b,,a ,\r\n\tc d\r\n", (None, None, vec!["a".into(), "b".into(), "c d".into()])),
            ("X-Postbud-Reference:\r\nX-Postbud-Tags: ,\r\n", (None, None, vec![])),
            ("X-MJ-CustomID: 7\r\nX-Mailjet-Campaign: c\r\n", (some("7"), some("c"), vec![])),
            ("X-MJ-CustomID: 7\r\nX-Postbud-Reference: 8\r\n", (some("8"), None, vec![])),
            ("X-Mailjet-Campaign: 7\r\nX-Postbud-Campaign: 8\r\n", (None, some("8"), vec![])),
            // Mailjet judges its own.
            (&format!("X-MJ-CustomID: {}\r\n", "x".repeat(300)), (None, None, vec![])),
            ("X-MJ-CustomID: 7\r\nX-MJ-CustomID: 8\r\n", (some("8"), None, vec![])),
            ("X-Mailer: x\r\nX-Priority: 1\r\nX: y\r\nX-P: z\r\n", (None, None, vec![])),
        ] {
            assert_eq!(all(block), right, "{block}");
        }
        assert_eq!(all(&format!("X-Postbud-Reference: {}\r\n", "x".repeat(255))).0.unwrap().len(), 255);
    }

    #[test]
    fn what_is_malformed_is_refused_by_its_name() {
        let many: Vec<String> = (0..21).map(|n| n.to_string()).collect();
        for (block, why) in [
            ("X-Postbud-Reference: a\r\nX-Postbud-Reference: b\r\n", "X-Postbud-Reference occurs more than once"),
            (&format!("X-Postbud-Campaign: {}\r\n", "x".repeat(256)), "X-Postbud-Campaign is longer than 255 octets"),
            (&format!("X-Postbud-Tags: a,{}\r\n", "x".repeat(65)), "X-Postbud-Tags has a tag that is longer than 64"),
            (&format!("X-Postbud-Tags: {}\r\n", many.join(",")), "X-Postbud-Tags names more than 20 tags"),
            ("X-Postbud-Reference: a\u{7}b\r\n", "X-Postbud-Reference holds characters that cannot be seen"),
            ("X-Postbud-Reference: a\u{202e}b\r\n", "X-Postbud-Reference holds characters that cannot be seen"),
            ("X-Postbud-Reference: =?utf-8?B?DQo=?=x\r\n", "X-Postbud-Reference holds characters that cannot be seen"),
            ("X-Postbud-Campain: a\r\n", "X-Postbud-Campain is not known"),
            ("X-Postbud-: a\r\n", "X-Postbud- is not known"),
        ] {
            let refused = read(block).unwrap_err();
            assert!(refused.starts_with(why), "{block}: {refused}");
        }
    }

    #[test]
    fn mailjet_is_told_what_only_our_fields_say() {
        let told = |block: &str| read(block).unwrap().for_mailjet;
        let ours = "X-Postbud-Reference: 7\r\nX-Postbud-Campaign: c\r\n";
        let both = ForMailjet { adds_reference: true, adds_campaign: true, has_payload: false };
        assert_eq!(told(ours), both);
        assert_eq!(told(&format!("{ours}X-MJ-CustomID: 8\r\n")), ForMailjet { adds_reference: false, ..both });
        assert_eq!(told(&format!("{ours}X-Mailjet-Campaign: 8\r\n")), ForMailjet { adds_campaign: false, ..both });
        assert_eq!(told(&format!("{ours}X-MJ-EventPayload: 8\r\n")), ForMailjet { has_payload: true, ..both });
        assert_eq!(told("X-MJ-CustomID: 8\r\n"), ForMailjet::default());
    }
}
