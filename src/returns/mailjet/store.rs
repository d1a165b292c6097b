//! The stored data: reports that are not in the log yet, the mails that Mailjet took, and the state of each.
//!
//! | table | a row for | kept until |
//! |---|---|---|
//! | `mailjet_inbox` | reports that were answered with 200 | the record has them |
//! | `mailjet_mail` | each recipient that Mailjet accepted, with its position in the journal | `keep` is over |
//! | `mailjet_seen` | an opening or a click that was reported | `keep` is over |
//! | `mailjet_read` | a node, with the position up to which its journal was read for new mails | |
//!
//! If several nodes share the tables, the node that relayed a mail emits the events about it, because its journal has the mail's data.
//! Reports wait in the rows of the node that received them. Reports about another node's mail are handed to that node.
//!
//! Queue ids begin with the time of arrival, so the rows of one day lie together, and the rows of mails that are too old are one range.
//! Times are milliseconds since 1970.

use std::time::Duration;

use super::report::Report;
use super::state::State;
use crate::database::{Error, Row, Schema, Transaction, Value};
use crate::message::QueueId;
use crate::record::journal::Position;
use crate::time::Timestamp;

pub const SCHEMA: Schema = Schema {
    owner: "mailjet",
    steps: &[
        "CREATE TABLE mailjet_inbox (
                  number BIGINT PRIMARY KEY,
                  due BIGINT NOT NULL,
                  came BIGINT NOT NULL,
                  reports BIGINT NOT NULL,
                  body TEXT NOT NULL
              );
              CREATE INDEX mailjet_inbox_due ON mailjet_inbox (due, number);
              CREATE TABLE mailjet_mail (
                  mail BIGINT NOT NULL,
                  place BIGINT NOT NULL,
                  name BIGINT,
                  recipient BIGINT NOT NULL,
                  customer TEXT NOT NULL,
                  route TEXT NOT NULL,
                  file BIGINT NOT NULL,
                  line BIGINT NOT NULL,
                  relayed BIGINT NOT NULL,
                  state BIGINT NOT NULL,
                  ask BIGINT,
                  PRIMARY KEY (mail, place)
              );
              CREATE INDEX mailjet_mail_name ON mailjet_mail (name) WHERE name IS NOT NULL;
              CREATE INDEX mailjet_mail_ask ON mailjet_mail (ask) WHERE ask IS NOT NULL;
              CREATE TABLE mailjet_seen (
                  mail BIGINT NOT NULL,
                  report BIGINT NOT NULL,
                  PRIMARY KEY (mail, report)
              );
              CREATE TABLE mailjet_place (id BIGINT PRIMARY KEY, position TEXT NOT NULL);",
        "ALTER TABLE mailjet_inbox ADD COLUMN node TEXT NOT NULL DEFAULT '';
             ALTER TABLE mailjet_inbox ADD COLUMN handed BIGINT NOT NULL DEFAULT 0;
             DROP INDEX mailjet_inbox_due;
             CREATE INDEX mailjet_inbox_node ON mailjet_inbox (node, due, number);
             ALTER TABLE mailjet_mail ADD COLUMN node TEXT NOT NULL DEFAULT '';
             DROP INDEX mailjet_mail_ask;
             CREATE INDEX mailjet_mail_node ON mailjet_mail (node, ask) WHERE ask IS NOT NULL;
             CREATE TABLE mailjet_read (node TEXT PRIMARY KEY, position TEXT NOT NULL);
             INSERT INTO mailjet_read SELECT '', position FROM mailjet_place;
             DROP TABLE mailjet_place;",
    ],
};

/// Reports that were stored with one commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// The number of the row. Numbers only grow.
    pub number: i64,
    /// When Mailjet sent them.
    pub came: Timestamp,
    pub reports: Vec<Report>,
    /// True if another node took them and handed them on.
    pub handed: bool,
}

