//! A process on a simulated machine: its runtime, its threads, and the relay that runs in it.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::Sleep;

use super::machine::{Hardware, Machine};
use super::relay::Relay;
use super::{enter, set_clock_of};

/// How long an operator's command may take: the process is ahead of the world by that.
const MOMENT: Duration = Duration::from_millis(300);

/// A process, with the runtime that it runs on.
pub struct Process {
    pub machine: Arc<Machine>,
    /// The relay, as soon as it runs.
    pub relay: Option<Relay>,
    /// Being stopped in good order.
    pub stopping: Option<JoinHandle<()>>,
    runtime: Runtime,
    parked: Arc<Mutex<Option<Waker>>>,
}

/// A runtime whose time goes on only when the simulation says so.
pub fn runtime(parks: impl Fn() + Send + Sync + 'static) -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).on_thread_park(parks).build().expect("a runtime can be made")
}

impl Process {
    /// Begins a process at `now`, with nothing in it.
    pub fn begin(hardware: &Arc<Hardware>, now: Duration, seed: u64) -> Process {
        let machine = Machine::new(Arc::clone(hardware), now, seed);
        let parked: Arc<Mutex<Option<Waker>>> = Arc::default();
        let (threads, root) = (Arc::downgrade(&machine), Arc::clone(&parked));
        let runtime = runtime(move || {
            if threads.upgrade().is_some_and(|machine| machine.threads.are_due())
                && let Some(root) = root.lock().expect("nothing panics while it holds the waker").take()
            {
                root.wake();
            }
        });
        machine.runs_on(runtime.handle().clone());
        set_clock_of(hardware.number, Some(Arc::clone(&machine.clock)));
        Process { machine, relay: None, stopping: None, runtime, parked }
    }

    /// Does something inside the process, in no time.
    pub fn inside<T>(&self, work: impl FnOnce() -> T) -> T {
        enter(Some(Arc::clone(&self.machine)));
        let done = {
            let _inside = self.runtime.enter();
            work()
        };
        enter(None);
        done
    }

    /// Lets the time go on for the process: its threads and its tasks.
    pub fn forward(&self, until: Duration) {
        enter(Some(Arc::clone(&self.machine)));
        let mut now = self.now();
        while now < until || self.machine.threads.are_due() {
            self.machine.threads.run(now);
            let next = self.machine.threads.next().map_or(until, |next| next.min(until));
            self.runtime.block_on(self.rests(next.max(now), std::future::pending::<()>()));
            now = self.now();
        }
        enter(None);
    }

    /// The process did not run for so long, and everything that it waited for is late.
    pub fn oversleeps(&self, time: Duration) {
        enter(Some(Arc::clone(&self.machine)));
        self.runtime.block_on(tokio::time::advance(time));
        enter(None);
    }

    /// Runs what somebody asks of the relay from outside, and the threads that it needs, for a moment. `None` if that is not enough, or if
    /// the relay does not run.
    pub fn during<T>(&self, work: impl AsyncFnOnce(&Relay) -> T) -> Option<T> {
        let relay = self.relay.as_ref().filter(|_| self.stopping.is_none())?;
        enter(Some(Arc::clone(&self.machine)));
        let done = self.for_a_moment(work(relay));
        enter(None);
        done
    }

    fn for_a_moment<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = std::pin::pin!(work);
        let until = self.now() + MOMENT;
        while self.now() < until {
            self.machine.threads.run(self.now());
            let next = self.machine.threads.next().map_or(until, |next| next.min(until));
            if let Some(done) = self.runtime.block_on(self.rests(next, work.as_mut())) {
                return Some(done);
            }
        }
        None
    }

    fn now(&self) -> Duration {
        let _inside = self.runtime.enter();
        self.machine.clock.now()
    }

    /// Ends at that time, or as soon as a thread has something to do, or with what `work` gives.
    fn rests<F: Future>(&self, until: Duration, work: F) -> Rests<'_, F> {
        Rests { process: self, until, timer: None, work: Box::pin(work) }
    }

    /// What a task of the process ended with, if it has ended.
    pub fn result<T>(&self, task: &mut JoinHandle<T>) -> Option<T> {
        let ended = task.is_finished().then(|| self.runtime.block_on(task))?;
        Some(ended.expect("the task does not panic"))
    }

    /// Begins to stop in good order, unless it does so already.
    pub fn stop(&mut self) {
        if let (Some(relay), None) = (&self.relay, &self.stopping) {
            let stopping = relay.stopping();
            self.stopping = Some(self.inside(|| tokio::spawn(stopping)));
        }
    }

    /// The process is gone, from one moment to the next.
    pub fn die(self) {
        let Process { machine, relay, runtime, .. } = self;
        machine.dies();
        machine.hardware.network.kill(machine.hardware.number);
        machine.threads.set_free();
        set_clock_of(machine.hardware.number, None);
        enter(Some(machine));
        drop(runtime);
        drop(relay);
        enter(None);
    }
}

struct Rests<'a, F: Future> {
    process: &'a Process,
    until: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    work: Pin<Box<F>>,
}

impl<F: Future> Future for Rests<'_, F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(done) = self.work.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        if self.process.machine.threads.are_due() {
            return Poll::Ready(None);
        }
        *self.process.parked.lock().expect("nothing panics while it holds the waker") = Some(cx.waker().clone());
        let instant = self.process.machine.clock.instant(self.until);
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(instant)));
        timer.as_mut().poll(cx).map(|()| None)
    }
}
