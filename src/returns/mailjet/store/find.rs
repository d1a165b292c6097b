//! Finds the recipients that reports are about, many at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::mails::{COLUMNS, mails};
use super::{Mail, stored, values};
use crate::database::{Error, Transaction, list, portions};
use crate::message::QueueId;

/// Selects a recipient of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in super::super) enum Meant {
    /// The recipient at this index of the envelope.
    At(u32),
    /// The recipient with this number ([`recipient_of`]), or the only one, because Mailjet may write its address differently.
    Named(i64),
}

impl Meant {
    fn column(self) -> &'static str {
        match self {
            Meant::At(_) => "place",
            Meant::Named(_) => "recipient",
        }
    }

    fn value(self) -> i64 {
        match self {
            Meant::At(place) => place.into(),
            Meant::Named(recipient) => recipient,
        }
    }
}

/// Selects a mail, by its queue id or by Mailjet's name for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in super::super) enum Which {
    /// The mail with this queue id.
    Id(QueueId),
    /// The mail with this name of Mailjet's ([`name_of`]).
    Name(i64),
}

impl Which {
    fn column(self) -> &'static str {
        match self {
            Which::Id(_) => "mail",
            Which::Name(_) => "name",
        }
    }

    fn value(self) -> i64 {
        match self {
            Which::Id(id) => stored(id),
            Which::Name(name) => name,
        }
    }
}

/// Returns the recipients that these select. Those that are not known are left out.
pub(in super::super) fn find(
    tables: &Transaction<'_>,
    wanted: impl IntoIterator<Item = (Which, Meant)>,
) -> Result<HashMap<(Which, Meant), Mail>, Error> {
    let mut by_columns = BTreeMap::<_, BTreeSet<(Which, Meant)>>::new();
    for (which, meant) in wanted {
        by_columns.entry((which.column(), meant.column())).or_default().insert((which, meant));
    }
    let mut found = HashMap::new();
    for ((column, of), wanted) in by_columns {
        let wanted: Vec<(Which, Meant)> = wanted.into_iter().collect();
        for portion in portions(&wanted) {
            exactly(tables, (column, of), portion, &mut found)?;
        }
        let left = |key: &&(Which, Meant)| matches!(key.1, Meant::Named(_)) && !found.contains_key(*key);
        let left: Vec<(Which, Meant)> = wanted.iter().filter(left).copied().collect();
        for portion in portions(&left) {
            only_ones(tables, column, portion, &mut found)?;
        }
    }
    Ok(found)
}

/// Finds the recipients that fit. The statement also finds those that fit one column by another's selection.
fn exactly(
    tables: &Transaction<'_>,
    (column, of): (&str, &str),
    wanted: &[(Which, Meant)],
    found: &mut HashMap<(Which, Meant), Mail>,
) -> Result<(), Error> {
    let count = wanted.len();
    let sql = format!(
        "SELECT {COLUMNS} FROM mailjet_mail WHERE {column} IN {} AND {of} IN {} ORDER BY mail, place",
        list(1, count),
        list(count + 1, count)
    );
    let which = wanted.iter().map(|(which, _)| which.value());
    let numbers: Vec<i64> = which.chain(wanted.iter().map(|(_, meant)| meant.value())).collect();
    let mut by_numbers = HashMap::new();
    for mail in mails(tables, &sql, &values(&numbers))? {
        let which = if column == "mail" { stored(mail.id) } else { mail.name.unwrap_or_default() };
        let meant = if of == "place" { mail.place.into() } else { mail.recipient };
        by_numbers.entry((which, meant)).or_insert(mail);
    }
    let one = |key: &(Which, Meant)| Some((*key, by_numbers.get(&(key.0.value(), key.1.value()))?.clone()));
    found.extend(wanted.iter().filter_map(one));
    Ok(())
}

/// Finds the only recipients of mails.
fn only_ones(
    tables: &Transaction<'_>,
    column: &str,
    wanted: &[(Which, Meant)],
    found: &mut HashMap<(Which, Meant), Mail>,
) -> Result<(), Error> {
    let columns: Vec<String> = COLUMNS.split(", ").map(|column| format!("min({column})")).collect();
    let sql = format!(
        "SELECT {} FROM mailjet_mail WHERE {column} IN {} GROUP BY {column} HAVING count(*) = 1",
        columns.join(", "),
        list(1, wanted.len())
    );
    let numbers: Vec<i64> = wanted.iter().map(|(which, _)| which.value()).collect();
    for mail in mails(tables, &sql, &values(&numbers))? {
        let number = if column == "mail" { Some(stored(mail.id)) } else { mail.name };
        let keys = wanted.iter().filter(|(which, _)| Some(which.value()) == number);
        found.extend(keys.map(|key| (*key, mail.clone())));
    }
    Ok(())
}
