//! A relay with customers' pages, a customer whose mail goes through Mailjet, and a real DNS server with that customer's zone.

use std::net::SocketAddr;

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

/// What Mailjet's console shows.
fn mailjet() -> String {
    let key = SigningKey::generate_rsa(2048).unwrap().public_key_base64().unwrap();
    format!("\n[mailjet.\"test.dk\"]\nownership = \"b68ecbf07a1f5b307e60f73762b343b4\"\ndkim = \"k=rsa; p={key}\"\n")
}

impl Rig {
    /// Starts all of it. Without knot, nobody answers the DNS.
    pub fn start(records: &str) -> Rig {
        Rig::with(&Setup { zone: records, ..Setup::default() })
    }

    /// The same, set up otherwise.
    pub fn with(setup: &Setup<'_>) -> Rig {
        let knot = Knot::with_zone(&format!("{OTHERS}{}", setup.others), Some(("test.dk", setup.zone)));
        let pages = free_port();
        let nobody = free_port();
        let dns = knot.as_ref().map_or(nobody, |knot| knot.address);
        let more = format!(
            "[dns]\nservers = [\"{dns}\"]\ntimeout = \"1s\"\nattempts = 1\nlongest_ttl = \"0s\"\nlongest_negative_ttl = \"0s\"\n\
             [onboarding]\nhttp_allow_private = {private}\nhttp_port = {http}\nhttps_port = {port}\nhttp_timeout = \"1s\"\ncheck_every_while_incomplete = \"1h\"\n\
             letters_from = \"webcrm@other.example\"\n{onboarding}\n\
             [mailjet.starter]\nhost = \"127.0.0.1\"\nport = {port}\ntls = \"off\"\nusername = \"key\"\npassword_file = \"mailjet.secret\"\napi = \"off\"\nallow_plaintext_auth = true\n\
             [mailjet.trusted]\nhost = \"127.0.0.1\"\nport = {port}\ntls = \"off\"\nusername = \"key\"\npassword_file = \"mailjet.secret\"\napi = \"off\"\nallow_plaintext_auth = true\n\
             requires = [\"ownership\", \"spf\", \"dkim\"]\n\
             [pages.customers]\naddress = \"{pages}\"\ntls = \"off\"\nurl = \"http://{pages}\"\n\
             [pages.operators]\naddress = \"{operators}\"\ntls = \"off\"\nurl = \"http://{operators}\"\n{more}",
            private = setup.private,
            http = setup.http_port.unwrap_or(nobody.port()),
            port = nobody.port(),
            onboarding = setup.onboarding,
            operators = free_port(),
            more = setup.more,
        );
        let site = Site::with(&[], &more);
        if let Some(proxy) = setup.proxy {
            let text = std::fs::read_to_string(site.config()).unwrap();
            let text = text.replace("bind = \"127.0.0.1\"", &format!("proxy = \"socks5://{proxy}\""));
            std::fs::write(site.config(), text).unwrap();
        }
        std::fs::write(site.path("config/mailjet.secret"), "secret\n").unwrap();
        std::fs::write(site.path("config/customer.secret"), "the old password\n").unwrap();
        let made = site.run(&["dkim", "keygen", "--out", site.path("keys/domain-connect.pem").to_str().unwrap()]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let route = setup.route.map_or_else(|| format!("via = \"mailjet\"\n{}", mailjet()), str::to_owned);
        site.add(&Customer { id: "test-as", domain: "test.dk", route });
        site.add(&Customer { id: "other", domain: "other.example", route: plain_route(nobody) });
        let file = site.customer_file("test-as");
        let text = std::fs::read_to_string(&file).unwrap();
        let contact = "\n[[contact]]\naddress = \"ole@test.dk\"\nname = \"Ole Ærø\"\n";
        std::fs::write(file, text.replace("name = \"test-as\"", "name = \"Test & Søn A/S\"") + contact).unwrap();
        let relay = match setup.authority {
            None => site.start(),
            Some(pem) => {
                let file = site.path("authority.pem");
                std::fs::write(&file, pem).unwrap();
                site.start_with(&[("SSL_CERT_FILE", file.to_str().unwrap())])
            }
        };
        Rig { site, relay, pages, knot }
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

    /// The customer's DNS has these records from now on.
    pub fn publish(&mut self, zone: &str) {
        self.knot.as_mut().expect("a DNS server runs").publish_zone("test.dk", zone);
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

    /// The letters that wait, as the recipients get them.
    pub fn letters(&self) -> Vec<String> {
        let listed = self.site.operate(&["queue", "list", "--customer", "other", "--json"]);
        let lines = String::from_utf8(listed.stdout).unwrap();
        let ids =
            lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned());
        let shown = ids.map(|id| self.site.operate(&["queue", "show", &id, "--json"]));
        shown.map(|shown| String::from_utf8(shown.stdout).unwrap()).collect()
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
