//! One-click unsubscription (RFC 8058), as the header offers it. Mailbox providers require it of bulk mail.

/// What the header's List-Unsubscribe and List-Unsubscribe-Post fields offer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unsubscribe {
    lists: u8,
    posts: u8,
    has_https: bool,
    is_one_click: bool,
}

impl Unsubscribe {
    /// Reads the value of a List-Unsubscribe field.
    pub(super) fn read_list(&mut self, value: &[u8]) {
        self.lists = self.lists.saturating_add(1);
        self.has_https = has_https(value);
    }

    /// Reads the value of a List-Unsubscribe-Post field.
    pub(super) fn read_post(&mut self, value: &[u8]) {
        self.posts = self.posts.saturating_add(1);
        // RFC 5234 §2.3: the case of this literal text does not matter.
        self.is_one_click = value.trim_ascii().eq_ignore_ascii_case(b"List-Unsubscribe=One-Click");
    }

    /// Returns what is missing for one-click unsubscription, or `None` if it works. Signatures always cover both fields.
    pub fn lacks(&self) -> Option<&'static str> {
        match *self {
            Unsubscribe { lists: 0, .. } => Some("a List-Unsubscribe field"),
            Unsubscribe { lists: 2.., .. } => Some("one List-Unsubscribe field only (RFC 2369 allows no second one)"),
            Unsubscribe { has_https: false, .. } => {
                Some("an https address in List-Unsubscribe, like <https://example.com/u/7>")
            }
            Unsubscribe { posts: 0, .. } => Some("the field \"List-Unsubscribe-Post: List-Unsubscribe=One-Click\""),
            Unsubscribe { posts: 2.., .. } => Some("one List-Unsubscribe-Post field only"),
            Unsubscribe { is_one_click: false, .. } => {
                Some("the value \"List-Unsubscribe=One-Click\" in List-Unsubscribe-Post")
            }
            _ => None,
        }
    }
}

/// Returns true if one of the addresses in angle brackets is an https address with a host. Comments are skipped, and white space inside the
/// brackets is ignored (RFC 2369 §2).
fn has_https(value: &[u8]) -> bool {
    const SCHEME: &[u8] = b"https://";
    let mut octets = value.iter().copied();
    let mut depth = 0_u32;
    while let Some(octet) = octets.next() {
        match octet {
            b'\\' if depth > 0 => {
                octets.next();
            }
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b'<' if depth == 0 => {
                let mut address =
                    octets.by_ref().take_while(|octet| *octet != b'>').filter(|octet| !octet.is_ascii_whitespace());
                let is_https =
                    SCHEME.iter().all(|wanted| address.next().is_some_and(|found| found.eq_ignore_ascii_case(wanted)));
                let has_host = address
                    .next()
                    .is_some_and(|first| first.is_ascii_alphanumeric() || first == b'[' || !first.is_ascii());
                if is_https && has_host {
                    return true;
                }
                // What was not read of this address.
                address.for_each(drop);
            }
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use crate::message::scan::{Bounds, scan};

    const POST: &str = "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n";

    fn lacks(fields: &str) -> Option<&'static str> {
        let block = format!("From: a@test.dk\r\n{fields}");
        scan(block.as_bytes(), Bounds { fields: 10, received: 1 }).unwrap().unsubscribe.lacks()
    }

    #[test]
    fn one_click_in_every_form_that_the_standards_allow() {
        for list in [
            "<https://test.dk/u>",
            "<HTTPS://test.dk/u?x=%3C1>",
            "<mailto:u@test.dk?subject=u>, <https://test.dk/u>",
            "<https://test.dk/u>,\r\n <mailto:u@test.dk>",
            "\r\n <https://test.dk/a/very/long/\r\n path>",
            "< https://test.dk/u >",
            "(use the link) <https://test.dk/u>",
            "(not <mailto:x> (nor \\) this)) <https://test.dk/u>",
            "<https://[2001:db8::1]/u>",
            "<https://bl\u{e5}b\u{e6}r.dk/u>",
        ] {
            assert_eq!(lacks(&format!("List-Unsubscribe: {list}\r\n{POST}")), None, "{list}");
        }
        for post in ["List-Unsubscribe=One-Click", "\r\n List-Unsubscribe=One-Click ", "list-unsubscribe=one-click"] {
            let fields = format!("LIST-UNSUBSCRIBE: <https://test.dk/u>\r\nlist-unsubscribe-post: {post}\r\n");
            assert_eq!(lacks(&fields), None, "{post}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let list = "List-Unsubscribe: <https://test.dk/u>\r\n";
        for (fields, expected) in [
            (String::new(), "a List-Unsubscribe field"),
            (POST.to_owned(), "a List-Unsubscribe field"),
            (format!("{list}{list}{POST}"), "no second one"),
            (list.to_owned(), "the field \"List-Unsubscribe-Post"),
            (format!("{list}{POST}{POST}"), "one List-Unsubscribe-Post field only"),
            (format!("{list}List-Unsubscribe-Post: yes\r\n"), "the value"),
            (format!("{list}List-Unsubscribe-Post: List-Unsubscribe=One-Click; x\r\n"), "the value"),
            (format!("{list}List-Unsubscribe-Post:\r\n"), "the value"),
        ] {
            let found = lacks(&fields).unwrap_or_default();
            assert!(found.contains(expected), "{fields}: {found}");
        }
        for list in [
            "<mailto:u@test.dk>",
            "<http://test.dk/u>",
            "https://test.dk/u",
            "<https://>",
            "<https:/test.dk/u>",
            "<https://>, <mailto:u@test.dk>",
            "<https:///path>",
            "(<https://test.dk/u>) <mailto:u@test.dk>",
            "<",
            "",
        ] {
            let found = lacks(&format!("List-Unsubscribe: {list}\r\n{POST}")).unwrap_or_default();
            assert!(found.starts_with("an https address"), "{list}: {found}");
        }
    }
}
