//! A segment of the spool as a bad disk could leave it: payloads of any content under a right checksum, torn and overwritten
//! places. Reading it ends, does not panic, and what it says to be whole can be read back.
//!
//! `tests/fuzz/run 120 spool_segment`
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| postbud::spool::embedded::fuzz::segment(input));
