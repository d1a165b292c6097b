//! Reports the relay's state to systemd, as sd_notify(3) describes: a datagram of `NAME=value` lines to the socket in `NOTIFY_SOCKET`.
//! Without that variable nothing is reported. A failed notice is logged once; it must not end the relay.

use std::cell::Cell;
use std::env;
use std::ffi::OsStr;
use std::future::Future;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::{Interval, MissedTickBehavior};

/// How often the watchdog is fed within systemd's time limit, so that a relay under load may miss some.
const FEEDS: u32 = 4;

/// The service manager, if it started this process and wants notices.
pub(super) struct ServiceManager {
    notices: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
    has_complained: Cell<bool>,
}

impl ServiceManager {
    /// Reads it from the environment.
    pub(super) fn from_environment() -> Self {
        let is_for_us = env::var("WATCHDOG_PID").map_or(true, |pid| pid == std::process::id().to_string());
        let watchdog = env::var("WATCHDOG_USEC").ok().filter(|_| is_for_us);
        Self::new(env::var_os("NOTIFY_SOCKET").as_deref(), watchdog.as_deref())
    }

    fn new(socket: Option<&OsStr>, watchdog: Option<&str>) -> Self {
        let notices = socket.and_then(|socket| match connect(socket) {
            Ok(notices) => Some(notices),
            Err(error) => {
                tracing::warn!("systemd cannot be told anything: NOTIFY_SOCKET {}: {error}", socket.display());
                None
            }
        });
        let watchdog = watchdog.and_then(|microseconds| microseconds.parse().ok()).map(Duration::from_micros);
        ServiceManager { notices, watchdog: watchdog.filter(|time| !time.is_zero()), has_complained: Cell::new(false) }
    }

    /// Reports that the start or the reload is complete.
    pub(super) fn ready(&self) {
        self.tell("READY=1");
    }

    /// Reports that the configuration is being read again. [`ready`](Self::ready) ends the reload, even after a mistake.
    pub(super) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let microseconds = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}"));
    }

    /// Reports that the stop has begun.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// Feeds the watchdog.
    pub(super) fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    /// Returns the times at which to feed the watchdog. Must be called on the runtime.
    pub(super) fn watchdog(&self) -> Watchdog {
        Watchdog(self.watchdog.map(|time| {
            let mut feeds = tokio::time::interval((time / FEEDS).max(Duration::from_millis(1)));
            feeds.set_missed_tick_behavior(MissedTickBehavior::Delay);
            feeds
        }))
    }

    fn tell(&self, notice: &str) {
        let Some((socket, systemd)) = &self.notices else { return };
        if let Err(error) = socket.send_to_addr(notice.as_bytes(), systemd)
            && !self.has_complained.replace(true)
        {
            tracing::warn!("systemd cannot be told {notice:?}: {error}");
        }
    }
}

/// The times at which the watchdog is fed; never if there is none.
pub(super) struct Watchdog(Option<Interval>);

impl Watchdog {
    /// Waits for the next of them.
    pub(super) async fn is_due(&mut self) {
        match &mut self.0 {
            Some(feeds) => drop(feeds.tick().await),
            None => std::future::pending().await,
        }
    }

    /// Waits for the next of them, and then for a sign of life. Without one the watchdog is not fed, and systemd restarts the relay.
    pub(super) async fn is_due_and(&mut self, sign_of_life: impl Future<Output = ()>) {
        self.is_due().await;
        sign_of_life.await;
    }
}

fn connect(socket: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    let own = UnixDatagram::unbound()?;
    // The relay does not wait for a service manager that does not read.
    own.set_nonblocking(true)?;
    Ok((own, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> Option<String> {
        let mut notice = [0; 200];
        socket.set_nonblocking(true).unwrap();
        let length = socket.recv(&mut notice).ok()?;
        Some(String::from_utf8_lossy(&notice[..length]).into_owned())
    }

    #[test]
    fn notices_reach_sockets_with_a_path_and_abstract_ones() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let name = format!("postbud-test-{}", std::process::id());
        let of_path = UnixDatagram::bind(&path).unwrap();
        let of_name = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        for (socket, variable) in [(of_path, path.into_os_string()), (of_name, format!("@{name}").into())] {
            let systemd = ServiceManager::new(Some(&variable), None);
            systemd.ready();
            assert_eq!(heard(&socket).as_deref(), Some("READY=1"));
            systemd.reloading();
            let reloading = heard(&socket).unwrap();
            let since_boot = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().parse::<u64>().unwrap();
            assert!(since_boot > 0);
            systemd.stopping();
            assert_eq!(heard(&socket).as_deref(), Some("STOPPING=1"));
        }
    }

    #[test]
    fn without_systemd_and_where_it_is_gone_nothing_fails() {
        ServiceManager::new(None, None).ready();
        for gone in ["/nowhere/notify", "@nobody-listens-here", ""] {
            ServiceManager::new(Some(OsStr::new(gone)), None).ready();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_is_fed_only_while_there_are_signs_of_life() {
        let patience = Duration::from_secs(600);
        let mut watchdog = ServiceManager::new(None, Some("120000000")).watchdog();
        watchdog.is_due().await;
        let began = tokio::time::Instant::now();
        watchdog.is_due_and(std::future::ready(())).await;
        assert_eq!(began.elapsed(), Duration::from_secs(30));
        let stuck = watchdog.is_due_and(std::future::pending());
        assert!(tokio::time::timeout(patience, stuck).await.is_err());
        for none in [None, Some("0"), Some(""), Some("soon")] {
            let mut watchdog = ServiceManager::new(None, none).watchdog();
            assert!(tokio::time::timeout(patience, watchdog.is_due()).await.is_err(), "{none:?}");
        }
    }
}
