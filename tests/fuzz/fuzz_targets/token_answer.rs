//! What a token endpoint answers (OAuth 2.0): what it says stays short and commands no terminal, and no token is used for longer than a day.
//!
//! `tests/fuzz/run 120 token_answer`
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|answer: &[u8]| postbud::delivery::fuzz::token_answer(answer));
