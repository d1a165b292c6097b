//! A map from domains to values. Readers keep snapshots of it. It is in parts, so that a snapshot with one change copies one part and not the
//! whole map.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use crate::smtp::Domain;

/// The number of parts: 10,000 domains are 40 in a part.
const PARTS: usize = 256;

/// The map. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DomainMap<T> {
    hasher: RandomState,
    parts: Arc<[Arc<HashMap<Domain, T>>]>,
}

impl<T> Default for DomainMap<T> {
    fn default() -> Self {
        DomainMap { hasher: RandomState::new(), parts: (0..PARTS).map(|_| Arc::default()).collect() }
    }
}

impl<T: Clone> DomainMap<T> {
    /// Returns the value of a domain.
    pub fn get(&self, domain: &Domain) -> Option<&T> {
        self.parts[self.part(domain)].get(domain)
    }

    /// Returns the map with this value of a domain, or without one.
    #[must_use]
    pub fn with(&self, domain: &Domain, value: Option<T>) -> Self {
        let mut parts = self.parts.to_vec();
        let part = Arc::make_mut(&mut parts[self.part(domain)]);
        match value {
            Some(value) => part.insert(domain.clone(), value),
            None => part.remove(domain),
        };
        DomainMap { hasher: self.hasher.clone(), parts: parts.into() }
    }

    fn part(&self, domain: &Domain) -> usize {
        usize::try_from(self.hasher.hash_one(domain) % PARTS as u64).unwrap_or_default()
    }
}

impl<T> FromIterator<(Domain, T)> for DomainMap<T> {
    fn from_iter<I: IntoIterator<Item = (Domain, T)>>(all: I) -> Self {
        let hasher = RandomState::new();
        let mut parts: Vec<HashMap<Domain, T>> = (0..PARTS).map(|_| HashMap::new()).collect();
        for (domain, value) in all {
            let part = usize::try_from(hasher.hash_one(&domain) % PARTS as u64).unwrap_or_default();
            parts[part].insert(domain, value);
        }
        DomainMap { hasher, parts: parts.into_iter().map(Arc::new).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_copies_one_part_and_leaves_earlier_snapshots_alone() {
        let domain = |n: u32| Domain::parse(&format!("d{n}.dk")).unwrap();
        let map: DomainMap<u32> = (0..1000).map(|n| (domain(n), n)).collect();
        let changed = map.with(&domain(7), Some(70)).with(&domain(8), None).with(&domain(1000), Some(1000));
        assert_eq!([7, 8, 9, 1000].map(|n| map.get(&domain(n)).copied()), [Some(7), Some(8), Some(9), None]);
        assert_eq!([7, 8, 9, 1000].map(|n| changed.get(&domain(n)).copied()), [Some(70), None, Some(9), Some(1000)]);
        let copied = map.parts.iter().zip(&*changed.parts).filter(|(one, other)| !Arc::ptr_eq(one, other)).count();
        assert!((1..=3).contains(&copied), "{copied}");
        assert_eq!(DomainMap::default().with(&domain(1), Some(1)).get(&domain(1)), Some(&1));
    }
}
