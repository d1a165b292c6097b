//! `postbud setup`: makes and checks a new configuration.

mod answers;
mod file;
mod login;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use rustix::fs::{Access, access};

use self::answers::Answers;
use self::login::LoginRefused;
use crate::cli::ask::given_or_asked_until;
use crate::cli::{ConfigFile, check, customer, hash_password, signals};
use crate::config::{self, Refused};
use crate::files::{make_dir_for, write_public, write_secret_for};
use crate::operate::customers::Customers;

/// The file with the hash of webCRM's password.
const HASH: &str = "webcrm.hash";

/// Write a new relay's configuration, and check it.
///
/// Asks for everything that no flag gives: the relay's name, the egress address (and tries to bind it), the address at which mail is
/// accepted, webCRM's password, Mailjet's keys (and tries to log in with them), the first customer. Answers may also come from a pipe, one
/// per line. Writes postbud.toml and the secrets, which only the owner of state_dir may read. No existing file is overwritten, except the
/// package's example if nobody has changed it. If the configuration would be invalid, no file remains.
///
/// All other keys have defaults, which the example explains.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud setup
  postbud setup --dir /etc/postbud --hostname out.example.com --egress-address 192.0.2.1 --bind 10.0.0.4 \\
      --listen 10.0.0.4:2525 --allow-from 10.0.0.0/8 --certificate server.pem --private-key server.key \\
      --password-from webcrm.password --mailjet-key-from key --mailjet-secret-from secret --customer ''")]
pub(super) struct Args {
    /// The folder of the configuration.
    #[arg(long, default_value = "/etc/postbud", value_name = "DIR")]
    dir: PathBuf,
    /// The folder of the relay's state. Default: /var/lib/postbud for /etc/postbud, otherwise the folder state in --dir.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    #[command(flatten)]
    answers: answers::Given,
    /// Do not try Mailjet's login.
    #[arg(long)]
    no_login_test: bool,
    /// The id of the first customer, which is added as `postbud customer add` does; empty: none.
    #[arg(long, value_name = "ID")]
    customer: Option<String>,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let server_file = self.dir.join("postbud.toml");
        let example = config::is_untouched_example(&server_file)
            .with_context(|| format!("cannot read {}", server_file.display()))?;
        if !example && server_file.exists() {
            bail!(
                "{} is there already and is never overwritten; move it away, or change it by hand",
                server_file.display()
            );
        }
        self.can_write()?;
        let mut answers = self.answers.ask(&self.dir)?;
        let state_dir = match &self.state_dir {
            Some(dir) => dir.clone(),
            None if self.dir == Path::new("/etc/postbud") => PathBuf::from("/var/lib/postbud"),
            None => PathBuf::from("state"),
        };
        let written = loop {
            let mut written = Written { files: Vec::new(), example: None };
            // Ctrl-C leaves either everything or nothing.
            signals::hold();
            let result = write(&self.dir, &server_file, &state_dir, &answers, example, &mut written)
                .and_then(|()| self.check(&server_file, &answers));
            let why = match result {
                Ok(()) => break written,
                Err(why) => why,
            };
            written.take_back();
            let again = why.is::<LoginRefused>() && self.answers.are_mailjet_keys_typed();
            if !again {
                say!("no file of it stays");
            }
            // An interrupted process ends here.
            signals::let_in();
            if !again {
                return Err(why);
            }
            say!("  {why}");
            answers.mailjet = self.answers.mailjet()?;
        };
        signals::let_in();
        for path in &written.files {
            say!("wrote {}", path.display());
        }
        if let Ok(loaded) = config::load(&server_file) {
            let hidden = check::hidden_from_the_relay(&server_file, &loaded.settings);
            for warning in loaded.remarks.warnings.iter().chain(&hidden) {
                say!("warning: {warning}");
            }
        }
        for address in [answers.listen, answers.web].into_iter().filter(|address| answers::is_for_root(*address)) {
            say!(
                "warning: only root may listen on {address}, a port below {}: the unit says what the relay needs for that \
                 (systemctl cat postbud, CAP_NET_BIND_SERVICE)",
                answers::first_free_port()
            );
        }
        self.first_customer(server_file)
    }

    /// Fails if the files could not be written, which a person hears before the first question.
    fn can_write(&self) -> anyhow::Result<()> {
        let dir = std::path::absolute(&self.dir)?;
        let existing = dir.ancestors().find(|above| above.exists()).unwrap_or(Path::new("/"));
        access(existing, Access::WRITE_OK | Access::EXEC_OK).with_context(|| {
            format!("cannot write to {}; run it as root, or name another folder with --dir", existing.display())
        })?;
        let left = dir.join("secrets").join(HASH);
        if left.exists() {
            bail!("{} is already there and is never overwritten; move it away first", left.display());
        }
        Ok(())
    }

    /// Checks that the files are valid, and that Mailjet accepts the keys; otherwise the error is [`LoginRefused`].
    fn check(&self, server_file: &Path, answers: &Answers) -> anyhow::Result<()> {
        let settings = match config::load(server_file) {
            Ok(loaded) => loaded.settings,
            Err(Refused { remarks }) => {
                let mistakes: Vec<String> = remarks.mistakes.iter().map(ToString::to_string).collect();
                bail!("the configuration is not accepted:\n{}", mistakes.join("\n"));
            }
        };
        match (&answers.mailjet, self.no_login_test) {
            (Some(_), false) => login::try_tiers(settings),
            _ => Ok(()),
        }
    }

    fn first_customer(self, server_file: PathBuf) -> anyhow::Result<ExitCode> {
        let config = ConfigFile { path: server_file };
        let next = match self.add_customer(&config) {
            Ok(true) => "domain check",
            Ok(false) => "customer add ID",
            Err(why) => {
                say!("the configuration stays; a customer is added by: {}", config.command("customer add ID"));
                return Err(why);
            }
        };
        say!(
            "\nNext:\n  {}\n  {}\n  systemctl enable --now postbud   (or: {})",
            config.command(next),
            config.command("check"),
            config.command("run"),
        );
        Ok(ExitCode::SUCCESS)
    }
}

