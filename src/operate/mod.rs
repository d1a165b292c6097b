//! The operator's socket: commands for the running relay.
//!
//! A Unix socket in the state folder, mode 0600: the user that runs the relay and root may command it. One JSON object a line
//! ([`protocol`]); one request a connection, answered by any number of `item` lines and one `done` or `error` line. Long lists
//! are paged out of the spool and written at the reader's pace, so that a million messages are never in memory.
//!
//! Every change is an event. Holding (`held`), releasing and trying again (`operator`) give one event for the whole selection,
//! with the count, because a filter may mean a million messages; it has the queue id where one message was named. Removing
//! (`operator`) and bouncing (`bounced`) give one a recipient. A message that is being delivered at that moment is left alone,
//! counted and reported: what its attempt brings is the truth.
//!
//! The spool keeps each recipient's last reply; the attempts before it, for `show`, are looked up in the event log by queue id,
//! as far back as that is kept.

mod queue;
pub mod socket;

use std::future::Future;
use std::sync::Arc;

use crate::customers::Routing;
use crate::events::{Event, EventKind, Events};
use crate::queue::Outcomes;
use crate::route::{RouteControl, RouteId};
use crate::spool::{self, Spool};
use crate::time::Timestamp;
use socket::protocol::{Command, Done, Refusal};

/// What commands act on.
#[derive(Clone)]
pub struct Relay {
    /// The queue's records.
    pub spool: Arc<dyn Spool>,
    /// The routes.
    pub routes: Arc<dyn RouteControl>,
    /// Where mail goes.
    pub routing: Routing,
    /// Told what an operator did; and the log that remembers every attempt.
    pub events: Events,
    /// Applies what an operator decides.
    pub outcomes: Outcomes,
}

/// Where items and progress go. An error means that nobody reads any more.
pub(crate) trait Output: Send {
    /// Writes one.
    fn item(&mut self, item: &(impl serde::Serialize + Sync)) -> impl Future<Output = std::io::Result<()>> + Send;

    /// Tells what was done so far.
    fn progress(&mut self, done: &Done) -> impl Future<Output = std::io::Result<()>> + Send;
}

impl Relay {
    /// Carries a command out. `by` names the operator in events. The outer error is the reader's absence.
    pub(crate) async fn perform(
        &self,
        command: Command,
        by: &str,
        out: &mut impl Output,
    ) -> std::io::Result<Result<Done, Refusal>> {
        Ok(match command {
            Command::List { which, limit } => return self.list(&which, limit, out).await,
            Command::Show { id } => return self.show(&id, out).await,
            Command::Stats => {
                match self.stats(Timestamp::now()).await {
                    Ok(stats) => out.item(&stats).await?,
                    Err(error) => return Ok(Err(error.into())),
                }
                Ok(Done { count: 1, ..Done::default() })
            }
            Command::Routes => {
                let routes = self.route_items();
                for route in &routes {
                    out.item(route).await?;
                }
                Ok(Done { count: routes.len() as u64, ..Done::default() })
            }
            Command::Signers { customer } => {
                let signers = self.signers(&customer);
                for signer in &signers {
                    out.item(signer).await?;
                }
                Ok(Done { count: signers.len() as u64, ..Done::default() })
            }
            Command::Hold { which, reason } => return self.hold(&which, &reason, by, out).await,
            Command::Release { which } => return self.release(&which, by, out).await,
            Command::Retry { which } => return self.retry(&which, by, out).await,
            Command::Bounce { which, reason } => return self.bounce(&which, &reason, by, out).await,
            Command::Remove { which, reason } => return self.remove(&which, &reason, by, out).await,
            Command::SuspendRoute { route, reason } => {
                let id = RouteId::new(&route);
                let switched = self.routes.suspend(&id, &reason).await;
                self.switched(switched, &route, &format!("suspended by an operator ({by}): {reason}"))
            }
            Command::ResumeRoute { route } => {
                let switched = self.routes.resume(&RouteId::new(&route)).await;
                self.switched(switched, &route, &format!("resumed by an operator ({by})"))
            }
        })
    }

    fn switched(&self, switched: std::io::Result<bool>, route: &str, detail: &str) -> Result<Done, Refusal> {
        let known = switched.map_err(|error| Refusal {
            message: format!("route {route} was switched, but that cannot be saved: {error}"),
            remedy: "a restart of the relay would forget it: make room in its state folder, then say it again".into(),
        })?;
        if !known {
            let routes: Vec<String> = self.routes.list().into_iter().map(|route| route.id.to_string()).collect();
            return Err(Refusal {
                message: format!("there is no route \"{route}\""),
                remedy: format!("the routes are: {}", routes.join(", ")),
            });
        }
        let event = Event::new(EventKind::Operator, Timestamp::now());
        self.events.emit(Event { route: Some(route.to_owned()), detail: Some(detail.to_owned()), ..event });
        Ok(Done { count: 1, ..Done::default() })
    }
}

impl From<spool::Error> for Refusal {
    fn from(error: spool::Error) -> Self {
        let remedy = match &error {
            spool::Error::Unknown(_) => "it may have been delivered meanwhile: look for its id in the event log",
            spool::Error::Full { .. } => "make room on the spool's disk",
            spool::Error::Corrupt { .. } => "the record is kept in the spool's quarantine folder for inspection",
            spool::Error::Stopped(_) => "the relay is stopping: try again once it runs",
            _ => "see the relay's log",
        };
        Refusal { message: error.to_string(), remedy: remedy.into() }
    }
}
