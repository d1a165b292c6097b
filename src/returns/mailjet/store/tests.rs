//! The stored data, in a file and in PostgreSQL.

use std::collections::HashMap;

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
        put(tables, &[(taken(2), NOW), (taken(1), NOW), (taken(3), later)])
    });
    let bound = |rows| Bound { rows, reports: 1000, octets: 1 << 20 };
    let numbers = |now, rows| -> Vec<i64> {
        do_it(&database, |tables| due(tables, now, bound(rows))).into_iter().map(|it| it.number).collect()
    };
    assert_eq!(numbers(NOW, 10), [1, 2]);
    assert_eq!(numbers(later, 2), [1, 2]);
    assert_eq!(do_it(&database, |tables| due(tables, NOW, bound(1))), [taken(1)]);
    do_it(&database, |tables| done(tables, &[1]));
    assert_eq!(numbers(later, 10), [2, 3]);
    let counted = do_it(&database, |tables| Ok((waiting(tables)?, oldest(tables)?)));
    assert_eq!(counted, (6, Some(NOW)));
}

#[test]
fn as_many_rows_are_read_at_once_as_the_bound_allows_and_always_one() {
    let (_dir, database) = database();
    let taken = |number| Taken { number, came: NOW, reports: vec![Report::new(Kind::Sent); 10], handed: false };
    let rows: Vec<(Taken, Timestamp)> = (0..500).map(|number| (taken(number), NOW)).collect();
    do_it(&database, |tables| put(tables, &rows));
    let count = |bound| do_it(&database, |tables| due(tables, NOW, bound)).len();
    let wide = Bound { rows: 1000, reports: 1 << 20, octets: 1 << 20 };
    assert_eq!(count(wide), 500);
    assert_eq!(count(Bound { rows: 77, ..wide }), 77);
    assert_eq!(count(Bound { reports: 1009, ..wide }), 100);
    let size = serde_json::to_string(&taken(0).reports).unwrap().len() as i64;
    assert_eq!(count(Bound { octets: size * 33, ..wide }), 33);
    assert_eq!(count(Bound { reports: 9, ..wide }), 1);
    assert_eq!(count(Bound { octets: 1, ..wide }), 1);
}

fn found(database: &Database, which: Which, meant: Meant) -> Option<Mail> {
    do_it(database, |tables| find(tables, [(which, meant)])).remove(&(which, meant))
}

#[test]
fn a_mail_is_found_by_its_id_and_by_mailjets_name_and_noted_once() {
    let (_dir, database) = database();
    let id = QueueId::first_at(NOW);
    let mails = [relayed(id, 0), relayed(id, 1)];
    do_it(&database, |tables| {
        add(tables, &mails, |_| Some(NOW))?;
        add(tables, &[Mail { route: "another".into(), ..relayed(id, 0) }], |_| None)
    });
    let name = Which::Name(mails[0].name.unwrap());
    let id = Which::Id(id);
    let stranger = Meant::Named(recipient_of("x@x.dk"));
    for (at, mail) in mails.iter().enumerate() {
        for meant in [Meant::At(at as u32), Meant::Named(mail.recipient)] {
            assert_eq!(found(&database, id, meant).as_ref(), Some(mail));
            assert_eq!(found(&database, name, meant).as_ref(), Some(mail));
        }
    }
    assert_eq!(found(&database, id, stranger), None, "two recipients, and none of them");
    assert_eq!(found(&database, id, Meant::At(2)), None);
    assert_eq!(found(&database, Which::Id(QueueId::from_u64(u64::MAX)), stranger), None);
    let only = QueueId::from_u64(7);
    do_it(&database, |tables| add(tables, &[relayed(only, 5)], |_| None));
    assert_eq!(found(&database, Which::Id(only), stranger).map(|mail| mail.place), Some(5));
    assert_eq!(found(&database, Which::Id(only), Meant::At(0)), None, "the place is certain");
}

