//! `postbud dkim rotate`: a new key for a customer, step by step.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::ValueEnum;

use crate::cli::domain::{Desk, Language, customers_dir};
use crate::cli::{ConfigFile, block_on, files};
use crate::config;
use crate::customers::{Customer, KeyPlace, SigningDomain};
use crate::dkim::record::render;
use crate::dkim::{KeyRecord, Selector, SigningKey};
use crate::files::{Whole, folder, read_text};
use crate::onboarding::Lang;
use crate::onboarding::rotation::{self, InUse, Key, Named, Next, Rotation, Stage, Step};
use crate::operate::queue::Selection;
use crate::operate::signers::Signer;
use crate::operate::socket::protocol::Command;
use crate::operate::socket::{self, CallError};
use crate::smtp::Domain;
use crate::time::Timestamp;

/// Change one of a customer's DKIM keys, step by step.
///
/// Run it again and again: each run does the next step and says what to do before the one after. 1: makes a key under a new
/// selector and prints its records. 2: when DNS shows them at every domain, the customer's file is changed to sign with it.
/// 3: both keys stay published for the overlap ([onboarding] rotation_overlap), since mail signed with the old one is still
/// under way; it counts from the run that sees the running relay sign with the new key. 4: prints how to revoke the old key.
/// 5: when DNS shows that, the rotation is over. A step that was interrupted is simply run again. The new key is of the old
/// one's kind. A customer with a second key (ed25519_selector) rotates each by itself. Meanwhile `postbud domain records`
/// and `postbud domain check` know what has to be published.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud dkim rotate test-as
  postbud dkim rotate test-as --key ed25519
  postbud dkim rotate test-as --lang da

Exit codes: 0 a step was done, or there is nothing to do yet; 1 something has to be done first, or DNS did not answer.")]
pub(super) struct Args {
    /// The customer: the name of its file.
    customer: String,
    #[command(flatten)]
    config: ConfigFile,
    /// Which of its keys.
    #[arg(long = "key", value_enum, default_value_t = WhichKey::Main, value_name = "KEY")]
    which: WhichKey,
    #[command(flatten)]
    language: Language,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum WhichKey {
    /// selector and private_key of the customer's file.
    Main,
    /// ed25519_selector and ed25519_private_key, the second signature.
    Ed25519,
}

impl From<WhichKey> for KeyPlace {
    fn from(which: WhichKey) -> Self {
        match which {
            WhichKey::Main => KeyPlace::Main,
            WhichKey::Ed25519 => KeyPlace::Ed25519,
        }
    }
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        block_on(async {
            let desk = Desk::open(&self.config)?;
            let customer = desk.customer(&self.customer)?;
            let onboarding = &desk.settings.onboarding;
            let _turn = rotation::lock(onboarding)
                .with_context(|| format!("cannot keep a rotation in {}", onboarding.state_dir.display()))?;
            let file = customers_dir(&self.config.path)?.join(format!("{}.toml", self.customer));
            let text = read_text(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let place = KeyPlace::from(self.which);
            let named = Named::of(&text, place).with_context(|| {
                format!("{} names no such key: [dkim] {} and {}", file.display(), place.selector(), place.private_key())
            })?;
            let run = Run {
                config: &self.config,
                desk: &desk,
                customer: &customer,
                place,
                named,
                file,
                text,
                lang: self.language.or_english(),
            };
            let others = rotation::under_way(onboarding, &customer.id)?;
            match others.iter().find(|rotation| rotation.place == place) {
                None => run.begin(&others),
                Some(rotation) => run.go_on(rotation.clone()).await,
            }
        })
    }
}

struct Run<'a> {
    config: &'a ConfigFile,
    desk: &'a Desk,
    customer: &'a Customer,
    place: KeyPlace,
    /// What the customer's file names there now.
    named: Named,
    file: PathBuf,
    text: String,
    lang: Lang,
}

