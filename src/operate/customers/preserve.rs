//! Puts back what an edit of a TOML text takes along although nobody asked for it: comments inside and behind removed values, and the line
//! ends of a file from Windows.

use std::collections::HashMap;

/// A comment in a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Comment<'t> {
    /// The number of its line, from 0.
    line: usize,
    /// From `#` to the end of the line.
    pub text: &'t str,
}

/// Returns the edited text with all comments and the line ends of the text before it.
pub(super) fn as_before(before: &str, edited: &str) -> String {
    // An edit may leave the line ends within strings.
    with_line_ends(before, &with_comments(before, &edited.replace("\r\n", "\n")))
}

/// Returns the comments of a TOML text, in their order.
pub(super) fn comments(text: &str) -> Vec<Comment<'_>> {
    let (mut found, mut line, mut rest) = (Vec::new(), 0, text);
    while let Some(at) = rest.find(['\n', '#', '"', '\'']) {
        let from = &rest[at..];
        let len = match from.as_bytes()[0] {
            b'\n' => 1,
            b'#' => {
                let len = from.find('\n').unwrap_or(from.len());
                found.push(Comment { line, text: from[..len].trim_end() });
                len
            }
            _ => string_len(from),
        };
        line += from[..len].matches('\n').count();
        rest = &from[len..];
    }
    found
}

/// Returns the length of the string at the beginning of the text.
fn string_len(text: &str) -> usize {
    let quote = &text[..1];
    let has_three = text.starts_with(&quote.repeat(3));
    let mark = quote.repeat(if has_three { 3 } else { 1 });
    let mut at = mark.len();
    while let Some(next) = text[at..].find(['\\', '"', '\'']) {
        at += next;
        let rest = &text[at..];
        if rest.starts_with(&mark) {
            // Up to two more quotation marks may stand before the three that close.
            let quotes = rest.len() - rest.trim_start_matches(quote).len();
            return at + if has_three { quotes.min(5) } else { 1 };
        }
        at += match rest.starts_with('\\') && quote == "\"" {
            true => rest.chars().take(2).map(char::len_utf8).sum(),
            false => 1,
        };
    }
    text.len()
}

/// Puts comments that are missing back, each behind the last line before it that is still there.
fn with_comments(before: &str, edited: &str) -> String {
    let mut left: Vec<&str> = comments(edited).into_iter().map(|comment| comment.text).collect();
    let mut lost = comments(before);
    // A line that was made a comment has the comment that stood behind it at its end.
    let whole: fn(&str, &str) -> bool = |text, comment| text == comment;
    let at_end: fn(&str, &str) -> bool = |text, comment| text.ends_with(comment);
    for is_kept in [whole, at_end] {
        lost.retain(|comment| match left.iter().position(|text| is_kept(text, comment.text)) {
            Some(at) => {
                left.swap_remove(at);
                false
            }
            None => true,
        });
    }
    if lost.is_empty() {
        return edited.to_owned();
    }
    let old: Vec<&str> = before.lines().collect();
    let mut lines: Vec<&str> = edited.lines().collect();
    let mut back: HashMap<usize, &str> = HashMap::new();
    for comment in &lost {
        // A line is there as it was, or only its comment is, which has come back before this one.
        let place = |at: usize| {
            let is_it = |line: &&str| !line.trim().is_empty() && (*line == old[at] || back.get(&at) == Some(line));
            lines.iter().position(is_it)
        };
        let above = (0..comment.line).rev().find_map(place);
        lines.insert(above.map_or(0, |at| at + 1), comment.text);
        back.insert(comment.line, comment.text);
    }
    let restored = lines.join("\n") + "\n";
    // Between the lines of a string, a comment would become a part of it.
    let values = |text: &str| text.parse::<toml::Table>().ok();
    if values(&restored).is_some_and(|restored| Some(restored) == values(edited)) {
        return restored;
    }
    let end = if edited.is_empty() || edited.ends_with('\n') { "" } else { "\n" };
    lost.iter().fold(format!("{edited}{end}"), |text, comment| text + comment.text + "\n")
}

/// Gives each line the end that it had. Others get that of the first line.
fn with_line_ends(before: &str, edited: &str) -> String {
    if !before.contains("\r\n") {
        return edited.to_owned();
    }
    let mut ends: HashMap<&str, &str> = HashMap::new();
    let cut = |line: &'_ str| -> usize { line.trim_end_matches(['\r', '\n']).len() };
    for line in before.split_inclusive('\n') {
        let (text, end) = line.split_at(cut(line));
        ends.entry(text).or_insert(end);
    }
    let usual = before.split_inclusive('\n').next().map_or("\n", |line| &line[cut(line)..]);
    let line = |line: &str| {
        let (text, end) = line.split_at(cut(line));
        let known = ends.get(text).filter(|end| !end.is_empty());
        format!("{text}{}", if end.is_empty() { end } else { known.unwrap_or(&usual) })
    };
    edited.split_inclusive('\n').map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_told_from_strings() {
        let text = r##"a = "# no \" #" # one
b = '# \' # two
c = """
# no \""" """"" # three
d = '''
#'
''''' # four
#five"##;
        let found: Vec<(usize, &str)> = comments(text).iter().map(|comment| (comment.line, comment.text)).collect();
        assert_eq!(found, [(0, "# one"), (1, "# two"), (3, "# three"), (6, "# four"), (7, "#five")]);
        assert!(text.parse::<toml::Table>().is_ok());
        for broken in ["\"", "'''", "a = \"\"\"\\", "é = \"\\é", "# ü\né"] {
            comments(broken);
        }
    }

    #[test]
    fn a_comment_comes_back_where_it_was_and_never_into_a_string() {
        let before = "a = 1\n# one\nb = 2 # two\n# three\nc = 3\n";
        assert_eq!(as_before(before, "a = 1\nc = 3\n"), "a = 1\n# one\n# two\n# three\nc = 3\n");
        assert_eq!(as_before("# one\na = 1\n", ""), "# one\n");
        assert_eq!(as_before("a = 1 # one\n", "# a = 1 # one\n"), "# a = 1 # one\n");
        let text = "a = \"\"\"\nx\n\"\"\"\n";
        assert_eq!(as_before(&format!("b = [\nx\n# one\n]\n{text}"), text), format!("{text}# one\n"));
    }

    #[test]
    fn each_line_keeps_the_end_that_it_had() {
        let before = "a = 1\r\nb = 2\nc = 3\r\n";
        assert_eq!(as_before(before, "a = 1\nb = 2\nd = 4\n"), "a = 1\r\nb = 2\nd = 4\r\n");
        assert_eq!(as_before("a = 1\n", "b = 1\n"), "b = 1\n");
    }
}
