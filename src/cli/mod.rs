//! The command line: one file a command.
//!
//! Each command is an `Args` (clap) with `run(self) -> anyhow::Result<ExitCode>`: `SUCCESS` when done, `FAILURE` when the answer is no. An
//! error is printed with its causes on standard error and exits 1; clap itself exits 2. Results go to standard output and all other
//! messages to standard error, so that output can be piped. To add a command, add its file, its `mod` line, its variant in `Command` and
//! its arm in `Command::run`. A test requires an example in the help of every command.

#![warn(clippy::print_stderr, clippy::print_stdout)]

use std::fmt;
use std::future::Future;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand};

use crate::config::ServerFile;
use crate::operate::Site;

/// Writes a line to standard output.
macro_rules! show {
    ($($text:tt)*) => {
        $crate::cli::output::text(&format!("{}\n", format_args!($($text)*)))
    };
}

/// Writes a line to standard error. If that fails (full disk, closed reader), `eprintln!` would panic, and would end a command in the
/// middle or change its exit code, although these messages are not the result of the command.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::cli::said(format_args!("{}\n", $crate::visible::visible_lines(&format!($($text)*))))
    };
}

mod alert;
mod ask;
mod backup;
mod bench;
mod check;
mod completions;
mod customer;
mod delegated_keys;
#[cfg(feature = "demo")]
mod demo;
#[cfg(feature = "demo")]
mod dev_certs;
mod dkim;
mod dmarc;
mod domain;
mod events;
mod hash_password;
mod health;
mod incident;
mod log;
mod man;
mod masked;
mod names;
mod node;
mod operator;
mod output;
mod probe;
mod queue;
mod record;
mod relay;
mod restore;
mod returns;
mod route;
mod run;
mod seal;
mod setup;
mod signals;
mod spool;
mod started;
mod suppression;
mod systemd;
mod time;
mod token;
mod trace;

/// How long threads may take to end after a command is done.
const LAST_THREADS: Duration = Duration::from_secs(1);

/// postbud, webCRM's outbound SMTP relay.
///
/// postbud accepts mail from webCRM over SMTP, finds the customer by the From domain, signs with that customer's own DKIM key, makes the
/// mail durable and delivers it through Mailjet or the customer's own server. It is one program with an embedded spool and needs no other
/// service. The spool may also be in PostgreSQL.
#[derive(Debug, Parser)]
#[command(name = "postbud", version = crate::version::LONG, propagate_version = true, arg_required_else_help = true, after_long_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  postbud demo                                  See it work, with nothing set up
  postbud check --config config/postbud.toml    Find every mistake in the configuration
  postbud run --config config/postbud.toml      Run the relay

Exit codes: 0 done; 1 the answer is no (mistakes found, not verified, refused) or it failed; 2 the command line was not \
understood.

Every command explains itself with --help; `postbud man DIR` writes manual pages.";

/// All commands of postbud.
#[derive(Debug, Subcommand)]
enum Command {
    Setup(Box<setup::Args>),
    Run(run::Args),
    Check(check::Args),
    #[cfg(feature = "demo")]
    Demo(demo::Args),
    Customer(customer::Args),
    Domain(domain::Args),
    Dkim(dkim::Args),
    Dmarc(dmarc::Args),
    Queue(queue::Args),
    Route(route::Args),
    Node(node::Args),
    Spool(spool::Args),
    Suppression(suppression::Args),
    Alert(alert::Args),
    Trace(trace::Args),
    Incident(incident::Args),
    Events(events::Args),
    Token(token::Args),
    Operator(operator::Args),
    Record(record::Args),
    Returns(returns::Args),
    Probe(probe::Args),
    Health(health::Args),
    Backup(backup::Args),
    Restore(restore::Args),
    Bench(Box<bench::Args>),
    HashPassword(hash_password::Args),
    Seal(seal::Args),
    #[cfg(feature = "demo")]
    DevCerts(dev_certs::Args),
    Completions(completions::Args),
    Man(man::Args),
}

