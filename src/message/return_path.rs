//! Return paths that name a message and a recipient (VERP). The address of a returned mail tells which recipient it is about, even if its
//! text is unreadable.
//!
//! ```text
//! r-01jq8x2mv0c4a-12-7k0s2m9x4b1d6hqz@returns.webcrm.com
//!   queue id      │  tag: HMAC-SHA256 under a key of this relay, the first 80 bits
//!                 recipient's index in the envelope
//! ```
//!
//! Only this relay can make a return path, so a stranger cannot report on mail without having seen its return path. Letters may change case
//! on the way, because some servers change it. The local part has at most 64 octets (RFC 5321 §4.5.3.1.1).

use std::fmt;

use aws_lc_rs::{constant_time, hmac};
use zeroize::Zeroizing;

use super::QueueId;
use crate::smtp::{Domain, Mailbox};

/// The octets of a tag: too many to guess, and few enough for the local part.
const TAG: usize = 10;
/// The start of every text that is signed, so that no other use of the key can make a tag.
const CONTEXT: &str = "postbud return path 1";
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// A key for tags.
pub type Key = Zeroizing<[u8; 32]>;

/// Makes return paths, and recognises its own.
pub struct ReturnPaths {
    domain: Domain,
    /// The first key makes tags. The others are older keys, whose tags are still recognised.
    keys: Vec<hmac::Key>,
}

/// The message and the recipient that a return path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Returned {
    /// The message that the return path belongs to.
    pub queue_id: QueueId,
    /// The recipient's index in the envelope.
    pub index: usize,
}

impl ReturnPaths {
    /// Makes return paths in this domain. The first key makes tags, and tags of all keys are recognised. There must be at least one key.
    pub fn new(domain: Domain, keys: &[Key]) -> Self {
        assert!(!keys.is_empty(), "a return path needs a key");
        let keys = keys.iter().map(|key| hmac::Key::new(hmac::HMAC_SHA256, &**key)).collect();
        ReturnPaths { domain, keys }
    }

    /// The domain of all return paths.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// The return path for a recipient of a message.
    pub fn address(&self, returned: Returned) -> Mailbox {
        let named = named(returned);
        let tag = text_of(self.tag(&self.keys[0], &named));
        Mailbox::parse(&format!("{named}-{tag}@{}", self.domain)).expect("letters, digits and hyphens, at most 64")
    }

    /// Reads a return path. Returns `None` for any other address, and for a tag that this relay did not make.
    pub fn read(&self, address: &Mailbox) -> Option<Returned> {
        if address.domain() != Some(&self.domain) {
            return None;
        }
        let local = address.local().to_ascii_lowercase();
        let (text, tag) = local.rsplit_once('-')?;
        let (id, index) = text.strip_prefix("r-")?.split_once('-')?;
        let returned = Returned { queue_id: id.parse().ok()?, index: index.parse().ok()? };
        // Each recipient has exactly one return path, so an index like "+1" or "01" is refused.
        let is_plain = named(returned) == text;
        let is_ours = |key| {
            constant_time::verify_slices_are_equal(text_of(self.tag(key, text)).as_bytes(), tag.as_bytes()).is_ok()
        };
        (is_plain && self.keys.iter().any(is_ours)).then_some(returned)
    }

    fn tag(&self, key: &hmac::Key, named: &str) -> [u8; TAG] {
        let signed = hmac::sign(key, format!("{CONTEXT}\0{}\0{named}", self.domain).as_bytes());
        signed.as_ref()[..TAG].try_into().expect("SHA-256 has 32 octets")
    }
}

/// The debug text shows no key.
impl fmt::Debug for ReturnPaths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReturnPaths({}, {} keys)", self.domain, self.keys.len())
    }
}

fn named(Returned { queue_id, index }: Returned) -> String {
    format!("r-{queue_id}-{index}").to_ascii_lowercase()
}

/// Writes 80 bits as 16 characters of five bits each.
fn text_of(tag: [u8; TAG]) -> String {
    let bits = tag.iter().fold(0u128, |bits, octet| bits << 8 | u128::from(*octet));
    (0..16).rev().map(|at| char::from(DIGITS[(bits >> (5 * at)) as usize & 31])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(keys: &[u8]) -> ReturnPaths {
        let keys: Vec<Key> = keys.iter().map(|octet| Zeroizing::new([*octet; 32])).collect();
        ReturnPaths::new(Domain::parse("returns.test").unwrap(), &keys)
    }

    fn returned(index: usize) -> Returned {
        Returned { queue_id: QueueId::from_u64(0x0123_4567_89ab_cdef), index }
    }

    #[test]
    fn a_return_path_is_short_and_is_read_in_any_case() {
        let paths = paths(&[1]);
        for index in [0, 7, 99_999] {
            let address = paths.address(returned(index));
            assert!(address.local().len() <= 64 && address.local().is_ascii(), "{address}");
            assert_eq!(paths.read(&address), Some(returned(index)));
            let shouted = Mailbox::parse(&address.to_string().to_ascii_uppercase()).unwrap();
            assert_eq!(paths.read(&shouted), Some(returned(index)));
        }
    }

    #[test]
    fn no_octet_of_it_can_be_changed() {
        let paths = paths(&[1]);
        let address = paths.address(returned(3)).to_string();
        let end = address.find('@').unwrap();
        for at in 0..end {
            for other in ["0", "1", "z", "-", "_", "+"] {
                let mut forged = address.clone();
                forged.replace_range(at..=at, other);
                if !forged.eq_ignore_ascii_case(&address)
                    && let Ok(forged) = Mailbox::parse(&forged)
                {
                    assert_eq!(paths.read(&forged), None, "{forged}");
                }
            }
        }
        let elsewhere = Mailbox::parse(&address.replace("returns.test", "other.test")).unwrap();
        assert_eq!(paths.read(&elsewhere), None);
        for text in ["r-@returns.test", "r@returns.test", "r-x-0-y@returns.test", "\"r- \"@returns.test"] {
            assert_eq!(paths.read(&Mailbox::parse(text).unwrap()), None, "{text}");
        }
    }

    #[test]
    fn a_new_key_makes_the_next_ones_and_old_ones_are_read_on() {
        let (old, new) = (paths(&[1]).address(returned(0)), paths(&[2]).address(returned(0)));
        let rotated = paths(&[2, 1]);
        assert_eq!(rotated.address(returned(0)), new);
        assert_eq!((rotated.read(&old), rotated.read(&new)), (Some(returned(0)), Some(returned(0))));
        assert_eq!(paths(&[2]).read(&old), None);
    }

    #[test]
    fn the_form_does_not_change() {
        // A fixed example: mail sent by an earlier version still comes back to such an address.
        let address = paths(&[7]).address(returned(12)).to_string();
        assert!(address.starts_with("r-028t5cy4tqkff-12-"), "{address}");
        assert_eq!(address.len(), "r-028t5cy4tqkff-12-".len() + 16 + "@returns.test".len());
    }
}
