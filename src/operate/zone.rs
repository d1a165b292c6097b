//! Commands about webCRM's zone with delegated keys: list its records, and update it by dynamic update.
//!
//! The server itself is asked for its records, and only differences are changed. So a zone that was restored or edited is corrected.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::actor::Need;
use super::site::Site;
use super::{Actor, Error};
use crate::customers::{Customer, KeyPlace};
use crate::dkim::record::TxtRecord;
use crate::files::folder;
use crate::onboarding::Delegation;
use crate::onboarding::rotation::{self, Named, Rotation, RotationStep};
use crate::plain;
use crate::resolver::update::Txt;
use crate::resolver::{Dns, Resolver, Settings, joined};

/// The time limit of an update.
const UPDATE_TIME: Duration = Duration::from_secs(20);
/// The maximum number of steps in one run for one customer. A rotation that does not have to wait takes at most three.
const STEPS_AT_ONCE: usize = 4;

/// The result for the records of a customer in the zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ZoneKept {
    /// The server has them; this number of records was changed.
    Updated(usize),
    /// No server is configured, so a person must enter these lines.
    ByHand(Vec<String>),
}

/// The result of a run over all delegated keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeysKept {
    /// Customers whose file names another key now: the relay must read it again.
    pub switched: Vec<String>,
    /// Customers whose keys could not be updated, and why.
    pub failed: Vec<(String, String)>,
    /// Customers whose keys are up to date.
    pub kept: Vec<String>,
}

impl Site {
    /// Returns the zone's lines for one customer or for all.
    pub fn zone_lines(&self, actor: &Actor, customer: Option<&str>) -> Result<Vec<String>, Error> {
        actor.may(Need::Operate)?;
        let delegation = self.delegation()?;
        let mut lines = Vec::new();
        for customer in self.delegated(actor, delegation, customer)? {
            lines.extend(self.zone_records(delegation, &customer, None)?.iter().map(line));
        }
        Ok(lines)
    }

    /// Corrects the zone by dynamic update, for one customer or for all. Returns the number of changed records.
    pub async fn update_zone(&self, actor: &Actor, customer: Option<&str>) -> Result<usize, Error> {
        actor.may(Need::Operate)?;
        let delegation = self.delegation()?;
        if delegation.updates.is_none() {
            let what = "the server file names no server that takes updates of the zone";
            return Err(Error::invalid(what, "set server, tsig_key and tsig_secret_file in [dkim.delegation]"));
        }
        let mut changed = 0;
        for customer in self.delegated(actor, delegation, customer)? {
            match self.keep_zone_of(&customer, None).await? {
                ZoneKept::Updated(count) => changed += count,
                ZoneKept::ByHand(_) => {}
            }
        }
        Ok(changed)
    }

    /// Updates every delegated key as far as possible: corrects its records in the zone, continues its rotation, and begins one for a key
    /// that has signed for long enough. Does nothing if no server accepts updates.
    pub async fn keep_keys(&self, actor: &Actor) -> KeysKept {
        let mut kept = KeysKept::default();
        let Some(delegation) = self.configured.onboarding.delegation.as_ref().filter(|it| it.updates.is_some()) else {
            return kept;
        };
        let customers = self.delegated(actor, delegation, None).unwrap_or_default();
        for customer in customers {
            let id = customer.id.to_string();
            match self.keep_key_of(actor, delegation, &customer).await {
                Ok(true) => kept.switched.push(id),
                Ok(false) => kept.kept.push(id),
                Err(error) => kept.failed.push((id, error.to_string())),
            }
        }
        kept
    }

    /// Returns true if the customer's file names another key now.
    async fn keep_key_of(&self, actor: &Actor, delegation: &Delegation, customer: &Customer) -> Result<bool, Error> {
        self.keep_zone_of(customer, None).await?;
        let rotates = self.rotations(customer)?.iter().any(|rotation| rotation.place == KeyPlace::Main);
        if !rotates && !self.is_due(delegation, customer)? {
            return Ok(false);
        }
        for _ in 0..STEPS_AT_ONCE {
            let rotated = self.rotate_key(actor, customer.id.as_str(), KeyPlace::Main, false).await?;
            if rotated.steps.iter().any(|step| matches!(step, RotationStep::Switched { .. })) {
                return Ok(true);
            }
            let ends = |step: &RotationStep| matches!(step, RotationStep::Done { .. } | RotationStep::Overlap { .. });
            if rotated.waits || rotated.steps.iter().any(ends) {
                break;
            }
        }
        Ok(false)
    }

