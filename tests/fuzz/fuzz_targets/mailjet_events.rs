//! The body of a request with Mailjet's events: nothing grows over its bounds, what is kept is read back as it was, and no order of
//! reports makes a delivery of a bounce.
//!
//! `tests/fuzz/run 120 mailjet_events`
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| postbud::returns::mailjet::fuzz::payload(body));
