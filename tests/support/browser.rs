//! Controls a real browser: Debian's Chromium without a window, over WebDriver (W3C) with chromedriver.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::ports;
use super::skip::skip;

/// How long to wait for something on a page.
const PATIENCE: Duration = Duration::from_secs(90);
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with its own profile. It ends when dropped.
pub struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
    _profile: tempfile::TempDir,
}

/// The settings of the browser.
#[derive(Clone, Copy)]
pub struct Setup {
    /// The width and height of the page.
    pub size: (u32, u32),
    /// True if scripts run.
    pub scripts: bool,
    /// The languages that it asks for.
    pub languages: &'static str,
    /// True if the reader prefers dark colours.
    pub dark: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Setup { size: (1100, 900), scripts: true, languages: "da", dark: false }
    }
}

/// An element of a page.
#[derive(Clone, Debug)]
pub struct Element(String);

impl Browser {
    /// Starts a browser. Returns `None` if Chromium is not installed.
    pub fn start(setup: Setup) -> Option<Browser> {
        Command::new("chromium").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().ok()?;
        let address = ports::free_port("127.0.0.1");
        let driver = Command::new("chromedriver")
            .arg(format!("--port={}", address.port()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let profile = tempfile::tempdir().expect("a temporary folder can be made");
        let mut browser = Browser { driver, address, session: String::new(), _profile: profile };
        let until = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < until, "chromedriver does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        let mut arguments: Vec<String> = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            "--force-device-scale-factor=1",
            "--hide-scrollbars",
        ]
        .map(str::to_owned)
        .into();
        arguments.push(format!("--user-data-dir={}", browser._profile.path().display()));
        arguments.push(format!("--window-size={},{}", setup.size.0, setup.size.1));
        if setup.dark {
            // Without a desktop, Chromium cannot ask for the reader's preference.
            arguments.push("--blink-settings=preferredColorScheme=0".to_owned());
        }
        let scripts = if setup.scripts { 1 } else { 2 };
        let preferences = json!({
            "intl.accept_languages": setup.languages,
            "profile.managed_default_content_settings.javascript": scripts,
        });
        let capabilities = json!({ "capabilities": { "alwaysMatch": { "browserName": "chrome",
            "goog:loggingPrefs": { "browser": "ALL" },
            "timeouts": { "script": 110_000 },
            "goog:chromeOptions": { "binary": "/usr/bin/chromium", "args": arguments, "prefs": preferences } } } });
        let made = browser.send("POST", "/session", Some(&capabilities)).expect("Chromium starts");
        browser.session = made["sessionId"].as_str().expect("a session has an id").to_owned();
        if setup.size.0 < 500 {
            // No window is that narrow.
            let size =
                json!({ "width": setup.size.0, "height": setup.size.1, "deviceScaleFactor": 1, "mobile": false });
            browser.devtools("Emulation.setDeviceMetricsOverride", size);
        }
        if setup.dark {
            browser.devtools(
                "Emulation.setEmulatedMedia",
                json!({ "features": [{ "name": "prefers-color-scheme", "value": "dark" }] }),
            );
        }
        Some(browser)
    }

    /// Opens a page, and waits until it is loaded.
    pub fn go(&self, url: &str) {
        self.command("POST", "/url", Some(json!({ "url": url })));
    }

    /// Loads the page again.
    pub fn reload(&self) {
        self.command("POST", "/refresh", Some(json!({})));
    }

    /// Returns the address of the page.
    pub fn url(&self) -> String {
        text(self.command("GET", "/url", None))
    }

    /// Returns the title of the page.
    pub fn title(&self) -> String {
        text(self.command("GET", "/title", None))
    }

    /// Returns the current HTML of the page.
    pub fn source(&self) -> String {
        text(self.command("GET", "/source", None))
    }

    /// Returns all visible text.
    pub fn text(&self) -> String {
        // Uses one script, because an element may be gone before a second request for its text.
        text(self.run("return document.body ? document.body.innerText : ''"))
    }

    /// Runs a script and returns its result. Waits for a promise.
    pub fn run(&self, script: &str) -> Value {
        self.command("POST", "/execute/sync", Some(json!({ "script": script, "args": [] })))
    }

    /// Waits for an element with a CSS selector, and returns it.
    pub fn find(&self, selector: &str) -> Element {
        self.wait(selector, || self.all(selector).into_iter().next())
    }

    /// Returns all present elements with a CSS selector.
    pub fn all(&self, selector: &str) -> Vec<Element> {
        let found = self.command("POST", "/elements", Some(json!({ "using": "css selector", "value": selector })));
        let elements = found.as_array().into_iter().flatten();
        elements.filter_map(|element| Some(Element(element[ELEMENT].as_str()?.to_owned()))).collect()
    }

    /// Returns the visible text of an element.
    pub fn text_of(&self, element: &Element) -> String {
        text(self.command("GET", &format!("/element/{}/text", element.0), None))
    }

    /// Returns a property of an element, as the page's scripts see it.
    pub fn property(&self, element: &Element, name: &str) -> Value {
        self.command("GET", &format!("/element/{}/property/{name}", element.0), None)
    }

    /// Clicks on an element.
    pub fn click(&self, selector: &str) {
        // A live page may have been rendered again between the search and the click.
        self.wait(selector, || {
            let path = format!("/session/{}/element/{}/click", self.session, self.find(selector).0);
            match self.send("POST", &path, Some(&json!({}))) {
                Err(error) if error.contains("stale element") => None,
                clicked => Some(clicked.unwrap_or_else(|error| panic!("{selector}: {error}"))),
            }
        });
    }

    /// Replaces the content of a field.
    pub fn fill(&self, selector: &str, value: &str) {
        let empty = json!({});
        // A page that is being replaced has the field and does not take anything.
        let element = self.wait(&format!("{selector}, ready to be filled"), || {
            let element = self.find(selector);
            let path = format!("/session/{}/element/{}/clear", self.session, element.0);
            self.send("POST", &path, Some(&empty)).is_ok().then_some(element)
        });
        self.command("POST", &format!("/element/{}/value", element.0), Some(json!({ "text": value })));
    }

    /// Presses keys, as a reader without a mouse does. `\u{e004}` is Tab, `\u{e007}` Enter.
    pub fn press(&self, keys: &str) {
        let actions: Vec<Value> = keys
            .chars()
            .flat_map(|key| [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })])
            .collect();
        let body = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": actions }] });
        self.command("POST", "/actions", Some(body));
    }

    /// Waits until the page shows this text.
    pub fn wait_for_text(&self, wanted: &str) {
        self.wait(wanted, || self.text().contains(wanted).then_some(()));
    }

    /// Waits until `found` returns something.
    pub fn wait<T>(&self, what: &str, found: impl Fn() -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = found() {
                return found;
            }
            assert!(Instant::now() < until, "{what} does not come on {}:\n{}", self.url(), self.source());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Takes a picture of the visible part, or of the whole page.
    pub fn picture(&self, file: &Path, whole: bool) {
        let mut options = json!({ "format": "png" });
        if whole {
            let size = self.devtools("Page.getLayoutMetrics", json!({}))["cssContentSize"].clone();
            options["captureBeyondViewport"] = json!(true);
            options["clip"] = json!({ "x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1 });
        }
        let shot = self.devtools("Page.captureScreenshot", options);
        let octets = STANDARD.decode(shot["data"].as_str().expect("a picture")).expect("base64");
        std::fs::write(file, octets).expect("the picture can be written");
    }

    /// Returns the accessibility faults that axe-core finds on the page, one line each.
    pub fn accessibility(&self, axe: &str) -> Vec<String> {
        self.run(axe);
        let found = self.run(
            "return axe.run(document, { resultTypes: ['violations'] }).then(r => r.violations.map(v => v.id + ': ' + v.help + ' ' + \
             v.nodes.map(n => n.html.slice(0, 200)).join(' | ')))",
        );
        found
            .as_array()
            .expect("axe gives a list")
            .iter()
            .map(|it| it.as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// Nobody who sees, hears or moves little meets an obstacle, in light and dark, on a desktop and on a phone; nothing is wider than the
    /// screen, tables on a phone included; and nothing was refused by the page's own policy.
    pub fn is_sound(&self, what: &str) {
        let axe = axe();
        if axe.is_none() {
            skip(what, "no axe-core: tests/install installs it");
        }
        for (dark, width) in [(false, None), (true, None), (false, Some(390)), (true, Some(390))] {
            let taste = if dark { "dark" } else { "light" };
            let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": taste }] });
            self.devtools("Emulation.setEmulatedMedia", features);
            match width {
                None => self.devtools("Emulation.clearDeviceMetricsOverride", json!({})),
                Some(width) => {
                    let size = json!({ "width": width, "height": 844, "deviceScaleFactor": 1, "mobile": false });
                    self.devtools("Emulation.setDeviceMetricsOverride", size)
                }
            };
            let look = format!("{what}, {taste}, {}", width.map_or("desktop", |_| "phone"));
            if let Some(axe) = &axe {
                assert_eq!(self.accessibility(axe), Vec::<String>::new(), "{look}: {}", self.url());
            }
            let wider = self.run(
                "const screen = document.documentElement.clientWidth; return [...document.querySelectorAll('body *')].filter(it => \
                 it.getBoundingClientRect().right > screen + 1 && !it.closest('.scroll, .unseen, .skip, pre, thead')).map(it => it.outerHTML.slice(0, 120))\
                 .concat(screen > 640 ? [] : [...document.querySelectorAll('.scroll')].filter(it => it.scrollWidth > it.clientWidth + 1)\
                 .map(it => `${it.clientWidth} of ${it.scrollWidth} seen: ${it.outerHTML.slice(0, 400)}`))",
            );
            assert_eq!(wider, json!([]), "{look}: wider than the screen");
        }
        self.devtools("Emulation.clearDeviceMetricsOverride", json!({}));
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": [] }));
        assert_eq!(self.complaints(), Vec::<String>::new(), "{what}");
    }

    /// Goes through the page with the tabulator alone. Everything that can be used is reached, in the order in which it stands on the page,
    /// and is seen to have been.
    pub fn is_walked_through_by_keyboard(&self, what: &str) {
        const USABLE: &str = "const usable = [...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea, summary, \
            [tabindex=\"0\"]')].filter(it => !it.disabled && it.checkVisibility({ visibilityProperty: true }) && (it.type !== 'radio' || it.checked));";
        // From the top: where something that had the focus was removed, the next key goes on from there.
        self.run("const top = document.createElement('span'); top.tabIndex = -1; document.body.prepend(top); top.focus(); top.remove()");
        let count = self.run(&format!("{USABLE} return usable.length")).as_u64().expect("a number");
        assert!(count > 0, "{what}: nothing can be used");
        for at in 0..count {
            self.press("\u{e004}");
            let reached = self.run(&format!(
                "{USABLE} const now = document.activeElement, style = getComputedStyle(now); \
                 return {{ wanted: usable.indexOf(now), seen: style.outlineStyle !== 'none', it: now.outerHTML.slice(0, 160) }}"
            ));
            assert_eq!(reached["wanted"], at, "{what}: {}", reached["it"]);
            assert_eq!(reached["seen"], true, "{what}: nobody sees where they are: {}", reached["it"]);
        }
    }

    /// What the browser's console says: errors of scripts, and what the content security policy refused. That the page itself has a status
    /// other than 200 is no error of the page.
    pub fn complaints(&self) -> Vec<String> {
        let of_page = format!("{} - Failed to load resource: the server responded with a status of", self.url());
        let log = self.command("POST", "/se/log", Some(json!({ "type": "browser" })));
        let lines = log.as_array().into_iter().flatten();
        let lines = lines.filter(|line| line["level"] == "SEVERE" || line["level"] == "WARNING");
        let texts = lines.filter_map(|line| line["message"].as_str());
        texts.filter(|text| !text.starts_with(&of_page)).map(str::to_owned).collect()
    }

    /// Sends a command of Chromium's own protocol.
    pub fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.command("POST", "/goog/cdp/execute", Some(json!({ "cmd": command, "params": parameters })))
    }

    fn command(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let path = format!("/session/{}{path}", self.session);
        self.send(method, &path, body.as_ref()).unwrap_or_else(|error| panic!("{method} {path} {body:?}: {error}"))
    }

    fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, String> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut stream = TcpStream::connect(self.address).map_err(|error| error.to_string())?;
        stream.set_read_timeout(Some(Duration::from_secs(120))).map_err(|error| error.to_string())?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        stream.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
        let mut answer = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            answer.read_line(&mut line).map_err(|error| error.to_string())?;
            if line.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().map_err(|_| line.clone())?;
            }
        }
        let mut octets = vec![0; length];
        answer.read_exact(&mut octets).map_err(|error| error.to_string())?;
        let value: Value = serde_json::from_slice(&octets).map_err(|error| error.to_string())?;
        match value["value"]["error"].as_str() {
            Some(_) => Err(value["value"]["message"].as_str().unwrap_or_default().to_owned()),
            None => Ok(value["value"].clone()),
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.send("DELETE", &format!("/session/{}", self.session), None);
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn text(value: Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Returns axe-core as `tests/install` installs it, or `None` if it is not there.
pub fn axe() -> Option<String> {
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned());
    std::fs::read_to_string(format!("{target}/clients/node_modules/axe-core/axe.min.js")).ok()
}
