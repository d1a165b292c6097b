//! The answers of Mailjet's message API: a list of messages and the history of one, with a NUL between them. No report grows over its bounds,
//! what is kept is read back as it was, and no order of steps makes a delivery of a bounce.
//!
//! `tests/fuzz/run 120 mailjet_answers`
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|answers: &[u8]| postbud::returns::mailjet::fuzz::answers(answers));
