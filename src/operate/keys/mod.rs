//! Rotates a customer's DKIM key step by step. Each run does the next step and reports what must be done before the one after it.
//!
//! [`rotation`] decides which step is next and when it may be taken. This module carries the steps out: it makes the key, changes the
//! customer's file, and asks DNS and the running relay. An interrupted step is simply repeated.

mod begin;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::actor::Need;
use super::audit::{Act, Audit};
use super::site::{Configuration, Site};
use super::zone::ZoneKept;
use super::{Actor, Error};
use crate::customers::{Customer, KeyPlace, SigningDomain};
use crate::dkim::record::{TxtRecord, render};
use crate::dkim::{KeyError, KeyRecord, Selector, SigningKey};
use crate::events::Action;
use crate::files::{self, folder, read_text};
use crate::message::CustomerId;
use crate::onboarding::rotation::{self, InUse, Key, Named, Next, Rotation, RotationStage, RotationStep};
use crate::sealed::Passphrase;
use crate::smtp::Domain;
use crate::time::Timestamp;

/// The result of one run.
#[derive(Debug, Serialize)]
pub struct Rotated {
    /// What was done, and what must be done next, in order.
    pub steps: Vec<RotationStep>,
    /// True if the next run must wait until somebody has done something, or until a change is visible in DNS or in the relay.
    pub waits: bool,
}

impl Rotated {
    fn done(step: RotationStep) -> Self {
        Rotated { steps: vec![step], waits: false }
    }

    fn waits(steps: impl Into<Vec<RotationStep>>) -> Self {
        Rotated { steps: steps.into(), waits: true }
    }
}

/// Returns the key records that a customer must publish, one for each domain and key. Does not ask DNS.
pub fn records(files: &dyn Configuration, customer: &str) -> Result<Vec<TxtRecord>, Error> {
    let directory = files.read()?.directory;
    let found = directory.get(&CustomerId::new(customer)).ok_or_else(|| Error::no_customer(customer))?;
    let unusable = |domain: &Domain, why: &dyn std::fmt::Display| {
        Error::conflict(format!("the key of {domain} cannot be used: {why}"), "`postbud check` names the file")
    };
    let mut records = Vec::new();
    for (domain, signing) in &found.domains {
        match signing {
            SigningDomain::Broken(why) => return Err(unusable(domain, why)),
            SigningDomain::Ready(signer) => {
                // The relay's own second signature has another domain, and the customer does not publish its key.
                for profile in signer.profiles().filter(|profile| profile.domain == *domain) {
                    let record = render(&profile.domain, &profile.selector, &profile.key);
                    records.push(record.map_err(|error| unusable(domain, &error))?);
                }
            }
        }
    }
    Ok(records)
}

impl Site {
    /// Does the next step in the rotation of one of a customer's keys. With `leaked`, others may know the current key, so it is revoked as
    /// soon as the new one signs.
    pub async fn rotate_key(
        &self,
        actor: &Actor,
        customer: &str,
        place: KeyPlace,
        leaked: bool,
    ) -> Result<Rotated, Error> {
        actor.may(Need::Admin)?;
        let customer = self.customer(actor, customer)?;
        let audit = self.audit()?;
        let onboarding = &self.configured.onboarding;
        let _lock = rotation::lock(onboarding).map_err(|error| not_kept(&onboarding.state_dir, &error))?;
        let file = self.configured.customer_files.path(&customer.id);
        let text = read(&file)?;
        let named = Named::of(&text, place).ok_or_else(|| {
            Error::not_found(
                format!(
                    "{} names no such key: [dkim] {} and {}",
                    file.display(),
                    place.selector(),
                    place.private_key()
                ),
                "add them to give the customer this key; one that private_key_command fetches is replaced in its vault",
            )
        })?;
        let run = Run { site: self, actor, audit, customer, place, named, file, text, leaked };
        let others = rotation::under_way(onboarding, &run.customer.id)
            .map_err(|error| not_kept(&onboarding.state_dir, &error))?;
        match others.iter().find(|rotation| rotation.place == place) {
            None => run.begin(&others).await,
            Some(rotation) => run.go_on(rotation.clone()).await,
        }
    }
}

struct Run<'a> {
    site: &'a Site,
    actor: &'a Actor,
    audit: Audit,
    customer: Arc<Customer>,
    place: KeyPlace,
    /// The key that the customer's file names now.
    named: Named,
    file: PathBuf,
    text: String,
    leaked: bool,
}

