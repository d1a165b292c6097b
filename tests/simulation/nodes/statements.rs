//! The statements that the spool and the queue send, and what each does to the tables. A statement that is not here ends the simulation:
//! whoever changes the relay's statements changes the model with them.

use super::database::{Connection, Data, Key, Mode, NodeRow, Row, Server, Stop};
use super::wire::Type::{Bool, Bytes, Float8, Int2, Int4, Int4s, Int8, Text, Texts};
use super::wire::{Type, Value, array, float8, int2, int4, int8, number, seconds, text, truth, words};
use crate::simulation::faults::Fault;

/// What a statement takes and gives, by how it begins. `T` stands for the table of a segment or of mail in transit.
const SHAPES: &[(&str, &[Type], &[Type])] = &[
    ("SELECT pg_backend_pid()", &[], &[Int4, Text]),
    ("SELECT name, setting FROM pg_settings", &[Texts], &[Text, Text]),
    ("SELECT set_config(name", &[], &[Text]),
    ("SELECT pg_is_in_recovery()", &[Text], &[Bool, Bool, Bool, Bool, Int8]),
    ("SELECT 1 FROM pg_namespace", &[Text], &[Int4]),
    ("SELECT version FROM postbud.format", &[], &[Int4]),
    ("SELECT name, shards, nextval", &[], &[Text, Int4, Int8, Text]),
    ("SELECT name, nodes, extract", &[Text], &[Text, Int4, Float8]),
    ("DELETE FROM postbud.node WHERE name = $1", &[Text], &[]),
    ("DELETE FROM postbud.node WHERE instance = $1", &[Int8], &[]),
    ("INSERT INTO postbud.node VALUES", &[Text, Int8, Float8, Int4], &[]),
    ("SELECT node FROM postbud.owner o WHERE", &[Int4, Text], &[Text]),
    ("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname", &[Texts], &[Bool]),
    ("SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE pid", &[Int4, Text], &[Bool]),
    ("SELECT epoch, node, clean", &[Int4], &[Int8, Text, Bool, Int4, Int4]),
    ("SELECT alive_until > clock_timestamp() FROM postbud.node WHERE name = $1 FOR UPDATE", &[Text], &[Bool]),
    ("SELECT 1 FROM postbud.node WHERE instance = $1 FOR KEY SHARE", &[Int8], &[Int4]),
    ("UPDATE postbud.owner SET epoch = $1, node", &[Int8, Text, Int4], &[]),
    ("SELECT epoch, node FROM postbud.owner WHERE shard = $1 FOR UPDATE", &[Int4], &[Int8, Text]),
    ("UPDATE postbud.owner SET epoch = $1 WHERE shard", &[Int8, Int4], &[]),
    ("SELECT to_regclass($1) IS NOT NULL", &[Text], &[Bool]),
    ("SELECT max(seq) FROM T WHERE shard = ", &[], &[Int4]),
    ("SELECT max(seq) FROM T", &[], &[Int4]),
    ("SELECT seq FROM T WHERE seq > $1 AND part = 0", &[Int4], &[Int4]),
    ("DELETE FROM T WHERE seq > $1", &[Int4], &[]),
    ("DELETE FROM T WHERE seq >= $1", &[Int4], &[]),
    ("UPDATE postbud.node SET alive_until", &[Int8, Float8, Text], &[]),
    ("SELECT name, leaving", &[Float8], &[Text, Bool, Bool, Text, Bool, Float8]),
    ("SELECT node FROM postbud.owner ORDER BY shard", &[], &[Text]),
    ("UPDATE postbud.owner SET told_segment", &[Int4, Int8, Int4, Int4], &[]),
    ("UPDATE postbud.owner SET node = ''", &[Int4, Int8, Bool], &[]),
    ("UPDATE postbud.node SET leaving", &[Int8], &[]),
    ("SELECT epoch FROM postbud.owner WHERE shard = ", &[], &[Int8]),
    ("CREATE TABLE", &[], &[]),
    ("ALTER TABLE T", &[], &[]),
    ("INSERT INTO postbud.segment", &[], &[]),
    ("COPY T", &[], &[]),
    ("WITH moved AS", &[Int4s, Int4], &[Int4, Int2]),
    ("SELECT number FROM postbud.segment WHERE shard = $1", &[Int4], &[Int4]),
    ("SELECT seq, id, note FROM T", &[], &[Int4, Int8, Bytes]),
    ("SELECT pg_total_relation_size", &[], &[Int8]),
    ("SELECT seq, head, CASE", &[Int4s, Int4s], &[Int4, Bytes, Bytes, Int4]),
    ("SELECT body, crc FROM T", &[Int4, Int2], &[Bytes, Int4]),
    ("SELECT COALESCE(sum(pg_total_relation_size", &[], &[Int8]),
    ("SELECT number FROM postbud.transit ORDER BY", &[], &[Int4]),
    ("SELECT seq, id, note, lines FROM T", &[Int4, Int4], &[Int4, Int8, Bytes, Bytes]),
    ("SELECT EXISTS (SELECT FROM postbud.transit WHERE instance", &[Int8, Int4], &[Bool]),
    ("INSERT INTO postbud.transit (instance)", &[Int8], &[Int4]),
    ("SELECT number FROM postbud.transit t WHERE", &[Int8], &[Int4]),
    ("DELETE FROM postbud.transit WHERE number = ", &[], &[]),
    ("LOCK TABLE", &[], &[]),
    ("SELECT NOT EXISTS (SELECT FROM T WHERE shard <> ", &[], &[Bool]),
    ("DROP TABLE", &[], &[]),
    ("DELETE FROM postbud.segment WHERE shard = ", &[], &[]),
    ("SELECT customer, name, text FROM postbud.carried", &[Int4], &[Text, Text, Text]),
    ("INSERT INTO postbud.carried SELECT", &[Int4, Texts, Texts, Texts], &[]),
    ("INSERT INTO postbud.carried VALUES ($1, '', $2, $3)", &[Int4, Text, Text], &[]),
    ("INSERT INTO postbud.carried VALUES ($1, '', $2, '')", &[Int4, Text], &[]),
    ("DELETE FROM postbud.carried WHERE", &[Int4, Text], &[]),
    ("SELECT owner, step FROM schema_step", &[], &[Text, Int8]),
    ("SELECT FROM schema_step WHERE owner = 'day' FOR UPDATE", &[], &[]),
    ("SELECT owner, version FROM changed", &[], &[Text, Int8]),
    ("DELETE FROM day_taken WHERE route", &[Text, Int8, Int8], &[]),
    ("INSERT INTO day_taken", &[Text, Int8, Int8], &[]),
    ("SELECT taken FROM day_taken", &[Text, Int8], &[Int8]),
    ("UPDATE day_taken SET taken = taken +", &[Int8, Text, Int8], &[]),
    ("UPDATE day_taken SET taken = taken -", &[Int8, Text, Int8], &[]),
    ("SET ", &[], &[]),
];

