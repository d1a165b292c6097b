//! A header block, whatever is in it: no panic, places that lie in the block, and what is cut out is gone.
//!
//! `tests/fuzz/run 120 message_header`
#![no_main]

use libfuzzer_sys::fuzz_target;
use postbud::message::address::single;
use postbud::message::scan::{Bounds, cut, end_of_header, scan};
use postbud::smtp::Mailbox;

const BOUNDS: Bounds = Bounds { fields: 200, received: 20 };

fuzz_target!(|input: &[u8]| {
    if let Ok(mailbox) = single(input) {
        assert_eq!(Mailbox::parse(&mailbox.to_string()).as_ref(), Ok(&mailbox));
    }
    // The end is the same wherever the search begins before it.
    let end = end_of_header(input, 0);
    if let Some(end) = end {
        assert!(end <= input.len());
        for from in [end / 2, end.saturating_sub(4)] {
            assert!(end_of_header(input, from).is_some_and(|found| found >= end));
        }
    }
    let Ok(header) = scan(input, BOUNDS) else { return };
    assert_eq!(Mailbox::parse(&header.from.to_string()).as_ref(), Ok(&header.from));
    let mut last = 0;
    for range in &header.cut {
        assert!(last <= range.start && range.start < range.end && range.end <= input.len());
        last = range.end;
    }
    let mut block = input.to_vec();
    cut(&mut block, &header.cut);
    let again = scan(&block, BOUNDS).expect("a header stays one without its Bcc");
    assert!(again.cut.is_empty());
    assert_eq!((&again.from, &again.sender, &again.message_id), (&header.from, &header.sender, &header.message_id));
});
