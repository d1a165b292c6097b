//! Signer threads. An RSA signature takes most of a millisecond, which is too long for a socket task.
//!
//! Each thread takes jobs from a bounded queue. If the queue is full, callers wait, and backpressure reaches the socket. A
//! job that panics fails only its own message. If the caller has gone away, its job is not signed. Messages signed only
//! with Ed25519 are signed in the caller's task, because handing them over would cost more than the signature.

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
    /// The signer that has the keys of the From domain.
    pub signer: Arc<Signer>,
    /// The header block without the blank line: fields with their CRLFs, first the ones that the relay adds.
    pub header: Vec<u8>,
    /// The hashes of the body, made with the signer's own hasher.
    pub body: BodyHash,
    /// The time of signing, for `t=` and `x=`.
    pub now: Timestamp,
}

/// A signed message's header.
#[derive(Debug)]
pub struct Signed {
    /// The `DKIM-Signature:` fields with their CRLFs. They go above the header.
    pub signatures: Vec<u8>,
    /// The header block, unchanged.
    pub header: Vec<u8>,
}

/// Signer threads behind a bounded queue. Clones share them; they end when the last clone is dropped.
#[derive(Clone)]
pub struct Workers {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Sender<Order>,
    /// One permit for each free slot in the queue.
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

/// Returns the default number of signer threads: one for each core that this process may use.
pub fn one_a_core() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

impl Workers {
    /// Starts `threads` signer threads, at least one, and a queue for `queue_len` messages. Returns an error if the system
    /// cannot start a thread.
    pub fn start(threads: usize, queue_len: usize) -> std::io::Result<Self> {
        Self::start_with(threads, queue_len, sign)
    }

    fn start_with(threads: usize, queue_len: usize, sign: SignFn) -> std::io::Result<Self> {
        let (queue, jobs) = crossbeam_channel::unbounded();
        let places = Arc::new(Semaphore::new(queue_len.max(1)));
        let threads = (0..threads.max(1))
            .map(|n| {
                let (jobs, places) = (jobs.clone(), Arc::clone(&places));
                thread::Builder::new().name(format!("signer-{n}")).spawn(move || work(&jobs, &places, sign))
            })
            .collect::<Result<_, _>>()?;
        Ok(Workers { shared: Arc::new(Shared { queue, places, threads: Mutex::new(threads), sign }) })
    }

    /// Signs a message on a signer thread. Waits while the queue is full. Dropping the future abandons the job.
    pub async fn sign(&self, job: Job) -> Result<Signed, SignError> {
        if job.signer.is_quick() {
            return guarded(self.shared.sign, job);
        }
        let place = self.shared.places.acquire().await.map_err(|_| SignError::Stopped)?;
        let (answer, answered) = oneshot::channel();
        self.shared.queue.send(Order::Sign(job, answer)).map_err(|_| SignError::Stopped)?;
        // The signer thread returns the permit when it takes the job.
        place.forget();
        answered.await.unwrap_or(Err(SignError::Stopped))
    }

