//! For `tests/fuzz` only (feature `fuzzing`): reports from strangers.

use super::{container, report};

/// Reads octets as a report.
///
/// # Panics
/// Panics if a report claims more than it can hold.
pub fn report(xml: &[u8]) {
    let mut most = 0;
    let read = report::read(&mut &*xml, &mut |record| most = most.max(record.messages));
    assert!(most <= 1_000_000_000, "{most}");
    if let Ok((head, _)) = read {
        assert!(head.begins <= head.ends && head.reporter.len() <= 1_000, "{head:?}");
    }
}

/// Opens octets as a mail or an archive.
///
/// # Panics
/// Panics if the output exceeds its limit.
pub fn container(octets: &[u8]) {
    let mut out = 0;
    let _ = container::open(octets, &mut |xml| {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = std::io::Read::read(xml, &mut buffer) {
            out += count;
        }
    });
    assert!(out <= (1 << 20) + 201 * octets.len(), "{out}");
}
