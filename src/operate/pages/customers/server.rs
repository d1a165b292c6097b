//! The customer's own server: it is entered here, tried at once, and stored if mail could be delivered there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use maud::{Markup, html};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::clock::moment;
use super::text::{NoConnection, Words, words};
use super::wrong::Wrong;
use crate::customers::{Customer, Via};
use crate::delivery::{ProbeReport, Step, StepResult};
use crate::message::CustomerId;
use crate::onboarding::{Finding, Lang};
use crate::operate::customers::Password;
use crate::operate::microsoft365;
use crate::operate::own_server::{NotTried, OwnLogin, OwnServer, Trial};
use crate::operate::pages::elements::{Field, Mood, badge, copyable_lines, select, strange};
use crate::operate::pages::forms::Fields;
use crate::route::microsoft::Cloud;
use crate::route::{Route, TlsMode};
use crate::time::Timestamp;

/// The maximum number of customers whose trials are kept in memory.
const KEPT: usize = 1_000;

/// The result of a trial.
pub(super) struct Tried {
    /// What was entered, without the password.
    entered: Entered,
    /// The application at Microsoft 365 that was tried, where one was.
    application: Option<Named>,
    /// The reason why the server is not used.
    wrong: Option<Wrong>,
    /// The result of each step.
    report: Option<ProbeReport>,
    /// True if mail is sent there from now on.
    kept: bool,
    at: Timestamp,
}

/// What a customer entered.
#[derive(Clone, Default)]
struct Entered {
    host: String,
    port: String,
    tls: String,
    with_login: bool,
    username: String,
}

/// An application at Microsoft 365 as a customer named it, without its secret.
#[derive(Clone, Default)]
pub(super) struct Named {
    pub tenant: String,
    pub client: String,
}

/// The last trial of each customer, without passwords. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Trials(Arc<Mutex<HashMap<CustomerId, Arc<Tried>>>>);

impl Trials {
    pub fn last(&self, customer: &CustomerId) -> Option<Arc<Tried>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(customer).cloned()
    }

    pub fn keep(&self, customer: &CustomerId, tried: Tried) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= KEPT && !all.contains_key(customer) {
            all.clear();
        }
        all.insert(customer.clone(), Arc::new(tried));
    }
}

/// A form that was filled in.
pub(super) struct Filled {
    entered: Entered,
    password: Zeroizing<String>,
    is_confirmed: bool,
}

impl Tried {
    /// Makes the result of a trial of the customer's present server with an application's credentials.
    pub fn again(route: &Route, application: Named, trial: Result<ProbeReport, Wrong>, kept: bool) -> Self {
        let entered = Entered::of(route);
        let (wrong, report) = match trial {
            Ok(report) => (None, Some(report)),
            Err(wrong) => (Some(wrong), None),
        };
        Tried { entered, application: Some(application), wrong, report, kept, at: Timestamp::now() }
    }
}

impl Entered {
    /// The server that the customer has.
    fn of(route: &Route) -> Self {
        Entered {
            host: route.host.clone(),
            port: route.port.to_string(),
            tls: route.tls.mode.as_str().to_owned(),
            with_login: route.login.is_some(),
            username: route.login.as_ref().map(|login| login.username.clone()).unwrap_or_default(),
        }
    }
}

impl Filled {
    pub fn of(fields: &Fields) -> Self {
        let text = |name: &str| fields.text(name).chars().take(300).collect::<String>();
        Filled {
            entered: Entered {
                host: text("host").trim_end_matches('.').to_ascii_lowercase(),
                port: text("port"),
                tls: text("tls"),
                with_login: text("login") != "none",
                username: text("username"),
            },
            password: Zeroizing::new(fields.raw("password").to_owned()),
            is_confirmed: fields.is_ticked("confirm"),
        }
    }

    /// Returns the server that was entered.
    pub fn server(&self, customer: &Customer) -> Result<OwnServer, Wrong> {
        let Entered { host, port, tls, with_login, username } = &self.entered;
        let port = port.parse::<u16>().ok().filter(|port| *port > 0).ok_or(Wrong::Port)?;
        if matches!(customer.via, Via::Mailjet { .. }) && !self.is_confirmed {
            return Err(Wrong::Unconfirmed);
        }
        let tls = TlsMode::ALL.into_iter().find(|mode| mode.as_str() == tls).unwrap_or(TlsMode::Required);
        let login = with_login.then(|| OwnLogin { username: username.clone(), password: password(&self.password) });
        Ok(OwnServer { host: host.clone(), port, tls, login })
    }

