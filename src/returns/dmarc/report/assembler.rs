//! Assembles a report from its elements, in the order in which they come.

use super::section::Section;
use super::tag::{Tag, tag};
use super::values::{self, passes};
use super::{DEEPEST, Disposition, Head, Repair, Repairs, ReportRecord, Unreadable, time};
use crate::onboarding::dmarc::Policy;
use crate::smtp::Domain;
use crate::visible::visible;

/// The most octets of a value that are kept.
const LONGEST_VALUE: usize = 512;
/// The most results of one method in one record.
pub(super) const MOST_RESULTS: usize = 32;
/// The most messages that one record may claim.
pub(super) const MOST_MESSAGES: u64 = 1_000_000_000;
/// The most digits of an implausible number that are shown.
const LONGEST_COUNT: usize = 30;
const DAY: u64 = 86_400;

/// What an end tag ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Element,
    Report,
}

/// A report that is being read.
pub(super) struct Assembler<'a> {
    each: &'a mut dyn FnMut(&ReportRecord),
    pub repairs: Repairs,
    /// The open elements, each with the section inside it.
    open: Vec<(Tag, Section)>,
    text: String,
    /// The name of the first element, if it is not a report's.
    other: Option<String>,
    is_report: bool,
    reporter: String,
    email: String,
    id: String,
    begins: Option<u64>,
    ends: Option<u64>,
    domain: Option<Domain>,
    policy: Option<Policy>,
    record: ReportRecord,
    /// The count as written; `None` if the record has none.
    messages: Option<u64>,
    /// The last From domain as written and as parsed, because it is usually repeated.
    from: (String, Option<Domain>),
    records: u64,
}

impl<'a> Assembler<'a> {
    pub fn new(each: &'a mut dyn FnMut(&ReportRecord)) -> Self {
        Assembler {
            each,
            repairs: Repairs::default(),
            open: Vec::new(),
            text: String::new(),
            other: None,
            is_report: false,
            reporter: String::new(),
            email: String::new(),
            id: String::new(),
            begins: None,
            ends: None,
            domain: None,
            policy: None,
            record: ReportRecord::default(),
            messages: None,
            from: (String::new(), None),
            records: 0,
        }
    }

    fn section(&self) -> Section {
        self.open.last().map_or(Section::Outside, |(_, section)| *section)
    }

    /// Processes a start tag.
    pub fn start(&mut self, name: &str) -> Result<(), Unreadable> {
        let (tag, as_written) = tag(name);
        if !as_written {
            self.repairs.note(Repair::Names);
        }
        if self.open.is_empty() && !self.is_report && tag != Tag::Feedback && self.other.is_none() {
            self.other = Some(visible(&name.chars().take(40).collect::<String>()).into_owned());
        }
        if self.open.len() == DEEPEST {
            return Err(Unreadable::TooDeep);
        }
        self.is_report |= matches!(tag, Tag::Feedback | Tag::PolicyPublished | Tag::Record);
        let section = self.section().inside(tag);
        match tag {
            Tag::Record => match self.open.iter().position(|(open, _)| *open == Tag::Record) {
                // A record without its end tag counts as complete.
                Some(at) => {
                    self.repairs.note(Repair::Nesting);
                    self.open.truncate(at);
                    self.end_record();
                }
                None => self.begin_record(),
            },
            Tag::Dkim if section == Section::Signature && self.section() == Section::Results => {
                push_bounded(&mut self.record.signatures);
            }
            Tag::Spf if section == Section::Envelope && self.section() == Section::Results => {
                push_bounded(&mut self.record.envelopes);
            }
            _ => {}
        }
        self.open.push((tag, section));
        self.text.clear();
        Ok(())
    }

    /// Processes an end tag.
    pub fn end(&mut self, name: &str) -> Result<Ended, Unreadable> {
        let (tag, _) = tag(name);
        let Some(at) = self.open.iter().rposition(|(open, _)| *open == tag) else {
            self.repairs.note(Repair::Nesting);
            return Ok(Ended::Element);
        };
        let is_innermost = at + 1 == self.open.len();
        if !is_innermost {
            // An end tag without a start tag must not end other elements.
            self.repairs.note(Repair::Nesting);
            if tag == Tag::Other {
                return Ok(Ended::Element);
            }
        }
        let has_record = self.open[at..].iter().any(|(open, _)| *open == Tag::Record);
        self.open.truncate(at);
        if is_innermost {
            let text = std::mem::take(&mut self.text);
            self.value(tag, text.trim())?;
            self.text = text;
        }
        self.text.clear();
        if has_record {
            self.end_record();
        }
        Ok(if tag == Tag::Feedback { Ended::Report } else { Ended::Element })
    }

