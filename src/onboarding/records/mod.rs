//! The table of records that a customer must publish. It can be shown as aligned text, BIND zone lines, JSON, or a mail to send.
//!
//! The proposed SPF record is based on the published one, and a DMARC policy that already applies is never replaced by a milder one.
//! If DNS does not answer, the table has neither of them, because a record that omits the customer's other senders would stop their
//! mail. Mailjet's key is left out if its value is not known.

mod place;
mod print;
mod rows;

use serde::Serialize;

pub use place::InTheWay;
pub use print::{json, text, zone};

use super::checker::{Checker, Report, needs};
use super::deadline::Told;
use super::finding::{Finding, Item, Need};
use super::rotation::Role;
use super::spf::merge::Note;
use super::spf::obstacle::Obstacle;
use crate::customers::{Customer, Directory};
use crate::smtp::Domain;
use crate::time::Timestamp;
use rows::Known;

/// All records that one domain must publish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RecordTable {
    pub domain: String,
    /// The zone of the domain, `null` if DNS does not say.
    pub zone: Option<String>,
    /// The address from which mail is sent.
    pub egress: String,
    /// How the customer's mail is sent.
    #[serde(skip)]
    pub sent_through: SentThrough,
    /// The records, in the order in which to publish them.
    pub rows: Vec<Row>,
    /// True if DNS did not answer, so the table lacks the records that depend on the published ones.
    pub unknown: bool,
    /// For the operator: the keys that cannot be published, with the reason.
    pub broken_keys: Vec<String>,
    /// For the operator: the host of Mailjet's key, if its value is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mailjet_key_unset: Option<String>,
    /// The host of Mailjet's key, if its value is not known and no usable key is published. The customer is told that this
    /// record is needed too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mailjet_key_to_come: Option<String>,
    /// For the operator: why the files of running key rotations cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation_unreadable: Option<String>,
}

/// How a customer's mail is sent. The customer's steps depend on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SentThrough {
    /// Through Mailjet. The included SPF record allows Mailjet's addresses.
    Mailjet {
        /// The domain to include in SPF.
        include: String,
    },
    /// Through the customer's own server. SPF must then allow that server.
    OwnServer {
        /// The server's name and port.
        server: String,
        /// True if the relay logs in. If not, the server must allow our address to send.
        logs_in: bool,
    },
}

impl SentThrough {
    /// Returns true if mail is sent through the customer's own server.
    pub fn is_own_server(&self) -> bool {
        matches!(self, SentThrough::OwnServer { .. })
    }
}

/// One record of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The item that the record is for.
    pub item: Item,
    /// How much the customer needs the record.
    pub need: Need,
    /// The record type: `TXT` or `CNAME`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The full host name without a trailing dot.
    pub host: String,
    /// The host to enter in a DNS panel that appends the zone's name: `@` for the zone itself, the full host if the zone is unknown.
    pub label: String,
    /// The zone of the host, `null` if DNS does not say.
    pub zone: Option<String>,
    /// The value on one line, without quotation marks.
    pub value: String,
    /// The URL of an empty file that can be published instead of the record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alternative: Option<String>,
    /// True if the record is already published.
    pub present: bool,
    /// True if DNS did not answer, so that nobody knows whether the record is published. `present` is false then.
    pub unanswered: bool,
    /// The number of published records that it replaces.
    #[serde(skip)]
    pub replaces: usize,
    /// What must be removed before the record can be published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_the_way: Option<InTheWay>,
    /// For a key that does not sign: why its record is needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// What else the customer should know about the record.
    #[serde(skip)]
    pub notes: Vec<Note>,
    /// What must be corrected before the record is published.
    #[serde(skip)]
    pub first: Option<Finding>,
    /// Why receivers cannot use the record. The customer must correct this before publishing the record, or in the published one.
    #[serde(skip)]
    pub obstacles: Vec<Obstacle>,
}

