//! Commands about routes that log in at Microsoft 365 with a password: list them, and change them to OAuth (XOAUTH2).
//!
//! A change is tried before it is made: a probe logs in with the new credentials, while mail continues with the old ones. Only then the
//! customer's file is changed. Mail that waits meanwhile is sent after the reload, even if it waits because a login was refused.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use super::actor::Need;
use super::audit::Act;
use super::keys::read;
use super::site::{Site, postmaster};
use super::{Actor, Error, Service, routes};
use crate::customers::{Customer, Directory, Via};
use crate::delivery::{ProbeReport, Step, StepResult};
use crate::events::Action;
use crate::files;
use crate::message::CustomerId;
use crate::onboarding::rotation::toml_string;
use crate::route::microsoft::Cloud;
use crate::route::{Login, LoginSecret, Route};
use crate::smtp::{Domain, Mailbox, Mechanism};

/// A route that logs in at Microsoft 365 with a password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PasswordRoute {
    pub customer: String,
    pub route: String,
    pub server: String,
    /// The mailbox that logs in.
    pub username: String,
    /// The route's state, if a relay is running.
    pub state: Option<String>,
    /// The server's reply to the last login, if it said that passwords are not accepted.
    pub hint: Option<String>,
    /// What must be done.
    pub needs: String,
}

/// The application in the customer's tenant that sends the customer's mail.
#[derive(Clone)]
pub struct Application {
    /// The tenant: its id or one of its domains.
    pub tenant: String,
    /// The application's (client) id.
    pub client_id: String,
    /// The value of the client secret.
    pub secret: Zeroizing<String>,
}

/// The debug text never shows the secret.
impl fmt::Debug for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Application({} in {})", self.client_id, self.tenant)
    }
}

/// Stands where an application's id goes that is not known yet.
const UNKNOWN_ID: &str = "<application (client) id>";

/// The step at which the trial of an application failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedStep {
    /// The step that failed.
    pub step: Step,
    /// What this means for the application.
    pub means: String,
}

impl FailedStep {
    /// Returns the failed step of a trial, or `None` if mail can be delivered with the application.
    pub fn of(trial: &ProbeReport) -> Option<Self> {
        let step = trial.steps.iter().find(|step| step.finding == StepResult::Failed)?.step;
        let means = match step {
            Step::Token => {
                "Microsoft gave the application no token: check the tenant, the application's id and the secret's Value"
            }
            Step::Login => {
                "Microsoft gave a token, and the mailbox does not accept it: check SMTP.SendAsApp and its consent, and that the lines for \
                 PowerShell were run, which register the enterprise application's object id; Exchange Online may take an hour to know it"
            }
            Step::Mail | Step::Rcpt | Step::Rset | Step::ReturnPath => {
                "the login works, and the server refuses what follows: check that the mailbox may send"
            }
            _ => "the server was not reached as far as the login",
        };
        Some(FailedStep { step, means: means.to_owned() })
    }
}

impl Service {
    /// Lists the routes that log in at Microsoft 365 with a password, with the replies that the nodes got there.
    pub async fn microsoft365(&self, actor: &Actor) -> Result<Vec<PasswordRoute>, Error> {
        let (running, _) = self.routes(actor).await?;
        Ok(password_routes(&self.routing.directory(), &running))
    }

    /// Returns how many routes log in to Microsoft 365 with a password.
    pub fn count_microsoft365(&self, actor: &Actor) -> Result<usize, Error> {
        actor.may(Need::Read)?;
        let directory = self.routing.directory();
        let is_one = |customer: &&Arc<Customer>| matches!(&customer.via, Via::OwnServer(route) if route.password_at_microsoft365().is_some());
        Ok(directory.customers().filter(is_one).count())
    }
}