    /// Makes the result of a trial of this server.
    pub fn tried(self, trial: Result<Trial, Wrong>, kept: bool) -> Tried {
        let (wrong, report) = match trial {
            Ok(Trial::Done(report)) => (None, Some(report)),
            Ok(Trial::Not(why)) => (Some(Wrong::Not(why)), None),
            Ok(Trial::TooSlow) => (Some(Wrong::TooSlow), None),
            Err(wrong) => (Some(wrong), None),
        };
        Tried { entered: self.entered, application: None, wrong, report, kept, at: Timestamp::now() }
    }

    /// Makes the result of a successful trial that webCRM must act on before the server can be stored.
    pub fn not_kept(self, report: ProbeReport) -> Tried {
        Tried {
            entered: self.entered,
            application: None,
            wrong: Some(Wrong::Ours),
            report: Some(report),
            kept: false,
            at: Timestamp::now(),
        }
    }
}

/// Returns the password. An empty field means that none was entered.
fn password(text: &Zeroizing<String>) -> Option<Password> {
    let value = serde::de::value::StrDeserializer::<serde::de::value::Error>::new(text);
    (!text.is_empty()).then(|| Password::deserialize(value).ok()).flatten()
}

/// Returns the part of the page with the server and its form. `code` is the form's hidden field; `egress` is the address that mail is sent
/// from.
pub(super) fn part(
    lang: Lang,
    customer: &Customer,
    path: &str,
    code: &Markup,
    tried: Option<&Tried>,
    egress: &str,
) -> Markup {
    let words = words(lang);
    let is_own = matches!(customer.via, Via::OwnServer(_));
    let failed = tried.filter(|tried| !tried.kept);
    let application = failed.and_then(|tried| tried.application.clone());
    let is_open = failed.is_some() && application.is_none();
    let lines = microsoft365::powershell_for(customer, application.as_ref().map(|named| named.client.as_str()));
    html! {
        div #server-part {
            @if let Some(tried) = tried { (result(lang, words, tried)) }
            @if let Via::OwnServer(route) = &customer.via {
                p { ((words.server_now)(&format!("{}:{}", route.host, route.port))) }
                @if route.login.is_none() { p { ((words.server_by_address)(egress)) } }
            }
            (how_much(words, customer))
            details open[is_open] {
                summary { @if is_own { (words.server_change) } @else { (words.server_use) } }
                @if !is_own { p { (words.server_instead) } }
                (form(words, customer, path, code, tried))
            }
            @if let Some(lines) = lines { (oauth(lang, path, code, &lines, application.as_ref())) }
            (allow(words, egress))
        }
    }
}

