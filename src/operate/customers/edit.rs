//! Changes the text of a customer's file. Comments, order and layout of everything else stay as a person wrote them. The configuration's
//! checker decides whether the new text is valid.

use toml_edit::{Array, DocumentMut, Item, Table, TableLike, Value};

use super::look::{ContactEntry, ViaName};
use super::patch::{CustomerChange, Patch, RouteChange};
use super::preserve;
use crate::operate::Error;

/// Returns the changed text. `password_file` is the name of the file with a new password.
pub(super) fn apply(text: &str, change: &CustomerChange, password_file: Option<&str>) -> Result<String, Error> {
    let not_toml = |error: toml_edit::TomlError| {
        Error::conflict(format!("the customer's file is no TOML: {error}"), "`postbud check` says what is wrong in it")
    };
    let mut document: DocumentMut = text.parse().map_err(not_toml)?;
    let root = document.as_table_mut();
    set(root, "name", &change.name, |name| Value::from(name.as_str()));
    set_list(root, "domains", &change.domains);
    set_list(root, "bounce_domains", &change.bounce_domains);
    set(root, "suspended", &change.suspended, |reason| Value::from(reason.as_str()));
    set(root, "bulk", &change.bulk, |bulk| Value::from(bulk.as_str()));
    set(root, "bounces", &change.bounces, |bounces| Value::from(bounces.as_str()));
    set_contacts(root, &change.contacts);
    set(root, "test", &change.test, |test| Value::from(*test));
    set_list(root, "test_allow", &change.test_allow);
    set(root, "test_redirect", &change.test_redirect, |address| Value::from(address.as_str()));
    if let Some(route) = &change.route {
        apply_route(table(root, "route")?, route, password_file)?;
    }
    for (domain, change) in change.mailjet.iter().flatten() {
        let all = table(root, "mailjet")?;
        match change {
            Patch::Keep => {}
            Patch::Remove => drop(all.remove(domain)),
            Patch::Set(change) => {
                let of_domain = table(all, domain)?;
                set(of_domain, "ownership", &change.ownership, |token| Value::from(token.as_str()));
                set(of_domain, "dkim", &change.dkim, |record| Value::from(record.as_str()));
            }
        }
    }
    let edited = preserve::as_before(text, &document.to_string());
    let lists =
        [("domains", &change.domains), ("bounce_domains", &change.bounce_domains), ("test_allow", &change.test_allow)];
    for (key, patch) in lists {
        let Patch::Set(wanted) = patch else { continue };
        if !has_list(&edited, key, wanted) {
            let message = format!("{key} is written in a way that no command can change");
            return Err(Error::conflict(message, "write the list on one line, without comments, and try again"));
        }
    }
    Ok(edited)
}

/// Returns true if the list of a text has these elements, in whatever order.
fn has_list(text: &str, key: &str, wanted: &[String]) -> bool {
    let Ok(document) = text.parse::<DocumentMut>() else { return false };
    let Some(list) = document.get(key).and_then(Item::as_array) else { return false };
    list.iter().all(|it| it.as_str().is_some_and(|it| wanted.iter().any(|wanted| wanted == it)))
        && wanted.iter().all(|wanted| list.iter().any(|it| it.as_str() == Some(wanted)))
}

fn apply_route(table: &mut dyn TableLike, route: &RouteChange, password_file: Option<&str>) -> Result<(), Error> {
    set(table, "via", &route.via, |via| Value::from(via.as_str()));
    set(table, "tier", &route.tier, |tier| Value::from(tier.as_str()));
    set(table, "track_opens", &route.track_opens, |track| Value::from(*track));
    set(table, "track_clicks", &route.track_clicks, |track| Value::from(*track));
    set(table, "host", &route.host, |host| Value::from(host.as_str()));
    set(table, "port", &route.port, |port| Value::from(i64::from(*port)));
    set(table, "tls", &route.tls, |tls| Value::from(tls.as_str()));
    set(table, "addresses", &route.public_only, |only| Value::from(if *only { "public" } else { "any" }));
    if route.via == Patch::Set(ViaName::Mailjet) {
        remove(table, "addresses");
    }
    if route.username != Patch::Keep {
        for other in ["username_file", "username_env", "username_command"] {
            remove(table, other);
        }
        set(table, "username", &route.username, |name| Value::from(name.as_str()));
    }
    if route.password != Patch::Keep {
        for other in ["password_env", "password_command"] {
            remove(table, other);
        }
        match password_file {
            Some(file) => put(table, "password_file", Value::from(file)),
            None => remove(table, "password_file"),
        }
    }
    if let Some(limits) = &route.limits {
        let table = self::table(table, "limits")?;
        set(table, "preset", &limits.preset, |preset| Value::from(preset.as_str()));
        for (key, value) in
            [("concurrency", &limits.concurrency), ("per_minute", &limits.per_minute), ("per_day", &limits.per_day)]
        {
            set(table, key, value, |number| Value::from(i64::from(*number)));
        }
    }
    Ok(())
}