    /// Adds to the value of the open element. What is too long is left out.
    pub fn text(&mut self, text: &str) {
        let room = LONGEST_VALUE.saturating_sub(self.text.len());
        match text.char_indices().nth(room) {
            Some((end, _)) => self.text.push_str(&text[..end]),
            None => self.text.push_str(text),
        }
    }

    /// Adds a named entity to the value of the open element.
    pub fn entity(&mut self, name: &str) {
        match name {
            "amp" => self.text("&"),
            "lt" => self.text("<"),
            "gt" => self.text(">"),
            "quot" => self.text("\""),
            "apos" => self.text("'"),
            _ => self.repairs.note(Repair::Entity),
        }
    }

    /// Processes the value of an element that has ended.
    fn value(&mut self, tag: Tag, text: &str) -> Result<(), Unreadable> {
        if text.is_empty() {
            return Ok(());
        }
        match (self.section(), tag) {
            (Section::Outside | Section::Metadata, Tag::OrgName) => keep(&mut self.reporter, text),
            (Section::Outside | Section::Metadata, Tag::Email) => keep(&mut self.email, text),
            (Section::Outside | Section::Metadata, Tag::ReportId) => keep(&mut self.id, text),
            (Section::Outside | Section::Metadata, Tag::Begin | Tag::End) => {
                let read = time::seconds(text);
                if read.is_none_or(|(_, as_written)| !as_written) {
                    self.repairs.note(Repair::Times);
                }
                let place = if tag == Tag::Begin { &mut self.begins } else { &mut self.ends };
                *place = place.or(read.map(|(seconds, _)| seconds));
            }
            (Section::Published, Tag::Domain) => self.domain = self.domain.take().or_else(|| values::domain(text)),
            (Section::Published, Tag::Policy) => self.policy = self.policy.or_else(|| Policy::parse(text)),
            (Section::Record | Section::Evaluated, Tag::SourceIp) => self.source(text),
            (Section::Record | Section::Evaluated, Tag::Count) => self.count(text)?,
            (Section::Record | Section::Evaluated, Tag::Disposition) => self.disposition(text),
            (Section::Record | Section::Evaluated, Tag::Dkim) => self.record.dkim = Some(passes(text)),
            (Section::Record | Section::Evaluated, Tag::Spf) => self.record.spf = Some(passes(text)),
            (Section::Reason, Tag::Type) => {
                let kinds = ["forwarded", "trusted_forwarder", "mailing_list"];
                self.record.forwarded |= kinds.iter().any(|kind| text.eq_ignore_ascii_case(kind));
            }
            // A trusted chain of seals (ARC).
            (Section::Reason, Tag::Comment) => self.record.forwarded |= text.contains("arc=pass"),
            (Section::Record | Section::Results, Tag::HeaderFrom) => {
                if self.from.0 != text {
                    self.from = (text.to_owned(), values::domain(text));
                }
                if self.from.1.is_none() {
                    self.repairs.note(Repair::From);
                }
                self.record.from = self.from.1.clone();
            }
            (Section::Signature, tag) => {
                let Some(signature) = self.record.signatures.last_mut() else { return Ok(()) };
                match tag {
                    Tag::Domain => signature.domain = text.to_ascii_lowercase(),
                    Tag::Selector => signature.selector = text.to_ascii_lowercase(),
                    Tag::Result => signature.passes = passes(text),
                    _ => {}
                }
            }
            (Section::Envelope, tag) => {
                let Some(envelope) = self.record.envelopes.last_mut() else { return Ok(()) };
                match tag {
                    Tag::Domain => envelope.domain = text.to_ascii_lowercase(),
                    Tag::Result => envelope.passes = passes(text),
                    _ => {}
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn source(&mut self, text: &str) {
        let address = values::address(text);
        if address.is_none() {
            self.repairs.note(Repair::Address);
        }
        match self.record.source {
            None => self.record.source = address,
            Some(_) => self.repairs.note(Repair::Rows),
        }
    }

    fn count(&mut self, text: &str) -> Result<(), Unreadable> {
        let digits: String = text.chars().filter(|c| !matches!(c, ',' | ' ' | '_')).collect();
        let whole = digits.split('.').next().unwrap_or_default();
        let Ok(count) = whole.parse::<u64>() else {
            let is_huge = whole.len() > 10 && whole.bytes().all(|b| b.is_ascii_digit());
            return if is_huge { Err(implausible(whole)) } else { Ok(()) };
        };
        if count > MOST_MESSAGES {
            return Err(implausible(whole));
        }
        if whole != text {
            self.repairs.note(Repair::Count);
        }
        self.messages = self.messages.or(Some(count));
        Ok(())
    }

    fn disposition(&mut self, text: &str) {
        let is = |word: &str| text.eq_ignore_ascii_case(word);
        self.record.disposition = if is("quarantine") {
            Disposition::Quarantine
        } else if is("reject") {
            Disposition::Reject
        } else {
            // RFC 9990 writes "pass" for messages that passed.
            if !is("none") && !is("pass") {
                self.repairs.note(Repair::Disposition);
            }
            Disposition::None
        };
    }

    /// Empties the record, and keeps the memory of its lists.
    fn begin_record(&mut self) {
        let ReportRecord { mut signatures, mut envelopes, .. } = std::mem::take(&mut self.record);
        signatures.clear();
        envelopes.clear();
        self.record = ReportRecord { signatures, envelopes, ..ReportRecord::default() };
        self.messages = None;
    }

    /// Passes the record on, unless it is empty.
    fn end_record(&mut self) {
        let record = &self.record;
        let is_empty = record.source.is_none() && record.from.is_none() && self.messages.is_none();
        if is_empty && record.dkim.is_none() && record.signatures.is_empty() && record.envelopes.is_empty() {
            self.repairs.note(Repair::EmptyRecord);
        } else {
            if self.messages.is_none() {
                self.repairs.note(Repair::Count);
            }
            self.record.messages = self.messages.unwrap_or(1);
            self.records += 1;
            (self.each)(&self.record);
        }
        self.begin_record();
    }

    /// Ends the report. `broken` says why the rest cannot be read.
    pub fn finish(mut self, broken: Option<String>) -> Result<(Head, Repairs), Unreadable> {
        if self.records == 0 {
            return Err(match (self.is_report, self.other, broken) {
                (false, Some(other), _) => Unreadable::Other(other),
                (false, None, _) => Unreadable::Nothing,
                (true, _, Some(why)) => Unreadable::Broken(why),
                (true, _, None) => Unreadable::NoRecords,
            });
        }
        if broken.is_some() {
            self.repairs.note(Repair::Truncated);
        }
        if self.reporter.is_empty() {
            self.repairs.note(Repair::Reporter);
            self.reporter = self.email.rsplit('@').next().unwrap_or_default().to_owned();
        }
        if self.id.is_empty() {
            self.repairs.note(Repair::Id);
        }
        if self.domain.is_none() {
            self.repairs.note(Repair::PolicyDomain);
        }
        let (begins, ends) = match (self.begins, self.ends) {
            (Some(begins), Some(ends)) if begins > ends => {
                self.repairs.note(Repair::Times);
                (ends, begins)
            }
            (Some(begins), Some(ends)) => (begins, ends),
            (Some(one), None) | (None, Some(one)) => {
                self.repairs.note(Repair::Times);
                if self.begins.is_some() { (one, one.saturating_add(DAY)) } else { (one.saturating_sub(DAY), one) }
            }
            (None, None) => return Err(Unreadable::NoTime),
        };
        let Assembler { reporter, id, domain, policy, repairs, .. } = self;
        Ok((Head { reporter, id, begins, ends, domain, policy }, repairs))
    }
}

fn push_bounded<T: Default>(list: &mut Vec<T>) {
    if list.len() < MOST_RESULTS {
        list.push(T::default());
    }
}

/// Sets a value that is still empty.
fn keep(place: &mut String, text: &str) {
    if place.is_empty() {
        *place = text.chars().take(200).collect();
    }
}

/// Makes the error about a number that is too large, with the number as it is written.
fn implausible(count: &str) -> Unreadable {
    let is_cut = count.len() > LONGEST_COUNT;
    Unreadable::Implausible(format!("{}{}", count.get(..LONGEST_COUNT).unwrap_or(count), if is_cut { "…" } else { "" }))
}
