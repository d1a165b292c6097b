//! A route whose server at Microsoft 365 says that it takes no passwords any more: seen in the list, on the pages and in the metrics, until a
//! login works again.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::mail_server::{Accepted, mail_server_that_says, proxy};
use crate::rig::Rig;
use crate::support::certs::Authority;
use crate::support::relay::{Customer, Site, free_port, get};

const REFUSAL: &str = "535 5.7.139 Authentication unsuccessful, basic authentication is disabled. <b>[TEST.PROD]</b>";

fn metric(site: &Site, name: &str) -> Option<u64> {
    let page = get(site.web, "/metrics");
    page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

fn wait_for_metric(site: &Site, name: &str, wanted: u64) {
    let until = Instant::now() + Duration::from_secs(30);
    while metric(site, name) != Some(wanted) {
        assert!(Instant::now() < until, "{name} is {:?}, not {wanted}", metric(site, name));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_refusal_of_passwords_is_shown_and_counted_until_a_login_works() {
    let authority = Authority::new();
    let accepted: Accepted = Arc::new(Mutex::new("nothing yet".to_owned()));
    let server = mail_server_that_says(&authority.issue(&["smtp.office365.com"]), &accepted, REFUSAL);
    let pages = free_port();
    let lines = format!("[pages.operators]\nurl = \"http://{pages}\"\naddress = \"{pages}\"\ntls = \"off\"\n");
    let (site, server_of_anna) = Site::of_anna_and_bo(&lines);
    let text = fs::read_to_string(site.config()).unwrap();
    let socks = proxy(vec![("smtp.office365.com", server)]);
    let text = text.replace("bind = \"127.0.0.1\"", &format!("proxy = \"socks5://{socks}\""));
    fs::write(site.config(), text).unwrap();
    fs::write(site.path("config/customer.secret"), "a password\n").unwrap();
    let route = "via = \"own-server\"\nhost = \"smtp.office365.com\"\nport = 587\ntls = \"required\"\nusername = \"crm@carl.example\"\n\
                 password_file = \"../customer.secret\"\n";
    site.add(&Customer { id: "carl", domain: "carl.example", route: route.to_owned() });
    let file = site.path("authority.pem");
    fs::write(&file, &authority.pem).unwrap();
    let relay = site.start_with(&[("SSL_CERT_FILE", file.to_str().unwrap())]);
    let rig = Rig { site, relay, pages, server_of_anna };
    let (site, anna) = (&rig.site, rig.logged_in("anna", "read"));
    let listed = || String::from_utf8(site.operate(&["route", "list", "--microsoft365"]).stdout).unwrap();
    let shown = || [anna.get("/routes/microsoft365").body, anna.get("/routes/own-server.carl").body];

    assert_eq!(metric(site, "postbud_routes_microsoft365_passwords"), Some(1), "it logs in with a password");
    assert_eq!(metric(site, "postbud_routes_passwords_refused"), Some(0), "and nobody has heard anything yet");
    assert!(listed().contains("crm@carl.example") && !listed().contains("5.7.139"), "{}", listed());
    assert!(shown().iter().all(|page| !page.contains("5.7.139")), "{:?}", shown());

    let id = rig.submit("news@carl.example", "ole@x.example", "hello");
    wait_for_metric(site, "postbud_routes_passwords_refused", 1);
    assert!(listed().contains("basic authentication is disabled"), "{}", listed());
    for page in shown() {
        assert!(page.contains("basic authentication is disabled") && !page.contains("<b>[TEST"), "{page}");
    }

    // Their administrator allows passwords once more.
    "\0crm@carl.example\0a password".clone_into(&mut accepted.lock().unwrap());
    assert!(site.operate(&["route", "resume", "own-server.carl"]).status.success());
    site.wait_for_event("the mail has left", |event| event["event"] == "relayed" && event["queue_id"] == id.as_str());
    wait_for_metric(site, "postbud_routes_passwords_refused", 0);
    assert!(listed().contains("crm@carl.example") && !listed().contains("5.7.139"), "{}", listed());
    assert!(shown().iter().all(|page| !page.contains("5.7.139")), "{:?}", shown());
    assert_eq!(metric(site, "postbud_routes_microsoft365_passwords"), Some(1), "it is still a password");
}
