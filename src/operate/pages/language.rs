//! Chooses the language of a page. The reader's choice (`?lang=en`) comes first and is kept in a cookie. Next is the language that the page
//! knows of its reader, such as the customer's own. Last is the language that the browser asks for.

use std::convert::Infallible;

use axum::extract::{FromRequestParts, Request};
use axum::http::header::{ACCEPT_LANGUAGE, COOKIE, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

use crate::onboarding::Lang;

const COOKIE_NAME: &str = "lang";

/// The known languages of the reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chosen {
    /// The language that the reader chose on a page.
    chosen: Option<Lang>,
    /// The language that the browser asks for.
    accepted: Option<Lang>,
}

impl Chosen {
    /// Returns the language of a page that knows its reader's own language: that one, unless the reader chose another.
    pub fn or(self, own: Lang) -> Lang {
        self.chosen.unwrap_or(own)
    }

    /// Returns the language of a page that does not know its reader.
    pub fn lang(self) -> Lang {
        self.chosen.or(self.accepted).unwrap_or(Lang::Da)
    }

    fn of(request: &Request) -> Self {
        let query = request.uri().query().unwrap_or_default();
        let asked = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "lang");
        let asked = asked.and_then(|(_, value)| value.parse().ok());
        Chosen { chosen: asked.or_else(|| cookie(request.headers())), accepted: accepted(request.headers()) }
    }
}

/// Extracts the result of [`choose`].
impl<S: Send + Sync> FromRequestParts<S> for Chosen {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().copied().unwrap_or_default())
    }
}

/// Stores the languages in the request's extensions, and keeps a choice in a cookie.
pub(super) async fn choose(mut request: Request, next: Next) -> Response {
    let before = cookie(request.headers());
    let chosen = Chosen::of(&request);
    request.extensions_mut().insert(chosen);
    let mut response = next.run(request).await;
    if let Some(lang) = chosen.chosen.filter(|lang| before != Some(*lang)) {
        let value = format!("{COOKIE_NAME}={lang}; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax");
        response
            .headers_mut()
            .append(SET_COOKIE, HeaderValue::from_str(&value).expect("a constant with a language's name"));
    }
    response
}

fn cookie(headers: &HeaderMap) -> Option<Lang> {
    let all = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';'));
    let mut all = all.filter_map(|pair| pair.trim().split_once('='));
    all.find(|(name, _)| *name == COOKIE_NAME).and_then(|(_, value)| value.parse().ok())
}

/// Returns the preferred one of our languages in `Accept-Language` (RFC 9110 §12.5.4). Norwegian and Swedish readers get Danish.
fn accepted(headers: &HeaderMap) -> Option<Lang> {
    let all = headers.get_all(ACCEPT_LANGUAGE).iter().filter_map(|value| value.to_str().ok());
    let mut best: Option<(f32, Lang)> = None;
    for range in all.flat_map(|value| value.split(',')).take(20) {
        let (tag, weight) = range.split_once(';').unwrap_or((range, ""));
        let weight = weight.trim().strip_prefix("q=").and_then(|text| text.trim().parse::<f32>().ok()).unwrap_or(1.0);
        let lang = match tag.trim().split('-').next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "da" | "nb" | "nn" | "no" | "sv" => Lang::Da,
            other if other.is_empty() || !other.bytes().all(|b| b.is_ascii_lowercase()) => continue,
            _ => Lang::En,
        };
        if weight > 0.0 && best.is_none_or(|(most, _)| weight > most) {
            best = Some((weight, lang));
        }
    }
    best.map(|(_, lang)| lang)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_browsers_language_is_the_heaviest_one_that_is_understood() {
        for (header, expected) in [
            ("da", Some(Lang::Da)),
            ("da-DK,da;q=0.9,en;q=0.8", Some(Lang::Da)),
            ("en-GB,en;q=0.9,da;q=0.8", Some(Lang::En)),
            ("en;q=0.3, da;q=0.7", Some(Lang::Da)),
            ("sv-SE", Some(Lang::Da)),
            ("de, fr;q=0.9", Some(Lang::En)),
            ("da;q=0, en", Some(Lang::En)),
            ("*", None),
            ("", None),
            (";;;,,,q=q", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_LANGUAGE, HeaderValue::from_str(header).unwrap());
            assert_eq!(accepted(&headers), expected, "{header}");
        }
    }

    #[test]
    fn a_choice_counts_more_than_what_is_known_of_the_reader() {
        let request = |uri: &str, cookie: &str| {
            let request = Request::builder().uri(uri).header(COOKIE, cookie).header(ACCEPT_LANGUAGE, "en");
            Chosen::of(&request.body(axum::body::Body::empty()).unwrap())
        };
        assert_eq!(request("/", "x=y").lang(), Lang::En);
        assert_eq!(request("/", "x=y").or(Lang::Da), Lang::Da);
        assert_eq!(request("/", "a=b; lang=da").lang(), Lang::Da);
        assert_eq!(request("/?lang=en", "lang=da").or(Lang::Da), Lang::En);
        assert_eq!(request("/?lang=%00", "lang=<script>").lang(), Lang::En);
    }
}
