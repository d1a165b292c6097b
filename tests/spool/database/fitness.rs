//! A database that would lose mail is refused, and one that cannot be used says why.

use std::sync::Arc;
use std::time::Duration;

use postbud::postgres::client_config;
use postbud::spool::postgres::{self, OpenError, Postgres, Settings};
use postbud::spool::{Commit, Error, Filter, Inspect, Intervene, Notice, Spool};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::rig::{Heard, quick, recovered, server, until};
use crate::certs::Authority;
use crate::drafts::draft;
use crate::port::claim_all;
use crate::ports::free_port;

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_would_lose_mail_is_refused_at_the_start_and_taken_out_of_use_later() {
    let name = "a_database_that_would_lose_mail_is_refused_at_the_start_and_taken_out_of_use_later";
    let Some(server) = server(name, &[("fsync", "off"), ("full_page_writes", "off")]) else { return };
    let Err(OpenError::Unfit { wrong, .. }) = Postgres::open(quick(&server)) else { panic!("it is used") };
    assert!(wrong.iter().any(|why| why.contains("fsync = on")) && wrong.len() == 2, "{wrong:?}");
    assert_eq!(postgres::check(&quick(&server)), wrong, "`postbud check` says the same");
    server.set("fsync", "on");
    server.set("full_page_writes", "on");
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
}
