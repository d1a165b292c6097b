//! The frame of operators' pages: the menu, the operator's name, and problems in words for operators.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use maud::{Markup, html};

use super::Operators;
use super::visitor::Visitor;
use crate::onboarding::Lang;
use crate::operate::pages::Problem;
use crate::operate::pages::layout::Page;
use crate::operate::pages::text::words;
use crate::visible::visible;

/// The menu: paths and names.
const PLACES: [(&str, &str); 8] = [
    ("/", "Overview"),
    ("/alerts", "Alerts"),
    ("/queue", "Queue"),
    ("/customers", "Customers"),
    ("/routes", "Routes"),
    ("/trace", "Trace"),
    ("/suppression", "Suppression"),
    ("/audit", "Audit"),
];

impl Operators {
    /// Makes a page for a visitor. `here` is the path of its menu entry.
    pub(super) fn page(&self, visitor: &Visitor, here: &str, title: &str, body: Markup) -> Page {
        let hostname = &self.0.surroundings.hostname;
        let menu = html! {
            nav.pages aria-label="Main" {
                @for (path, name) in PLACES {
                    a href=(path) aria-current=[(path == here).then_some("page")] { (name) }
                }
            }
            nav.pages aria-label="You" {
                a href="/account" aria-current=[(here == "/account").then_some("page")] {
                    (visitor.actor.operator().unwrap_or_default())
                }
                @if visitor.session().is_some() {
                    form.inline method="post" action="/logout" {
                        (self.forms().hidden(visitor.key(), "logout"))
                        button.plain.small { "Log out" }
                    }
                }
            }
        };
        Page {
            menu,
            is_wide: true,
            foot: Some("Times are UTC.".to_owned()),
            ..Page::new(Lang::En, format!("{title} – {hostname}"), format!("postbud {hostname}"), body)
        }
    }
}

/// Writes the page of a problem, in the frame if the visitor is known.
pub(super) async fn in_frame(State(pages): State<Operators>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let (Some(problem), visitor) =
        (response.extensions().get::<Problem>().cloned(), response.extensions().get::<Visitor>().cloned())
    else {
        return response;
    };
    let (title, what, next) = said(&problem);
    let body = html! {
        h1 { (title) }
        p { (what) }
        p { (next) }
        p { a href="/" { "To the overview" } }
    };
    let page = match visitor {
        Some(visitor) => pages.page(&visitor, "", &title, body),
        None => Page::new(Lang::En, title.as_str(), "postbud", body),
    };
    page.with_status(problem.status())
}

/// Returns the title, what is wrong, and what to do.
fn said(problem: &Problem) -> (String, String, String) {
    let own = |title: &str, what: &str, next: &str| (title.to_owned(), what.to_owned(), next.to_owned());
    match problem {
        Problem::NotFound => own(
            "There is no such page",
            "Nothing is at this address. What it showed may be gone.",
            "Go on from the overview.",
        ),
        Problem::Failed => own(
            "Something went wrong in the relay",
            "The page could not be made. Whether mail goes on is on the overview.",
            "See the relay's log.",
        ),
        Problem::Refused(error) => {
            let title = match error.kind {
                crate::operate::ErrorKind::Forbidden => "Your role does not include this",
                crate::operate::ErrorKind::NotFound => "It is not there",
                _ => "This cannot be done",
            };
            let mut remedy = error.remedy.chars();
            let first = remedy.next().map(char::to_uppercase).into_iter().flatten().collect::<String>();
            let remedy = format!("{first}{}.", remedy.as_str().trim_end_matches('.'));
            (title.to_owned(), visible(&error.message).into_owned(), visible(&remedy).into_owned())
        }
        other => other.said(words(Lang::En)),
    }
}
