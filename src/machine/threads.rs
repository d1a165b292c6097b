//! Threads that block, and the ways in which they wait.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinError;

#[cfg(test)]
use crate::simulation::threads as simulated;

/// A thread of the relay's own.
pub(crate) struct Thread {
    handle: JoinHandle<()>,
    #[cfg(test)]
    simulated: Option<simulated::Ending>,
}

impl Thread {
    /// Starts a thread. Returns an error if the system gives none.
    pub fn start(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<Thread> {
        #[cfg(test)]
        let (work, simulated) = simulated::taken_over(work);
        Ok(Thread {
            handle: std::thread::Builder::new().name(name.into()).spawn(work)?,
            #[cfg(test)]
            simulated,
        })
    }

    /// Waits for the thread to end, and blocks meanwhile. A thread that panicked has said so on stderr.
    pub fn join(self) {
        let _ = self.handle.join();
    }

    /// Waits for the thread to end.
    pub async fn ended(self) {
        #[cfg(test)]
        if let Some(ending) = &self.simulated {
            ending.comes().await;
            return self.join();
        }
        let _ = tokio::task::spawn_blocking(|| self.join()).await;
    }
}

/// Lets this thread rest.
pub(crate) fn sleep(pause: Duration) {
    #[cfg(test)]
    if let Some(thread) = simulated::this() {
        return thread.rest(pause);
    }
    std::thread::sleep(pause);
}

/// Waits for what is sent, but no longer than `most`.
pub(crate) fn receive<T>(receiver: &Receiver<T>, most: Duration) -> Result<T, RecvTimeoutError> {
    #[cfg(test)]
    if let Some(thread) = simulated::this() {
        return thread.receive(receiver, most);
    }
    receiver.recv_timeout(most)
}

/// Waits for the one answer that is sent. `None` if none will come.
pub(crate) fn answer<T>(receiver: oneshot::Receiver<T>) -> Option<T> {
    #[cfg(test)]
    if let Some(thread) = simulated::this() {
        return thread.answer(receiver);
    }
    receiver.blocking_recv().ok()
}

/// Wakes a thread that waits for a change of what a mutex protects.
#[derive(Default)]
pub(crate) struct Bell(Condvar);

impl Bell {
    /// Lets go of the mutex that `held` holds, waits until the bell rings, but no longer than `most`, and takes the mutex again. May return
    /// early.
    pub fn wait<'a, T>(
        &self,
        mutex: &'a Mutex<T>,
        held: MutexGuard<'a, T>,
        most: Option<Duration>,
    ) -> MutexGuard<'a, T> {
        const UNPOISONED: &str = "nothing panics while it holds what a bell is about";
        #[cfg(test)]
        if let Some(thread) = simulated::this() {
            drop(held);
            thread.wait(Some(self.number()), most);
            return mutex.lock().expect(UNPOISONED);
        }
        // The guard names its mutex only in a simulation.
        let _ = mutex;
        match most {
            Some(most) => self.0.wait_timeout(held, most).expect(UNPOISONED).0,
            None => self.0.wait(held).expect(UNPOISONED),
        }
    }

    /// Wakes one thread that waits.
    pub fn ring(&self) {
        #[cfg(test)]
        simulated::ring(self.number());
        self.0.notify_one();
    }

    #[cfg(test)]
    fn number(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }
}

/// Does what may block on a thread that may.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    #[cfg(test)]
    if crate::simulation::here().is_some() {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await
}
