//! Reads `test`, `test_allow` and `test_redirect` of a login or a customer.

use super::reader::Table;
use crate::customers::{AllowedRecipient, TestMode};
use crate::message::is_test_address;
use crate::smtp::Mailbox;

/// Reads the keys. Returns `None` for normal mail.
pub(super) fn test_mode(table: &Table<'_>) -> Option<TestMode> {
    let is_on = table.or("test", false);
    let (allow, redirect) = (allow(table), redirect(table));
    if !is_on {
        for key in ["test_allow", "test_redirect"] {
            if table.has(key) {
                table.mistake(key, "has no use without test = true");
            }
        }
        return None;
    }
    Some(TestMode { allow, redirect })
}

fn allow(table: &Table<'_>) -> Vec<AllowedRecipient> {
    let mut allowed = Vec::new();
    for text in table.or::<Vec<String>>("test_allow", Vec::new()) {
        match AllowedRecipient::parse(&text) {
            Some(recipient) => allowed.push(recipient),
            None => {
                let what =
                    format!("\"{text}\" is no address like \"anna@webcrm.com\" and no domain like \"*@webcrm.com\"");
                table.mistake("test_allow", what);
            }
        }
    }
    allowed
}

fn redirect(table: &Table<'_>) -> Option<Mailbox> {
    let text: String = table.get("test_redirect")?;
    match Mailbox::parse(&text) {
        Ok(address) if is_test_address(&address) => {
            table
                .mistake("test_redirect", format!("\"{text}\" is nobody's address: mail to it could not be delivered"));
            None
        }
        Ok(address) => Some(address),
        Err(_) => {
            table.mistake("test_redirect", format!("\"{text}\" is no address like \"anna@webcrm.com\""));
            None
        }
    }
}
