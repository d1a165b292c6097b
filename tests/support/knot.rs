//! A real DNS server: Debian's knot on a free loopback port, serving everything below the root from one zone file.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::ports;

/// The secret of the TSIG key `postbud`, which may update `keys.example`.
pub const TSIG: &str = "c2VjcmV0IG9mIDMyIG9jdGV0cyBmb3IgdGVzdHMhISE=";

/// The server. It stops when dropped.
pub struct Knot {
    /// The address of the server.
    pub address: SocketAddr,
    dir: tempfile::TempDir,
    child: Child,
    serial: u32,
}

impl Knot {
    /// Serves `records`: lines of a zone file with absolute names. `dead.example` and names below it answer SERVFAIL, and `cut.example` and
    /// `keys.example` are separate zones. Returns `None` if knot is not installed.
    pub fn start(records: &str) -> Option<Knot> {
        Knot::with_zones(records, &[])
    }

    /// Does the same with further separate zones: their names and their records, without SOA.
    pub fn with_zones(records: &str, zones: &[(&str, &str)]) -> Option<Knot> {
        Command::new("knotd").arg("--version").stdout(Stdio::null()).status().ok()?;
        // Another process may take the port between the search and knotd's start; then try another one.
        (0..5).find_map(|_| Self::try_start(records, zones))
    }

    fn try_start(records: &str, zones: &[(&str, &str)]) -> Option<Knot> {
        let dir = tempfile::tempdir().expect("a temporary folder can be made");
        let address = ports::free_port("127.0.0.1");
        let path = dir.path().display();
        let own: String = zones
            .iter()
            .map(|(name, _)| format!("\x20 - domain: {name}\n    file: \"{path}/{name}.zone\"\n"))
            .collect();
        let config = format!(
            "server:\n    rundir: \"{path}\"\n    listen: 127.0.0.1@{port}\n\
             database:\n    storage: \"{path}/db\"\n\
             log:\n  - target: stderr\n    any: critical\n\
             key:\n  - id: postbud\n    algorithm: hmac-sha256\n    secret: {TSIG}\n\
             acl:\n  - id: update\n    key: postbud\n    action: update\n\
             zone:\n  - domain: .\n    file: \"{path}/root.zone\"\n    zonefile-load: whole\n    journal-content: none\n\
             \x20 - domain: dead.example\n    file: \"{path}/absent.zone\"\n\
             \x20 - domain: cut.example\n    file: \"{path}/cut.zone\"\n\
             \x20 - domain: keys.example\n    file: \"{path}/keys.zone\"\n    acl: update\n{own}",
            port = address.port()
        );
        std::fs::create_dir(dir.path().join("db")).expect("the folder is ours");
        std::fs::write(dir.path().join("knot.conf"), config).expect("the folder is ours");
        write_zone(&dir.path().join("root.zone"), records, 1);
        let cut = "cut.example. 60 IN SOA ns. hostmaster. 1 60 60 60 1\ncut.example. 60 IN NS ns.\n\
                   www.cut.example. 60 IN A 192.0.2.1\n";
        std::fs::write(dir.path().join("cut.zone"), cut).expect("the folder is ours");
        let keys = "keys.example. 60 IN SOA ns. hostmaster. 1 60 60 60 1\nkeys.example. 60 IN NS ns.\n";
        std::fs::write(dir.path().join("keys.zone"), keys).expect("the folder is ours");
        for (name, records) in zones {
            write_own(&dir.path().join(format!("{name}.zone")), name, records, 1);
        }
        let child = Command::new("knotd")
            .arg("-c")
            .arg(dir.path().join("knot.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut knot = Knot { address, dir, child, serial: 1 };
        knot.is_ready().then_some(knot)
    }

    /// Replaces all records. The new ones are served when this returns.
    pub fn publish(&mut self, records: &str) {
        self.serial += 1;
        write_zone(&self.dir.path().join("root.zone"), records, self.serial);
        self.reload(".");
    }

    /// Replaces all records of a separate zone.
    pub fn publish_zone(&mut self, name: &str, records: &str) {
        self.serial += 1;
        write_own(&self.dir.path().join(format!("{name}.zone")), name, records, self.serial);
        self.reload(name);
    }

    fn reload(&self, zone: &str) {
        let done = Command::new("knotc")
            .arg("-c")
            .arg(self.dir.path().join("knot.conf"))
            .args(["-b", "zone-reload", zone])
            .output()
            .expect("knotc comes with knotd");
        assert!(done.status.success(), "knot refused the zone: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// Asks for the root's SOA until it is answered without an error.
    fn is_ready(&mut self) -> bool {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback has ports");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout can be set");
        let question = b"\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x06\x00\x01";
        let end = Instant::now() + Duration::from_secs(20);
        while Instant::now() < end {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return false;
            }
            let mut answer = [0; 512];
            let answered = socket.send_to(question, self.address).and_then(|_| socket.recv(&mut answer));
            match answered {
                Ok(len) if len > 3 && answer[3] & 15 == 0 => return true,
                _ => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        false
    }
}

impl Drop for Knot {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write_own(path: &PathBuf, name: &str, records: &str, serial: u32) {
    let zone = format!("{name}. 60 IN SOA ns. hostmaster. {serial} 60 60 60 1\n{records}\n");
    std::fs::write(path, zone).expect("the folder is ours");
}

fn write_zone(path: &PathBuf, records: &str, serial: u32) {
    let zone =
        format!(". 60 IN SOA ns. hostmaster. {serial} 60 60 60 1\n. 60 IN NS ns.\nns. 60 IN A 127.0.0.1\n{records}\n");
    std::fs::write(path, zone).expect("the folder is ours");
}