/// Returns the key and password files that belong to this customer alone, as its file names them.
pub(super) fn named_files(text: &str) -> Vec<String> {
    let Ok(document) = text.parse::<DocumentMut>() else { return Vec::new() };
    let of = |table: Option<&Item>, keys: &[&str]| -> Vec<String> {
        let named = keys.iter().filter_map(|key| table?.get(key)?.as_str().map(str::to_owned));
        named.collect()
    };
    let route = document.get("route");
    let mut named = of(document.get("dkim"), &["private_key", "ed25519_private_key"]);
    named.extend(of(route, &["username_file", "password_file"]));
    named.extend(of(route.and_then(|route| route.get("oauth")), &["client_secret_file"]));
    named
}

fn set<T>(table: &mut dyn TableLike, key: &str, patch: &Patch<T>, value: impl FnOnce(&T) -> Value) {
    match patch {
        Patch::Keep => {}
        Patch::Remove => remove(table, key),
        Patch::Set(new) => put(table, key, value(new)),
    }
}

/// Replaces a value and keeps the comment behind it.
fn put(table: &mut dyn TableLike, key: &str, mut value: Value) {
    match table.get_mut(key) {
        Some(Item::Value(old)) => {
            *value.decor_mut() = old.decor().clone();
            *old = value;
        }
        _ => drop(table.insert(key, Item::Value(value))),
    }
}

/// Replaces the `[[contact]]` tables. A contact that stays keeps its table.
fn set_contacts(root: &mut Table, patch: &Patch<Vec<ContactEntry>>) {
    let contacts = match patch {
        Patch::Keep => return,
        Patch::Remove => return remove(root, "contact"),
        Patch::Set(contacts) => contacts,
    };
    let mut before: Vec<Table> = match root.get("contact") {
        Some(Item::ArrayOfTables(tables)) => tables.iter().cloned().collect(),
        _ => Vec::new(),
    };
    let table = |contact: &ContactEntry| {
        let address = contact.address.as_str();
        let is_it = |table: &Table| table.get("address").and_then(Item::as_str) == Some(address);
        let known = before.iter().position(is_it);
        let mut table = known.map_or_else(Table::new, |at| before.remove(at));
        if known.is_none() {
            put(&mut table, "address", Value::from(address));
        }
        for (key, value) in [("name", &contact.name), ("language", &contact.language)] {
            match value {
                Some(value) => put(&mut table, key, Value::from(value.as_str())),
                None => remove(&mut table, key),
            }
        }
        table
    };
    let mut tables: Vec<Table> = contacts.iter().map(table).collect();
    // A table is printed at its position in the file, if it has one.
    if !tables.iter().filter_map(Table::position).is_sorted() {
        tables.iter_mut().for_each(|table| table.set_position(None));
    }
    let tables = Item::ArrayOfTables(tables.into_iter().collect());
    match root.get_mut("contact") {
        Some(there) => *there = tables,
        None => drop(root.insert("contact", tables)),
    }
}

