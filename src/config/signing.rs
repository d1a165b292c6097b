//! Reads `[dkim]`: the keys and selectors that sign for a customer's domains.
//!
//! A customer's key that cannot be used does not stop the relay. The customer's domains become [`SigningDomain::Broken`], their mail is
//! deferred, and nothing leaves unsigned. Other errors in the file are ordinary mistakes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::Zeroizing;

use super::reader::Table;
use super::secret::{self, Source, secret_keys};
use crate::customers::{KeyPlace, SigningDomain};
use crate::dkim::{self, Canonicalization, HeaderList, Profile, Selector, Signer, SigningKey};
use crate::onboarding::Delegation;
use crate::resolver::update::Updates;
use crate::smtp::Domain;

/// The settings of `[dkim]` in the server file, which hold for all customers.
pub(super) struct SigningDefaults {
    header_canonicalization: Canonicalization,
    body_canonicalization: Canonicalization,
    headers: HeaderList,
    expires: Option<Duration>,
    /// The relay's own signature, in addition to the customer's.
    second: Option<Second>,
}

struct Second {
    domain: Domain,
    selector: Selector,
    key: PathBuf,
}

/// Reads `[dkim]` of the server file. `give_up` is how long mail waits in the queue.
pub(super) fn defaults(table: &Table<'_>, give_up: Duration) -> SigningDefaults {
    let both = [("simple", Canonicalization::Simple), ("relaxed", Canonicalization::Relaxed)];
    let header_canonicalization = table.choice("header_canonicalization", &both).unwrap_or_default();
    let body_canonicalization = table.choice("body_canonicalization", &both).unwrap_or_default();
    let expires = table.get::<Duration>("expires");
    if expires.is_some_and(|after| after < give_up.saturating_add(Duration::from_secs(86_400))) {
        let what = "should be a day longer than [retry] give_up, and longer still where mail waits for caps, on hold or for a \
                    suspended customer, which give_up does not count: mail that waits for longer is held instead of sent, and \
                    what waits at the customer's server arrives with a dead signature";
        table.warning("expires", what);
    }
    let headers = header_list(table);
    let second = table.table("second");
    let second = second.is_there().then(|| {
        let domain = second.require("domain", "\"out.webcrm.com\"");
        let selector = selector(&second, "selector");
        let key = second.require::<PathBuf>("private_key", "\"../keys/out.webcrm.com.pem\"");
        if let Some(path) = &key {
            // A mistake in the relay's own key stops the start, unlike one in a customer's.
            match SigningKey::from_file(path, second.passphrase()) {
                Ok((_, None)) => {}
                Ok((_, Some(warning))) => second.warning("private_key", warning),
                Err(error) => second.mistake("private_key", error.to_string()),
            }
        }
        Some(Second { domain: domain?, selector: selector?, key: key? })
    });
    SigningDefaults { header_canonicalization, body_canonicalization, headers, expires, second: second.flatten() }
}

const TSIG_SECRET: Source = secret_keys!("tsig_secret");
/// Two selectors that no other sender is likely to have.
const DEFAULT_SELECTORS: [&str; 2] = ["postbud-a", "postbud-b"];
/// The default interval for rotating customers' keys: a year.
const ROTATE_EVERY: Duration = Duration::from_secs(365 * 86_400);

/// Reads `[dkim.delegation]`: webCRM's zone with customers' keys.
pub(super) fn delegation(table: &Table<'_>) -> Option<Delegation> {
    let table = table.table("delegation");
    if !table.is_there() {
        return None;
    }
    let zone = table.require("zone", "\"dkim.webcrm.com\"");
    let names = table.or("selectors", DEFAULT_SELECTORS.map(str::to_owned).to_vec());
    let selectors: Vec<Selector> = names.iter().filter_map(|name| Selector::parse(name).ok()).collect();
    let selectors = <[Selector; 2]>::try_from(selectors).ok().filter(|[a, b]| a != b && names.len() == 2);
    if selectors.is_none() {
        table.mistake("selectors", "must be two different selectors, like [\"postbud-a\", \"postbud-b\"]");
    }
    let rotate_every = table.or("rotate_every", ROTATE_EVERY);
    if rotate_every < Duration::from_secs(86_400) {
        table.warning("rotate_every", "keys that change more than once a day end in rotations without end");
    }
    let ttl = table.or("ttl", Duration::from_secs(300));
    if ttl > Duration::from_secs(86_400) {
        table.mistake("ttl", "must not be longer than a day: a new key waits for as long before it signs");
    }
    let server = table.get("server");
    // A TSIG key's name is a DNS name, often of one label, and often written with a final dot.
    let key_name = table.get::<String>("tsig_key").and_then(|text| {
        let name = Domain::parse(text.trim_end_matches('.')).ok();
        if name.is_none() {
            table.mistake("tsig_key", format!("\"{text}\" is not the name of a key, like \"postbud\""));
        }
        name
    });
    let has_secret = secret::is_given(&table, TSIG_SECRET);
    let secret = secret::value(&table, TSIG_SECRET).and_then(|text| {
        let octets = BASE64.decode(text.trim()).ok().filter(|octets| octets.len() >= 16);
        if octets.is_none() {
            table.mistake(
                TSIG_SECRET.file,
                "must hold the secret of a TSIG key for hmac-sha256 in base64, of 16 octets or more",
            );
        }
        octets.map(Zeroizing::new)
    });
    let updates = match (table.has("server"), table.has("tsig_key"), has_secret) {
        (false, false, false) => None,
        (true, true, true) => Some((server, key_name, secret)),
        _ => {
            let what = "server, tsig_key and tsig_secret_file (or tsig_secret_env) go together";
            table.mistake("server", what);
            None
        }
    };
    let updates = match updates {
        Some((server, key_name, secret)) => Some(Updates { server: server?, key_name: key_name?, secret: secret? }),
        None => None,
    };
    Some(Delegation { zone: zone?, selectors: selectors?, rotate_every, ttl, updates })
}

