//! Decides which records a domain needs, from what its check has found. It reads no files and asks no DNS.

use std::collections::BTreeMap;

use super::{RecordTable, Row, SentThrough};
use crate::customers::{Customer, Requirement, SigningDomain, Via};
use crate::dkim::record::render;
use crate::dkim::{KeyType, Selector, Signer, key_host};
use crate::onboarding::checker::{Proposals, Report};
use crate::onboarding::finding::{Check, Finding, Item, Need, Severity};
use crate::onboarding::ownership::Challenge;
use crate::onboarding::rotation::{Shown, Wanted};
use crate::onboarding::settings::{Delegation, Settings};
use crate::onboarding::spf::proposal::Proposal;
use crate::smtp::Domain;

/// All that is known of a domain.
pub(super) struct Known<'a> {
    pub settings: &'a Settings,
    pub customer: &'a Customer,
    pub domain: &'a Domain,
    /// How much the customer needs what each requirement asks for.
    pub needs: BTreeMap<Requirement, Need>,
    /// What the domain publishes.
    pub report: &'a Report,
    /// The proposed records that are based on the published ones.
    pub proposals: Proposals,
    /// Proves that the domain is the customer's.
    pub challenge: Challenge,
    /// The records of rotations, or why the rotations cannot be read.
    pub rotations: Result<Vec<Wanted>, String>,
}