/// A recipient of a mail that Mailjet took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mail {
    pub id: QueueId,
    /// The recipient's index in the envelope.
    pub place: u32,
    /// The node that relayed it. Empty where there is one only.
    pub node: String,
    /// A number made from Mailjet's id of the mail in its reply ([`name_of`]).
    pub name: Option<i64>,
    /// A number made from the recipient's address ([`recipient_of`]).
    pub recipient: i64,
    /// The customer's id.
    pub customer: String,
    /// The route of the mail.
    pub route: String,
    /// The place of its `relayed` event in the journal.
    pub at: Position,
    pub relayed: Timestamp,
    /// The reports about it so far.
    pub state: State,
}

fn millis(at: Timestamp) -> i64 {
    i64::try_from(at.as_millis()).unwrap_or(i64::MAX)
}

fn timestamp(millis: i64) -> Timestamp {
    Timestamp::from_millis(u64::try_from(millis).unwrap_or_default())
}

/// Converts an id for a column. Its order is right until the year 2039, and equality always.
fn stored(id: QueueId) -> i64 {
    id.as_u64().cast_signed()
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

/// Returns the number of reports of this node that wait.
pub(super) fn waiting(tables: &Transaction<'_>) -> Result<i64, Error> {
    let sql = "SELECT CAST(sum(reports) AS BIGINT) FROM mailjet_inbox WHERE node = $1 AND handed = 0";
    let found = tables.first(sql, &[tables.node().into()], |row| row.maybe_integer(0))?;
    Ok(found.flatten().unwrap_or_default())
}

/// Returns since when the next due report has waited.
pub(super) fn oldest(tables: &Transaction<'_>) -> Result<Option<Timestamp>, Error> {
    let sql = "SELECT came FROM mailjet_inbox WHERE node = $1 ORDER BY due, number LIMIT 1";
    Ok(tables.first(sql, &[tables.node().into()], |row| row.integer(0))?.map(timestamp))
}

/// Puts reports into this node's inbox. They are due at `due`.
pub(super) fn put(tables: &Transaction<'_>, taken: &Taken, due: Timestamp) -> Result<(), Error> {
    put_at(tables, tables.node(), taken, due)
}

/// Puts reports into a node's inbox.
pub(super) fn put_at(tables: &Transaction<'_>, node: &str, taken: &Taken, due: Timestamp) -> Result<(), Error> {
    let body = serde_json::to_string(&taken.reports).expect("reports have texts and numbers");
    let count = i64::try_from(taken.reports.len()).unwrap_or(i64::MAX);
    let row: [Value<'_>; 7] = [
        taken.number.into(),
        millis(due).into(),
        millis(taken.came).into(),
        count.into(),
        body.as_str().into(),
        node.into(),
        i64::from(taken.handed).into(),
    ];
    let sql = "INSERT INTO mailjet_inbox (number, due, came, reports, body, node, handed) VALUES ($1, $2, $3, $4, $5, $6, $7)";
    tables.execute(sql, &row).map(drop)
}

/// Takes over the reports that have been due at other nodes since `due`, because those nodes do not run.
pub(super) fn adopt(tables: &Transaction<'_>, due: Timestamp) -> Result<usize, Error> {
    let sql = "UPDATE mailjet_inbox SET node = $1, handed = 1 WHERE node <> $1 AND due < $2";
    tables.execute(sql, &[tables.node().into(), millis(due).into()])
}

/// Returns up to `rows` due rows of this node's inbox.
pub(super) fn due(tables: &Transaction<'_>, now: Timestamp, rows: i64) -> Result<Vec<Taken>, Error> {
    let sql = "SELECT number, came, body, handed FROM mailjet_inbox WHERE node = $1 AND due <= $2 ORDER BY due, number LIMIT $3";
    let mut found = Vec::new();
    tables.query(sql, &[tables.node().into(), millis(now).into(), rows.into()], |row| {
        // Only a later version can have written reports that cannot be read. They are dropped with their row.
        let reports = serde_json::from_str(row.text(2)?).unwrap_or_default();
        let handed = row.integer(3)? != 0;
        found.push(Taken { number: row.integer(0)?, came: timestamp(row.integer(1)?), reports, handed });
        Ok::<_, Error>(())
    })?;
    Ok(found)
}

/// Removes a row from the inbox.
pub(super) fn done(tables: &Transaction<'_>, number: i64) -> Result<(), Error> {
    tables.execute("DELETE FROM mailjet_inbox WHERE number = $1", &[number.into()]).map(drop)
}

/// Adds a mail that this node relayed, unless it is there already. Mailjet is asked about it at `ask`, if it has reported nothing until
/// then.
pub(super) fn add(tables: &Transaction<'_>, mail: &Mail, ask: Option<Timestamp>) -> Result<(), Error> {
    let sql =
        "INSERT INTO mailjet_mail (mail, place, name, recipient, customer, route, file, line, relayed, state, ask, node)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT (mail, place) DO NOTHING";
    let number = |value: u64| Value::Integer(value.cast_signed());
    let row: [Value<'_>; 12] = [
        stored(mail.id).into(),
        i64::from(mail.place).into(),
        mail.name.into(),
        mail.recipient.into(),
        mail.customer.as_str().into(),
        mail.route.as_str().into(),
        number(mail.at.segment),
        number(mail.at.offset),
        millis(mail.relayed).into(),
        mail.state.stored().into(),
        ask.map(millis).into(),
        tables.node().into(),
    ];
    tables.execute(sql, &row).map(drop)
}

const COLUMNS: &str = "mail, place, name, recipient, customer, route, file, line, relayed, state, node";

fn mail(row: &Row<'_>) -> Result<Mail, Error> {
    Ok(Mail {
        id: QueueId::from_u64(row.integer(0)?.cast_unsigned()),
        place: u32::try_from(row.integer(1)?).unwrap_or_default(),
        name: row.maybe_integer(2)?,
        recipient: row.integer(3)?,
        customer: row.text(4)?.to_owned(),
        route: row.text(5)?.to_owned(),
        at: Position { segment: unsigned(row.integer(6)?), offset: unsigned(row.integer(7)?) },
        relayed: timestamp(row.integer(8)?),
        state: State::from_stored(row.integer(9)?),
        node: row.text(10)?.to_owned(),
    })
}

fn mails(tables: &Transaction<'_>, sql: &str, which: &[Value<'_>]) -> Result<Vec<Mail>, Error> {
    let mut found = Vec::new();
    tables.query(sql, which, |row| {
        found.push(mail(&row)?);
        Ok::<_, Error>(())
    })?;
    Ok(found)
}

