//! The parts that pages are made of.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, html};

use super::text::words;
use crate::onboarding::Lang;
use crate::visible::visible;

/// The maximum number of characters of a stranger's text that are shown.
const LONGEST_STRANGE: usize = 600;

/// The state of something, which decides its colour and its sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mood {
    /// It is in order.
    Good,
    /// It is neither good nor bad.
    Calm,
    /// Somebody should do something, or it is not known yet.
    Wait,
    Bad,
}

impl Mood {
    /// Returns the class in the style sheet.
    pub fn class(self) -> &'static str {
        match self {
            Mood::Good => "good",
            Mood::Calm => "calm",
            Mood::Wait => "wait",
            Mood::Bad => "bad",
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Mood::Good => "✓",
            Mood::Calm => "–",
            Mood::Wait => "…",
            Mood::Bad => "!",
        }
    }
}

/// Makes a status: a sign, which screen readers skip, and a word.
pub(crate) fn badge(mood: Mood, word: &str) -> Markup {
    html! { span class={ "badge " (mood.class()) } { span aria-hidden="true" { (mood.sign()) } span { (word) } } }
}

/// Makes a stranger's text visible: every character is shown, and the text is limited.
pub(crate) fn strange(text: &str) -> Cow<'_, str> {
    let shown = visible(text);
    match shown.char_indices().nth(LONGEST_STRANGE) {
        None => shown,
        Some((end, _)) => Cow::Owned(format!("{}…", &shown[..end])),
    }
}

/// Makes a value with a button that copies it. `id` is unique on the page. Exactly `text` is copied.
pub(crate) fn copyable(lang: Lang, id: &str, what: &str, text: &str) -> Markup {
    html! {
        div.copy {
            code #(id) { (text) }
            (copier(lang, id, what))
        }
    }
}

/// Makes a text of several lines with such a button.
pub(crate) fn copyable_lines(lang: Lang, id: &str, what: &str, text: &str) -> Markup {
    html! {
        div.copy {
            pre #(id) tabindex="0" { (text) }
            (copier(lang, id, what))
        }
    }
}

/// Makes the button that copies. It is hidden until a script shows it, because it needs the script.
pub(crate) fn copier(lang: Lang, id: &str, what: &str) -> Markup {
    let words = words(lang);
    html! {
        button.copier type="button" hidden data-copy=(id) data-done=(words.copied) aria-label={ (words.copy) ": " (what) } {
            (words.copy)
        }
    }
}

/// A drawing that brings colours for light and dark of its own, which the page's policy would refuse within the page. `narrow` is the same
/// for a phone. `said` tells it in words.
pub(crate) fn drawing(wide: &str, narrow: &str, said: &str) -> Markup {
    let url = |svg: &str| format!("data:image/svg+xml;base64,{}", STANDARD.encode(svg));
    html! {
        picture {
            source media="(max-width: 40rem)" srcset=(url(narrow));
            img.drawing src=(url(wide)) alt=(said);
        }
    }
}

/// A field of a form.
pub(crate) struct Field<'a> {
    /// Its name in the form, and its id on the page.
    pub name: &'a str,
    /// The text beside the input field.
    pub label: &'a str,
    /// The hint below the label; empty for none.
    pub hint: &'a str,
    /// `text`, `number`, `password`, `email` …
    pub kind: &'a str,
    /// The value that is filled in. A password is never filled in again.
    pub value: &'a str,
    /// What is wrong with the entered value.
    pub error: Option<&'a str>,
    /// What the browser may fill in: `off`, `username`, `current-password` …
    pub autocomplete: &'a str,
    /// True if the form requires it.
    pub required: bool,
}

impl Field<'_> {
    /// Makes the field with its label, its hint and its error, which screen readers read with it.
    pub fn render(&self) -> Markup {
        let Field { name, label, hint, kind, value, error, autocomplete, required } = self;
        let (hint_id, error_id) = (format!("{name}-hint"), format!("{name}-error"));
        let described: Vec<&str> = [(!hint.is_empty(), &hint_id), (error.is_some(), &error_id)]
            .into_iter()
            .filter_map(|(is_there, id)| is_there.then_some(id.as_str()))
            .collect();
        let described = (!described.is_empty()).then(|| described.join(" "));
        html! {
            div.field {
                label for=(name) { (label) }
                @if !hint.is_empty() { p.hint #(hint_id) { (hint) } }
                @if let Some(error) = error { p.error #(error_id) { (error) } }
                input #(name) name=(name) type=(kind) value=(value) autocomplete=(autocomplete) spellcheck="false"
                    autocapitalize="none" required[*required] aria-describedby=[described]
                    aria-invalid=[error.map(|_| "true")];
            }
        }
    }
}

/// Makes fields of a search that are used rarely: they are behind a word, unless one of them is filled in.
pub(crate) fn more_fields(word: &str, fields: &[Field<'_>]) -> Markup {
    html! {
        details open[fields.iter().any(|field| !field.value.is_empty())] {
            summary { (word) }
            div.filter { @for field in fields { (field.render()) } }
        }
    }
}

/// Makes a choice of one value: name, label, and the choices with their values and words.
pub(crate) fn select(name: &str, label: &str, choices: &[(&str, &str)], chosen: &str) -> Markup {
    html! {
        div.field {
            label for=(name) { (label) }
            select #(name) name=(name) {
                @for (value, words) in choices {
                    option value=(value) selected[*value == chosen] { (words) }
                }
            }
        }
    }
}

/// Makes a table. Each cell also has its heading, for phones. A heading that begins with `#` is for numbers. What is wider than the screen
/// is scrolled sideways, by keyboard too (WCAG 2.2, 2.1.1): so it can have the focus, and a reader says its caption.
pub(crate) fn table(caption: &str, headings: &[&str], rows: impl IntoIterator<Item = Vec<Markup>>) -> Markup {
    let is_number = |heading: &str| heading.starts_with('#').then_some("number");
    let plain = |heading: &str| heading.trim_start_matches('#').to_owned();
    html! {
        div.scroll tabindex="0" role="region" aria-label=(caption) {
            table.cards {
                caption { (caption) }
                thead { tr { @for heading in headings { th scope="col" class=[is_number(heading)] { (plain(heading)) } } } }
                tbody {
                    @for row in rows {
                        tr {
                            @for (cell, heading) in row.into_iter().zip(headings) {
                                td class=[is_number(heading)] data-heading=(plain(heading)) { div { (cell) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strangers_write_stays_text() {
        let hostile = "\"><script>alert(1)</script>\u{202e}\u{1b}[2J' onload=x";
        let all = [
            badge(Mood::Bad, hostile),
            copyable(Lang::Da, "x", hostile, hostile),
            table(hostile, &[hostile], [vec![html! { (strange(hostile)) }]]),
            drawing(hostile, hostile, hostile),
            Field {
                name: "x",
                label: hostile,
                hint: hostile,
                kind: "text",
                value: hostile,
                error: Some(hostile),
                autocomplete: "off",
                required: true,
            }
            .render(),
        ];
        for markup in all {
            let text = markup.into_string();
            assert!(!text.contains("<script") && !text.contains("\"><script"), "{text}");
        }
        assert!(!strange(hostile).contains(['\u{202e}', '\u{1b}']));
        assert!(strange(&"æ".repeat(5000)).chars().count() <= LONGEST_STRANGE + 1);
    }
}
