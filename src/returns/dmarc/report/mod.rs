//! Reads one aggregate report (RFC 9990 appendix A, RFC 7489 appendix C) as a stream. Each record is passed on when it is complete, so
//! reports of any size need the same memory.
//!
//! Real reports lack elements, misspell them, end in the middle, and declare wrong encodings. Their plain meaning is accepted, and each
//! kind of repair is counted ([`Repairs`]). A report whose meaning would be a guess is refused ([`Unreadable`]). Entities of a document
//! type are never expanded.

mod assembler;
mod repair;
mod section;
mod tag;
mod text;
mod time;
mod values;

use std::io::BufRead;
use std::net::IpAddr;

use quick_xml::Reader;
use quick_xml::events::Event;

use crate::onboarding::dmarc::Policy;
use crate::smtp::Domain;
use crate::visible::visible;
use assembler::{Assembler, Ended};
pub use repair::{Repair, Repairs};
use text::Utf8;

/// The deepest nesting of elements. A report has six levels.
const DEEPEST: usize = 64;

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
pub struct ReportRecord {
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
    /// It claims an implausible number of messages. Holds the number as it is written, cut after some digits.
    #[error("it claims {0} messages in one record")]
    Implausible(String),
    /// Its elements are nested too deeply.
    #[error("its elements are nested more than {DEEPEST} deep")]
    TooDeep,
}

/// Reads a report and passes each record to `each`.
pub fn read(input: &mut dyn BufRead, each: &mut dyn FnMut(&ReportRecord)) -> Result<(Head, Repairs), Unreadable> {
    let mut report = Assembler::new(each);
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
            Ok(Event::Start(start)) => report.start(start.name().as_ref())?,
            Ok(Event::End(end)) => {
                if report.end(end.name().as_ref())? == Ended::Report {
                    break None;
                }
            }
            Ok(Event::Text(text)) => report.text(&text),
            Ok(Event::CData(text)) => report.text(&text),
            Ok(Event::GeneralRef(name)) => match name.resolve_char_ref() {
                Ok(Some(c)) => report.text(c.encode_utf8(&mut [0; 4])),
                _ => report.entity(&name),
            },
            Ok(Event::Eof) => break Some("its end is missing".to_owned()),
            Ok(_) => {}
            Err(error) => break Some(visible(&error.to_string()).into_owned()),
        }
    };
    if reader.get_ref().garbled {
        report.repairs.note(Repair::Encoding);
    }
    report.finish(broken)
}

#[cfg(test)]
mod tests;
