//! The operator's socket, from both ends: any request is read or refused, and one that is read is written as it was; any answer
//! ends, brings no more than was asked for, and its errors command no terminal.
//!
//! `tests/fuzz/run 120 control_protocol`
#![no_main]

use libfuzzer_sys::fuzz_target;
use postbud::operate::queue::Selection;
use postbud::operate::socket::protocol::{Command, Request};
use postbud::operate::socket::{Bounds, CallError, read_answer, read_request};
use postbud::visible::{is_unseen, visible_json};

fuzz_target!(|input: &[u8]| {
    if let Ok(text) = std::str::from_utf8(input)
        && let Ok(request) = read_request(text)
    {
        let written = serde_json::to_string(&request).expect("a request can be written");
        assert_eq!(serde_json::from_str::<Request>(&written).expect("what was written can be read"), request);
    }
    for (command, most) in [
        (Command::List { which: Selection::default(), limit: Some(3) }, 3),
        (Command::Show { id: "x".to_owned() }, 1),
        (Command::Stats, 1),
        (Command::Routes, usize::MAX),
        (Command::Release { which: Selection::default() }, usize::MAX),
    ] {
        let mut lines = input.split_inclusive(|octet| *octet == b'\n').map(<[u8]>::to_vec);
        let mut items = 0;
        let item = |item: serde_json::Value| {
            items += 1;
            assert!(!visible_json(&item.to_string()).chars().any(is_unseen));
        };
        let read = read_answer(&Bounds::of(&command), || Ok(lines.next()), item, |_| {});
        assert!(items <= most, "{command:?}: {items}");
        if let Err(error) = read {
            let said = CallError::from(error).to_string();
            assert!(!said.chars().any(is_unseen), "{said:?}");
        }
    }
});