impl Command {
    fn run(self) -> anyhow::Result<ExitCode> {
        if !matches!(self, Command::Run(_)) {
            signals::let_in();
        }
        match self {
            Command::Setup(args) => args.run(),
            Command::Run(args) => args.run(),
            Command::Check(args) => args.run(),
            #[cfg(feature = "demo")]
            Command::Demo(args) => args.run(),
            Command::Customer(args) => args.run(),
            Command::Domain(args) => args.run(),
            Command::Dkim(args) => args.run(),
            Command::Dmarc(args) => args.run(),
            Command::Queue(args) => args.run(),
            Command::Route(args) => args.run(),
            Command::Node(args) => args.run(),
            Command::Spool(args) => args.run(),
            Command::Suppression(args) => args.run(),
            Command::Alert(args) => args.run(),
            Command::Trace(args) => args.run(),
            Command::Incident(args) => args.run(),
            Command::Events(args) => args.run(),
            Command::Token(args) => args.run(),
            Command::Operator(args) => args.run(),
            Command::Record(args) => args.run(),
            Command::Returns(args) => args.run(),
            Command::Probe(args) => args.run(),
            Command::Health(args) => args.run(),
            Command::Backup(args) => args.run(),
            Command::Restore(args) => args.run(),
            Command::Bench(args) => args.run(),
            Command::HashPassword(args) => args.run(),
            Command::Seal(args) => args.run(),
            #[cfg(feature = "demo")]
            Command::DevCerts(args) => args.run(),
            Command::Completions(args) => args.run(),
            Command::Man(args) => args.run(),
        }
    }
}

/// `--config`, for every command that reads the configuration: `#[command(flatten)] config: ConfigFile`.
#[derive(Clone, Debug, clap::Args)]
pub struct ConfigFile {
    /// The server file. Default: /etc/postbud/postbud.toml, or config/postbud.toml if that does not exist. It names the folder of the
    /// customers' files (`customers_dir`).
    #[arg(
        long = "config",
        short = 'c',
        global = true,
        value_name = "FILE",
        env = CONFIG_VARIABLE,
        hide_default_value = true,
        default_value_os_t = usual_config()
    )]
    pub path: PathBuf,
}

const CONFIG_VARIABLE: &str = "POSTBUD_CONFIG";
/// The server file of an installed package. It is tried first, so that the effect of a command on a server does not depend on the current
/// folder.
const INSTALLED_CONFIG: &str = "/etc/postbud/postbud.toml";
/// The server file in a clone of the source.
const CLONED_CONFIG: &str = "config/postbud.toml";

/// Returns the server file of a command without `--config`.
fn usual_config() -> PathBuf {
    usual_of(Path::new(INSTALLED_CONFIG))
}

fn usual_of(installed: &Path) -> PathBuf {
    // A file that this user may not read exists too. The error is then about that file.
    match installed.try_exists() {
        Ok(false) => PathBuf::from(CLONED_CONFIG),
        Ok(true) | Err(_) => installed.to_owned(),
    }
}

impl ConfigFile {
    /// Returns the configuration for commands. Must be called on the runtime.
    fn site(&self) -> anyhow::Result<Site> {
        Ok(Site::open(&self.files())?)
    }

    /// Returns the configuration's files.
    fn files(&self) -> ServerFile {
        ServerFile { path: self.path.clone() }
    }

    /// Makes a command line of ours that a person can run unchanged: with `--config`, unless the command finds the same file without it.
    fn command(&self, rest: &str) -> String {
        completed(rest, &[self.hint()])
    }

    /// Does the same for commands between backquotes in a text.
    fn in_commands(&self, text: &str) -> String {
        completed_in(text, &[self.hint()])
    }

    /// Returns the option with which a command finds the same file.
    fn hint(&self) -> Hint {
        Hint {
            option: "config",
            flag: self.flag(&std::env::var_os(CONFIG_VARIABLE).map_or_else(usual_config, PathBuf::from)),
        }
    }

    fn flag(&self, found_without: &Path) -> String {
        if self.path == found_without {
            return String::new();
        }
        format!(" --config {}", in_shell(&self.path))
    }
}

/// An option with which a printed command behaves like this one, and its written form, which is empty if it is not needed.
struct Hint {
    option: &'static str,
    flag: String,
}

