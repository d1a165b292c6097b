//! Runs a command that prints a secret. This is how a key or a password comes from Azure Key Vault or another vault.
//!
//! The command runs without a shell. Its output has a size limit and is wiped from memory. After a deadline the command is killed with all
//! processes that it started. Any failure gives an error and no secret.

use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process_group};
use thiserror::Error;
use zeroize::Zeroizing;

/// How long a command may take.
const DEADLINE: Duration = Duration::from_secs(15);
/// The longest output, in octets. A private key has less than 4 KiB.
const LONGEST: usize = 64 * 1024;
/// The most characters of the command's standard error that an error message shows.
const LONGEST_WORDS: usize = 300;

/// The most blocks that are read at once, however fast more comes.
const MOST_BLOCKS: usize = 256;

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
    let pipes = Pipe::new(child.stdout.take(), LONGEST + 1)
        .and_then(|output| Ok((output, Pipe::new(child.stderr.take(), LONGEST_WORDS)?)));
    let followed = pipes.and_then(|(mut output, mut words)| {
        let status = follow(&mut child, &mut output, &mut words, deadline)?;
        Ok((status, output.kept, words.kept))
    });
    // Processes that the command started may still run.
    if let Some(group) = Pid::from_raw(child.id() as i32) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait();
    let (status, output, words) = followed.map_err(not_started)?;
    let status = status.ok_or_else(|| CommandError::TooSlow { program: program() })?;
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

/// The reading end of a command's output. Reading never waits, because a process that the command started in the background may hold
/// the other end open for ever.
struct Pipe<P> {
    from: Option<P>,
    kept: Zeroizing<Vec<u8>>,
    most: usize,
}

impl<P: Read + AsFd> Pipe<P> {
    /// Keeps the first `most` octets.
    fn new(from: Option<P>, most: usize) -> io::Result<Self> {
        if let Some(pipe) = &from {
            fcntl_setfl(pipe, fcntl_getfl(pipe)? | OFlags::NONBLOCK)?;
        }
        Ok(Pipe { from, kept: Zeroizing::new(Vec::with_capacity(most)), most })
    }

    /// Reads what is there, and returns true if there was anything. Drops what is too much, so that the command does not block on a
    /// full pipe.
    fn drain(&mut self) -> bool {
        let mut block = Zeroizing::new([0; 4096]);
        let mut any = false;
        for _ in 0..MOST_BLOCKS {
            let Some(from) = &mut self.from else { break };
            match from.read(&mut *block) {
                Ok(count @ 1..) => {
                    let room = self.most - self.kept.len();
                    self.kept.extend_from_slice(&block[..count.min(room)]);
                    any = true;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => self.from = None,
            }
        }
        any
    }
}

/// Reads until the command ends. Returns `None` after the deadline.
fn follow<O: Read + AsFd, E: Read + AsFd>(
    child: &mut Child,
    output: &mut Pipe<O>,
    words: &mut Pipe<E>,
    deadline: Duration,
) -> io::Result<Option<ExitStatus>> {
    let end = Instant::now() + deadline;
    let mut pause = Duration::from_millis(1);
    loop {
        let status = child.try_wait()?;
        // Where it has ended, everything that it wrote is in the pipes by now.
        let any = output.drain() | words.drain();
        if status.is_some() || Instant::now() >= end {
            return Ok(status);
        }
        pause = if any { Duration::from_millis(1) } else { (pause * 2).min(Duration::from_millis(50)) };
        std::thread::sleep(pause);
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
        for script in [
            "sleep 1000",
            "sleep 1000 & wait",
            "yes",
            // It asks to be left alone, says nothing on the way out, or talks without an end beside its output.
            "trap '' TERM INT HUP; while :; do sleep 1; done",
            "exec >&- 2>&-; sleep 1000",
            "exec yes >&2",
            "kill -STOP $$",
            "printf half; sleep 1000",
        ] {
            let slow = run(&["sh", "-c", script]);
            assert!(matches!(slow, Err(CommandError::TooSlow { .. })), "{script}: {slow:?}");
        }
        // It ends at once, but a child of it holds the output open.
        assert_eq!(run(&["sh", "-c", "echo x; sleep 1000 &"]).unwrap(), "x\n");
        // So does a daemon of its own, as a vault's agent may be, also one that talks.
        for daemon in ["sleep 20", "sh -c 'for i in 1 2 3 4 5 6 7 8; do echo more; sleep 1; done'"] {
            let begun = Instant::now();
            let secret = run(&["sh", "-c", &format!("echo x; setsid {daemon} & sleep 0.2")]).unwrap();
            assert!(secret.starts_with("x\n") && begun.elapsed() < Duration::from_secs(5), "{secret}, {begun:?}");
        }
    }
}
