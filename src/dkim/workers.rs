//! Signer threads: RSA blocks for most of a millisecond, which no socket task should.
//!
//! One thread a core takes jobs from a bounded queue. A full queue makes callers wait (backpressure reaches the
//! socket); a job that panics fails its own message only; a caller that has gone away costs nothing. Messages signed
//! with Ed25519 only are signed where they are: the hand-over would cost more than the signature.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender};
use tokio::sync::{Semaphore, oneshot};

use super::{BodyHash, SignError, Signer};
use crate::message::{Field, headers};
use crate::time::Timestamp;

/// One message to sign.
pub struct Job {
    /// Whose keys.
    pub signer: Arc<Signer>,
    /// The header block: fields with CRLF, the added ones first, without the blank line.
    pub header: Vec<u8>,
    /// The hashed body.
    pub body: BodyHash,
    /// For `t=`.
    pub now: Timestamp,
}

/// A signed message's header.
#[derive(Debug)]
pub struct Signed {
    /// The `DKIM-Signature:` fields with their CRLFs; they go above the header.
    pub signatures: Vec<u8>,
    /// The header block as it was given.
    pub header: Vec<u8>,
}

/// Signer threads behind a bounded queue. Clones share them; they end when the last clone is dropped.
#[derive(Clone)]
pub struct Workers {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Sender<Order>,
    /// A permit for every free place in the queue.
    places: Arc<Semaphore>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    sign: SignFn,
}

enum Order {
    Sign(Job, oneshot::Sender<Answer>),
    Stop,
}

type Answer = Result<Signed, SignError>;
type SignFn = fn(Job) -> Answer;

impl Workers {
    /// Starts `threads` signer threads (0: one a core) with room for `queue_len` waiting messages. Errors when
    /// the system gives no thread.
    pub fn start(threads: usize, queue_len: usize) -> std::io::Result<Self> {
        Self::start_with(threads, queue_len, sign)
    }

    fn start_with(threads: usize, queue_len: usize, sign: SignFn) -> std::io::Result<Self> {
        let count = match threads {
            0 => thread::available_parallelism().map_or(1, usize::from),
            count => count,
        };
        let (queue, jobs) = crossbeam_channel::unbounded();
        let places = Arc::new(Semaphore::new(queue_len.max(1)));
        let threads = (0..count)
            .map(|n| {
                let (jobs, places) = (jobs.clone(), Arc::clone(&places));
                thread::Builder::new().name(format!("signer-{n}")).spawn(move || work(&jobs, &places, sign))
            })
            .collect::<Result<_, _>>()?;
        Ok(Workers { shared: Arc::new(Shared { queue, places, threads: Mutex::new(threads), sign }) })
    }

    /// Signs on a signer thread; waits while the queue is full. Dropping the future abandons the job.
    pub async fn sign(&self, job: Job) -> Result<Signed, SignError> {
        if job.signer.is_quick() {
            return guarded(self.shared.sign, job);
        }
        let place = self.shared.places.acquire().await.map_err(|_| SignError::Stopped)?;
        let (answer, answered) = oneshot::channel();
        self.shared.queue.send(Order::Sign(job, answer)).map_err(|_| SignError::Stopped)?;
        // The thread that takes the job gives the place back.
        place.forget();
        answered.await.unwrap_or(Err(SignError::Stopped))
    }

    /// Takes no more jobs, finishes those in the queue and waits for the threads. Blocks.
    pub fn stop(&self) {
        self.shared.places.close();
        let threads = std::mem::take(&mut *self.shared.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for _ in &threads {
            // Fails only when the threads are gone already.
            let _ = self.shared.queue.send(Order::Stop);
        }
        for thread in threads {
            // A panic outside a job has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

fn work(jobs: &Receiver<Order>, places: &Semaphore, sign: SignFn) {
    while let Ok(Order::Sign(job, answer)) = jobs.recv() {
        places.add_permits(1);
        if !answer.is_closed() {
            // Fails only when the caller has gone away meanwhile.
            let _ = answer.send(guarded(sign, job));
        }
    }
}

fn guarded(sign: SignFn, job: Job) -> Answer {
    // Nothing outlives the panic half-changed: the job is consumed, and the scratch memory starts afresh every time.
    catch_unwind(AssertUnwindSafe(|| sign(job))).unwrap_or(Err(SignError::Panicked))
}

fn sign(job: Job) -> Answer {
    let Job { signer, header, body, now } = job;
    let mut signatures = Vec::new();
    let fields: Vec<Field<'_>> =
        headers::fields(&header).collect::<Result<_, _>>().map_err(|_| SignError::Malformed)?;
    signer.sign(&fields, &body, now, &mut signatures)?;
    Ok(Signed { signatures, header })
}
