//! A relay's notices to systemd, whose part a socket of the test plays.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::support::capture::Capture;
use crate::support::relay::{Customer, Site, plain_route};

struct Heard(UnixDatagram);

impl Heard {
    /// The next notice, feeds of the watchdog aside.
    fn next(&self) -> String {
        loop {
            let notice = self.any();
            if notice != "WATCHDOG=1" {
                return notice;
            }
        }
    }

    fn any(&self) -> String {
        let mut notice = [0; 500];
        let length = self.0.recv(&mut notice).expect("a notice");
        String::from_utf8_lossy(&notice[..length]).into_owned()
    }
}

#[test]
fn systemd_hears_of_the_start_of_reloads_right_or_wrong_of_life_and_of_the_stop() {
    let server = Capture::start();
    let site = Site::new(&[Customer { id: "c", domain: "c.example", route: plain_route(server.address) }]);
    let socket = site.path("notify");
    let heard = Heard(UnixDatagram::bind(&socket).unwrap());
    heard.0.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let relay = site.start_with(&[("NOTIFY_SOCKET", socket.to_str().unwrap()), ("WATCHDOG_USEC", "400000")]);
    assert_eq!(heard.next(), "READY=1");
    for _ in 0..3 {
        assert_eq!(heard.any(), "WATCHDOG=1");
    }
    let right = std::fs::read_to_string(site.config()).unwrap();
    for config in [format!("mistaken = true\n{right}"), right] {
        std::fs::write(site.config(), config).unwrap();
        relay.signal("HUP");
        let reloading = heard.next();
        let since_boot = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").map(str::parse::<u64>);
        assert!(matches!(since_boot, Some(Ok(1..))), "{reloading}");
        assert_eq!(heard.next(), "READY=1");
    }
    let log = relay.log();
    relay.stop();
    assert_eq!(heard.next(), "STOPPING=1");
    let started: Vec<&str> = log.lines().filter(|line| line.contains("postbud takes mail")).collect();
    assert_eq!(started.len(), 1, "{log}");
    for part in [
        format!("version=\"{}\"", env!("CARGO_PKG_VERSION")),
        "commit=".to_owned(),
        format!("config={}", site.config().display()),
        "customers=1 waiting=0 held=0".to_owned(),
        format!("listeners={} pages={} egress=127.0.0.1", site.smtp, site.web),
    ] {
        assert!(started[0].contains(&part), "{part}: {}", started[0]);
    }
}
