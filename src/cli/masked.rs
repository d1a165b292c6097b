//! Hides the local parts of mail addresses in text, because readers of the program's log need not know who gets mail.

use std::borrow::Cow;

/// Replaces the hidden part.
const MASK: char = '…';

/// Returns the text with `…@example.com` in place of each address. Text that may belong to the local part is also replaced, for example the
/// name of a field directly before it.
pub(super) fn masked(text: &str) -> Cow<'_, str> {
    let mut shown = String::new();
    let mut from = 0;
    for (at, _) in text.match_indices('@') {
        let start = from + local_part(&text[from..at]);
        if start < at && begins_domain(&text[at + 1..]) {
            shown.push_str(&text[from..start]);
            shown.push(MASK);
            from = at;
        }
    }
    if from == 0 {
        return Cow::Borrowed(text);
    }
    shown.push_str(&text[from..]);
    Cow::Owned(shown)
}

/// Returns the start of the local part in the text before the @.
fn local_part(before: &str) -> usize {
    // A quoted string, possibly in JSON, where its quotation marks are escaped.
    if let Some(rest) = before.strip_suffix('"') {
        let opening = rest.rfind('"').map_or(0, |quote| rest[..quote].trim_end_matches('\\').len());
        return opening;
    }
    let is_part =
        |c: char| c.is_alphanumeric() || (!c.is_ascii() && !c.is_whitespace()) || ".!#$%&'*+-/=?^_`{|}~".contains(c);
    before.trim_end_matches(is_part).len()
}

fn begins_domain(after: &str) -> bool {
    after.chars().next().is_some_and(|c| c.is_alphanumeric() || c == '[')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_before_an_at_sign_is_shown() {
        for (text, shown) in [
            ("nothing here", "nothing here"),
            ("to ole@example.com", "to …@example.com"),
            ("<ole.b+x=y@example.com>: 550", "<…@example.com>: 550"),
            ("a@x.dk, b@y.dk;c@[192.0.2.1]", "…@x.dk, …@y.dk;…@[192.0.2.1]"),
            ("\"ole b\"@x.dk said", "…@x.dk said"),
            (r#"{"reply":"<\"ole b\"@x.dk> unknown"}"#, r#"{"reply":"<…@x.dk> unknown"}"#),
            (r#"{"recipient":"ole@x.dk"}"#, r#"{"recipient":"…@x.dk"}"#),
            ("søren@blåbær.dk", "…@blåbær.dk"),
            ("bounce+ole=x.dk@out.dk", "…@out.dk"),
            ("a@b@c.dk", "…@…@c.dk"),
            ("@ alone, x@ and @y", "@ alone, x@ and @y"),
            ("user=ole@x.dk", "…@x.dk"),
            ("o'hara@x.dk", "…@x.dk"),
        ] {
            assert_eq!(masked(text), shown, "{text}");
        }
    }
}
