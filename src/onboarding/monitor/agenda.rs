//! Chooses which domain is checked next. With slow name servers a check may take its whole time limit. So the number of running
//! checks is limited, with a lower limit for each customer, and the customer with the fewest running checks comes first. If one
//! customer has many slow domains, they delay each other but no other customer.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::Future;
use std::io;
use std::sync::Arc;

use tokio::task::{Id, JoinSet};

use crate::customers::Customer;
use crate::message::CustomerId;
use crate::onboarding::checker::Report;
use crate::smtp::Domain;

/// The most checks that run at the same time.
const AT_ONCE: usize = 16;
/// The most checks of one customer that run at the same time.
const OF_ONE_CUSTOMER: usize = 4;

/// A domain to check and its customer.
#[derive(Clone)]
pub struct Due {
    pub customer: Arc<Customer>,
    pub domain: Domain,
}

/// The domains that wait for a check, and the running checks.
#[derive(Default)]
pub struct Agenda {
    waiting: VecDeque<Due>,
    tasks: JoinSet<io::Result<Report>>,
    under_way: HashMap<Id, Due>,
}

impl Agenda {
    /// Replaces the waiting domains. A domain whose check is running is not added again.
    pub fn put(&mut self, due: impl Iterator<Item = Due>) {
        let under_way: HashSet<&Domain> = self.under_way.values().map(|due| &due.domain).collect();
        self.waiting = due.filter(|due| !under_way.contains(&due.domain)).collect();
    }

    /// Begins checks until the maximum number of checks runs.
    pub fn begin<C>(&mut self, check: impl Fn(Due) -> C)
    where
        C: Future<Output = io::Result<Report>> + Send + 'static,
    {
        while self.tasks.len() < AT_ONCE
            && let Some(due) = self.next()
        {
            let id = self.tasks.spawn(check(due.clone())).id();
            self.under_way.insert(id, due);
        }
    }

    fn next(&mut self) -> Option<Due> {
        let mut running: HashMap<&CustomerId, usize> = HashMap::new();
        self.under_way.values().for_each(|due| *running.entry(&due.customer.id).or_default() += 1);
        let of = |due: &Due| running.get(&due.customer.id).copied().unwrap_or_default();
        let (at, _) = self
            .waiting
            .iter()
            .enumerate()
            .map(|(at, due)| (at, of(due)))
            .filter(|(_, running)| *running < OF_ONE_CUSTOMER)
            .min_by_key(|(_, running)| *running)?;
        self.waiting.remove(at)
    }

    /// Waits for the next check to end and returns its domain and result, which is an error if the check panicked or could not be made. Waits for ever if no
    /// check is running.
    pub async fn done(&mut self) -> (Due, Result<Report, String>) {
        loop {
            let (id, checked) = match self.tasks.join_next_with_id().await {
                None => std::future::pending().await,
                Some(Ok((id, checked))) => (id, checked.map_err(|error| error.to_string())),
                Some(Err(error)) => (error.id(), Err(error.to_string())),
            };
            if let Some(due) = self.under_way.remove(&id) {
                return (due, checked);
            }
        }
    }

    /// Returns the number of domains that wait or are being checked.
    pub fn len(&self) -> usize {
        self.waiting.len() + self.under_way.len()
    }

    /// Returns true if no domain waits and no check is running.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::customers::SigningDomain;
    use crate::test_customers;
    use crate::time::Timestamp;

    fn due(customer: &str, count: usize) -> Vec<Due> {
        let domain = |at| Domain::parse(&format!("d{at}.{customer}.dk")).unwrap();
        let domains: Vec<Domain> = (0..count).map(domain).collect();
        let keyless = domains.iter().map(|domain| (domain.clone(), SigningDomain::Broken("none".to_owned())));
        let customer = Arc::new(test_customers::customer(customer, keyless, test_customers::mailjet()));
        domains.into_iter().map(|domain| Due { customer: Arc::clone(&customer), domain }).collect()
    }

    fn report(due: &Due) -> Report {
        let (customer, domain) = (due.customer.id.to_string(), due.domain.clone());
        Report { customer, domain, checked_at: Timestamp::EPOCH, checks: Vec::new() }
    }

    /// Checks of `slow`'s domains never end.
    fn begin(agenda: &mut Agenda) {
        agenda.begin(|due| async move {
            if due.customer.id.as_str() == "slow" {
                std::future::pending::<()>().await;
            }
            Ok(report(&due))
        });
    }

    #[tokio::test]
    async fn one_customers_slow_domains_wait_for_each_other_only() {
        let mut agenda = Agenda::default();
        let all = [due("slow", 200), due("a", 30), due("b", 1)].concat();
        agenda.put(all.into_iter());
        begin(&mut agenda);
        let slow = |agenda: &Agenda| agenda.under_way.values().filter(|d| d.customer.id.as_str() == "slow").count();
        for _ in 0..31 {
            assert!(agenda.under_way.len() <= AT_ONCE && slow(&agenda) <= OF_ONE_CUSTOMER);
            let (done, checked) = agenda.done().await;
            assert_eq!(checked.unwrap(), report(&done));
            begin(&mut agenda);
        }
        assert_eq!((agenda.len(), slow(&agenda)), (200, OF_ONE_CUSTOMER), "only these are left");
        agenda.put(due("slow", 200).into_iter());
        assert_eq!(agenda.len(), 200, "what is under way does not wait once more");
    }

    #[tokio::test]
    async fn the_customer_with_the_fewest_under_way_comes_first() {
        let mut agenda = Agenda::default();
        agenda.put([due("slow", 9), due("c", 2), due("d", 1)].concat().into_iter());
        let mut order = Vec::new();
        while let Some(due) = agenda.next() {
            order.push(due.customer.id.to_string());
            let id = agenda.tasks.spawn(std::future::pending()).id();
            agenda.under_way.insert(id, due);
        }
        assert_eq!(order, ["slow", "c", "d", "slow", "c", "slow", "slow"]);
    }

    #[tokio::test]
    async fn a_check_that_panics_is_told_with_its_domain() {
        let mut agenda = Agenda::default();
        agenda.put(due("a", 1).into_iter());
        agenda.begin(|_| async { panic!("a test's check") });
        let (due, checked) = agenda.done().await;
        assert_eq!(due.domain.as_str(), "d0.a.dk");
        let due = vec![due];
        assert!(checked.unwrap_err().contains("panicked"));
        assert!(agenda.is_empty());
        agenda.put(due.into_iter());
        agenda.begin(|_| async { Err(io::Error::other("its state cannot be read")) });
        assert_eq!(agenda.done().await.1, Err("its state cannot be read".to_owned()));
    }
}
