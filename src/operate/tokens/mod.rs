//! Tokens, with which programs and people authenticate to the API.
//!
//! A token is made once, shown once, and stored as its SHA-256. A slow hash such as Argon2 protects passwords, because people choose
//! passwords that can be guessed. A token is 256 random bits, which nobody can guess however fast the hash is. A fast hash also means that
//! attackers cannot overload the relay with checks.
//!
//! All tokens are in memory. An added or revoked token takes effect at once at the node that made the change, and within a second at the
//! others. While the database does not answer, no token is valid, because it may have been revoked. The time of the last use is written at
//! most once a minute for each token.

mod expiry;
pub(super) mod secret;
mod table;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use expiry::Expiry;
pub use secret::Secret;
pub use table::SCHEMA;

use super::actor::Need;
use super::audit::{self, Act};
use super::{Actor, Error, ErrorKind, Role, Service};
use crate::database::{self, Database};
use crate::events::Action;
use crate::message::CustomerId;
use crate::time::Timestamp;
pub(super) use secret::Digest;
use table::StoredToken;

/// The minimum time between two writes of a token's last use.
const SAVE_USE_EVERY: Duration = Duration::from_secs(60);
/// The maximum number of tokens. All are in memory, and a person must be able to read the list.
const MOST: usize = 10_000;
const LONGEST_NAME: usize = 64;

/// A token as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// The token's name, which the audit shows.
    pub name: String,
    /// The role of the token.
    pub role: RoleName,
    /// The customers that a token of the role `customer` may see.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub customers: Vec<String>,
    /// When it was made, RFC 3339.
    pub created: String,
    /// When it expires, RFC 3339; absent if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// True if it has expired.
    pub expired: bool,
    /// When it was last used, RFC 3339; absent if it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<String>,
}

/// A token that was just made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddedToken {
    /// The token as lists show it.
    #[serde(flatten)]
    pub token: Token,
    /// The token itself. It is shown only once.
    pub secret: String,
}

/// A token to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    pub name: String,
    /// The role of the token.
    pub role: RoleName,
    /// The customers that it may see. Required for the role `customer`, and allowed only there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub customers: Vec<String>,
    /// The number of seconds after which it expires; without a value it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_secs: Option<u64>,
}

/// The name of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RoleName {
    /// May read some customers' own data.
    Customer,
    /// May read everything, and probe routes.
    Read,
    /// May also change the queue, the routes and suppression lists, pause customers, check domains, send test mails, and acknowledge
    /// alerts.
    Operate,
    /// May also change customers, keys and links, and erase recipients from the record.
    Admin,
}

impl RoleName {
    /// Returns the name in commands and files.
    pub fn as_str(self) -> &'static str {
        match self {
            RoleName::Customer => "customer",
            RoleName::Read => "read",
            RoleName::Operate => "operate",
            RoleName::Admin => "admin",
        }
    }

    fn with(self, customers: BTreeSet<CustomerId>) -> Role {
        match self {
            RoleName::Customer => Role::Customer(customers),
            RoleName::Read => Role::Read,
            RoleName::Operate => Role::Operate,
            RoleName::Admin => Role::Admin,
        }
    }
}

/// The result of checking a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presented {
    /// A valid token, with its actor.
    Valid(Actor),
    /// An expired token, with its name. Only its holder learns this.
    Expired(String),
    Unknown,
}

/// The tokens of a relay. Cheap to clone.
#[derive(Clone)]
pub struct Tokens(Arc<Inner>);

struct Inner {
    database: Database,
    known: RwLock<HashMap<Digest, Arc<KnownToken>>>,
    /// Held while the table is changed or read, until memory has the result.
    changing: tokio::sync::Mutex<()>,
}

struct KnownToken {
    kept: StoredToken,
    used: Mutex<Used>,
}

/// When a token was used.
#[derive(Clone, Copy)]
struct Used {
    last: Option<Timestamp>,
    /// The last use that was written.
    saved: Option<Timestamp>,
}

impl KnownToken {
    fn new(kept: StoredToken) -> Arc<Self> {
        let last = kept.last_used;
        Arc::new(KnownToken { kept, used: Mutex::new(Used { last, saved: last }) })
    }

    /// Records a use. Returns true if it must be written now.
    fn touch(&self, now: Timestamp) -> bool {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.last = Some(now);
        // If the clock was set back, the time is written at once, and not only after the clock has caught up.
        let is_due = used.saved.is_none_or(|saved| now >= saved + SAVE_USE_EVERY || now < saved);
        if is_due {
            used.saved = Some(now);
        }
        is_due
    }

