//! For `tests/fuzz` only (feature `fuzzing`): mail from strangers to return paths and to the address for complaints.

use zeroize::Zeroizing;

use super::read::{DeliveryStatus, Reading, Said, header};
use crate::message::ReturnPaths;
use crate::smtp::{Domain, Mailbox};

/// The limit of kept texts: the text itself, and the mark of a cut.
const LONGEST: usize = 1200;

/// Reads a message as returned mail and as a complaint.
///
/// # Panics
/// Panics if a kept text is too long or has several lines.
pub fn returned_mail(message: &[u8]) {
    assert!(message.starts_with(header(message)));
    for reading in [Reading::of(message), Reading::of_complaint(message)] {
        match reading {
            Reading::Statuses(fates) => {
                assert!((1..=101).contains(&fates.len()));
                fates.iter().for_each(fate);
            }
            Reading::Complaint(complaint) => {
                assert!(complaint.recipients.len() <= 10 && complaint.about.queue_ids.len() <= 5);
                one_line(&complaint.kind);
                complaint.by.iter().for_each(|by| one_line(by));
            }
            Reading::AutoReply | Reading::Other => {}
        }
    }
}

fn fate(fate: &DeliveryStatus) {
    let Said { code, text, .. } = &fate.said;
    assert!(code.is_none_or(|code| (200..600).contains(&code)));
    one_line(text);
    fate.server.iter().chain(&fate.until).for_each(|text| one_line(text));
}

fn one_line(text: &str) {
    assert!(text.len() <= LONGEST && !text.contains(['\r', '\n']), "{text:?}");
}

/// Reads an address as a return path.
///
/// # Panics
/// Panics if a foreign address counts as a return path that was made here.
pub fn return_path(address: &str) {
    let paths = ReturnPaths::new(Domain::parse("returns.test").expect("a name"), &[Zeroizing::new([7; 32])]);
    let Ok(address) = Mailbox::parse(address) else { return };
    if let Some(returned) = paths.read(&address) {
        assert!(paths.address(returned).to_string().eq_ignore_ascii_case(&address.to_string()));
    }
}
