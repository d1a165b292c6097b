//! Shows customers: what their files say, without a secret.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Customers;
use super::store::Version;
use crate::customers::{BulkPolicy, Contact, Customer, SigningDomain, Via};
use crate::message::CustomerId;
use crate::operate::actor::Need;
use crate::operate::queue::Page;
use crate::operate::site::ReadCustomer;
use crate::operate::{Actor, Configured, Error, Service};
use crate::route::TlsMode;

/// A customer in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CustomerSummary {
    /// Its id.
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// Its From domains.
    pub domains: Vec<String>,
    /// Which way its mail goes.
    pub via: ViaName,
    /// Why it is out of service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended: Option<String>,
}

/// A customer, as its file has it now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CustomerView {
    /// Its id.
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// Its From domains, and what signs for each.
    pub domains: Vec<CustomerDomain>,
    /// Domains that MAIL FROM may use besides.
    pub bounce_domains: Vec<String>,
    /// Why it is out of service; `null` where it is not.
    pub suspended: Option<String>,
    /// What happens to bulk mail of a domain that lacks what bulk needs.
    pub bulk: BulkName,
    /// What senders hear of failures.
    pub bounces: FailureName,
    /// Who hears by mail once a domain has everything, and when something of it has vanished.
    #[serde(default)]
    pub contacts: Vec<ContactEntry>,
    /// Where its mail goes.
    pub route: RouteView,
    /// What Mailjet's console shows, by domain.
    pub mailjet: BTreeMap<String, MailjetView>,
    /// What should be put right.
    pub remarks: Vec<String>,
}

/// Somebody at the customer who hears of its domains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContactEntry {
    /// The address.
    pub address: String,
    /// The name, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The language of letters, `da` or `en`; absent: the installation's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

/// A From domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CustomerDomain {
    /// The domain.
    pub domain: String,
    /// The selectors that sign for it.
    pub selectors: Vec<String>,
    /// Why its key cannot be used; `null` where it can. Mail of such a domain waits at the sender.
    pub broken: Option<String>,
}

/// Where a customer's mail goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RouteView {
    /// Which way.
    pub via: ViaName,
    /// Mailjet: the fixed tier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// Mailjet: whether opened mail is tracked; absent where Mailjet's account decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track_opens: Option<bool>,
    /// Mailjet: whether clicks are tracked; absent where Mailjet's account decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track_clicks: Option<bool>,
    /// Own server: its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Own server: its port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Own server: its TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsName>,
    /// Own server: the user's name. The password never comes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
}

/// What Mailjet's console shows for a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MailjetView {
    /// The ownership token.
    pub ownership: Option<String>,
    /// The value of the key record.
    pub dkim: Option<String>,
}

/// Which way mail goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ViaName {
    /// Through Mailjet.
    Mailjet,
    /// Through the customer's own server.
    OwnServer,
}

/// What happens to bulk mail of a domain that lacks what bulk needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BulkName {
    /// It is refused.
    Refuse,
    /// It is taken, with an event.
    Warn,
}

/// What senders hear of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FailureName {
    /// Nothing: an event tells of it.
    Event,
    /// A mail besides.
    Mail,
}

/// How a connection to a customer's own server is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TlsName {
    /// Never.
    Off,
    /// STARTTLS where offered; certificates are not checked.
    Opportunistic,
    /// STARTTLS with a verified certificate.
    Required,
    /// TLS from the first octet.
    Implicit,
}

impl ViaName {
    /// As files write it.
    pub fn as_str(self) -> &'static str {
        match self {
            ViaName::Mailjet => "mailjet",
            ViaName::OwnServer => "own-server",
        }
    }

    fn of(via: &Via) -> Self {
        match via {
            Via::Mailjet { .. } => ViaName::Mailjet,
            Via::OwnServer(_) => ViaName::OwnServer,
        }
    }
}

impl BulkName {
    /// As files write it.
    pub fn as_str(self) -> &'static str {
        match self {
            BulkName::Refuse => "refuse",
            BulkName::Warn => "warn",
        }
    }
}

impl FailureName {
    /// As files write it.
    pub fn as_str(self) -> &'static str {
        match self {
            FailureName::Event => "event",
            FailureName::Mail => "mail",
        }
    }
}

impl TlsName {
    /// As files write it.
    pub fn as_str(self) -> &'static str {
        TlsMode::from(self).as_str()
    }
}

impl From<TlsName> for TlsMode {
    fn from(name: TlsName) -> Self {
        match name {
            TlsName::Off => TlsMode::Off,
            TlsName::Opportunistic => TlsMode::Opportunistic,
            TlsName::Required => TlsMode::Required,
            TlsName::Implicit => TlsMode::Implicit,
        }
    }
}

impl From<TlsMode> for TlsName {
    fn from(mode: TlsMode) -> Self {
        match mode {
            TlsMode::Off => TlsName::Off,
            TlsMode::Opportunistic => TlsName::Opportunistic,
            TlsMode::Required => TlsName::Required,
            TlsMode::Implicit => TlsName::Implicit,
        }
    }
}

