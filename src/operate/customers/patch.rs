//! What may be changed of a customer: a merge patch with a type for each key.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::Password;
use super::look::{BulkName, ContactEntry, FailureName, TlsName, ViaName};

/// The change of one key: a typed merge patch (RFC 7396). An absent key stays, and `null` removes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Patch<T> {
    /// The key stays as it is.
    #[default]
    Keep,
    /// The key is removed, so that its default applies.
    Remove,
    /// The key gets this value.
    Set(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::<T>::deserialize(deserializer)?.map_or(Patch::Remove, Patch::Set))
    }
}

impl<T: JsonSchema> JsonSchema for Patch<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        Option::<T>::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Option::<T>::json_schema(generator)
    }

    fn inline_schema() -> bool {
        Option::<T>::inline_schema()
    }
}

/// A change of a customer (RFC 7396): absent keys stay, and `null` removes a key.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CustomerChange {
    /// The customer's name, for people.
    pub name: Patch<String>,
    /// The customer's From domains.
    pub domains: Patch<Vec<String>>,
    /// Further domains that MAIL FROM may use.
    pub bounce_domains: Patch<Vec<String>>,
    /// The reason for the customer's suspension.
    pub suspended: Patch<String>,
    /// The treatment of bulk mail from a domain that does not meet the requirements for bulk mail.
    pub bulk: Patch<BulkName>,
    /// How senders are informed of failures.
    pub bounces: Patch<FailureName>,
    /// The contacts that get mail when a domain is complete, and when a record of it has vanished. The list replaces the old one.
    pub contacts: Patch<Vec<ContactEntry>>,
    /// Whether it is in test mode: its mail is checked, signed and recorded, and does not leave.
    pub test: Patch<bool>,
    /// The recipients that mail in test mode really goes to: `anna@webcrm.com`, `*@qa.webcrm.com`.
    pub test_allow: Patch<Vec<String>>,
    /// The address that other mail in test mode goes to instead of its recipients.
    pub test_redirect: Patch<String>,
    /// The route of the customer's mail.
    pub route: Option<RouteChange>,
    /// The values in Mailjet's console, by domain.
    #[serde(deserialize_with = "each_once")]
    pub mailjet: Option<BTreeMap<String, Patch<MailjetChange>>>,
}

/// Reads a map, and refuses a key that is there twice, as is done for all fields.
fn each_once<'de, D, T>(deserializer: D) -> Result<Option<BTreeMap<String, T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Each<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Each<T> {
        type Value = Option<BTreeMap<String, T>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut all = BTreeMap::new();
            while let Some((key, value)) = map.next_entry::<String, T>()? {
                if all.contains_key(&key) {
                    return Err(serde::de::Error::custom(format_args!("duplicate field `{key}`")));
                }
                all.insert(key, value);
            }
            Ok(Some(all))
        }
    }

    deserializer.deserialize_any(Each(PhantomData))
}

/// A change of a customer's route.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RouteChange {
    /// The kind of route.
    pub via: Patch<ViaName>,
    /// Mailjet: the fixed tier.
    pub tier: Patch<String>,
    /// Mailjet: true if opened mail is tracked.
    pub track_opens: Patch<bool>,
    /// Mailjet: true if clicks are tracked.
    pub track_clicks: Patch<bool>,
    /// Own server: its host name.
    pub host: Patch<String>,
    /// Own server: its port.
    pub port: Patch<u16>,
    /// Own server: its TLS.
    pub tls: Patch<TlsName>,
    /// Own server: the user name.
    pub username: Patch<String>,
    /// Own server: the password. It is written to its own file, and no answer contains it.
    pub password: Patch<Password>,
    /// Own server: its limits.
    pub limits: Option<LimitsChange>,
    /// Own server: whether all its addresses must be public. Only set for a customer who enters its own server.
    #[serde(skip)]
    pub public_only: Patch<bool>,
}

/// A change of the limits of a customer's own server.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsChange {
    /// The kind of server: `microsoft365`, `exchange`, `google-relay`, `postfix`.
    pub preset: Patch<String>,
    /// The maximum number of connections at once.
    pub concurrency: Patch<u32>,
    /// The maximum number of messages per minute.
    pub per_minute: Patch<u32>,
    /// The maximum number of recipients per day.
    pub per_day: Patch<u32>,
}

/// A change of the values in Mailjet's console for a domain.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MailjetChange {
    /// The ownership token.
    pub ownership: Patch<String>,
    /// The value of the key record.
    pub dkim: Patch<String>,
}

impl CustomerChange {
    /// Returns the change of the password.
    pub(super) fn password(&self) -> &Patch<Password> {
        const KEEP: &Patch<Password> = &Patch::Keep;
        self.route.as_ref().map_or(KEEP, |route| &route.password)
    }

    /// Returns the names of the changed keys, for the audit. Values are left out, because they may be secrets.
    pub(super) fn summary(&self) -> String {
        let mut names = Vec::new();
        let mut add = |is_kept: bool, name: &str| {
            if !is_kept {
                names.push(name.to_owned());
            }
        };
        add(self.name == Patch::Keep, "name");
        add(self.domains == Patch::Keep, "domains");
        add(self.bounce_domains == Patch::Keep, "bounce_domains");
        add(self.suspended == Patch::Keep, "suspended");
        add(self.bulk == Patch::Keep, "bulk");
        add(self.bounces == Patch::Keep, "bounces");
        add(self.contacts == Patch::Keep, "contacts");
        add(self.test == Patch::Keep, "test");
        add(self.test_allow == Patch::Keep, "test_allow");
        add(self.test_redirect == Patch::Keep, "test_redirect");
        if let Some(route) = &self.route {
            add(route.via == Patch::Keep, "route.via");
            add(route.tier == Patch::Keep, "route.tier");
            add(route.track_opens == Patch::Keep, "route.track_opens");
            add(route.track_clicks == Patch::Keep, "route.track_clicks");
            add(route.host == Patch::Keep, "route.host");
            add(route.port == Patch::Keep, "route.port");
            add(route.tls == Patch::Keep, "route.tls");
            add(route.username == Patch::Keep, "route.username");
            add(route.password == Patch::Keep, "route.password");
            add(route.limits.is_none(), "route.limits");
        }
        for domain in self.mailjet.iter().flat_map(BTreeMap::keys) {
            add(false, &format!("mailjet.{domain}"));
        }
        names.join(", ")
    }
}
