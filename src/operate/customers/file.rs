//! Makes the file of a new customer, with the same comments as the example configuration.

use std::fmt::Write as _;

use super::{NewCustomer, NewRoute};
use crate::onboarding::rotation::toml_string;

/// Makes the text. `key` and `password` are the names of the private key's and the password's files, relative to the customer's file.
pub(super) fn text(customer: &NewCustomer, key: &str, password: &str) -> String {
    let domains: Vec<String> = customer.domains.iter().map(|domain| toml_string(domain.as_str())).collect();
    let mut text = format!(
        "# The file's name is the customer's id. `postbud check` explains every mistake in it.\n\
         name = {}\n\
         domains = [{}]   # From domains: exact names, and each belongs to one customer only\n\
         # bounce_domains = [\"bounce.webcrm.com\"]   # MAIL FROM may be in these besides\n\
         # suspended = \"why\"   # takes the customer out of service: mail is refused, and stopped in the queue\n\
         # bulk = \"refuse\"     # \"refuse\" | \"warn\": bulk mail of a domain that lacks what bulk needs\n\
         \n\
         # `postbud dkim rotate {}` changes the key.\n\
         [dkim]\n\
         selector = {}\n\
         private_key = {}\n\
         \n\
         [route]\n",
        toml_string(&customer.name),
        domains.join(", "),
        customer.id,
        toml_string(customer.selector.as_str()),
        toml_string(key),
    );
    match &customer.route {
        NewRoute::Mailjet => mailjet(customer, &mut text),
        NewRoute::OwnServer { host, port, tls, login } => {
            let _ = write!(
                text,
                "via = \"own-server\"\nhost = {}\nport = {port}\ntls = {}   # \"off\" | \"opportunistic\" | \"required\" | \"implicit\"\n",
                toml_string(host),
                toml_string(tls.as_str())
            );
            match login {
                Some(login) => {
                    let (username, file) = (toml_string(&login.username), toml_string(password));
                    let _ = write!(text, "username = {username}\npassword_file = {file}\n");
                }
                None => text.push_str("# no login: the server must know our address\n"),
            }
            text.push_str("# [route.limits]\n# preset = \"microsoft365\"   # \"microsoft365\" | \"exchange\" | \"google-relay\" | \"postfix\"\n");
        }
    }
    text
}

fn mailjet(customer: &NewCustomer, text: &mut String) {
    text.push_str(
        "via = \"mailjet\"\n\
         # tier = \"trusted\"   # unset: the best tier that the domain has earned\n\
         # Unset: Mailjet's account decides. DMARC rests on Mailjet's signature, with the trackers or without.\n\
         # track_opens = false\n\
         # track_clicks = false\n",
    );
    for domain in &customer.domains {
        let _ = write!(
            text,
            "\n# Only if {domain} is registered with Mailjet by hand: what Mailjet's console shows for it.\n\
             # [mailjet.\"{domain}\"]\n\
             # ownership = \"…\"   # the token: 32 characters\n\
             # dkim = \"…\"        # the value of the key record, k=rsa; p=…\n"
        );
    }
}