/// Selects a recipient of a mail.
#[derive(Clone, Copy, Debug)]
pub(super) enum Meant {
    /// The recipient at this index of the envelope.
    At(u32),
    /// The recipient with this number ([`recipient_of`]), or the only one, because Mailjet may write its address differently.
    Named(i64),
}

/// Returns the recipient of a mail with this queue id.
pub(super) fn by_id(tables: &Transaction<'_>, id: QueueId, meant: Meant) -> Result<Option<Mail>, Error> {
    one_of(tables, "mail", stored(id), meant)
}

/// Returns the recipient of the mail with this name of Mailjet's.
pub(super) fn by_name(tables: &Transaction<'_>, name: i64, meant: Meant) -> Result<Option<Mail>, Error> {
    one_of(tables, "name", name, meant)
}

fn one_of(tables: &Transaction<'_>, column: &str, value: i64, meant: Meant) -> Result<Option<Mail>, Error> {
    let (of, is) = match meant {
        Meant::At(place) => ("place", i64::from(place)),
        Meant::Named(recipient) => ("recipient", recipient),
    };
    let sql = format!("SELECT {COLUMNS} FROM mailjet_mail WHERE {column} = $1 AND {of} = $2 LIMIT 1");
    let found = mails(tables, &sql, &[value.into(), is.into()])?;
    if !found.is_empty() || matches!(meant, Meant::At(_)) {
        return Ok(found.into_iter().next());
    }
    let sql = format!("SELECT {COLUMNS} FROM mailjet_mail WHERE {column} = $1 LIMIT 2");
    let mut all = mails(tables, &sql, &[value.into()])?;
    Ok(if all.len() == 1 { all.pop() } else { None })
}