impl RecordTable {
    /// A table without records yet.
    pub fn empty(domain: String, egress: String, sent_through: SentThrough) -> Self {
        RecordTable {
            domain,
            zone: None,
            egress,
            sent_through,
            rows: Vec::new(),
            unknown: false,
            broken_keys: Vec::new(),
            mailjet_key_unset: None,
            mailjet_key_to_come: None,
            rotation_unreadable: None,
        }
    }

    /// Returns true if the table has every record to publish.
    pub fn is_whole(&self) -> bool {
        !self.unknown
            && self.broken_keys.is_empty()
            && self.mailjet_key_unset.is_none()
            && self.rotation_unreadable.is_none()
    }

    /// Returns true if the customer is known to have something left to do, whatever DNS did not answer.
    pub fn is_lacking(&self) -> bool {
        let may_be_done = |row: &Row| row.is_offer() || row.unanswered || (row.present && row.obstacles.is_empty());
        !self.rows.iter().all(may_be_done)
            || self.mailjet_key_to_come.is_some()
            || !self.broken_keys.is_empty()
            || self.rotation_unreadable.is_some()
    }

    /// Returns true if the table is whole and the customer has nothing left to do.
    pub fn is_done(&self) -> bool {
        self.is_whole() && self.rows.iter().all(|row| row.is_offer() || row.present && row.obstacles.is_empty())
    }
}

impl Row {
    /// Returns true for an alias with which a key that is published by hand could change without the customer.
    pub fn is_offer(&self) -> bool {
        self.item == Item::Dkim && self.kind == "CNAME" && self.need == Need::Optional
    }
}

/// Builds the table of one domain. Looks up in DNS what is published now.
pub async fn table(
    checker: &Checker,
    directory: &Directory,
    customer: &Customer,
    domain: &Domain,
    now: Timestamp,
) -> RecordTable {
    look(checker, directory, customer, domain, now, &|_, _| {}).await.0
}

/// Builds the table, and returns the report that it is made from. Calls `told` for each check when it ends.
pub async fn look(
    checker: &Checker,
    directory: &Directory,
    customer: &Customer,
    domain: &Domain,
    now: Timestamp,
    told: &Told<'_>,
) -> (RecordTable, Report) {
    let (answers, deadline) = checker.begin();
    let deadline = deadline.telling(told);
    let (report, proposals) = checker.check_and_propose(directory, customer, domain, now, (&answers, deadline)).await;
    let known = Known {
        settings: &checker.settings,
        customer,
        domain,
        needs: needs(&checker.settings, directory, customer),
        report: &report,
        proposals,
        challenge: checker.challenge(&customer.id, domain),
        rotations: checker.wanted(customer, domain).await,
    };
    let mut table = known.table();
    table.zone = place::place(&answers, deadline.ends(), domain, &report, &mut table.rows).await;
    (table, report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onboarding::Lang;

    #[test]
    fn a_customer_is_thanked_for_all_of_it_only_where_all_of_it_is_known() {
        let way = SentThrough::Mailjet { include: "spf.webcrm.com".to_owned() };
        let whole = RecordTable::empty("test.dk".to_owned(), "40.74.40.57".to_owned(), way);
        let thanks = |table: &RecordTable| {
            let mail = |lang: Lang| lang.mail("Test A/S", std::slice::from_ref(table)).1;
            (mail(Lang::Da).contains("allerede oprettet"), mail(Lang::En).contains("published already"))
        };
        assert_eq!(thanks(&whole), (true, true));
        for table in [
            RecordTable { unknown: true, ..whole.clone() },
            RecordTable { broken_keys: vec!["no such file".to_owned()], ..whole.clone() },
            RecordTable { mailjet_key_unset: Some("mailjet._domainkey.test.dk".to_owned()), ..whole.clone() },
            RecordTable { rotation_unreadable: Some("no such file".to_owned()), ..whole.clone() },
        ] {
            assert_eq!(thanks(&table), (false, false), "{table:?}");
            assert!(!table.is_whole(), "the exit code says so");
        }
    }
}
