//! Decides whether a submitter may send a message for a customer, signed with that customer's key (RFC 6409 §6, VU#244112). Decides after
//! the header was read. Has no I/O and no clock.

use std::net::IpAddr;
use std::sync::Arc;

use super::Submitter;
use super::refusal::Refusal;
use crate::customers::public_mailboxes::is_public_mailbox;
use crate::customers::{
    BulkPolicy, Customer, NoRoute, Requirement, RoutingView, SigningDomain, TestMode, VerificationStatus, Via,
};
use crate::dkim::Signer;
use crate::events::Submission;
use crate::message::{Header, HeaderError, MailKind, Urgency};
use crate::route::{Route, RouteKind};
use crate::smtp::{Domain, EnhancedCode, Mailbox, ReversePath};

/// Who sends: a submitter, or a network that needs no login.
#[derive(Clone, Debug)]
pub(crate) enum Identity {
    /// A submitter who logged in.
    Submitter(Arc<Submitter>),
    /// A client whose address may connect to a listener without logins. It may send for every customer.
    Network,
}

impl Identity {
    /// Returns how events name the client that submits from this address.
    pub(super) fn submission(&self, peer: IpAddr) -> Submission<'_> {
        let submitter = match self {
            Identity::Submitter(submitter) => Some(submitter.username.as_str().into()),
            Identity::Network => None,
        };
        Submission { submitter, peer: Some(peer), test: self.test_mode().is_some() }
    }

    /// Returns the test mode of this login, if it has one.
    pub(super) fn test_mode(&self) -> Option<&TestMode> {
        match self {
            Identity::Submitter(submitter) => submitter.test.as_ref(),
            Identity::Network => None,
        }
    }

    fn may_send_for(&self, customer: &Customer) -> bool {
        match self {
            Identity::Submitter(submitter) => submitter.customers.includes(&customer.id),
            Identity::Network => true,
        }
    }

    /// Returns the urgency of mail that does not say its own.
    fn default_urgency(&self) -> Urgency {
        match self {
            Identity::Submitter(submitter) => submitter.urgency.unwrap_or(Urgency::Single),
            Identity::Network => Urgency::Single,
        }
    }
}

/// RFC 3463 §3.8: delivery not authorized.
const NOT_AUTHORIZED: EnhancedCode = EnhancedCode(5, 7, 1);

/// The decision about a message that may be sent.
pub(super) struct Decision {
    pub(super) customer: Arc<Customer>,
    pub(super) from_domain: Domain,
    pub(super) signer: Arc<Signer>,
    pub(super) urgency: Urgency,
    /// The route that the message would use now. It may use another one when it leaves.
    pub(super) route: Arc<Route>,
    /// A warning for the operator.
    pub(super) warning: Option<String>,
}

/// Decides whether a message may be sent, and by which customer.
pub(super) fn decide(
    routing: &RoutingView<'_>,
    bulk_requires: &[Requirement],
    identity: &Identity,
    reverse_path: &ReversePath,
    header: &Header,
) -> Result<Decision, Refusal> {
    let refuse = |reason, text: String| Refusal::new(550, NOT_AUTHORIZED, reason, text);
    let from_domain = header.from.domain().ok_or_else(|| {
        refuse("from_domain", "From is an address literal; a customer's domain is needed there".to_owned())
    })?;
    let customer = routing.directory().by_domain(from_domain).ok_or_else(|| {
        refuse(
            "from_domain",
            format!(
                "From domain \"{from_domain}\" is not configured for any customer; see \"domains\" in the customers' files"
            ),
        )
    })?;
    if !identity.may_send_for(customer) {
        return Err(refuse("submitter", format!("this login may not send for From domain \"{from_domain}\"")));
    }
    if customer.suspended.is_some() {
        let text = format!("mail of customer \"{}\" is suspended by the operator", customer.id);
        return Err(Refusal::new(450, EnhancedCode(4, 7, 1), "suspended", text));
    }
    check_senders(customer, header)?;
    check_shown(customer, header)?;
    check_reverse_path(customer, reverse_path)?;
    let signer = match customer.domains.get(from_domain) {
        Some(SigningDomain::Ready(signer)) => Arc::clone(signer),
        Some(SigningDomain::Broken(why)) => return Err(unsigned(from_domain, why)),
        None => return Err(unsigned(from_domain, "no key is configured")),
    };
    let status = routing.status(from_domain);
    let is_bulk = header.bulk || identity.default_urgency() == Urgency::Bulk;
    let warning = if is_bulk {
        let domain = check_bulk(customer, from_domain, status, bulk_requires)?;
        [domain, check_one_click(customer, header)?]
            .into_iter()
            .flatten()
            .reduce(|one, other| format!("{one}; {other}"))
    } else {
        None
    };
    let route = present_route(routing, customer, from_domain, status)?;
    let urgency = header.priority.unwrap_or(if is_bulk { Urgency::Bulk } else { Urgency::Single });
    Ok(Decision { customer: Arc::clone(customer), from_domain: from_domain.clone(), signer, urgency, route, warning })
}

