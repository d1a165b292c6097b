//! An operator's own account: the password and the open sessions.

use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use zeroize::Zeroizing;

use super::Operators;
use super::input::Asked;
use super::show;
use super::visitor::Visitor;
use crate::operate::operators::{OpenSession, SHORTEST_PASSWORD};
use crate::operate::pages::elements::{Field, strange, table};
use crate::operate::pages::{Problem, see};
use crate::operate::{Error, Role};

pub(super) async fn show(State(pages): State<Operators>, visitor: Visitor, _: Asked) -> Response {
    page(&pages, &visitor, None)
}

fn page(pages: &Operators, visitor: &Visitor, refused: Option<&Error>) -> Response {
    let sessions = pages.service().own_sessions(&visitor.actor, visitor.session());
    let may = match visitor.actor.role() {
        Role::Admin => "admin: everything",
        Role::Operate => {
            "operate: look at everything, change the queue, the routes and suppression lists, pause customers, check domains, \
             send test mails, and acknowledge alerts"
        }
        Role::Read | Role::Customer(_) | Role::Link(_) => "read: look at everything",
    };
    let body = html! {
        h1 { (visitor.actor.operator().unwrap_or_default()) }
        p { "Your role is " (may) "." }
        @if visitor.session().is_some() {
            section.card aria-labelledby="sessions" {
                h2 #sessions { "Where you are logged in" }
                (list(&sessions))
                @if sessions.len() > 1 {
                    form method="post" action="/account" {
                        (pages.forms().hidden(visitor.key(), "account"))
                        input type="hidden" name="do" value="others";
                        div.actions { button.plain { "End all other sessions" } }
                    }
                }
            }
            section.card aria-labelledby="change" {
                h2 #change { "Change the password" }
                p { "You then have to log in again everywhere." }
                @if let Some(error) = refused { div.note.bad role="alert" { p { (error.to_string()) } } }
                (password_form(pages, visitor))
            }
        } @else {
            p { "A proxy has logged you in: your password is there." }
        }
    };
    let page = pages.page(visitor, "/account", "Your account", body);
    match refused {
        Some(error) => page.with_status(Problem::Refused(error.clone()).status()),
        None => page.into_response(),
    }
}

fn password_form(pages: &Operators, visitor: &Visitor) -> Markup {
    let hint = format!("At least {SHORTEST_PASSWORD} characters: four or five words that do not belong together.");
    let field = |name: &'static str, label: &'static str, hint: &str, autocomplete: &'static str| {
        let field = Field { name, label, hint, kind: "password", value: "", error: None, autocomplete, required: true };
        field.render()
    };
    html! {
        form method="post" action="/account" {
            (pages.forms().hidden(visitor.key(), "account"))
            input type="hidden" name="do" value="password";
            (field("old", "Old password", "", "current-password"))
            (field("new", "New password", &hint, "new-password"))
            (field("again", "New password once more", "", "new-password"))
            div.actions { button { "Change the password" } }
        }
    }
}

fn list(sessions: &[OpenSession]) -> Markup {
    let rows = sessions.iter().map(|session| {
        vec![
            html! { (strange(&session.address)) @if session.is_own { " (this one)" } },
            show::moment(session.created),
            show::moment(session.last_seen),
        ]
    });
    table("The last seen first", &["From", "Logged in", "Last seen"], rows)
}

pub(super) async fn change(State(pages): State<Operators>, visitor: Visitor, body: Bytes) -> Result<Response, Problem> {
    let fields = pages.forms().read(visitor.key(), "account", &body)?;
    if fields.text("do") == "others" {
        pages.service().log_out_others(&visitor.actor, visitor.session()).await?;
        return Ok(see("/account"));
    }
    let [old, new, again] = ["old", "new", "again"].map(|name| Zeroizing::new(fields.raw(name).to_owned()));
    drop(fields);
    let changed = if *new == *again {
        pages.service().change_own_password(&visitor.actor, old, new).await
    } else {
        Err(Error::invalid("the two new passwords differ", "type the new password twice"))
    };
    match changed {
        Ok(()) => Ok(see("/login")),
        Err(error) => Ok(page(&pages, &visitor, Some(&error))),
    }
}
