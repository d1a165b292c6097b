//! Decides which lane has the next turn on a route: customers alternate, and single mail goes before bulk mail.
//!
//! Each route has one ring of customers for single mail and one for bulk mail. A turn takes the front customer of the single ring, or of
//! the bulk ring if no single mail waits, and puts it back at the end. So a customer with a million newsletters delays another customer's
//! mail by one turn, and not by its whole backlog. A customer with many domains gets no more turns than one with a single domain, because
//! its lanes share its turns. Every `BULK_TURN`th turn goes to bulk mail first, so that single mail delays bulk mail but never stops it.

use std::collections::{HashMap, VecDeque};

use crate::message::{CustomerId, Lane, Urgency};

const BULK_TURN: u32 = 16;

/// The lanes of one route that may have due mail.
#[derive(Debug, Default)]
pub struct Lanes {
    single: Ring,
    bulk: Ring,
    turn: u32,
}

/// A ring of customers, and in it a ring of lanes for each customer.
#[derive(Debug, Default)]
struct Ring {
    order: VecDeque<CustomerId>,
    lanes: HashMap<CustomerId, VecDeque<Lane>>,
    count: usize,
}

impl Lanes {
    /// Puts a lane with due mail in line. A lane that is already in line keeps its place.
    pub fn offer(&mut self, lane: Lane) {
        self.ring(lane.urgency).offer(lane);
    }

    /// Returns the lane that has its turn, and moves it to the end of the line.
    pub fn take_turn(&mut self) -> Option<Lane> {
        self.turn = self.turn.wrapping_add(1);
        let bulk_first = self.turn.is_multiple_of(BULK_TURN);
        let (first, second) =
            if bulk_first { (&mut self.bulk, &mut self.single) } else { (&mut self.single, &mut self.bulk) };
        first.take_turn().or_else(|| second.take_turn())
    }

    /// Takes a lane out of line, because none of its mail is due.
    pub fn exhausted(&mut self, lane: &Lane) {
        self.ring(lane.urgency).remove(lane);
    }

    /// The number of lanes in line.
    pub fn len(&self) -> usize {
        self.single.count + self.bulk.count
    }

    /// Returns true if no lane is in line.
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

impl Ring {
    fn offer(&mut self, lane: Lane) {
        let own = match self.lanes.get_mut(&lane.customer) {
            Some(own) => own,
            None => {
                self.order.push_back(lane.customer.clone());
                self.lanes.entry(lane.customer.clone()).or_default()
            }
        };
        if !own.contains(&lane) {
            own.push_back(lane);
            self.count += 1;
        }
    }

    fn take_turn(&mut self) -> Option<Lane> {
        let customer = self.order.pop_front()?;
        let own = self.lanes.get_mut(&customer)?;
        self.order.push_back(customer);
        let lane = own.pop_front()?;
        own.push_back(lane.clone());
        Some(lane)
    }

    fn remove(&mut self, lane: &Lane) {
        let Some(own) = self.lanes.get_mut(&lane.customer) else { return };
        let before = own.len();
        own.retain(|other| other != lane);
        self.count -= before - own.len();
        if !own.is_empty() {
            return;
        }
        self.lanes.remove(&lane.customer);
        // The customer has just had its turn, so it is near the end.
        if let Some(at) = self.order.iter().rposition(|other| *other == lane.customer) {
            self.order.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::MailKind;
    use crate::smtp::Domain;

    fn lane(customer: &str, urgency: Urgency) -> Lane {
        lane_of(customer, "test.dk", urgency)
    }

    fn lane_of(customer: &str, domain: &str, urgency: Urgency) -> Lane {
        let domain = Domain::parse(domain).unwrap();
        Lane { customer: CustomerId::new(customer), domain, urgency, kind: MailKind::Mail }
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

    #[test]
    fn a_customer_with_many_domains_gets_no_more_turns_than_one_with_a_single_one() {
        let mut lanes = Lanes::default();
        for n in 0..5 {
            lanes.offer(lane_of("many", &format!("d{n}.dk"), Urgency::Bulk));
        }
        lanes.offer(lane("one", Urgency::Bulk));
        assert_eq!(lanes.len(), 6);
        let turns: Vec<Lane> = (0..10).map(|_| lanes.take_turn().unwrap()).collect();
        assert_eq!(turns.iter().filter(|lane| lane.customer.as_str() == "one").count(), 5);
        for n in 0..5 {
            let lane = lane_of("many", &format!("d{n}.dk"), Urgency::Bulk);
            assert!(turns.contains(&lane), "each of its domains has its turn");
            lanes.exhausted(&lane);
        }
        assert_eq!(lanes.len(), 1);
        assert_eq!(lanes.take_turn().unwrap().customer.as_str(), "one");
    }
}
