//! The texts of all pages: one constant for each language, so that a text that is missing in one language does not compile. The texts of
//! each interface are in its own folder, in the same form.

mod da;
mod en;

use crate::onboarding::Lang;

/// The texts that every page may need. A problem has a title, what is wrong, and what to do.
pub(crate) struct Words {
    /// The link that skips the top of the page.
    pub skip: &'static str,
    pub from_webcrm: &'static str,
    /// The label of the button that copies.
    pub copy: &'static str,
    /// The label after copying.
    pub copied: &'static str,
    pub not_found: [&'static str; 3],
    pub expired: [&'static str; 3],
    pub too_many: [&'static str; 3],
    /// The sentence that says after how many seconds to try again.
    pub wait: fn(u64) -> String,
    pub stale_form: [&'static str; 3],
    pub unreadable: [&'static str; 3],
    pub forbidden: [&'static str; 3],
    pub unavailable: [&'static str; 3],
    pub failed: [&'static str; 3],
    pub too_slow: [&'static str; 3],
    pub refused: [&'static str; 3],
}

/// Returns the texts in a language.
pub(crate) fn words(lang: Lang) -> &'static Words {
    match lang {
        Lang::Da => &da::WORDS,
        Lang::En => &en::WORDS,
    }
}
