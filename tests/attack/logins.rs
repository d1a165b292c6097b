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

/// Guesses over many connections at once until the time is over. The right password is among the guesses, but late. Returns how many
/// guesses were looked at, and whether it was let in.
fn guess(site: &Site, name: &'static str, connections: usize, time: Duration) -> (usize, bool) {
    let (made, looked_at, found) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let until = Instant::now() + time;
    std::thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(|| {
                while Instant::now() < until {
                    let Ok(mut client) = Client::connect_from(GUESSER, site.smtp) else { continue };
                    client.give_up_after(Duration::from_secs(2));
                    while Instant::now() < until {
                        let number = made.fetch_add(1, Ordering::Relaxed);
                        let late = number > 2 * LOOKED_AT && number.is_multiple_of(5);
                        let password = if late { PASSWORD.to_owned() } else { format!("guess {number}") };
                        let Ok(heard) = client.auth(name, &password) else { break };
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
    let site = Site::new(&[Customer { id: "a", domain: "a.example", route: plain_route(free_port()) }]);
    let relay = site.start();
    let log_in = || Client::login(site.smtp, USERNAME, PASSWORD).map(drop);
    log_in().unwrap();
    for (name, connections) in [(USERNAME, 30), ("nobody", 30), (USERNAME, 200)].into_iter().take(rounds(1, 3)) {
        let time = Duration::from_secs(rounds(8, 40) as u64);
        let (looked_at, found) = std::thread::scope(|scope| {
            let guessing = scope.spawn(|| guess(&site, name, connections, time));
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
