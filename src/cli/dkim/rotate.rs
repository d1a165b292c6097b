//! `postbud dkim rotate`: a new key for a customer, step by step.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::cli::domain::{Desk, Language, customers_dir};
use crate::cli::{ConfigFile, block_on, files};
use crate::config;
use crate::customer::{Customer, SigningDomain};
use crate::dkim::record::render;
use crate::dkim::{Selector, SigningKey};
use crate::onboarding::Lang;
use crate::onboarding::rotation::{self, Next, Rotation, Stage, Step, with_key};
use crate::time::Timestamp;

/// Change a customer's DKIM key, step by step.
///
/// Run it again and again: each run does the next step and says what to do before the one after. 1: makes a key under a new
/// selector and prints its records. 2: when DNS shows them at every domain, the customer's file is changed to sign with it.
/// 3: both keys stay published for the overlap ([onboarding] rotation_overlap), since mail signed with the old one is still
/// under way. 4: prints how to revoke the old key. 5: when DNS shows that, the rotation is over. A step that was
/// interrupted is simply run again. The second key of Ed25519, where there is one, is left alone.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud dkim rotate test-as
  postbud dkim rotate test-as --lang da

Exit codes: 0 a step was done, or there is nothing to do yet; 1 the customer has something to do first, or DNS did not answer.")]
pub(super) struct Args {
    /// The customer: the name of its file.
    customer: String,
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    language: Language,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        block_on(async {
            let desk = Desk::open(&self.config)?;
            let customer = desk.customer(&self.customer)?;
            let file = customers_dir(&self.config.path)?.join(format!("{}.toml", self.customer));
            let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let run =
                Run { args: &self, desk: &desk, customer: &customer, file, text, lang: self.language.or_english() };
            let onboarding = &desk.settings.onboarding;
            match Rotation::load(onboarding, &customer.id)? {
                None => run.begin(),
                Some(rotation) => run.go_on(rotation).await,
            }
        })
    }
}

struct Run<'a> {
    args: &'a Args,
    desk: &'a Desk,
    customer: &'a Customer,
    file: PathBuf,
    text: String,
    lang: Lang,
}