/// Stores the state of a recipient. Mailjet is no longer asked about it.
pub(super) fn heard(tables: &Transaction<'_>, id: QueueId, place: u32, state: State) -> Result<(), Error> {
    let sql = "UPDATE mailjet_mail SET state = $1, ask = NULL WHERE mail = $2 AND place = $3";
    tables.execute(sql, &[state.stored().into(), stored(id).into(), i64::from(place).into()]).map(drop)
}

/// Returns true if an opening or a click was reported before.
pub(super) fn is_seen(tables: &Transaction<'_>, id: QueueId, report: i64) -> Result<bool, Error> {
    let sql = "SELECT 1 FROM mailjet_seen WHERE mail = $1 AND report = $2";
    Ok(tables.first(sql, &[stored(id).into(), report.into()], |_| Ok(()))?.is_some())
}

/// Remembers that an opening or a click was reported.
pub(super) fn see(tables: &Transaction<'_>, id: QueueId, report: i64) -> Result<(), Error> {
    let sql = "INSERT INTO mailjet_seen (mail, report) VALUES ($1, $2) ON CONFLICT (mail, report) DO NOTHING";
    tables.execute(sql, &[stored(id).into(), report.into()]).map(drop)
}

/// Returns up to `most` mails of this node about which Mailjet must be asked now, in the order in which Mailjet accepted them.
pub(super) fn to_ask(tables: &Transaction<'_>, now: Timestamp, most: i64) -> Result<Vec<Mail>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM (SELECT * FROM mailjet_mail WHERE node = $1 AND ask <= $2 ORDER BY ask LIMIT $3) AS due \
         ORDER BY relayed"
    );
    mails(tables, &sql, &[tables.node().into(), millis(now).into(), most.into()])
}

/// Returns the number of mails of this node about which Mailjet must be asked now, and when the oldest was relayed.
pub(super) fn gaps(tables: &Transaction<'_>, now: Timestamp) -> Result<(i64, Option<Timestamp>), Error> {
    let sql = "SELECT count(*), min(relayed) FROM mailjet_mail WHERE node = $1 AND ask <= $2";
    let found = tables
        .first(sql, &[tables.node().into(), millis(now).into()], |row| Ok((row.integer(0)?, row.maybe_integer(1)?)))?;
    let (count, oldest) = found.unwrap_or_default();
    Ok((count, oldest.map(timestamp)))
}

/// Sets when Mailjet is asked about a recipient next; `None` means never.
pub(super) fn ask_at(tables: &Transaction<'_>, mail: &Mail, at: Option<Timestamp>) -> Result<(), Error> {
    let sql = "UPDATE mailjet_mail SET ask = $1 WHERE mail = $2 AND place = $3 AND ask IS NOT NULL";
    let which = [at.map(millis).into(), stored(mail.id).into(), i64::from(mail.place).into()];
    tables.execute(sql, &which).map(drop)
}

/// Returns the position up to which this node's journal was read.
pub(super) fn place(tables: &Transaction<'_>) -> Result<Option<String>, Error> {
    let sql = "SELECT position FROM mailjet_read WHERE node = $1";
    tables.first(sql, &[tables.node().into()], |row| row.text(0).map(str::to_owned))
}

/// Stores the position up to which this node's journal was read.
pub(super) fn set_place(tables: &Transaction<'_>, position: &str) -> Result<(), Error> {
    let sql = "INSERT INTO mailjet_read (node, position) VALUES ($1, $2)
               ON CONFLICT (node) DO UPDATE SET position = excluded.position";
    tables.execute(sql, &[tables.node().into(), position.into()]).map(drop)
}