    /// Refuses new jobs, finishes those in the queue and waits for the threads to end. Blocks the calling thread.
    pub fn stop(&self) {
        self.shared.places.close();
        let threads = std::mem::take(&mut *self.shared.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for _ in &threads {
            // Sending fails only if the threads have already ended.
            let _ = self.shared.queue.send(Order::Stop);
        }
        for thread in threads {
            // The panic hook has already reported a panic outside a job.
            let _ = thread.join();
        }
    }
}

fn work(jobs: &Receiver<Order>, places: &Semaphore, sign: SignFn) {
    // RSA needs random numbers to blind the key. The first one in a process takes about 30 ms and the first one in a thread
    // about 4 ms, so draw one now and not while a message waits. If this fails, signing reports the error.
    let _ = aws_lc_rs::rand::fill(&mut [0]);
    while let Ok(Order::Sign(job, answer)) = jobs.recv() {
        places.add_permits(1);
        if !answer.is_closed() {
            // Sending fails only if the caller has gone away in the meantime.
            let _ = answer.send(guarded(sign, job));
        }
    }
}

fn guarded(sign: SignFn, job: Job) -> Answer {
    // No half-changed state survives a panic: the job is consumed, and each signature clears the scratch memory first.
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

#[cfg(test)]
mod tests {
    use std::sync::Condvar;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::dkim::{Profile, Selector, SigningKey};
    use crate::smtp::Domain;

    fn signer(key: SigningKey) -> Arc<Signer> {
        let domain = Domain::parse("test.dk").unwrap();
        Arc::new(Signer::new(vec![Profile::new(domain, Selector::parse("s").unwrap(), key)]).unwrap())
    }

    fn job(signer: &Arc<Signer>, header: &str) -> Job {
        let mut hasher = signer.body_hasher();
        hasher.update(b"hello\r\n");
        Job { signer: Arc::clone(signer), header: header.into(), body: hasher.finish(), now: Timestamp::EPOCH }
    }

    /// Opened by the test whose job waits for it.
    static GATE: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

    /// Panics for one header, counts and dawdles for another, and waits at the gate for a third.
    fn odd(job: Job) -> Answer {
        static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);
        match job.header.as_slice() {
            b"panic" => panic!("a header that hurts"),
            b"gate" => drop(GATE.1.wait_while(GATE.0.lock().unwrap(), |is_open| !*is_open).unwrap()),
            b"slow" => {
                assert!(UNDER_WAY.fetch_add(1, Ordering::SeqCst) < 2);
                thread::sleep(Duration::from_millis(5));
                UNDER_WAY.fetch_sub(1, Ordering::SeqCst);
            }
            _ => {}
        }
        Ok(Signed { signatures: Vec::new(), header: job.header })
    }

    #[tokio::test]
    async fn both_kinds_of_key_sign_and_the_header_comes_back() {
        let workers = Workers::start(2, 4).unwrap();
        for key in [SigningKey::generate_rsa(2048).unwrap(), SigningKey::generate_ed25519().unwrap()] {
            let header = "From: a@test.dk\r\nSubject: x\r\n";
            let signed = workers.sign(job(&signer(key), header)).await.unwrap();
            assert!(signed.signatures.starts_with(b"DKIM-Signature: v=1; a="));
            assert_eq!(signed.header, header.as_bytes());
        }
    }

    #[tokio::test]
    async fn a_header_with_a_broken_line_is_refused() {
        let workers = Workers::start(1, 1).unwrap();
        let signer = signer(SigningKey::generate_ed25519().unwrap());
        let error = workers.sign(job(&signer, "From: a@test.dk\r\nbroken\r\n")).await.unwrap_err();
        assert_eq!(error, SignError::Malformed);
    }

    #[tokio::test]
    async fn a_job_that_panics_fails_alone() {
        let rsa = signer(SigningKey::generate_rsa(2048).unwrap());
        let quick = signer(SigningKey::generate_ed25519().unwrap());
        let workers = Workers::start_with(1, 8, odd).unwrap();
        for signer in [&rsa, &quick] {
            assert_eq!(workers.sign(job(signer, "panic")).await.unwrap_err(), SignError::Panicked);
            assert_eq!(workers.sign(job(signer, "x")).await.unwrap().header, b"x");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_full_queue_makes_callers_wait_and_loses_none() {
        let signer = signer(SigningKey::generate_rsa(2048).unwrap());
        let workers = Workers::start_with(2, 1, odd).unwrap();
        let jobs: Vec<_> = (0..20)
            .map(|_| {
                let (workers, signer) = (workers.clone(), Arc::clone(&signer));
                tokio::spawn(async move { workers.sign(job(&signer, "slow")).await })
            })
            .collect();
        for job in jobs {
            assert!(job.await.unwrap().is_ok());
        }
        assert_eq!(workers.shared.places.available_permits(), 1);
    }

    #[tokio::test]
    async fn an_abandoned_job_gives_its_place_back() {
        let signer = signer(SigningKey::generate_rsa(2048).unwrap());
        let workers = Workers::start_with(1, 1, odd).unwrap();
        for _ in 0..3 {
            let abandoned = tokio::time::timeout(Duration::ZERO, workers.sign(job(&signer, "slow")));
            let _ = abandoned.await;
        }
        assert_eq!(workers.sign(job(&signer, "x")).await.unwrap().header, b"x");
    }

    #[tokio::test]
    async fn stopped_workers_finish_what_they_have_and_take_no_more() {
        let signer = signer(SigningKey::generate_rsa(2048).unwrap());
        let workers = Workers::start_with(1, 8, odd).unwrap();
        let mut waiting = Box::pin(workers.sign(job(&signer, "gate")));
        assert!(tokio::time::timeout(Duration::ZERO, &mut waiting).await.is_err());
        *GATE.0.lock().unwrap() = true;
        GATE.1.notify_all();
        // Waits for the job.
        workers.stop();
        assert!(waiting.await.is_ok());
        assert_eq!(workers.sign(job(&signer, "x")).await.unwrap_err(), SignError::Stopped);
        workers.stop();
    }
}