impl Known<'_> {
    /// Makes the table. The zones of the records are added to it later.
    pub fn table(&self) -> RecordTable {
        let settings = self.settings;
        let sent_through = sent_through(settings, self.customer);
        let mut table = RecordTable::empty(self.domain.to_string(), settings.egress.to_string(), sent_through);
        self.add_ownership(&mut table);
        self.add_spf(&mut table);
        match self.customer.domains.get(self.domain) {
            Some(SigningDomain::Ready(signer)) => {
                self.add_delegated_keys(signer, &mut table);
                self.add_keys_by_hand(signer, &mut table);
            }
            Some(SigningDomain::Broken(reason)) => table.broken_keys.push(reason.clone()),
            None => {}
        }
        self.add_rotations(&mut table);
        self.add_mailjet_key(&mut table);
        self.add_dmarc(&mut table);
        if !self.is_own_server() {
            let host = format!("{}.{}", settings.return_path_label, self.domain);
            let target = settings.return_path_target.to_string();
            table.rows.push(self.row(Item::ReturnPath, Need::Optional, "CNAME", host, target));
        }
        table.rows.sort_by_key(|row| std::cmp::Reverse(row.need));
        table
    }

    /// Adds the token that proves the domain, and those of Mailjet's other accounts.
    fn add_ownership(&self, table: &mut RecordTable) {
        let Challenge { host, token, url, others, .. } = &self.challenge;
        let need = self.need(Requirement::Ownership);
        let row = |host: &str, token: &str| self.row(Item::Ownership, need, "TXT", host.to_owned(), token.to_owned());
        let row_of_token = row(host, token);
        if others.is_empty() {
            table.rows.push(Row { alternative: Some(url.clone()), ..row_of_token });
            return;
        }
        // The check does not say which of the hosts it got no answer about. One that shows its token is known.
        let is_silent = self.report.check(Item::Ownership).is_some_and(|check| has(check, is_unanswered));
        let known = |row: Row| {
            let present = self.shows_token(&row.host);
            Row { present, unanswered: !present && is_silent, ..row }
        };
        table.rows.push(Row { alternative: Some(url.clone()), ..known(row_of_token) });
        for (host, token) in others {
            table.rows.push(known(row(host, token)));
        }
    }

    fn add_spf(&self, table: &mut RecordTable) {
        let Some(Proposal { merged, obstacles }) = &self.proposals.spf else {
            table.unknown = true;
            return;
        };
        let present = !merged.changed;
        // A working record for the customer's own server needs no change.
        if self.is_own_server() && present && obstacles.is_empty() {
            return;
        }
        let (host, value) = (self.domain.to_string(), merged.record.clone());
        table.rows.push(Row {
            present,
            unanswered: false,
            replaces: self.report.check(Item::Spf).map_or(0, |check| check.found.len()),
            notes: merged.notes.clone(),
            obstacles: obstacles.clone(),
            ..self.row(Item::Spf, self.need(Requirement::Spf), "TXT", host, value)
        });
    }

    /// Adds the aliases with which our zone shows the customer's keys. Where a key is published by hand, they are offered beside its record.
    fn add_delegated_keys(&self, signer: &Signer, table: &mut RecordTable) {
        let lacks = |finding: &Finding, host: &str| match finding {
            Finding::DelegationMissing { host: at, .. }
            | Finding::DelegationWrong { host: at, .. }
            | Finding::DelegationByHand { host: at, .. }
            | Finding::DelegationIdle { host: at, .. } => at == host,
            _ => false,
        };
        let mut profiles = signer.profiles_of(self.domain);
        let in_use = profiles.find_map(|profile| self.settings.delegation_of(profile.selector.as_str()));
        self.add_aliases(in_use, self.need(Requirement::Dkim), lacks, table);

        let lacks = |finding: &Finding, host: &str| match finding {
            Finding::DelegationOffered { host: at, unanswered: false, .. } => at == host,
            _ => false,
        };
        self.add_aliases(self.settings.delegation_to_offer(self.domain, signer), Need::Optional, lacks, table);
    }

    /// Adds the two aliases of a delegation. `lacks` returns true if a finding says that the alias at a host is not published.
    fn add_aliases(
        &self,
        delegation: Option<&Delegation>,
        need: Need,
        lacks: impl Fn(&Finding, &str) -> bool,
        table: &mut RecordTable,
    ) {
        let Some(delegation) = delegation else { return };
        for selector in &delegation.selectors {
            let Some(target) = delegation.target(selector.as_str(), self.domain) else { continue };
            let host = selector.dns_name(self.domain);
            let lacks = self.findings_about_keys().iter().any(|finding| lacks(finding, &host));
            let unanswered = !lacks && self.is_unanswered_about_key(&host);
            let row = self.row(Item::Dkim, need, "CNAME", host, target.to_string());
            table.rows.push(Row { present: !lacks && !unanswered, unanswered, ..row });
        }
    }

    /// Adds the records of keys whose selectors are not in our zone.
    fn add_keys_by_hand(&self, signer: &Signer, table: &mut RecordTable) {
        let by_hand = |selector: &Selector| self.settings.delegation_of(selector.as_str()).is_none();
        for profile in signer.profiles_of(self.domain).filter(|profile| by_hand(&profile.selector)) {
            let record = match render(self.domain, &profile.selector, &profile.key) {
                Ok(record) => record,
                Err(error) => {
                    table.broken_keys.push(error.to_string());
                    continue;
                }
            };
            let is_it = |f: &Finding| matches!(f, Finding::DkimGood { host } if *host == record.name);
            let present = self.findings_about_keys().iter().any(is_it);
            let is_known = present || self.findings_about_keys().iter().any(|f| is_about_key(f, &record.name));
            let unanswered = !is_known && self.is_unanswered_about_key(&record.name);
            let need = match profile.key.key_type() {
                // The second signature is optional for mail to pass.
                KeyType::Ed25519 if signer.profiles_of(self.domain).count() > 1 => Need::Recommended,
                _ => self.need(Requirement::Dkim),
            };
            let row = self.row(Item::Dkim, need, "TXT", record.name, record.value);
            table.rows.push(Row { present, unanswered, ..row });
        }
    }

    /// Adds the records that rotations need besides those of the signing keys.
    fn add_rotations(&self, table: &mut RecordTable) {
        let wanted = match &self.rotations {
            Ok(wanted) => wanted,
            Err(reason) => {
                table.rotation_unreadable = Some(reason.clone());
                return;
            }
        };
        for wanted in wanted.iter().filter(|it| self.settings.delegation_of(&it.selector).is_none()) {
            let at = wanted.host(self.domain);
            let shown = self.findings_about_keys().iter().find_map(|finding| match finding {
                Finding::DkimRotating { host, shown, .. } if *host == at => Some(*shown),
                _ => None,
            });
            let (present, unanswered) = (shown == Some(Shown::Right), shown.is_none());
            let row = self.row(Item::Dkim, Need::Recommended, "TXT", at, wanted.value.clone());
            table.rows.push(Row { present, unanswered, role: Some(wanted.role), ..row });
        }
    }

    fn add_mailjet_key(&self, table: &mut RecordTable) {
        let Some(check) = self.report.check(Item::MailjetDkim) else { return };
        let host = key_host(&self.settings.mailjet_selector, self.domain);
        let known = self.settings.mailjets_keys(self.domain).first().map(|value| (*value).to_owned());
        if known.is_none() {
            let is_missing = has(check, |f| matches!(f, Finding::MailjetKeyMissing { .. }));
            table.mailjet_key_to_come = is_missing.then(|| host.clone());
            table.mailjet_key_unset = Some(host.clone());
            table.unknown |= check.severity() == Severity::Unknown;
        }
        // A usable published key may be Mailjet's, so the customer is not asked for another one.
        let is_unset = has(check, |f| matches!(f, Finding::MailjetKeyUnset { .. }));
        let Some(value) = known.or_else(|| check.found.first().filter(|_| is_unset).cloned()) else { return };
        let is_of_other = has(check, |f| matches!(f, Finding::MailjetKeyOfOther { .. }));
        let row = self.row(Item::MailjetDkim, Need::Recommended, "TXT", host, value);
        table.rows.push(Row { present: row.present && !is_of_other, ..row });
    }

    fn add_dmarc(&self, table: &mut RecordTable) {
        let Some(check) = self.report.check(Item::Dmarc) else { return };
        let is_inherited = has(check, |f| matches!(f, Finding::DmarcInherited { .. }));
        let present = self.proposals.dmarc.is_none();
        let value = match check.severity() {
            Severity::Unknown => {
                table.unknown = true;
                None
            }
            // A policy of a parent domain already applies and stays.
            _ if present && is_inherited => None,
            _ => self.proposals.dmarc.clone().or_else(|| check.found.first().cloned()),
        };
        let Some(value) = value else { return };
        let first = check.findings.iter().find(|f| matches!(f, Finding::DmarcKeyFirst { .. })).cloned();
        let row = self.row(Item::Dmarc, self.need(Requirement::Dmarc), "TXT", format!("_dmarc.{}", self.domain), value);
        table.rows.push(Row { present, first, ..row });
    }

    /// Makes a row for a record that counts as published if the check of its item has found it in order.
    fn row(&self, item: Item, need: Need, kind: &'static str, host: String, value: String) -> Row {
        let severity = self.report.check(item).map(Check::severity);
        Row {
            item,
            need,
            kind,
            label: host.clone(),
            host,
            zone: None,
            value,
            alternative: None,
            present: severity.is_some_and(|severity| severity <= Severity::Warning),
            unanswered: severity == Some(Severity::Unknown),
            replaces: 0,
            in_the_way: None,
            role: None,
            notes: Vec::new(),
            first: None,
            obstacles: Vec::new(),
        }
    }

    fn need(&self, requirement: Requirement) -> Need {
        self.needs.get(&requirement).copied().unwrap_or(Need::Recommended)
    }

    fn is_own_server(&self) -> bool {
        matches!(self.customer.via, Via::OwnServer(_))
    }

    fn findings_about_keys(&self) -> &[Finding] {
        self.report.check(Item::Dkim).map(|check| check.findings.as_slice()).unwrap_or_default()
    }

    /// Returns true if the check got no answer about the record of a key at this host, or does not say about which host it got none.
    fn is_unanswered_about_key(&self, at: &str) -> bool {
        self.findings_about_keys().iter().any(|finding| match finding {
            Finding::DkimRotatingUnanswered { host, .. } => host == at,
            Finding::DelegationOffered { host, unanswered, .. } => *unanswered && host == at,
            Finding::DkimSecond { said, .. } | Finding::DelegationZone { said, .. } => is_unanswered(said),
            finding => is_unanswered(finding),
        })
    }

    /// Returns true if the check has found an ownership token at this host.
    fn shows_token(&self, at: &str) -> bool {
        let check = self.report.check(Item::Ownership);
        check.is_some_and(|it| has(it, |f| matches!(f, Finding::OwnershipByTxt { host } if host == at)))
    }
}

fn sent_through(settings: &Settings, customer: &Customer) -> SentThrough {
    match &customer.via {
        Via::Mailjet { .. } => SentThrough::Mailjet { include: settings.spf_include.to_string() },
        Via::OwnServer(route) => {
            SentThrough::OwnServer { server: format!("{}:{}", route.host, route.port), logs_in: route.login.is_some() }
        }
    }
}

fn has(check: &Check, is_it: impl Fn(&Finding) -> bool) -> bool {
    check.findings.iter().any(is_it)
}

/// Returns true if the finding tells what is published at a key's host, or that nothing is.
fn is_about_key(finding: &Finding, at: &str) -> bool {
    match finding {
        Finding::DkimMissing { host }
        | Finding::DkimSeveral { host, .. }
        | Finding::DkimMismatch { host }
        | Finding::DkimFlaw { host, .. } => host == at,
        Finding::DkimSecond { said, .. } => is_about_key(said, at),
        _ => false,
    }
}

fn is_unanswered(finding: &Finding) -> bool {
    matches!(finding, Finding::Unanswered { .. } | Finding::OutOfTime { .. })
}
