//! Checks whether the database keeps what it acknowledges: at every start, at every new connection that writes mail, every few seconds
//! while the relay runs, and in `postbud check`.

use super::Settings;
use super::link::{Failure, Link};
use crate::postgres::Server;

/// The oldest version that is supported.
const OLDEST: i32 = 150_000;

const SETTINGS: &str = "SELECT name, setting FROM pg_settings WHERE name = ANY($1)";
const NAMES: [&str; 12] = [
    "fsync",
    "full_page_writes",
    "data_sync_retry",
    "zero_damaged_pages",
    "synchronous_commit",
    "synchronous_standby_names",
    "server_version_num",
    "server_encoding",
    "max_connections",
    "superuser_reserved_connections",
    // From PostgreSQL 16 on.
    "reserved_connections",
    "transaction_read_only",
];
/// How many connections a node needs besides those for its shards.
const CONNECTIONS: u32 = 10;
const RIGHTS: &str = "SELECT pg_is_in_recovery(), \
    EXISTS (SELECT FROM pg_namespace WHERE nspname = $1), \
    COALESCE((SELECT has_schema_privilege(oid, 'CREATE') AND has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname = $1), \
             has_database_privilege(current_database(), 'CREATE')), \
    pg_has_role(current_user, 'pg_read_all_stats', 'MEMBER'), \
    (SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum'))";

/// The settings that the database reports.
#[derive(Clone, Debug, Default)]
struct ServerSettings {
    version: i32,
    fsync: String,
    full_page_writes: String,
    data_sync_retry: String,
    zero_damaged_pages: String,
    synchronous_commit: String,
    synchronous_standby_names: String,
    encoding: String,
    /// How many connections the server leaves to ordinary roles. A role or a database may have a lower limit of its own.
    connections: i64,
    is_read_only: bool,
    has_schema: bool,
    may_create: bool,
    sees_standbys: bool,
    standbys: i64,
}

/// Checks the database. Returns what would lose mail or keep the spool from working, each with its remedy.
pub(super) async fn check(link: &Link, settings: &Settings) -> Result<Vec<String>, Failure> {
    let mut found = ServerSettings::default();
    for row in link.client.query(SETTINGS, &[&NAMES.as_slice()]).await? {
        let value: String = row.get(1);
        match row.get(0) {
            "fsync" => found.fsync = value,
            "full_page_writes" => found.full_page_writes = value,
            "data_sync_retry" => found.data_sync_retry = value,
            "zero_damaged_pages" => found.zero_damaged_pages = value,
            "synchronous_commit" => found.synchronous_commit = value,
            "synchronous_standby_names" => found.synchronous_standby_names = value,
            "server_version_num" => found.version = value.parse().unwrap_or_default(),
            "server_encoding" => found.encoding = value,
            "max_connections" => found.connections += value.parse().unwrap_or(0),
            "superuser_reserved_connections" | "reserved_connections" => {
                found.connections -= value.parse().unwrap_or(0)
            }
            _ => found.is_read_only = value == "on",
        }
    }
    let row = link.client.query_one(RIGHTS, &[&settings.server.schema]).await?;
    found.is_read_only |= row.get::<_, bool>(0);
    (found.has_schema, found.may_create) = (row.get(1), row.get(2));
    (found.sees_standbys, found.standbys) = (row.get(3), row.get(4));
    Ok(judge(&found, settings))
}

fn judge(found: &ServerSettings, settings: &Settings) -> Vec<String> {
    let mut wrong = Vec::new();
    if found.version < OLDEST {
        let major = found.version / 10_000;
        wrong.push(format!("PostgreSQL {major} is too old; use PostgreSQL 15 or later"));
    }
    if found.is_read_only {
        wrong.push("the server takes no writes (it is a standby); name the primary in [spool.postgres] host".into());
    }
    if found.encoding != "UTF8" {
        let Server { database, .. } = &settings.server;
        let remedy = "make one with ENCODING 'UTF8' TEMPLATE template0";
        wrong
            .push(format!("database {database} has the encoding {}, which lacks characters; {remedy}", found.encoding));
    }
    let connections = settings.shards + CONNECTIONS * settings.nodes;
    if found.connections < i64::from(connections) {
        let (there, nodes, shards) = (found.connections, settings.nodes, settings.shards);
        let needed = format!("{shards} shards and {CONNECTIONS} for each of nodes = {nodes} need {connections}");
        wrong.push(format!("max_connections leaves {there} connections, but {needed}; raise max_connections"));
    }
    for (name, value) in [("fsync", &found.fsync), ("full_page_writes", &found.full_page_writes)] {
        if value != "on" {
            wrong.push(format!("{name} is {value}, so a power cut loses mail; set {name} = on at the server"));
        }
    }
    // After a failed sync the pages count as written, so the next one succeeds without them.
    let retries = ("data_sync_retry", &found.data_sync_retry, "so a failing disk loses mail that was acknowledged");
    let zeroes = ("zero_damaged_pages", &found.zero_damaged_pages, "so mail in a damaged page is lost without a word");
    for (name, value, why) in [retries, zeroes] {
        if value == "on" {
            wrong.push(format!("{name} is on, {why}; set {name} = off at the server"));
        }
    }
    if found.synchronous_commit == "off" {
        let remedy = "set synchronous_commit = on for the role or the server";
        wrong.push(format!("synchronous_commit is off, so a power cut loses mail that was acknowledged; {remedy}"));
    }
    if !found.may_create {
        let Server { schema, user, database, .. } = &settings.server;
        wrong.push(match found.has_schema {
            true => format!("role {user} may not use schema {schema}; GRANT USAGE, CREATE ON SCHEMA {schema} TO {user}"),
            false => format!(
                "role {user} may not make schema {schema} in database {database}; CREATE SCHEMA {schema} AUTHORIZATION {user}"
            ),
        });
    }
    if settings.standbys > 0 {
        wrong.extend(judge_standbys(found, settings));
    }
    wrong
}

