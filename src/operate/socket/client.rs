//! The command's end of the socket. Blocking: a command has nothing else to do.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::protocol::{Answer, Command, Done, Request, VERSION};
use super::socket_path;
use crate::operate::Error;
use crate::visible::visible;

/// No answer comes near it: a message's header is the longest part of one. Who listens there may be another than the relay.
const LONGEST_LINE: u64 = 64 << 20;

/// Why a command was not carried out. The text tells the remedy.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody listens.
    #[error(
        "no relay is running with the state folder {}. Start it with `postbud run`, or name the configuration of the one that \
         runs with --config", .0.display()
    )]
    NotRunning(PathBuf),
    /// The socket is another user's.
    #[error(
        "{} may only be used by the user that runs the relay and by root. Run the command as one of them, for example with sudo", .0.display()
    )]
    NotAllowed(PathBuf),
    /// The relay said no.
    #[error(transparent)]
    Refused(Error),
    /// The connection broke.
    #[error("the relay's answer broke off: {0}. It may be stopping; see its log, then look with `postbud queue list`")]
    Broken(#[source] io::Error),
}

/// Sends a command to the relay of a state folder and hands over each item and what is told of the progress as it comes.
pub fn call(
    state_dir: &Path,
    command: Command,
    mut item: impl FnMut(Value),
    mut progress: impl FnMut(Done),
) -> Result<Done, CallError> {
    let stream = UnixStream::connect(socket_path(state_dir)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => CallError::NotRunning(state_dir.to_owned()),
        io::ErrorKind::PermissionDenied => CallError::NotAllowed(socket_path(state_dir)),
        _ => CallError::Broken(error),
    })?;
    let mut request =
        serde_json::to_vec(&Request { version: VERSION, progress: true, command }).expect("a command serialises");
    request.push(b'\n');
    (&stream).write_all(&request).map_err(CallError::Broken)?;
    let mut input = BufReader::new(&stream);
    while let Some(line) = next_line(&mut input).map_err(CallError::Broken)? {
        // What was not understood is quoted there.
        let not_understood = |error: serde_json::Error| {
            CallError::Broken(io::Error::new(io::ErrorKind::InvalidData, visible(&error.to_string()).into_owned()))
        };
        let answer = serde_json::from_slice(&line).map_err(not_understood)?;
        match answer {
            Answer::Item(value) => item(value),
            Answer::Progress(done) => progress(done),
            Answer::Done(done) => return Ok(done),
            Answer::Error(Error { kind, message, remedy }) => {
                let [message, remedy] = [message, remedy].map(|text| visible(&text).into_owned());
                return Err(CallError::Refused(Error { kind, message, remedy }));
            }
        }
    }
    Err(CallError::Broken(io::ErrorKind::UnexpectedEof.into()))
}

/// One line; `None` at the end.
fn next_line(input: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    input.take(LONGEST_LINE).read_until(b'\n', &mut line)?;
    if line.len() as u64 == LONGEST_LINE {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "one line of it is longer than 64 MiB"));
    }
    Ok((!line.is_empty()).then_some(line))
}
