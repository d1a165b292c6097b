//! What a smarthost answers: a reply is taken only when it is whole, the same wherever the stream is cut, and nothing in it
//! can command a terminal or grow without bound. What judges a refusal and what answers a challenge end without a panic.
//!
//! `tests/fuzz/run 120 smtp_reply`
#![no_main]

use libfuzzer_sys::fuzz_target;
use postbud::delivery::fuzz::{challenge, judge};
use postbud::smtp::response::{MAX_REPLY, take_reply};
use postbud::smtp::{Extensions, ehlo};

fuzz_target!(|input: &[u8]| {
    let whole = take_reply(input);
    // A prefix says the same, or that more is needed; never something else.
    for end in (0..input.len()).step_by(input.len() / 16 + 1) {
        match (take_reply(&input[..end]), &whole) {
            (Ok(None), _) => {}
            (Ok(Some(early)), Ok(Some(late))) => assert_eq!(&early, late),
            (Err(_), Err(_)) => {}
            (early, late) => panic!("{early:?} after {end} octets, {late:?} after all"),
        }
    }
    let Ok(Some((reply, used))) = whole else { return };
    assert!(used <= input.len() && used <= MAX_REPLY);
    assert!((200..600).contains(&reply.code));
    assert!(!reply.to_string().chars().any(char::is_control));
    let extensions = Extensions::of(&reply);
    assert!(extensions.size_limit != Some(0));
    assert!(extensions.offered.len() < reply.lines.len().max(1));
    let _ = ehlo::address_seen(&reply);
    challenge(&reply);
    if !reply.is_positive() {
        judge(&reply);
    }
});
