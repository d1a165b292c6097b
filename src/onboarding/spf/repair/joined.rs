//! Joins tokens that a space has split: `include: x.dk`, `- all`, `ip4:192.0.2.0 /24`, `"include:a.d" "k"`.

use super::{Meant, Token, glued, is_all, term};

/// Joins neighbouring tokens that make a term only together.
pub fn join(tokens: Vec<Token>) -> Vec<Token> {
    let mut joined: Vec<Token> = Vec::with_capacity(tokens.len());
    let mut tokens = tokens.into_iter().peekable();
    while let Some(next) = tokens.next() {
        let is_until = matches!(next.text.as_str(), "-" | "to" | "til" | "bis");
        match joined.last_mut() {
            // In `ip4:192.0.2.4 - 192.0.2.9` the hyphen says nothing without the address behind it.
            Some(before)
                if is_until
                    && let Some(behind) =
                        tokens.next_if(|behind| is_range(&format!("{}-{}", before.text, behind.text))) =>
            {
                before.text = format!("{}-{}", before.text, behind.text);
                before.words.1 = behind.words.1;
                before.closes = behind.closes;
            }
            Some(before) if let Some(text) = together(before, &next) => {
                before.text = text;
                before.words.1 = next.words.1;
                before.closes = next.closes;
            }
            _ => joined.push(next),
        }
    }
    joined
}

fn together(before: &Token, next: &Token) -> Option<String> {
    let (left, right) = (before.text.as_str(), next.text.as_str());
    let straight = || format!("{left}{right}");
    let is_middle = |c: char| matches!(c, '/' | '.');
    let is_sign = |c: char| matches!(c, ':' | '=');
    let bare = left.trim_start_matches(['+', '-', '~', '?']);
    // `ip4 : x` and `ip4 :x` are joined in steps: the sign first.
    let name = bare.trim_end_matches(is_sign);
    let is_one_of = |names: &[&str]| names.iter().any(|known| name.eq_ignore_ascii_case(known));
    let wants_argument = is_one_of(&["include", "exists", "redirect", "ip4", "ip6", "ipv4", "ipv6", "ip"]);
    let is_named = wants_argument || is_one_of(&["a", "mx", "ptr", "exp"]);
    if is_named && name.len() == bare.len() && matches!(right, ":" | "=") {
        return Some(straight());
    }
    if (left.ends_with('-') || right.starts_with('-')) && is_range(&straight()) {
        return Some(straight());
    }
    // A hyphen may have been meant as a bullet. It is only certain before `all`.
    let is_qualifier = |c: char| matches!(c, '+' | '-' | '~' | '?');
    let is_torn = (bare.is_empty() && (!left.contains('-') || is_all(right)))
        || (is_named && (left.ends_with(is_sign) || right.starts_with(is_sign)))
        || left.ends_with(is_middle)
        || right.starts_with(is_middle)
        || (before.closes && next.opens && !reads(right))
        // `mx- all`
        || (left.ends_with(is_qualifier) && is_all(right) && !right.starts_with(is_qualifier));
    // An argument that is missing was not `ip4:192.0.2.1`: that is the next term.
    let is_next = left.ends_with(is_sign) && glued::begins(right);
    if is_torn && !is_next && reads(&straight()) && !(reads(left) && reads(right)) {
        return Some(straight());
    }
    let with_colon = || format!("{left}:{right}");
    (wants_argument && name.len() == bare.len() && reads(&with_colon())).then(with_colon)
}

fn is_range(text: &str) -> bool {
    // Two IPv4 addresses and a name.
    text.len() <= 40 && term::range(text).is_some()
}

/// Returns true if a text consists of terms only.
fn reads(text: &str) -> bool {
    // A name has at most 253 octets, so longer texts are not joined further.
    text.len() <= 300 && glued::terms(text).iter().all(|meant| matches!(meant, Meant::Term(_)))
}