/// Returns a command line of ours with the first of these options that the command has.
fn completed(rest: &str, hints: &[Hint]) -> String {
    static BUILT: LazyLock<clap::Command> = LazyLock::new(|| {
        let mut root = definition();
        // Options of a command also apply to its subcommands.
        root.build();
        root
    });
    let named = rest.split(' ').try_fold(&*BUILT, |command, word| command.find_subcommand(word).ok_or(command));
    let command = match named {
        Ok(command) | Err(command) => command,
    };
    let takes = |hint: &&Hint| command.get_arguments().any(|argument| argument.get_long() == Some(hint.option));
    let flag = hints.iter().find(takes).map_or("", |hint| hint.flag.as_str());
    format!("postbud {rest}{flag}")
}

/// Does the same for commands between backquotes in a text.
fn completed_in(text: &str, hints: &[Hint]) -> String {
    let mut parts: Vec<String> = text.split('`').map(str::to_owned).collect();
    for command in parts.iter_mut().skip(1).step_by(2) {
        if let Some(rest) = command.strip_prefix("postbud ") {
            *command = completed(rest, hints);
        }
    }
    parts.join("`")
}

/// Quotes a path so that a shell reads it as one word.
fn in_shell(path: &Path) -> String {
    let path = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./+,:@%".contains(c);
    match path.chars().all(is_plain) {
        true => path,
        false => format!("'{}'", path.replace('\'', "'\\''")),
    }
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    signals::hold();
    end_where_output_cannot_be_written();
    match Cli::parse().command.run() {
        Ok(code) => code,
        Err(error) => {
            say!("postbud: {}", with_causes(&error));
            ExitCode::FAILURE
        }
    }
}

/// Writes text to standard error, if possible.
fn said(text: fmt::Arguments<'_>) {
    let _ = std::io::stderr().write_fmt(text);
}

/// Formats an error and its causes, each text once. The library's errors contain the text of their cause, as the log needs it; those of
/// `anyhow` do not.
fn with_causes(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Handles the panic of `println!` after a failed write, because a closed reader or a full disk is no fault of the program. After `postbud
/// queue list | head -1` the program ends as by SIGPIPE, which Rust ignores; otherwise it reports what is wrong.
fn end_where_output_cannot_be_written() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let said = panic.payload_as_str().unwrap_or_default();
        let Some(why) = said.strip_prefix("failed printing to stdout: ") else { return usual(panic) };
        if why.contains("Broken pipe") {
            std::process::exit(128 + 13);
        }
        say!("postbud: cannot write the output: {why}");
        std::process::exit(1);
    }));
}

/// Returns the whole command line for completions, manual pages and tests.
pub fn definition() -> clap::Command {
    Cli::command()
}