impl Run<'_> {
    fn begin(&self, others: &[Rotation]) -> anyhow::Result<ExitCode> {
        let domain = self.first_domain()?;
        let old = Selector::parse(&self.named.selector)?;
        let new = rotation::next_selector(&old, &self.taken(others))
            .with_context(|| format!("no selector comes after {old}"))?;
        let (old_key, _) = SigningKey::from_file(&self.resolve(&self.named.private_key))?;
        // Beside the old key: `test.dk.pem` and `test.dk.postbud2.pem`.
        let name = Path::new(&self.named.private_key).with_file_name(format!("{domain}.{new}.pem"));
        let name = name.to_str().context("the new key's file name is not UTF-8")?;
        let path = self.resolve(name);
        // A run that was interrupted has left its key: it is as good as a new one, and may be published already.
        let new_key = match path.exists() {
            true => left_behind(&path, &old_key)?,
            false => {
                let key = old_key.generate_like()?;
                files::write_secret_for(&self.resolve(&self.named.private_key), &path, key.to_pem()?.as_bytes())?;
                key
            }
        };
        let key = |selector: &Selector, key: &SigningKey, file: &str| -> anyhow::Result<Key> {
            let record = render(domain, selector, key)?.value;
            Ok(Key { selector: selector.to_string(), record, file: file.to_owned() })
        };
        let old = key(&old, &old_key, &self.named.private_key)?;
        let rotation = Rotation::new(self.place, old, key(&new, &new_key, name)?);
        rotation.save(&self.desk.settings.onboarding, &self.customer.id)?;
        self.publish(&rotation);
        Ok(ExitCode::SUCCESS)
    }

    async fn go_on(&self, mut rotation: Rotation) -> anyhow::Result<ExitCode> {
        let onboarding = &self.desk.settings.onboarding;
        let Rotation { old, new, .. } = &rotation;
        let current = self.named.selector.to_ascii_lowercase();
        if current != old.selector && current != new.selector {
            bail!(
                "{} signs with {current}, which is neither {} nor {} of the rotation under way: put one of them back, or remove \
                 the rotation's file below {}",
                self.file.display(),
                old.selector,
                new.selector,
                onboarding.state_dir.join("rotations").display()
            );
        }
        let switched = current == new.selector;
        if rotation.stage != Stage::Publishing && !switched {
            bail!(
                "{} signs with {current} again, although the rotation had changed over to {}: put that back (selector = \"{}\", \
                 private_key = \"{}\"), or remove the rotation's file below {} to give the change up",
                self.file.display(),
                new.selector,
                new.selector,
                new.file,
                onboarding.state_dir.join("rotations").display()
            );
        }
        if switched {
            let in_use = self.in_use(old, new)?;
            if rotation.seen(in_use, Timestamp::now()) {
                rotation.save(onboarding, &self.customer.id)?;
            }
            if in_use == InUse::Old {
                self.say(&Step::StillSigning { selector: rotation.old.selector });
                return Ok(ExitCode::FAILURE);
            }
        }
        let view = rotation::look(&*self.desk.checker.resolver, self.customer.domains.keys(), &rotation).await;
        let now = Timestamp::now();
        match rotation::advance(&rotation, &view, switched, now, onboarding.rotation_overlap) {
            Next::AskAgain(reason) => {
                self.say(&Step::Unanswered { reason });
                Ok(ExitCode::FAILURE)
            }
            Next::Wait => {
                self.say(&Step::Waiting { hosts: view.new_missing });
                self.publish(&rotation);
                Ok(ExitCode::FAILURE)
            }
            Next::Switch => {
                if !switched {
                    self.switch(&rotation.new)?;
                }
                let selector = rotation.new.selector.clone();
                rotation.switched(now);
                rotation.save(onboarding, &self.customer.id)?;
                self.say(&Step::Switched { selector, file: self.file.display().to_string() });
                Ok(ExitCode::SUCCESS)
            }
            Next::See => {
                self.say(&Step::NotSeen { selector: rotation.new.selector });
                Ok(ExitCode::FAILURE)
            }
            Next::Keep(until) => {
                self.say(&Step::Overlap { until: until.to_string() });
                Ok(ExitCode::SUCCESS)
            }
            Next::Revoke => {
                if let Stage::Overlap { since, .. } = rotation.stage
                    && let Some(step) = self.queued(Timestamp::from_millis(since), now)?
                {
                    self.say(&step);
                    return Ok(ExitCode::FAILURE);
                }
                // Only now the table of records says so too.
                rotation.stage = Stage::Revoking;
                rotation.save(onboarding, &self.customer.id)?;
                self.say(&Step::Revoke { hosts: view.old_present });
                Ok(ExitCode::FAILURE)
            }
            Next::Finish => {
                rotation.remove(onboarding, &self.customer.id)?;
                let old_file = files::tidy(&self.resolve(&rotation.old.file)).display().to_string();
                let old_file = (!self.signs_elsewhere(&rotation.old)).then_some(old_file);
                self.say(&Step::Done { selector: rotation.new.selector, old_file });
                Ok(ExitCode::SUCCESS)
            }
        }
    }

    /// What keeps the old key published: mail accepted before the new one was seen to sign. Held mail may wait for any time.
    fn queued(&self, since: Timestamp, now: Timestamp) -> anyhow::Result<Option<Step>> {
        let customer = self.customer.id.to_string();
        let which = Selection {
            customer: Some(customer.clone()),
            older_than_secs: Some(now.since(since).as_secs()),
            ..Selection::default()
        };
        let command = Command::List { which, limit: Some(1) };
        match socket::call(&self.desk.settings.state_dir, command, |_| {}, |_| {}) {
            Ok(done) => Ok((done.count > 0).then_some(Step::StillQueued { customer })),
            Err(CallError::NotRunning(_)) => Ok(Some(Step::QueueNotSeen)),
            Err(error) => Err(error).context("cannot ask the running relay what waits in its queue"),
        }
    }

    /// Whether any customer's mail is signed with this key: a file may serve several.
    fn signs_elsewhere(&self, key: &Key) -> bool {
        let record = KeyRecord::parse(&key.record);
        let directory = &self.desk.settings.directory;
        let signers = directory.customers().flat_map(|customer| customer.domains.values());
        signers
            .filter_map(|signing| match signing {
                SigningDomain::Ready(signer) => Some(signer),
                SigningDomain::Broken(_) => None,
            })
            .any(|signer| signer.profiles().any(|profile| record.is_of(&profile.key)))
    }

    /// What the running relay signs with.
    fn in_use(&self, old: &Key, new: &Key) -> anyhow::Result<InUse> {
        let mut signers = Vec::new();
        let signing = |item| {
            // What cannot be read is no sign of the new key.
            signers.push(serde_json::from_value::<Signer>(item).map(|signer| signer.selectors).unwrap_or_default());
        };
        let command = Command::Signers { customer: self.customer.id.to_string() };
        match socket::call(&self.desk.settings.state_dir, command, signing, |_| {}) {
            Ok(_) => Ok(InUse::of(signers.iter().map(Vec::as_slice), old, new)),
            Err(CallError::NotRunning(_)) => Ok(InUse::Unseen),
            Err(error) => Err(error).context("cannot ask the running relay which key it signs with"),
        }
    }

    fn say(&self, step: &Step) {
        println!("{}", self.config.in_commands(&self.lang.rotation(step)));
    }

    fn publish(&self, rotation: &Rotation) {
        let hosts = self.customer.domains.keys().map(|domain| rotation.new.host(domain)).collect();
        self.say(&Step::Publish { hosts, value: rotation.new.record.clone() });
    }

    /// The key's file is named after it, as `customer add` does. Mail of a broken key waits: that is mended first.
    fn first_domain(&self) -> anyhow::Result<&Domain> {
        let (domain, signing) = self.customer.domains.first_key_value().context("the customer has no domain")?;
        match signing {
            SigningDomain::Broken(reason) => bail!("the key of {domain} cannot be used: {reason}"),
            SigningDomain::Ready(_) => Ok(domain),
        }
    }

    /// Selectors that a new key must not have: those the customer's file names, and those of rotations under way.
    fn taken(&self, others: &[Rotation]) -> Vec<Selector> {
        let named = KeyPlace::ALL.iter().filter_map(|place| Named::of(&self.text, *place)).map(|named| named.selector);
        let rotating =
            others.iter().flat_map(|rotation| [&rotation.old, &rotation.new]).map(|key| key.selector.clone());
        named.chain(rotating).filter_map(|selector| Selector::parse(&selector).ok()).collect()
    }

    /// Paths in the customer's file are relative to it.
    fn resolve(&self, name: &str) -> PathBuf {
        self.file.parent().unwrap_or(Path::new("")).join(name)
    }

    /// Changes the customer's file, and changes it back where the configuration is not accepted.
    fn switch(&self, new: &Key) -> anyhow::Result<()> {
        // A key that cannot be used would be accepted, and its mail deferred at the door; one that is not the published one
        // would sign what nobody can verify.
        let path = self.resolve(&new.file);
        if !KeyRecord::parse(&new.record).is_of(&SigningKey::from_file(&path)?.0) {
            bail!(
                "{} is not the key that was published at {}: put that one back, or remove the rotation's file below {} and the \
                 key to begin anew",
                path.display(),
                new.selector,
                self.desk.settings.onboarding.state_dir.join("rotations").display()
            );
        }
        let changed = self.named.replaced(&self.text, &Selector::parse(&new.selector)?, &new.file);
        // DNS took its time to answer.
        unchanged(&self.file, &self.text)?;
        replace(&self.file, &changed)?;
        if let Err(refused) = config::load(&self.config.path) {
            replace(&self.file, &self.text)?;
            return Err(refused).context("with the new key");
        }
        Ok(())
    }
}