    fn shown(&self, now: Timestamp) -> Token {
        let StoredToken { name, role, customers, created, expires, .. } = &self.kept;
        let last = self.used.lock().unwrap_or_else(PoisonError::into_inner).last;
        Token {
            name: name.clone(),
            role: *role,
            customers: customers.iter().map(ToString::to_string).collect(),
            created: created.to_string(),
            expires: expires.map(|at| at.to_string()),
            expired: self.kept.has_expired(now),
            last_used: last.map(|at| at.to_string()),
        }
    }
}

impl Tokens {
    /// Reads all tokens. Blocks.
    pub fn open(database: Database) -> Result<Self, database::Error> {
        let database = database.of(&SCHEMA);
        let all = database.read_blocking(table::read_all)?;
        let known = all.into_iter().map(|kept| (kept.digest, KnownToken::new(kept))).collect();
        Ok(Tokens(Arc::new(Inner { database, known: RwLock::new(known), changing: tokio::sync::Mutex::default() })))
    }

    /// Follows changes that other nodes make.
    pub async fn follow(&self) {
        let read_again = || {
            let tokens = self.clone();
            async move { tokens.read_again().await }
        };
        self.0.database.changes().follow("which tokens count", read_again).await;
    }

    async fn read_again(&self) -> Result<(), database::Error> {
        let _changing = self.0.changing.lock().await;
        let all = self.0.database.read(table::read_all).await?;
        let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
        // A known token keeps the time of its last use here.
        let mut before = std::mem::take(&mut *known);
        let unchanged =
            |kept: &StoredToken, was: &KnownToken| was.kept.role == kept.role && was.kept.customers == kept.customers;
        *known = all
            .into_iter()
            .map(|kept| match before.remove(&kept.digest) {
                Some(was) if unchanged(&kept, &was) => (kept.digest, was),
                _ => (kept.digest, KnownToken::new(kept)),
            })
            .collect();
        Ok(())
    }

    /// Returns an error while it is unknown which tokens other nodes have revoked.
    pub fn is_current(&self) -> Result<(), Error> {
        self.0.database.is_current().map_err(|error| {
            let message = format!("which tokens count is not known now: {error}");
            Error::new(
                ErrorKind::Unavailable,
                message,
                "the token is not to blame: ask again once the database answers",
            )
        })
    }

    /// Checks a token. `address` is the address of the request, for the audit.
    pub fn look(&self, secret: &str, address: Option<IpAddr>, now: Timestamp) -> Presented {
        let digest = Digest::of(secret);
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner).get(&digest).cloned();
        let Some(known) = known else { return Presented::Unknown };
        if known.kept.has_expired(now) {
            return Presented::Expired(known.kept.name.clone());
        }
        if known.touch(now) {
            self.save_use(digest, now);
        }
        let role = known.kept.role.with(known.kept.customers.clone());
        Presented::Valid(Actor::new(format!("token {}", known.kept.name), role).at(address))
    }

    /// Returns true if this token is valid now. It does not count as a use.
    pub(super) fn counts(&self, digest: Digest, now: Timestamp) -> bool {
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner).get(&digest).cloned();
        self.is_current().is_ok() && known.is_some_and(|known| !known.kept.has_expired(now))
    }

    /// Writes a last use after the request was answered, so that a failure does not affect the answer.
    fn save_use(&self, digest: Digest, now: Timestamp) {
        let database = self.0.database.clone();
        tokio::spawn(async move {
            if let Err(error) = database.write(move |tables| table::save_use(tables, &digest, now)).await {
                tracing::warn!("the last use of a token is not kept: {error}");
            }
        });
    }

    fn by_name(&self, name: &str) -> Option<(Digest, Arc<KnownToken>)> {
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|(_, known)| known.kept.name == name).map(|(digest, known)| (*digest, Arc::clone(known)))
    }

    fn shown(&self, now: Timestamp) -> Vec<Token> {
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<Token> = known.values().map(|known| known.shown(now)).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    async fn add(&self, kept: StoredToken) -> Result<Arc<KnownToken>, Error> {
        if self.0.known.read().unwrap_or_else(PoisonError::into_inner).len() >= MOST {
            return Err(Error::conflict(format!("there are {MOST} tokens already"), "revoke those that nobody uses"));
        }
        let row = kept.clone();
        let _changing = self.0.changing.lock().await;
        // The table refuses a name that another command has taken meanwhile.
        let is_new = self.0.database.write(move |tables| table::add(tables, &row)).await.map_err(not_kept)?;
        if !is_new {
            return Err(taken(&kept.name));
        }
        let (digest, known) = (kept.digest, KnownToken::new(kept));
        self.0.known.write().unwrap_or_else(PoisonError::into_inner).insert(digest, Arc::clone(&known));
        Ok(known)
    }

    async fn remove(&self, name: &str) -> Result<Option<Arc<KnownToken>>, Error> {
        let _changing = self.0.changing.lock().await;
        let Some((digest, known)) = self.by_name(name) else { return Ok(None) };
        self.0.database.write(move |tables| table::remove(tables, &digest)).await.map_err(not_kept)?;
        self.0.known.write().unwrap_or_else(PoisonError::into_inner).remove(&digest);
        Ok(Some(known))
    }
}

