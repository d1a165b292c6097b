//! The command that makes an API key for a customer at Mailjet.
//!
//! The order makes every step repeatable. The key is found at Mailjet by its name, or made there. Then its id and its secret are written
//! into files, and then the customer's file names them. Mail continues in the customer's tier until the new account accepts its domains.

use std::fs;
use std::path::PathBuf;

use zeroize::Zeroizing;

use super::super::actor::Need;
use super::super::audit::Act;
use super::super::keys::read;
use super::super::site::Site;
use super::super::{Actor, Error};
use crate::customers::{Customer, Via};
use crate::events::Action;
use crate::files;
use crate::onboarding::mailjet::{Client, RequestError, own_key};

impl Site {
    /// Makes an API key for a customer in the account of a tier, and names it in the customer's file. Without `tier` the account is that of
    /// the customer's fixed tier, or the only account. Returns the written files. Unless the relay carries out this command itself, it must
    /// be reloaded afterwards.
    pub async fn give_mailjet_key(
        &self,
        actor: &Actor,
        customer: &str,
        tier: Option<&str>,
    ) -> Result<Vec<PathBuf>, Error> {
        actor.may(Need::Admin)?;
        let customer = self.customer(actor, customer)?;
        let audit = self.audit()?;
        let client = Client::new(self.main_account(&customer, tier)?.clone())
            .map_err(|error| Error::failed(error.to_string(), "run the command again"))?;
        let files_of = &self.configured.customer_files;
        let (dir, file) = (files_of.dir(), files_of.path(&customer.id));
        let text = read(&file)?;
        let names = ["key", "secret"].map(|end| format!("../secrets/{}.mailjet-{end}", customer.id));
        let changed = changed(&text, &names).ok_or_else(|| {
            let what = format!("{} has no line [route] of its own", file.display());
            Error::conflict(what, "write [route] as a table, and run the command again")
        })?;
        let made = own_key::find_or_make(&client, &format!("postbud {}", customer.id)).await.map_err(not_made)?;
        let paths = names.each_ref().map(|name| dir.join(name));
        for (path, secret) in paths.iter().zip([Zeroizing::new(made.key.clone()), made.secret.clone()]) {
            // An interrupted run may have left the file. Mailjet's answer is newer.
            if path.exists() {
                fs::remove_file(path).map_err(|error| Error::failed(error.to_string(), "move the file away"))?;
            }
            let line = self.configured.secret_file(&secret)?;
            files::write_secret_for(&self.configured.state_dir, path, line.as_bytes())
                .map_err(|error| Error::failed(error.to_string(), "make sure that the folder can be written"))?;
        }
        let put = self.put_customer(actor, &customer.id, &text, &changed).await;
        put.map_err(|refused| refused.within("with the customer's own key"))?;
        let detail = format!("the customer has an API key of its own at Mailjet, {}", made.key);
        audit.tell(actor, Act { customer: Some(customer.id.to_string()), ..Act::new(Action::RouteLogin, detail) })?;
        let [key, secret] = &paths;
        Ok([&file, key, secret].map(|path| files::tidy(path)).to_vec())
    }

    /// Returns the account in which the key is made.
    fn main_account(
        &self,
        customer: &Customer,
        tier: Option<&str>,
    ) -> Result<&crate::onboarding::MailjetAccount, Error> {
        let Via::Mailjet { tier: fixed } = &customer.via else {
            let what = format!("the mail of {} does not go through Mailjet", customer.id);
            return Err(Error::invalid(what, "name a customer with via = \"mailjet\""));
        };
        if customer.own_mailjet.is_some() {
            return Err(Error::invalid(
                format!("{} has a key of its own already", customer.id),
                "nothing has to be done",
            ));
        }
        let tiers = self.configured.directory.tiers();
        let accounts = &self.configured.onboarding.mailjet_accounts;
        let names: Vec<&String> = accounts.keys().filter(|name| tiers.contains_key(*name)).collect();
        let chosen = match (tier.or(fixed.as_deref()), &names[..]) {
            (Some(name), _) => name,
            (None, [only]) => only.as_str(),
            (None, []) => {
                let what = "no tier has an account at Mailjet's API";
                return Err(Error::invalid(what, "set api in [mailjet.TIER] of the server file"));
            }
            (None, _) => {
                let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
                let what = "several tiers have an account that could make the key";
                return Err(Error::invalid(what, format!("name one of these tiers: {}", names.join(", "))));
            }
        };
        accounts.get(chosen).filter(|_| tiers.contains_key(chosen)).ok_or_else(|| {
            Error::invalid(format!("the tier \"{chosen}\" has no account at Mailjet's API"), "name another tier")
        })
    }
}

fn not_made(problem: RequestError) -> Error {
    let remedy = match &problem {
        RequestError::Credentials(_) => "only a main account makes keys: name its tier, or correct its key and secret",
        RequestError::Busy(_) | RequestError::NoAnswer(_) => "nothing was changed; run the command again later",
        _ => "nothing was changed; look at the account in Mailjet's console",
    };
    Error::failed(problem.detail().to_owned(), remedy)
}

/// Returns the customer file's text with the lines that name the key added below the header `[route]`.
fn changed(text: &str, [key, secret]: &[String; 2]) -> Option<String> {
    let is_header = |line: &str| line.split('#').next().is_some_and(|line| line.trim() == "[route]");
    let mut out = String::with_capacity(text.len() + 200);
    let mut found = false;
    for line in text.split_inclusive('\n') {
        out.push_str(line);
        if !found && is_header(line) {
            found = true;
            if !line.ends_with('\n') {
                out.push('\n');
            }
            out.push_str(&format!(
                "mailjet_account = \"own\"\nusername_file = \"{key}\"\npassword_file = \"{secret}\"\n"
            ));
        }
    }
    found.then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_customers_file_names_the_key_right_behind_its_header() {
        let names = ["k".to_owned(), "s".to_owned()];
        let text = "name = \"T\"\n[route]   # here\nvia = \"mailjet\"\n";
        let after = changed(text, &names).unwrap();
        assert_eq!(
            after,
            "name = \"T\"\n[route]   # here\nmailjet_account = \"own\"\nusername_file = \"k\"\npassword_file = \"s\"\nvia = \"mailjet\"\n"
        );
        assert_eq!(changed("route = { via = \"mailjet\" }\n", &names), None);
    }
}
