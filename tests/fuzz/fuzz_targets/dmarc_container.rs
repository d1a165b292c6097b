//! A mail or an archive with a DMARC report: what comes out of it is bounded, however it is packed and nested.
//!
//! `tests/fuzz/run 120 dmarc_container`
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| postbud::returns::dmarc::fuzz::container(octets));
