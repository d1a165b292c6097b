//! What a smarthost sends for its certificate: it is described without a panic, in bounded text that commands no terminal, and a
//! key is pinned only if it can be used.
//!
//! `tests/fuzz/run 120 certificate`
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|certificate: &[u8]| postbud::delivery::fuzz::certificate(certificate));
