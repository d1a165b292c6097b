//! Commands about returned information: the address to which Mailjet sends its events, and the keys of return paths.

use std::io;

use serde::Serialize;
use zeroize::Zeroizing;

use super::actor::Need;
use super::audit::Act;
use super::site::Site;
use super::{Actor, Error};
use crate::events::Action;
use crate::files;
use crate::onboarding::mailjet::callback::{self, Done, KINDS};
use crate::onboarding::mailjet::{Client, RequestError};
use crate::returns::mail::keys;
use crate::returns::mailjet::Settings;

/// The result for one kind of event in one account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Registered {
    /// The account, as the configuration names it: the tier, or `own.CUSTOMER`.
    pub account: String,
    /// The kind of event, as Mailjet names it.
    pub event: &'static str,
    /// `kept`, `added` or `changed`.
    pub result: &'static str,
}

impl Site {
    /// Returns the address to enter at Mailjet. It contains the secret, the name and the password.
    pub fn mailjet_events_url(&self, actor: &Actor) -> Result<Zeroizing<String>, Error> {
        actor.may(Need::Admin)?;
        let settings = self.mailjet_events()?;
        Ok(settings.access.url_below(&settings.url))
    }

    /// Registers this relay for the events of Mailjet's accounts: of all accounts with an API, or of the named one. Kinds of events that
    /// are not wanted are left as they are.
    pub async fn register_mailjet_events(
        &self,
        actor: &Actor,
        account: Option<&str>,
    ) -> Result<Vec<Registered>, Error> {
        let url = self.mailjet_events_url(actor)?;
        let settings = self.mailjet_events()?;
        let audit = self.audit()?;
        let all = &self.configured.onboarding.mailjet_accounts;
        let chosen: Vec<_> = all.iter().filter(|(name, _)| account.is_none_or(|wanted| wanted == *name)).collect();
        if chosen.is_empty() {
            let names: Vec<&str> = all.keys().map(String::as_str).collect();
            return Err(match account {
                Some(name) => Error::not_found(
                    format!("there is no account \"{name}\" with Mailjet's API"),
                    format!("there are: {}", names.join(", ")),
                ),
                None => Error::invalid(
                    "no tier and no customer has an account at Mailjet's API",
                    "set api in [mailjet.TIER] of the server file, or enter the address in Mailjet's console",
                ),
            });
        }
        let wanted = |kind: &&str| match *kind {
            "open" => settings.opens,
            "click" => settings.clicks,
            _ => true,
        };
        let kinds: Vec<&'static str> = KINDS.into_iter().filter(wanted).collect();
        let mut registered = Vec::new();
        for (name, account) in chosen {
            let client = Client::new(account.clone())
                .map_err(|error| Error::failed(error.to_string(), "run the command again"))?;
            let done = callback::set(&client, &url, &kinds).await.map_err(|problem| not_set(name, &problem))?;
            let detail = format!("Mailjet's account {name} brings its events to {}", settings.url);
            audit.tell(actor, Act::new(Action::MailjetEvents, detail))?;
            registered.extend(done.into_iter().map(|(event, done)| Registered {
                account: name.clone(),
                event,
                result: match done {
                    Done::Kept => "kept",
                    Done::Added => "added",
                    Done::Changed => "changed",
                },
            }));
        }
        Ok(registered)
    }

    /// Puts a new key for return paths before the others. The relay uses it from its next start on. Returns how many keys there are.
    pub fn rotate_return_path_key(&self, actor: &Actor) -> Result<usize, Error> {
        actor.may(Need::Admin)?;
        if self.configured.returns_domain.is_none() {
            return Err(Error::conflict(
                "mail comes back to no domain",
                "set domain and listen in [returns] of the server file",
            ));
        }
        let audit = self.audit()?;
        let (dir, path) = (&self.configured.state_dir, keys::file(&self.configured.state_dir));
        let keys = files::in_state(&[dir], || keys::rotate(&path)).map_err(|error: io::Error| {
            Error::failed(
                format!("{}: {error}", path.display()),
                "run the command as the user that runs the relay or as root; the keys are as they were",
            )
        })?;
        audit.tell(
            actor,
            Act::new(Action::ReturnPathKey, format!("return paths have a new key, beside {} old", keys - 1)),
        )?;
        Ok(keys)
    }

    fn mailjet_events(&self) -> Result<&Settings, Error> {
        self.configured.mailjet_events.as_ref().ok_or_else(|| {
            Error::conflict("no events of Mailjet's are taken", "write [returns.mailjet] in the server file")
        })
    }
}

fn not_set(account: &str, problem: &RequestError) -> Error {
    let remedy = match problem {
        RequestError::Credentials(_) => "correct the key and secret of the account",
        RequestError::Busy(_) | RequestError::NoAnswer(_) => "run the command again later: what is done stays done",
        _ => "enter the address in Mailjet's console: `postbud returns mailjet url` prints it",
    };
    Error::failed(format!("account {account}: {}", problem.detail()), remedy)
}