fn password_routes(directory: &Directory, running: &[routes::Route]) -> Vec<PasswordRoute> {
    let running: HashMap<&str, &routes::Route> = running.iter().map(|it| (it.route.as_str(), it)).collect();
    let mut found = Vec::new();
    for customer in directory.customers() {
        let Via::OwnServer(route) = &customer.via else { continue };
        let (Some(login), Some(_)) = (&route.login, route.password_at_microsoft365()) else { continue };
        let seen = running.get(route.id.as_str());
        found.push(PasswordRoute {
            customer: customer.id.to_string(),
            route: route.id.to_string(),
            server: format!("{}:{}", route.host, route.port),
            username: login.username.clone(),
            state: seen.map(|it| it.state.clone()),
            hint: seen.and_then(|it| it.password_hint.clone()),
            needs: format!("`postbud route oauth {}`", customer.id),
        });
    }
    found
}

impl Site {
    /// Lists the routes that log in at Microsoft 365 with a password. If a relay is running, the list includes the server's replies to it.
    pub async fn microsoft365(&self, actor: &Actor) -> Result<Vec<PasswordRoute>, Error> {
        actor.may(Need::Read)?;
        let running = self.running.routes(actor).await?.unwrap_or_default();
        Ok(password_routes(&self.configured.directory, &running))
    }

    /// Returns the steps for an administrator of the customer's tenant, as lines for PowerShell. `client_id` is the application's id, if it
    /// is already known.
    pub fn oauth_guide(&self, actor: &Actor, customer: &str, client_id: Option<&str>) -> Result<String, Error> {
        let customer = self.customer(actor, customer)?;
        let (route, login) = at_microsoft365(&customer)?;
        if let Some(id) = client_id {
            check_id(id)?;
        }
        let id = client_id.unwrap_or(UNKNOWN_ID);
        Ok(guide(&customer.name, id, &login.username, Cloud::of(&route.host).unwrap_or(Cloud::Worldwide)))
    }

    /// Probes the customer's server with the application's credentials. Changes nothing.
    pub async fn try_oauth(
        &self,
        actor: &Actor,
        customer: &str,
        application: &Application,
    ) -> Result<ProbeReport, Error> {
        actor.may(Need::OwnOf(&CustomerId::new(customer)))?;
        let customer = self.customer(actor, customer)?;
        let route = with_application(&customer, application)?;
        // The mailbox that logs in may send as itself.
        let own = route.login.as_ref().and_then(|login| Mailbox::parse(&login.username).ok());
        let from = own.map_or_else(|| postmaster(&customer), Ok)?;
        Ok(self.delivery()?.probe(&route, &from, &from).await)
    }

    /// Changes the customer's file to the application's credentials. Returns the written files. Unless the relay carries out this command
    /// itself, it must be reloaded afterwards. Blocks.
    pub fn switch_to_oauth(
        &self,
        actor: &Actor,
        customer: &str,
        application: &Application,
    ) -> Result<Vec<PathBuf>, Error> {
        actor.may(Need::OwnOf(&CustomerId::new(customer)))?;
        let customer = self.customer(actor, customer)?;
        let audit = self.audit()?;
        let route = with_application(&customer, application)?;
        let files = &self.configured.customer_files;
        let (dir, file) = (files.dir(), files.path(&customer.id));
        let text = read(&file)?;
        let name = format!("../secrets/{}.oauth", customer.id);
        let changed = changed(&text, &route, &name).ok_or_else(|| {
            Error::conflict(
                format!("[route] of {} is written in a way that is not changed by a command", file.display()),
                "remove its password and auth, and write the table [route.oauth] there by hand",
            )
        })?;
        let secret = dir.join(&name);
        if secret.exists() {
            let what = format!("{} is already there and is never overwritten", secret.display());
            return Err(Error::conflict(what, "move it away; nothing was changed"));
        }
        let line = self.configured.secret_file(&application.secret)?;
        files::write_secret_for(&self.configured.state_dir, &secret, line.as_bytes())
            .map_err(|error| Error::failed(error.to_string(), "nothing was changed"))?;
        let undo = |error: Error| {
            // The relay may have failed to take the new file over, which names the secret. A secret that nothing names does no harm where it
            // cannot be removed.
            if read(&file).is_ok_and(|now| !now.contains(&name)) {
                let _ = fs::remove_file(&secret);
            }
            error
        };
        self.put_customer_blocking(actor, &customer.id, &text, &changed)
            .map_err(|refused| undo(refused.within("with [route.oauth]")))?;
        let detail =
            format!("the route of the customer logs in by OAuth now, as application {}", application.client_id);
        audit.tell(actor, Act { customer: Some(customer.id.to_string()), ..Act::new(Action::RouteLogin, detail) })?;
        Ok([&file, &secret].map(|path: &PathBuf| files::tidy(Path::new(path))).to_vec())
    }
}

