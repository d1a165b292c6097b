//! Copies all tables from one database to another, for a site that moves to another spool.
//!
//! Each owner's tables are copied in one transaction, so a copy that is interrupted is made again. What was copied is marked with the id of
//! the move. So a later run of the same move replaces it by what the source has now, and a move that is taken back removes it. Tables that
//! have rows of their own are left as they are.

use std::collections::BTreeMap;

use super::{Database, Error, Schema, Transaction, Value};

/// The table of marks. It is in both databases.
pub const SCHEMA: Schema =
    Schema { owner: "moved", steps: &["CREATE TABLE moved_owner (owner TEXT PRIMARY KEY, move_id TEXT NOT NULL)"] };

/// The column with the name of the node that a row is about. It is empty in a file, which belongs to one node.
const NODE: &str = "node";
/// The number of rows that are inserted by one statement.
const ROWS: usize = 64;

/// The result of copying the tables of one owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The name of the owner, as in its [`Schema`].
    pub owner: &'static str,
    /// The number of rows that were copied.
    pub rows: u64,
    /// True if nothing was copied because the target's tables have rows of their own.
    pub was_kept: bool,
}

/// Copies the tables of each owner from `source` to `target`. `id` distinguishes the move from others. `progress` is called with the
/// number of rows copied so far.
pub fn copy(
    source: &Database,
    target: &Database,
    schemas: &[Schema],
    id: &str,
    mut progress: impl FnMut(u64),
) -> Result<Vec<Copied>, Error> {
    let mut all = Vec::new();
    let mut before = 0;
    for schema in schemas.iter().filter(|schema| schema.owner != SCHEMA.owner) {
        let copied = source.read_blocking(|from| {
            target
                .of(schema)
                .write_blocking(|to| copy_owner(from, to, schema.owner, id, |rows| progress(before + rows)))
        })?;
        before += copied.rows;
        all.push(copied);
    }
    Ok(all)
}

/// Removes what a move copied to `target`.
pub fn remove(target: &Database, schemas: &[Schema], id: &str) -> Result<(), Error> {
    for schema in schemas.iter().filter(|schema| schema.owner != SCHEMA.owner) {
        target.of(schema).write_blocking(|tables| {
            if is_marked(tables, schema.owner, id)? {
                empty(tables, &tables_of(tables, schema.owner)?)?;
                tables.announce()?;
                tables.execute("DELETE FROM moved_owner WHERE owner = $1", &[schema.owner.into()])?;
            }
            Ok::<_, Error>(())
        })?;
    }
    Ok(())
}

fn copy_owner(
    from: &Transaction<'_>,
    to: &Transaction<'_>,
    owner: &'static str,
    id: &str,
    mut progress: impl FnMut(u64),
) -> Result<Copied, Error> {
    let existing = tables_of(to, owner)?;
    if is_marked(to, owner, id)? {
        empty(to, &existing)?;
    } else if has_rows(to, &existing)? {
        return Ok(Copied { owner, rows: 0, was_kept: true });
    }
    let mut rows = 0;
    for (table, columns) in tables_of(from, owner)? {
        let mut waiting: Vec<Owned> = Vec::with_capacity(ROWS * columns.len());
        from.query(&format!("SELECT {} FROM {table}", columns.join(", ")), &[], |row| {
            for (number, column) in columns.iter().enumerate() {
                let value = row.value(number)?;
                let is_own = *column == NODE && value == Value::Text(from.node());
                waiting.push(if is_own { Owned::Text(to.node().to_owned()) } else { value.into() });
            }
            rows += 1;
            if waiting.len() == ROWS * columns.len() {
                insert(to, &table, &columns, &waiting)?;
                waiting.clear();
                progress(rows);
            }
            Ok::<_, Error>(())
        })?;
        insert(to, &table, &columns, &waiting)?;
    }
    // Rows may have the number of the write that made them, which must stay lower than those of later writes.
    let (read, written) = (from.version()?, to.announce()?);
    to.execute("UPDATE changed SET version = $1 WHERE owner = $2", &[read.max(written).into(), owner.into()])?;
    let mark = "INSERT INTO moved_owner (owner, move_id) VALUES ($1, $2) ON CONFLICT (owner) DO UPDATE SET move_id = excluded.move_id";
    to.execute(mark, &[owner.into(), id.into()])?;
    progress(rows);
    Ok(Copied { owner, rows, was_kept: false })
}

fn is_marked(tables: &Transaction<'_>, owner: &str, id: &str) -> Result<bool, Error> {
    let sql = "SELECT 1 FROM moved_owner WHERE owner = $1 AND move_id = $2";
    Ok(tables.first(sql, &[owner.into(), id.into()], |_| Ok(()))?.is_some())
}

/// Returns the tables of an owner with their columns.
fn tables_of(tables: &Transaction<'_>, owner: &str) -> Result<BTreeMap<String, Vec<String>>, Error> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    tables.columns(|table, column| {
        if table.strip_prefix(owner).is_some_and(|rest| rest.is_empty() || rest.starts_with('_')) {
            found.entry(table.to_owned()).or_default().push(column.to_owned());
        }
    })?;
    Ok(found)
}

fn has_rows(tables: &Transaction<'_>, of: &BTreeMap<String, Vec<String>>) -> Result<bool, Error> {
    for table in of.keys() {
        if tables.first(&format!("SELECT 1 FROM {table} LIMIT 1"), &[], |_| Ok(()))?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn empty(tables: &Transaction<'_>, of: &BTreeMap<String, Vec<String>>) -> Result<(), Error> {
    for table in of.keys() {
        tables.execute(&format!("DELETE FROM {table}"), &[])?;
    }
    Ok(())
}

/// Inserts rows, whose values follow one another in `values`.
fn insert(to: &Transaction<'_>, table: &str, columns: &[String], values: &[Owned]) -> Result<(), Error> {
    if values.is_empty() {
        return Ok(());
    }
    let values: Vec<Value<'_>> = values.iter().map(Value::from).collect();
    to.insert_portion(&format!("{table} ({})", columns.join(", ")), columns.len(), &values, "")
}

/// A value that outlives its row.
enum Owned {
    Null,
    Integer(i64),
    Text(String),
    Octets(Vec<u8>),
}

impl From<Value<'_>> for Owned {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Null => Owned::Null,
            Value::Integer(value) => Owned::Integer(value),
            Value::Text(value) => Owned::Text(value.to_owned()),
            Value::Octets(value) => Owned::Octets(value.to_owned()),
        }
    }
}

impl<'a> From<&'a Owned> for Value<'a> {
    fn from(value: &'a Owned) -> Self {
        match value {
            Owned::Null => Value::Null,
            Owned::Integer(value) => Value::Integer(*value),
            Owned::Text(value) => Value::Text(value),
            Owned::Octets(value) => Value::Octets(value),
        }
    }
}
