//! The login and the logout.

use std::net::{IpAddr, Ipv4Addr};

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::SET_COOKIE;
use axum::response::{IntoResponse, Response};
use maud::html;
use zeroize::Zeroizing;

use super::Operators;
use super::input::Asked;
use super::visitor::{Visitor, cookie_with, local};
use crate::onboarding::Lang;
use crate::operate::operators::LoginRefused;
use crate::operate::pages::elements::Field;
use crate::operate::pages::layout::Page;
use crate::operate::pages::{Problem, see};
use crate::submission::Credentials;
use crate::web::Client;

/// The session to which the code of the login form is bound, because no real session exists yet.
const NO_SESSION: &str = "login";

pub(super) async fn show(State(pages): State<Operators>, asked: Asked) -> Response {
    let said = (!asked.text("over").is_empty())
        .then_some("Your session is over, and nothing was done. Log in, and do it once more.");
    page(&pages, local(asked.text("to")), "", said, StatusCode::OK)
}

fn page(pages: &Operators, to: &str, name: &str, said: Option<&str>, status: StatusCode) -> Response {
    let field = |name, label, kind, value, autocomplete| Field {
        name,
        label,
        hint: "",
        kind,
        value,
        error: None,
        autocomplete,
        required: true,
    };
    let hostname = &pages.0.surroundings.hostname;
    let body = html! {
        h1 { "Log in" }
        @if let Some(said) = said { div.note.bad role="alert" { p { (said) } } }
        form method="post" action="/login" {
            (pages.forms().hidden(NO_SESSION, "login"))
            input type="hidden" name="to" value=(to);
            (field("name", "Name", "text", name, "username").render())
            (field("password", "Password", "password", "", "current-password").render())
            div.actions { button { "Log in" } }
        }
        p.quiet { "An administrator makes a login with " code { "postbud operator add" } "." }
    };
    let page = Page {
        foot: Some(String::new()),
        ..Page::new(Lang::En, format!("Log in – {hostname}"), format!("postbud {hostname}"), body)
    };
    page.with_status(status)
}

pub(super) async fn log_in(
    State(pages): State<Operators>,
    client: Option<Extension<Client>>,
    body: Bytes,
) -> Result<Response, Problem> {
    let fields = pages.forms().read(NO_SESSION, "login", &body)?;
    let (to, name) = (local(fields.text("to")).to_owned(), fields.text("name").to_owned());
    let credentials = Credentials {
        username: Zeroizing::new(name.clone()),
        password: Zeroizing::new(fields.raw("password").to_owned()),
    };
    drop(fields);
    let address = client.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Extension(Client(address))| address);
    let (said, status) = match pages.service().log_in(credentials, address).await? {
        Ok(secret) => {
            let cookie = cookie_with(pages.0.is_encrypted, Some(secret.as_str()));
            return Ok(([(SET_COOKIE, cookie)], see(&to)).into_response());
        }
        Err(LoginRefused::Wrong) => ("The name or the password is wrong.", StatusCode::UNAUTHORIZED),
        Err(LoginRefused::Throttled) => (
            "Too many logins were wrong, from your address or with this name, so this one was not looked at. Wait a minute, and try again.",
            StatusCode::TOO_MANY_REQUESTS,
        ),
        Err(LoginRefused::Busy) => {
            ("Too many logins are being checked. Try again in a minute.", StatusCode::SERVICE_UNAVAILABLE)
        }
    };
    Ok(page(&pages, &to, &name, Some(said), status))
}

pub(super) async fn log_out(
    State(pages): State<Operators>,
    visitor: Visitor,
    body: Bytes,
) -> Result<Response, Problem> {
    pages.forms().read(visitor.key(), "logout", &body)?;
    if let Some(session) = visitor.session() {
        pages.service().log_out(&visitor.actor, session).await?;
    }
    Ok(([(SET_COOKIE, cookie_with(pages.0.is_encrypted, None))], see("/login")).into_response())
}
