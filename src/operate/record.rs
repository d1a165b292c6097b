//! Commands about the record: search it, and erase a recipient from it.

use std::fmt;
use std::path::{Path, PathBuf};

use super::actor::Need;
use super::audit::{Act, Audit, Notes};
use super::jobs::{Job, JobKind, JobResult, RecordErased};
use super::nodes::{Ask, NodeAnswers};
use super::queue::together;
use super::readings::Sort;
use super::{Actor, Error, ErrorKind, History, Role, Service, history};
use crate::database::{self, Database};
use crate::events::Action;
use crate::message::CustomerId;
use crate::record::erase::{self, Erased};
use crate::record::trace::{self, Found, Query};

impl Service {
    /// Returns the events of up to `most` matching mails, the newest first. A customer sees neither alerts nor the audit, even if they are
    /// about it.
    pub async fn trace(&self, actor: &Actor, query: Query, most: usize) -> Result<Found, Error> {
        let is_customers = matches!(actor.role(), Role::Customer(_) | Role::Link(_));
        let query = Query { only_mail: query.only_mail || is_customers, ..query };
        let ask = Ask::Trace { query: query.clone(), most };
        let (own, answers) =
            tokio::join!(self.trace_here(actor, query, most), self.ask_others::<Found>(actor, ask, None));
        let (parts, missing) = together(own, answers)?;
        Ok(Found::of_nodes(parts, most, missing))
    }

    /// Like [`trace`](Self::trace), from this node's record only.
    pub(super) async fn trace_here(&self, actor: &Actor, query: Query, most: usize) -> Result<Found, Error> {
        let customer = query.customer.as_deref().map(CustomerId::new);
        actor.may(customer.as_ref().map_or(Need::Read, Need::ReadOf))?;
        if query.is_empty() {
            let remedy = "give a queue id, a recipient, a sender, a Message-ID, a customer or a time";
            return Err(Error::invalid("the question names no mail", remedy));
        }
        let log = self.recorded_in()?;
        let reading = self.readings.begin(actor, Sort::Search).await?;
        let found = tokio::task::spawn_blocking(move || {
            // The reading goes on if the client is gone, and keeps its place until then.
            let _reading = reading;
            trace::find_page(&log, &query, most)
        })
        .await;
        let failed = |error: String| Error::failed(format!("cannot read the record: {error}"), "see the relay's log");
        found.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))
    }
}

impl Service {
    /// Erases every event about `recipient` from the record, as a job. See [`erase_recipient`](Self::erase_recipient).
    pub fn begin_erasure(&self, actor: &Actor, recipient: &str) -> Result<Job, Error> {
        self.may_erase(actor, recipient)?;
        let task = self.jobs.begin(actor, JobKind::RecordErase, None)?;
        let (service, actor, recipient) = (self.clone(), actor.clone(), recipient.to_owned());
        Ok(task.spawn(|_| async move { Ok(JobResult::Erased(service.erase_recipient(&actor, &recipient).await?)) }))
    }

    /// Erases every event about `recipient` from the record. Where several nodes share the spool, each erases in its own record, and one
    /// that is away does so as soon as it is back.
    pub async fn erase_recipient(&self, actor: &Actor, recipient: &str) -> Result<RecordErased, Error> {
        self.may_erase(actor, recipient)?;
        self.owe_erasure(actor, recipient).await?;
        let ask = Ask::Erase { recipient: recipient.to_owned() };
        let (own, answers) =
            tokio::join!(self.erase_here(actor, recipient.to_owned()), self.ask_others::<Erased>(actor, ask, None));
        let (own, NodeAnswers { parts, refused, .. }) = (own?, answers);
        // A node that keeps no record has nothing to erase.
        if let Some(error) = refused.into_iter().find(|error| error.kind != ErrorKind::NotFound) {
            return Err(error.within("the recipient is not erased everywhere, and the node tries again by itself"));
        }
        let later = self.nodes_that_owe(recipient).await?;
        let all = || parts.iter().chain([&own]);
        let (events, files) = (all().map(|part| part.events).sum(), all().map(|part| part.files).sum());
        Ok(RecordErased { events, files, later })
    }

    fn may_erase(&self, actor: &Actor, recipient: &str) -> Result<(), Error> {
        actor.may(Need::Admin)?;
        if !recipient.contains('@') {
            return Err(Error::invalid(format!("\"{recipient}\" is no address"), "give the recipient's address"));
        }
        self.recorded_in().map(drop)
    }

