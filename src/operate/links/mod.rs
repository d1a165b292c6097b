//! Links to a customer's page. webCRM makes a link and sends it. Its holder sees the page of that one customer and may do what the page
//! offers, and nothing else. There are no accounts and no passwords.
//!
//! A link ends with 192 random bits. Only their SHA-256 is stored (see [`tokens`](super::tokens) for why a fast hash is right), so a link
//! is shown only once, when it is made. It expires and can be revoked. A revoked link is answered like one that never existed.

mod table;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;
use zeroize::Zeroizing;

pub use table::SCHEMA;

use super::actor::Need;
use super::audit::{self, Act};
use super::tokens::Digest;
use super::{Actor, Error, ErrorKind, Role, Service};
use crate::database::{self, Database};
use crate::events::Action;
use crate::message::CustomerId;
use crate::onboarding::Lang;
use crate::time::Timestamp;
use table::StoredLink;

/// The default validity of a link in days.
pub const USUAL_DAYS: u16 = 30;
/// The maximum validity of a link in days.
pub const MOST_DAYS: u16 = 365;
/// The maximum number of valid links of one customer.
const MOST: usize = 50;
/// The minimum time between two writes of a link's last use.
const SAVE_USE_EVERY: Duration = Duration::from_secs(60);
/// The path of customers' pages. The link's secret follows it.
pub const PATH: &str = "/link";
const DAY: Duration = Duration::from_secs(86_400);

/// A link as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Link {
    /// The link's id, for lists and for revoking it. It does not open the page.
    pub id: String,
    /// The customer whose page it opens.
    pub customer: String,
    /// The language of the page, `da` or `en`; absent for the installation's language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// When it was made, RFC 3339.
    pub created: String,
    /// When it expires, RFC 3339.
    pub expires: String,
    /// True if it has expired.
    pub expired: bool,
    /// When it was last used, RFC 3339; absent if it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<String>,
}

/// A link that was just made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AddedLink {
    /// The link as lists show it.
    #[serde(flatten)]
    pub link: Link,
    /// The address to send to the customer. It is shown only once.
    pub url: String,
}

/// A link to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NewLink {
    /// The number of days after which it expires, from 1 to 365; the default is 30.
    #[schemars(range(min = 1, max = 365))]
    pub days: Option<u16>,
    /// The language of the page, `da` or `en`; the default is the installation's.
    pub language: Option<String>,
}

/// The result of opening a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// A valid link.
    Valid {
        /// The link's id.
        id: String,
        /// The holder of the link.
        actor: Actor,
        /// The customer whose page it opens.
        customer: CustomerId,
        /// The language that was chosen when it was made.
        language: Option<Lang>,
        /// When it expires.
        expires: Timestamp,
    },
    /// An expired link. Only its holder learns this.
    Expired,
    /// There is no such link.
    Unknown,
}

/// The links of a relay. Cheap to clone.
#[derive(Clone)]
pub struct Links {
    database: Database,
    /// The base address of links; `None` if no pages are served for customers.
    base: Option<Arc<Url>>,
}

impl Links {
    /// Uses the links in this database. `base` is their base address.
    pub fn new(database: Database, base: Option<Url>) -> Self {
        Links { database: database.of(&SCHEMA), base: base.map(Arc::new) }
    }

    /// Opens a link. `address` is the address of the request, for the audit.
    pub async fn open(&self, secret: &str, address: Option<IpAddr>, now: Timestamp) -> Result<Opened, database::Error> {
        let digest = Digest::of(secret);
        let found = self.database.read(move |tables| table::find(tables, &digest)).await?;
        let Some(found) = found else { return Ok(Opened::Unknown) };
        if found.has_expired(now) {
            return Ok(Opened::Expired);
        }
        // If the clock was set back, the time is written at once, and not only after the clock has caught up.
        if found.last_used.is_none_or(|last| now >= last + SAVE_USE_EVERY || now < last) {
            let database = self.database.clone();
            // The page is shown even if the time cannot be written.
            tokio::spawn(async move {
                if let Err(error) = database.write(move |tables| table::save_use(tables, &digest, now)).await {
                    tracing::warn!("the last use of a link is not kept: {error}");
                }
            });
        }
        let StoredLink { id, customer, language, expires, .. } = found;
        let actor = Actor::new(format!("link {id} of {customer}"), Role::Link(customer.clone())).at(address);
        Ok(Opened::Valid { id, actor, customer, language, expires })
    }

    async fn add(&self, customer: &CustomerId, days: u16, language: Option<Lang>) -> Result<AddedLink, Error> {
        let Some(base) = &self.base else {
            let message = "no pages are served for customers, so a link would lead nowhere";
            return Err(Error::conflict(message, "set url in [pages.customers] and restart the relay"));
        };
        let now = Timestamp::now();
        let secret = Zeroizing::new(URL_SAFE_NO_PAD.encode(rand::random::<[u8; 24]>()));
        let kept = StoredLink {
            digest: Digest::of(&secret),
            id: format!("{:010x}", rand::random::<u64>() & 0xff_ffff_ffff),
            customer: customer.clone(),
            language,
            created: now,
            expires: now + DAY * u32::from(days),
            last_used: None,
        };
        let link = kept.shown(now);
        let is_room =
            self.database.write(move |tables| table::add(tables, &kept, now, MOST)).await.map_err(not_kept)?;
        if !is_room {
            let message = format!("{customer} has {MOST} links already that count");
            return Err(Error::conflict(message, "revoke some: `postbud customer link list` names them"));
        }
        let url = base.join(&format!("{PATH}/{}", secret.as_str()));
        let url = url.map_err(|error| Error::failed(error.to_string(), "correct url in [pages.customers]"))?;
        Ok(AddedLink { link, url: url.to_string() })
    }
}

