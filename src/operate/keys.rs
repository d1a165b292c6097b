//! Rotates a customer's DKIM key step by step. Each run does the next step and reports what must be done before the one after it.
//!
//! [`rotation`] decides which step is next and when it may be taken. This module carries the steps out: it makes the key, changes the
//! customer's file, and asks DNS and the running relay. An interrupted step is simply repeated.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::actor::Need;
use super::audit::{Act, Audit};
use super::customers::replace;
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
use crate::onboarding::{Delegation, delegation};
use crate::resolver;
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
    let found = directory.get(&CustomerId::new(customer)).ok_or_else(|| {
        Error::not_found(format!("there is no customer \"{customer}\""), "a customer is called by the name of its file")
    })?;
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
    /// Makes the new key and reports where to publish it.
    async fn begin(&self, others: &[Rotation]) -> Result<Rotated, Error> {
        let domain = self.first_domain()?;
        let old = selector(&self.named.selector)?;
        let delegation = match self.site.configured.onboarding.delegation_of(old.as_str()) {
            Some(delegation) => Some(delegation),
            // A customer that has published both aliases need not publish another key by hand.
            None => match self.with_aliases().await {
                Ok(delegation) => delegation,
                Err(reason) => return Ok(Rotated::waits([RotationStep::Unanswered { reason }])),
            },
        };
        let new = match delegation {
            Some(delegation) => self.next_delegated(delegation, &old, others)?,
            None => rotation::next_selector(&old, &self.taken(others)).ok_or_else(|| {
                Error::failed(
                    format!("no selector comes after {old}"),
                    "give the key a selector that ends in a small number",
                )
            })?,
        };
        let old_path = self.resolve(&self.named.private_key);
        let (old_key, _) = SigningKey::from_file(&old_path, self.passphrase()).map_err(not_usable)?;
        // The file is beside that of the old key: `test.dk.pem` and `test.dk.postbud2.pem`. A delegated selector is used again with another
        // key, which must not be taken from the former key's file.
        let made = match delegation {
            Some(_) => format!("{domain}.{new}.{}.pem", Timestamp::now().as_millis()),
            None => format!("{domain}.{new}.pem"),
        };
        let name = Path::new(&self.named.private_key).with_file_name(made);
        let name = name.to_str().ok_or_else(|| {
            Error::failed("the new key's file name is not UTF-8", "give the folder of keys a name in UTF-8")
        })?;
        let path = self.resolve(name);
        // A key that an interrupted run left is as good as a new one, and may be published already.
        let new_key = match path.exists() {
            true => left_behind(&path, &old_key, self.passphrase())?,
            false => {
                let key = old_key.generate_like().map_err(not_usable)?;
                let pem = self.site.configured.key_file(&key).map_err(not_usable)?;
                let written = files::write_secret_for(&old_path, &path, pem.as_bytes());
                written
                    .map_err(|error| Error::failed(error.to_string(), "make sure that the folder can be written"))?;
                key
            }
        };
        let key = |selector: &Selector, key: &SigningKey, file: &str| -> Result<Key, Error> {
            let record = render(domain, selector, key).map_err(not_usable)?.value;
            Ok(Key { selector: selector.to_string(), record, file: file.to_owned() })
        };
        let old = key(&old, &old_key, &self.named.private_key)?;
        let mut rotation = Rotation::new(self.place, old, key(&new, &new_key, name)?);
        rotation.leaked = self.leaked;
        self.save(&rotation)?;
        self.tell(format!("a new {} key was made, {}; it has to be published", self.place, rotation.new.selector))?;
        Ok(Rotated::done(self.published(&rotation).await?))
    }

    /// Returns the delegation, if the customer has published its aliases at every domain.
    async fn with_aliases(&self) -> Result<Option<&Delegation>, resolver::Error> {
        let Some(delegation) = self.site.configured.onboarding.delegation.as_ref() else { return Ok(None) };
        if self.place != KeyPlace::Main {
            return Ok(None);
        }
        let domains = self.customer.domains.keys();
        let has_all = delegation::has_aliases(&*self.site.checker.resolver, domains, delegation).await?;
        Ok(has_all.then_some(delegation))
    }

    /// Returns the delegated selector that signs next: the one that does not sign now. The customer's second key must not use it.
    fn next_delegated(&self, delegation: &Delegation, old: &Selector, others: &[Rotation]) -> Result<Selector, Error> {
        let next = match delegation.has(old.as_str()) {
            true => delegation.other(old),
            false => delegation.selectors[0].clone(),
        };
        match self.taken(others).contains(&next) {
            false => Ok(next),
            true => Err(Error::conflict(
                format!("{next}, which signs next, is the selector of the customer's other key"),
                "give the other key a selector that is not in [dkim.delegation] selectors",
            )),
        }
    }

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
                let taken = !switched && self.switch(&rotation.new)?;
                let selector = rotation.new.selector.clone();
                rotation.switched(now);
                self.save(&rotation)?;
                self.tell(format!("the customer's file was changed over to the {} key {selector}", self.place))?;
                Rotated::done(RotationStep::Switched { selector, file: self.file.display().to_string(), taken })
            }
            Next::See => Rotated::waits([RotationStep::NotSeen { selector: rotation.new.selector }]),
            Next::Keep(until) => Rotated::done(RotationStep::Overlap { until: until.to_string() }),
            Next::Revoke => {
                if let RotationStage::Overlap { since, .. } = rotation.stage
                    && !rotation.leaked
                    && let Some(step) = self.queued(Timestamp::from_millis(since), now).await?
                {
                    return Ok(Rotated::waits([step]));
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
                    None => Rotated::waits([RotationStep::Revoke { hosts: view.old_present }]),
                    Some(_) => Rotated::waits([self.published(&rotation).await?]),
                }
            }
            Next::Finish => {
                let onboarding = &self.site.configured.onboarding;
                let removed = rotation.remove(onboarding, &self.customer.id);
                removed.map_err(|error| not_kept(&onboarding.state_dir, &error))?;
                let (old, new) = (&rotation.old.selector, &rotation.new.selector);
                self.tell(format!("the {} key was changed from {old} to {new}", self.place))?;
                let old_file = files::tidy(&self.resolve(&rotation.old.file)).display().to_string();
                let old_file = (!self.signs_elsewhere(&rotation.old)).then_some(old_file);
                Rotated::done(RotationStep::Done { selector: rotation.new.selector, old_file })
            }
        })
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

    /// Returns the domain after which the key's file is named, as when a customer is added. A broken key must be corrected first, because
    /// its mail waits.
    fn first_domain(&self) -> Result<&Domain, Error> {
        match self.customer.domains.first_key_value() {
            Some((domain, SigningDomain::Ready(_))) => Ok(domain),
            Some((domain, SigningDomain::Broken(reason))) => Err(Error::conflict(
                format!("the key of {domain} cannot be used: {reason}"),
                "mend that first: mail of the customer waits for it",
            )),
            None => Err(Error::conflict("the customer has no domain", "give it one in its file")),
        }
    }

    /// Returns selectors that a new key must not use: those in the customer's file, and those of running rotations.
    fn taken(&self, others: &[Rotation]) -> Vec<Selector> {
        let named = KeyPlace::ALL.iter().filter_map(|place| Named::of(&self.text, *place)).map(|named| named.selector);
        let rotating =
            others.iter().flat_map(|rotation| [&rotation.old, &rotation.new]).map(|key| key.selector.clone());
        named.chain(rotating).filter_map(|selector| Selector::parse(&selector).ok()).collect()
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

    /// Changes the customer's file, and restores it if the configuration becomes invalid. Returns true if the relay already signs with the
    /// new key, because it runs this command.
    fn switch(&self, new: &Key) -> Result<bool, Error> {
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
        // DNS may have taken long to answer.
        unchanged(&self.file, &self.text)?;
        let configured = &self.site.configured;
        let read = configured.customer_files.read(&self.customer.id, &changed, &configured.directory);
        read.map_err(|refused| refused.within("with the new key"))?;
        replace(&self.file, &changed)?;
        self.site.running.take_here(self.actor, &self.customer.id)
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

/// Returns the key that an interrupted run left. Returns an error if it is of another kind, because then it is not from a rotation of this
/// key.
fn left_behind(path: &Path, old: &SigningKey, passphrase: Option<&Passphrase>) -> Result<SigningKey, Error> {
    let (key, _) = SigningKey::from_file(path, passphrase).map_err(not_usable)?;
    if key.key_type() != old.key_type() {
        return Err(Error::conflict(
            format!(
                "{} is already there with a key for {}, and the one that signs is for {}",
                path.display(),
                key.algorithm(),
                old.algorithm()
            ),
            "move it away first",
        ));
    }
    Ok(key)
}

pub(super) fn read(path: &Path) -> Result<String, Error> {
    read_text(path).map_err(|error| {
        let message = format!("cannot read {}: {error}", path.display());
        Error::failed(message, "make sure that the user who runs the command can read it")
    })
}

/// Returns an error if somebody has edited the file since it was read, because the edit would be lost.
pub(super) fn unchanged(path: &Path, text: &str) -> Result<(), Error> {
    if read(path)? != text {
        let message = format!("{} was changed meanwhile and is left as it is", path.display());
        return Err(Error::conflict(message, "run this command again"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_key_left_behind_is_taken_only_where_it_is_of_the_old_ones_kind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("test.dk.postbud2.pem");
        let [old, left] = [1, 2].map(|seed| SigningKey::from_ed25519_seed(&[seed; 32]).unwrap());
        fs::write(&path, left.to_pem().unwrap().as_bytes()).unwrap();
        let taken = left_behind(&path, &old, None).unwrap();
        assert_eq!(taken.public_key_base64().unwrap(), left.public_key_base64().unwrap());
        let rsa = SigningKey::generate_rsa(2048).unwrap();
        let refused = left_behind(&path, &rsa, None).unwrap_err().to_string();
        assert!(refused.contains("test.dk.postbud2.pem is already there with a key for ed25519-sha256"), "{refused}");
    }

    #[test]
    fn an_edit_made_meanwhile_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("test-as.toml");
        fs::write(&path, "name = \"T\"").unwrap();
        unchanged(&path, "name = \"T\"").unwrap();
        let refused = unchanged(&path, "name = \"S\"").unwrap_err().to_string();
        assert!(refused.contains("was changed meanwhile"), "{refused}");
    }
}