/// Changes a list element by element, so that remaining elements keep their comments.
fn set_list(table: &mut dyn TableLike, key: &str, patch: &Patch<Vec<String>>) {
    let Patch::Set(wanted) = patch else { return set(table, key, patch, |_| Value::from(Array::new())) };
    let Some(list) = table.get_mut(key).and_then(Item::as_array_mut) else {
        return put(table, key, Value::from(wanted.iter().collect::<Array>()));
    };
    for index in (0..list.len()).rev() {
        if !list.get(index).and_then(Value::as_str).is_some_and(|text| wanted.iter().any(|wanted| wanted == text)) {
            remove_element(list, index);
        }
    }
    for text in wanted {
        if !list.iter().any(|value| value.as_str() == Some(text)) {
            push_element(list, text);
        }
    }
}

/// Removes an element. The comment in front of it stays, because it is about the element before.
fn remove_element(list: &mut Array, index: usize) {
    let removed = list.remove(index);
    let Some(comment) = decor_text(removed.decor().prefix()).filter(|text| text.contains('#')) else { return };
    // The rest are the spaces before the removed element.
    let comment = comment.rfind('\n').map_or(comment.as_str(), |end| &comment[..end]);
    // What follows must not become a part of the comment.
    let before = |old: Option<String>| {
        let old = old.unwrap_or_default();
        let end = if old.trim_start_matches([' ', '\t', '\r']).starts_with('\n') { "" } else { "\n" };
        format!("{comment}{end}{old}")
    };
    match list.get_mut(index) {
        Some(next) => {
            let old = decor_text(next.decor().prefix());
            next.decor_mut().set_prefix(before(old));
        }
        None => {
            let old = decor_text(Some(list.trailing()));
            list.set_trailing(before(old));
        }
    }
}

/// Adds an element at the end, behind the comment of the former last element, and on its own line if the others have one each.
fn push_element(list: &mut Array, text: &str) {
    let trailing = decor_text(Some(list.trailing())).unwrap_or_default();
    let spaces = list.iter().last().and_then(|last| {
        let prefix = decor_text(last.decor().prefix())?;
        prefix.rfind('\n').map(|end| prefix[end..].to_owned())
    });
    let mut value = Value::from(text);
    let (prefix, rest) = match (trailing.rfind('\n'), spaces) {
        (Some(end), spaces) if trailing.contains('#') => {
            let spaces = spaces.unwrap_or_else(|| "\n    ".to_owned());
            (format!("{}{spaces}", &trailing[..end]), trailing[end..].to_owned())
        }
        (_, Some(spaces)) => (spaces, trailing),
        (_, None) if list.is_empty() => (String::new(), trailing),
        (_, None) => (" ".to_owned(), trailing),
    };
    value.decor_mut().set_prefix(prefix);
    list.push_formatted(value);
    list.set_trailing(rest);
}

/// Returns the text between values as it is in the file.
fn decor_text(text: Option<&toml_edit::RawString>) -> Option<String> {
    text.and_then(|text| text.as_str()).map(str::to_owned)
}

/// Removes a key. The comments above it stay, in front of the next key if a value follows. [`preserve`] puts all others back.
fn remove(table: &mut dyn TableLike, key: &str) {
    let comments = table.key(key).and_then(|key| key.leaf_decor().prefix()?.as_str().map(str::to_owned));
    let mut rest = table.iter().skip_while(|(name, _)| *name != key).skip(1);
    let next = rest.next().filter(|(_, item)| item.is_value()).map(|(name, _)| name.to_owned());
    drop(rest);
    if table.remove(key).is_none() {
        return;
    }
    let Some(comments) = comments.filter(|comments| comments.contains('#')) else { return };
    let Some(mut next) = next.and_then(|next| table.key_mut(&next)) else { return };
    let old = next.leaf_decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default().to_owned();
    next.leaf_decor_mut().set_prefix(format!("{comments}{old}"));
}

