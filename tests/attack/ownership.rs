//! A customer's web server and name server that want the relay to ask inside its own network: the cloud's metadata service, loopback,
//! a private address. In a network namespace, where these addresses are ours to listen on.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_resolver::proto::rr::rdata::A;
use hickory_resolver::proto::rr::{RData, Record};
use postbud::resolver::RecordType;

use crate::rounds;
use crate::support::own_network::in_own_network;
use crate::support::relay::{Customer, Site, free_port, plain_route};
use crate::support::scripted_dns::{ScriptedDns, name, soa};

/// Stands for the customer's web server.
const PUBLIC: Ipv4Addr = Ipv4Addr::new(9, 9, 9, 9);
const INSIDE: [Ipv4Addr; 3] =
    [Ipv4Addr::new(169, 254, 169, 254), Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 5)];

/// Where the web server sends whoever asks.
const LOCATIONS: [&str; 16] = [
    "http://a.example./x.txt",
    "http://www.a.example./x.txt",
    "http://A.EXAMPLE/x.txt",
    "//a.example/x.txt",
    "/x.txt",
    "http://169.254.169.254/latest/meta-data",
    "http://169.254.169.254./",
    "http://[::ffff:169.254.169.254]/",
    "http://2852039166/",
    "http://0xa9.0xfe.0xa9.0xfe/",
    "http://a.example@169.254.169.254/",
    "http://a.example%40169.254.169.254/",
    "http://localhost/",
    "http://127.1/",
    "http://a.example.169.254.169.254.nip.example/",
    "https://a.example/x.txt",
];

/// The commands of `ip` that make these addresses ours.
const ADDRESSES: [&str; 4] = [
    "link set lo up",
    "addr add 9.9.9.9/32 dev lo",
    "addr add 169.254.169.254/32 dev lo",
    "addr add 10.0.0.5/32 dev lo",
];

/// Serves redirects at the public address; counts who asks.
fn serve(location: Arc<Mutex<String>>) -> Arc<AtomicUsize> {
    let listener = TcpListener::bind((PUBLIC, 80)).unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            count.fetch_add(1, Ordering::Relaxed);
            let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
            let _ = stream.read(&mut [0; 2048]);
            let location = location.lock().unwrap().clone();
            let head = "HTTP/1.1 302 Found\r\nContent-Length: 0\r\nConnection: close";
            let _ = stream.write_all(format!("{head}\r\nLocation: {location}\r\n\r\n").as_bytes());
        }
    });
    asked
}

#[test]
fn no_redirect_and_no_second_answer_leads_inside() {
    in_own_network("no_redirect_and_no_second_answer_leads_inside", &ADDRESSES, || {
        let location = Arc::new(Mutex::new(String::new()));
        let web = serve(Arc::clone(&location));
        let both = |ip: &Ipv4Addr| [80, 443].map(|port| TcpListener::bind((*ip, port)).unwrap());
        let inside: Vec<TcpListener> = INSIDE.iter().flat_map(both).collect();
        inside.iter().for_each(|listener| listener.set_nonblocking(true).unwrap());
        // The first answer is public, and every later one is inside.
        let (answers, target) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(INSIDE[0])));
        let (given, rebound) = (Arc::clone(&answers), Arc::clone(&target));
        let dns = ScriptedDns::start(move |asked, record_type, answer| {
            if record_type == RecordType::A && asked.ends_with("example") {
                let ip = if given.fetch_add(1, Ordering::Relaxed) == 0 { PUBLIC } else { *rebound.lock().unwrap() };
                answer.add_answer(Record::from_rdata(name(asked), 0, RData::A(A(ip))));
            } else {
                answer.add_authority(soa("example"));
            }
            Duration::ZERO
        });
        let customer = Customer { id: "a", domain: "a.example", route: plain_route(free_port()) };
        let site = Site::with(&[customer], &format!("[dns]\nservers = [\"{}\"]\n", dns.address));
        let config = site.config();
        let mut tried = 0;
        for (at, to) in LOCATIONS.iter().enumerate().step_by(rounds(3, 1)) {
            *location.lock().unwrap() = (*to).to_owned();
            *target.lock().unwrap() = INSIDE[at % INSIDE.len()];
            answers.store(0, Ordering::Relaxed);
            let before = web.load(Ordering::Relaxed);
            let output = site.run(&["domain", "check", "a", "--config", config.to_str().unwrap()]);
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(said.contains("a.example"), "{to}: {output:?}");
            tried += web.load(Ordering::Relaxed) - before;
            for listener in &inside {
                let came: Option<IpAddr> = listener.accept().ok().map(|(_, from)| from.ip());
                assert_eq!(came, None, "{to}: somebody came to {:?}: {said}", listener.local_addr());
            }
        }
        assert!(tried > 0, "the customer's web server was never asked");
    });
}
