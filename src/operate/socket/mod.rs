//! The operator's socket, over which the command line reaches the service of the running relay.
//!
//! It is a Unix socket in the state folder with mode 0600, so only root and the user that runs the relay may use it. Each line is one JSON
//! object ([`protocol`]). Each connection has one request of limited size, which is answered by any number of `item` lines and one `done`
//! or `error` line. Long lists are written at the reader's pace.

mod client;
mod perform;
pub mod protocol;

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Actor, Error, ErrorKind, Service};
use crate::visible::visible_json;
pub use client::{Bounds, CallError, NoAnswer, call, is_there, read_answer};
use perform::{Output, perform};
use protocol::{Answer, Command, Done, Request, VERSION};

/// The socket's name in the state folder.
pub const SOCKET: &str = "control.sock";
/// The maximum octets of a request. A request with thousands of ids fits.
const LONGEST_REQUEST: u64 = 1 << 20;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The time after which a client that has stopped reading is disconnected.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
const CONNECTIONS: usize = 32;

/// Returns the path of the socket of a state folder.
pub fn socket_path(state_dir: &Path) -> PathBuf {
    state_dir.join(SOCKET)
}

/// The bound socket. Its file is removed when it is dropped.
#[derive(Debug)]
pub struct Listener {
    listener: UnixListener,
    path: PathBuf,
}

/// Binds the socket, with mode 0600, in place of one that a stopped relay left. Call it after the spool is locked, because only that lock
/// makes sure that no other relay uses this state folder. Returns an error if the folder cannot be written, or if its path is too long for
/// a socket's name (107 octets).
pub fn bind(state_dir: &Path) -> io::Result<Listener> {
    let path = socket_path(state_dir);
    // Bind it under a random name in a folder that nobody else may enter, so that it never exists with a wider mode.
    let private = tempfile::Builder::new().prefix(".c").rand_bytes(3).tempdir_in(state_dir)?;
    let bound = private.path().join("s");
    let listener = UnixListener::bind(&bound)?;
    std::fs::set_permissions(&bound, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&bound, &path)?;
    Ok(Listener { listener, path })
}

