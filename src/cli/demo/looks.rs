//! The demo in a browser: the operators' pages with an operator, and the customer's page with a link.

use anyhow::Context;

use super::workshop::{CUSTOMER, Workshop};
use crate::operate::links::{AddedLink, NewLink};
use crate::operate::operators::{NewOperator, PasswordHash};
use crate::operate::socket::{self, protocol::Command};
use crate::operate::tokens::RoleName;

/// The operator of the demo.
pub(super) const OPERATOR: &str = "demo";

/// Adds the operator and makes the link over the running relay's socket, as `postbud operator add` and `postbud customer link` do. Returns
/// the link.
pub(super) async fn open(workshop: &Workshop) -> anyhow::Result<String> {
    let (state_dir, password) = (workshop.dir().join("state"), workshop.password().to_owned());
    let opened = tokio::task::spawn_blocking(move || -> anyhow::Result<String> {
        let password_hash = Some(PasswordHash::of(&password)?);
        let operator = NewOperator { name: OPERATOR.to_owned(), role: RoleName::Admin, password_hash };
        socket::call(&state_dir, Command::AddOperator(operator), |_| {}, |_| {})?;
        let link = NewLink { days: Some(1), language: Some("en".to_owned()) };
        let mut made = None;
        let add = Command::AddLink { customer: CUSTOMER.to_owned(), new: link };
        socket::call(&state_dir, add, |item| made = Some(item), |_| {})?;
        let made: AddedLink = serde_json::from_value(made.unwrap_or_default())?;
        Ok(made.url)
    });
    opened.await?.context("the pages cannot be opened")
}