#[test]
fn many_are_found_at_once_as_each_alone() {
    let (_dir, database) = database();
    let ids: Vec<QueueId> = (0..150).map(|after| QueueId::first_at(NOW + Duration::from_millis(after))).collect();
    // Every third mail has a second recipient, and every other a name of its own.
    let mail = |(at, id): (usize, &QueueId)| {
        let name = at.is_multiple_of(2).then_some(1_000_000_000 + at as i64);
        let of = |place| Mail { name, ..relayed(*id, place) };
        if at.is_multiple_of(3) { vec![of(0), of(1)] } else { vec![of(0)] }
    };
    let mails: Vec<Mail> = ids.iter().enumerate().flat_map(mail).collect();
    do_it(&database, |tables| add(tables, &mails, |_| None));
    let whiches = ids.iter().map(|id| Which::Id(*id));
    let whiches = whiches.chain((0..150).map(|at| Which::Name(1_000_000_000 + at)));
    let meants = [Meant::At(0), Meant::At(1), Meant::Named(recipient_of("r1@x.dk")), Meant::Named(recipient_of("?"))];
    let wanted: Vec<(Which, Meant)> =
        whiches.flat_map(|which| meants.into_iter().map(move |meant| (which, meant))).collect();
    let together = do_it(&database, |tables| find(tables, wanted.clone()));
    for (which, meant) in wanted {
        let of: Vec<&Mail> = mails
            .iter()
            .filter(|mail| match which {
                Which::Id(id) => mail.id == id,
                Which::Name(name) => mail.name == Some(name),
            })
            .collect();
        let fits = |mail: &&&Mail| match meant {
            Meant::At(place) => mail.place == place,
            Meant::Named(recipient) => mail.recipient == recipient,
        };
        let only = of.first().filter(|_| of.len() == 1 && matches!(meant, Meant::Named(_)));
        let expected = of.iter().find(fits).or(only).copied();
        assert_eq!(together.get(&(which, meant)), expected, "{which:?} {meant:?}");
    }
}

#[test]
fn what_was_heard_ends_the_asking() {
    let (_dir, database) = database();
    let id = QueueId::first_at(NOW);
    let (one, two) = (relayed(id, 0), relayed(id, 1));
    let later = NOW + Duration::from_secs(60);
    do_it(&database, |tables| add(tables, &[one.clone(), two.clone()], |_| Some(NOW)));
    let asked = |now| do_it(&database, |tables| Ok((to_ask(tables, now, 10)?.len(), gaps(tables, now)?)));
    assert_eq!(asked(NOW), (2, (2, Some(NOW))));
    do_it(&database, |tables| ask_at(tables, &two, Some(later)));
    assert_eq!((asked(NOW).0, asked(later).0), (1, 2));
    let mut state = State::default();
    state.hear(Kind::Sent, false);
    do_it(&database, |tables| heard(tables, &HashMap::from([((id, 0), state)])));
    do_it(&database, |tables| ask_at(tables, &one, Some(NOW)));
    assert_eq!(asked(later), (1, (1, Some(NOW))));
    let of = |place| found(&database, Which::Id(id), Meant::At(place)).unwrap().state;
    assert_eq!((of(0), of(1)), (state, State::default()));
    do_it(&database, |tables| ask_at(tables, &two, None));
    assert_eq!(asked(later).0, 0);
}

#[test]
fn old_mails_are_forgotten_in_portions() {
    let (_dir, database) = database();
    let day = Duration::from_secs(86_400);
    let ids: Vec<QueueId> = (0..10).map(|days| QueueId::first_at(NOW - day * days)).collect();
    do_it(&database, |tables| {
        let mails: Vec<Mail> = ids.iter().map(|id| relayed(*id, 0)).collect();
        add(tables, &mails, |_| None)?;
        let seen: Vec<(QueueId, i64)> = ids.iter().map(|id| (*id, 1)).collect();
        see(tables, &seen)?;
        see(tables, &seen)
    });
    let left =
        || -> usize { ids.iter().filter(|id| found(&database, Which::Id(**id), Meant::At(0)).is_some()).count() };
    assert!(do_it(&database, |tables| forget(tables, NOW, day * 5, 2)));
    assert_eq!(left(), 8);
    while do_it(&database, |tables| forget(tables, NOW, day * 5, 2)) {}
    assert_eq!(left(), 6);
    let asked: Vec<(QueueId, i64)> = ids.iter().flat_map(|id| [(*id, 1), (*id, 2)]).collect();
    let left: HashSet<(QueueId, i64)> = ids[..6].iter().map(|id| (*id, 1)).collect();
    assert_eq!(do_it(&database, |tables| seen(tables, &asked)), left);
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
