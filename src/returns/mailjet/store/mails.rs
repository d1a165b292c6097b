//! The mails that Mailjet took: their rows, their states, and when Mailjet is asked about them.

use std::collections::{BTreeMap, HashMap};

use super::{Mail, stored, unsigned, values};
use crate::database::{Error, Row, Transaction, Value, list, portions};
use crate::message::QueueId;
use crate::record::journal::Position;
use crate::returns::mailjet::state::State;
use crate::time::Timestamp;

/// Adds mails that this node relayed, unless they are there already. If Mailjet has reported nothing until the time that `ask` gives, it is
/// asked about the mail.
pub(in super::super) fn add(
    tables: &Transaction<'_>,
    mails: &[Mail],
    ask: impl Fn(&Mail) -> Option<Timestamp>,
) -> Result<(), Error> {
    let rows: Vec<[Value<'_>; 12]> = mails.iter().map(|mail| values_of(mail, tables.node(), ask(mail))).collect();
    let into = "mailjet_mail (mail, place, name, recipient, customer, route, file, line, relayed, state, ask, node)";
    tables.insert(into, &rows, "ON CONFLICT (mail, place) DO NOTHING")
}

fn values_of<'a>(mail: &'a Mail, node: &'a str, ask: Option<Timestamp>) -> [Value<'a>; 12] {
    let number = |value: u64| Value::Integer(value.cast_signed());
    [
        stored(mail.id).into(),
        i64::from(mail.place).into(),
        mail.name.into(),
        mail.recipient.into(),
        mail.customer.as_str().into(),
        mail.route.as_str().into(),
        number(mail.at.segment),
        number(mail.at.offset),
        mail.relayed.into(),
        mail.state.stored().into(),
        ask.into(),
        node.into(),
    ]
}

pub(super) const COLUMNS: &str = "mail, place, name, recipient, customer, route, file, line, relayed, state, node";

fn mail(row: &Row<'_>) -> Result<Mail, Error> {
    Ok(Mail {
        id: QueueId::from_u64(row.integer(0)?.cast_unsigned()),
        place: u32::try_from(row.integer(1)?).unwrap_or_default(),
        name: row.maybe_integer(2)?,
        recipient: row.integer(3)?,
        customer: row.text(4)?.to_owned(),
        route: row.text(5)?.to_owned(),
        at: Position { segment: unsigned(row.integer(6)?), offset: unsigned(row.integer(7)?) },
        relayed: row.time(8)?,
        state: State::from_stored(row.integer(9)?),
        node: row.text(10)?.to_owned(),
    })
}

pub(super) fn mails(tables: &Transaction<'_>, sql: &str, which: &[Value<'_>]) -> Result<Vec<Mail>, Error> {
    let mut found = Vec::new();
    tables.query(sql, which, |row| {
        found.push(mail(&row)?);
        Ok::<_, Error>(())
    })?;
    Ok(found)
}

/// Stores the states of recipients. Mailjet is no longer asked about them.
pub(in super::super) fn heard(tables: &Transaction<'_>, states: &HashMap<(QueueId, u32), State>) -> Result<(), Error> {
    // Most recipients have the same place and get the same state.
    let mut alike = BTreeMap::<(i64, i64), Vec<i64>>::new();
    for ((id, place), state) in states {
        alike.entry((state.stored(), (*place).into())).or_default().push(stored(*id));
    }
    for ((state, place), ids) in alike {
        for ids in portions(&ids) {
            let sql = format!(
                "UPDATE mailjet_mail SET state = $1, ask = NULL WHERE place = $2 AND mail IN {}",
                list(3, ids.len())
            );
            tables.execute(&sql, &values(&[&[state, place], ids].concat()))?;
        }
    }
    Ok(())
}

/// Returns up to `most` mails of this node about which Mailjet must be asked now, in the order in which Mailjet accepted them.
pub(in super::super) fn to_ask(tables: &Transaction<'_>, now: Timestamp, most: i64) -> Result<Vec<Mail>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM (SELECT * FROM mailjet_mail WHERE node = $1 AND ask <= $2 ORDER BY ask LIMIT $3) AS due \
         ORDER BY relayed"
    );
    mails(tables, &sql, &[tables.node().into(), now.into(), most.into()])
}

/// Returns the number of mails of this node about which Mailjet must be asked now, and when the oldest was relayed.
pub(in super::super) fn gaps(tables: &Transaction<'_>, now: Timestamp) -> Result<(i64, Option<Timestamp>), Error> {
    let sql = "SELECT count(*), min(relayed) FROM mailjet_mail WHERE node = $1 AND ask <= $2";
    let found =
        tables.first(sql, &[tables.node().into(), now.into()], |row| Ok((row.integer(0)?, row.maybe_time(1)?)))?;
    Ok(found.unwrap_or_default())
}

/// Sets when Mailjet is asked about a recipient next; `None` means never.
pub(in super::super) fn ask_at(tables: &Transaction<'_>, mail: &Mail, at: Option<Timestamp>) -> Result<(), Error> {
    let sql = "UPDATE mailjet_mail SET ask = $1 WHERE mail = $2 AND place = $3 AND ask IS NOT NULL";
    let which = [at.into(), stored(mail.id).into(), i64::from(mail.place).into()];
    tables.execute(sql, &which).map(drop)
}