impl Run<'_> {
    /// Publishes the new key if that is webCRM's part, and reports what somebody else must do.
    async fn published(&self, rotation: &Rotation) -> Result<RotationStep, Error> {
        match self.site.configured.onboarding.delegation_of(&rotation.new.selector) {
            None => Ok(self.publish(rotation)),
            Some(_) => Ok(match self.site.keep_zone_of(&self.customer, Some(rotation)).await? {
                ZoneKept::Updated(_) => RotationStep::InZone { selector: rotation.new.selector.clone() },
                ZoneKept::ByHand(lines) => RotationStep::PublishZone { lines },
            }),
        }
    }

    /// Takes a running rotation one step further.
    async fn go_on(&self, mut rotation: Rotation) -> Result<Rotated, Error> {
        if self.leaked && !rotation.leaked {
            rotation.leaked = true;
            self.save(&rotation)?;
        }
        let delegation = self.site.configured.onboarding.delegation_of(&rotation.new.selector);
        let switched = self.is_switched(&rotation)?;
        if switched {
            let in_use = self.in_use(&rotation).await?;
            if rotation.seen(in_use, Timestamp::now()) {
                self.save(&rotation)?;
            }
            if in_use == InUse::Old {
                return Ok(Rotated::waits([RotationStep::StillSigning { selector: rotation.old.selector }]));
            }
        }
        let resolver = &*self.site.checker.resolver;
        let view = rotation::look(resolver, self.customer.domains.keys(), &rotation).await;
        let now = Timestamp::now();
        if rotation.looked(&view, now) {
            self.save(&rotation)?;
        }
        let overlap = self.site.configured.onboarding.rotation_overlap;
        let settle = delegation.map_or(Duration::ZERO, |delegation| delegation.ttl);
        Ok(match rotation::advance(&rotation, &view, switched, now, overlap, settle) {
            Next::AskAgain(reason) => Rotated::waits([RotationStep::Unanswered { reason }]),
            Next::Settle(until) => Rotated::waits([RotationStep::Settling { until: until.to_string() }]),
            Next::Wait => {
                Rotated::waits([RotationStep::Waiting { hosts: view.new_missing }, self.published(&rotation).await?])
            }
            Next::Switch => {
                let taken = !switched && self.switch(&rotation.new).await?;
                let selector = rotation.new.selector.clone();
                rotation.switched(now);
                self.save(&rotation)?;
                self.tell(format!("the customer's file was changed over to the {} key {selector}", self.place))?;
                Rotated::done(RotationStep::Switched { selector, file: self.file.display().to_string(), taken })
            }
            Next::See => Rotated::waits([RotationStep::NotSeen { selector: rotation.new.selector }]),
            Next::Keep(until) => Rotated::done(RotationStep::Overlap { until: until.to_string() }),
            Next::Revoke => Rotated::waits([self.revoke(rotation, view.old_present, now).await?]),
            Next::Finish => Rotated::done(self.finish(rotation)?),
        })
    }

    /// Has the old key revoked, which is published at `hosts`, once no mail waits that it has signed.
    async fn revoke(&self, mut rotation: Rotation, hosts: Vec<String>, now: Timestamp) -> Result<RotationStep, Error> {
        if let RotationStage::Overlap { since, .. } = rotation.stage
            && !rotation.leaked
            && let Some(step) = self.queued(Timestamp::from_millis(since), now).await?
        {
            return Ok(step);
        }
        // The table of records changes only now.
        let news = rotation.stage != RotationStage::Revoking;
        rotation.stage = RotationStage::Revoking;
        self.save(&rotation)?;
        if news {
            self.tell(format!("the {} key {} has to be revoked", self.place, rotation.old.selector))?;
        }
        // The old key may have been published by hand, although the new one is not.
        match self.site.configured.onboarding.delegation_of(&rotation.old.selector) {
            None => Ok(RotationStep::Revoke { hosts }),
            Some(_) => self.published(&rotation).await,
        }
    }

    fn finish(&self, rotation: Rotation) -> Result<RotationStep, Error> {
        let onboarding = &self.site.configured.onboarding;
        let removed = rotation.remove(onboarding, &self.customer.id);
        removed.map_err(|error| not_kept(&onboarding.state_dir, &error))?;
        let (old, new) = (&rotation.old.selector, &rotation.new.selector);
        self.tell(format!("the {} key was changed from {old} to {new}", self.place))?;
        let old_file = files::tidy(&self.resolve(&rotation.old.file)).display().to_string();
        let old_file = (!self.signs_elsewhere(&rotation.old)).then_some(old_file);
        Ok(RotationStep::Done { selector: rotation.new.selector, old_file })
    }

    /// Returns true if the customer's file names the new key. Returns an error if it names a key that the rotation does not expect.
    fn is_switched(&self, Rotation { old, new, stage, .. }: &Rotation) -> Result<bool, Error> {
        let current = self.named.selector.to_ascii_lowercase();
        let (file, rotations) = (self.file.display(), self.rotations());
        if current != old.selector && current != new.selector {
            return Err(Error::conflict(
                format!(
                    "{file} signs with {current}, which is neither {} nor {} of the rotation under way",
                    old.selector, new.selector
                ),
                format!("put one of them back, or remove the rotation's file below {rotations}"),
            ));
        }
        let switched = current == new.selector;
        if *stage != RotationStage::Publishing && !switched {
            return Err(Error::conflict(
                format!(
                    "{file} signs with {current} again, although the rotation had changed over to {}",
                    new.selector
                ),
                format!(
                    "put that back (selector = \"{}\", private_key = \"{}\"), or remove the rotation's file below {rotations} to \
                     give the change up",
                    new.selector, new.file
                ),
            ));
        }
        Ok(switched)
    }

    /// Returns the step that waits for mail that was accepted before the new key was seen to sign, because the old key must stay published
    /// for it. Held mail may wait without limit.
    async fn queued(&self, since: Timestamp, now: Timestamp) -> Result<Option<RotationStep>, Error> {
        let id = &self.customer.id;
        Ok(match self.site.running.has_mail_from_before(self.actor, id, since, now).await? {
            Some(true) => Some(RotationStep::StillQueued { customer: id.to_string() }),
            Some(false) => None,
            None => Some(RotationStep::QueueNotSeen),
        })
    }

    /// Returns true if the mail of any customer is signed with this key, because a file may serve several.
    fn signs_elsewhere(&self, key: &Key) -> bool {
        let record = KeyRecord::parse(&key.record);
        let directory = &self.site.configured.directory;
        let signers = directory.customers().flat_map(|customer| customer.domains.values());
        signers
            .filter_map(|signing| match signing {
                SigningDomain::Ready(signer) => Some(signer),
                SigningDomain::Broken(_) => None,
            })
            .any(|signer| signer.profiles().any(|profile| record.is_of(&profile.key)))
    }

    /// Returns the keys with which the running relay signs.
    async fn in_use(&self, Rotation { old, new, .. }: &Rotation) -> Result<InUse, Error> {
        let signers = self.site.running.signers(self.actor, &self.customer.id).await?;
        let of = |signers: Vec<_>| {
            let selectors: Vec<Vec<String>> =
                signers.into_iter().map(|it: super::signers::Signer| it.selectors).collect();
            InUse::of(selectors.iter().map(Vec::as_slice), old, new)
        };
        Ok(signers.map_or(InUse::Unseen, of))
    }

    fn publish(&self, rotation: &Rotation) -> RotationStep {
        let hosts = self.customer.domains.keys().map(|domain| rotation.new.host(domain)).collect();
        RotationStep::Publish { hosts, value: rotation.new.record.clone() }
    }

    /// Returns the passphrase of encrypted keys.
    fn passphrase(&self) -> Option<&Passphrase> {
        self.site.configured.passphrase.as_ref()
    }

    /// Resolves a path in the customer's file, which is relative to that file.
    fn resolve(&self, name: &str) -> PathBuf {
        folder(&self.file).join(name)
    }

    fn rotations(&self) -> String {
        self.site.configured.onboarding.state_dir.join("rotations").display().to_string()
    }

    fn save(&self, rotation: &Rotation) -> Result<(), Error> {
        let onboarding = &self.site.configured.onboarding;
        rotation.save(onboarding, &self.customer.id).map_err(|error| not_kept(&onboarding.state_dir, &error))
    }

    fn tell(&self, detail: String) -> Result<(), Error> {
        let act = Act { customer: Some(self.customer.id.to_string()), ..Act::new(Action::KeyRotate, detail) };
        self.audit.tell(self.actor, act)
    }

    /// Changes the customer's file, unless it would become invalid. Returns true if the relay already signs with the new key, because it
    /// runs this command.
    async fn switch(&self, new: &Key) -> Result<bool, Error> {
        // The file is accepted even with a key that cannot be used, whose mail would then be refused temporarily. A key that is not the
        // published one would make signatures that nobody can verify.
        let path = self.resolve(&new.file);
        if !KeyRecord::parse(&new.record).is_of(&SigningKey::from_file(&path, self.passphrase()).map_err(not_usable)?.0)
        {
            return Err(Error::conflict(
                format!("{} is not the key that was published at {}", path.display(), new.selector),
                format!(
                    "put that one back, or remove the rotation's file below {} and the key to begin anew",
                    self.rotations()
                ),
            ));
        }
        let changed = self.named.replaced(&self.text, &selector(&new.selector)?, &new.file);
        let put = self.site.put_customer(self.actor, &self.customer.id, &self.text, &changed).await;
        put.map_err(|refused| refused.within("with the new key"))
    }
}

fn selector(text: &str) -> Result<Selector, Error> {
    Selector::parse(text).map_err(|error| Error::invalid(error.to_string(), "correct it in the customer's file"))
}

fn not_usable(error: KeyError) -> Error {
    Error::failed(error.to_string(), "nothing was changed")
}

fn not_kept(state_dir: &Path, error: &io::Error) -> Error {
    Error::failed(
        format!("cannot keep a rotation in {}: {error}", state_dir.display()),
        "run the command as the user that runs the relay or as root",
    )
}

pub(super) fn read(path: &Path) -> Result<String, Error> {
    read_text(path).map_err(|error| {
        let message = format!("cannot read {}: {error}", path.display());
        Error::failed(message, "make sure that the user who runs the command can read it")
    })
}
