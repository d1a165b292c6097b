//! Shows customers: the content of their files, without secrets.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Customers;
use super::store::Version;
use crate::customers::{BulkPolicy, Contact, Customer, Pause, SigningDomain, Via};
use crate::message::CustomerId;
use crate::onboarding::text::Lang;
use crate::operate::actor::Need;
use crate::operate::queue::Page;
use crate::operate::site::ReadCustomer;
use crate::operate::stuck::StuckCustomer;
use crate::operate::{Actor, Configured, Error, Service};
use crate::route::{Caps, TlsMode};

/// A customer in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CustomerSummary {
    /// The customer's id.
    pub id: String,
    /// The customer's name, for people.
    pub name: String,
    /// The customer's From domains.
    pub domains: Vec<String>,
    /// The kind of route.
    pub via: ViaName,
    /// The reason for the suspension, if the customer is suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended: Option<String>,
    /// Why its mail, or a part of it, stands still: it is paused, it has no route, or its route is suspended or carries no mail. Absent if
    /// its mail leaves, for an actor with the role `customer`, and where no running relay was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stuck: Option<String>,
}

/// A customer, as its file describes it now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CustomerView {
    /// The customer's id.
    pub id: String,
    /// The customer's name, for people.
    pub name: String,
    /// The customer's From domains, and the selectors of each.
    pub domains: Vec<CustomerDomain>,
    /// Further domains that MAIL FROM may use.
    pub bounce_domains: Vec<String>,
    /// The reason for the suspension; `null` if the customer is not suspended.
    pub suspended: Option<String>,
    /// The pause of the customer's mail in the queue; absent if it is not paused, and where only its file is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<PauseView>,
    /// Why its mail, or a part of it, stands still: it is paused, it has no route, or its route is suspended or carries no mail. Absent if
    /// its mail leaves, for an actor with the role `customer`, and in the answer to a change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stuck: Option<String>,
    /// The treatment of bulk mail from a domain that does not meet the requirements for bulk mail.
    pub bulk: BulkName,
    /// How senders are informed of failures.
    pub bounces: FailureName,
    /// The contacts that get mail when a domain is complete, and when a record of it has vanished.
    #[serde(default)]
    pub contacts: Vec<ContactEntry>,
    /// Whether it is in test mode: its mail is checked, signed and recorded, and does not leave.
    #[serde(default)]
    pub test: bool,
    /// The recipients that mail in test mode really goes to: `anna@webcrm.com`, `*@qa.webcrm.com`.
    #[serde(default)]
    pub test_allow: Vec<String>,
    /// The address that other mail in test mode goes to instead of its recipients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_redirect: Option<String>,
    /// The route of the customer's mail.
    pub route: RouteView,
    /// The values in Mailjet's console, by domain.
    pub mailjet: BTreeMap<String, MailjetView>,
    /// Remarks on what should be corrected.
    pub remarks: Vec<String>,
}

/// The pause of a customer's mail in the queue. New mail is accepted, and waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PauseView {
    /// The cause: `operator`, `cap`, `leap`, `bounces` or `complaints`.
    pub cause: String,
    /// What was noticed, or the operator's reason.
    pub reason: String,
    /// When it began, RFC 3339.
    pub since: String,
    /// When it ends by itself, RFC 3339; absent if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// True if single mail is still sent.
    pub spares_single: bool,
}

/// A contact at the customer, who gets mail about its domains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContactEntry {
    /// The contact's mail address.
    pub address: String,
    /// The name, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The language of letters, `da` or `en`; absent for the installation's language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

/// A From domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CustomerDomain {
    /// The domain of the customer's addresses.
    pub domain: String,
    /// The selectors of the keys that sign for it.
    pub selectors: Vec<String>,
    /// Why its key cannot be used; `null` if it can. Mail from a domain with a broken key is refused temporarily.
    pub broken: Option<String>,
}

/// The route of a customer's mail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RouteView {
    /// The kind of route.
    pub via: ViaName,
    /// Mailjet: the fixed tier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// Mailjet: true if opened mail is tracked; absent if Mailjet's account decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track_opens: Option<bool>,
    /// Mailjet: true if clicks are tracked; absent if Mailjet's account decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track_clicks: Option<bool>,
    /// Own server: its host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Own server: its port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Own server: its TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsName>,
    /// Own server: the user name. The password is never shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Mailjet: true if the customer has an API key of its own. Its mail uses that account once the account accepts the From domain.
    #[serde(default)]
    pub own_key: bool,
    /// The caps of its own server or its own API key; absent if it shares the caps of a tier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caps: Option<CapsView>,
}

/// How much a route carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CapsView {
    /// The most connections at once.
    pub concurrency: u32,
    /// The most messages a minute; absent if there is no cap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_minute: Option<u32>,
    /// The most recipients a day (UTC); absent if there is no cap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_day: Option<u32>,
    /// The most recipients in one transaction.
    pub recipients_per_transaction: u32,
    /// The most messages over one connection.
    pub messages_per_connection: u32,
}

impl From<Caps> for CapsView {
    fn from(caps: Caps) -> Self {
        CapsView {
            concurrency: caps.concurrency,
            per_minute: caps.per_minute,
            per_day: caps.per_day,
            recipients_per_transaction: caps.recipients_per_transaction,
            messages_per_connection: caps.messages_per_connection,
        }
    }
}

/// The values in Mailjet's console for a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MailjetView {
    /// The ownership token.
    pub ownership: Option<String>,
    /// The value of the key record.
    pub dkim: Option<String>,
}