/// Returns the most octets that mail with this reverse path can have, as far as the reverse path tells. From decides the route, and From
/// may be in any domain of the customer ([`check_reverse_path`]).
pub(super) fn accepts_up_to(routing: &RoutingView<'_>, reverse_path: &ReversePath) -> u64 {
    let Some(domain) = reverse_path.mailbox().and_then(|mailbox| mailbox.domain()) else { return u64::MAX };
    if routing.directory().is_bounce_domain(domain) {
        return u64::MAX;
    }
    let of = |customer: &Customer| {
        let route = |from| routing.route_of(customer, from, MailKind::Mail).ok().map(|route| route.accepts_up_to());
        customer.domains.keys().filter_map(route).max()
    };
    // Without any route, the message is refused for another reason after From is known.
    routing.directory().by_domain(domain).and_then(|customer| of(customer)).unwrap_or(u64::MAX)
}

/// Makes the refusal of a message that cannot be signed. It waits in webCRM, because nothing leaves unsigned.
pub(super) fn unsigned(from_domain: &Domain, why: &str) -> Refusal {
    let text = format!("the DKIM key of \"{from_domain}\" cannot be used at the moment; the operator is told");
    Refusal {
        cause: Some(why.to_owned()),
        alert: Some(Box::new((
            from_domain.clone(),
            format!("mail of {from_domain} is deferred, for it cannot be signed: {why}"),
        ))),
        ..Refusal::new(451, EnhancedCode(4, 7, 5), "key", text)
    }
}

/// Makes the refusal of a header.
pub(super) fn bad_header(why: &HeaderError) -> Refusal {
    match why {
        // RFC 3463 §3.5: routing loop detected.
        HeaderError::Loop(_) => Refusal::new(554, EnhancedCode(5, 4, 6), "loop", why.to_string()),
        HeaderError::Reference { .. } => Refusal::new(550, EnhancedCode(5, 6, 0), "references", why.to_string()),
        _ => Refusal::new(550, EnhancedCode(5, 6, 0), "header", why.to_string()),
    }
}

fn owns(customer: &Customer, mailbox: &Mailbox) -> bool {
    mailbox.domain().is_some_and(|domain| customer.domains.contains_key(domain))
}

/// Returns true if a name is a domain of the customer, or lies in one. Looks the name and those above it up, because a header may show many
/// names, and a customer may have many domains.
fn is_within_own(customer: &Customer, text: &str) -> bool {
    let Ok(domain) = Domain::parse(text) else { return false };
    let mut names = std::iter::successors(Some(domain.as_str()), |name| name.split_once('.').map(|(_, above)| above));
    names.any(|name| Domain::parse(name).is_ok_and(|name| customer.domains.contains_key(&name)))
}

/// Refuses a message that would show readers another customer's domain as its sender.
fn check_shown(customer: &Customer, header: &Header) -> Result<(), Refusal> {
    match header.shown.iter().find(|(_, text)| !is_within_own(customer, text)) {
        None => Ok(()),
        Some((field, text)) => {
            let text = format!(
                "{field} shows \"@{text}\" beside its address, which is not in a domain of customer \"{}\": leave it out of the \
                 name, and put where answers should go into Reply-To",
                customer.id
            );
            Err(Refusal::new(550, NOT_AUTHORIZED, "display", text))
        }
    }
}

