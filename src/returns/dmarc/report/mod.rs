//! Reads one aggregate report (RFC 9990 appendix A, RFC 7489 appendix C) as a stream. Each record is passed on when it is complete, so
//! reports of any size need the same memory.
//!
//! Real reports lack elements, misspell them, end in the middle, and declare wrong encodings. Their plain meaning is accepted, and each
//! kind of repair is counted ([`Repairs`]). A report whose meaning would be a guess is refused ([`Unreadable`]). Entities of a document
//! type are never expanded.

mod repair;
mod tag;
mod text;
mod time;

use std::io::BufRead;
use std::net::IpAddr;

use quick_xml::Reader;
use quick_xml::events::Event;

use crate::onboarding::dmarc::Policy;
use crate::smtp::Domain;
use crate::visible::visible;
pub use repair::{Repair, Repairs};
use tag::{Tag, tag};
use text::Utf8;

/// The deepest nesting of elements. A report has six levels.
const DEEPEST: usize = 64;
/// The most octets of a value that are kept.
const LONGEST_VALUE: usize = 512;
/// The most results of one method in one record.
const MOST_RESULTS: usize = 32;
/// The most messages that one record may claim.
const MOST_MESSAGES: u64 = 1_000_000_000;
const DAY: u64 = 86_400;

/// The report's information about itself, as the sender claims it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The reporter's name, `google.com`; empty if there is none.
    pub reporter: String,
    /// The report's id, unique for the reporter; empty if there is none.
    pub id: String,
    /// The beginning of its range in seconds since 1970.
    pub begins: u64,
    /// The end of its range, not before the beginning.
    pub ends: u64,
    /// The domain whose policy was applied.
    pub domain: Option<Domain>,
    /// The policy that the reporter saw.
    pub policy: Option<Policy>,
}

/// The result for messages from one address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The address that they came from.
    pub source: Option<IpAddr>,
    pub messages: u64,
    /// The receiver's action.
    pub disposition: Disposition,
    /// True if DKIM passed for an aligned domain. `None` if the report does not say.
    pub dkim: Option<bool>,
    /// True if SPF passed for an aligned domain. `None` if the report does not say.
    pub spf: Option<bool>,
    /// True if the reporter recognised them as forwarded, or as from a mailing list.
    pub forwarded: bool,
    pub from: Option<Domain>,
    /// The signatures that were checked.
    pub signatures: Vec<Signature>,
    /// The domains whose SPF record was checked.
    pub envelopes: Vec<Envelope>,
}

/// The result of one signature.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signature {
    /// The domain that signed, in lower case.
    pub domain: String,
    /// The selector of its key; empty if the report does not say.
    pub selector: String,
    /// True if it verified.
    pub passes: bool,
}

/// The result of SPF for one domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// The domain, in lower case.
    pub domain: String,
    /// True if it allows the address.
    pub passes: bool,
}

/// A receiver's action with messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Disposition {
    #[default]
    None,
    /// It put them into the spam folder.
    Quarantine,
    Reject,
}

impl Disposition {
    /// Returns the word in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Disposition::None => "none",
            Disposition::Quarantine => "quarantine",
            Disposition::Reject => "reject",
        }
    }
}

/// Why a report cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It is another kind of XML. Holds the name of its first element.
    #[error("it is no DMARC report: it begins with <{0}>")]
    Other(String),
    #[error("it holds no element")]
    Nothing,
    /// It is truncated before its first complete record.
    #[error("it breaks off before its first record ends ({0})")]
    Broken(String),
    /// It has no record.
    #[error("it has no record")]
    NoRecords,
    /// It does not say which period it covers.
    #[error("it does not say which time it is about (date_range is missing or is no time)")]
    NoTime,
    /// It claims an implausible number of messages.
    #[error("it claims {0} messages in one record")]
    Implausible(u64),
    /// Its elements are nested too deeply.
    #[error("its elements are nested more than {DEEPEST} deep")]
    TooDeep,
}

/// Reads a report and passes each record to `each`.
pub fn read(input: &mut dyn BufRead, each: &mut dyn FnMut(&Record)) -> Result<(Head, Repairs), Unreadable> {
    let mut state = State::new(each);
    let mut reader = Reader::from_reader(Utf8::new(input));
    let config = reader.config_mut();
    config.check_end_names = false;
    config.allow_unmatched_ends = true;
    config.allow_dangling_amp = true;
    config.expand_empty_elements = true;
    let mut buffer = Vec::new();
    let broken = loop {
        reader.get_mut().next_event();
        buffer.clear();
        match reader.read_event_into(&mut buffer) {
            Ok(Event::Start(start)) => state.starts(start.name().as_ref())?,
            Ok(Event::End(end)) => {
                if state.ends(end.name().as_ref())? == Ended::Report {
                    break None;
                }
            }
            Ok(Event::Text(text)) => state.text(&text),
            Ok(Event::CData(text)) => state.text(&text),
            Ok(Event::GeneralRef(name)) => match name.resolve_char_ref() {
                Ok(Some(c)) => state.text(c.encode_utf8(&mut [0; 4])),
                _ => state.entity(&name),
            },
            Ok(Event::Eof) => break Some("its end is missing".to_owned()),
            Ok(_) => {}
            Err(error) => break Some(visible(&error.to_string()).into_owned()),
        }
    };
    if reader.get_ref().garbled {
        state.repairs.note(Repair::Encoding);
    }
    state.finish(broken)
}