fn judge_standbys(found: &ServerSettings, settings: &Settings) -> Option<String> {
    let wanted = settings.standbys;
    if found.synchronous_standby_names.is_empty() {
        return Some(format!("synchronous_standby_names is empty, but [spool.postgres] standbys asks for {wanted}"));
    }
    if ["off", "local"].contains(&found.synchronous_commit.as_str()) {
        let value = &found.synchronous_commit;
        return Some(format!(
            "synchronous_commit is {value}, so no standby is waited for; set synchronous_commit = on"
        ));
    }
    if !found.sees_standbys {
        let user = &settings.server.user;
        return Some(format!("role {user} cannot see the standbys; GRANT pg_read_all_stats TO {user}"));
    }
    let there = found.standbys;
    (there < i64::from(wanted))
        .then(|| format!("{there} synchronous standbys are connected, but [spool.postgres] standbys asks for {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> ServerSettings {
        ServerSettings {
            version: 150_018,
            fsync: "on".into(),
            full_page_writes: "on".into(),
            data_sync_retry: "off".into(),
            zero_damaged_pages: "off".into(),
            synchronous_commit: "on".into(),
            synchronous_standby_names: "ANY 1 (a, b)".into(),
            encoding: "UTF8".into(),
            connections: 97,
            is_read_only: false,
            has_schema: true,
            may_create: true,
            sees_standbys: true,
            standbys: 1,
        }
    }

    #[test]
    fn what_would_lose_mail_is_told_with_its_remedy_and_nothing_else() {
        let one = Settings { standbys: 1, ..Settings::default() };
        let none = Settings::default();
        assert_eq!(judge(&good(), &one), Vec::<String>::new());
        let cases: [(ServerSettings, &Settings, &str); 17] = [
            (ServerSettings { version: 140_009, ..good() }, &none, "PostgreSQL 14 is too old"),
            (ServerSettings { is_read_only: true, ..good() }, &none, "takes no writes"),
            (ServerSettings { encoding: "LATIN1".into(), ..good() }, &none, "ENCODING 'UTF8'"),
            (ServerSettings { connections: 10, ..good() }, &none, "leaves 10 connections, but 1 shards"),
            (ServerSettings { fsync: "off".into(), ..good() }, &none, "set fsync = on"),
            (ServerSettings { full_page_writes: "off".into(), ..good() }, &none, "set full_page_writes = on"),
            (ServerSettings { data_sync_retry: "on".into(), ..good() }, &none, "set data_sync_retry = off"),
            (ServerSettings { zero_damaged_pages: "on".into(), ..good() }, &none, "set zero_damaged_pages = off"),
            (ServerSettings { synchronous_commit: "off".into(), ..good() }, &none, "synchronous_commit is off"),
            (ServerSettings { may_create: false, ..good() }, &none, "GRANT USAGE, CREATE ON SCHEMA postbud"),
            (
                ServerSettings { may_create: false, has_schema: false, ..good() },
                &none,
                "CREATE SCHEMA postbud AUTHORIZATION",
            ),
            (
                ServerSettings { synchronous_standby_names: String::new(), ..good() },
                &one,
                "synchronous_standby_names is empty",
            ),
            (ServerSettings { synchronous_commit: "local".into(), ..good() }, &one, "no standby is waited for"),
            (ServerSettings { sees_standbys: false, ..good() }, &one, "GRANT pg_read_all_stats"),
            (ServerSettings { standbys: 0, ..good() }, &one, "0 synchronous standbys are connected"),
            // Settings that a single server need not have.
            (ServerSettings { standbys: 0, sees_standbys: false, ..good() }, &none, ""),
            (ServerSettings { synchronous_commit: "remote_apply".into(), ..good() }, &one, ""),
        ];
        for (found, settings, expected) in cases {
            let wrong = judge(&found, settings);
            match expected {
                "" => assert_eq!(wrong, Vec::<String>::new()),
                _ => assert!(wrong.len() == 1 && wrong[0].contains(expected), "{wrong:?} says not {expected}"),
            }
        }
    }
}
