//! The first step of a rotation: the new key, under the selector that comes next.

use std::path::Path;

use super::{Rotated, Run, not_usable, selector};
use crate::customers::{KeyPlace, SigningDomain};
use crate::dkim::record::render;
use crate::dkim::{Selector, SigningKey};
use crate::files;
use crate::onboarding::rotation::{self, Key, Named, Rotation, RotationStep};
use crate::onboarding::{Delegation, delegation};
use crate::operate::Error;
use crate::resolver;
use crate::sealed::Passphrase;
use crate::smtp::Domain;
use crate::time::Timestamp;

impl Run<'_> {
    /// Makes the new key and reports where to publish it.
    pub(super) async fn begin(&self, others: &[Rotation]) -> Result<Rotated, Error> {
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

    /// Returns the domain after which the new key's file is named. A broken key must be corrected first, because
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
}

/// Returns the key that an interrupted run left. Returns an error if it is of another type, because then it is not from a rotation of this
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
}