impl Drop for Listener {
    fn drop(&mut self) {
        // A file that remains does no harm: the next relay replaces it, and a command finds nobody there.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Answers commands until stopped. A running command is then cut off as by a crash: a sender may have been informed that a message was
/// given up which is tried again after the start.
pub async fn serve(listener: Listener, service: Service, stopping: CancellationToken) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let tasks = TaskTracker::new();
    while let Some(place) = stopping.run_until_cancelled(Arc::clone(&room).acquire_owned()).await {
        let Ok(place) = place else { break };
        let stream = match stopping.run_until_cancelled(listener.listener.accept()).await {
            None => break,
            Some(Ok((stream, _))) => stream,
            Some(Err(error)) => {
                tracing::warn!("the operator's socket: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (service, stopping) = (service.clone(), stopping.clone());
        tasks.spawn(async move {
            let _place = place;
            if let Some(Err(error)) = stopping.run_until_cancelled(answer(stream, &service)).await {
                tracing::debug!("an operator's command was cut off: {error}");
            }
        });
    }
    drop(listener);
    tasks.close();
    tasks.wait().await;
}

async fn answer(stream: UnixStream, service: &Service) -> io::Result<()> {
    let peer = stream.peer_cred()?;
    let (read, write) = stream.into_split();
    let mut out = Lines { write: BufWriter::new(write), progress: false };
    let ours = rustix::process::geteuid().as_raw();
    if peer.uid() != ours && peer.uid() != 0 {
        // The file's mode already ensures this, unless somebody has changed it.
        let error = Error::new(
            ErrorKind::Forbidden,
            format!("user {} may not command this relay", peer.uid()),
            format!("run the command as user {ours}, who runs the relay, or as root"),
        );
        return out.line(&Answer::Error(error)).await;
    }
    let mut line = String::new();
    let mut read = BufReader::new(read.take(LONGEST_REQUEST));
    match tokio::time::timeout(REQUEST_TIMEOUT, read.read_line(&mut line)).await {
        Ok(read) => read?,
        Err(_) => return Ok(()),
    };
    let answer = match read_request(&line) {
        Ok(request) => {
            // Scripts and pages read every few seconds. Changes are also in the audit.
            match request.command.changes_something() {
                true => tracing::info!(uid = peer.uid(), command = %summary(&request.command), "operator's command"),
                false => tracing::debug!(uid = peer.uid(), command = %summary(&request.command), "operator's question"),
            }
            out.progress = request.progress;
            perform(service, &Actor::user(peer.uid()), request.command, &mut out).await?
        }
        Err(error) => Err(error),
    };
    out.line(&answer.map_or_else(Answer::Error, Answer::Done)).await
}

/// Reads a request. Another version of the protocol gets its own error.
pub fn read_request(line: &str) -> Result<Request, Error> {
    #[derive(serde::Deserialize)]
    struct Version {
        version: u32,
    }
    let not_understood = |error: serde_json::Error| {
        Error::invalid(
            format!("the request was not understood: {error}"),
            "use `postbud queue` and `postbud route` of the version that runs",
        )
    };
    let Version { version } = serde_json::from_str(line).map_err(not_understood)?;
    if version != VERSION {
        return Err(Error::conflict(
            format!(
                "the relay that runs speaks version {VERSION} of the operator's protocol, the command version {version}"
            ),
            "use the program that the relay was started from, or restart the relay with the new one",
        ));
    }
    serde_json::from_str(line).map_err(not_understood)
}

/// Returns the command for the log, with limited length, and without what passwords could be guessed from.
fn summary(command: &Command) -> String {
    let mut value = serde_json::to_value(command).unwrap_or_default();
    hide_passwords(&mut value);
    visible_json(&value.to_string()).chars().take(300).collect()
}

/// Replaces the value of every key about a password.
fn hide_passwords(value: &mut serde_json::Value) {
    let serde_json::Value::Object(fields) = value else { return };
    for (key, value) in fields {
        match key.contains("password") && value.is_string() {
            true => *value = "…".into(),
            false => hide_passwords(value),
        }
    }
}

struct Lines<W> {
    write: BufWriter<W>,
    progress: bool,
}

impl<W: tokio::io::AsyncWrite + Unpin + Send> Lines<W> {
    async fn line(&mut self, answer: &Answer) -> io::Result<()> {
        self.put(answer).await?;
        tokio::time::timeout(WRITE_TIMEOUT, self.write.flush()).await?
    }

    async fn put(&mut self, answer: &Answer) -> io::Result<()> {
        let mut line = serde_json::to_vec(answer)?;
        line.push(b'\n');
        tokio::time::timeout(WRITE_TIMEOUT, self.write.write_all(&line)).await?
    }
}

impl<W: tokio::io::AsyncWrite + Unpin + Send> Output for Lines<W> {
    async fn item(&mut self, item: &(impl serde::Serialize + Sync)) -> io::Result<()> {
        let item = serde_json::to_value(item)?;
        self.put(&Answer::Item(item)).await
    }

    async fn progress(&mut self, done: &Done) -> io::Result<()> {
        if self.progress { self.line(&Answer::Progress(done.clone())).await } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_hash_is_logged() {
        let hash = crate::submission::hash_password("four words that differ").unwrap();
        for request in [
            format!(
                "{{\"command\":\"add-operator\",\"name\":\"anna\",\"role\":\"admin\",\"password_hash\":\"{hash}\"}}"
            ),
            format!("{{\"command\":\"change-operator\",\"name\":\"anna\",\"change\":{{\"password\":\"{hash}\"}}}}"),
        ] {
            let request = read_request(&request.replacen('{', "{\"version\":1,", 1)).unwrap();
            let logged = summary(&request.command);
            assert!(logged.contains("anna") && !logged.contains("argon2"), "{logged}");
        }
        let command = Command::PauseCustomer {
            customer: "a\u{1b}[2J\u{202e}".to_owned(),
            reason: "x".repeat(1_000),
            spare_single: false,
        };
        let logged = summary(&command);
        assert!(!logged.chars().any(crate::visible::is_unseen) && logged.chars().count() == 300, "{logged}");
    }

    #[test]
    fn another_version_is_told_apart_from_nonsense() {
        assert!(read_request(r#"{"version":1,"command":"stats"}"#).is_ok());
        assert!(read_request(r#"{"version":2,"command":"fly"}"#).unwrap_err().message.contains("version 2"));
        assert!(read_request(r#"{"version":1,"command":"fly"}"#).unwrap_err().message.contains("not understood"));
        assert!(read_request("").unwrap_err().message.contains("not understood"));
    }
}