    /// Corrects the zone's records of a customer. `rotation` is one that was not on disk when the configuration was read.
    pub(super) async fn keep_zone_of(
        &self,
        customer: &Customer,
        rotation: Option<&Rotation>,
    ) -> Result<ZoneKept, Error> {
        let delegation = self.delegation()?;
        let records = self.zone_records(delegation, customer, rotation)?;
        let Some(updates) = &delegation.updates else {
            return Ok(ZoneKept::ByHand(records.iter().map(line).collect()));
        };
        let settings = Settings { servers: vec![updates.server], ..Settings::default() };
        let server = Dns::new(&settings)
            .map_err(|error| Error::failed(error.to_string(), "correct server in [dkim.delegation]"))?;
        let mut differing = Vec::new();
        for record in records {
            if !has(&server, &record).await {
                differing.push(record);
            }
        }
        let refused = |error: crate::resolver::update::UpdateError| {
            Error::failed(error.to_string(), "`postbud dkim zone` prints the lines to put in place by hand")
        };
        updates.replace(&delegation.zone, &differing, UPDATE_TIME).await.map_err(refused)?;
        Ok(ZoneKept::Updated(differing.len()))
    }

    fn delegation(&self) -> Result<&Delegation, Error> {
        self.configured.onboarding.delegation.as_ref().ok_or_else(|| {
            let what = "no zone with customers' keys is configured";
            Error::invalid(what, "name it in the server file: zone in [dkim.delegation]")
        })
    }

    /// Returns the customers with delegated keys: the named one, or all.
    fn delegated(
        &self,
        actor: &Actor,
        delegation: &Delegation,
        customer: Option<&str>,
    ) -> Result<Vec<Arc<Customer>>, Error> {
        if let Some(id) = customer {
            let customer = self.configured.customer(actor, id)?;
            return match takes_part(delegation, &customer) {
                true => Ok(vec![customer]),
                false => {
                    let [a, b] = &delegation.selectors;
                    Err(Error::invalid(
                        format!("the keys of {id} are not delegated: its file names neither {a} nor {b}"),
                        format!("set selector = \"{a}\" in [dkim] of its file once it has published the CNAME records"),
                    ))
                }
            };
        }
        let all = self.configured.directory.customers();
        Ok(all.filter(|customer| takes_part(delegation, customer)).cloned().collect())
    }

    fn zone_records(
        &self,
        delegation: &Delegation,
        customer: &Customer,
        rotation: Option<&Rotation>,
    ) -> Result<Vec<Txt>, Error> {
        let mut rotations = self.rotations(customer)?;
        if let Some(rotation) = rotation {
            rotations.retain(|other| other.place != rotation.place);
            rotations.push(rotation.clone());
        }
        delegation.records(customer, &rotations).map_err(|reason| {
            Error::failed(format!("the zone has no records for {}: {reason}", customer.id), "mend that first")
        })
    }

    fn rotations(&self, customer: &Customer) -> Result<Vec<Rotation>, Error> {
        rotation::under_way(&self.configured.onboarding, &customer.id).map_err(|error| {
            Error::failed(error.to_string(), "run the command as the user that runs the relay or as root")
        })
    }

    /// Returns true if the signing key is old enough to be replaced, by the age of its file.
    fn is_due(&self, delegation: &Delegation, customer: &Customer) -> Result<bool, Error> {
        let file = self.configured.customer_files.path(&customer.id);
        let failed = |error: std::io::Error| Error::failed(format!("{}: {error}", file.display()), "make it readable");
        let text = crate::files::read_text(&file).map_err(failed)?;
        let Some(named) = Named::of(&text, KeyPlace::Main) else { return Ok(false) };
        if !delegation.has(&named.selector) {
            return Ok(false);
        }
        let made = std::fs::metadata(folder(&file).join(&named.private_key)).and_then(|found| found.modified());
        let age = SystemTime::now().duration_since(made.map_err(failed)?).unwrap_or_default();
        Ok(age >= delegation.rotate_every)
    }
}

fn takes_part(delegation: &Delegation, customer: &Customer) -> bool {
    use crate::customers::SigningDomain;
    customer.domains.iter().any(|(domain, signing)| match signing {
        SigningDomain::Ready(signer) => signer.profiles_of(domain).any(|it| delegation.has(it.selector.as_str())),
        SigningDomain::Broken(_) => false,
    })
}

/// Returns true if the server has exactly this record. If it does not answer, the update reports why.
async fn has(server: &dyn Resolver, record: &Txt) -> bool {
    let Ok(texts) = server.txt(record.name.as_str()).await else { return false };
    let values: Vec<String> = texts.iter().map(|strings| plain::text(&joined(strings))).collect();
    values == [record.value.as_str()]
}

fn line(record: &Txt) -> String {
    let ttl = format!(". {} IN TXT ", record.ttl);
    TxtRecord { name: record.name.to_string(), value: record.value.clone() }.zone_line().replacen(". IN TXT ", &ttl, 1)
}
