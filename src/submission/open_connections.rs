//! Counts the open connections of clients, in all and for each address. No single address can take all connections that the relay allows.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::limits::{Limits, counted_as};

/// The open connections, in all and for each address.
#[derive(Default)]
pub(crate) struct OpenConnections {
    inside: Mutex<(usize, HashMap<IpAddr, usize>)>,
}

/// The limit that one more connection would exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// The limit on all connections.
    All,
    /// The limit on connections from one address.
    FromAddress,
}

/// A connection that counts until this is dropped.
pub(crate) struct OpenConnection {
    open: Arc<OpenConnections>,
    address: IpAddr,
}

impl OpenConnections {
    /// Counts a connection of `peer` if it is within the limits.
    pub(crate) fn admit(self: &Arc<Self>, peer: IpAddr, limits: &Limits) -> Result<OpenConnection, Full> {
        let address = counted_as(peer);
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, by_address) = &mut *inside;
        if *all >= limits.connections {
            return Err(Full::All);
        }
        let here = by_address.entry(address).or_default();
        if *here >= limits.connections_per_address {
            return Err(Full::FromAddress);
        }
        *here += 1;
        *all += 1;
        Ok(OpenConnection { open: Arc::clone(self), address })
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        let mut inside = self.open.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.0 -= 1;
        if let Entry::Occupied(mut here) = inside.1.entry(self.address) {
            *here.get_mut() -= 1;
            if *here.get() == 0 {
                here.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_by_address_and_given_back() {
        let limits =
            |connections, connections_per_address| Limits { connections, connections_per_address, ..Limits::default() };
        let open = Arc::new(OpenConnections::default());
        let (a, b) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let first = open.admit(a, &limits(2, 1)).ok().unwrap();
        assert_eq!(open.admit(a, &limits(2, 1)).err(), Some(Full::FromAddress));
        let second = open.admit(b, &limits(2, 1)).ok().unwrap();
        assert_eq!(open.admit(b, &limits(2, 2)).err(), Some(Full::All));
        drop((first, second));
        let inside = open.inside.lock().unwrap();
        assert_eq!((inside.0, inside.1.len()), (0, 0));
    }
}