/// Returns the lines for PowerShell alone, for a customer whose mail goes to Microsoft 365 with a password; `None` for others. What is no
/// application's id is not put into them.
pub(super) fn powershell_for(customer: &Customer, client_id: Option<&str>) -> Option<String> {
    let (route, login) = at_microsoft365(customer).ok()?;
    let cloud = route.password_at_microsoft365()?;
    Some(powershell(client_id.filter(|id| is_id(id)).unwrap_or(UNKNOWN_ID), &login.username, cloud))
}

fn at_microsoft365(customer: &Customer) -> Result<(&Arc<Route>, &Login), Error> {
    let route = match &customer.via {
        Via::OwnServer(route) if Cloud::of(&route.host).is_some() => route,
        _ => {
            let what = format!("the mail of {} does not go to Microsoft 365", customer.id);
            return Err(Error::invalid(
                what,
                "the list of routes with a password at Microsoft 365 names the customers that are meant",
            ));
        }
    };
    let login = route.login.as_ref().ok_or_else(|| {
        let what = format!("the route of {} has no login: the server knows our address", customer.id);
        Error::invalid(what, "nothing has to be changed")
    })?;
    Ok((route, login))
}

/// Returns the customer's route with the application's credentials.
fn with_application(customer: &Customer, application: &Application) -> Result<Arc<Route>, Error> {
    let (route, login) = at_microsoft365(customer)?;
    check_id(&application.client_id)?;
    let tenant = &application.tenant;
    if !is_id(tenant) && Domain::parse(tenant).is_err() {
        let what = format!("\"{tenant}\" is no tenant");
        return Err(Error::invalid(what, "give the Directory (tenant) id, or a domain of the tenant"));
    }
    if application.secret.is_empty() || is_id(&application.secret) {
        let what = "the secret has the form of an id";
        return Err(Error::invalid(what, "give the secret's Value, which is shown once, and not its Secret ID"));
    }
    let cloud = Cloud::of(&route.host).unwrap_or(Cloud::Worldwide);
    let secret = LoginSecret::ClientCredentials {
        token_url: cloud.token_url(tenant),
        client_id: application.client_id.clone(),
        client_secret: application.secret.as_str().to_owned(),
        scope: cloud.scope().to_owned(),
    };
    let login = Login {
        secret,
        mechanism: None::<Mechanism>,
        stands_in: "the tenant, the application's id or its secret".to_owned(),
        ..login.clone()
    };
    Ok(Arc::new(Route { login: Some(login), ..Route::clone(route) }))
}

fn check_id(id: &str) -> Result<(), Error> {
    match is_id(id) {
        true => Ok(()),
        false => {
            let what = format!("\"{id}\" is no application id");
            Err(Error::invalid(what, "give the Application (client) id, like 00000000-0000-0000-0000-000000000000"))
        }
    }
}

/// Returns true if the text has the form of a Microsoft id.
fn is_id(text: &str) -> bool {
    let parts: Vec<usize> = text.split('-').map(str::len).collect();
    parts == [8, 4, 4, 4, 12] && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}

/// What an administrator pastes into PowerShell, line by line.
fn powershell(client_id: &str, mailbox: &str, cloud: Cloud) -> String {
    let (graph, exchange) = match cloud {
        Cloud::Worldwide => ("", ""),
        Cloud::UsGovernment => (" -Environment USGov", " -ExchangeEnvironmentName O365USGovGCCHigh"),
        Cloud::China => (" -Environment China", " -ExchangeEnvironmentName O365China"),
    };
    // Two quotation marks within a string are one.
    let mailbox = mailbox.replace('\'', "''");
    format!(
        "$id = '{client_id}'\n\
         Install-Module ExchangeOnlineManagement, Microsoft.Graph.Applications -Scope CurrentUser\n\
         Connect-MgGraph -Scopes Application.Read.All{graph}\n\
         Connect-ExchangeOnline{exchange}\n\
         $app = Get-MgServicePrincipal -Filter \"appId eq '$id'\"\n\
         New-ServicePrincipal -AppId $app.AppId -ObjectId $app.Id -DisplayName 'webCRM mail'\n\
         Add-MailboxPermission -Identity '{mailbox}' -User $app.Id -AccessRights FullAccess\n\
         Set-CASMailbox -Identity '{mailbox}' -SmtpClientAuthenticationDisabled $false\n"
    )
}