/// Returns the table with this name, and makes it if it is absent.
fn table<'t>(parent: &'t mut dyn TableLike, name: &str) -> Result<&'t mut dyn TableLike, Error> {
    if parent.get(name).is_none() {
        parent.insert(name, Item::Table(Table::new()));
    }
    parent.get_mut(name).and_then(Item::as_table_like_mut).ok_or_else(|| {
        Error::conflict(format!("{name} is no table in the customer's file"), "`postbud check` says what belongs there")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"# Kept by hand. Ask Anna before you change it.
name = "Test A/S"   # as on the invoice
domains = [
    "test.dk",   # the first
    "test.se",
]
# Unpaid in October.
suspended = "unpaid"
bulk = "warn"

[dkim]
selector = "postbud1"   # since spring
private_key = "../../keys/test.dk.pem"

# Their server, in the cellar.
[route]
via = "own-server"
host = "mail.test.dk"   # new since May
port = 587
username = "webcrm"
password_file = "../secrets/test-as.password"
"#;

    fn applied(change: &str) -> String {
        let change: CustomerChange = serde_json::from_str(change).unwrap();
        apply(FILE, &change, Some("../secrets/new.password")).unwrap()
    }

    /// Returns the removed and the added lines.
    fn differences(text: &str) -> (Vec<&str>, Vec<&str>) {
        let lines = |text: &'_ str, other: &str| -> Vec<String> {
            text.lines().filter(|line| !other.lines().any(|it| it == *line)).map(str::to_owned).collect()
        };
        let leak = |lines: Vec<String>| lines.into_iter().map(|line| &*Box::leak(line.into_boxed_str())).collect();
        (leak(lines(FILE, text)), leak(lines(text, FILE)))
    }

    #[test]
    fn only_what_is_changed_changes_and_every_comment_stays() {
        for (change, removed, added) in [
            ("{}", vec![], vec![]),
            (
                r#"{"name":"Test B/S"}"#,
                vec!["name = \"Test A/S\"   # as on the invoice"],
                vec!["name = \"Test B/S\"   # as on the invoice"],
            ),
            (r#"{"bulk":"refuse"}"#, vec!["bulk = \"warn\""], vec!["bulk = \"refuse\""]),
            (r#"{"bulk":null}"#, vec!["bulk = \"warn\""], vec![]),
            (r#"{"suspended":null}"#, vec!["suspended = \"unpaid\""], vec![]),
            (
                r#"{"suspended":"a \"quoted\" \\ reason"}"#,
                vec!["suspended = \"unpaid\""],
                vec![r#"suspended = 'a "quoted" \ reason'"#],
            ),
            (r#"{"bounces":"mail"}"#, vec![], vec!["bounces = \"mail\""]),
            (
                r#"{"test":true,"test_allow":["*@webcrm.com"],"test_redirect":"qa@webcrm.com"}"#,
                vec![],
                vec!["test = true", "test_allow = [\"*@webcrm.com\"]", "test_redirect = \"qa@webcrm.com\""],
            ),
            (
                r#"{"contacts":[{"address":"ole@test.dk","language":"da"}]}"#,
                vec![],
                vec!["[[contact]]", "address = \"ole@test.dk\"", "language = \"da\""],
            ),
            (
                r#"{"route":{"host":"mx.test.dk","port":25}}"#,
                vec!["host = \"mail.test.dk\"   # new since May", "port = 587"],
                vec!["host = \"mx.test.dk\"   # new since May", "port = 25"],
            ),
            (
                r#"{"route":{"password":"hemmelig"}}"#,
                vec!["password_file = \"../secrets/test-as.password\""],
                vec!["password_file = \"../secrets/new.password\""],
            ),
            (r#"{"route":{"limits":{"per_day":100}}}"#, vec![], vec!["[route.limits]", "per_day = 100"]),
            (
                r#"{"mailjet":{"test.dk":{"ownership":"abc"}}}"#,
                vec![],
                vec!["[mailjet]", "[mailjet.\"test.dk\"]", "ownership = \"abc\""],
            ),
        ] {
            let text = applied(change);
            let (gone, new) = differences(&text);
            let is_header = |line: &&str| *line != "[mailjet]";
            assert_eq!(gone, removed, "{change}\n{text}");
            assert_eq!(
                new.into_iter().filter(is_header).collect::<Vec<_>>(),
                added.into_iter().filter(is_header).collect::<Vec<_>>(),
                "{change}\n{text}"
            );
            let comments = |text: &str| text.lines().filter(|line| line.contains('#')).count();
            assert_eq!(comments(&text), comments(FILE), "{change}\n{text}");
        }
    }

    #[test]
    fn a_server_that_its_customer_entered_stays_on_the_public_internet_until_there_is_another_kind_of_route() {
        let entered = RouteChange { public_only: Patch::Set(true), ..RouteChange::default() };
        let change = |route| CustomerChange { route: Some(route), ..CustomerChange::default() };
        let text = apply(FILE, &change(entered), None).unwrap();
        assert!(text.contains("addresses = \"public\""), "{text}");
        let moved = RouteChange { host: Patch::Set("mx.test.dk".to_owned()), ..RouteChange::default() };
        assert!(apply(&text, &change(moved), None).unwrap().contains("addresses = \"public\""));
        let mailjet = RouteChange { via: Patch::Set(ViaName::Mailjet), ..RouteChange::default() };
        assert!(!apply(&text, &change(mailjet), None).unwrap().contains("addresses"));
    }

    #[test]
    fn domains_that_stay_keep_their_comments() {
        let text = applied(r#"{"domains":["test.dk","test.no"]}"#);
        assert!(text.contains("\"test.dk\",   # the first"), "{text}");
        let domains: Vec<_> = text.parse::<DocumentMut>().unwrap()["domains"]
            .as_array()
            .unwrap()
            .iter()
            .map(|value| value.as_str().unwrap().to_owned())
            .collect();
        assert_eq!(domains, ["test.dk", "test.no"]);
    }

    /// A file as nobody writes it who does not want to be nasty, with comments wherever TOML allows one.
    const ODD: &str = r##"# one
name = 'A "#" B' # two
domains = [ # three
  "test.dk" # four
  , # five
  "test.se", "test.no" # six
  # seven
] # eight
# nine
note = """ # no comment
# none either
""" # ten
route.via = "own-server" # eleven
# twelve
route.host = "mail.test.dk"
  # thirteen
  bulk = "warn" # fourteen
test_allow = [ # fifteen
  "a@test.dk", # sixteen
]
# seventeen
suspended = 'why' # eighteen
# nineteen

# twenty
[[contact]] # twenty-one
# twenty-two
address = "ole@test.dk" # twenty-three
# twenty-four
name = "Ole"
[dkim] # twenty-five
# twenty-six
selector = "s" # twenty-seven
# twenty-eight
[[contact]]
address = "ida@test.dk" # twenty-nine
# thirty
[mailjet."test.se"] # thirty-one
# thirty-two
ownership = "abcdefgh" # thirty-three
# thirty-four"##;

    /// The same with the route in an inline table on several lines and on one, without and with a line end after the last line, and with
    /// line ends from Windows.
    fn odd_files() -> Vec<String> {
        let dotted = "route.via = \"own-server\" # eleven\n# twelve\nroute.host = \"mail.test.dk\"\n";
        let inline =
            "route = { # eleven\n  via = \"own-server\", # twelve\n  host = \"mail.test.dk\" # more\n  # and more\n}\n";
        let plain = "# eleven\nroute = { via = \"own-server\", host = \"mail.test.dk\" } # twelve\n";
        assert!(ODD.contains(dotted));
        let files = [ODD.to_owned(), ODD.replace(dotted, inline), ODD.replace(dotted, plain)];
        files.iter().flat_map(|file| [file.clone(), format!("{file}\n"), file.replace('\n', "\r\n")]).collect()
    }

    #[test]
    fn no_comment_is_lost_and_no_line_moves_in_a_file_that_is_written_in_an_odd_way() {
        let changes = [
            r#"{"name":"C"}"#,
            r#"{"domains":["test.no"]}"#,
            r#"{"domains":["test.dk","test.se","test.no","test.fi"]}"#,
            r#"{"domains":[]}"#,
            r#"{"domains":null}"#,
            r#"{"bulk":null,"suspended":null}"#,
            r#"{"suspended":null,"bounces":"mail","test":true}"#,
            r#"{"test_allow":null}"#,
            r#"{"test_allow":["b@test.dk"]}"#,
            r#"{"contacts":null}"#,
            r#"{"contacts":[]}"#,
            r#"{"contacts":[{"address":"ida@test.dk"},{"address":"ole@test.dk","name":"Ole"}]}"#,
            r#"{"contacts":[{"address":"ole@test.dk","language":"da"},{"address":"new@test.dk"}]}"#,
            r#"{"route":{"host":null}}"#,
            r#"{"route":{"via":null,"host":null}}"#,
            r#"{"route":{"host":"mx.test.dk","port":25,"username":"u","password":"p"}}"#,
            r#"{"route":{"limits":{"per_day":7}}}"#,
            r#"{"mailjet":{"test.se":null}}"#,
            r#"{"mailjet":{"test.se":{"ownership":null,"dkim":"p=AAAA"}}}"#,
        ];
        let comments = |text: &str| {
            let mut all: Vec<String> = preserve::comments(text).into_iter().map(|it| it.text.to_owned()).collect();
            all.sort();
            all
        };
        for (file, change) in odd_files().iter().flat_map(|file| changes.iter().map(move |change| (file, *change))) {
            let parsed: CustomerChange = serde_json::from_str(change).unwrap();
            let after = apply(file, &parsed, Some("../secrets/new")).unwrap();
            let what = format!("{change}\n{file}\n--- is now\n{after}");
            assert_eq!(comments(&after), comments(file), "{what}");
            let root = |text: &str| text.parse::<toml::Table>().unwrap_or_else(|error| panic!("{error}\n{what}"));
            let (before, now) = (root(file), root(&after));
            let keys: serde_json::Value = serde_json::from_str(change).unwrap();
            let is_changed = |key: &str| keys.get(if key == "contact" { "contacts" } else { key }).is_some();
            for (key, value) in before.iter().filter(|(key, _)| !is_changed(key)) {
                assert_eq!(now.get(key), Some(value), "{key} of {what}");
            }
            assert!(now.keys().all(|key| before.contains_key(key) || is_changed(key)), "{what}");
            let new: Vec<&str> = after.lines().collect();
            let stay = file.lines().filter(|line| !line.trim().is_empty());
            let at: Vec<usize> = stay.filter_map(|line| new.iter().position(|it| *it == line)).collect();
            // A contact that comes has the header of the one that goes.
            let is_reordered = ["ida@test.dk", "new@test.dk"].iter().any(|address| change.contains(address));
            assert!(is_reordered || at.is_sorted(), "{what}");
            let is_dos = |text: &str| text.matches('\n').count() == text.matches("\r\n").count();
            assert_eq!(is_dos(&after), is_dos(file), "{what}");
        }
        // Twice the same change is no further change.
        let change: CustomerChange =
            serde_json::from_str(r#"{"suspended":"x","contacts":[{"address":"a@test.dk"}]}"#).unwrap();
        let once = apply(ODD, &change, None).unwrap();
        assert_eq!(apply(&once, &change, None).unwrap(), once);
    }

    #[test]
    fn a_change_says_which_keys_it_changes_and_shows_no_secret() {
        let change = r#"{"name":null,"route":{"password":"hemmelig","limits":{}},"mailjet":{"test.dk":null}}"#;
        let change: CustomerChange = serde_json::from_str(change).unwrap();
        assert_eq!(change.summary(), "name, route.password, route.limits, mailjet.test.dk");
        for twice in [r#"{"name":"x","name":"y"}"#, r#"{"mailjet":{"a":null,"a":{}}}"#] {
            let error = serde_json::from_str::<CustomerChange>(twice).unwrap_err().to_string();
            assert!(error.contains("duplicate field"), "{error}");
        }
        for unknown in [r#"{"nme":"x"}"#, r#"{"route":{"pasword":"x"}}"#, r#"{"mailjet":{"test.dk":{"key":"x"}}}"#] {
            let error = serde_json::from_str::<CustomerChange>(unknown).unwrap_err().to_string();
            assert!(error.contains("unknown field"), "{error}");
        }
    }

    #[test]
    fn what_is_no_table_is_refused() {
        let change: CustomerChange = serde_json::from_str(r#"{"route":{"port":1}}"#).unwrap();
        assert!(apply("route = 7", &change, None).is_err());
        assert!(apply("= 7", &change, None).is_err());
        assert_eq!(
            apply("route = { via = \"own-server\" }", &change, None).unwrap(),
            "route = { via = \"own-server\" , port = 1 }\n"
        );
    }
}
