//! Return paths: an address counts as one only if this relay made it.
//!
//! `tests/fuzz/run 120 return_path`
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|address: &str| postbud::returns::mail::fuzz::return_path(address));
