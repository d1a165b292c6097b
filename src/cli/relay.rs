//! Connects commands to the running relay, over the socket in its state folder.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{ConfigFile, Hint, completed_in, in_shell, output, said};
use crate::files;
use crate::operate::socket::protocol::{Command, Done};
use crate::operate::socket::{self, CallError};
pub(super) use crate::size::octets;
use crate::visible::visible;

/// The running relay that a command talks to.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Running {
    #[command(flatten)]
    config: ConfigFile,
    /// The relay's state folder, instead of the one in the configuration.
    #[arg(long, value_name = "DIR", global = true)]
    state_dir: Option<PathBuf>,
}

/// Names the nodes whose part an answer lacks.
pub(super) fn warn_of_missing(missing: &[String]) {
    if !missing.is_empty() {
        say!("The part of other nodes is missing: {}", missing.join("; "));
    }
}

impl Running {
    /// Sends a command and passes each item of the answer on.
    pub(super) fn call(&self, command: Command, item: impl FnMut(Value)) -> anyhow::Result<Done> {
        let done = socket::call(&self.state_dir()?, command, item, |_| {}).map_err(|error| self.error(&error))?;
        warn_of_missing(&done.missing);
        Ok(done)
    }

    /// Sends a command and returns the items of the answer.
    pub(super) fn items<T: DeserializeOwned>(&self, command: Command) -> anyhow::Result<(Vec<T>, Done)> {
        let mut items = Vec::new();
        let done = self.call(command, |item| items.push(item))?;
        let items = items.into_iter().map(understood).collect::<anyhow::Result<_>>()?;
        Ok((items, done))
    }

    /// Sends a command whose answer is one item. `what` names the item in an error.
    pub(super) fn item<T: DeserializeOwned>(&self, command: Command, what: &str) -> anyhow::Result<T> {
        let (items, _) = self.items(command)?;
        items.into_iter().next_back().with_context(|| format!("the relay gave no {what}"))
    }

    /// Completes the commands in a text so that they reach the same relay.
    pub(super) fn in_commands(&self, text: &str) -> String {
        let state_dir = self.state_dir.as_ref().map(|dir| format!(" --state-dir {}", in_shell(dir)));
        let state_dir = state_dir.map(|flag| Hint { option: "state-dir", flag });
        let hints: Vec<Hint> = state_dir.into_iter().chain([self.config.hint()]).collect();
        completed_in(text, &hints)
    }

    fn error(&self, error: &CallError) -> anyhow::Error {
        anyhow::Error::msg(self.in_commands(&error.to_string()))
    }

    /// Sends a command and writes each item of the answer as a line of JSON.
    pub(super) fn call_and_show(&self, command: Command) -> anyhow::Result<Done> {
        let mut written = Ok(());
        let done = self.call(command, |item| {
            if written.is_ok() {
                written = output::json_line(&item);
            }
        })?;
        written.map(|()| done)
    }

    /// Sends a command that changes messages, and shows the progress on a terminal.
    pub(super) fn change(&self, command: Command, what: &str) -> anyhow::Result<Done> {
        let terminal = std::io::stderr().is_terminal();
        let mut told = false;
        let progress = |done: Done| {
            if terminal {
                said(format_args!("\r{} messages {what} so far", done.count));
                told = true;
            }
        };
        let done = socket::call(&self.state_dir()?, command, |_| {}, progress);
        if told {
            say!("");
        }
        done.map_err(|error| self.error(&error))
    }

    /// Returns `--config`, for commands that read the whole configuration.
    pub(super) fn config_file(&self) -> &ConfigFile {
        &self.config
    }

    /// Returns the path of the server file.
    pub(super) fn config(&self) -> &Path {
        &self.config.path
    }

    /// Returns the state folder, of the option or of the server file.
    pub(super) fn state_dir(&self) -> anyhow::Result<PathBuf> {
        #[derive(Deserialize)]
        struct Server {
            state_dir: Option<PathBuf>,
        }
        if let Some(dir) = &self.state_dir {
            return Ok(dir.clone());
        }
        let path = self.config();
        let remedy = "name the relay's configuration with --config, or its state folder with --state-dir";
        let Server { state_dir } = part_of(path, remedy)?;
        Ok(path.parent().unwrap_or(Path::new("")).join(state_dir.unwrap_or_else(|| "../state".into())))
    }
}

/// Reads the part of the server file that `T` has, because a mistake elsewhere in the configuration must not keep an operator from the
/// queue, the record or the relay's health. `remedy` says what to do if the file cannot be read.
pub(super) fn part_of<T: DeserializeOwned>(config: &Path, remedy: &str) -> anyhow::Result<T> {
    let text = files::read_text(config).with_context(|| format!("cannot read {}; {remedy}", config.display()))?;
    toml::from_str(&text).with_context(|| config.display().to_string())
}