/// A statement, with the tables that it names.
pub struct Statement {
    /// The text, with `T` for each of the tables.
    text: String,
    tables: Vec<String>,
    /// Its place among the shapes.
    shape: usize,
}

impl Statement {
    pub fn read(sql: &str) -> Statement {
        let (mut text, mut tables, mut rest) = (String::new(), Vec::new(), sql.trim());
        let is_inner = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        while !rest.is_empty() {
            let word = rest.find(|c| !is_inner(c)).unwrap_or(rest.len());
            let (name, behind) = rest.split_at(word.max(rest.chars().next().map_or(0, char::len_utf8)));
            let number = ["postbud.segment_", "postbud.transit_"].iter().find_map(|kind| name.strip_prefix(kind));
            if number.is_some_and(|number| number.starts_with(|c: char| c.is_ascii_digit())) {
                tables.push(name.to_owned());
                text.push('T');
            } else {
                text.push_str(name);
            }
            rest = behind;
        }
        let shape = SHAPES.iter().position(|(begins, ..)| text.starts_with(begins));
        let shape = shape.unwrap_or_else(|| panic!("the model of PostgreSQL has no statement like this: {sql}"));
        Statement { text, tables, shape }
    }

    pub fn takes(&self) -> &'static [Type] {
        SHAPES[self.shape].1
    }

    pub fn gives(&self) -> &'static [Type] {
        SHAPES[self.shape].2
    }

    /// The table of a COPY.
    pub fn copies_into(&self) -> Option<&String> {
        self.text.starts_with("COPY").then(|| &self.tables[0])
    }

    /// The tables that have to exist before the statement can be prepared.
    pub fn reads(&self) -> &[String] {
        let is_utility = ["CREATE", "ALTER", "DROP", "LOCK", "COPY"].iter().any(|word| self.text.starts_with(word));
        if is_utility || self.text.starts_with("SELECT pg_total") || self.text.starts_with("SELECT COALESCE") {
            return &[];
        }
        &self.tables
    }

    /// The whole numbers that stand in the text.
    fn numbers(&self) -> Vec<i64> {
        let digits = self.text.split(|c: char| !c.is_ascii_digit());
        digits.filter_map(|number| number.parse().ok()).collect()
    }
}

