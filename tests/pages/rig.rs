//! A relay with customers' pages, a customer whose mail goes through Mailjet, and a real DNS server with that customer's zone.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use postbud::dkim::SigningKey;
use serde_json::Value;

use crate::support::browser::{self, Browser};
use crate::support::http;
use crate::support::knot::Knot;
use crate::support::relay::{Customer, Running, Site, free_port, plain_route};
use crate::support::skip::skip;

/// A site, its relay, where its pages are, and the DNS.
pub struct Rig {
    pub site: Site,
    pub relay: Running,
    pub pages: SocketAddr,
    /// Where webCRM's own mail goes, which letters to customers are. Nobody listens there before a test does.
    pub letters: SocketAddr,
    pub knot: Option<Knot>,
}

/// How a rig differs from the usual one.
pub struct Setup<'a> {
    /// The records of `test.dk`.
    pub zone: &'a str,
    /// What others publish besides the usual.
    pub others: &'a str,
    /// True if customers' servers may be in this machine's network.
    pub private: bool,
    /// Further lines in `[onboarding]`.
    pub onboarding: &'a str,
    /// Further lines at the end of the server file.
    pub more: &'a str,
    /// The customer's `[route]`; usually its mail goes through Mailjet.
    pub route: Option<&'a str>,
    /// The port that the web servers of domains and providers are asked at.
    pub http_port: Option<u16>,
    /// The SOCKS5 proxy that mail leaves through.
    pub proxy: Option<SocketAddr>,
    /// The certificate of the only authority that the relay trusts.
    pub authority: Option<&'a str>,
    /// The address that mail leaves from, as customers are told.
    pub egress: &'a str,
    /// Labels of names that the DNS answers late, and how late.
    pub late: &'static [(&'static str, Duration)],
    /// A second domain of the customer, in a zone of its own: its name and its records.
    pub second: Option<(&'a str, &'a str)>,
    /// The address of Mailjet's API, where domains are registered over it with the key `key`. Usually a person has registered them.
    pub api: Option<&'a str>,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Setup {
            zone: BEFORE,
            others: "",
            private: true,
            onboarding: "",
            more: "",
            route: None,
            http_port: None,
            proxy: None,
            authority: None,
            egress: "127.0.0.1",
            late: &[],
            second: None,
            api: None,
        }
    }
}

/// What others publish.
const OTHERS: &str = "spf.protection.outlook.com. 60 IN TXT \"v=spf1 ip4:192.0.2.0/28 -all\"\n\
                      spf.webcrm.com. 60 IN TXT \"v=spf1 ip4:127.0.0.1 ip4:192.0.2.64/28 -all\"\n";

/// The SPF record of [`BEFORE`].
pub const SPF_BEFORE: &str = "test.dk. 60 IN TXT \"v=spf1 include:spf.protection.outlook.com -all\"\n";

/// The zone of `test.dk` as the customer has it before: SPF of its own, at one.com.
pub const BEFORE: &str = "test.dk. 60 IN NS ns01.one.com.\ntest.dk. 60 IN NS ns02.one.com.\n\
                          test.dk. 60 IN TXT \"v=spf1 include:spf.protection.outlook.com -all\"\n\
                          test.dk. 60 IN MX 10 mail.test.dk.\nmail.test.dk. 60 IN A 192.0.2.10\n";

/// A name server that asks the one at `server`, and passes answers on late if their names have one of these labels.
fn late_dns(server: SocketAddr, late: &'static [(&'static str, Duration)]) -> SocketAddr {
    let front = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
    let address = front.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut question = [0; 4096];
        while let Ok((len, from)) = front.recv_from(&mut question) {
            let (question, front) = (question[..len].to_vec(), Arc::clone(&front));
            std::thread::spawn(move || {
                let named = |label: &str| question.windows(label.len()).any(|it| it == label.as_bytes());
                let wait = late.iter().find(|(label, _)| named(label)).map_or(Duration::ZERO, |(_, wait)| *wait);
                let behind = UdpSocket::bind("127.0.0.1:0").unwrap();
                behind.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                behind.send_to(&question, server).unwrap();
                let mut answer = [0; 4096];
                let Ok(len) = behind.recv(&mut answer) else { return };
                std::thread::sleep(wait);
                front.send_to(&answer[..len], from).unwrap();
            });
        }
    });
    address
}

