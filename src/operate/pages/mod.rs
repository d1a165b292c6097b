//! Pages in a browser: two more doors to the service, beside the command line, the socket and the API. They decide nothing about
//! permission and change nothing themselves: each form calls the same function of [`operate`](super) that the other doors call.
//!
//! ```text
//! web::serve      connections bounded, TLS, Host checked, client named, headers that protect
//!   └─ guard      an answer within 28 seconds; no form from another site; problems as pages, in the reader's language
//!      └─ a page  look up ─► Markup ─► layout::Page ─► Response
//! ```
//!
//! | folder | serves | listener |
//! |---|---|---|
//! | `customers` | a customer's page, which a link opens | `[pages.customers]` |
//! | `operators` | operators' pages, behind a login | `[pages.operators]` |
//!
//! # How to write a page
//!
//! * **A page** is a handler that returns `Result<Response, Problem>` and ends with `layout::Page``{ … }.into_response()`. The
//!   title and all sentences come from a struct of texts with one constant a language (see `text`): a text that one language lacks
//!   does not compile. `language::Chosen` is an extractor; `chosen.lang(…)` says in which language to write.
//! * **Markup** is written with `maud::html!`, which escapes every value. Never use `PreEscaped` on anything that has a value in it.
//!   What a stranger wrote (a record, a reply, a name) goes through [`visible`](crate::visible::visible) besides, or through
//!   `elements::strange`, which also bounds it.
//! * **A form** begins with `forms::Forms::hidden`, and its handler reads its body with `forms::Forms::read`, which refuses a
//!   form that was not made for this session. Answer a `POST` with `see` (303), so that a reload repeats nothing. A form that is wrong
//!   is shown again with `elements::Field`'s `error` beside the field and what was typed (but no password).
//! * **A table** is `elements::table`: on a phone its rows become cards, by the headings that it repeats in each cell.
//! * **A status** is `elements::badge`: a word and a sign, never the colour alone.
//! * **A chart** is `chart::bars`: SVG with a title, and the numbers as a table below it for those who cannot see it.
//! * **Styles and scripts** stand in `assets/`: one file each for all pages. The content security policy allows no inline style
//!   (`style="…"` has no effect) and no inline script. A script marks what it does by `data-…` attributes; every page must work without.
//! * **Live parts**: a page that changes by itself has `Page::refresh` (a meta element inside `noscript`), and for scripts an element
//!   with `data-live="URL"`, whose server-sent events `part` carry `{"id": …, "html": …}` that replaces the element of that id.

// Chart, table and field are written once for both doors; operators' pages use more of them than the customer's.
#![allow(dead_code, reason = "operators' pages are being built on these")]

mod assets;
pub(crate) mod chart;
pub(crate) mod elements;
pub(crate) mod forms;
mod guard;
pub(crate) mod language;
pub(crate) mod layout;
pub(crate) mod problem;
pub(crate) mod text;

pub mod customers;
pub mod operators;

use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use url::Url;

pub(crate) use problem::Problem;

use crate::web;

#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen, and how.
    pub endpoint: web::Settings,
    /// What links to the pages begin with, as browsers reach them.
    pub url: Url,
}

/// Sends the browser to another page of ours with a `GET` (303). `to` is a path that this program wrote.
pub(crate) fn see(to: &str) -> Response {
    match HeaderValue::from_str(to) {
        Ok(to) => (StatusCode::SEE_OTHER, [(LOCATION, to)]).into_response(),
        Err(_) => Problem::Failed.into_response(),
    }
}
