//! What a DNS provider that a customer's zone names answers about it (Domain Connect): only web addresses by HTTPS count, each with a host
//! name, and what is asked lies below them.
//!
//! `tests/fuzz/run 120 domain_connect`
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|answer: &[u8]| postbud::onboarding::fuzz::domain_connect(answer));
