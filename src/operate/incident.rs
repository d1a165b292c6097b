//! Exports an incident: everything about one customer's mail in a period, as one archive that can be passed on.
//!
//! | file | content |
//! |---|---|
//! | `incident.json` | the customer, the period, who exported it with which version, and what is missing |
//! | `mails.jsonl` | each mail with an event in the period: all of its events, oldest mail first |
//! | `events.jsonl` | events of the period without a mail: refusals at submission, pauses, commands about the customer |
//! | `queue.jsonl` | the mail that waits at the time of the export |
//! | `routes.jsonl` | the routes that these mails took, as they are at the time of the export |
//! | `customer.json`, `customer.toml` | the customer's file, without comments and without possible secrets |
//!
//! The archive has no data of other customers. The audit records who exported it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::actor::Need;
use super::audit::{Act, Notes};
use super::customers::Customers;
use super::{Actor, Configuration, Error};
use crate::events::Action;
use crate::files::{self, Whole};
use crate::message::CustomerId;
use crate::record::trace::{self, Query, Trace};
use crate::time::Timestamp;
use crate::version;

/// The compression level of the archive.
const LEVEL: i32 = 3;

/// The customer and the period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Question {
    pub customer: String,
    /// The start of the period.
    pub from: Timestamp,
    /// The end of the period.
    pub until: Timestamp,
}

/// The part of the record that is in an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    pub mails: usize,
    /// The number of events without a mail.
    pub events: usize,
    /// True if the period has more than was asked for.
    pub cut: bool,
}

/// An export in progress.
pub struct Incident {
    actor: Actor,
    notes: Notes,
    about: About,
    routes: BTreeSet<String>,
    files: Vec<(&'static str, Vec<u8>)>,
}

#[derive(Debug, Serialize)]
struct About {
    #[serde(flatten)]
    question: Question,
    exported_at: Timestamp,
    exported_by: String,
    postbud: &'static str,
    mails: usize,
    events: usize,
    /// True if there were more mails than were asked for. The newest ones are included.
    cut: bool,
    not_in_it: Vec<String>,
}

impl Incident {
    /// Begins an export, if the actor may see the customer's mail and the audit can record it.
    pub fn begin(actor: &Actor, state_dir: &Path, question: Question) -> Result<Self, Error> {
        actor.may(Need::ReadOf(&CustomerId::new(&question.customer)))?;
        if question.from >= question.until {
            return Err(Error::invalid("the time ends before it begins", "give a later end or an earlier beginning"));
        }
        let about = About {
            question,
            exported_at: Timestamp::now(),
            exported_by: actor.to_string(),
            postbud: version::LONG,
            mails: 0,
            events: 0,
            cut: false,
            not_in_it: vec![
                "the relay's own log: it names other customers' routes".to_owned(),
                "content of mail: the relay keeps none of what has left".to_owned(),
            ],
        };
        let notes = Notes::open(state_dir)?;
        Ok(Incident { actor: actor.clone(), notes, about, routes: BTreeSet::new(), files: Vec::new() })
    }

    /// Adds up to `most` mails, and up to `most` other events, from the event log and its archives.
    pub fn record(&mut self, log: &Path, most: usize) -> Result<Recorded, Error> {
        let Question { customer, from, until } = self.about.question.clone();
        let query = Query { customer: Some(customer), from: Some(from), until: Some(until), ..Query::default() };
        let found = trace::find(log, &query, most).map_err(|error| {
            let message = format!("cannot read the event log {}: {error}", log.display());
            Error::failed(message, "run the command as the user that runs the relay or as root")
        })?;
        let routes = found.traces.iter().flat_map(|trace| &trace.events).filter_map(|event| event["route"].as_str());
        self.routes.extend(routes.map(str::to_owned));
        let oldest_first = found.traces.into_iter().rev();
        let (mails, others): (Vec<Trace>, Vec<Trace>) = oldest_first.partition(|trace| trace.queue_id.is_some());
        let recorded = Recorded { mails: mails.len(), events: others.len(), cut: found.more };
        (self.about.mails, self.about.events, self.about.cut) = (recorded.mails, recorded.events, recorded.cut);
        let mail = |mail: Trace| serde_json::json!({ "queue_id": mail.queue_id, "events": mail.events });
        self.lines("mails.jsonl", mails.into_iter().map(mail));
        self.lines("events.jsonl", others.into_iter().flat_map(|other| other.events));
        Ok(recorded)
    }

    /// Adds the content of the customer's file. If the configuration cannot be read, the export says why and continues.
    pub fn configuration(&mut self, files: &dyn Configuration) {
        let id = self.about.question.customer.clone();
        let read = || -> Result<(Value, String), Error> {
            let configured = files.read()?;
            let path = configured.customer_files.path(&CustomerId::new(&id));
            let customers = Customers::beside(files)?;
            let (view, _) = customers.show(&self.actor, &id)?;
            let view = serde_json::to_value(view).expect("a customer has only string keys");
            let text = files::read_text(&path).unwrap_or_default();
            Ok((view, without_secrets(&text)))
        };
        match read() {
            Ok((view, text)) => {
                self.files.push(("customer.json", pretty(&view)));
                self.files.push(("customer.toml", text.into_bytes()));
            }
            Err(error) => self.leave_out(&format!("the customer's file: {error}")),
        }
    }

