//! A relay with customers' pages, a customer whose mail goes through Mailjet, and a real DNS server with that customer's zone.

use std::net::SocketAddr;

use postbud::dkim::SigningKey;
use serde_json::Value;

use crate::support::http;
use crate::support::knot::Knot;
use crate::support::relay::{Customer, Running, Site, free_port, plain_route};

/// A site, its relay, where its pages are, and the DNS.
pub struct Rig {
    pub site: Site,
    pub relay: Running,
    pub pages: SocketAddr,
    pub knot: Option<Knot>,
}

/// What others publish.
const OTHERS: &str = "spf.protection.outlook.com. 60 IN TXT \"v=spf1 ip4:192.0.2.0/28 -all\"\n\
                      spf.webcrm.com. 60 IN TXT \"v=spf1 ip4:127.0.0.1 ip4:192.0.2.64/28 -all\"\n";

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
        Rig::with(records, true)
    }

    /// The same, where customers' servers may be in this machine's network or not.
    pub fn with(records: &str, private: bool) -> Rig {
        let knot = Knot::with_zone(OTHERS, Some(("test.dk", records)));
        let pages = free_port();
        let nobody = free_port();
        let dns = knot.as_ref().map_or(nobody, |knot| knot.address);
        let more = format!(
            "[dns]\nservers = [\"{dns}\"]\ntimeout = \"1s\"\nattempts = 1\nlongest_ttl = \"0s\"\nlongest_negative_ttl = \"0s\"\n\
             [onboarding]\nhttp_allow_private = {private}\nhttp_port = {port}\nhttps_port = {port}\nhttp_timeout = \"1s\"\ncheck_every_while_incomplete = \"1h\"\n\
             letters_from = \"webcrm@other.example\"\n\
             [mailjet.starter]\nhost = \"127.0.0.1\"\nport = {port}\ntls = \"off\"\nusername = \"key\"\npassword_file = \"mailjet.secret\"\napi = \"off\"\nallow_plaintext_auth = true\n\
             [mailjet.trusted]\nhost = \"127.0.0.1\"\nport = {port}\ntls = \"off\"\nusername = \"key\"\npassword_file = \"mailjet.secret\"\napi = \"off\"\nallow_plaintext_auth = true\n\
             requires = [\"ownership\", \"spf\", \"dkim\"]\n\
             [pages.customers]\naddress = \"{pages}\"\ntls = \"off\"\nurl = \"http://{pages}\"\n\
             [pages.operators]\naddress = \"{operators}\"\ntls = \"off\"\nurl = \"http://{operators}\"\n",
            port = nobody.port(),
            operators = free_port(),
        );
        let site = Site::with(&[], &more);
        std::fs::write(site.path("config/mailjet.secret"), "secret\n").unwrap();
        site.add(&Customer { id: "test-as", domain: "test.dk", route: format!("via = \"mailjet\"\n{}", mailjet()) });
        site.add(&Customer { id: "other", domain: "other.example", route: plain_route(nobody) });
        let file = site.customer_file("test-as");
        let text = std::fs::read_to_string(&file).unwrap();
        let contact = "\n[[contact]]\naddress = \"ole@test.dk\"\nname = \"Ole Ærø\"\n";
        std::fs::write(file, text.replace("name = \"test-as\"", "name = \"Test & Søn A/S\"") + contact).unwrap();
        let relay = site.start();
        Rig { site, relay, pages, knot }
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
