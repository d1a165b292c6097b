//! Authenticates requests for pages: an operator with a session cookie, or one that a trusted proxy names.
//!
//! Over TLS the cookie is `__Host-…`, so that no other host of the domain can set it. It is HttpOnly, so that no script reads it, and
//! SameSite=Strict, so that no other site's request carries it. A link in a mail also counts as another site: the browser comes without the
//! cookie, and is redirected to the same page from here.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{COOKIE, REFRESH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use maud::html;

use super::Operators;
use crate::onboarding::Lang;
use crate::operate::Actor;
use crate::operate::pages::layout::Page;
use crate::operate::pages::{Problem, see};
use crate::time::Timestamp;
use crate::web::{Client, ViaProxy};

/// The operator of a request. Only pages behind [`require`] have one.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    pub actor: Arc<Actor>,
    known_by: Arc<KnownBy>,
}

#[derive(Debug)]
enum KnownBy {
    Cookie(String),
    /// The operator was named in a trusted proxy's header.
    Proxy(String),
}

impl Visitor {
    /// Returns the session to which the codes of forms are bound.
    pub fn key(&self) -> &str {
        match &*self.known_by {
            KnownBy::Cookie(secret) | KnownBy::Proxy(secret) => secret,
        }
    }

    /// Returns the session's secret, if there is a session.
    pub fn session(&self) -> Option<&str> {
        match &*self.known_by {
            KnownBy::Cookie(secret) => Some(secret),
            KnownBy::Proxy(_) => None,
        }
    }

    /// Returns true if the visitor may change the queue and the routes.
    pub fn may_operate(&self) -> bool {
        self.actor.may_operate().is_ok()
    }

    /// Returns true if the visitor may change customers.
    pub fn may_administer(&self) -> bool {
        self.actor.may_administer().is_ok()
    }

    /// Makes a visitor for tests of pages.
    #[cfg(test)]
    pub fn of(actor: Actor) -> Self {
        Visitor { actor: Arc::new(actor), known_by: Arc::new(KnownBy::Proxy("test".to_owned())) }
    }
}

impl<S: Sync> FromRequestParts<S> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Visitor>().cloned().ok_or(Problem::Forbidden)
    }
}

/// Admits operators, and redirects others to the login.
pub(super) async fn require(State(pages): State<Operators>, mut request: Request, next: Next) -> Response {
    // Another node may have changed the operators.
    if let Err(error) = pages.service().operators.is_current() {
        return Problem::Refused(error).into_response();
    }
    if let Some(visitor) = visitor(&pages, &request) {
        request.extensions_mut().insert(visitor);
        return next.run(request).await;
    }
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    if *request.method() != Method::GET {
        return see("/login?over=1");
    }
    if comes_from_elsewhere(request.headers()) {
        return once_more(path);
    }
    let to: String = url::form_urlencoded::byte_serialize(path.as_bytes()).collect();
    see(&if path == "/" { "/login".to_owned() } else { format!("/login?to={to}") })
}

fn visitor(pages: &Operators, request: &Request) -> Option<Visitor> {
    let client = request.extensions().get::<Client>().map(|client| client.0);
    let operators = &pages.service().operators;
    if let Some(name) = &pages.0.trusted_header
        && request.extensions().get::<ViaProxy>().is_some()
    {
        let mut given = request.headers().get_all(name).iter();
        // If the client sent the header too, the proxy has not replaced it, and neither value can be trusted.
        let (Some(value), None) = (given.next(), given.next()) else { return None };
        let named = value.to_str().ok()?.trim();
        let actor = operators.named_by_proxy(named, client)?;
        return Some(Visitor { known_by: Arc::new(KnownBy::Proxy(format!("proxy {named}"))), actor: Arc::new(actor) });
    }
    let secret = cookie(request.headers(), cookie_name(pages.0.is_encrypted))?;
    let actor = operators.look(secret, client, Timestamp::now())?;
    Some(Visitor { actor: Arc::new(actor), known_by: Arc::new(KnownBy::Cookie(secret.to_owned())) })
}

/// Returns the name of the session cookie.
pub(super) fn cookie_name(is_encrypted: bool) -> &'static str {
    if is_encrypted { "__Host-postbud-operator" } else { "postbud-operator" }
}

/// Makes the header that sets or removes the session cookie.
pub(super) fn cookie_with(is_encrypted: bool, secret: Option<&str>) -> HeaderValue {
    let name = cookie_name(is_encrypted);
    let secure = if is_encrypted { "; Secure" } else { "" };
    // The cookie has no expiry: it ends with the browser, or when the relay ends the session.
    let value = match secret {
        Some(secret) => format!("{name}={secret}; Path=/; HttpOnly; SameSite=Strict{secure}"),
        None => format!("{name}=; Path=/; HttpOnly; SameSite=Strict{secure}; Max-Age=0"),
    };
    HeaderValue::from_str(&value).expect("a secret is letters, digits, hyphens and underscores")
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';'));
    let mut all = all.filter_map(|pair| pair.trim().split_once('='));
    let found = all.find(|(known, _)| *known == name).map(|(_, value)| value);
    found.filter(|value| !value.is_empty() && value.len() < 200)
}

fn comes_from_elsewhere(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
    matches!(site, Some("cross-site" | "same-site"))
}

/// Redirects a browser that followed a link from elsewhere to the same page from here, so that it sends the cookie. A path like
/// `//evil.example` would lead to another site.
fn once_more(path: &str) -> Response {
    let path = local(path);
    let body = html! { h1 { "One moment" } p { a href=(path) { "Go on" } } };
    let mut response = Page::new(Lang::En, "One moment", "postbud", body).into_response();
    if let Ok(value) = HeaderValue::from_str(&format!("0; url={path}")) {
        response.headers_mut().insert(REFRESH, value);
    }
    response
}

/// Returns `to` if it is a path of ours, and otherwise the overview.
pub(super) fn local(to: &str) -> &str {
    let is_local =
        to.starts_with('/') && !to.starts_with("//") && !to.contains('\\') && to.bytes().all(|b| b.is_ascii_graphic());
    if is_local { to } else { "/" }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn a_login_leads_to_no_other_site() {
        for to in ["/", "/queue?state=held&customer=a%20b", "/work/0000"] {
            assert_eq!(local(to), to);
        }
        for to in ["", "//evil.example", "https://evil.example", "/\\evil.example", "evil", "/a\nSet-Cookie: x", "/æ"]
        {
            assert_eq!(local(to), "/", "{to}");
        }
    }

    #[test]
    fn a_link_from_elsewhere_leads_to_no_other_site() {
        for (path, led) in
            [("/queue?state=held", "/queue?state=held"), ("//evil.example/x", "/"), ("/\\evil.example", "/")]
        {
            let response = once_more(path);
            assert_eq!(response.headers()[REFRESH], format!("0; url={led}"), "{path}");
        }
    }

    #[test]
    fn the_cookie_is_kept_from_scripts_and_other_sites() {
        let set = cookie_with(true, Some("abc"));
        let text = set.to_str().unwrap();
        assert_eq!(text, "__Host-postbud-operator=abc; Path=/; HttpOnly; SameSite=Strict; Secure");
        assert!(cookie_with(false, None).to_str().unwrap().ends_with("Max-Age=0"));
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_static("lang=en; postbud-operator=abc; x=y"));
        assert_eq!(cookie(&headers, "postbud-operator"), Some("abc"));
        assert_eq!(cookie(&headers, "__Host-postbud-operator"), None);
    }
}
