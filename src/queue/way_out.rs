//! Where mail of a lane goes now. Workers, the sweep and what operators are shown ask here, so that all say the same.

use std::sync::Arc;

use crate::customers::{Customer, Directory, Standings};
use crate::message::{Lane, MailKind};
use crate::route::Route;

/// The way out of a lane, or for people why there is none: then its mail is kept. `bounces` is the route that bounces have of
/// their own, where they have one.
pub fn way_out(
    directory: &Directory,
    standings: &Standings,
    bounces: Option<&Arc<Route>>,
    lane: &Lane,
) -> Result<Arc<Route>, String> {
    let id = &lane.customer;
    let customer = directory.get(id).ok_or_else(|| format!("customer {id} is no longer configured"))?;
    if let Some(reason) = &customer.suspended {
        return Err(format!("customer {id} is suspended: {reason}"));
    }
    if lane.kind == MailKind::Bounce
        && let Some(route) = bounces
    {
        return Ok(Arc::clone(route));
    }
    let standing = standings.get(&lane.domain);
    directory.route(customer, standing).cloned().ok_or_else(|| no_tier(customer, lane))
}

fn no_tier(customer: &Customer, lane: &Lane) -> String {
    let (domain, id) = (&lane.domain, &customer.id);
    format!("no Mailjet tier takes mail from {domain} of customer {id}; see `postbud domain check {id}`")
}