/// The remedy of commands that find everything in the configuration.
pub(super) const NAME_CONFIG: &str = "name the configuration with --config";

/// Reads an item of an answer. An error quotes what is wrong in it, on one line.
pub(super) fn understood<T: DeserializeOwned>(item: Value) -> anyhow::Result<T> {
    serde_json::from_value(item)
        .map_err(|error| anyhow::anyhow!("the relay's answer was not understood: {}", visible(&error.to_string())))
}

/// The number of rows from which the column widths are taken. Further rows are printed as they come.
const ROWS: usize = 1_000;

/// Prints rows in aligned columns; the last column is not padded.
pub(super) struct Columns {
    widths: Vec<usize>,
    rows: Vec<Vec<String>>,
    /// True if the widths are fixed and rows are printed at once.
    flows: bool,
}

impl Columns {
    /// Begins with a heading.
    pub(super) fn new(heading: &[&str]) -> Self {
        let mut columns = Columns { widths: vec![0; heading.len()], rows: Vec::new(), flows: false };
        columns.row(heading.iter().map(|name| (*name).to_owned()));
        columns
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> = cells.into_iter().map(|cell| visible(&cell).into_owned()).collect();
        if self.flows {
            return self.show(&cells);
        }
        for (width, cell) in self.widths.iter_mut().zip(&cells) {
            *width = cell.chars().count().max(*width);
        }
        self.rows.push(cells);
        if self.rows.len() > ROWS {
            self.print();
        }
    }

    /// Prints every row that is not printed yet.
    pub(super) fn print(&mut self) {
        for row in std::mem::take(&mut self.rows) {
            self.show(&row);
        }
        self.flows = true;
    }

    fn show(&self, cells: &[String]) {
        let cells: Vec<String> =
            cells.iter().zip(&self.widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        show!("{}", cells.join("  ").trim_end());
    }
}

/// Formats an age in at most two units: `3d 4h`, `5m 7s`.
pub(super) fn age(secs: u64) -> String {
    match secs {
        0..60 => format!("{secs}s"),
        60..3600 => format!("{}m {}s", secs / 60, secs % 60),
        3600..86_400 => format!("{}h {}m", secs / 3600, secs % 3600 / 60),
        _ => format!("{}d {}h", secs / 86_400, secs % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!([5, 65, 3_700, 273_600].map(age), ["5s", "1m 5s", "1h 1m", "3d 4h"]);
        assert_eq!([5, 1024, 1_258_291, 5 << 30].map(octets), ["5 B", "1.0 KiB", "1.2 MiB", "5.0 GiB"]);
    }

    #[test]
    fn commands_that_are_printed_reach_the_same_relay() {
        let text = "see `postbud queue list --state stopped` and `postbud check`";
        let running = |path: &str, state_dir: Option<&str>| Running {
            config: ConfigFile { path: path.into() },
            state_dir: state_dir.map(PathBuf::from),
        };
        for (running, expected) in [
            (
                running("x.toml", None),
                "see `postbud queue list --state stopped --config x.toml` and `postbud check --config x.toml`",
            ),
            (
                running("x.toml", Some("my state")),
                "see `postbud queue list --state stopped --state-dir 'my state'` and `postbud check --config x.toml`",
            ),
            (
                running("config/postbud.toml", Some("/s")),
                "see `postbud queue list --state stopped --state-dir /s` and `postbud check`",
            ),
            (running("config/postbud.toml", None), text),
        ] {
            assert_eq!(running.in_commands(text), expected);
        }
        let error = running("x.toml", None).call(Command::Stats, |_| {}).unwrap_err().to_string();
        assert!(error.contains("x.toml"), "{error}");
        let dir = tempfile::tempdir().unwrap();
        let gone = running("x.toml", Some(dir.path().to_str().unwrap()));
        let error = gone.call(Command::Stats, |_| {}).unwrap_err().to_string();
        assert!(error.contains("`postbud run --config x.toml`"), "{error}");
    }

    #[test]
    fn the_state_folder_is_found_beside_the_configuration_whatever_else_is_wrong_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("postbud.toml");
        std::fs::write(&path, "state_dir = \"../here\"\nnonsense = 7\n").unwrap();
        let running = Running { config: ConfigFile { path: path.clone() }, state_dir: None };
        assert_eq!(running.state_dir().unwrap(), dir.path().join("../here"));
        std::fs::write(&path, "").unwrap();
        assert_eq!(running.state_dir().unwrap(), dir.path().join("../state"));
        std::fs::remove_file(&path).unwrap();
        assert!(running.state_dir().unwrap_err().to_string().contains("--config"));
    }
}
