//! Mail that comes back: reports, complaints and prose are read without a panic, and what is kept of them is bounded and on one line.
//!
//! `tests/fuzz/run 120 returned_mail`
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|message: &[u8]| postbud::returns::mail::fuzz::returned_mail(message));
