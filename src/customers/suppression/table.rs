//! The lists in memory. Each suppressed address takes 16 octets: a hash, a reason and a time. A million entries take some 40 MB.
//!
//! An address is found by a 64-bit hash under a random key. With a million entries, the probability that an address on no list matches one
//! of them is 1 in 10^13.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::sync::{PoisonError, RwLock};

use super::Reason;
use super::address::folded_local;
use crate::smtp::{Host, Mailbox};
use crate::time::Timestamp;

/// The number of parts, each with its own lock. When a part grows, its entries move while the lock is held; parts are small, so that is
/// short.
const PARTS: usize = 64;

#[derive(Clone, Copy)]
struct Slot {
    /// Seconds since 1970; 0 means never.
    expires: u32,
    reason: Reason,
}

type Part = HashMap<u64, Slot, BuildHasherDefault<IsHashed>>;

pub(super) struct Table {
    key: RandomState,
    parts: [RwLock<Part>; PARTS],
}

impl Default for Table {
    fn default() -> Self {
        Table { key: RandomState::new(), parts: std::array::from_fn(|_| RwLock::default()) }
    }
}

impl Table {
    pub(super) fn get(&self, customer: &str, address: &Mailbox, now: Timestamp) -> Option<Reason> {
        let hash = match address.host() {
            Host::Domain(domain) => self.hash(customer, folded_local(address.local()), domain.as_str()),
            Host::Literal(ip) => self.hash(customer, folded_local(address.local()), &format!("[{ip}]")),
        };
        let part = self.part(hash).read().unwrap_or_else(PoisonError::into_inner);
        let slot = part.get(&hash)?;
        (slot.expires == 0 || u64::from(slot.expires) > now.as_secs()).then_some(slot.reason)
    }

    pub(super) fn set(&self, customer: &str, address: &str, reason: Reason, expires: Option<Timestamp>) {
        let hash = self.hash_of_text(customer, address);
        let expires = expires.map_or(0, |at| u32::try_from(at.as_secs()).unwrap_or(0));
        let mut part = self.part(hash).write().unwrap_or_else(PoisonError::into_inner);
        part.insert(hash, Slot { expires, reason });
    }

    pub(super) fn remove(&self, customer: &str, address: &str) {
        let hash = self.hash_of_text(customer, address);
        self.part(hash).write().unwrap_or_else(PoisonError::into_inner).remove(&hash);
    }

    /// Removes expired entries.
    pub(super) fn tidy(&self, now: Timestamp) {
        for part in &self.parts {
            let mut part = part.write().unwrap_or_else(PoisonError::into_inner);
            part.retain(|_, slot| slot.expires == 0 || u64::from(slot.expires) > now.as_secs());
        }
    }

    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.read().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    fn hash_of_text(&self, customer: &str, address: &str) -> u64 {
        let (local, host) = address.rsplit_once('@').unwrap_or((address, ""));
        self.hash(customer, folded_local(local), host)
    }

    fn hash(&self, customer: &str, local: impl Iterator<Item = char>, host: &str) -> u64 {
        let mut hasher = self.key.build_hasher();
        hasher.write(customer.as_bytes());
        // A separator that occurs in no text, so that different lists of parts never give the same input.
        hasher.write_u8(0xff);
        local.for_each(|character| hasher.write_u32(character.into()));
        hasher.write_u32(u32::MAX);
        hasher.write(host.as_bytes());
        hasher.finish()
    }

    fn part(&self, hash: u64) -> &RwLock<Part> {
        // Use other bits than the map, which uses the lowest and the highest.
        &self.parts[(hash >> 40) as usize % PARTS]
    }
}

/// A hasher for keys that are already hashes.
#[derive(Default)]
struct IsHashed(u64);

impl Hasher for IsHashed {
    fn write(&mut self, _: &[u8]) {
        unreachable!("only numbers are hashed");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Table {
        /// Returns the octets that the maps have allocated: one octet per slot besides the entry, with an eighth of the slots empty.
        fn octets(&self) -> usize {
            let places = |part: &RwLock<Part>| (part.read().unwrap().capacity() * 8 / 7).next_power_of_two();
            self.parts.iter().map(places).sum::<usize>() * (size_of::<(u64, Slot)>() + 1)
        }
    }

    #[test]
    fn an_address_in_quotes_is_found_and_removed() {
        let table = Table::default();
        let address = Mailbox::parse("\"An \\\"na\"@X.dk").unwrap();
        let folded = super::super::folded(&address);
        table.set("acme", &folded, Reason::Complaint, None);
        assert_eq!(table.get("acme", &address, Timestamp::EPOCH), Some(Reason::Complaint));
        table.remove("acme", &folded);
        assert_eq!(table.get("acme", &address, Timestamp::EPOCH), None);
    }

    #[test]
    fn an_entry_takes_less_than_a_hundred_octets_and_is_found() {
        let table = Table::default();
        for n in 0..250_000 {
            table.set("acme", &format!("anna.{n}@example.net"), Reason::Complaint, None);
        }
        assert_eq!(table.len(), 250_000);
        assert!(table.octets() < 25_000_000, "{}", table.octets());
        let get = |text: &str| table.get("acme", &Mailbox::parse(text).unwrap(), Timestamp::EPOCH);
        for n in (0..250_000).step_by(9973) {
            assert_eq!(get(&format!("Anna.{n}@EXAMPLE.net")), Some(Reason::Complaint));
            assert_eq!(get(&format!("bo.{n}@example.net")), None);
        }
    }
}
