//! The command's end of the socket. It blocks, because a command has nothing else to do.
//!
//! Another program than the relay may be listening there. An answer is therefore limited: each line in octets and time, and all lines
//! together by what the command asked for.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use socket2::{Domain, SockAddr, Socket, Type};

use super::protocol::{Answer, Command, Done, Request, VERSION};
use super::socket_path;
use crate::operate::Error;
use crate::visible::visible;

/// The maximum octets of a line. The longest part of real lines is a message's header.
const LONGEST_LINE: u64 = 64 << 20;
/// The maximum octets of an answer. Only lists of messages and of suppressed addresses may be longer.
const LONGEST_ANSWER: u64 = 64 << 20;
/// The maximum time for one line. During a long command the relay reports its progress more often.
const PATIENCE: Duration = Duration::from_secs(120);

/// Why a command was not carried out. The text contains the remedy.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No relay listens at the socket.
    #[error(
        "no relay is running with the state folder {}. Start it with `postbud run`, or name the configuration of the one that \
         runs with --config", .0.display()
    )]
    NotRunning(PathBuf),
    /// The socket belongs to another user.
    #[error(
        "{} may only be used by the user that runs the relay and by root. Run the command as one of them, for example with sudo", .0.display()
    )]
    NotAllowed(PathBuf),
    /// The relay refused the command.
    #[error(transparent)]
    Refused(Error),
    #[error("the relay's answer broke off: {0}. It may be stopping; see its log, then look with `postbud queue list`")]
    Broken(#[source] io::Error),
}

/// Sends a command to the relay of a state folder. Passes each item, and each report of progress, on as it arrives.
pub fn call(
    state_dir: &Path,
    command: Command,
    item: impl FnMut(Value),
    progress: impl FnMut(Done),
) -> Result<Done, CallError> {
    let path = socket_path(state_dir);
    let stream = connect(&path, PATIENCE).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => CallError::NotRunning(state_dir.to_owned()),
        io::ErrorKind::PermissionDenied => CallError::NotAllowed(path),
        _ => CallError::Broken(late(error, PATIENCE)),
    })?;
    converse(&stream, PATIENCE, command, item, progress)
}

/// Returns true if a program listens at the socket of this state folder. Does not wait for one that accepts no connections.
pub fn is_there(state_dir: &Path) -> bool {
    match connect(&socket_path(state_dir), Duration::from_secs(1)) {
        Ok(_) => true,
        // It listens, and its queue is full.
        Err(error) => matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
    }
}

/// Connects with a time limit, because a program may listen without accepting connections.
fn connect(path: &Path, patience: Duration) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_write_timeout(Some(patience))?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket.into())
}

/// Sends the command and reads the answer.
fn converse(
    stream: &UnixStream,
    patience: Duration,
    command: Command,
    item: impl FnMut(Value),
    progress: impl FnMut(Done),
) -> Result<Done, CallError> {
    let bounds = Bounds::of(&command);
    let mut request =
        serde_json::to_vec(&Request { version: VERSION, progress: true, command }).expect("a command serialises");
    request.push(b'\n');
    let mut sending = stream;
    sending.write_all(&request).map_err(|error| CallError::Broken(late(error, patience)))?;
    let mut input = BufReader::new(Patient { stream, patience, until: Instant::now() });
    let next_line = || {
        input.get_mut().until = Instant::now() + patience;
        next_line(&mut input)
    };
    read_answer(&bounds, next_line, item, progress).map_err(CallError::from)
}

/// The limits of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    items: u64,
    /// The maximum octets of all lines.
    octets: u64,
}

impl Bounds {
    /// Returns the limits for this command.
    pub fn of(command: &Command) -> Self {
        match command {
            Command::List { limit, .. } | Command::SuppressionList { limit, .. } => {
                Bounds { items: limit.unwrap_or(u64::MAX), octets: u64::MAX }
            }
            Command::Show { .. } | Command::Stats => Bounds { items: 1, octets: LONGEST_ANSWER },
            _ => Bounds { items: u64::MAX, octets: LONGEST_ANSWER },
        }
    }
}

/// Why an answer is unusable.
#[derive(Debug)]
pub enum NoAnswer {
    /// The relay refused the command.
    Refused(Error),
    /// The answer broke off or is invalid.
    Broken(io::Error),
}

impl From<NoAnswer> for CallError {
    fn from(error: NoAnswer) -> Self {
        match error {
            NoAnswer::Refused(error) => CallError::Refused(error),
            NoAnswer::Broken(error) => CallError::Broken(error),
        }
    }
}