fn guide(name: &str, client_id: &str, mailbox: &str, cloud: Cloud) -> String {
    let lines = powershell(client_id, mailbox, cloud);
    let lines: String = lines.lines().map(|line| format!("   {line}\n")).collect();
    format!(
        "For an administrator of the tenant of {name}.\n\
         \n\
         1. In Entra ID, register an application (single tenant). Add the application permission SMTP.SendAsApp of \"Office 365\n\
         \x20  Exchange Online\", and grant the administrator's consent. Make a client secret and keep its Value.\n\
         \n\
         2. In PowerShell. The enterprise application's object id is looked up here; the object id that the app registration\n\
         \x20  shows is another one, and the login fails with it.\n\
         \n\
         {lines}\
         \n\
         3. Send webCRM the tenant's id, the application (client) id and the secret's Value. It takes up to an hour until\n\
         \x20  Exchange Online knows the application.\n"
    )
}

/// Returns the text of a customer's file with OAuth in place of the password, or `None` if `[route]` is not a plain table.
fn changed(text: &str, route: &Route, secret: &str) -> Option<String> {
    let root = DeTable::parse(text).ok()?;
    let DeValue::Table(table) = root.get_ref().get("route")?.get_ref() else { return None };
    let LoginSecret::ClientCredentials { token_url, client_id, scope, .. } = &route.login.as_ref()?.secret else {
        return None;
    };
    let mut spans = Vec::new();
    for (key, value) in table.iter() {
        if ["password_file", "password_env", "password_command", "auth"].contains(&key.get_ref().as_ref()) {
            spans.push(key.span().start..value.span().end);
        }
    }
    // In an inline table or behind a dotted key, the rest of the line would be invalid alone.
    let begins_line = |at: usize| text[..at].rsplit('\n').next().is_some_and(|before| before.trim().is_empty());
    if spans.iter().any(|span| !begins_line(span.start)) || !has_header(text) || table.contains_key("oauth") {
        return None;
    }
    let mut out = text.to_owned();
    spans.sort_by_key(|span| std::cmp::Reverse(span.start));
    for span in spans {
        // A list may go on on further lines.
        let line = out[span.clone()].replace('\n', "\n# ");
        out.replace_range(span, &format!("# {line}"));
    }
    if !out.ends_with('\n') {
        out.push('\n');
    }
    let [token_url, client_id, scope, secret] = [token_url, client_id, scope, secret].map(toml_string);
    out.push_str(&format!(
        "\n[route.oauth]\ntoken_url = {token_url}\nclient_id = {client_id}\nclient_secret_file = {secret}\nscope = {scope}\n"
    ));
    Some(out)
}

