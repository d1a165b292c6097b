//! The table of records that a customer must publish. It can be shown as aligned text, BIND zone lines, JSON, or a mail to send.
//!
//! The proposed SPF record is based on the published one, and a DMARC policy that already applies is never replaced by a milder one.
//! If DNS does not answer, the table has neither of them, because a record that omits the customer's other senders would stop their
//! mail. Mailjet's key is left out if its value is not known.

mod place;
mod print;

use serde::Serialize;

pub use place::InTheWay;
pub use print::{json, text, zone};

use super::checker::{Checker, Report, needs};
use super::deadline::Told;
use super::finding::{Finding, Item, Need, Severity};
use super::rotation::{Role, Shown};
use super::spf::merge::Note;
use super::spf::obstacle::Obstacle;
use super::spf::proposal::Proposal;
use crate::customers::{Customer, Directory, Requirement, SigningDomain, Via};
use crate::dkim::record::render;
use crate::dkim::{KeyType, Selector, key_host};
use crate::smtp::Domain;
use crate::time::Timestamp;

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
    pub way: Way,
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
pub enum Way {
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

impl Way {
    /// Returns true if mail is sent through the customer's own server.
    pub fn is_own_server(&self) -> bool {
        matches!(self, Way::OwnServer { .. })
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
    /// Returns true if the table has every record to publish.
    pub fn is_whole(&self) -> bool {
        !self.unknown
            && self.broken_keys.is_empty()
            && self.mailjet_key_unset.is_none()
            && self.rotation_unreadable.is_none()
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
    let settings = &checker.settings;
    let needs = needs(settings, directory, customer);
    let need = |requirement| needs.get(&requirement).copied().unwrap_or(Need::Recommended);
    let (answers, deadline) = checker.begin();
    let deadline = deadline.telling(told);
    let (report, proposals) = checker.check_and_propose(directory, customer, domain, now, (&answers, deadline)).await;
    let in_order = |item| report.check(item).is_some_and(|check| check.severity() <= Severity::Warning);
    let own_server = matches!(customer.via, Via::OwnServer(_));
    let row = |item, need, kind, host: String, value: String| Row {
        item,
        need,
        kind,
        label: host.clone(),
        host,
        zone: None,
        value,
        alternative: None,
        present: in_order(item),
        replaces: 0,
        in_the_way: None,
        role: None,
        notes: Vec::new(),
        first: None,
        obstacles: Vec::new(),
    };

    let mut rows = Vec::new();
    let challenge = checker.challenge(&customer.id, domain);
    let (host, token) = (challenge.host, challenge.token);
    let proof = need(Requirement::Ownership);
    let shows_token = |host: &str| shows_token(&report, host);
    let present = match challenge.others.is_empty() {
        true => in_order(Item::Ownership),
        false => shows_token(&host),
    };
    rows.push(Row { alternative: Some(challenge.url), present, ..row(Item::Ownership, proof, "TXT", host, token) });
    for (host, token) in challenge.others {
        rows.push(Row { present: shows_token(&host), ..row(Item::Ownership, proof, "TXT", host, token) });
    }

    let mut unknown = proposals.spf.is_none();
    if let Some(Proposal { merged, obstacles }) = proposals.spf {
        let present = !merged.changed;
        let row = row(Item::Spf, need(Requirement::Spf), "TXT", domain.to_string(), merged.record);
        // A working record for the customer's own server needs no change.
        if !(own_server && present && obstacles.is_empty()) {
            let replaces = report.check(Item::Spf).map_or(0, |check| check.found.len());
            rows.push(Row { present, replaces, notes: merged.notes, obstacles, ..row });
        }
    }

    let (mut broken_keys, mut rotation_unreadable) = (Vec::new(), None);
    let keys = report.check(Item::Dkim).map(|check| check.findings.as_slice()).unwrap_or_default();
    match customer.domains.get(domain) {
        Some(SigningDomain::Ready(signer)) => {
            let delegation = signer.profiles_of(domain).find_map(|it| settings.delegation_of(it.selector.as_str()));
            for (selector, target) in delegation.into_iter().flat_map(|it| {
                it.selectors.iter().filter_map(|selector| Some((selector, it.target(selector.as_str(), domain)?)))
            }) {
                let (host, target) = (selector.dns_name(domain), target.to_string());
                let lacks = |f: &Finding| match f {
                    Finding::DelegationMissing { host: at, .. }
                    | Finding::DelegationWrong { host: at, .. }
                    | Finding::DelegationByHand { host: at, .. }
                    | Finding::DelegationIdle { host: at, .. }
                    | Finding::DkimRotatingUnanswered { host: at, .. } => *at == host,
                    Finding::Unanswered { .. } | Finding::OutOfTime { .. } => true,
                    _ => false,
                };
                let present = !keys.iter().any(lacks);
                rows.push(Row { present, ..row(Item::Dkim, need(Requirement::Dkim), "CNAME", host, target) });
            }
            // The aliases stand beside the record of a key that is published by hand.
            for (selector, target) in settings.delegation_to_offer(domain, signer).into_iter().flat_map(|it| {
                it.selectors.iter().filter_map(|selector| Some((selector, it.target(selector.as_str(), domain)?)))
            }) {
                let (host, target) = (selector.dns_name(domain), target.to_string());
                let lacks = |f: &Finding| match f {
                    Finding::DelegationOffered { host: at, .. } => *at == host,
                    Finding::Unanswered { .. } | Finding::OutOfTime { .. } => true,
                    _ => false,
                };
                let present = !keys.iter().any(lacks);
                rows.push(Row { present, ..row(Item::Dkim, Need::Optional, "CNAME", host, target) });
            }
            let by_hand = |selector: &Selector| settings.delegation_of(selector.as_str()).is_none();
            for profile in signer.profiles_of(domain).filter(|profile| by_hand(&profile.selector)) {
                match render(domain, &profile.selector, &profile.key) {
                    Ok(record) => {
                        let present =
                            keys.iter().any(|f| matches!(f, Finding::DkimGood { host } if *host == record.name));
                        let need = match profile.key.key_type() {
                            // The second signature is optional for mail to pass.
                            KeyType::Ed25519 if signer.profiles_of(domain).count() > 1 => Need::Recommended,
                            _ => need(Requirement::Dkim),
                        };
                        let row = row(Item::Dkim, need, "TXT", record.name, record.value);
                        rows.push(Row { present, ..row });
                    }
                    Err(error) => broken_keys.push(error.to_string()),
                }
            }
        }
        Some(SigningDomain::Broken(reason)) => broken_keys.push(reason.clone()),
        None => {}
    }
    match checker.wanted(customer, domain).await {
        Ok(wanted) => {
            rows.extend(wanted.into_iter().filter(|it| settings.delegation_of(&it.selector).is_none()).map(|wanted| {
                let (at, role) = (wanted.host(domain), Some(wanted.role));
                let right =
                    |f: &Finding| matches!(f, Finding::DkimRotating { host, shown: Shown::Right, .. } if *host == at);
                let present = keys.iter().any(right);
                Row { present, role, ..row(Item::Dkim, Need::Recommended, "TXT", at, wanted.value) }
            }))
        }
        Err(reason) => rotation_unreadable = Some(reason),
    }
    let (mut mailjet_key_unset, mut mailjet_key_to_come) = (None, None);
    if let Some(check) = report.check(Item::MailjetDkim) {
        let host = key_host(&settings.mailjet_selector, domain);
        let known = settings.mailjets_keys(domain).first().map(|value| (*value).to_owned());
        if known.is_none() {
            let missing = check.findings.iter().any(|f| matches!(f, Finding::MailjetKeyMissing { .. }));
            mailjet_key_to_come = missing.then(|| host.clone());
            mailjet_key_unset = Some(host.clone());
            unknown |= check.severity() == Severity::Unknown;
        }
        // A usable published key may be Mailjet's, so the customer is not asked for another one.
        let unset = check.findings.iter().any(|f| matches!(f, Finding::MailjetKeyUnset { .. }));
        let value = known.or_else(|| check.found.first().filter(|_| unset).cloned());
        let of_other = check.findings.iter().any(|f| matches!(f, Finding::MailjetKeyOfOther { .. }));
        rows.extend(value.map(|value| {
            let row = row(Item::MailjetDkim, Need::Recommended, "TXT", host, value);
            Row { present: row.present && !of_other, ..row }
        }));
    }
    if let Some(check) = report.check(Item::Dmarc) {
        let inherited = check.findings.iter().any(|f| matches!(f, Finding::DmarcInherited { .. }));
        let present = proposals.dmarc.is_none();
        let value = match check.severity() {
            Severity::Unknown => None,
            // A policy of a parent domain already applies and stays.
            _ if present && inherited => None,
            _ => proposals.dmarc.or_else(|| check.found.first().cloned()),
        };
        unknown |= check.severity() == Severity::Unknown;
        let host = format!("_dmarc.{domain}");
        let row = |value| row(Item::Dmarc, need(Requirement::Dmarc), "TXT", host, value);
        let first = check.findings.iter().find(|f| matches!(f, Finding::DmarcKeyFirst { .. })).cloned();
        rows.extend(value.map(|value| Row { present, first, ..row(value) }));
    }
    if !own_server {
        let host = format!("{}.{domain}", settings.return_path_label);
        let target = settings.return_path_target.to_string();
        rows.push(row(Item::ReturnPath, Need::Optional, "CNAME", host, target));
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.need));
    let zone = place::place(&answers, deadline.ends(), domain, &report, &mut rows).await;
    let way = match &customer.via {
        Via::Mailjet { .. } => Way::Mailjet { include: settings.spf_include.to_string() },
        Via::OwnServer(route) => {
            Way::OwnServer { server: format!("{}:{}", route.host, route.port), logs_in: route.login.is_some() }
        }
    };
    let egress = settings.egress.to_string();
    let domain = domain.to_string();
    let table = RecordTable {
        domain,
        zone,
        egress,
        way,
        rows,
        unknown,
        broken_keys,
        mailjet_key_unset,
        mailjet_key_to_come,
        rotation_unreadable,
    };
    (table, report)
}

/// Returns true if the check has found an ownership token at this host.
fn shows_token(report: &Report, at: &str) -> bool {
    let findings = report.check(Item::Ownership).into_iter().flat_map(|check| &check.findings);
    findings.into_iter().any(|finding| matches!(finding, Finding::OwnershipByTxt { host } if host == at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onboarding::Lang;

    #[test]
    fn a_customer_is_thanked_for_all_of_it_only_where_all_of_it_is_known() {
        let whole = RecordTable {
            domain: "test.dk".to_owned(),
            zone: None,
            egress: "40.74.40.57".to_owned(),
            way: Way::Mailjet { include: "spf.webcrm.com".to_owned() },
            rows: Vec::new(),
            unknown: false,
            broken_keys: Vec::new(),
            mailjet_key_unset: None,
            mailjet_key_to_come: None,
            rotation_unreadable: None,
        };
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
