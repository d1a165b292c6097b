//! DATA, cut anywhere: the same end and the same text as a plain model finds, and what was read is sent on with exactly one
//! end of data. The first octet of the input says where it is cut.
//!
//! `tests/fuzz/run 120 smtp_data`
#![no_main]

use libfuzzer_sys::fuzz_target;
use postbud::smtp::{DataReader, DotStuffer};

/// Where the message ends by the letter of RFC 5321: at the first CRLF.CRLF, the CRLF before DATA's first line included.
fn end(wire: &[u8]) -> Option<usize> {
    let whole = [b"\r\n", wire].concat();
    whole.windows(5).position(|five| five == b"\r\n.\r\n").map(|at| at + 5 - 2)
}

fn text(wire: &[u8]) -> Vec<u8> {
    let whole = [b"\r\n", wire].concat();
    let mut text = Vec::new();
    let mut i = 0;
    while i < whole.len() {
        if whole[i..].starts_with(b"\r\n.") {
            text.extend_from_slice(b"\r\n");
            i += 3;
        } else {
            text.push(whole[i]);
            i += 1;
        }
    }
    text[2..].to_vec()
}

fn is_clean(text: &[u8]) -> bool {
    text.iter().enumerate().all(|(i, b)| match b {
        0 => false,
        b'\r' => text.get(i + 1) == Some(&b'\n'),
        b'\n' => i > 0 && text[i - 1] == b'\r',
        _ => true,
    })
}

fuzz_target!(|input: &[u8]| {
    let Some((&cut, wire)) = input.split_first() else { return };
    let cut = usize::from(cut % 16) + 1;
    let mut reader = DataReader::dotted(998);
    let (mut read, mut used, mut ended) = (Vec::new(), 0, false);
    for piece in wire.chunks(cut) {
        let taken = reader.read(piece, |run| read.extend_from_slice(run));
        used += taken.used;
        ended = taken.end;
        if ended {
            break;
        }
        assert_eq!(taken.used, piece.len());
    }
    assert_eq!(ended.then_some(used), end(wire));
    if !ended {
        return;
    }
    // Without the dot and the CRLF behind it.
    let expected = text(&wire[..used - 3]);
    let long = expected.split(|b| *b == b'\n').any(|line| line.strip_suffix(b"\r").unwrap_or(line).len() > 998);
    if reader.flaw().is_some() {
        assert!(long || !is_clean(&expected));
        return;
    }
    assert!(!long && is_clean(&expected));
    assert_eq!(read, expected);
    let (mut stuffer, mut sent) = (DotStuffer::new(), Vec::new());
    for piece in read.chunks(cut) {
        stuffer.stuff(piece, &mut sent).expect("no lone CR or LF");
    }
    stuffer.end(&mut sent).expect("no lone CR or LF");
    assert_eq!(end(&sent), Some(sent.len()));
});