/// Returns these columns of a row.
fn columns(row: &Row, names: &[usize]) -> Vec<Value> {
    names.iter().map(|at| row[*at].clone()).collect()
}

/// The shard of marks, which stay in a table of mail in transit.
const MARKS: i32 = -1;

const ID: usize = 0;
const NOTE: usize = 1;
const HEAD: usize = 2;
const BODY: usize = 3;
const CRC: usize = 4;
const LINES: usize = 5;

impl Server {
    /// Executes a statement in the connection's transaction. Returns its rows.
    pub fn execute(
        &mut self,
        on: &mut Connection,
        statement: &Statement,
        given: &[Value],
    ) -> Result<Vec<Vec<Value>>, Stop> {
        let begins = SHAPES[statement.shape].0;
        let now = self.now.as_secs_f64();
        let one = |values: Vec<Value>| Ok(vec![values]);
        let none = Ok(Vec::new());
        let table = || statement.tables[0].clone();
        match begins {
            "SELECT pg_backend_pid()" => one(vec![int4(on.process), None]),
            "SELECT name, setting FROM pg_settings" => {
                let of = |name: &str| match name {
                    "server_version_num" => "150008",
                    "server_encoding" => "UTF8",
                    "max_connections" => "100",
                    "superuser_reserved_connections" => "3",
                    "transaction_read_only" | "data_sync_retry" | "zero_damaged_pages" => "off",
                    "synchronous_standby_names" => "",
                    _ => "on",
                };
                Ok(array(&given[0]).iter().map(|name| vec![name.clone(), text(of(&words(name)))]).collect())
            }
            // The model has no such setting, as servers before PostgreSQL 17.
            "SELECT set_config(name" => none,
            "SELECT pg_is_in_recovery()" => one(vec![truth(false), truth(true), truth(true), truth(true), int8(0)]),
            "SELECT 1 FROM pg_namespace" => one(vec![int4(1)]),
            "SELECT version FROM postbud.format" => one(vec![int4(4)]),
            "SELECT name, shards, nextval" => {
                self.lock(on, "spool", 0, Mode::Update)?;
                self.data.numbers += 1;
                one(vec![text("simulated"), int4(self.data.owners.len() as i32), int8(self.data.numbers), None])
            }
            "SELECT name, nodes, extract" => {
                let alive =
                    self.data.nodes.iter().filter(|(name, node)| **name != words(&given[0]) && node.until > now);
                Ok(alive.map(|(name, node)| vec![text(name), int4(node.nodes), float8(node.until - now)]).collect())
            }
            "DELETE FROM postbud.node WHERE name = $1" => {
                let name = words(&given[0]);
                self.lock(on, &format!("node {name}"), 0, Mode::Update)?;
                on.does(move |data| data.nodes.remove(&name));
                none
            }
            "DELETE FROM postbud.node WHERE instance = $1" => {
                let Some(name) = self.data.node_of(number(&given[0])) else { return none };
                self.lock(on, &format!("node {name}"), 0, Mode::Update)?;
                on.does(move |data| data.nodes.remove(&name));
                none
            }
            "INSERT INTO postbud.node VALUES" => {
                let (instance, nodes) = (number(&given[1]), number(&given[3]) as i32);
                let node = NodeRow { instance, until: now + seconds(&given[2]), since: now, nodes, leaving: false };
                let name = words(&given[0]);
                on.does(move |data| data.nodes.insert(name, node));
                none
            }
            "SELECT node FROM postbud.owner o WHERE" => {
                let owner = self.data.owners[number(&given[0]) as usize].node.clone();
                let is_alive = self.data.nodes.get(&owner).is_some_and(|node| node.until > now);
                let is_dead = owner != words(&given[1]) && !owner.is_empty() && !is_alive;
                Ok(is_dead.then(|| vec![text(&owner)]).into_iter().collect())
            }
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname" => {
                let names: Vec<String> = array(&given[0]).iter().map(words).collect();
                let ended = self.terminate(on.process, |other| names.contains(&other.application));
                Ok(vec![vec![truth(true)]; ended])
            }
            "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE pid" => {
                let (process, name) = (number(&given[0]) as i32, words(&given[1]));
                let ended = self.terminate(on.process, |other| other.process == process && other.application == name);
                Ok(vec![vec![truth(true)]; ended])
            }
            "SELECT epoch, node, clean" => {
                self.lock(on, "owner", number(&given[0]), Mode::Update)?;
                let owner = &self.data.owners[number(&given[0]) as usize];
                let (segment, at) = owner.told;
                one(vec![int8(owner.epoch), text(&owner.node), truth(owner.clean), int4(segment), int4(at)])
            }
            "SELECT alive_until > clock_timestamp() FROM postbud.node WHERE name = $1 FOR UPDATE" => {
                let name = words(&given[0]);
                self.lock(on, &format!("node {name}"), 0, Mode::Update)?;
                Ok(self.data.nodes.get(&name).map(|node| vec![truth(node.until > now)]).into_iter().collect())
            }
            "SELECT 1 FROM postbud.node WHERE instance = $1 FOR KEY SHARE" => {
                let Some(name) = self.data.node_of(number(&given[0])) else { return none };
                self.lock(on, &format!("node {name}"), 0, Mode::KeyShare)?;
                one(vec![int4(1)])
            }
            "UPDATE postbud.owner SET epoch = $1, node" => {
                let (epoch, node, shard) = (number(&given[0]), words(&given[1]), number(&given[2]));
                self.lock(on, "owner", shard, Mode::NoKeyUpdate)?;
                let by = on.node();
                on.does(move |data| {
                    let owner = &mut data.owners[shard as usize];
                    (owner.epoch, owner.node, owner.clean) = (epoch, node, false);
                    data.last_epochs.insert((by, shard), epoch);
                });
                none
            }
            "SELECT epoch, node FROM postbud.owner WHERE shard = $1 FOR UPDATE" => {
                let shard = number(&given[0]);
                self.lock(on, "owner", shard, Mode::Update)?;
                let last = self.data.last_epochs.get(&(on.node(), shard)).copied();
                let skipped = last.filter(|_| self.fault == Some(Fault::SkipsEpochCheck));
                let owner = &self.data.owners[shard as usize];
                one(vec![int8(skipped.unwrap_or(owner.epoch)), text(&owner.node)])
            }
            "UPDATE postbud.owner SET epoch = $1 WHERE shard" => {
                let (epoch, shard) = (number(&given[0]), number(&given[1]));
                self.lock(on, "owner", shard, Mode::NoKeyUpdate)?;
                let by = on.node();
                on.does(move |data| {
                    data.owners[shard as usize].epoch = epoch;
                    data.last_epochs.insert((by, shard), epoch);
                });
                none
            }
            "SELECT to_regclass($1) IS NOT NULL" => one(vec![truth(self.data.tables.contains_key(&words(&given[0])))]),
            "SELECT max(seq) FROM T WHERE shard = " => {
                let last = self.table(&table())?.keys().filter(|key| key.0 == MARKS).map(|key| key.1).max();
                one(vec![last.and_then(int4)])
            }
            "SELECT max(seq) FROM T" => {
                let last = self.table(&table())?.keys().map(|key| key.1).max();
                one(vec![last.and_then(int4)])
            }
            "SELECT seq FROM T WHERE seq > $1 AND part = 0" => {
                let behind = number(&given[0]) as i32;
                let found = self.table(&table())?.keys().filter(|key| key.1 > behind && key.2 == 0);
                Ok(found.map(|key| vec![int4(key.1)]).collect())
            }
            "DELETE FROM T WHERE seq > $1" | "DELETE FROM T WHERE seq >= $1" => {
                let from = number(&given[0]) as i32 + i32::from(begins.ends_with("> $1"));
                let keys: Vec<Key> = self.table(&table())?.keys().copied().filter(|key| key.1 >= from).collect();
                if self.fault == Some(Fault::SkipsTakingBack) {
                    return none;
                }
                self.delete(on, table(), keys)?;
                none
            }
            "UPDATE postbud.node SET alive_until" => {
                let Some(name) = self.data.node_of(number(&given[0])) else { return none };
                self.lock(on, &format!("node {name}"), 0, Mode::NoKeyUpdate)?;
                let until = now + seconds(&given[1]);
                on.count = 1;
                on.does(move |data| data.nodes.get_mut(&name).into_iter().for_each(|node| node.until = until));
                none
            }
            "SELECT name, leaving" => {
                let settled = seconds(&given[0]);
                let row = |(name, node): (&String, &NodeRow)| {
                    let has_settled = truth(node.since + settled < now);
                    let lease = (truth(node.until > now), float8(node.until));
                    vec![text(name), truth(node.leaving), has_settled, text(""), lease.0, lease.1]
                };
                Ok(self.data.nodes.iter().map(row).collect())
            }
            "SELECT node FROM postbud.owner ORDER BY shard" => {
                Ok(self.data.owners.iter().map(|owner| vec![text(&owner.node)]).collect())
            }
            "UPDATE postbud.owner SET told_segment" => {
                let (shard, epoch) = (number(&given[0]), number(&given[1]));
                let told = (number(&given[2]) as i32, number(&given[3]) as i32);
                self.lock(on, "owner", shard, Mode::NoKeyUpdate)?;
                if self.data.owners[shard as usize].epoch == epoch {
                    on.count = 1;
                    on.does(move |data| data.owners[shard as usize].told = told);
                }
                none
            }
            "UPDATE postbud.owner SET node = ''" => {
                let (shard, epoch, clean) = (number(&given[0]), number(&given[1]), given[2] == truth(true));
                self.lock(on, "owner", shard, Mode::NoKeyUpdate)?;
                if self.data.owners[shard as usize].epoch == epoch {
                    on.does(move |data| {
                        let owner = &mut data.owners[shard as usize];
                        (owner.node, owner.clean) = (String::new(), clean);
                    });
                }
                none
            }
            "UPDATE postbud.node SET leaving" => {
                let Some(name) = self.data.node_of(number(&given[0])) else { return none };
                self.lock(on, &format!("node {name}"), 0, Mode::NoKeyUpdate)?;
                on.does(move |data| data.nodes.get_mut(&name).into_iter().for_each(|node| node.leaving = true));
                none
            }
            "SELECT epoch FROM postbud.owner WHERE shard = " => {
                let [shard, epoch] = statement.numbers()[..] else { panic!("{}", statement.text) };
                if self.fault == Some(Fault::SkipsEpochCheck) {
                    return one(vec![text(&epoch.to_string())]);
                }
                self.lock(on, "owner", shard, Mode::KeyShare)?;
                let stands = self.data.owners[shard as usize].epoch == epoch;
                Ok(stands.then(|| vec![text(&epoch.to_string())]).into_iter().collect())
            }
            "CREATE TABLE" => {
                if let Some(table) = statement.tables.first().cloned() {
                    on.does(move |data| {
                        data.tables.entry(table).or_default();
                    });
                }
                none
            }
            "INSERT INTO postbud.segment" => {
                let [shard, number] = statement.numbers()[..] else { panic!("{}", statement.text) };
                on.does(move |data| data.segments.insert((shard as i32, number as i32)));
                none
            }
            "WITH moved AS" => {
                let (from, to) = (statement.tables[0].clone(), statement.tables[1].clone());
                let shard = statement.numbers()[0] as i32;
                let (asked, first) = (array(&given[0]), number(&given[1]) as i32);
                let asked: Vec<i32> = asked.iter().map(|seq| number(seq) as i32).collect();
                let place = |seq: i32| asked.iter().position(|one| *one == seq);
                let moved: Vec<(Key, Row)> = self
                    .table(&from)?
                    .iter()
                    .filter(|(key, _)| key.0 == shard && place(key.1).is_some())
                    .map(|(key, row)| (*key, row.clone()))
                    .collect();
                self.delete(on, from, moved.iter().map(|(key, _)| *key).collect())?;
                let new = |(key, row): (Key, Row)| {
                    let seq = first + place(key.1).expect("it was asked for") as i32;
                    ((0, seq, key.2), row)
                };
                let new: Vec<(Key, Row)> = moved.into_iter().map(new).collect();
                let rows = new.iter().map(|(key, _)| vec![int4(key.1), int2(key.2)]).collect();
                self.insert(on, to, new)?;
                Ok(rows)
            }
            "SELECT number FROM postbud.segment WHERE shard = $1" => {
                let of = number(&given[0]) as i32;
                let found = self.data.segments.iter().filter(|(shard, _)| *shard == of);
                Ok(found.map(|(_, number)| vec![int4(*number)]).collect())
            }
            "SELECT seq, id, note FROM T" => {
                let first = self.table(&table())?.iter().filter(|(key, _)| key.2 == 0);
                Ok(first.map(|(key, row)| [vec![int4(key.1)], columns(row, &[ID, NOTE])].concat()).collect())
            }
            "SELECT pg_total_relation_size" => one(vec![int8(self.data.size(&table()))]),
            "SELECT seq, head, CASE" => {
                let wanted =
                    |value: &Value| -> Vec<i32> { array(value).iter().map(|seq| number(seq) as i32).collect() };
                let (asked, bodies) = (wanted(&given[0]), wanted(&given[1]));
                let found = self.table(&table())?.iter().filter(|(key, _)| key.2 == 0 && asked.contains(&key.1));
                let row = |(key, row): (&Key, &Row)| {
                    let body = row[BODY].clone().filter(|_| bodies.contains(&key.1));
                    vec![int4(key.1), row[HEAD].clone(), body, row[CRC].clone()]
                };
                Ok(found.map(row).collect())
            }
            "SELECT body, crc FROM T" => {
                let (seq, part) = (number(&given[0]) as i32, number(&given[1]) as i16);
                let found = self.table(&table())?.get(&(0, seq, part));
                Ok(found.map(|row| columns(row, &[BODY, CRC])).into_iter().collect())
            }
            "SELECT COALESCE(sum(pg_total_relation_size" => {
                one(vec![int8(self.data.tables.keys().map(|table| self.data.size(table)).sum())])
            }
            "SELECT number FROM postbud.transit ORDER BY" => {
                Ok(self.data.transit.keys().map(|number| vec![int4(*number)]).collect())
            }
            "SELECT seq, id, note, lines FROM T" => {
                let (shard, behind) = (number(&given[0]) as i32, number(&given[1]) as i32);
                let found = self.table(&table())?.iter();
                let found = found.filter(|(key, _)| key.0 == shard && key.1 > behind && key.2 == 0).take(500);
                Ok(found.map(|(key, row)| [vec![int4(key.1)], columns(row, &[ID, NOTE, LINES])].concat()).collect())
            }
            "SELECT EXISTS (SELECT FROM postbud.transit WHERE instance" => {
                let (instance, behind) = (number(&given[0]), number(&given[1]) as i32);
                one(vec![truth(self.data.transit.iter().any(|(number, by)| *by == instance && *number > behind))])
            }
            "INSERT INTO postbud.transit (instance)" => {
                let instance = number(&given[0]);
                self.data.next_transit += 1;
                let number = self.data.next_transit;
                on.does(move |data| data.transit.insert(number, instance));
                one(vec![int4(number)])
            }
            "SELECT number FROM postbud.transit t WHERE" => {
                let own = number(&given[0]);
                let latest = self.data.transit.iter().filter(|(_, by)| **by == own).map(|(number, _)| *number).max();
                let is_gone = |by: i64| self.data.node_of(by).is_none();
                let is_done = |(number, by): &(&i32, &i64)| {
                    is_gone(**by) || (**by == own && latest.is_some_and(|latest| **number < latest))
                };
                Ok(self.data.transit.iter().filter(is_done).map(|(number, _)| vec![int4(*number)]).collect())
            }
            "DELETE FROM postbud.transit WHERE number = " => {
                let table = statement.numbers()[0];
                self.lock(on, "transit", table, Mode::Update)?;
                on.does(move |data| data.transit.remove(&(table as i32)));
                none
            }
            "LOCK TABLE" => {
                if let Some(table) = statement.tables.first() {
                    self.table(table)?;
                    self.lock(on, table, -1, Mode::Update)?;
                }
                none
            }
            "SELECT NOT EXISTS (SELECT FROM T WHERE shard <> " => {
                one(vec![truth(self.table(&table())?.keys().all(|key| key.0 == MARKS))])
            }
            "DROP TABLE" => {
                let table = table();
                self.lock(on, &table, -1, Mode::Update)?;
                on.does(move |data| data.tables.remove(&table));
                none
            }
            "DELETE FROM postbud.segment WHERE shard = " => {
                let [shard, number] = statement.numbers()[..] else { panic!("{}", statement.text) };
                on.does(move |data| data.segments.remove(&(shard as i32, number as i32)));
                none
            }
            "SELECT customer, name, text FROM postbud.carried" => {
                let of = number(&given[0]) as i32;
                if of >= 0 && self.fault == Some(Fault::ForgetsCarried) {
                    return none;
                }
                let found = self.data.carried.iter().filter(|((shard, ..), _)| *shard == of);
                Ok(found.map(|((_, customer, name), it)| vec![text(customer), text(name), text(it)]).collect())
            }
            "INSERT INTO postbud.carried SELECT" => {
                let shard = number(&given[0]) as i32;
                let column = |at: usize| array(&given[at]).iter().map(words).collect::<Vec<_>>();
                for ((customer, name), it) in column(1).into_iter().zip(column(2)).zip(column(3)) {
                    self.lock(on, &format!("carried {customer} {name}"), shard.into(), Mode::NoKeyUpdate)?;
                    on.does(move |data| data.carried.insert((shard, customer, name), it));
                }
                none
            }
            "INSERT INTO postbud.carried VALUES ($1, '', $2, $3)" => {
                let (shard, name, it) = (number(&given[0]) as i32, words(&given[1]), words(&given[2]));
                self.lock(on, &format!("carried  {name}"), shard.into(), Mode::NoKeyUpdate)?;
                on.does(move |data| data.carried.insert((shard, String::new(), name), it));
                none
            }
            "INSERT INTO postbud.carried VALUES ($1, '', $2, '')" => {
                let key = (number(&given[0]) as i32, String::new(), words(&given[1]));
                on.does(move |data| {
                    data.carried.entry(key).or_default();
                });
                none
            }
            "DELETE FROM postbud.carried WHERE" => {
                let key = (number(&given[0]) as i32, String::new(), words(&given[1]));
                self.lock(on, &format!("carried  {}", key.2), key.0.into(), Mode::Update)?;
                on.does(move |data| data.carried.remove(&key));
                none
            }
            "SELECT owner, step FROM schema_step" => one(vec![text("day"), int8(1)]),
            "SELECT FROM schema_step WHERE owner = 'day' FOR UPDATE" => {
                self.lock(on, "schema_step", 0, Mode::Update)?;
                none
            }
            "INSERT INTO day_taken" => {
                on.begins_day(words(&given[0]), number(&given[1]), number(&given[2]));
                none
            }
            "SELECT taken FROM day_taken" => {
                let (route, day) = (words(&given[0]), number(&given[1]));
                if self.fault == Some(Fault::ForgetsDayOfOthers) {
                    return one(vec![int8(0)]);
                }
                let of = |day: i64| {
                    let day = (route.clone(), day);
                    self.data.day_taken.get(&day).copied().or_else(|| on.day(&day))
                };
                Ok([day, day + 1].into_iter().filter_map(of).map(|taken| vec![int8(taken)]).collect())
            }
            "UPDATE day_taken SET taken = taken +" | "UPDATE day_taken SET taken = taken -" => {
                let more = number(&given[0]) * if begins.ends_with('+') { 1 } else { -1 };
                let day = (words(&given[1]), number(&given[2]));
                on.takes_of_day(more);
                on.does(move |data| data.day_taken.get_mut(&day).into_iter().for_each(|taken| *taken += more));
                none
            }
            // Settings of the session and of tables, and what leaves nothing behind.
            _ => none,
        }
    }

    /// Deletes rows once no other transaction does. Rows that one has deleted by then are left out.
    fn delete(&mut self, on: &mut Connection, table: String, keys: Vec<Key>) -> Result<(), Stop> {
        self.lock(on, &table, -1, Mode::KeyShare)?;
        for key in &keys {
            self.lock(on, &format!("{table} {}", key.0), i64::from(key.1), Mode::Update)?;
        }
        on.does(move |data: &mut Data| {
            if let Some(rows) = data.tables.get_mut(&table) {
                rows.retain(|key, _| !keys.contains(key));
            }
        });
        Ok(())
    }

    /// Inserts rows, once no other transaction inserts the same. Refused if there is one already.
    pub fn insert(&mut self, on: &mut Connection, table: String, rows: Vec<(Key, Row)>) -> Result<(), Stop> {
        self.lock(on, &table, -1, Mode::KeyShare)?;
        for (key, _) in &rows {
            self.lock(on, &format!("{table} {}", key.0), i64::from(key.1), Mode::Update)?;
            if self.table(&table)?.contains_key(key) {
                return Err(Stop::Error("23505", format!("row {key:?} is in {table} already")));
            }
        }
        self.table(&table)?;
        on.does(move |data: &mut Data| data.tables.entry(table).or_default().extend(rows));
        Ok(())
    }
}
