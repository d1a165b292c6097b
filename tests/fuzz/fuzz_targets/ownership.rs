//! What a customer's web server and name server answer about the proof of ownership: no redirect leads out of the domain, a file
//! with content is not empty, and nothing but the token is a proof.
//!
//! `tests/fuzz/run 120 ownership`
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|answer: &[u8]| postbud::onboarding::fuzz::ownership(answer));