fn not_kept(error: database::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("the links cannot be read or written: {error}"), "nothing was changed")
}

impl Service {
    /// Makes a link to a customer's page.
    pub async fn add_link(&self, actor: &Actor, customer: &str, new: &NewLink) -> Result<AddedLink, Error> {
        actor.may(Need::Admin)?;
        let id = CustomerId::new(customer);
        self.customer_with(&id)?;
        let days = new.days.unwrap_or(USUAL_DAYS);
        if !(1..=MOST_DAYS).contains(&days) {
            let message = format!("days: {days} is not from 1 to {MOST_DAYS}");
            return Err(Error::invalid(message, "a customer can be sent another link at any time"));
        }
        let language = new.language.as_deref().map(str::parse::<Lang>).transpose();
        let language = language.map_err(|error| Error::invalid(format!("language: {error}"), "give da or en"))?;
        let added = self.links.add(&id, days, language).await?;
        let detail = format!("link {} to the customer's page made; it expires {}", added.link.id, added.link.expires);
        audit::tell(&self.events, actor, Act { customer: Some(id.to_string()), ..Act::new(Action::LinkAdd, detail) });
        Ok(added)
    }

    /// Returns the links of one customer, or of all, the newest first. Expired links are kept for 90 days.
    pub async fn links(&self, actor: &Actor, customer: Option<&str>) -> Result<Vec<Link>, Error> {
        actor.may(Need::Admin)?;
        let customer = customer.map(str::to_owned);
        let all = self.links.database.read(move |tables| table::list(tables, customer.as_deref())).await;
        let now = Timestamp::now();
        Ok(all.map_err(not_kept)?.iter().map(|kept| kept.shown(now)).collect())
    }

    /// Revokes a link. From now on it does not open the page.
    pub async fn revoke_link(&self, actor: &Actor, customer: Option<&str>, id: &str) -> Result<(), Error> {
        actor.may(Need::Admin)?;
        let (of, wanted) = (customer.map(str::to_owned), id.to_owned());
        let removed = self.links.database.write(move |tables| table::remove(tables, of.as_deref(), &wanted)).await;
        let Some(customer) = removed.map_err(not_kept)? else {
            let remedy = "`postbud customer link list` names them";
            return Err(Error::not_found(format!("there is no link \"{id}\""), remedy));
        };
        let act = Act { customer: Some(customer), ..Act::new(Action::LinkRevoke, format!("link {id} revoked")) };
        audit::tell(&self.events, actor, act);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(dir: &std::path::Path) -> Links {
        let base = Url::parse("https://mail.webcrm.com").unwrap();
        Links::new(Database::open(dir, &[SCHEMA]).unwrap(), Some(base))
    }

    #[tokio::test]
    async fn a_link_opens_one_customers_page_until_it_expires() {
        let dir = tempfile::tempdir().unwrap();
        let (links, id) = (links(dir.path()), CustomerId::new("test-as"));
        let added = links.add(&id, 30, Some(Lang::En)).await.unwrap();
        let secret = added.url.strip_prefix("https://mail.webcrm.com/link/").unwrap();
        assert_eq!(secret.len(), 32);
        let now = Timestamp::now();
        let address = Some(IpAddr::from([192, 0, 2, 7]));
        match links.open(secret, address, now).await.unwrap() {
            Opened::Valid { actor, customer, language, .. } => {
                assert_eq!((customer, language, actor.address()), (id.clone(), Some(Lang::En), address));
                assert!(actor.may_see(&id) && !actor.may_see(&CustomerId::new("other")) && !actor.may_see_everything());
                assert!(!actor.to_string().contains(secret), "the audit must not hold what opens the page");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(links.open(secret, None, now + DAY * 30).await.unwrap(), Opened::Expired);
        for wrong in ["", &secret[1..], &added.link.id, &format!("{secret}x"), "' OR 1=1 --"] {
            assert_eq!(links.open(wrong, None, now).await.unwrap(), Opened::Unknown, "{wrong}");
        }
        for file in std::fs::read_dir(dir.path()).unwrap() {
            let octets = std::fs::read(file.unwrap().path()).unwrap();
            assert!(!octets.windows(secret.len()).any(|window| window == secret.as_bytes()), "only a digest is kept");
        }
    }

    #[tokio::test]
    async fn a_revoked_link_never_was_and_a_customer_has_not_any_number() {
        let dir = tempfile::tempdir().unwrap();
        let (links, id) = (links(dir.path()), CustomerId::new("test-as"));
        let added = links.add(&id, 1, None).await.unwrap();
        let wanted = added.link.id.clone();
        let remove = |of: &'static str| {
            let (links, wanted) = (links.clone(), wanted.clone());
            async move { links.database.write(move |tables| table::remove(tables, Some(of), &wanted)).await.unwrap() }
        };
        assert_eq!(remove("other").await, None);
        assert_eq!(remove("test-as").await.as_deref(), Some("test-as"));
        let secret = added.url.rsplit('/').next().unwrap();
        assert_eq!(links.open(secret, None, Timestamp::now()).await.unwrap(), Opened::Unknown);
        for _ in 0..MOST {
            links.add(&id, 1, None).await.unwrap();
        }
        assert_eq!(links.add(&id, 1, None).await.unwrap_err().kind, ErrorKind::Conflict);
        assert!(links.add(&CustomerId::new("other"), 1, None).await.is_ok());
    }
}