/// Removes up to `most` recipients of mails that arrived longer ago than `keep`. Returns true if there may be more.
pub(super) fn forget(tables: &Transaction<'_>, now: Timestamp, keep: Duration, most: i64) -> Result<bool, Error> {
    let before = stored(QueueId::first_at(now - keep));
    let seen = tables.execute("DELETE FROM mailjet_seen WHERE mail < $1", &[before.into()])?;
    // Removed in portions, because a statement blocks the database for all others.
    let sql = "DELETE FROM mailjet_mail WHERE mail < (
                   SELECT coalesce(max(mail), 0) + 1 FROM (
                       SELECT mail FROM mailjet_mail WHERE mail < $1 ORDER BY mail LIMIT $2) AS oldest)";
    let gone = tables.execute(sql, &[before.into(), most.into()])?;
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    Ok(gone >= most || seen >= most)
}

/// Returns the number for Mailjet's id of a mail: the numeric id itself, or a hash of the other id.
pub(super) fn name_of(name: &str) -> Option<i64> {
    let name = name.trim().to_ascii_lowercase();
    if (9..=19).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_digit()) {
        return name.parse().ok();
    }
    let is_guid = name.len() == 36
        && name.bytes().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        });
    is_guid.then(|| hash(&[name.as_bytes()]))
}

/// Returns the number for a recipient's address, which is compared without case.
pub(super) fn recipient_of(address: &str) -> i64 {
    hash(&[address.trim().to_lowercase().as_bytes()])
}

