//! The committer without its task: each test takes its steps one by one.

use super::*;
use crate::message::QueueId;
use crate::spool::codec::Status;
use crate::spool::index::Summary;
use crate::spool::next_try::NextTry;
use crate::spool::postgres::inbox::Inbox;
use crate::spool::postgres::node::Node;
use crate::spool::postgres::outgoing::Outgoing;
use crate::spool::postgres::{Settings, recovery, schema};
use crate::test_postgres::{self, Server};
use crate::test_records;
use crate::test_skip::skip;

/// The number of the process of [`committer`].
const INSTANCE: i64 = 7;

/// Makes the committer of the only shard of a new spool.
pub async fn committer(settings: Settings) -> (Committer, Arc<Shared>) {
    let link = Link::open(&settings, "writer").await.unwrap();
    schema::migrate(&link, &settings).await.unwrap();
    let joined = ownership::join(&link, &settings, INSTANCE).await.unwrap();
    let lease_end = Instant::now() + Duration::from_secs(3600);
    let node = Arc::new(Node::new(settings, INSTANCE, joined, Outgoing::new().0, lease_end));
    let taken = ownership::take(&link, &node.settings, INSTANCE, 0).await.unwrap().unwrap();
    let (inbox, receiver) = Inbox::new();
    let shared = Arc::new(Shared::new(node, 0, &taken, inbox));
    let position = recovery::recover(&shared, &link, true).await.unwrap();
    (Committer::new(Arc::clone(&shared), receiver, link, position), shared)
}

/// A fact about a message that is in no index.
pub fn fact(id: u64) -> Item {
    Item::Change(LogEntry::silent(QueueId::from_u64(id), Fact::Done), None)
}

impl Committer {
    /// Writes one item.
    pub async fn write_one(&mut self, item: Item) {
        let first = self.commit(std::slice::from_ref(&item)).await.ok().unwrap();
        self.confirmed(vec![item], first, Instant::now());
    }

    /// Ends the active segment.
    pub fn end_segment(&mut self) {
        self.begin_segment();
    }

    /// Waits for the next request in the inbox.
    pub async fn next_request(&mut self) -> Request {
        self.inbox.recv().await.unwrap()
    }
}

/// Returns the server, or reports that the test does not run.
fn server(test: &str) -> Option<&'static Server> {
    test_postgres::shared().map_err(|why| skip(test, why)).ok()
}

/// Has the database refuse every row for the first segment of this schema, as on a full disk.
fn fill_disk(server: &Server, schema: &str) {
    server.sql(&format!(
        "CREATE FUNCTION {schema}.refuse() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN RAISE EXCEPTION 'no room' USING ERRCODE = '53100'; END $$; \
         CREATE TRIGGER refuse BEFORE INSERT ON {schema}.segment_0_1 FOR EACH ROW EXECUTE FUNCTION {schema}.refuse()",
    ));
}

/// A message in row `seq` of a table of mail in transit.
fn arrival(seq: i32) -> Arrival {
    let lane = test_records::record("a@test.dk", &["x@example.com"]).lane;
    let next = NextTry::at(Timestamp::NEVER);
    let status = Status { attempts: 0, next, delay_notified: false, untried: true, hold: None };
    let id = QueueId::from_u64(10 + u64::from(seq.cast_unsigned()));
    Arrival { seq, message: Summary { id, lane, domains: 0, status, disk_len: 100 }, lines: Vec::new() }
}

#[tokio::test]
async fn rows_that_the_database_refused_are_not_missed_over_a_new_connection() {
    let Some(server) = server("rows_that_the_database_refused_are_not_missed_over_a_new_connection") else { return };
    let (mut committer, _) = committer(server.settings("refused_rows")).await;
    committer.write_one(fact(1)).await;
    fill_disk(server, "refused_rows");
    let Err(refused) = committer.commit(&[fact(2), fact(3)]).await else { panic!("there is no room") };
    committer.failed(Batch::EMPTY, refused);
    assert!(committer.is_full, "so the connection is kept");
    // A batch without rows needs no room.
    let (reply, mut answer) = oneshot::channel();
    committer.write_one(Item::Barrier(reply)).await;
    assert!(matches!(answer.try_recv(), Ok(Ok(()))));
    committer.link = None;
    committer.reconnect().await.unwrap();
}