/// Reads an answer line by line until its last line. `next_line` returns `None` at the end of the input.
pub fn read_answer(
    bounds: &Bounds,
    mut next_line: impl FnMut() -> io::Result<Option<Vec<u8>>>,
    mut item: impl FnMut(Value),
    mut progress: impl FnMut(Done),
) -> Result<Done, NoAnswer> {
    let Bounds { mut items, mut octets } = *bounds;
    let broken = |what: &str| NoAnswer::Broken(io::Error::new(io::ErrorKind::InvalidData, what));
    while let Some(line) = next_line().map_err(NoAnswer::Broken)? {
        octets = octets.checked_sub(line.len() as u64).ok_or_else(|| broken("it is longer than 64 MiB"))?;
        // The error quotes the invalid text.
        let answer = serde_json::from_slice(&line).map_err(|error| broken(&visible(&error.to_string())))?;
        match answer {
            Answer::Item(value) => {
                items = items.checked_sub(1).ok_or_else(|| broken("it has more items than were asked for"))?;
                item(value);
            }
            Answer::Progress(done) => progress(done),
            Answer::Done(done) => return Ok(done),
            Answer::Error(Error { kind, message, remedy }) => {
                let [message, remedy] = [message, remedy].map(|text| visible(&text).into_owned());
                return Err(NoAnswer::Refused(Error { kind, message, remedy }));
            }
        }
    }
    Err(NoAnswer::Broken(io::ErrorKind::UnexpectedEof.into()))
}

/// Returns one line, or `None` at the end.
fn next_line(input: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    input.take(LONGEST_LINE).read_until(b'\n', &mut line)?;
    if line.len() as u64 == LONGEST_LINE {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "one line of it is longer than 64 MiB"));
    }
    Ok((!line.is_empty()).then_some(line))
}

/// Reads the stream until a deadline, so that a line that arrives octet by octet has no more time than any other.
struct Patient<'a> {
    stream: &'a UnixStream,
    patience: Duration,
    until: Instant,
}

impl Read for Patient<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.until.saturating_duration_since(Instant::now());
        // A timeout of zero would mean no limit.
        self.stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        self.stream.read(buffer).map_err(|error| late(error, self.patience))
    }
}

/// Describes an exceeded time limit in words.
fn late(error: io::Error, patience: Duration) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            let what = format!("nothing came for {} seconds", patience.as_secs());
            io::Error::new(io::ErrorKind::TimedOut, what)
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    const SHORT: Duration = Duration::from_millis(200);

    fn routes() -> Command {
        Command::Routes
    }

    #[test]
    fn a_program_that_says_nothing_or_says_it_octet_by_octet_is_not_waited_for() {
        for drips in [false, true] {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let talking = thread::spawn(move || {
                while drips && theirs.write_all(b"x").is_ok() {
                    thread::sleep(SHORT / 10);
                }
                // It reads everything, and answers nothing until we close.
                let _ = io::copy(&mut theirs, &mut io::sink());
            });
            let called = converse(&ours, SHORT, routes(), |_| {}, |_| {});
            assert!(matches!(&called, Err(CallError::Broken(e)) if e.kind() == io::ErrorKind::TimedOut), "{called:?}");
            drop(ours);
            talking.join().unwrap();
        }
    }

    #[test]
    fn a_program_that_takes_no_connection_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let _listener = UnixListener::bind(&path).unwrap();
        let mut waiting = Vec::new();
        // The system accepts some connections on behalf of the program.
        let error = loop {
            match connect(&path, SHORT) {
                Ok(stream) => waiting.push(stream),
                Err(error) => break error,
            }
        };
        assert_eq!(late(error, SHORT).kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn an_answer_brings_no_more_than_was_asked_for() {
        let item = br#"{"item":{}}"#.to_vec();
        let long = format!(r#"{{"item":"{}"}}"#, "x".repeat(1 << 20)).into_bytes();
        let list = |limit| Command::List { which: Default::default(), limit };
        for (command, line, most) in [
            (Command::Stats, &item, 1),
            (Command::Show { id: "x".to_owned() }, &item, 1),
            (list(Some(7)), &item, 7),
            (list(Some(0)), &item, 0),
            (Command::SuppressionList { customer: "x".to_owned(), address: None, limit: Some(7) }, &item, 7),
            (routes(), &long, 63),
        ] {
            let mut items = 0;
            let read = read_answer(&Bounds::of(&command), || Ok(Some(line.clone())), |_| items += 1, |_| {});
            assert!(matches!(read, Err(NoAnswer::Broken(_))), "{command:?}");
            assert_eq!(items, most, "{command:?}");
        }
        // Lists without a limit are as long as they are.
        let suppressed = Command::SuppressionList { customer: "x".to_owned(), address: None, limit: None };
        for command in [list(None), suppressed] {
            let mut lines = (0..200).map(|_| long.clone()).chain([br#"{"done":{"count":200}}"#.to_vec()]);
            let read = read_answer(&Bounds::of(&command), || Ok(lines.next()), |_| {}, |_| {});
            assert_eq!(read.unwrap(), Done::of(200), "{command:?}");
        }
        let progress = br#"{"progress":{"count":1}}"#.to_vec();
        let release = Command::Release { which: Default::default() };
        let read = read_answer(&Bounds::of(&release), || Ok(Some(progress.clone())), |_| {}, |_| {});
        assert!(matches!(read, Err(NoAnswer::Broken(_))), "progress does not go on for ever");
    }
}
