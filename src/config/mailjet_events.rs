//! Reads `[returns.mailjet]`: how Mailjet's events are received.

use std::time::Duration;

use zeroize::Zeroizing;

use super::reader::Table;
use super::secret::{self, Source, secret_keys};
use super::server::{positive, size};
use super::web::{self, TakenAddress};
use crate::events;
use crate::returns::mailjet::{Access, Limits, Settings};
use crate::submission::ListenerSettings;

const SECRET: Source = secret_keys!("secret");
const PASSWORD: Source = secret_keys!("password");
/// The shortest secret. Secrets are random, and nobody types them.
const SHORTEST: usize = 20;
/// The longest secret and the longest name or password.
const LONGEST: usize = 200;

/// Reads `[returns.mailjet]`. Without this table no events are received. `taken` holds the addresses of other endpoints.
pub(super) fn mailjet(
    table: &Table<'_>,
    listeners: &[ListenerSettings],
    taken: &[TakenAddress<'_>],
    events: &events::Settings,
) -> Option<Settings> {
    if !table.is_there() {
        return None;
    }
    if events.log.is_none() && events.webhooks.is_empty() {
        table.mistake("", "needs a record to write to: name a file in [events] log, or a webhook");
    }
    let web = web::mailjet(table, listeners, taken);
    let access = access(table);
    let default = Limits::default();
    let many = 1..=1_000_000;
    let request_size = size(table, "request_size", default.request_size as u64);
    if !(64 << 10..=64 << 20).contains(&request_size) {
        table.mistake("request_size", "is outside of \"64 KiB\" to \"64 MiB\"");
    }
    let limits = Limits {
        request_size: usize::try_from(request_size).unwrap_or(usize::MAX),
        events_per_request: table.number("events_per_request", 1..=100_000, default.events_per_request),
        events_per_second: table.number("events_per_second", many, default.events_per_second),
        waiting_events: table.number("waiting_events", 1..=1_000_000_000, default.waiting_events),
    };
    let ask = table.or("ask", true);
    if !ask && table.has("ask_after") {
        table.mistake("ask_after", "has no use with ask = false");
    }
    let ask_after = positive(table, "ask_after", Duration::from_secs(6 * 3600));
    let (opens, clicks) = (table.or("opens", false), table.or("clicks", false));
    let keep = positive(table, "keep", Duration::from_secs(30 * 86_400));
    if keep < Duration::from_secs(7 * 86_400) {
        table.warning(
            "keep",
            "Mailjet tries for days: reports that come after this find their mail slowly or not at all",
        );
    }
    let (web, url) = web?;
    Some(Settings { web, access: access?, url, opens, clicks, ask_after: ask.then_some(ask_after), keep, limits })
}

fn access(table: &Table<'_>) -> Option<Access> {
    let secret = required(table, SECRET, "it is a part of the address that Mailjet calls");
    if let Some(secret) = &secret {
        let is_plain = secret.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !is_plain || !(SHORTEST..=LONGEST).contains(&secret.len()) {
            let what = "the secret must have 20 to 200 letters, digits, hyphens and underscores; `openssl rand -hex 20` makes a good one";
            table.mistake(key(table, SECRET), what);
        }
    }
    let username: Option<String> = table.require("username", "\"mailjet\"");
    if let Some(name) = &username
        && (name.is_empty() || name.len() > LONGEST || name.contains(':') || name.chars().any(char::is_control))
    {
        table.mistake("username", "must have 1 to 200 characters and no colon (RFC 7617 §2)");
    }
    let password = required(table, PASSWORD, "Mailjet sends it with every request");
    if let Some(password) = &password
        && !(12..=LONGEST).contains(&password.len())
    {
        table.mistake(key(table, PASSWORD), "the password must have 12 to 200 characters");
    }
    Some(Access { secret: secret?, username: username?, password: password? })
}

fn required(table: &Table<'_>, source: Source, why: &str) -> Option<Zeroizing<String>> {
    if !secret::is_given(table, source) {
        table.mistake(
            source.file,
            format!("is missing; {why}: write {} = \"secrets/…\", or {}", source.file, source.env),
        );
        return None;
    }
    secret::value(table, source)
}

/// Returns the key that gives a secret.
fn key(table: &Table<'_>, Source { file, env, command, .. }: Source) -> &'static str {
    [file, env, command].into_iter().find(|key| table.has(key)).unwrap_or(file)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::mistake::Notes;
    use crate::config::reader::File;

    /// Returns the mistakes in `[returns.mailjet]`, with secrets of this content, and with or without an event log.
    fn mistakes(text: &str, secret: &str, log: bool) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("secret"), secret).unwrap();
        std::fs::write(dir.path().join("password"), "twelve characters").unwrap();
        let notes = Notes::default();
        let file = File::of(&dir.path().join("postbud.toml"), format!("[returns.mailjet]\n{text}"));
        {
            let document = file.parse(&notes);
            let events =
                events::Settings { log: log.then(|| Path::new("x").to_owned()), ..events::Settings::default() };
            let web = ("[web]", Some("127.0.0.1:8025".parse().unwrap()));
            mailjet(&document.root().table("returns").table("mailjet"), &[], &[web], &events);
        }
        notes.finish().mistakes.into_iter().map(|mistake| format!("{}: {}", mistake.key, mistake.what)).collect()
    }

    const GOOD: &str = "url = \"https://hooks.webcrm.com\"\ntls = \"off\"\nsecret_file = \"secret\"\nusername = \"mailjet\"\n\
                        password_file = \"password\"\n";
    const SECRET: &str = "0123456789abcdef0123456789";

    #[test]
    fn what_is_needed_must_be_there_and_fit() {
        assert_eq!(mistakes(GOOD, SECRET, true), Vec::<String>::new());
        let more = "opens = true\nclicks = true\nask_after = \"1h\"\nkeep = \"14d\"\nrequest_size = \"1 MiB\"\nevents_per_request = 100\n\
                    events_per_second = 100\nwaiting_events = 1000\n";
        assert_eq!(mistakes(&format!("{GOOD}{more}"), SECRET, true), Vec::<String>::new());
        for (text, secret, log, key, said) in [
            (GOOD.to_owned(), SECRET, false, "returns.mailjet", "[events] log"),
            (GOOD.to_owned(), "short", true, "returns.mailjet.secret_file", "openssl rand"),
            (GOOD.to_owned(), "0123456789/abcdef0123456789", true, "returns.mailjet.secret_file", "letters, digits"),
            (GOOD.replace("username = \"mailjet\"\n", ""), SECRET, true, "returns.mailjet.username", "is missing"),
            (GOOD.replace("\"mailjet\"", "\"a:b\""), SECRET, true, "returns.mailjet.username", "colon"),
            (GOOD.replace("secret_file = \"secret\"\n", ""), SECRET, true, "returns.mailjet.secret_file", "is missing"),
            (GOOD.replace("secret_file", "secret"), SECRET, true, "returns.mailjet.secret", "does not belong"),
            (
                GOOD.replace("password_file = \"password\"\n", ""),
                SECRET,
                true,
                "returns.mailjet.password_file",
                "is missing",
            ),
            (
                GOOD.replace("url = \"https://hooks.webcrm.com\"\n", ""),
                SECRET,
                true,
                "returns.mailjet.url",
                "is missing",
            ),
            (GOOD.replace("https", "http"), SECRET, true, "returns.mailjet.url", "must be https"),
            (format!("{GOOD}address = \"0.0.0.0:8029\"\n"), SECRET, true, "returns.mailjet.tls", "in clear"),
            (format!("{GOOD}address = \"127.0.0.1:8025\"\n"), SECRET, true, "returns.mailjet.address", "[web]"),
            (format!("{GOOD}ask = false\nask_after = \"1h\"\n"), SECRET, true, "returns.mailjet.ask_after", "no use"),
            (format!("{GOOD}request_size = \"1 KiB\"\n"), SECRET, true, "returns.mailjet.request_size", "outside"),
            (format!("{GOOD}open = true\n"), SECRET, true, "returns.mailjet.open", "did you mean"),
        ] {
            let found = mistakes(&text, secret, log);
            let fits = |mistake: &String| mistake.starts_with(&format!("{key}: ")) && mistake.contains(said);
            assert!(found.iter().any(fits), "{text}: {found:#?}");
            assert!(!found.iter().any(|mistake| mistake.contains(secret)), "{found:#?}");
        }
    }
}