/// Reads the lists of fields. `sealed` fields are signed once more than they occur, `headers` fields as often as they are present. If
/// both are absent, the lists follow current practice.
fn header_list(table: &Table<'_>) -> HeaderList {
    let default = HeaderList::default();
    let default_names =
        |sealed| default.names().filter(move |(_, is)| *is == sealed).map(|(name, _)| name.to_owned()).collect();
    let sealed: Vec<String> = table.get("sealed_headers").unwrap_or_else(|| default_names(true));
    let present: Vec<String> = table.get("headers").unwrap_or_else(|| default_names(false));
    let key = if table.has("headers") { "headers" } else { "sealed_headers" };
    let list = HeaderList::new(sealed.iter().map(String::as_str), present.iter().map(String::as_str));
    list.unwrap_or_else(|error| {
        table.mistake(key, error.to_string());
        default
    })
}

/// Reads `[dkim]` of a customer's file: a signer for each domain, or the reason why there is none.
pub(super) fn signers(
    table: &Table<'_>,
    domains: &[Domain],
    defaults: &SigningDefaults,
) -> BTreeMap<Domain, SigningDomain> {
    if !table.is_there() {
        table.mistake(
            "",
            "is missing; write a table [dkim] with selector and private_key, made by `postbud dkim keygen`",
        );
        return BTreeMap::new();
    }
    let mut keys: Vec<(&'static str, Selector, KeyText)> = Vec::new();
    for place in KeyPlace::ALL {
        let (name, file, command) = (place.selector(), place.private_key(), place.private_key_command());
        let by_command = table.has(command);
        if by_command && table.has(file) {
            table.mistake(command, format!("is given besides {file}; keep one of them"));
        }
        match (place, table.has(name), table.has(file) || by_command) {
            (KeyPlace::Ed25519, false, false) => {}
            (KeyPlace::Ed25519, true, false) => table.mistake(name, format!("needs {file} besides")),
            (KeyPlace::Ed25519, false, true) => table.mistake(file, format!("needs {name} besides")),
            _ => {
                let selector = selector(table, name);
                let text = match by_command {
                    true => table.get::<Vec<String>>(command).map(|line| (command, table.run(&line))),
                    false => {
                        let path = table.require::<PathBuf>(file, "\"../../keys/test.dk.pem\"");
                        path.map(|path| (file, in_file(table, file, &path)))
                    }
                };
                if keys.iter().any(|(_, other, _)| Some(other) == selector.as_ref()) {
                    table.mistake(name, "must differ from selector: each key has a DNS record of its own");
                }
                keys.extend(selector.zip(text).map(|(selector, (at, text))| (at, selector, text)));
            }
        }
    }
    let identity: Option<String> = table.get("identity");

    let mut signers = BTreeMap::new();
    // If there is no key, the reason has been noted above.
    for domain in domains.iter().filter(|_| !keys.is_empty()) {
        let signing = match signer(table, domain, &keys, identity.as_deref(), defaults) {
            Ok(signer) => SigningDomain::Ready(Arc::new(signer)),
            Err((key, why)) => {
                table.broken(key, why.clone());
                SigningDomain::Broken(why)
            }
        };
        signers.insert(domain.clone(), signing);
    }
    signers
}

/// The content of a key's file, or why it cannot be read. It is read once for all domains.
type KeyText = Result<Zeroizing<Vec<u8>>, String>;

fn in_file(table: &Table<'_>, key: &'static str, path: &Path) -> KeyText {
    let (text, warning) = dkim::key::read(path).map_err(|error| error.to_string())?;
    if let Some(warning) = warning {
        table.warning(key, warning);
    }
    Ok(text)
}

fn selector(table: &Table<'_>, key: &'static str) -> Option<Selector> {
    let text: String = table.require(key, "\"postbud1\"")?;
    match Selector::parse(&text) {
        Ok(selector) => Some(selector),
        Err(error) => {
            table.mistake(key, error.to_string());
            None
        }
    }
}

/// Makes the signer of one domain. The error names the unusable key and gives the reason.
fn signer(
    table: &Table<'_>,
    domain: &Domain,
    keys: &[(&'static str, Selector, KeyText)],
    identity: Option<&str>,
    defaults: &SigningDefaults,
) -> Result<Signer, (&'static str, String)> {
    let mut profiles = Vec::new();
    let mut add = |domain: &Domain, selector: &Selector, key: SigningKey, identity: Option<&str>| {
        profiles.push(Profile {
            header_canonicalization: defaults.header_canonicalization,
            body_canonicalization: defaults.body_canonicalization,
            headers: defaults.headers.clone(),
            expires: defaults.expires,
            identity: identity.map(str::to_owned),
            ..Profile::new(domain.clone(), selector.clone(), key)
        });
    };
    for (at, selector, text) in keys {
        let text = text.as_ref().map_err(|why| (*at, why.clone()))?;
        let key = SigningKey::from_pem_with(text, table.passphrase()).map_err(|error| (*at, error.to_string()))?;
        add(domain, selector, key, identity);
    }
    if let Some(second) = &defaults.second {
        let key = SigningKey::from_file(&second.key, table.passphrase());
        let (key, _) = key.map_err(|error| ("private_key", error.to_string()))?;
        add(&second.domain, &second.selector, key, None);
    }
    Signer::new(profiles).map_err(|error| ("private_key", error.to_string()))
}
