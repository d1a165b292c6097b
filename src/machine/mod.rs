//! What the relay takes from the machine that it runs on, where the simulation has to put something else in its place: chance, threads
//! that block, what is written to the spool's disk, and connections.
//!
//! In a program every function here is the call of the system that its name says, and costs nothing beyond it. In the unit tests' build
//! (`cfg(test)`) each asks first whether this thread is a simulated machine's, and is answered by that machine if so
//! (`tests/simulation/`, `docs/simulation.md`). The switch is `cfg(test)` and not a feature, so that no program can be built with it.
//!
//! Time is not here. Code that is simulated measures time with [`tokio::time::Instant`], which in a program is the standard library's, and reads
//! the clock with [`Timestamp::now`](crate::time::Timestamp::now).

mod chance;
pub(crate) mod disk;
pub(crate) mod net;
pub(crate) mod threads;

pub(crate) use chance::random;