    /// Like [`erase_recipient`](Self::erase_recipient), in this node's record only.
    pub(super) async fn erase_here(&self, actor: &Actor, recipient: String) -> Result<Erased, Error> {
        actor.may(Need::Admin)?;
        let erased = match self.recorded_in() {
            Err(error) => Err(error),
            Ok(log) => {
                // What was told before the command is in the log then. If that takes too long, the rest of it is erased.
                self.events.catch_up(&*self.spool).await;
                let (history, audit) = (self.history.clone(), Audit::Events(self.events.clone()));
                let (by, of) = (actor.clone(), recipient.clone());
                let work = move || erase_all(&by, &audit, &log, &of, |of| history.erase_blocking(of));
                Ok(tokio::task::spawn_blocking(work).await.map_err(|error| not_erased(&error))??)
            }
        };
        self.owes_no_more(&recipient).await;
        erased
    }

    /// Returns the path of the event log.
    fn recorded_in(&self) -> Result<PathBuf, Error> {
        let nothing = || Error::not_found("nothing is recorded", "name a file in [events] log of the server file");
        self.events.log().map(Path::to_owned).ok_or_else(nothing)
    }
}

fn not_erased(error: &dyn fmt::Display) -> Error {
    Error::failed(
        format!("the recipient is not erased everywhere: {error}"),
        "give the command again, as the user that runs the relay or as root; what is erased stays erased",
    )
}

fn erased_act(erased: Erased) -> Act {
    let detail = format!("erased {} events about one recipient in {} files", erased.events, erased.files);
    Act { changed: Some(erased.events), ..Act::new(Action::RecordErase, detail) }
}

/// Erases every event about `recipient` from the event log at `log` and its archives, and from the audit in the database of `state_dir`, if
/// there is one. The audit records who did it and how many events were erased, but not the address. May run while the relay runs.
pub fn erase(actor: &Actor, state_dir: &Path, log: &Path, recipient: &str) -> Result<Erased, Error> {
    actor.may(Need::Admin)?;
    let audit = Audit::Notes(Notes::open(state_dir)?);
    erase_all(actor, &audit, log, recipient, |recipient| match state_dir.join(database::FILE).exists() {
        true => History::new(Database::open(state_dir, &[history::SCHEMA])?).erase_blocking(recipient),
        false => Ok(()),
    })
}

/// Erases from the event log, tells the audit, and then erases from the audit. In this order, a failure leaves at most too little erased,
/// and the audit has what was. Blocks.
fn erase_all(
    actor: &Actor,
    audit: &Audit,
    log: &Path,
    recipient: &str,
    erase_in_audit: impl FnOnce(&str) -> Result<(), database::Error>,
) -> Result<Erased, Error> {
    let erased = erase::erase(log, recipient).map_err(|error| not_erased(&error))?;
    audit.tell(actor, erased_act(erased))?;
    erase_in_audit(recipient).map_err(|error| not_erased(&error))?;
    Ok(erased)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_administrator_erases_and_the_audit_keeps_no_address() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("e.jsonl");
        std::fs::write(
            &log,
            "{\"at\":\"2026-11-29T08:00:00.000Z\",\"event\":\"bounced\",\"recipient\":\"ole@x.dk\"}\n",
        )
        .unwrap();
        // The audit of the running relay has it, too.
        let database = Database::open(dir.path(), &[history::SCHEMA]).unwrap();
        let told = r#"{"event_id":"E1","event":"audit","command":"suppression.add","recipient":"Ole@x.dk","detail":"Ole@x.dk"}"#;
        let sql = "INSERT INTO history_entry (id, kind, at, told) VALUES ('1', 'audit', 1, $1)";
        database.write_blocking(|tables| tables.execute(sql, &[told.into()]).map(drop)).unwrap();
        assert!(erase(&Actor::new("x", Role::Operate), dir.path(), &log, "ole@x.dk").is_err());
        let erased = erase(&Actor::new("x", Role::Admin), dir.path(), &log, "ole@x.dk").unwrap();
        assert_eq!(erased, Erased { events: 1, files: 1 });
        let left = database
            .read_blocking(|tables| {
                tables.first("SELECT told FROM history_entry", &[], |row| Ok(row.text(0)?.to_owned()))
            })
            .unwrap()
            .unwrap();
        assert!(left.contains("suppression.add") && !left.contains("Ole"), "{left}");
        let notes: Vec<String> = std::fs::read_dir(dir.path().join("audit"))
            .unwrap()
            .map(|note| std::fs::read_to_string(note.unwrap().path()).unwrap())
            .collect();
        assert!(notes.len() == 1 && notes[0].contains("record.erase") && !notes[0].contains("ole@"), "{notes:?}");
    }
}
