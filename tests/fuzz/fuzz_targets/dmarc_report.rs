//! A DMARC report as it comes from a stranger: it is read or refused, its range does not run backwards, and no record claims more than a
//! record can.
//!
//! `tests/fuzz/run 120 dmarc_report`
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|xml: &[u8]| postbud::returns::dmarc::fuzz::report(xml));