fn has_header(text: &str) -> bool {
    text.lines().any(|line| line.split('#').next().is_some_and(|line| line.trim() == "[route]"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::ProbeStep;
    use crate::test_customers::{customer, ed25519, route};

    const ID: &str = "01234567-89ab-cdef-0123-456789abcdef";

    fn own() -> Customer {
        let login = Login::new("crm@test.dk", LoginSecret::Password("x".into()));
        let route = Route { login: Some(login), ..route("own-server.test-as", "smtp.office365.com") };
        customer("test-as", [ed25519("test.dk")], Via::OwnServer(Arc::new(route)))
    }

    fn application() -> Application {
        Application {
            tenant: "test.onmicrosoft.com".into(),
            client_id: ID.into(),
            secret: Zeroizing::new("a~b.c".into()),
        }
    }

    #[test]
    fn what_cannot_be_right_is_refused_before_anything_is_tried() {
        assert!(with_application(&own(), &application()).is_ok());
        for (wrong, part) in [
            (Application { tenant: "https://x".into(), ..application() }, "no tenant"),
            (Application { client_id: "test".into(), ..application() }, "no application id"),
            (Application { secret: Zeroizing::new(ID.into()), ..application() }, "form of an id"),
            (Application { secret: Zeroizing::new(String::new()), ..application() }, "form of an id"),
        ] {
            let refused = with_application(&own(), &wrong).unwrap_err().to_string();
            assert!(refused.contains(part), "{refused}");
        }
        let other = Route { host: "mail.test.dk".into(), ..route("own-server.test-as", "x") };
        let other = customer("test-as", [ed25519("test.dk")], Via::OwnServer(Arc::new(other)));
        assert!(with_application(&other, &application()).unwrap_err().to_string().contains("does not go to Microsoft"));
    }

    #[test]
    fn the_step_that_failed_is_named_with_what_it_means() {
        let step = |step, finding| ProbeStep { step, finding, took_ms: 1.0, found: "x".to_owned(), advice: None };
        let trial = |last: Step, finding| ProbeReport {
            route: "r".to_owned(),
            server: "s".to_owned(),
            worst: finding,
            steps: vec![step(Step::Tls, StepResult::Warning), step(last, finding)],
        };
        for (last, part) in [
            (Step::Token, "gave the application no token"),
            (Step::Login, "the mailbox does not accept it"),
            (Step::Mail, "the login works"),
            (Step::Connect, "not reached"),
        ] {
            let failed = FailedStep::of(&trial(last, StepResult::Failed)).unwrap();
            assert!(failed.step == last && failed.means.contains(part), "{failed:?}");
        }
        assert_eq!(FailedStep::of(&trial(Step::Login, StepResult::Ok)), None);
    }

    #[test]
    fn the_guide_uses_the_enterprise_applications_object_id() {
        let text = guide("Test A/S", ID, "crm@test.dk", Cloud::Worldwide);
        assert!(text.contains(&format!("$id = '{ID}'\n")) && text.contains("-Filter \"appId eq '$id'\""), "{text}");
        assert!(text.contains("-ObjectId $app.Id") && text.contains("-User $app.Id"), "{text}");
        assert!(guide("T", ID, "m", Cloud::China).contains("O365China"));
        assert!(powershell(ID, "o'neill@test.dk", Cloud::Worldwide).contains("-Identity 'o''neill@test.dk' "));
        let asked = powershell_for(&own(), Some("'; Remove-Mailbox x; '")).unwrap();
        assert!(asked.starts_with("$id = '<application (client) id>'\n"), "{asked}");
    }

    #[test]
    fn a_customers_file_keeps_everything_but_the_password() {
        let route = with_application(&own(), &application()).unwrap();
        let text = "name = \"T\"   # here\n[route]\nvia = \"own-server\"\nhost = \"smtp.office365.com\"\nusername = \"crm@test.dk\"\n\
                    password_file = \"../secrets/t.password\" # old\nauth = \"login\"\n[route.limits]\npreset = \"microsoft365\"\n";
        let after = changed(text, &route, "../secrets/t.oauth").unwrap();
        assert!(
            after.contains("# password_file = \"../secrets/t.password\" # old\n# auth = \"login\"\n[route.limits]\n"),
            "{after}"
        );
        assert!(
            after.starts_with("name = \"T\"   # here\n")
                && after.contains("client_secret_file = \"../secrets/t.oauth\"\n")
        );
        let table: toml::Table = toml::from_str(&after).unwrap();
        assert_eq!(table["route"]["oauth"]["client_id"].as_str(), Some(ID));
        for odd in [
            "route = { via = \"own-server\", password_file = \"x\" }\n",
            "route.via = \"own-server\"\nroute.password_file = \"x\"\n",
            "[route]\nvia = \"own-server\"\n[route.oauth]\nclient_id = \"x\"\n",
            "[",
        ] {
            assert_eq!(changed(odd, &route, "s"), None, "{odd}");
        }
    }
}