    /// Returns true for a route that only the customer uses, or that its mail took.
    pub fn concerns(&self, route: &str) -> bool {
        route == format!("own-server.{}", self.about.question.customer) || self.routes.contains(route)
    }

    /// Adds a file with one value per line.
    pub fn lines(&mut self, name: &'static str, values: impl IntoIterator<Item = Value>) {
        let mut text = String::new();
        for value in values {
            text.push_str(&value.to_string());
            text.push('\n');
        }
        self.files.push((name, text.into_bytes()));
    }

    /// Records that something is missing, and why.
    pub fn leave_out(&mut self, what: &str) {
        self.about.not_in_it.push(what.to_owned());
    }

    /// Returns everything that is missing.
    pub fn left_out(&self) -> &[String] {
        &self.about.not_in_it
    }

    /// Writes the archive (tar, zstd), which only its owner may read. Returns an error if the file exists. The audit then records who
    /// exported it.
    pub fn write(self, path: &Path) -> Result<PathBuf, Error> {
        let written = self.packed().and_then(|packed| {
            files::refuse_links_of_others(files::folder(path))?;
            let whole = Whole::write(files::folder(path), &packed, 0o600, None)?;
            whole.name(path)
        });
        written.map_err(|error| {
            let message = format!("cannot write {}: {error}", path.display());
            Error::failed(message, "name another file; none that exists is overwritten")
        })?;
        let Question { customer, from, until } = self.about.question;
        let detail = format!("exported {} mails between {from} and {until}", self.about.mails);
        let act = Act {
            customer: Some(customer),
            changed: Some(self.about.mails as u64),
            ..Act::new(Action::RecordExport, detail)
        };
        self.notes.leave(&self.actor, act)?;
        Ok(path.to_owned())
    }

    fn packed(&self) -> std::io::Result<Vec<u8>> {
        let mut tar = tar::Builder::new(zstd::stream::Encoder::new(Vec::new(), LEVEL)?);
        let about = pretty(&self.about);
        let about = std::iter::once(("incident.json", &about));
        for (name, octets) in about.chain(self.files.iter().map(|(name, octets)| (*name, octets))) {
            let mut header = tar::Header::new_gnu();
            header.set_size(octets.len() as u64);
            header.set_mode(0o600);
            header.set_mtime(self.about.exported_at.as_secs());
            tar.append_data(&mut header, Path::new("incident").join(name), octets.as_slice())?;
        }
        tar.into_inner()?.finish()
    }
}

fn pretty(value: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("what is exported has only string keys");
    text.push(b'\n');
    text
}

/// Returns a customer's file without its comments and without possible secrets that should not be there: values of keys with secret names,
/// commands that print secrets, and logins in URLs. Names of files and variables stay.
fn without_secrets(text: &str) -> String {
    let Ok(mut table) = text.parse::<toml::Table>() else { return "# the file is not TOML\n".to_owned() };
    table.iter_mut().for_each(|(key, value)| mask(key, value));
    toml::to_string(&table).unwrap_or_else(|error| format!("# cannot be written: {error}\n"))
}

fn mask(key: &str, value: &mut toml::Value) {
    const SECRET: [&str; 4] = ["password", "secret", "passphrase", "token"];
    let names_a_place = key.ends_with("_file") || key.ends_with("_env");
    let is_secret = key.ends_with("_command") || (!names_a_place && SECRET.iter().any(|word| key.contains(word)));
    match value {
        toml::Value::Table(table) => table.iter_mut().for_each(|(key, value)| mask(key, value)),
        value if is_secret => *value = toml::Value::String("…".to_owned()),
        toml::Value::Array(values) => values.iter_mut().for_each(|value| mask(key, value)),
        toml::Value::String(text) => {
            let has_login = text
                .split_once("://")
                .is_some_and(|(_, rest)| rest.split('/').next().is_some_and(|host| host.contains('@')));
            if has_login {
                *text = "…".to_owned();
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::Role;

    #[test]
    fn a_customers_file_is_shown_without_comments_and_secrets() {
        let text = "# a note with a password\nname = \"Test\"\n[route]\npassword_file = \"../secrets/a\"\npassword = \"canary\"\n\
                    private_key_command = [\"echo\", \"canary\"]\nproxy = \"socks5://a:canary@host/\"\nhost = \"mail.test.dk\"\n\
                    [[more]]\nclient_secret = \"canary\"\n";
        let shown = without_secrets(text);
        assert!(!shown.contains("canary") && !shown.contains("a note"), "{shown}");
        assert!(shown.contains("mail.test.dk") && shown.contains("../secrets/a"), "{shown}");
    }

    #[test]
    fn an_export_is_for_those_who_may_see_the_customer_and_has_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let question = |from, until| Question {
            customer: "acme".to_owned(),
            from: Timestamp::from_millis(from),
            until: Timestamp::from_millis(until),
        };
        let stranger = Actor::new("x", Role::Customer([CustomerId::new("other")].into()));
        assert!(Incident::begin(&stranger, dir.path(), question(1, 2)).is_err());
        let reader = Actor::new("x", Role::Read);
        assert!(Incident::begin(&reader, dir.path(), question(2, 2)).is_err());
        assert!(Incident::begin(&reader, dir.path(), question(1, 2)).is_ok());
    }
}