fn not_kept(error: database::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("the tokens cannot be written: {error}"), "nothing was changed")
}

fn taken(name: &str) -> Error {
    Error::conflict(format!("there is a token \"{name}\" already"), "give the new one another name, or revoke that one")
}

impl Service {
    pub async fn add_token(&self, actor: &Actor, new: &NewToken) -> Result<AddedToken, Error> {
        actor.may(Need::Admin)?;
        check_name(&new.name)?;
        let customers = self.customers_of(new)?;
        if self.tokens.by_name(&new.name).is_some() {
            return Err(taken(&new.name));
        }
        let now = Timestamp::now();
        let expires = match new.expires_in_secs {
            Some(0) => return Err(Error::invalid("the token would have expired already", "give a longer time")),
            Some(secs) => Some(now + Duration::from_secs(secs)),
            None => None,
        };
        let secret = Secret::new();
        let kept = StoredToken {
            digest: Digest::of(secret.as_str()),
            name: new.name.clone(),
            role: new.role,
            customers,
            created: now,
            expires,
            last_used: None,
        };
        let token = self.tokens.add(kept).await?.shown(now);
        let of = if token.customers.is_empty() { String::new() } else { format!(" of {}", token.customers.join(", ")) };
        let until = token.expires.as_deref().map_or("does not expire".into(), |at| format!("expires {at}"));
        let detail = format!("token \"{}\" added with the role {}{of}; it {until}", token.name, token.role.as_str());
        audit::tell(&self.events, actor, Act::new(Action::TokenAdd, detail));
        Ok(AddedToken { token, secret: secret.as_str().to_owned() })
    }

    /// Returns all tokens by name.
    pub fn list_tokens(&self, actor: &Actor) -> Result<Vec<Token>, Error> {
        actor.may(Need::Admin)?;
        Ok(self.tokens.shown(Timestamp::now()))
    }

    /// Revokes a token. It is invalid from now on.
    pub async fn revoke_token(&self, actor: &Actor, name: &str) -> Result<(), Error> {
        actor.may(Need::Admin)?;
        if self.tokens.remove(name).await?.is_none() {
            return Err(Error::not_found(format!("there is no token \"{name}\""), "`postbud token list` names them"));
        }
        audit::tell(&self.events, actor, Act::new(Action::TokenRevoke, format!("token \"{name}\" revoked")));
        Ok(())
    }

    /// Returns the customers that a new token may see.
    fn customers_of(&self, new: &NewToken) -> Result<BTreeSet<CustomerId>, Error> {
        if new.role != RoleName::Customer && !new.customers.is_empty() {
            let message = format!("a token with the role \"{}\" sees every customer", new.role.as_str());
            return Err(Error::invalid(message, "leave the customers out, or give the role \"customer\""));
        }
        if new.role == RoleName::Customer && new.customers.is_empty() {
            let message = "a token with the role \"customer\" sees the customers that it names, and none is named";
            return Err(Error::invalid(message, "name the customer that it may see"));
        }
        let unknown = |id: &String| self.routing.customer(&CustomerId::new(id)).is_none();
        if let Some(id) = new.customers.iter().find(|id| unknown(id)) {
            return Err(Error::no_customer(id));
        }
        Ok(new.customers.iter().map(|id| CustomerId::new(id)).collect())
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    let is_legal = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if !name.is_empty() && name.len() <= LONGEST_NAME && name.bytes().all(is_legal) && !name.starts_with(['-', '.']) {
        return Ok(());
    }
    let message = format!("\"{name}\" is no name for a token");
    Err(Error::invalid(message, "use up to 64 letters, digits, hyphens, underscores and dots, as in webcrm-production"))
}

#[cfg(test)]
mod tests;
