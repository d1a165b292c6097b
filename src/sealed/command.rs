//! Runs a command that prints a secret. This is how a key or a password comes from Azure Key Vault or another vault.
//!
//! The command runs without a shell. Its output has a size limit and is wiped from memory. After a deadline the command is killed with all
//! processes that it started. Any failure gives an error and no secret.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use thiserror::Error;
use zeroize::Zeroizing;

/// How long a command may take.
const DEADLINE: Duration = Duration::from_secs(15);
/// The longest output, in octets. A private key has less than 4 KiB.
const LONGEST: usize = 64 * 1024;
/// The most characters of the command's standard error that an error message shows.
const LONGEST_WORDS: usize = 300;

/// Why a command gave no secret.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CommandError {
    /// The list is empty.
    #[error("no command: write a list like [\"az\", \"keyvault\", \"secret\", \"show\", …]")]
    Empty,
    /// The program cannot be started.
    #[error(
        "{program} cannot be started: {reason}; write its full path, and make sure that the relay's user may run it"
    )]
    NotStarted {
        program: String,
        /// The operating system's text.
        reason: String,
    },
    /// The command took too long and was killed.
    #[error("{program} took longer than {} s and was ended", DEADLINE.as_secs())]
    TooSlow { program: String },
    #[error("{program} failed ({status}): {said}")]
    Failed {
        program: String,
        status: String,
        /// The text on standard error.
        said: String,
    },
    /// The command printed nothing, or more than any secret has.
    #[error("{program} printed {what}: it must print the secret alone")]
    Output { program: String, what: &'static str },
}

/// Runs a command and returns what it prints. Blocks for at most `DEADLINE`.
pub fn fetch(command: &[String]) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    fetch_within(command, DEADLINE)
}

fn fetch_within(command: &[String], deadline: Duration) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    let [program, arguments @ ..] = command else { return Err(CommandError::Empty) };
    let program = || program.clone();
    let not_started =
        |error: std::io::Error| CommandError::NotStarted { program: program(), reason: error.to_string() };
    let mut child = Command::new(program())
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A process group of its own, so that all processes that it starts can be killed with it.
        .process_group(0)
        .spawn()
        .map_err(not_started)?;
    let (output, words) = (child.stdout.take(), child.stderr.take());
    let output = std::thread::spawn(move || bounded(output, LONGEST + 1));
    let words = std::thread::spawn(move || bounded(words, LONGEST_WORDS));
    let status = wait(&mut child, deadline);
    // Processes that the command started may still hold the pipes open.
    if let Some(group) = Pid::from_raw(child.id() as i32) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait();
    let output = output.join().unwrap_or_default();
    let words = words.join().unwrap_or_default();
    let status = status.map_err(not_started)?.ok_or_else(|| CommandError::TooSlow { program: program() })?;
    if !status.success() {
        let said = String::from_utf8_lossy(&words).replace(|c: char| c.is_control(), " ").trim().to_owned();
        return Err(CommandError::Failed { program: program(), status: status.to_string(), said });
    }
    let wrong = |what| Err(CommandError::Output { program: program(), what });
    match output.len() {
        0 => wrong("nothing"),
        length if length > LONGEST => wrong("more than 64 KiB"),
        _ => Ok(output),
    }
}

/// Reads up to `most` octets. Reads and drops the rest, so that the command does not block on a full pipe.
fn bounded(from: Option<impl Read>, most: usize) -> Zeroizing<Vec<u8>> {
    let mut kept = Zeroizing::new(Vec::with_capacity(most));
    let mut block = Zeroizing::new([0; 4096]);
    let Some(mut from) = from else { return kept };
    while let Ok(count @ 1..) = from.read(&mut *block) {
        let room = most - kept.len();
        kept.extend_from_slice(&block[..count.min(room)]);
    }
    kept
}

/// Waits for the command to end. Returns `None` after the deadline.
fn wait(child: &mut Child, deadline: Duration) -> std::io::Result<Option<ExitStatus>> {
    let end = Instant::now() + deadline;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            return Ok(None);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(command: &[&str]) -> Result<String, CommandError> {
        let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        let output = fetch_within(&command, Duration::from_secs(2))?;
        Ok(String::from_utf8(output.to_vec()).unwrap())
    }

    #[test]
    fn a_command_gives_what_it_prints_and_nothing_else() {
        assert_eq!(run(&["printf", "a b; $HOME"]).unwrap(), "a b; $HOME", "there is no shell");
        assert_eq!(run(&["cat"]), Err(CommandError::Output { program: "cat".into(), what: "nothing" }), "no input");
        assert!(matches!(run(&[]), Err(CommandError::Empty)));
        assert!(matches!(run(&["/no/such/program"]), Err(CommandError::NotStarted { .. })));
        let failed = run(&["sh", "-c", "echo secret; echo locked >&2; exit 3"]).unwrap_err().to_string();
        assert!(failed.contains("locked") && failed.contains('3') && !failed.contains("secret"), "{failed}");
        let much = run(&["sh", "-c", "head -c 10000000 /dev/zero"]);
        assert!(matches!(much, Err(CommandError::Output { what: "more than 64 KiB", .. })), "{much:?}");
    }

    #[test]
    fn a_command_that_does_not_end_is_ended_with_what_it_started() {
        for script in ["sleep 1000", "sleep 1000 & wait", "yes"] {
            let slow = run(&["sh", "-c", script]);
            assert!(matches!(slow, Err(CommandError::TooSlow { .. })), "{script}: {slow:?}");
        }
        // It ends at once, but a child of it holds the output open.
        assert_eq!(run(&["sh", "-c", "echo x; sleep 1000 &"]).unwrap(), "x\n");
    }
}
