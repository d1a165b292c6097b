//! An attacker who guesses a submitter's password, over many connections, from an address that may connect.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::rounds;
use crate::support::client::Client;
use crate::support::relay::{Customer, PASSWORD, Site, USERNAME, free_port, plain_route};

const GUESSER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 66));
/// The guesses of one address that are looked at in a window ([limits] login_failures_per_address), with those that were on their way.
const LOOKED_AT: usize = 40;

/// Guesses over many connections at once until the time is over. `password` makes the guess with a number. Returns how many guesses were
/// looked at, and whether one was let in.
fn guess(
    site: &Site,
    (from, patience): (IpAddr, Duration),
    (name, password): (&str, &(dyn Fn(usize) -> String + Sync)),
    connections: usize,
    time: Duration,
) -> (usize, bool) {
    let (made, looked_at, found) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let until = Instant::now() + time;
    std::thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(|| {
                while Instant::now() < until {
                    let Ok(mut client) = Client::connect_from(from, site.smtp) else { continue };
                    client.give_up_after(patience);
                    while Instant::now() < until {
                        let number = made.fetch_add(1, Ordering::Relaxed);
                        let Ok(heard) = client.auth(name, &password(number)) else { break };
                        match &heard[..3] {
                            "535" => looked_at.fetch_add(1, Ordering::Relaxed),
                            "235" => return found.store(true, Ordering::Relaxed),
                            "421" => break,
                            _ => 0,
                        };
                    }
                }
            });
        }
    });
    assert!(made.into_inner() > LOOKED_AT, "not many guesses were made");
    (looked_at.into_inner(), found.into_inner())
}

#[test]
fn guessing_is_not_listened_to_and_keeps_nobody_out() {
    let customer = Customer { id: "a", domain: "a.example", route: plain_route(free_port()) };
    // Longer than all of the test: after each such time one more guess is looked at, and of the late ones each fifth is right.
    let site = Site::with(&[customer], "[limits]\nlongest_login_delay = \"10m\"\n");
    let relay = site.start();
    let log_in = || Client::login(site.smtp, USERNAME, PASSWORD).map(drop);
    log_in().unwrap();
    // The right password is among the guesses, but late.
    let is_late = |number: usize| number > 2 * LOOKED_AT && number.is_multiple_of(5);
    let password = |number| if is_late(number) { PASSWORD.to_owned() } else { format!("guess {number}") };
    let guesser = (GUESSER, Duration::from_secs(2));
    for (name, connections) in [(USERNAME, 30), ("nobody", 30), (USERNAME, 200)].into_iter().take(rounds(1, 3)) {
        let time = Duration::from_secs(rounds(8, 40) as u64);
        let (looked_at, found) = std::thread::scope(|scope| {
            let guessing = scope.spawn(|| guess(&site, guesser, (name, &password), connections, time));
            // Whoever has logged in before gets in meanwhile.
            while !guessing.is_finished() {
                log_in().unwrap();
                std::thread::sleep(Duration::from_millis(200));
            }
            guessing.join().unwrap()
        });
        assert!(!found, "the password was found");
        assert!(looked_at <= LOOKED_AT, "{looked_at} guesses were looked at");
    }
    relay.stop();
}

#[test]
fn guessing_from_the_submitters_own_address_is_slow_and_keeps_nobody_out() {
    let customer = Customer { id: "a", domain: "a.example", route: plain_route(free_port()) };
    let site = Site::with(&[customer], "[limits]\nlongest_login_delay = \"3s\"\n");
    let relay = site.start();
    let log_in = || {
        let mut client = Client::connect(site.smtp).unwrap();
        client.give_up_after(Duration::from_secs(60));
        let heard = client.auth(USERNAME, PASSWORD).unwrap();
        assert!(heard.starts_with("235"), "{heard}");
    };
    log_in();
    let (near, time) =
        ((IpAddr::V4(Ipv4Addr::LOCALHOST), Duration::from_secs(60)), Duration::from_secs(rounds(10, 60) as u64));
    let begun = Instant::now();
    let password = |number| format!("guess {number}");
    let (looked_at, _) = std::thread::scope(|scope| {
        let guessing = scope.spawn(|| guess(&site, near, (USERNAME, &password), 150, time));
        while !guessing.is_finished() {
            log_in();
            std::thread::sleep(Duration::from_millis(200));
        }
        guessing.join().unwrap()
    });
    // A hundred at once, and then as many each longest delay.
    let most = 100 * (begun.elapsed().as_secs() / 3 + 2);
    assert!(looked_at as u64 <= most, "{looked_at} guesses were looked at in {:?}", begun.elapsed());
    relay.stop();
}
