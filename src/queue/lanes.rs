//! Whose turn it is: lanes with due mail, fair between the customers of a route, single mail before bulk.
//!
//! Each route has two rings of lanes, one an urgency. A turn takes the front lane of the single ring, or of the bulk ring
//! where no single mail waits, and puts the lane back at the end. So a customer with a million newsletters delays another's
//! mail by one turn of each waiting customer, never by its own backlog. Every [`BULK_TURN`]th turn goes to bulk first, so
//! that bulk is delayed by single mail but never starved.

use std::collections::{HashSet, VecDeque};

use crate::message::Urgency;
use crate::spool::Lane;

const BULK_TURN: u32 = 16;

/// The lanes of one route that may hold due mail.
#[derive(Debug, Default)]
pub struct Lanes {
    single: Ring,
    bulk: Ring,
    turn: u32,
}

#[derive(Debug, Default)]
struct Ring {
    order: VecDeque<Lane>,
    members: HashSet<Lane>,
}

impl Lanes {
    /// Puts a lane with due mail in line; one that is in line already keeps its place.
    pub fn offer(&mut self, lane: Lane) {
        let ring = self.ring(lane.urgency);
        if ring.members.insert(lane.clone()) {
            ring.order.push_back(lane);
        }
    }

    /// The lane whose turn it is; it goes to the end of the line.
    pub fn take_turn(&mut self) -> Option<Lane> {
        self.turn = self.turn.wrapping_add(1);
        let bulk_first = self.turn.is_multiple_of(BULK_TURN);
        let (first, second) =
            if bulk_first { (&mut self.bulk, &mut self.single) } else { (&mut self.single, &mut self.bulk) };
        let ring = if first.order.is_empty() { second } else { first };
        let lane = ring.order.pop_front()?;
        ring.order.push_back(lane.clone());
        Some(lane)
    }

    /// Takes a lane out of line: nothing in it is due.
    pub fn exhausted(&mut self, lane: &Lane) {
        let ring = self.ring(lane.urgency);
        if !ring.members.remove(lane) {
            return;
        }
        // Nearly always the lane that has just had its turn; a search through thousands is the exception.
        if ring.order.back() == Some(lane) {
            ring.order.pop_back();
        } else {
            ring.order.retain(|other| other != lane);
        }
    }

    /// How many lanes are in line.
    pub fn len(&self) -> usize {
        self.single.order.len() + self.bulk.order.len()
    }

    /// Whether no lane is in line.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn ring(&mut self, urgency: Urgency) -> &mut Ring {
        match urgency {
            Urgency::Single => &mut self.single,
            Urgency::Bulk => &mut self.bulk,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::CustomerId;
    use crate::spool::Kind;

    fn lane(customer: &str, urgency: Urgency) -> Lane {
        Lane { customer: CustomerId::new(customer), urgency, kind: Kind::Mail }
    }

    #[test]
    fn customers_take_turns() {
        let mut lanes = Lanes::default();
        for name in ["a", "b", "c"] {
            lanes.offer(lane(name, Urgency::Bulk));
            lanes.offer(lane(name, Urgency::Bulk));
        }
        let order: Vec<_> = (0..6).map(|_| lanes.take_turn().unwrap().customer.to_string()).collect();
        assert_eq!(order, ["a", "b", "c", "a", "b", "c"]);
        lanes.exhausted(&lane("b", Urgency::Bulk));
        let order: Vec<_> = (0..4).map(|_| lanes.take_turn().unwrap().customer.to_string()).collect();
        assert_eq!(order, ["a", "c", "a", "c"]);
    }

    #[test]
    fn single_mail_goes_first_and_bulk_is_not_starved() {
        let mut lanes = Lanes::default();
        lanes.offer(lane("news", Urgency::Bulk));
        lanes.offer(lane("post", Urgency::Single));
        let bulk = (0..160).filter(|_| lanes.take_turn().unwrap().urgency == Urgency::Bulk).count();
        assert_eq!(bulk, 10);
        lanes.exhausted(&lane("post", Urgency::Single));
        assert_eq!(lanes.take_turn().unwrap().urgency, Urgency::Bulk);
        lanes.exhausted(&lane("news", Urgency::Bulk));
        assert!(lanes.take_turn().is_none());
    }
}