/// Runs a command's future on a new runtime.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    let done = runtime.block_on(work);
    // A thread that still waits, for example for the system's resolver, does not delay the end.
    runtime.shutdown_timeout(LAST_THREADS);
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visit(command: &clap::Command, path: &str, seen: &mut impl FnMut(&clap::Command, &str)) {
        seen(command, path);
        for child in command.get_subcommands().filter(|child| child.get_name() != "help") {
            visit(child, &format!("{path} {}", child.get_name()), seen);
        }
    }

    #[test]
    fn every_cause_of_an_error_is_said_once() {
        let taken = || std::io::Error::other("Address already in use");
        let said_already = anyhow::Error::from(crate::server::StartError::Submission(taken())).context("run");
        assert_eq!(with_causes(&said_already), "run: cannot take mail: Address already in use");
        let not_said = anyhow::Error::from(taken()).context("cannot listen").context("run");
        assert_eq!(with_causes(&not_said), "run: cannot listen: Address already in use");
    }

    #[test]
    fn commands_that_are_printed_find_the_same_configuration() {
        for (path, found_without, flag) in [
            ("config/postbud.toml", "config/postbud.toml", ""),
            ("/etc/postbud/postbud.toml", "config/postbud.toml", " --config /etc/postbud/postbud.toml"),
            ("/etc/postbud/postbud.toml", "/etc/postbud/postbud.toml", ""),
            ("config/postbud.toml", "/etc/postbud/postbud.toml", " --config config/postbud.toml"),
            ("my files/it's.toml", "config/postbud.toml", " --config 'my files/it'\\''s.toml'"),
        ] {
            assert_eq!(ConfigFile { path: path.into() }.flag(Path::new(found_without)), flag, "{path}");
        }
        let config = ConfigFile { path: "x.toml".into() };
        let text = "Run `postbud check`, `systemctl reload postbud`, then `postbud domain check a --probe`.";
        let expected = "Run `postbud check --config x.toml`, `systemctl reload postbud`, then \
                        `postbud domain check a --probe --config x.toml`.";
        assert_eq!(config.in_commands(text), expected);
        // Commands that read no configuration have no such option.
        for alone in ["`postbud dkim keygen`", "`postbud hash-password`", "`postbud`", "`postbud no such command`"] {
            assert_eq!(config.in_commands(alone), alone);
        }
    }

    #[test]
    fn an_installed_configuration_is_found_without_being_named() {
        let dir = tempfile::tempdir().unwrap();
        let installed = dir.path().join("postbud.toml");
        assert_eq!(usual_of(&installed), Path::new(CLONED_CONFIG));
        std::fs::write(&installed, "").unwrap();
        assert_eq!(usual_of(&installed), installed);
    }

    #[test]
    fn the_definition_is_consistent() {
        definition().debug_assert();
    }

    /// The commands in docs/api.md, each with what stands there about it.
    fn paths_of_commands() -> Vec<(String, &'static str)> {
        let text = include_str!("../../docs/api.md");
        let (_, section) = text.split_once("\n## Commands and their paths\n").expect("the section is there");
        let section = section.split("\n## ").next().unwrap_or_default();
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` | "));
        let mut found = Vec::new();
        for (commands, paths) in rows {
            found.extend(
                commands.split("`, `").filter(|name| *name != "postbud …").map(|name| (name.to_owned(), paths)),
            );
        }
        found
    }

    #[test]
    fn every_command_has_a_path_of_the_http_interface_or_a_reason() {
        let document: serde_json::Value = serde_json::from_str(&crate::operate::api::openapi()).unwrap();
        let rows = paths_of_commands();
        for (name, paths) in &rows {
            if paths.starts_with("none: ") {
                continue;
            }
            let calls: Vec<&str> = paths.split('`').skip(1).step_by(2).filter(|call| call.contains(" /")).collect();
            assert!(!calls.is_empty(), "{name}: {paths}");
            for call in calls {
                let (method, path) = call.split_once(' ').unwrap();
                let operation = &document["paths"][format!("/api/v1{path}")][method.to_lowercase()];
                assert!(operation.is_object(), "{name}: there is no {call}");
            }
        }
        let mut named: Vec<&str> = rows.iter().map(|(name, _)| name.as_str()).collect();
        visit(&definition(), "", &mut |command, path| {
            let is_group = command.has_subcommands() && command.is_subcommand_required_set();
            if is_group || path.is_empty() {
                return;
            }
            let before = named.len();
            named.retain(|name| *name != path.trim_start());
            assert_eq!(named.len() + 1, before, "{path} stands in docs/api.md once");
        });
        let of_the_demo = |name: &&&str| !cfg!(feature = "demo") && ["demo", "dev-certs"].contains(*name);
        assert_eq!(named.iter().filter(|name| !of_the_demo(name)).count(), 0, "no such commands: {named:?}");
    }

    #[test]
    fn every_command_explains_itself_with_an_example() {
        let mut missing = Vec::new();
        visit(&definition(), "postbud", &mut |command, path| {
            let help = command.clone().render_long_help().to_string();
            let example = help.split_once("Example").is_some_and(|(_, after)| after.contains(path));
            if command.get_about().is_none() || !example {
                missing.push(path.to_owned());
            }
            for argument in command.get_arguments() {
                if argument.get_help().is_none() && argument.get_long_help().is_none() {
                    missing.push(format!("{path} {}", argument.get_id()));
                }
            }
        });
        assert!(missing.is_empty(), "without explanation or example: {missing:#?}");
    }
}
