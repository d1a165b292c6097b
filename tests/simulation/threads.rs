//! Simulated threads: real threads of which one runs at a time. A thread runs until it waits. Then the simulation goes on, and lets
//! the thread run again once what it waits for is there, or its time has come.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use super::machine::Machine;
use super::{enter, here};

thread_local! {
    static THIS: RefCell<Option<Arc<Thread>>> = const { RefCell::new(None) };
}

/// This thread, if it is a simulated one.
pub fn this() -> Option<Arc<Thread>> {
    THIS.with_borrow(|this| this.clone().filter(|thread| !thread.state().free))
}

/// The end of a thread, for who waits for it in the simulation.
pub struct Ending(Arc<Thread>);

impl Ending {
    /// Waits for it.
    pub async fn comes(&self) {
        while !self.0.state().over {
            self.0.ended.notified().await;
        }
    }
}

/// Makes the work of a thread that is about to start the work of a simulated one, if this is a simulated machine.
pub fn taken_over(work: impl FnOnce() + Send + 'static) -> (Box<dyn FnOnce() + Send + 'static>, Option<Ending>) {
    let Some(machine) = here() else { return (Box::new(work), None) };
    let state = State { wake_at: Some(Duration::ZERO), ..State::default() };
    let thread = Arc::new(Thread {
        machine: Arc::clone(&machine),
        state: Mutex::new(state),
        switched: Condvar::new(),
        ended: Notify::new(),
    });
    machine.threads.all().push(Arc::clone(&thread));
    machine.threads.due.store(true, Ordering::SeqCst);
    let ending = Ending(Arc::clone(&thread));
    let run = move || {
        let _over = Over(Arc::clone(&thread));
        thread.wait_to_run(thread.state());
        enter(Some(Arc::clone(&machine)));
        THIS.set(Some(Arc::clone(&thread)));
        let _inside = machine.runtime().enter();
        work();
    };
    (Box::new(run), Some(ending))
}

/// Rings a bell of this machine.
pub fn ring(bell: usize) {
    if let Some(machine) = here() {
        for thread in machine.threads.all().iter() {
            let mut state = thread.state();
            if state.bell == Some(bell) {
                state.rung = true;
                machine.threads.due.store(true, Ordering::SeqCst);
            }
        }
    }
}

#[derive(Default)]
struct State {
    /// The thread may run now.
    runs: bool,
    wake_at: Option<Duration>,
    bell: Option<usize>,
    rung: bool,
    /// The process is gone, and the thread runs to its end as any thread would.
    free: bool,
    over: bool,
}

pub struct Thread {
    machine: Arc<Machine>,
    state: Mutex<State>,
    switched: Condvar,
    ended: Notify,
}

impl Thread {
    /// Lets the thread rest.
    pub fn rest(&self, pause: Duration) {
        self.wait(None, Some(pause));
    }

    /// Waits until the bell rings, but no longer than `most`.
    pub fn wait(&self, bell: Option<usize>, most: Option<Duration>) {
        let wake_at = most.map(|most| self.machine.clock.now() + most);
        let mut state = self.state();
        *state = State { wake_at, bell, free: state.free, ..State::default() };
        self.switched.notify_all();
        self.wait_to_run(state);
    }

    /// Waits for what is sent, but no longer than `most`. It is looked for at the end of that time, as by a thread that is slow to wake.
    pub fn receive<T>(&self, receiver: &Receiver<T>, most: Duration) -> Result<T, RecvTimeoutError> {
        if let Ok(sent) = receiver.try_recv() {
            return Ok(sent);
        }
        self.rest(most);
        receiver.try_recv().map_err(|error| match error {
            TryRecvError::Empty => RecvTimeoutError::Timeout,
            TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
        })
    }

    /// Waits for the one answer that is sent, and looks for it once a millisecond.
    pub fn answer<T>(&self, mut receiver: oneshot::Receiver<T>) -> Option<T> {
        loop {
            match receiver.try_recv() {
                Ok(answer) => return Some(answer),
                Err(oneshot::error::TryRecvError::Closed) => return None,
                Err(oneshot::error::TryRecvError::Empty) => self.rest(Duration::from_millis(1)),
            }
        }
    }

    fn wait_to_run(&self, mut state: MutexGuard<'_, State>) {
        while !state.runs && !state.free {
            state = self.switched.wait(state).expect(UNPOISONED);
        }
    }

    /// Lets the thread run, and waits until it waits or ends.
    fn runs_until_it_waits(&self) {
        let mut state = self.state();
        state.runs = true;
        self.switched.notify_all();
        while state.runs {
            state = self.switched.wait(state).expect(UNPOISONED);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect(UNPOISONED)
    }
}

const UNPOISONED: &str = "nothing panics while it holds a thread's state";

/// Marks a thread as over, however it ends.
struct Over(Arc<Thread>);

impl Drop for Over {
    fn drop(&mut self) {
        let mut state = self.0.state();
        (state.runs, state.over) = (false, true);
        self.0.switched.notify_all();
        self.0.ended.notify_one();
    }
}

/// The threads of one process.
#[derive(Default)]
pub struct Threads {
    all: Mutex<Vec<Arc<Thread>>>,
    /// A thread may have something to do at once.
    due: AtomicBool,
}

impl Threads {
    fn all(&self) -> MutexGuard<'_, Vec<Arc<Thread>>> {
        self.all.lock().expect("nothing panics while it holds the threads")
    }

    /// Returns true if a thread has something to do before the time goes on.
    pub fn are_due(&self) -> bool {
        self.due.load(Ordering::SeqCst)
    }

    /// Lets every thread run that has something to do, until none has.
    pub fn run(&self, now: Duration) {
        loop {
            self.due.store(false, Ordering::SeqCst);
            let next = self
                .all()
                .iter()
                .find(|thread| {
                    let state = thread.state();
                    !state.over && (state.rung || state.wake_at.is_some_and(|at| at <= now))
                })
                .cloned();
            match next {
                Some(thread) => thread.runs_until_it_waits(),
                None => return,
            }
        }
    }

    /// When the next thread wakes by itself.
    pub fn next(&self) -> Option<Duration> {
        self.all().iter().filter_map(|thread| Some(thread.state()).filter(|state| !state.over)?.wake_at).min()
    }

    /// Lets all threads run to their end: their process is gone.
    pub fn set_free(&self) {
        for thread in self.all().drain(..) {
            thread.state().free = true;
            thread.switched.notify_all();
        }
    }
}