#[tokio::test]
async fn mail_in_transit_that_its_writer_removed_is_not_missed_over_a_new_connection() {
    let test = "mail_in_transit_that_its_writer_removed_is_not_missed_over_a_new_connection";
    let Some(server) = server(test) else { return };
    let (mut committer, shared) = committer(server.settings("removed_transit")).await;
    server.sql(&schema::make_transit("removed_transit", 1));
    server.sql("INSERT INTO removed_transit.transit_1 (shard, seq, part, id) VALUES (0, 1, 0, 11)");
    let adoption = Adoption { table: 1, messages: vec![arrival(1), arrival(2)] };
    let rows = committer.adopt(&adoption).await.ok().unwrap();
    committer.adopted(&adoption, oneshot::channel().0, &rows, Instant::now());
    assert_eq!(shared.index().len(), 1);
    committer.link = None;
    committer.reconnect().await.unwrap();
    assert_eq!(committer.next_row, 2);
}

#[tokio::test]
async fn a_full_disk_leaves_the_connection_usable_for_what_finds_room() {
    let Some(server) = server("a_full_disk_leaves_the_connection_usable_for_what_finds_room") else { return };
    let (mut committer, _) = committer(server.settings("full_transit")).await;
    committer.write_one(fact(1)).await;
    server.sql(&schema::make_transit("full_transit", 1));
    server.sql("INSERT INTO full_transit.transit_1 (shard, seq, part, id) VALUES (0, 1, 0, 11)");
    fill_disk(server, "full_transit");
    let Err(refused) = committer.adopt(&Adoption { table: 1, messages: vec![arrival(1)] }).await else {
        panic!("there is no room")
    };
    committer.failed(Batch::EMPTY, refused);
    assert!(committer.is_full && committer.link.is_some());
    server.sql("DROP TRIGGER refuse ON full_transit.segment_0_1");
    committer.write_one(fact(2)).await;
}

#[tokio::test]
async fn an_owner_that_did_not_learn_of_its_next_epoch_goes_on_and_one_that_was_replaced_does_not() {
    let test = "an_owner_that_did_not_learn_of_its_next_epoch_goes_on_and_one_that_was_replaced_does_not";
    let Some(server) = server(test) else { return };
    let (mut committer, shared) = committer(server.settings("lost_answer")).await;
    let settings = Arc::clone(&shared.settings);
    committer.write_one(fact(1)).await;
    // The answer to this is lost.
    let other = Link::open(&settings, "writer").await.unwrap();
    let former =
        ownership::Former { instance: INSTANCE, epoch: committer.epoch(), server_process: committer.server_process };
    let resumed = ownership::resume(&other, &settings, 0, &former, &committer.position, false).await.unwrap();
    assert_eq!(resumed.unwrap().epoch, committer.epoch() + 1);
    committer.link = None;
    committer.reconnect().await.unwrap();
    assert_eq!(committer.epoch(), former.epoch + 2);
    // Another process with the node's name.
    ownership::join(&other, &settings, INSTANCE + 1).await.unwrap();
    assert!(ownership::take(&other, &settings, INSTANCE + 1, 0).await.unwrap().is_some());
    committer.link = None;
    assert!(committer.reconnect().await.is_err() && shared.stopped().is_some());
}

#[tokio::test]
async fn lost_rows_are_noticed_although_the_next_segment_has_none_yet() {
    let Some(server) = server("lost_rows_are_noticed_although_the_next_segment_has_none_yet") else { return };
    let (mut committer, shared) = committer(server.settings("lost_end")).await;
    for id in [1, 2] {
        committer.write_one(fact(id)).await;
    }
    committer.end_segment();
    committer.link = None;
    committer.reconnect().await.unwrap();
    server.sql("DELETE FROM lost_end.segment_0_1 WHERE seq = 2");
    committer.link = None;
    assert!(committer.reconnect().await.is_err() && shared.stopped().is_some());
}

#[tokio::test]
async fn an_owner_whose_database_was_restored_from_a_backup_stops() {
    let Some(server) = server("an_owner_whose_database_was_restored_from_a_backup_stops") else { return };
    let (mut committer, shared) = committer(server.settings("restored_owner")).await;
    server.sql("UPDATE restored_owner.owner SET epoch = epoch - 1");
    committer.link = None;
    assert!(committer.reconnect().await.is_err() && shared.stopped().is_some());
}