/// Refuses a message if a field besides From names a sender in somebody else's domain.
fn check_senders(customer: &Customer, header: &Header) -> Result<(), Refusal> {
    let named = header.sender.iter().map(|sender| ("Sender", sender));
    let mut senders = named.chain(header.also_from.iter().map(|(field, address)| (*field, address)));
    match senders.find(|(_, address)| !owns(customer, address)) {
        None => Ok(()),
        Some((field, address)) => {
            let text = format!(
                "{field} {address} is not in a domain of customer \"{}\", whose From domain it is",
                customer.id
            );
            Err(Refusal::new(550, NOT_AUTHORIZED, "sender", text))
        }
    }
}

/// Returns the route that mail of this domain would use now. Refuses the message if no tier would take it.
fn present_route(
    routing: &RoutingView<'_>,
    customer: &Customer,
    from_domain: &Domain,
    status: VerificationStatus,
) -> Result<Arc<Route>, Refusal> {
    let taken = match routing.route_of(customer, from_domain, MailKind::Mail) {
        Ok(route) => Some(route),
        // The mail waits in the queue until Mailjet's account accepts the domain.
        Err(NoRoute::NotAccepted { tier, .. }) => routing.directory().tiers().get(&tier).map(|tier| &tier.route),
        Err(_) => None,
    };
    taken.cloned().ok_or_else(|| {
        let least = routing.directory().tiers().values().min_by_key(|tier| tier.requires.len());
        let missing = least.and_then(|tier| status.missing(&tier.requires));
        let step = missing.map_or_else(|| "a route".to_owned(), |step| format!("its {step} step verified"));
        let text = format!("no Mailjet tier takes mail of \"{from_domain}\" before it has {step}");
        Refusal::new(550, NOT_AUTHORIZED, "no_tier", text)
    })
}

fn check_reverse_path(customer: &Customer, reverse_path: &ReversePath) -> Result<(), Refusal> {
    let text = match reverse_path {
        ReversePath::Mailbox(mailbox) => {
            let bounces_there = mailbox.domain().is_some_and(|domain| customer.bounce_domains.contains(domain));
            if bounces_there || owns(customer, mailbox) {
                return Ok(());
            }
            format!(
                "MAIL FROM {mailbox} is in no domain and no bounce domain of customer \"{}\", whose From domain it is",
                customer.id
            )
        }
        // Mailjet does not accept the null reverse path.
        ReversePath::Null if matches!(&customer.via, Via::OwnServer(route) if route.kind == RouteKind::OwnServer) => {
            return Ok(());
        }
        ReversePath::Null => "MAIL FROM:<> is taken only where the route is the customer's own server".to_owned(),
    };
    Err(Refusal::new(550, NOT_AUTHORIZED, "mail_from", text))
}

/// Checks that bulk mail comes from a domain of the customer that receivers can verify. A missing requirement is a refusal or a warning, as
/// the customer's file says.
fn check_bulk(
    customer: &Customer,
    from_domain: &Domain,
    status: VerificationStatus,
    requires: &[Requirement],
) -> Result<Option<String>, Refusal> {
    if is_public_mailbox(from_domain) {
        let text =
            format!("\"{from_domain}\" is a public mailbox service; bulk mail needs the customer's own From domain");
        return Err(Refusal::new(550, NOT_AUTHORIZED, "public_mailbox", text));
    }
    // A customer's own server is the alternative to setting up the domain for Mailjet, so no requirement is checked.
    if matches!(customer.via, Via::OwnServer(_)) {
        return Ok(None);
    }
    let Some(step) = status.missing(requires) else { return Ok(None) };
    let text = format!("bulk mail from \"{from_domain}\" needs its {step} step, which is not verified");
    match customer.bulk {
        BulkPolicy::Refuse => Err(Refusal::new(550, NOT_AUTHORIZED, "bulk", text)),
        BulkPolicy::Warn => Ok(Some(text)),
    }
}

/// Checks for one-click unsubscription (RFC 8058), with which a mail program can unsubscribe its user.
fn check_one_click(customer: &Customer, header: &Header) -> Result<Option<String>, Refusal> {
    let (Some(policy), Some(lacks)) = (customer.one_click, header.unsubscribe.lacks()) else { return Ok(None) };
    let text = format!("bulk mail needs one-click unsubscription (RFC 8058), and this lacks {lacks}");
    match policy {
        BulkPolicy::Refuse => Err(Refusal::new(550, NOT_AUTHORIZED, "one_click", text)),
        BulkPolicy::Warn => Ok(Some(text)),
    }
}

#[cfg(test)]
mod tests;