/// The part of a report that an element belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    Outside,
    Metadata,
    Published,
    Record,
    Evaluated,
    Reason,
    Results,
    Signature,
    Envelope,
}

impl Section {
    /// Returns the section of the elements inside this one.
    fn inside(self, tag: Tag) -> Section {
        match (self, tag) {
            (_, Tag::ReportMetadata) => Section::Metadata,
            (_, Tag::PolicyPublished) => Section::Published,
            (_, Tag::Record) => Section::Record,
            (Section::Outside | Section::Metadata | Section::Published, _) => self,
            (_, Tag::PolicyEvaluated) => Section::Evaluated,
            (Section::Evaluated, Tag::Reason) => Section::Reason,
            (_, Tag::AuthResults) => Section::Results,
            (Section::Results, Tag::Dkim) => Section::Signature,
            (Section::Results, Tag::Spf) => Section::Envelope,
            (_, Tag::Row | Tag::Identifiers) => Section::Record,
            _ => self,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Element,
    Report,
}

struct State<'a> {
    each: &'a mut dyn FnMut(&Record),
    repairs: Repairs,
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
    record: Record,
    /// The count as written; `None` if the record has none.
    messages: Option<u64>,
    /// The last From domain as written and as parsed, because it is usually repeated.
    from: (String, Option<Domain>),
    records: u64,
}

impl<'a> State<'a> {
    fn new(each: &'a mut dyn FnMut(&Record)) -> Self {
        State {
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
            record: Record::default(),
            messages: None,
            from: (String::new(), None),
            records: 0,
        }
    }

    fn section(&self) -> Section {
        self.open.last().map_or(Section::Outside, |(_, section)| *section)
    }

    fn starts(&mut self, name: &str) -> Result<(), Unreadable> {
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
                    self.record_ends();
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

    fn ends(&mut self, name: &str) -> Result<Ended, Unreadable> {
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
            self.record_ends();
        }
        Ok(if tag == Tag::Feedback { Ended::Report } else { Ended::Element })
    }

    fn text(&mut self, text: &str) {
        let room = LONGEST_VALUE.saturating_sub(self.text.len());
        match text.char_indices().nth(room) {
            Some((end, _)) => self.text.push_str(&text[..end]),
            None => self.text.push_str(text),
        }
    }

    fn entity(&mut self, name: &str) {
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
            (Section::Published, Tag::Domain) => self.domain = self.domain.take().or_else(|| name(text)),
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
                    self.from = (text.to_owned(), name(text));
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
        let address = address(text);
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
            return if is_huge { Err(Unreadable::Implausible(u64::MAX)) } else { Ok(()) };
        };
        if count > MOST_MESSAGES {
            return Err(Unreadable::Implausible(count));
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

    fn begin_record(&mut self) {
        let Record { mut signatures, mut envelopes, .. } = std::mem::take(&mut self.record);
        signatures.clear();
        envelopes.clear();
        self.record = Record { signatures, envelopes, ..Record::default() };
        self.messages = None;
    }

    fn record_ends(&mut self) {
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

    fn finish(mut self, broken: Option<String>) -> Result<(Head, Repairs), Unreadable> {
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
        let State { reporter, id, domain, policy, repairs, .. } = self;
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

fn passes(text: &str) -> bool {
    text.eq_ignore_ascii_case("pass")
}

/// Reads a domain, even if it is written as an address or with a final dot.
fn name(text: &str) -> Option<Domain> {
    let text = text.rsplit('@').next().unwrap_or_default().trim_matches(['<', '>', '"', '\'', ' ']);
    Domain::parse(text).ok().filter(|domain| domain.as_str().contains('.'))
}

/// Reads an address, even if it has brackets or a port, or is an IPv4 address in IPv6 form.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim_matches(['[', ']', ' ']);
    let text = text.strip_prefix("IPv6:").unwrap_or(text);
    let parsed =
        text.parse().ok().or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|with_port| with_port.ip()));
    parsed.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests;