impl Args {
    /// Adds the first customer. Returns false if there is none yet.
    fn add_customer(&self, config: &ConfigFile) -> anyhow::Result<bool> {
        let files = config.files();
        let question = "Id of the first customer, like test-as (empty: none yet)";
        let id = given_or_asked_until(self.customer.clone(), question, "--customer", Some(""), |id| match id {
            "" => Ok(None),
            id => Customers::beside(&files)?.check_id(id).map(Some),
        })?;
        match id {
            Some(id) => customer::add(id.to_string(), config.clone()).map(|_| true),
            None => Ok(false),
        }
    }
}

/// The written files, which are removed if they cannot be used.
struct Written {
    files: Vec<PathBuf>,
    /// The package's example, which was in the server file's place.
    example: Option<Vec<u8>>,
}

impl Written {
    fn take_back(&self) {
        for path in &self.files {
            // A file that cannot be removed is reported by the next attempt.
            let _ = fs::remove_file(path);
        }
        if let (Some(example), Some(server_file)) = (&self.example, self.files.last()) {
            let _ = write_public(server_file, example);
        }
    }
}

fn write(
    dir: &Path,
    server_file: &Path,
    state_dir: &Path,
    answers: &Answers,
    example: bool,
    written: &mut Written,
) -> anyhow::Result<()> {
    let customers = dir.join("customers");
    fs::create_dir_all(&customers).with_context(|| format!("cannot make {}", customers.display()))?;
    let relay = dir.join(state_dir);
    // Customers' keys are made in it.
    let keys = dir.join("keys");
    make_dir_for(if relay.exists() { &relay } else { dir }, &keys)
        .with_context(|| format!("cannot make {}", keys.display()))?;
    let mut secret = |name: &str, text: &str| -> anyhow::Result<()> {
        let path = dir.join("secrets").join(name);
        write_secret_for(&relay, &path, format!("{text}\n").as_bytes())?;
        written.files.push(path);
        Ok(())
    };
    secret(HASH, &hash_password::hash(&answers.password)?)?;
    if let Some(mailjet) = &answers.mailjet {
        secret("mailjet-starter.key", &mailjet.key)?;
        secret("mailjet-starter.secret", &mailjet.secret)?;
    }
    if example {
        written.example = Some(fs::read(server_file)?);
        fs::remove_file(server_file).with_context(|| format!("cannot replace {}", server_file.display()))?;
    }
    // Written last, so that a relay that finds it finds everything.
    let made = write_public(server_file, file::text(state_dir, answers).as_bytes());
    if made.is_ok() || example {
        written.files.push(server_file.to_owned());
    }
    Ok(made?)
}