impl Run<'_> {
    fn begin(&self) -> anyhow::Result<ExitCode> {
        let old = self.signs_with()?;
        let new = rotation::next_selector(&old).with_context(|| format!("no selector comes after {old}"))?;
        let path = self.new_key_path(&new)?;
        // A run that was interrupted has left its key: it is as good as a new one, and may be published already.
        let key = match path.exists() {
            true => SigningKey::from_file(&path)?.0,
            false => {
                let key = SigningKey::generate_rsa(2048)?;
                files::write_secret(&path, key.to_pem()?.as_bytes())?;
                key
            }
        };
        Rotation::new(&old, &new, path).save(&self.desk.settings.onboarding, &self.customer.id)?;
        self.publish(&new, &key)?;
        Ok(ExitCode::SUCCESS)
    }

    async fn go_on(&self, mut rotation: Rotation) -> anyhow::Result<ExitCode> {
        let (old, new) = (Selector::parse(&rotation.old_selector)?, Selector::parse(&rotation.new_selector)?);
        let current = self.signs_with()?;
        if current != old && current != new {
            bail!(
                "{} signs with {current}, which is neither {old} nor {new} of the rotation under way: put one of them back, \
                 or remove the rotation's file below {}",
                self.file.display(),
                self.desk.settings.onboarding.state_dir.join("rotations").display()
            );
        }
        let onboarding = &self.desk.settings.onboarding;
        let (key, _) = SigningKey::from_file(&rotation.new_key)?;
        let resolver = &*self.desk.checker.resolver;
        let view = rotation::look(resolver, self.customer.domains.keys(), &old, &new, &key).await;
        let now = Timestamp::now();
        match rotation::advance(&rotation, &view, current == new, now, onboarding.rotation_overlap) {
            Next::AskAgain(reason) => {
                self.say(&Step::Unanswered { reason });
                Ok(ExitCode::FAILURE)
            }
            Next::Wait => {
                self.say(&Step::Waiting { hosts: view.new_missing });
                self.publish(&new, &key)?;
                Ok(ExitCode::FAILURE)
            }
            Next::Switch => {
                if current != new {
                    self.switch(&new, &rotation.new_key)?;
                }
                rotation.stage = Stage::Overlap { since: now.as_millis() };
                rotation.save(onboarding, &self.customer.id)?;
                self.say(&Step::Switched { selector: new.to_string(), file: self.file.display().to_string() });
                self.say(&Step::Overlap { until: (now + onboarding.rotation_overlap).to_string() });
                Ok(ExitCode::SUCCESS)
            }
            Next::Keep(until) => {
                self.say(&Step::Overlap { until: until.to_string() });
                Ok(ExitCode::SUCCESS)
            }
            Next::Revoke => {
                for host in view.old_present {
                    self.say(&Step::Revoke { host });
                }
                Ok(ExitCode::FAILURE)
            }
            Next::Finish => {
                Rotation::remove(onboarding, &self.customer.id)?;
                self.say(&Step::Done { selector: new.to_string() });
                Ok(ExitCode::SUCCESS)
            }
        }
    }

    fn say(&self, step: &Step) {
        println!("{}", self.lang.rotation(step));
    }

    fn publish(&self, selector: &Selector, key: &SigningKey) -> anyhow::Result<()> {
        for domain in self.customer.domains.keys() {
            let record = render(domain, selector, key)?;
            self.say(&Step::Publish { host: record.name, value: record.value });
        }
        Ok(())
    }

    /// The selector that the customer's first key signs with.
    fn signs_with(&self) -> anyhow::Result<Selector> {
        let (domain, signing) = self.customer.domains.first_key_value().context("the customer has no domain")?;
        match signing {
            SigningDomain::Broken(reason) => bail!("the key of {domain} cannot be used: {reason}"),
            SigningDomain::Ready(signer) => {
                let profile = signer.profiles().find(|profile| profile.domain == *domain);
                Ok(profile.context("the customer has no key of its own")?.selector.clone())
            }
        }
    }

    /// The key file as the customer's file names it.
    fn key_as_written(&self) -> anyhow::Result<PathBuf> {
        let table: toml::Table = toml::from_str(&self.text).with_context(|| self.file.display().to_string())?;
        let key = table.get("dkim").and_then(|dkim| dkim.get("private_key")).and_then(toml::Value::as_str);
        Ok(PathBuf::from(key.with_context(|| format!("{} has no [dkim] private_key", self.file.display()))?))
    }

    /// Beside the old key: `test.dk.pem` and `test.dk.postbud2.pem`.
    fn new_key_path(&self, selector: &Selector) -> anyhow::Result<PathBuf> {
        let old = self.key_as_written()?;
        let (domain, _) = self.customer.domains.first_key_value().context("the customer has no domain")?;
        let beside = old.with_file_name(format!("{domain}.{selector}.pem"));
        Ok(self.file.parent().unwrap_or(Path::new("")).join(beside))
    }

    /// Changes the customer's file, and changes it back where the configuration is not accepted.
    fn switch(&self, selector: &Selector, key: &Path) -> anyhow::Result<()> {
        let name = key.file_name().context("the new key has no file name")?;
        let written = self.key_as_written()?.with_file_name(name);
        let changed = with_key(&self.text, selector, &written.to_string_lossy())
            .with_context(|| format!("{} has no [dkim] selector and private_key", self.file.display()))?;
        replace(&self.file, &changed)?;
        if let Err(refused) = config::load(&self.args.config.path) {
            replace(&self.file, &self.text)?;
            return Err(refused).context("with the new key");
        }
        Ok(())
    }
}

/// Writes a file whole, with the permissions it had.
fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let work = || -> std::io::Result<()> {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // Hidden until it has its name: configuration reads *.toml.
        let mut file = tempfile::Builder::new().prefix(".").suffix(".tmp").tempfile_in(dir)?;
        file.write_all(text.as_bytes())?;
        file.as_file().set_permissions(fs::metadata(path)?.permissions())?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        fs::File::open(dir)?.sync_all()
    };
    work().with_context(|| format!("cannot change {}", path.display()))
}