/// Tells how much its own server or its own key at Mailjet carries. A tier's caps are not one customer's.
fn how_much(words: &Words, customer: &Customer) -> Markup {
    let caps = customer.own_routes().next().map(|route| route.caps);
    html! {
        @if customer.own_mailjet.is_some() { p #own-key { (words.own_key) } }
        @if let Some(caps) = caps.filter(|caps| caps.per_minute.is_some() || caps.per_day.is_some()) {
            p #caps { ((words.caps)(caps.per_minute, caps.per_day)) }
        }
    }
}

fn form(words: &Words, customer: &Customer, path: &str, code: &Markup, tried: Option<&Tried>) -> Markup {
    let before = match (&customer.via, tried) {
        (_, Some(tried)) => tried.entered.clone(),
        (Via::OwnServer(route), None) => Entered::of(route),
        _ => Entered { port: "587".to_owned(), with_login: true, ..Entered::default() },
    };
    let wrong = tried.and_then(|tried| tried.wrong);
    let about = |which: &[Wrong]| wrong.filter(|wrong| which.contains(wrong)).map(|wrong| (words.wrong)(wrong));
    let field = |name, label, hint, kind, value, error, autocomplete, required| {
        Field { name, label, hint, kind, value, error, autocomplete, required }.render()
    };
    html! {
        form method="post" action={ (path) "/server" } {
            (code)
            (field("host", words.host, words.host_hint, "text", before.host.as_str(),
                about(&[Wrong::Not(NotTried::Host), Wrong::Not(NotTried::NoAddress), Wrong::Not(NotTried::PrivateAddress)]), "off", true))
            (field("port", words.port, words.port_hint, "text", before.port.as_str(),
                about(&[Wrong::Port, Wrong::Not(NotTried::Port)]), "off", true))
            (select("tls", words.tls, &words.tls_modes, &before.tls))
            fieldset {
                legend { (words.login) }
                div.choice {
                    input #login-yes type="radio" name="login" value="password" checked[before.with_login];
                    label for="login-yes" { (words.login_yes) }
                }
                div.choice {
                    input #login-no type="radio" name="login" value="none" checked[!before.with_login];
                    label for="login-no" { (words.login_no) }
                }
                (field("username", words.username, "", "text", before.username.as_str(), about(&[Wrong::Not(NotTried::Username), Wrong::Not(NotTried::PlainLogin)]),
                    "off", false))
                (field("password", words.password, words.password_hint, "password", "", about(&[Wrong::Not(NotTried::Password)]),
                    "off", false))
            }
            @if matches!(customer.via, Via::Mailjet { .. }) {
                div.choice {
                    input #confirm type="checkbox" name="confirm" value="yes";
                    label for="confirm" { (words.server_confirm) }
                }
                @if wrong == Some(Wrong::Unconfirmed) { p.error { ((words.wrong)(Wrong::Unconfirmed)) } }
            }
            div.actions { button type="submit" { (words.server_try) } }
            p.quiet.small { (words.server_safe) }
        }
    }
}

/// Returns the part about OAuth at Microsoft 365: what an administrator does there, with the lines to paste, and the fields for the result.
/// `tried` is the application that did not work.
fn oauth(lang: Lang, path: &str, code: &Markup, lines: &str, tried: Option<&Named>) -> Markup {
    let words = words(lang);
    let field = |name, label, hint, kind, value| {
        Field { name, label, hint, kind, value, error: None, autocomplete: "off", required: true }.render()
    };
    let before = tried.cloned().unwrap_or_default();
    html! {
        details #oauth open[tried.is_some()] {
            summary { (words.oauth_title) }
            p { (words.oauth_why) }
            ol {
                @for step in words.oauth_before { li { (step) } }
                li {
                    (words.oauth_lines)
                    (copyable_lines(lang, "oauth-lines", "PowerShell", lines))
                }
                li { (words.oauth_after) }
            }
            form method="post" action={ (path) "/oauth" } {
                (code)
                (field("tenant", words.tenant, words.tenant_hint, "text", before.tenant.as_str()))
                (field("client", words.client, words.client_hint, "text", before.client.as_str()))
                (field("secret", words.secret, words.secret_hint, "password", ""))
                div.actions { button type="submit" { (words.server_try) } }
                p.quiet.small { (words.server_safe) }
            }
        }
    }
}

/// Shows the result of the last trial.
fn result(lang: Lang, words: &Words, tried: &Tried) -> Markup {
    let steps = tried.report.as_ref().map(|report| report.steps.as_slice()).unwrap_or_default();
    let failed = steps.iter().find(|step| step.finding == StepResult::Failed);
    let server = format!("{}:{}", tried.entered.host, tried.entered.port);
    let said = failed.map(|step| {
        lang.finding(&Finding::ProbeFailed {
            server: server.clone(),
            step: step.step,
            reason: step.found.clone(),
            remedy: step.advice.clone().unwrap_or_default(),
        })
    });
    let mood = match (tried.kept, tried.wrong) {
        (true, _) => Mood::Good,
        (false, Some(_)) => Mood::Wait,
        (false, None) => Mood::Bad,
    };
    let at_microsoft = Cloud::of(&tried.entered.host).is_some();
    html! {
        div.card.(mood.class()) #trial role="status" {
            h3 {
                @match (tried.kept, tried.wrong) {
                    (true, _) => ((words.server_works)(&server)),
                    (false, Some(wrong)) => ((words.wrong)(wrong)),
                    (false, None) => ((words.server_fails)(&server)),
                }
            }
            p.quiet.small { (moment(tried.at, lang)) }
            @if let Some(text) = &said {
                p { (strange(&text.what)) }
                p { strong { (strange(&text.next)) } }
                @if at_microsoft && failed.is_some_and(|step| matches!(step.step, Step::Login | Step::Token)) {
                    p { (words.microsoft_login) }
                }
            }
            @if !steps.is_empty() {
                ol.steps {
                    @for step in steps {
                        @let (mood, word) = match step.finding {
                            StepResult::Ok => (Mood::Good, words.step_ok),
                            StepResult::Warning => (Mood::Wait, words.step_warning),
                            StepResult::Failed => (Mood::Bad, words.step_failed),
                        };
                        li {
                            (badge(mood, word))
                            span { ((words.probe_step)(step.step)) }
                            @let found = match NoConnection::read(&step.found) {
                                Some((peer, why)) => (words.no_connection)(peer, why),
                                None => step.found.clone(),
                            };
                            span.quiet.small { (words.server_said) " " code { (strange(&found)) } }
                        }
                    }
                }
            }
        }
    }
}

