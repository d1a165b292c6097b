//! The mark of a move in the database: the column `move` of the table `spool`.

use super::link::Failure;
use crate::spool::moving::Mark;

/// The name of the node that moves mail. A relay's node does not get this name by accident.
pub(super) const NODE: &str = "postbud spool move";

/// Decodes what the column holds.
pub(super) fn decode(text: Option<String>) -> Result<Option<Mark>, Failure> {
    let read = text.map(|text| serde_json::from_str(&text)).transpose();
    read.map_err(|error| Failure::new(format!("the mark of a move does not decode ({error}); restore the database")))
}
