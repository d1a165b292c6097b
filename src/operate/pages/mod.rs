//! Pages in a browser. They are two more interfaces to the service, beside the command line, the socket and the API. They do not decide
//! about permissions and do not change anything themselves: each form calls the same function of [`operate`](super) as the other
//! interfaces.
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
//! * **A page** is a handler that returns `Result<Response, Problem>` and ends with `layout::Page::into_response`. The title and
//!   all sentences come from a struct of texts with one constant for each language (see `text`), so a text that is missing in one language
//!   does not compile. `language::Chosen` is an extractor; `chosen.lang()` returns the language of the page, and `chosen.or(own)` that of a
//!   page that knows its reader's language.
//! * **Markup** is written with `maud::html!`, which escapes every value. Never use `PreEscaped` on anything that contains a value. Texts
//!   from strangers (a record, a reply, a name) also go through [`visible`](crate::visible::visible), or through `elements::strange`, which
//!   limits their length too.
//! * **A form** begins with `forms::Forms::hidden`. Its handler reads the body with `forms::Forms::read`, which refuses a form that was not
//!   made for this session. Answer a `POST` with `see` (303), so that a reload does not repeat it. Show an invalid form again with the
//!   typed values (but no password), and with the `error` of `elements::Field` beside the field.
//! * **A table** is `elements::table`: on a phone its rows become cards, with the heading in each cell.
//! * **A status** is `elements::badge`: a word and a sign, never the colour alone.
//! * **A chart** is `chart::bars`: SVG with a title, and the numbers as a table below it for those who cannot see it.
//! * **Styles and scripts** are in `assets/`: one file each for all pages. The content security policy allows no inline style (`style="…"`
//!   has no effect) and no inline script. A script finds its elements by `data-…` attributes; every page must work without scripts.
//! * **Live parts**: a page that changes by itself has `Page::refresh_secs` (a meta element inside `noscript`). For scripts it has an element
//!   with `data-live="URL"`, whose server-sent events `part` contain `{"id": …, "html": …}`, which replaces the element with that id.

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
    /// The address to listen on, and who may connect.
    pub endpoint: web::Settings,
    /// The base address of links to the pages, as browsers reach them.
    pub url: Url,
}

/// Redirects the browser with a `GET` to another page of ours (303). `to` is a path that this program wrote.
pub(crate) fn see(to: &str) -> Response {
    match HeaderValue::from_str(to) {
        Ok(to) => (StatusCode::SEE_OTHER, [(LOCATION, to)]).into_response(),
        Err(_) => Problem::Failed.into_response(),
    }
}