/// Explains how mail servers are configured to accept mail from our address.
fn allow(words: &Words, egress: &str) -> Markup {
    html! {
        details {
            summary { ((words.allow_title)(egress)) }
            @for (system, steps) in (words.allow)(egress) {
                h3 { (system) }
                ol { @for step in steps { li { (step) } } }
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::delivery::ProbeStep;
    use crate::operate::pages::forms::Forms;
    use crate::route::{Login, LoginSecret};
    use crate::test_customers;

    /// The part with this text wherever somebody else's can be: a server's replies, and what was entered.
    pub fn part_with(text: &str) -> Markup {
        let login = Some(Login::new(text, LoginSecret::Password("x".to_owned())));
        let route = Route { login, ..test_customers::route("own-server.x", "smtp.office365.com") };
        let via = Via::OwnServer(Arc::new(route.clone()));
        let mut customer = test_customers::customer("x", [test_customers::ed25519("test.dk")], via);
        customer.name = text.to_owned();
        let advice = Some(text.to_owned());
        let step =
            ProbeStep { step: Step::Login, finding: StepResult::Failed, took_ms: 1.0, found: text.to_owned(), advice };
        let steps = vec![ProbeStep { finding: StepResult::Warning, ..step.clone() }, step];
        let (route_name, server) = (text.to_owned(), text.to_owned());
        let report = ProbeReport { route: route_name, server, worst: StepResult::Failed, steps };
        let named = Named { tenant: text.to_owned(), client: text.to_owned() };
        let host = Route { host: text.to_owned(), ..route };
        let tried = [
            Tried::again(&host, named, Ok(report), false),
            Tried {
                application: None,
                ..Tried::again(&host, Named::default(), Err(Wrong::Not(NotTried::Host)), false)
            },
        ];
        html! { @for tried in &tried { (part(Lang::Da, &customer, "/link/x/test.dk", &html! {}, Some(tried), "192.0.2.1")) } }
    }

    #[test]
    fn a_password_is_never_shown_again() {
        let forms = Forms::new();
        let code = forms.hidden("s", "server").into_string();
        let code = code.split("value=\"").nth(1).unwrap().split('"').next().unwrap();
        let body = format!("form={code}&host=Mail.Test.DK.&port=587&tls=required&username=crm&password=hemmelig");
        let filled = Filled::of(&forms.read("s", "server", body.as_bytes()).ok().unwrap());
        let customer = crate::test_customers::customer(
            "x",
            [crate::test_customers::ed25519("test.dk")],
            Via::OwnServer(Arc::new(crate::test_customers::route("own-server.x", "mail.test.dk"))),
        );
        let server = filled.server(&customer).ok().unwrap();
        assert_eq!((server.host.as_str(), server.port, server.tls), ("mail.test.dk", 587, TlsMode::Required));
        assert!(server.login.as_ref().is_some_and(|login| login.username == "crm" && login.password.is_some()));
        let tried = filled.tried(Ok(Trial::TooSlow), false);
        let shown = part(Lang::Da, &customer, "/link/x/test.dk", &html! {}, Some(&tried), "40.74.40.57").into_string();
        assert!(
            !shown.contains("hemmelig") && shown.contains("value=\"crm\"") && shown.contains("40.74.40.57"),
            "{shown}"
        );
    }
}
