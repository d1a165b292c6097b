//! A database that would lose mail is refused, and one that cannot be used says why.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use postbud::postgres::client_config;
use postbud::spool::postgres::{self, OpenError, Postgres, Settings};
use postbud::spool::{Commit, Error, Filter, Inspect, Intervene, Notice, Spool, Work};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::rig::{Heard, quick, recovered, server, until};
use crate::certs::Authority;
use crate::drafts::{backoff, draft, lane, soon};
use crate::port::{claim_all, delivered};
use crate::ports::free_port;
use crate::postgres::Server;
use crate::skip::skip;

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_would_lose_mail_is_refused_at_the_start_and_taken_out_of_use_later() {
    let name = "a_database_that_would_lose_mail_is_refused_at_the_start_and_taken_out_of_use_later";
    let unfit =
        [("fsync", "off"), ("full_page_writes", "off"), ("data_sync_retry", "on"), ("zero_damaged_pages", "on")];
    let Some(server) = server(name, &unfit) else { return };
    let Err(OpenError::Unfit { wrong, .. }) = Postgres::open(quick(&server)) else { panic!("it is used") };
    assert!(wrong.iter().zip(unfit).all(|(why, (name, _))| why.contains(name)) && wrong.len() == 4, "{wrong:?}");
    assert_eq!(postgres::check(&quick(&server)), wrong, "`postbud check` says the same");
    for (name, value) in unfit {
        server.set(name, if value == "on" { "off" } else { "on" });
    }
    server.stop();
    server.start_again().unwrap();
    let heard = Heard::default();
    let spool = Postgres::open(heard.with(quick(&server))).unwrap();
    let _ = spool.commit(draft("x", &["a@b.dk"], 1, 100)).await.unwrap();
    server.set("fsync", "off");
    until("it is noticed", || !spool.health().borrow().may_deliver()).await;
    assert!(heard.has(|notice| matches!(notice, Notice::Failed { why } if why.contains("fsync"))));
    let refused = spool.commit(draft("x", &["a@b.dk"], 2, 100)).await;
    assert!(matches!(refused, Err(Error::Io { .. })), "{refused:?}");
    server.set("fsync", "on");
    recovered(&spool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_with_the_rights_of_the_documentation_is_enough_and_one_with_less_is_told_what_it_lacks() {
    let name = "a_role_with_the_rights_of_the_documentation_is_enough_and_one_with_less_is_told_what_it_lacks";
    let Some(server) = server(name, &[]) else { return };
    server.sql("CREATE ROLE postbud LOGIN");
    let mut settings = quick(&server);
    settings.server.user = "postbud".into();
    settings.server.schema = "postbud".into();
    let Err(OpenError::Unfit { wrong, .. }) = Postgres::open(settings.clone()) else { panic!("it is used") };
    assert!(wrong[0].contains("CREATE SCHEMA postbud AUTHORIZATION postbud"), "{wrong:?}");
    server.sql("CREATE SCHEMA postbud AUTHORIZATION postbud");
    let spool = Postgres::open(settings.clone()).unwrap();
    let _ = spool.commit(draft("x", &["a@b.dk"], 1, 100)).await.unwrap();
    spool.stop().await;
    let synchronous = Settings { standbys: 1, ..settings };
    let Err(OpenError::Unfit { wrong, .. }) = Postgres::open(synchronous) else { panic!("it is used") };
    assert!(wrong[0].contains("synchronous_standby_names is empty"), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_a_newer_program_are_left_alone() {
    let Some(server) = server("tables_of_a_newer_program_are_left_alone", &[]) else { return };
    Postgres::open(quick(&server)).unwrap().stop().await;
    server.sql("UPDATE s.format SET version = 99");
    let refused = Postgres::open(quick(&server)).err().unwrap();
    assert!(matches!(refused, OpenError::OtherFormat { found: 99, .. }), "{refused}");
    assert_eq!(postgres::check(&quick(&server)), [refused.to_string()], "`postbud check` says the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_that_start_at_once_make_the_tables_once() {
    let Some(server) = server("programs_that_start_at_once_make_the_tables_once", &[]) else { return };
    let open = |node: &str| {
        let mut settings = quick(&server);
        settings.server.node = node.into();
        std::thread::spawn(move || Postgres::open(settings))
    };
    let all: Vec<_> = ["a", "b", "c", "d"].map(open).into_iter().map(|opening| opening.join().unwrap()).collect();
    let refused = |opened: &Result<Arc<Postgres>, OpenError>| match opened {
        Ok(_) => false,
        Err(OpenError::InUse { .. }) => true,
        Err(other) => panic!("{other}"),
    };
    assert_eq!(all.iter().filter(|opened| refused(opened)).count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_was_altered_in_the_database_is_held_with_a_notice() {
    let Some(server) = server("a_message_that_was_altered_in_the_database_is_held_with_a_notice", &[]) else { return };
    let heard = Heard::default();
    let spool = Postgres::open(quick(&server)).unwrap();
    let mut ids = Vec::new();
    for seed in 0..3 {
        ids.push(spool.commit(draft("x", &["a@b.dk"], seed, 3_000)).await.unwrap().id());
    }
    // A process that has just written a message need not read it for the first attempt. The next process must.
    drop(spool);
    let spool = Postgres::open(heard.with(quick(&server))).unwrap();
    server.sql("UPDATE s.segment_0_1 SET body = set_byte(body, 100, get_byte(body, 100) # 1) WHERE seq = 1");
    server.sql("UPDATE s.segment_0_1 SET head = set_byte(head, 40, get_byte(head, 40) # 1) WHERE seq = 2");
    let leases = claim_all(&*spool, "x").await;
    assert_eq!(leases.iter().map(|lease| lease.record.id).collect::<Vec<_>>(), ids[2..]);
    for id in &ids[..2] {
        assert!(heard.has(|notice| matches!(notice, Notice::Held { id: found, .. } if found == id)));
    }
    spool.sync().await.unwrap();
    let held = Filter { held: Some(true), ..Filter::default() };
    assert_eq!(spool.list(held, 10).await.unwrap().len(), 1, "of the other not even the envelope can be read");
    let stats = postbud::spool::all_lanes(&*spool).await.unwrap();
    assert_eq!(stats.values().map(|lane| lane.held).sum::<u64>(), 2);
    // Nobody can read them, and an operator can end them all the same.
    for id in &ids[..2] {
        assert!(matches!(spool.show(*id).await, Err(Error::Corrupt { .. })));
        assert!(spool.seize(Filter::one(*id), 1).await.unwrap().is_empty());
        assert!(spool.discard(*id).await.unwrap());
        assert!(matches!(spool.show(*id).await, Err(Error::Unknown(_))));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_known_by_its_certificate() {
    let address = free_port("127.0.0.1");
    let port = address.port().to_string();
    let Some(server) =
        server("a_server_is_known_by_its_certificate", &[("listen_addresses", "127.0.0.1"), ("port", &port)])
    else {
        return;
    };
    let (ours, other) = (Authority::new(), Authority::new());
    let issued = ours.issue(&["127.0.0.1"]);
    server.put("server.crt", &issued.chain);
    server.put("server.key", &issued.key);
    server.set("ssl", "on");
    let settings = |authority: &Authority| {
        let authority = CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap();
        let mut settings = quick(&server);
        settings.server.hosts = vec!["127.0.0.1".into()];
        settings.server.port = address.port();
        settings.server.tls = Some(client_config(Some(vec![authority])).unwrap());
        settings.server.timeout = Duration::from_secs(5);
        settings
    };
    let wrong = postgres::check(&settings(&other));
    assert!(wrong.len() == 1 && wrong[0].contains("certificate"), "{wrong:?}");
    let spool = Postgres::open(settings(&ours)).unwrap();
    let _ = spool.commit(draft("x", &["a@b.dk"], 1, 100)).await.unwrap();
    let encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name LIKE 'postbud%'";
    assert_eq!(server.sql(encrypted), "t");
    spool.stop().await;
    // A certificate that has expired, a server that wants TLS, and one that has none.
    let says = |settings: &Settings, why: &str| {
        let wrong = postgres::check(settings);
        assert!(wrong.len() == 1 && wrong[0].contains(why), "{wrong:?} says not {why}");
    };
    let expired = ours.issue_expired(&["127.0.0.1"]);
    server.put("server.crt", &expired.chain);
    server.put("server.key", &expired.key);
    server.sql("SELECT pg_reload_conf()");
    until("the server has the other certificate", || postgres::check(&settings(&ours)).len() == 1).await;
    says(&settings(&ours), "expired");
    server.put("pg_hba.conf", "local all all trust\nhostssl all all 127.0.0.1/32 trust\n");
    server.sql("SELECT pg_reload_conf()");
    let mut clear = settings(&ours);
    clear.server.tls = None;
    until("the server wants TLS", || postgres::check(&clear).len() == 1).await;
    says(&clear, "no encryption");
    server.set("ssl", "off");
    until("the server has no TLS", || server.sql("SHOW ssl") == "off").await;
    says(&settings(&ours), "server does not support TLS");
}

/// Makes a server whose next transaction has a number that is so far from the oldest one that the server warns.
fn near_its_last_transaction(name: &str) -> Option<Server> {
    let server = server(name, &[("wal_level", "logical")])?;
    // Nothing is frozen behind the position of a reader of the log.
    server.sql("SELECT pg_create_logical_replication_slot('behind', 'pgoutput')");
    server.stop();
    let reset = server.as_user("pg_resetwal").args(["-x", "0x7DC00000", "-D"]).arg(server.data()).output().unwrap();
    assert!(reset.status.success(), "{}", String::from_utf8_lossy(&reset.stderr));
    server.start_again().unwrap();
    Some(server)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_runs_out_of_transaction_numbers_is_used_as_long_as_it_takes_writes() {
    let name = "a_server_that_runs_out_of_transaction_numbers_is_used_as_long_as_it_takes_writes";
    let Some(server) = near_its_last_transaction(name) else { return };
    let settings = Settings { nodes: 2, shards: 3, ..quick(&server) };
    let spool = Postgres::open(settings.clone()).unwrap();
    let mut other = settings;
    other.server.node = "b".into();
    // The first node has all shards, so the mail that this one takes is on its way to it.
    let other = Postgres::open(other).unwrap();
    for seed in 0..20 {
        let by = if seed % 2 == 0 { &spool } else { &other };
        let _ = by.commit(draft("x", &["a@b.dk"], seed, 100)).await.unwrap();
    }
    until("the owner has all", || spool.totals().now_or_never().unwrap().unwrap().records == 20).await;
    for lease in claim_all(&*spool, "x").await {
        let result = delivered(&lease);
        spool.settle(lease, result).await.unwrap();
    }
    spool.sync().await.unwrap();
    assert_eq!((&spool.health().borrow().troubled, &other.health().borrow().troubled), (&None, &None));
    let warns = "SELECT max(age(datfrozenxid)) > 2147483647 - 40000000 FROM pg_database";
    assert_eq!(server.sql(warns), "t", "the server warned all the time");
}

/// Settings of a role that has the rights of the documentation.
fn of_own_role(server: &Server) -> Settings {
    server.sql("CREATE ROLE postbud LOGIN; CREATE SCHEMA postbud AUTHORIZATION postbud");
    let mut settings = quick(server);
    settings.server.user = "postbud".into();
    settings.server.schema = "postbud".into();
    settings
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrators_settings_of_the_role_break_no_promise() {
    let Some(server) = server("an_administrators_settings_of_the_role_break_no_promise", &[]).map(Arc::new) else {
        return;
    };
    let mut settings = of_own_role(&server);
    (settings.server.timeout, settings.server.lease) = (Duration::from_secs(30), Duration::from_secs(30));
    // PostgreSQL 17 has transaction_timeout besides.
    for setting in
        ["statement_timeout = '2s'", "idle_session_timeout = '2s'", "default_transaction_isolation = 'serializable'"]
    {
        server.sql(&format!("ALTER ROLE postbud SET {setting}"));
    }
    let spool = Postgres::open(settings).unwrap();
    let _ = spool.commit(draft("x", &["a@b.dk"], 1, 100)).await.unwrap();
    let writer = "FROM pg_stat_activity WHERE application_name LIKE 'postbud writer%'";
    let process = server.sql(&format!("SELECT pid {writer}"));
    until("it was idle for longer", || {
        server.sql(&format!("SELECT now() - state_change > interval '3 seconds' {writer}")) == "t"
    })
    .await;
    // A commit that begins before somebody changes the owner's row, and waits longer than the time limit.
    let changes = Arc::clone(&server);
    let locked = tokio::task::spawn_blocking(move || {
        changes.sql("BEGIN; LOCK TABLE postbud.owner IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(4); UPDATE postbud.owner SET told_at = told_at; COMMIT")
    });
    until("the table is locked", || {
        server.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == "1"
    })
    .await;
    let _ = spool.commit(draft("x", &["a@b.dk"], 2, 100)).await.unwrap();
    locked.await.unwrap();
    assert_eq!(server.sql(&format!("SELECT pid {writer}")), process, "over the same connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_another_encoding_and_one_with_too_few_connections_are_refused() {
    let name = "a_database_of_another_encoding_and_one_with_too_few_connections_are_refused";
    let Some(server) = server(name, &[]) else { return };
    server.sql("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
    let mut settings = quick(&server);
    settings.server.database = "latin".into();
    let wrong = postgres::check(&settings);
    assert!(wrong.len() == 1 && wrong[0].contains("encoding LATIN1"), "{wrong:?}");
    let many = Settings { shards: 48, ..quick(&server) };
    let Err(OpenError::Unfit { wrong, .. }) = Postgres::open(many) else { panic!("it is used") };
    assert!(wrong.len() == 1 && wrong[0].contains("raise max_connections"), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_connections_and_writes_that_are_missing_for_a_while_are_named_and_waited_for() {
    let name = "rights_connections_and_writes_that_are_missing_for_a_while_are_named_and_waited_for";
    let Some(server) = server(name, &[]) else { return };
    let mut settings = of_own_role(&server);
    server.put("pg_hba.conf", "local all postbud scram-sha-256\nlocal all all trust\n");
    server.sql("ALTER ROLE postbud PASSWORD 'ours'; SELECT pg_reload_conf()");
    settings.server.password = Some("ours".to_owned().into());
    Postgres::open(settings.clone()).unwrap().stop().await;
    let end = || {
        server
            .sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'postbud writer%'")
    };
    let cases = [
        (
            "REVOKE SELECT ON postbud.owner FROM postbud",
            "GRANT SELECT ON postbud.owner TO postbud",
            "permission denied for table owner",
        ),
        ("ALTER ROLE postbud CONNECTION LIMIT 0", "ALTER ROLE postbud CONNECTION LIMIT -1", "too many connections"),
        (
            "ALTER SYSTEM SET default_transaction_read_only = on",
            "ALTER SYSTEM SET default_transaction_read_only = off",
            "does not allow writes",
        ),
        (
            "ALTER ROLE postbud PASSWORD 'another'",
            "ALTER ROLE postbud PASSWORD 'ours'",
            "password authentication failed",
        ),
    ];
    for (takes, gives, why) in cases {
        let spool = Postgres::open(settings.clone()).unwrap();
        let kept = spool.commit(draft("x", &["a@b.dk"], 1, 100)).await.unwrap().id();
        let change = |sql: &str| {
            server.sql(sql);
            server.sql("SELECT pg_reload_conf()");
        };
        change(takes);
        end();
        let troubled = || spool.health().borrow().troubled.clone().is_some_and(|told| told.contains(why));
        until(&format!("{takes}: it says {why:?}"), || {
            let _ = spool.commit(draft("x", &["a@b.dk"], 2, 100)).now_or_never();
            troubled()
        })
        .await;
        let refused = spool.commit(draft("x", &["a@b.dk"], 3, 100)).await;
        assert!(matches!(refused, Err(Error::Io { .. })), "{refused:?}");
        assert!(
            spool.claim(&lane("x"), soon(), 1, &backoff()).await.is_err(),
            "nothing whose result could not be recorded"
        );
        change(gives);
        recovered(&spool).await;
        let lease = claim_all(&*spool, "x").await.pop().unwrap();
        assert_eq!(lease.record.id, kept);
        let result = delivered(&lease);
        spool.settle(lease, result).await.unwrap();
        spool.stop().await;
        change(takes);
        let refused = Postgres::open(settings.clone()).err().unwrap().to_string();
        change(gives);
        assert!(refused.contains(why), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_shares_sessions_between_clients_is_refused_and_one_that_does_not_is_used() {
    let name = "a_pooler_that_shares_sessions_between_clients_is_refused_and_one_that_does_not_is_used";
    let pooler = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"].into_iter().find(|path| Path::new(path).exists());
    let Some(pooler) = pooler else { return skip(name, "there is no pgbouncer (Debian's pgbouncer)") };
    let Some(server) = server(name, &[]) else { return };
    for (mode, port) in [("transaction", 6001), ("session", 6002), ("statement", 6003)] {
        let (host, socket) = (server.host(), server.dir().join(format!(".s.PGSQL.{port}")));
        let settings = format!(
            "[databases]\npostgres = host={host} user=postgres\n[pgbouncer]\nlisten_addr =\nlisten_port = {port}\n\
             unix_socket_dir = {host}\nauth_type = any\npool_mode = {mode}\n"
        );
        server.put("pgbouncer.ini", &settings);
        let mut pgbouncer = server.as_user(pooler);
        let mut running = pgbouncer.arg(server.data().join("pgbouncer.ini")).stderr(Stdio::null()).spawn().unwrap();
        until("the pooler listens", || socket.exists()).await;
        let mut settings = quick(&server);
        settings.server.port = port;
        match mode {
            "session" => {
                assert_eq!(postgres::check(&settings), Vec::<String>::new());
                let spool = Postgres::open(settings).unwrap();
                let _ = spool.commit(draft("x", &["a@b.dk"], 1, 100)).await.unwrap();
            }
            _ => {
                let wrong = postgres::check(&settings);
                assert!(wrong.len() == 1 && wrong[0].contains("pool_mode = session"), "{wrong:?}");
                let refused = Postgres::open(settings).err().unwrap().to_string();
                assert!(refused.contains("pool_mode = session"), "{refused}");
            }
        }
        running.kill().unwrap();
        running.wait().unwrap();
    }
}
