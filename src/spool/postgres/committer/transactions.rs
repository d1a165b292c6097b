//! The committer's transactions. Each writes a batch or nothing, and says which if the database said so.

use std::pin::pin;

use bytes::Bytes;
use futures_util::SinkExt;
use futures_util::future::join;
use tokio_postgres::SimpleQueryMessage;

use super::Committer;
use crate::spool::postgres::inbox::{Adoption, Item};
use crate::spool::postgres::link::{Action, Failure, Link};
use crate::spool::postgres::rows::Rows;
use crate::spool::postgres::{ownership, schema};

/// Why a batch was not confirmed.
pub(super) enum Unconfirmed {
    Refused(Failure),
    Unknown(Failure),
    NotOwner,
}

impl Committer {
    /// Copies a batch into the log. Returns the number of its first row.
    pub(super) async fn commit(&mut self, batch: &[Item]) -> Result<i32, Unconfirmed> {
        if !self.position.exists {
            self.make_segment().await?;
        }
        let first = self.next_row;
        let mut next = first;
        let mut rows = Rows::new();
        for item in batch {
            match item {
                Item::Draft(message, _) | Item::Copy(message, _) => rows.message(next, message),
                Item::Change(entry, _) => rows.fact(next, entry),
                Item::Barrier(_) => continue,
            }
            next += 1;
        }
        let len = rows.len();
        self.transact(rows, "COMMIT").await?;
        self.next_row = next;
        *self.shared.segments().entry(self.position.segment).or_default() += len;
        self.shared.settings.counters.written.inc_by(len);
        Ok(first)
    }

    /// Runs one transaction of the owner: locks the owner's row, copies the rows, and ends with the statement `end`.
    pub(super) async fn transact(&self, rows: Rows, end: &str) -> Result<(), Unconfirmed> {
        let done = self.copy(rows, end).await;
        self.ended(done).await
    }

    async fn copy(&self, rows: Rows, end: &str) -> Result<(), Unconfirmed> {
        let link = self.link()?;
        let table = self.shared.table(self.position.segment);
        let copy = link.statement(Action::Copy, &table, || schema::copy_in(&table)).await;
        let copy = copy.map_err(Unconfirmed::Refused)?;
        link.take_warning();
        let begin = self.begin();
        // Send both before the answer to the first, to save a round trip.
        let (begun, sink) = join(link.client.simple_query(&begin), link.client.copy_in::<_, Bytes>(&copy)).await;
        check_owner(&begun.map_err(refused)?)?;
        let mut sink = pin!(sink.map_err(refused)?);
        for part in rows.finish() {
            // A broken connection also reports its error at the end.
            if sink.feed(part).await.is_err() {
                break;
            }
        }
        let (copied, ended) = join(sink.as_mut().finish(), link.client.simple_query(end)).await;
        let copied = copied.map_err(Failure::from);
        let ended = ended.map_err(Failure::from);
        match (copied, ended, link.take_warning()) {
            // The server refused the rows, so there was nothing to commit.
            (Err(failure), Ok(_), _) if failure.code.is_some() => Err(Unconfirmed::Refused(failure)),
            (Err(failure), ..) | (Ok(_), Err(failure), _) => Err(Unconfirmed::Unknown(failure)),
            (Ok(_), Ok(_), Some(warning)) => {
                Err(Unconfirmed::Unknown(Failure::new(format!("the server warned: {warning}"))))
            }
            (Ok(_), Ok(_), None) => Ok(()),
        }
    }

    /// Moves mail in transit to the log. Returns the numbers of its rows there. A message that its writer has removed meanwhile has no row.
    pub(super) async fn adopt(&mut self, adoption: &Adoption) -> Result<Vec<i32>, Unconfirmed> {
        if !self.position.exists {
            self.make_segment().await?;
        }
        let done = self.take_in(adoption).await;
        self.ended(done).await
    }

    async fn take_in(&self, adoption: &Adoption) -> Result<Vec<i32>, Unconfirmed> {
        let link = self.link()?;
        let from = schema::transit(&self.shared.settings.server.schema, adoption.table);
        let to = self.shared.table(self.position.segment);
        let (shard, columns) = (self.shared.number, schema::COLUMNS);
        let sql = || {
            format!(
                "WITH moved AS (DELETE FROM {from} WHERE shard = {shard} AND seq = ANY($1) RETURNING {columns}) \
                 INSERT INTO {to} ({columns}) SELECT $2 - 1 + array_position($1, seq), part, id, note, head, body, crc, lines \
                 FROM moved RETURNING seq, part"
            )
        };
        let statement = link.statement(Action::Adopt, &format!("{from} to {to}"), sql).await;
        let statement = statement.map_err(Unconfirmed::Refused)?;
        link.take_warning();
        let begun = link.client.simple_query(&self.begin()).await.map_err(refused)?;
        check_owner(&begun)?;
        let moved = link.client.query(&statement, &[&adoption.rows(), &self.next_row]).await.map_err(refused)?;
        let ended = link.client.simple_query("COMMIT").await;
        ended.map_err(|error| Unconfirmed::Unknown(error.into()))?;
        if let Some(warning) = link.take_warning() {
            return Err(Unconfirmed::Unknown(Failure::new(format!("the server warned: {warning}"))));
        }
        Ok(moved.iter().filter(|row| row.get::<_, i16>(1) == 0).map(|row| row.get(0)).collect())
    }

    /// Ends the transaction if the database refused it. The connection may be used again, for example after a full disk.
    async fn ended<T>(&self, done: Result<T, Unconfirmed>) -> Result<T, Unconfirmed> {
        if let (Err(Unconfirmed::Refused(_)), Some(link)) = (&done, &self.link) {
            // If this fails, so does the next transaction, and then there is another connection.
            let _ = link.client.batch_execute("ROLLBACK").await;
        }
        done
    }

    /// Returns the statements that begin a transaction of this owner.
    fn begin(&self) -> String {
        ownership::begin(&self.shared.settings.server.schema, self.shared.number, self.epoch())
    }

    /// Creates the segment in which the log continues.
    pub(super) async fn make_segment(&mut self) -> Result<(), Unconfirmed> {
        let made = async {
            let link = self.link()?;
            let begun = link.client.simple_query(&self.begin()).await.map_err(refused)?;
            check_owner(&begun)?;
            let schema = &self.shared.settings.server.schema;
            let make = schema::make_segment(schema, self.shared.number, self.position.segment);
            link.client.batch_execute(&format!("{make}; COMMIT")).await.map_err(refused)
        };
        self.ended(made.await).await?;
        self.position.exists = true;
        self.shared.segments().entry(self.position.segment).or_default();
        Ok(())
    }

    /// Returns the connection, or says that nothing was written because there is none.
    fn link(&self) -> Result<&Link, Unconfirmed> {
        self.link.as_ref().ok_or_else(|| Unconfirmed::Refused(Failure::new("there is no connection")))
    }
}

/// Makes sure that this node still owns the shard: only then the statements that begin a transaction return the owner's row.
fn check_owner(begun: &[SimpleQueryMessage]) -> Result<(), Unconfirmed> {
    match begun.iter().any(|message| matches!(message, SimpleQueryMessage::Row(_))) {
        true => Ok(()),
        false => Err(Unconfirmed::NotOwner),
    }
}

fn refused(error: tokio_postgres::Error) -> Unconfirmed {
    Unconfirmed::Refused(error.into())
}
