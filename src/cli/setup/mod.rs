//! `postbud setup`: makes and checks a new configuration.

mod answers;
mod file;
mod login;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};

use self::answers::Answers;
use self::login::LoginRefused;
use crate::cli::{ConfigFile, customer, hash_password};
use crate::config::{self, Refused};
use crate::files::{write_public, write_secret_for};

/// The example that a package installs, unchanged.
const EXAMPLE: &str = "/usr/share/doc/postbud/examples/postbud.toml";

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
        let example = is_untouched_example(&server_file)?;
        if !example && server_file.exists() {
            bail!(
                "{} is there already and is never overwritten; move it away, or change it by hand",
                server_file.display()
            );
        }
        let mut answers = self.answers.ask(&self.dir)?;
        let state_dir = match &self.state_dir {
            Some(dir) => dir.clone(),
            None if self.dir == Path::new("/etc/postbud") => PathBuf::from("/var/lib/postbud"),
            None => PathBuf::from("state"),
        };
        let written = loop {
            let mut written = Written { files: Vec::new(), example: None };
            let result = write(&self.dir, &server_file, &state_dir, &answers, example, &mut written)
                .and_then(|()| self.check(&server_file, &answers));
            match result {
                Ok(()) => break written,
                Err(why) => {
                    written.take_back();
                    if why.is::<LoginRefused>() && self.answers.are_mailjet_keys_typed() {
                        say!("  {why}");
                        answers.mailjet = self.answers.mailjet()?;
                        continue;
                    }
                    say!("no file of it stays");
                    return Err(why);
                }
            }
        };
        for path in &written.files {
            say!("wrote {}", path.display());
        }
        self.first_customer(server_file)
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
        let question = "Id of the first customer, like test-as (empty: none yet)";
        let id = super::ask::given_or_asked(self.customer, question, "--customer", Some(""))?;
        let next = if id.is_empty() { "customer add ID" } else { "domain check" };
        if !id.is_empty() {
            customer::add(id, config.clone())?;
        }
        say!(
            "\nNext:\n  {}\n  {}\n  systemctl enable --now postbud   (or: {})",
            config.command(next),
            config.command("check"),
            config.command("run"),
        );
        Ok(ExitCode::SUCCESS)
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
    let mut secret = |name: &str, text: &str| -> anyhow::Result<()> {
        let path = dir.join("secrets").join(name);
        write_secret_for(&relay, &path, format!("{text}\n").as_bytes())?;
        written.files.push(path);
        Ok(())
    };
    secret("webcrm.hash", &hash_password::hash(&answers.password)?)?;
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

/// Returns true if a server file is exactly the package's example.
fn is_untouched_example(server_file: &Path) -> anyhow::Result<bool> {
    let read = |path: &Path| match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some).with_context(|| format!("cannot read {}", path.display())),
    };
    let found = read(server_file)?;
    Ok(found.is_some() && found == read(Path::new(EXAMPLE))?)
}
