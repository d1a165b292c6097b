//! Threads that block, and the ways in which they wait.

use std::io;
use std::pin::pin;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
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

/// Polls a future on this thread until it is done, even if the thread belongs to a runtime. The things that the future waits for must run
/// on other threads.
pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    let unpark = Arc::new(Unpark(std::thread::current()));
    #[cfg(test)]
    let bell = Arc::as_ptr(&unpark).addr();
    let waker = Waker::from(unpark);
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        #[cfg(test)]
        if let Some(thread) = simulated::this() {
            // It may have been woken while it was polled, when the bell was not heard yet.
            thread.wait(Some(bell), Some(Duration::from_millis(50)));
            continue;
        }
        std::thread::park();
    }
}

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        #[cfg(test)]
        simulated::ring(Arc::as_ptr(&self).addr());
        self.0.unpark();
    }
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

/// Does what waits for other machines' answers on a thread that may block. A panic of the work goes on in the caller.
pub(crate) async fn asking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    #[cfg(test)]
    if crate::simulation::here().is_some() {
        let (send, done) = oneshot::channel();
        let thread = Thread::start("asking", move || drop(send.send(work())));
        let _ending = thread.expect("a simulated machine has threads");
        return done.await.expect("the work does not panic");
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Returns a runtime for connections that blocking threads use. A thread of this name drives it until `ends` is done.
pub(crate) fn drive(name: &str, ends: impl Future<Output = ()> + Send + 'static) -> io::Result<Handle> {
    #[cfg(test)]
    if let Some(machine) = crate::simulation::here() {
        return Ok(machine.runtime().clone());
    }
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    std::thread::Builder::new().name(name.into()).spawn(move || runtime.block_on(ends))?;
    Ok(handle)
}
