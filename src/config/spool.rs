//! Reads `[spool]`: where mail waits.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use super::mistake::ReadAgain;
use super::reader::Table;
use super::secret::{self, Source, secret_keys};
use super::server::{positive, size};
use super::value::{ByteSize, Port};
use crate::postgres::{Server, client_config};
use crate::server::SpoolSettings;
use crate::spool::{embedded, postgres};

const PASSWORD: Source = secret_keys!("password");
/// The keys of the embedded spool.
const EMBEDDED: [&str; 6] = ["dir", "min_free", "min_free_inodes", "segment_size", "settle_delay", "guard_interval"];
/// The default number of shards for a shared spool: two, three, four or six nodes get equal parts.
const SHARDS: u32 = 12;
/// The longest name that PostgreSQL does not cut.
const LONGEST_NAME: usize = 63;

/// Reads `[spool]`. `hostname` is the node's name unless another one is configured.
pub(super) fn spool(table: &Table<'_>, state_dir: &Path, hostname: &str) -> SpoolSettings {
    let in_database = table.choice("backend", &[("embedded", false), ("postgres", true)]).unwrap_or(false);
    let database = table.table("postgres");
    if in_database {
        for key in EMBEDDED.into_iter().filter(|key| table.has(key)) {
            table.mistake(key, "has no use with backend = \"postgres\"; [spool.postgres] has keys of its own");
        }
        return SpoolSettings::Postgres(Box::new(postgres(&database, hostname)));
    }
    if database.is_there() {
        database.allow_all_keys();
        database.mistake("", "has no use without backend = \"postgres\" in [spool]");
    }
    SpoolSettings::Embedded(embedded(table, state_dir))
}

fn embedded(table: &Table<'_>, state_dir: &Path) -> embedded::Settings {
    let default = embedded::Settings::default();
    embedded::Settings {
        dir: table.get("dir").unwrap_or_else(|| state_dir.join("spool")),
        min_free: table.or("min_free", ByteSize(default.min_free)).0,
        min_free_inodes: table.or("min_free_inodes", default.min_free_inodes),
        segment_size: segment_size(table, default.segment_size),
        settle_delay: table.or("settle_delay", default.settle_delay),
        guard_interval: positive(table, "guard_interval", default.guard_interval),
        ..default
    }
}

fn segment_size(table: &Table<'_>, default: u64) -> u64 {
    let found = size(table, "segment_size", default);
    if !(1 << 20..=1 << 30).contains(&found) {
        table.mistake("segment_size", format!("{} is outside of 1 MiB to 1 GiB", ByteSize(found)));
    }
    found
}

fn postgres(table: &Table<'_>, hostname: &str) -> postgres::Settings {
    let default = postgres::Settings::default();
    let server = Server::default();
    let hosts = match table.is_text("host") {
        true => table.get("host").into_iter().collect(),
        false => table.or("host", server.hosts),
    };
    if hosts.is_empty() || hosts.iter().any(String::is_empty) {
        table.mistake("host", "names no server; write a name, an address, or the folder of a unix socket");
    }
    // Such a text would be shown wherever the server is named, and may hold a password.
    if hosts.iter().any(|host| !host.starts_with('/') && host.contains(['=', '@', '/'])) {
        table.mistake("host", "is not the name of a server; user and password have keys of their own");
    }
    let tls = tls(table, hosts.iter().all(|host| is_local(host)));
    let lease = table.or("lease", server.lease);
    if !(Duration::from_secs(3)..=Duration::from_secs(300)).contains(&lease) {
        table.mistake("lease", "is outside of 3s to 5m");
    }
    let nodes = table.number("nodes", 1..=16, default.nodes);
    let shards = table.number("shards", 1..=64, if nodes == 1 { default.shards } else { SHARDS });
    if shards < nodes {
        table.mistake("shards", format!("is less than nodes ({nodes}): some nodes would have none"));
    }
    let standbys = table.number("standbys", 0..=10, default.standbys);
    if hosts.len() > 1 && !table.has("standbys") {
        let what = "is not set, although host names several servers: one that is promoted may lack mail that was acknowledged. Set \
                    synchronous_standby_names at the server, and standbys = 1; or say standbys = 0";
        table.warning("standbys", what);
    }
    postgres::Settings {
        server: Server {
            hosts,
            port: table.or("port", Port(server.port)).0,
            database: name(table, "database", server.database),
            user: name(table, "user", server.user),
            password: secret::value(table, PASSWORD),
            schema: schema(table, server.schema),
            tls,
            node: node(table, hostname),
            timeout: positive(table, "timeout", server.timeout),
            lease,
        },
        nodes,
        shards,
        segment_size: segment_size(table, default.segment_size),
        max_size: if table.has("max_size") { size(table, "max_size", default.max_size) } else { default.max_size },
        standbys,
        ..default
    }
}

/// Reads the settings of TLS. By default, mail crosses no network unencrypted.
fn tls(table: &Table<'_>, is_local: bool) -> Option<std::sync::Arc<rustls::ClientConfig>> {
    let authorities = secret::certificates(table, "ca_file", ReadAgain::WithItsKey);
    let wanted = table.choice("tls", &[("required", true), ("off", false)]);
    if wanted == Some(false) && table.has("ca_file") {
        table.mistake("ca_file", "has no use with tls = \"off\"");
    }
    if wanted == Some(false) && !is_local {
        table.warning("tls", "is off, so mail and the password cross the network in clear");
    }
    if !wanted.unwrap_or(!is_local || authorities.is_some()) {
        return None;
    }
    match client_config(authorities.map(|(_, certificates)| certificates)) {
        Ok(config) => Some(config),
        Err(error) => {
            table.mistake("ca_file", format!("cannot be used: {error}"));
            None
        }
    }
}

/// Returns true if data for this host stays on this machine.
fn is_local(host: &str) -> bool {
    host.starts_with('/') || host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn name(table: &Table<'_>, key: &'static str, default: String) -> String {
    let found = table.or(key, default);
    if !is_name(&found) {
        table.mistake(key, format!("is not a name of 1 to {LONGEST_NAME} characters"));
    }
    found
}

/// Returns the node's name. Nodes with the same server file take it from an environment variable.
fn node(table: &Table<'_>, hostname: &str) -> String {
    if !table.has("node_env") {
        return name(table, "node", hostname.to_owned());
    }
    if table.has("node") {
        table.mistake("node_env", "is given besides node; keep one of them");
    }
    let variable: String = table.or("node_env", String::new());
    let found = std::env::var(&variable).unwrap_or_default();
    if !is_name(&found) {
        table.mistake("node_env", format!("{variable} holds no name of 1 to {LONGEST_NAME} characters"));
    }
    found
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST_NAME && !text.chars().any(char::is_control)
}

fn schema(table: &Table<'_>, default: String) -> String {
    let found = table.or("schema", default);
    if !postgres::is_schema_name(&found) {
        let what =
            "cannot be a schema's name here: a lower case letter, then letters, digits and underscores, 40 at most";
        table.mistake("schema", format!("\"{found}\" {what}"));
    }
    found
}