/// A key that an interrupted run left: one of another kind is not from a rotation of this key.
fn left_behind(path: &Path, old: &SigningKey) -> anyhow::Result<SigningKey> {
    let (key, _) = SigningKey::from_file(path)?;
    if key.key_type() != old.key_type() {
        bail!(
            "{} is already there with a key for {}, and the one that signs is for {}: move it away first",
            path.display(),
            key.algorithm(),
            old.algorithm()
        );
    }
    Ok(key)
}

/// An error where somebody has edited a file since it was read: that would be lost.
fn unchanged(path: &Path, text: &str) -> anyhow::Result<()> {
    let now = read_text(path).with_context(|| format!("cannot read {}", path.display()))?;
    if now != text {
        bail!("{} was changed meanwhile and is left as it is; run this command again", path.display());
    }
    Ok(())
}

/// Writes a file whole, with the owner and the permissions it had. Where a link leads to it, the link stays.
fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let work = || -> std::io::Result<()> {
        let path = &path.canonicalize()?;
        let mode = fs::metadata(path)?.permissions().mode();
        Whole::write(folder(path), text.as_bytes(), mode, Some(path))?.replace(path)
    };
    work().with_context(|| format!("cannot change {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_left_behind_is_taken_only_where_it_is_of_the_old_ones_kind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("test.dk.postbud2.pem");
        let [old, left] = [1, 2].map(|seed| SigningKey::from_ed25519_seed(&[seed; 32]).unwrap());
        fs::write(&path, left.to_pem().unwrap().as_bytes()).unwrap();
        let taken = left_behind(&path, &old).unwrap();
        assert_eq!(taken.public_key_base64().unwrap(), left.public_key_base64().unwrap());
        let rsa = SigningKey::generate_rsa(2048).unwrap();
        let refused = left_behind(&path, &rsa).unwrap_err().to_string();
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
