//! The frame of every page, and its headers.

use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY};
use axum::response::{Html, IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use super::assets::{ICON, SCRIPT, STYLE};
use super::text::words;
use crate::onboarding::Lang;

/// The content security policy: pages may only load from and send to our own site.
pub(crate) const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; \
                                 form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A page, ready for a browser.
pub(crate) struct Page {
    /// The language of its texts.
    pub lang: Lang,
    /// The title in the tab, which screen readers read first.
    pub title: String,
    /// The name at the top left: the owner of the page.
    pub owner: String,
    /// The links to other pages at the top right. It may be empty.
    pub menu: Markup,
    /// The content. It begins with an `h1`.
    pub body: Markup,
    /// The path of this page, to which a link to the other language adds `?lang=`. `None` means no such link.
    pub path: Option<String>,
    /// The number of seconds after which a page without scripts loads again.
    pub refresh_secs: Option<u32>,
    /// True for pages with wide tables.
    pub is_wide: bool,
    /// The text at the foot. `None` means the text for readers who got a link: that the page is from webCRM.
    pub foot: Option<String>,
}

impl Page {
    /// Makes a page with this content.
    pub fn new(lang: Lang, title: impl Into<String>, owner: impl Into<String>, body: Markup) -> Self {
        let (title, owner, menu) = (title.into(), owner.into(), html! {});
        Page { lang, title, owner, menu, body, path: None, refresh_secs: None, is_wide: false, foot: None }
    }

    pub fn render(&self) -> String {
        let words = words(self.lang);
        let wide = |name: &'static str| if self.is_wide { format!("{name} wide") } else { name.to_owned() };
        let other = match self.lang {
            Lang::Da => ("en", "English"),
            Lang::En => ("da", "Dansk"),
        };
        let document = html! {
            (DOCTYPE)
            html lang=(self.lang) {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="robots" content="noindex, nofollow";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) }
                    link rel="icon" href=(ICON.path) type="image/svg+xml";
                    link rel="stylesheet" href=(STYLE.path);
                    script src=(SCRIPT.path) defer {}
                    @if let Some(secs) = self.refresh_secs {
                        noscript { meta http-equiv="refresh" content=(secs); }
                    }
                }
                body {
                    a.skip href="#main" { (words.skip) }
                    header class=(wide("top")) {
                        span.name { (self.owner) }
                        (self.menu)
                        @if let Some(path) = &self.path {
                            a href={ (path) "?lang=" (other.0) } lang=(other.0) hreflang=(other.0) { (other.1) }
                        }
                    }
                    main #main class=[self.is_wide.then_some("wide")] { (self.body) }
                    div #said .unseen role="status" {}
                    footer class=(wide("foot")) { span { (self.foot.as_deref().unwrap_or(words.from_webcrm)) } }
                }
            }
        };
        document.into_string()
    }

    /// Makes the response with a status other than 200.
    pub fn with_status(self, status: StatusCode) -> Response {
        (status, self.into_response()).into_response()
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let headers =
            [(CONTENT_SECURITY_POLICY, POLICY), (CACHE_CONTROL, "no-store"), (REFERRER_POLICY, "no-referrer")];
        (headers, Html(self.render())).into_response()
    }
}
