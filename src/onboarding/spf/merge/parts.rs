//! Collects the terms of all published records as they were meant, each once.

use std::collections::HashSet;

use super::Note;
use crate::onboarding::spf::is_spf;
use crate::onboarding::spf::macros::MacroString;
use crate::onboarding::spf::record::{Directive, Mechanism, Qualifier, Record};
use crate::onboarding::spf::repair::{self, Repair};
use crate::smtp::Domain;

/// The content of the published records.
#[derive(Default)]
pub(super) struct Parts {
    pub directives: Vec<Directive>,
    pub modifiers: Vec<String>,
    /// The mildest `all` of the records.
    pub all: Option<Qualifier>,
    /// The number of records.
    records: usize,
    /// True if one record has two redirects, which makes it void.
    redirects_twice: bool,
    pub notes: Vec<Note>,
    pub unread: Vec<String>,
    /// The terms so far in small letters, because a term counts once.
    known: HashSet<String>,
}

impl Parts {
    /// Adds the terms of one record. `include` is left out where it never counted, because it is added later.
    pub fn add(&mut self, text: &str, include: Option<&Domain>) {
        if !is_spf(text.as_bytes()) {
            self.notes.push(Note::Begun);
        }
        let reading = repair::read(text);
        self.notes.extend(reading.repairs.into_iter().map(Note::Repaired));
        self.unread.extend(reading.unread);
        self.records += 1;
        let (mut ended, mut redirects) = (false, Vec::new());
        for term in reading.terms {
            if is_modifier(&term) {
                match is_redirect(&term) {
                    true => redirects.push(term),
                    false => self.modifier(term),
                }
                continue;
            }
            // The same parser has already read each term.
            let Some(directive) = directive(&term) else { continue };
            match (directive.mechanism == Mechanism::All, ended) {
                (true, false) => {
                    // The milder of two records is used, because no sender that passed may fail.
                    self.all = Some(milder(self.all, directive.qualifier));
                    ended = true;
                }
                (true, true) => self.notes.push(Note::Dead(directive.text)),
                (false, false) => self.directive(directive),
                (false, true) if include.is_some_and(|include| is_include_of(&directive, include)) => {}
                (false, true) if directive.qualifier == Qualifier::Pass => {
                    self.notes.push(Note::Moved(directive.text.clone()));
                    self.directive(directive);
                }
                (false, true) => self.notes.push(Note::Dead(directive.text)),
            }
        }
        self.redirects_twice |= redirects.len() > 1;
        for redirect in redirects {
            // A redirect is ignored if its own record has `all` (RFC 7208 §6.1). Its senders were meant.
            match directive(&included(&redirect)).filter(|_| ended) {
                Some(directive) => {
                    let (written, meant) = (redirect, directive.text.clone());
                    self.notes.push(Note::Repaired(Repair { written, meant }));
                    self.directive(directive);
                }
                None => self.modifier(redirect),
            }
        }
    }

    fn directive(&mut self, directive: Directive) {
        let written = directive.text.to_ascii_lowercase();
        let same = format!("{}{}", directive.qualifier.as_char(), written.trim_start_matches(['+', '-', '~', '?']));
        if self.known.insert(same) {
            self.directives.push(directive);
        }
    }

    fn modifier(&mut self, modifier: String) {
        let written = modifier.to_ascii_lowercase();
        let name = written.split('=').next().unwrap_or_default().to_owned();
        let is_new = self.known.insert(written);
        // RFC 7208 §6: a record with two `exp=` is void.
        if is_new && (name != "exp" || self.known.insert("exp=".to_owned())) {
            self.modifiers.push(modifier);
        }
    }

    /// Turns the targets of redirects into includes if there are several records. A record can redirect to one name only, and only if it
    /// does not end in `all`.
    pub fn redirects_become_includes(&mut self) {
        if self.records < 2 && !self.redirects_twice {
            return;
        }
        let (redirects, rest) = std::mem::take(&mut self.modifiers).into_iter().partition(|m: &String| is_redirect(m));
        self.modifiers = rest;
        for target in redirects {
            if let Some(directive) = directive(&included(&target)) {
                self.directive(directive);
            }
        }
    }

    /// Puts our include where it is effective: it must be a pass, and no term before it may match us with another result.
    pub fn include(&mut self, include: &Domain) {
        let is_ours = |d: &Directive| is_include_of(d, include);
        let directives = &mut self.directives;
        let first_catch = directives.iter().position(|d| d.qualifier != Qualifier::Pass).unwrap_or(directives.len());
        let in_place = directives
            .iter()
            .position(|d| is_ours(d) && d.qualifier == Qualifier::Pass)
            .is_some_and(|at| at <= first_catch);
        if in_place {
            // One is enough, because each costs a lookup.
            let mut seen = false;
            directives
                .retain(|d| !is_ours(d) || (d.qualifier == Qualifier::Pass && !std::mem::replace(&mut seen, true)));
            return;
        }
        directives.retain(|d| !is_ours(d));
        let at = directives.iter().position(|d| d.qualifier != Qualifier::Pass).unwrap_or(directives.len());
        // Only the text is published, so the mechanism need not change.
        let text = format!("include:{include}");
        directives.insert(at, Directive { qualifier: Qualifier::Pass, mechanism: Mechanism::All, text });
    }
}

fn directive(term: &str) -> Option<Directive> {
    Record::parse(&format!("v=spf1 {term}")).ok().and_then(|mut record| record.directives.pop())
}

fn is_modifier(term: &str) -> bool {
    Record::parse(&format!("v=spf1 {term}")).is_ok_and(|record| !record.modifiers.is_empty())
}

pub(super) fn is_redirect(modifier: &str) -> bool {
    modifier.get(.."redirect=".len()).is_some_and(|name| name.eq_ignore_ascii_case("redirect="))
}

/// Returns the include of the name that a record redirects to.
fn included(redirect: &str) -> String {
    format!("include:{}", &redirect["redirect=".len()..])
}

fn is_include_of(directive: &Directive, include: &Domain) -> bool {
    matches!(&directive.mechanism, Mechanism::Include(name) if names(name, include))
}

fn names(name: &MacroString, domain: &Domain) -> bool {
    name.literal().is_some_and(|text| text.trim_end_matches('.').eq_ignore_ascii_case(domain.as_str()))
}

fn milder(before: Option<Qualifier>, now: Qualifier) -> Qualifier {
    let rank = |q| match q {
        Qualifier::Fail => 0,
        Qualifier::SoftFail => 1,
        Qualifier::Neutral => 2,
        Qualifier::Pass => 3,
    };
    match before {
        Some(before) if rank(before) > rank(now) => before,
        _ => now,
    }
}