/// Returns 64 bits of a digest of these parts.
pub(super) fn hash(parts: &[&[u8]]) -> i64 {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let digest = context.finish();
    let first: [u8; 8] = digest.as_ref()[..8].try_into().expect("a digest of 32 octets");
    i64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::super::report::Kind;
    use super::*;
    use crate::database::Database;

    const NOW: Timestamp = Timestamp::from_millis(1_795_458_240_123);

    fn database() -> (tempfile::TempDir, Database) {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(dir.path(), &[SCHEMA]).unwrap();
        (dir, database)
    }

    fn do_it<T>(database: &Database, work: impl FnOnce(&Transaction<'_>) -> Result<T, Error>) -> T {
        database.write_blocking(work).unwrap()
    }

    fn relayed(id: QueueId, place: u32) -> Mail {
        Mail {
            id,
            place,
            node: String::new(),
            name: name_of("1ab23cd4-e567-8901-2345-6789f0a1b2c3"),
            recipient: recipient_of(&format!("r{place}@x.dk")),
            customer: "test-as".into(),
            route: "mailjet.trusted".into(),
            at: Position { segment: 7, offset: 1234 },
            relayed: NOW,
            state: State::default(),
        }
    }

    #[test]
    fn reports_wait_in_order_until_they_are_due_and_done() {
        let (_dir, database) = database();
        let taken = |number| Taken { number, came: NOW, reports: vec![Report::new(Kind::Sent); 3], handed: false };
        let later = NOW + Duration::from_secs(5);
        do_it(&database, |tables| {
            assert_eq!((waiting(tables)?, oldest(tables)?), (0, None));
            put(tables, &taken(2), NOW)?;
            put(tables, &taken(1), NOW)?;
            put(tables, &taken(3), later)
        });
        let numbers = |now, rows| -> Vec<i64> {
            do_it(&database, |tables| due(tables, now, rows)).into_iter().map(|it| it.number).collect()
        };
        assert_eq!(numbers(NOW, 10), [1, 2]);
        assert_eq!(numbers(later, 2), [1, 2]);
        assert_eq!(do_it(&database, |tables| due(tables, NOW, 1)), [taken(1)]);
        do_it(&database, |tables| done(tables, 1));
        assert_eq!(numbers(later, 10), [2, 3]);
        let counted = do_it(&database, |tables| Ok((waiting(tables)?, oldest(tables)?)));
        assert_eq!(counted, (6, Some(NOW)));
    }

    #[test]
    fn a_mail_is_found_by_its_id_and_by_mailjets_name_and_noted_once() {
        let (_dir, database) = database();
        let id = QueueId::first_at(NOW);
        let mails = [relayed(id, 0), relayed(id, 1)];
        do_it(&database, |tables| {
            mails.iter().try_for_each(|mail| add(tables, mail, Some(NOW)))?;
            add(tables, &Mail { route: "another".into(), ..relayed(id, 0) }, None)
        });
        let name = mails[0].name.unwrap();
        let stranger = Meant::Named(recipient_of("x@x.dk"));
        for (at, mail) in mails.iter().enumerate() {
            for meant in [Meant::At(at as u32), Meant::Named(mail.recipient)] {
                assert_eq!(do_it(&database, |tables| by_id(tables, id, meant)).as_ref(), Some(mail));
                assert_eq!(do_it(&database, |tables| by_name(tables, name, meant)).as_ref(), Some(mail));
            }
        }
        assert_eq!(do_it(&database, |tables| by_id(tables, id, stranger)), None, "two recipients, and none of them");
        assert_eq!(do_it(&database, |tables| by_id(tables, QueueId::from_u64(u64::MAX), stranger)), None);
        let only = QueueId::from_u64(7);
        do_it(&database, |tables| add(tables, &relayed(only, 5), None));
        assert_eq!(do_it(&database, |tables| by_id(tables, only, stranger)).map(|mail| mail.place), Some(5));
    }

    #[test]
    fn what_was_heard_ends_the_asking() {
        let (_dir, database) = database();
        let id = QueueId::first_at(NOW);
        let (one, two) = (relayed(id, 0), relayed(id, 1));
        let later = NOW + Duration::from_secs(60);
        do_it(&database, |tables| {
            add(tables, &one, Some(NOW))?;
            add(tables, &two, Some(NOW))
        });
        let asked = |now| do_it(&database, |tables| Ok((to_ask(tables, now, 10)?.len(), gaps(tables, now)?)));
        assert_eq!(asked(NOW), (2, (2, Some(NOW))));
        do_it(&database, |tables| ask_at(tables, &two, Some(later)));
        assert_eq!((asked(NOW).0, asked(later).0), (1, 2));
        let mut state = State::default();
        state.hear(Kind::Sent, false);
        do_it(&database, |tables| heard(tables, id, 0, state));
        do_it(&database, |tables| ask_at(tables, &one, Some(NOW)));
        assert_eq!(asked(later), (1, (1, Some(NOW))));
        assert_eq!(do_it(&database, |tables| by_id(tables, id, Meant::At(0))).unwrap().state, state);
        do_it(&database, |tables| ask_at(tables, &two, None));
        assert_eq!(asked(later).0, 0);
    }

    #[test]
    fn old_mails_are_forgotten_in_portions() {
        let (_dir, database) = database();
        let day = Duration::from_secs(86_400);
        let ids: Vec<QueueId> = (0..10).map(|days| QueueId::first_at(NOW - day * days)).collect();
        do_it(&database, |tables| {
            ids.iter().try_for_each(|id| {
                add(tables, &relayed(*id, 0), None)?;
                see(tables, *id, 1)?;
                see(tables, *id, 1)
            })
        });
        let left = || -> usize {
            ids.iter().filter(|id| do_it(&database, |tables| by_id(tables, **id, Meant::At(0))).is_some()).count()
        };
        assert!(do_it(&database, |tables| forget(tables, NOW, day * 5, 2)));
        assert_eq!(left(), 8);
        while do_it(&database, |tables| forget(tables, NOW, day * 5, 2)) {}
        assert_eq!(left(), 6);
        assert!(do_it(&database, |tables| is_seen(tables, ids[5], 1)));
        assert!(!do_it(&database, |tables| is_seen(tables, ids[6], 1)));
    }

    #[test]
    fn mailjets_names_are_numbers_or_guids() {
        assert_eq!(name_of(" 19421777835146490 "), Some(19_421_777_835_146_490));
        let guid = "1ab23cd4-e567-8901-2345-6789f0a1b2c3";
        assert_eq!(name_of(guid), name_of(&guid.to_uppercase()));
        assert!(name_of(guid).is_some());
        for other in ["", "0C0151AC06F9", "12345678", "99999999999999999999", "1ab23cd4e56789012345", &guid[1..]] {
            assert_eq!(name_of(other), None, "{other}");
        }
        assert_eq!(recipient_of("Anna@X.dk"), recipient_of("anna@x.dk "));
    }
}