/// The kind of route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ViaName {
    /// The customer's mail leaves through Mailjet.
    Mailjet,
    /// Through the customer's own server.
    OwnServer,
}

/// The treatment of bulk mail from a domain that does not meet the requirements for bulk mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BulkName {
    /// The mail is refused.
    Refuse,
    /// The mail is accepted, with an event.
    Warn,
}

/// How senders are informed of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FailureName {
    /// Only by an event.
    Event,
    /// By an event and by mail.
    Mail,
}

/// How a connection to a customer's own server is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TlsName {
    /// TLS is never used.
    Off,
    /// STARTTLS is used if the server offers it; certificates are not checked.
    Opportunistic,
    /// STARTTLS with a verified certificate is required.
    Required,
    /// TLS begins with the first octet.
    Implicit,
}

impl ViaName {
    /// Returns the name in files.
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
    /// Returns the name in files.
    pub fn as_str(self) -> &'static str {
        match self {
            BulkName::Refuse => "refuse",
            BulkName::Warn => "warn",
        }
    }
}

impl FailureName {
    /// Returns the name in files.
    pub fn as_str(self) -> &'static str {
        match self {
            FailureName::Event => "event",
            FailureName::Mail => "mail",
        }
    }
}

impl TlsName {
    /// Returns the name in files.
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
    /// Returns customers in the order of their ids, after `after`. Only customers that the actor may see, and only those with `domain` if
    /// it is given.
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
        let found = all.filter(|it| after.is_none_or(|after| it.id.as_str() > after)).filter(|it| fits(it));
        Ok(Page::of(found.map(CustomerSummary::from), limit, |last| last.id.clone()))
    }

    /// Returns the customers whose mail would be stuck now, as the running relay says. Returns `None` if no relay is running. Blocks.
    pub fn stuck(&self) -> Result<Option<Vec<StuckCustomer>>, Error> {
        self.running.stuck_customers()
    }

    /// Returns a customer as its file describes it now, with the pause of its mail, and the version of that file.
    pub fn show(&self, actor: &Actor, id: &str) -> Result<(CustomerView, Version), Error> {
        let (id, text) = self.configured.existing_customer(actor, id)?;
        Ok((self.view(&self.configured, &id, &text)?, Version::of(&text)))
    }

    /// Reads a text as the file of a customer, and adds the pause of its mail if the running relay carries out this command.
    pub(super) fn view(&self, configured: &Configured, id: &CustomerId, text: &str) -> Result<CustomerView, Error> {
        let pause = self.running.pause_of(id).as_ref().map(PauseView::from);
        Ok(CustomerView { pause, ..configured.view(id, text)? })
    }
}

impl Service {
    /// Adds to customers of a list why their mail would be stuck now, and returns the nodes whose part is missing.
    pub async fn add_stuck(&self, actor: &Actor, customers: &mut [CustomerSummary]) -> Result<Vec<String>, Error> {
        let ids: Vec<_> = customers.iter().map(|customer| CustomerId::new(&customer.id)).collect();
        let (stuck, missing) = self.stuck_among(actor, &ids).await?;
        customers.iter_mut().zip(stuck).for_each(|(customer, stuck)| customer.stuck = stuck);
        Ok(missing)
    }

    /// Returns customers whose id, name or domains contain `text`, in the order of their ids, after `after`.
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
            let has_domain = || customer.domains.keys().any(|domain| has_in_name(domain.as_str(), &text));
            has(customer.id.as_str()) || has(&customer.name) || has_domain()
        };
        let directory = self.routing.directory();
        let all = directory.customers().map(|customer| &**customer);
        let found = all.filter(|it| after.is_none_or(|after| it.id.as_str() > after)).filter(|it| fits(it));
        Ok(Page::of(found.map(CustomerSummary::from), limit, |last| last.id.clone()))
    }
}

impl Configured {
    /// Reads a text as the file of a customer.
    fn view(&self, id: &CustomerId, text: &str) -> Result<CustomerView, Error> {
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
            stuck: None,
        }
    }
}

impl From<&Pause> for PauseView {
    fn from(pause: &Pause) -> Self {
        PauseView {
            cause: pause.cause.as_str().to_owned(),
            reason: pause.reason.clone(),
            since: pause.since().to_string(),
            until: pause.ends().map(|at| at.to_string()),
            spares_single: pause.spares_single,
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
    fn from(ReadCustomer { customer, mailjet, remarks, .. }: ReadCustomer) -> Self {
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
            own_key: customer.own_mailjet.is_some(),
            caps: customer.own_routes().next().map(|route| route.caps.into()),
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
            pause: None,
            stuck: None,
            bulk: match customer.bulk {
                BulkPolicy::Refuse => BulkName::Refuse,
                BulkPolicy::Warn => BulkName::Warn,
            },
            bounces: if customer.bounce_mail { FailureName::Mail } else { FailureName::Event },
            contacts: customer.contacts.iter().map(ContactEntry::from).collect(),
            test: customer.test.is_some(),
            test_allow: customer.test.iter().flat_map(|test| &test.allow).map(ToString::to_string).collect(),
            test_redirect: customer.test.as_ref().and_then(|test| test.redirect.as_ref()).map(ToString::to_string),
            route,
            mailjet: mailjet
                .into_iter()
                .map(|(domain, it)| (domain.to_string(), MailjetView { ownership: it.ownership, dkim: it.dkim }))
                .collect(),
            remarks,
        }
    }
}

/// Returns true if a domain has `text`, which is in lower case, in its name, as people write it or as DNS has it.
pub fn has_in_name(domain: &str, text: &str) -> bool {
    domain.contains(text) || Lang::En.name(domain).contains(text)
}