impl Customers<'_> {
    /// Customers in the order of their ids, behind the one named `after`: those that the actor may see, and that have `domain` where one
    /// is given.
    pub fn list(
        &self,
        actor: &Actor,
        domain: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<CustomerSummary>, Error> {
        let fits = |customer: &Customer| {
            let has = |domain: &str| customer.domains.keys().any(|known| known.as_str().eq_ignore_ascii_case(domain));
            actor.may_see(&customer.id) && domain.is_none_or(has)
        };
        let all = self.configured.directory.customers().map(|customer| &**customer);
        let mut found = all.filter(|it| after.is_none_or(|after| it.id.as_str() > after)).filter(|it| fits(it));
        let items: Vec<CustomerSummary> = found.by_ref().take(limit).map(CustomerSummary::from).collect();
        let next = found.next().and(items.last().map(|last| last.id.clone()));
        Ok(Page { items, next })
    }

    /// A customer as its file has it now, and which version of the file that is.
    pub fn show(&self, actor: &Actor, id: &str) -> Result<(CustomerView, Version), Error> {
        let (id, text) = self.configured.existing_customer(actor, id)?;
        Ok((self.configured.view(&id, &text)?, Version::of(&text)))
    }
}

impl Service {
    /// Customers whose id, name or domains have `text` in them, in the order of their ids, behind the one named `after`.
    pub fn find_customers(
        &self,
        actor: &Actor,
        text: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<CustomerSummary>, Error> {
        actor.may(Need::Read)?;
        let text = text.to_lowercase();
        let has = |place: &str| place.to_lowercase().contains(&text);
        let fits = |customer: &Customer| {
            let has_domain = || customer.domains.keys().any(|domain| domain.as_str().contains(&text));
            has(customer.id.as_str()) || has(&customer.name) || has_domain()
        };
        let directory = self.routing.directory();
        let all = directory.customers().map(|customer| &**customer);
        let mut found = all.filter(|it| after.is_none_or(|after| it.id.as_str() > after)).filter(|it| fits(it));
        let items: Vec<CustomerSummary> = found.by_ref().take(limit).map(CustomerSummary::from).collect();
        let next = found.next().and(items.last().map(|last| last.id.clone()));
        Ok(Page { items, next })
    }
}

impl Configured {
    /// What a text says as the file of a customer.
    pub(super) fn view(&self, id: &CustomerId, text: &str) -> Result<CustomerView, Error> {
        Ok(self.customer_files.read(id, text, &self.directory)?.into())
    }
}

impl From<&Customer> for CustomerSummary {
    fn from(customer: &Customer) -> Self {
        CustomerSummary {
            id: customer.id.to_string(),
            name: customer.name.clone(),
            domains: customer.domains.keys().map(ToString::to_string).collect(),
            via: ViaName::of(&customer.via),
            suspended: customer.suspended.clone(),
        }
    }
}

impl From<&Contact> for ContactEntry {
    fn from(contact: &Contact) -> Self {
        ContactEntry {
            address: contact.address.to_string(),
            name: contact.name.clone(),
            language: contact.language.map(|language| language.as_str().to_owned()),
        }
    }
}

impl From<ReadCustomer> for CustomerView {
    fn from(ReadCustomer { customer, mailjet, remarks }: ReadCustomer) -> Self {
        let domains = customer.domains.iter().map(|(domain, signing)| {
            let (selectors, broken) = match signing {
                SigningDomain::Ready(signer) => {
                    (signer.profiles_of(domain).map(|profile| profile.selector.to_string()).collect(), None)
                }
                SigningDomain::Broken(why) => (Vec::new(), Some(why.clone())),
            };
            CustomerDomain { domain: domain.to_string(), selectors, broken }
        });
        let via = ViaName::of(&customer.via);
        let nothing = RouteView {
            via,
            tier: None,
            track_opens: None,
            track_clicks: None,
            host: None,
            port: None,
            tls: None,
            username: None,
        };
        let route = match &customer.via {
            Via::Mailjet { tier } => RouteView {
                tier: tier.clone(),
                track_opens: customer.track_opens,
                track_clicks: customer.track_clicks,
                ..nothing
            },
            Via::OwnServer(route) => RouteView {
                host: Some(route.host.clone()),
                port: Some(route.port),
                tls: Some(route.tls.mode.into()),
                username: route.login.as_ref().map(|login| login.username.clone()),
                ..nothing
            },
        };
        CustomerView {
            id: customer.id.to_string(),
            name: customer.name.clone(),
            domains: domains.collect(),
            bounce_domains: customer.bounce_domains.iter().map(ToString::to_string).collect(),
            suspended: customer.suspended.clone(),
            bulk: match customer.bulk {
                BulkPolicy::Refuse => BulkName::Refuse,
                BulkPolicy::Warn => BulkName::Warn,
            },
            bounces: if customer.bounce_mail { FailureName::Mail } else { FailureName::Event },
            contacts: customer.contacts.iter().map(ContactEntry::from).collect(),
            route,
            mailjet: mailjet
                .into_iter()
                .map(|(domain, it)| (domain.to_string(), MailjetView { ownership: it.ownership, dkim: it.dkim }))
                .collect(),
            remarks,
        }
    }
}