/// What Mailjet's console shows for a domain.
fn mailjet(domain: &str) -> String {
    let key = SigningKey::generate_rsa(2048).unwrap().public_key_base64().unwrap();
    format!("\n[mailjet.\"{domain}\"]\nownership = \"b68ecbf07a1f5b307e60f73762b343b4\"\ndkim = \"k=rsa; p={key}\"\n")
}

impl Rig {
    /// Starts all of it. Without knot, nobody answers the DNS.
    pub fn start(records: &str) -> Rig {
        Rig::with(&Setup { zone: records, ..Setup::default() })
    }

    /// The same, set up otherwise.
    pub fn with(setup: &Setup<'_>) -> Rig {
        let zones: Vec<(&str, &str)> = [("test.dk", setup.zone)].into_iter().chain(setup.second).collect();
        let knot = Knot::with_zones(&format!("{OTHERS}{}", setup.others), &zones);
        let (pages, letters) = (free_port(), free_port());
        let nobody = free_port();
        let dns = knot.as_ref().map_or(nobody, |knot| knot.address);
        let dns = if setup.late.is_empty() { dns } else { late_dns(dns, setup.late) };
        let more = format!(
            "[dns]\nservers = [\"{dns}\"]\ntimeout = \"1s\"\nattempts = 1\nlongest_ttl = \"0s\"\nlongest_negative_ttl = \"0s\"\n\
             [onboarding]\nhttp_allow_private = {private}\nhttp_port = {http}\nhttps_port = {port}\nhttp_timeout = \"1s\"\ncheck_every_while_incomplete = \"1h\"\n\
             letters_from = \"webcrm@other.example\"\n{onboarding}\n\
             [mailjet.starter]\nhost = \"127.0.0.1\"\nport = {port}\ntls = \"off\"\nusername = \"key\"\npassword_file = \"mailjet.secret\"\napi = \"{api}\"\nallow_plaintext_auth = true\n\
             [mailjet.trusted]\nhost = \"127.0.0.1\"\nport = {port}\ntls = \"off\"\nusername = \"key\"\npassword_file = \"mailjet.secret\"\napi = \"{api}\"\nallow_plaintext_auth = true\n\
             requires = [\"ownership\", \"spf\", \"dkim\"]\n\
             [pages.customers]\naddress = \"{pages}\"\ntls = \"off\"\nurl = \"http://{pages}\"\n\
             [pages.operators]\naddress = \"{operators}\"\ntls = \"off\"\nurl = \"http://{operators}\"\n{more}",
            api = setup.api.unwrap_or("off"),
            private = setup.private,
            http = setup.http_port.unwrap_or(nobody.port()),
            port = nobody.port(),
            onboarding = setup.onboarding,
            operators = free_port(),
            more = setup.more,
        );
        let site = Site::with(&[], &more);
        let text = std::fs::read_to_string(site.config()).unwrap();
        let text =
            text.replace("[egress]\naddress = \"127.0.0.1\"", &format!("[egress]\naddress = \"{}\"", setup.egress));
        let text = match setup.proxy {
            Some(proxy) => text.replace("bind = \"127.0.0.1\"", &format!("proxy = \"socks5://{proxy}\"")),
            None => text,
        };
        std::fs::write(site.config(), text).unwrap();
        std::fs::write(site.path("config/mailjet.secret"), "secret\n").unwrap();
        std::fs::write(site.path("config/customer.secret"), "the old password\n").unwrap();
        let made = site.run(&["dkim", "keygen", "--out", site.path("keys/domain-connect.pem").to_str().unwrap()]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let consoles: String = match setup.api {
            None => zones.iter().map(|(domain, _)| mailjet(domain)).collect(),
            Some(_) => String::new(),
        };
        let route = setup.route.map_or_else(|| format!("via = \"mailjet\"\n{consoles}"), str::to_owned);
        site.add(&Customer { id: "test-as", domain: "test.dk", route });
        site.add(&Customer { id: "other", domain: "other.example", route: plain_route(letters) });
        let file = site.customer_file("test-as");
        let text = std::fs::read_to_string(&file).unwrap();
        let contact = "\n[[contact]]\naddress = \"ole@test.dk\"\nname = \"Ole Ærø\"\n\
                       [[contact]]\naddress = \"ann@test.dk\"\nlanguage = \"en\"\n";
        let domains: Vec<String> = zones.iter().map(|(domain, _)| format!("\"{domain}\"")).collect();
        let text = text.replace("domains = [\"test.dk\"]", &format!("domains = [{}]", domains.join(", ")));
        std::fs::write(file, text.replace("name = \"test-as\"", "name = \"Test & Søn A/S\"") + contact).unwrap();
        let relay = match setup.authority {
            None => site.start(),
            Some(pem) => {
                let file = site.path("authority.pem");
                std::fs::write(&file, pem).unwrap();
                site.start_with(&[("SSL_CERT_FILE", file.to_str().unwrap())])
            }
        };
        Rig { site, relay, pages, letters, knot }
    }

    /// A browser, where this machine has one and a DNS server; else a line among the skipped.
    pub fn browser(&self, test: &str, setup: browser::Setup) -> Option<Browser> {
        if self.knot.is_none() {
            skip(test, "no knot: install the package");
            return None;
        }
        let found = Browser::start(setup);
        if found.is_none() {
            skip(test, "no Chromium: install chromium and chromium-driver");
        }
        found
    }

    /// A new link to a customer's page.
    pub fn link(&self, customer: &str, more: &[&str]) -> String {
        let mut arguments = vec!["customer", "link", customer, "--json"];
        arguments.extend(more);
        let made = self.site.operate(&arguments);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let added: Value = serde_json::from_slice(&made.stdout).unwrap();
        added["url"].as_str().unwrap().to_owned()
    }

    /// The records that the customer has to publish, as lines of a zone file.
    pub fn wanted(&self) -> String {
        let printed = self.site.operate(&["domain", "records", "test-as", "--zone"]);
        String::from_utf8(printed.stdout).unwrap()
    }

    /// Those of one of its domains.
    pub fn wanted_for(&self, domain: &str) -> String {
        let ending = format!("{domain}.");
        let is_meant = |line: &&str| line.split(' ').next().is_some_and(|name| name.ends_with(&ending));
        self.wanted().lines().filter(is_meant).map(|line| format!("{line}\n")).collect()
    }

    /// The customer's DNS has these records from now on.
    pub fn publish(&mut self, zone: &str) {
        self.publish_at("test.dk", zone);
    }

    /// The DNS of one of its domains has these records from now on.
    pub fn publish_at(&mut self, domain: &str, zone: &str) {
        self.knot.as_mut().expect("a DNS server runs").publish_zone(domain, zone);
    }

    /// Presses "check now" until the page shows something. A domain is looked at every five seconds at most.
    pub fn check_until(&self, browser: &Browser, what: &str, shows: impl Fn(&str) -> bool) {
        browser.wait(what, || {
            if shows(&browser.text()) {
                return Some(());
            }
            if !browser.all("form[action$=check] button").is_empty() {
                browser.click("form[action$=check] button");
            }
            std::thread::sleep(std::time::Duration::from_secs(1));
            None
        });
    }

    /// Sends a request as it is to the pages, and gives the answer.
    pub fn send(&self, request: &str) -> String {
        http::text(self.pages, request.as_bytes()).expect("the pages answer")
    }

    /// Asks for a path.
    pub fn get(&self, path: &str, headers: &str) -> String {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}\r\n", self.pages))
    }
}

/// The path of a link.
pub fn path(url: &str) -> &str {
    &url[url.find("/link/").unwrap()..]
}
