//! The main job, end to end: the real binary between a submitting client and a receiving server.

mod fairness;
mod fidelity;
mod refusals;
mod reload;
mod restart;

#[path = "../support"]
mod support {
    pub mod capture;
    pub mod client;
    pub mod relay;
}
