//! Changing a customer's DKIM key without a mail ever failing verification: the new key is published first, signs only when
//! DNS shows it everywhere, and the old one stays published until the last mail it signed has arrived.
//!
//! ```text
//!   Publishing ──DNS shows the new key──► Overlap ──time over──► Revoking ──DNS shows the old one gone──► (done)
//! ```
//!
//! Each step is one run of the command, and any run may be repeated: what has to be on disk is there before what builds on
//! it (key, then this state, then the customer's file). [`advance`] decides; the command does.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Settings;
use super::state::write;
use crate::dkim::{KeyRecord, Selector, SigningKey};
use crate::message::CustomerId;
use crate::resolver::{Resolver, joined};
use crate::smtp::Domain;
use crate::time::Timestamp;

const VERSION: u32 = 1;

/// A rotation under way, as it is kept on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    version: u32,
    /// The selector that signed before.
    pub old_selector: String,
    /// The one that will.
    pub new_selector: String,
    /// The new private key.
    pub new_key: PathBuf,
    /// Where it stands.
    pub stage: Stage,
}

/// Where a rotation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The customer publishes the new key; the old one signs.
    Publishing,
    /// The new key signs since then (milliseconds since 1970); both are published.
    Overlap {
        /// When.
        since: u64,
    },
}

/// What a run of the command tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// To publish.
    Publish {
        /// Where.
        host: String,
        /// What.
        value: String,
    },
    /// Not there yet.
    Waiting {
        /// Where it is missing.
        hosts: Vec<String>,
    },
    /// DNS did not answer.
    Unanswered {
        /// Why.
        reason: String,
    },
    /// The customer's file was changed.
    Switched {
        /// To.
        selector: String,
        /// Which file.
        file: String,
    },
    /// Both stay until then, RFC 3339.
    Overlap {
        /// When.
        until: String,
    },
    /// The old key is to be revoked.
    Revoke {
        /// Where.
        host: String,
    },
    /// Over.
    Done {
        /// What signs now.
        selector: String,
    },
}

/// What DNS shows, over all domains of the customer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Hosts where the new key is missing or another one.
    pub new_missing: Vec<String>,
    /// Hosts where the old key still is.
    pub old_present: Vec<String>,
    /// A question was not answered.
    pub unanswered: Option<String>,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// The new key has to be seen first.
    Wait,
    /// Nothing is known.
    AskAgain(String),
    /// Let the new key sign.
    Switch,
    /// Keep both until then.
    Keep(Timestamp),
    /// The old one is to be revoked.
    Revoke,
    /// Forget the rotation.
    Finish,
}

/// Decides. `signs_already`: the customer's file names the new selector, as after a crash between its change and ours.
pub fn advance(rotation: &Rotation, view: &View, signs_already: bool, now: Timestamp, overlap: Duration) -> Next {
    let until = match rotation.stage {
        Stage::Publishing if signs_already => return Next::Switch,
        Stage::Publishing => {
            return match (&view.unanswered, view.new_missing.is_empty()) {
                (Some(reason), _) => Next::AskAgain(reason.clone()),
                (None, false) => Next::Wait,
                (None, true) => Next::Switch,
            };
        }
        Stage::Overlap { since } => Timestamp::from_millis(since) + overlap,
    };
    match (&view.unanswered, view.old_present.is_empty()) {
        _ if now < until => Next::Keep(until),
        (Some(reason), _) => Next::AskAgain(reason.clone()),
        (None, false) => Next::Revoke,
        (None, true) => Next::Finish,
    }
}

/// Asks DNS for both keys at every domain.
pub async fn look(
    resolver: &dyn Resolver,
    domains: impl Iterator<Item = &Domain>,
    old: &Selector,
    new: &Selector,
    key: &SigningKey,
) -> View {
    let mut view = View::default();
    for domain in domains {
        let (new_host, old_host) = (new.dns_name(domain), old.dns_name(domain));
        let records = |texts: Vec<Vec<Vec<u8>>>| -> Vec<KeyRecord> {
            texts.iter().map(|strings| KeyRecord::parse(&String::from_utf8_lossy(&joined(strings)))).collect()
        };
        match resolver.txt(&new_host).await.map(records).as_deref() {
            Ok([record]) if record.is_usable() && key.matches(record) => {}
            Ok(_) => view.new_missing.push(new_host),
            Err(error) => view.unanswered = Some(error.to_string()),
        }
        match resolver.txt(&old_host).await.map(records) {
            // An empty p= and no record at all mean the same to receivers (RFC 6376 §3.6.1, §6.1.2).
            Ok(found) if found.iter().all(|record| record.public_key.is_empty()) => {}
            Ok(_) => view.old_present.push(old_host),
            Err(error) => view.unanswered = Some(error.to_string()),
        }
    }
    view
}

impl Rotation {
    /// A rotation that begins.
    pub fn new(old: &Selector, new: &Selector, key: PathBuf) -> Self {
        Rotation {
            version: VERSION,
            old_selector: old.to_string(),
            new_selector: new.to_string(),
            new_key: key,
            stage: Stage::Publishing,
        }
    }

    fn path(settings: &Settings, customer: &CustomerId) -> PathBuf {
        settings.state_dir.join("rotations").join(format!("{customer}.json"))
    }

    /// The customer's rotation, where one is under way.
    pub fn load(settings: &Settings, customer: &CustomerId) -> io::Result<Option<Self>> {
        let path = Self::path(settings, customer);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let invalid =
            |reason: String| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {reason}", path.display()));
        let rotation: Rotation = serde_json::from_slice(&text).map_err(|error| invalid(error.to_string()))?;
        match rotation.version {
            VERSION => Ok(Some(rotation)),
            other => Err(invalid(format!("version {other} is not known"))),
        }
    }

    /// Keeps it.
    pub fn save(&self, settings: &Settings, customer: &CustomerId) -> io::Result<()> {
        let path = Self::path(settings, customer);
        fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        write(&path, self)
    }

    /// Forgets it.
    pub fn remove(settings: &Settings, customer: &CustomerId) -> io::Result<()> {
        fs::remove_file(Self::path(settings, customer))
    }
}

/// The selector after this one: its last number counted up, or `2` appended.
pub fn next_selector(selector: &Selector) -> Option<Selector> {
    let text = selector.as_str();
    let stem = text.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = text[stem.len()..].parse::<u64>().unwrap_or(1);
    Selector::parse(&format!("{stem}{}", number.checked_add(1)?)).ok()
}

/// A customer's file with another selector and key, everything else left as it was written, comments included. `None` where
/// `[dkim]` has no such keys.
pub fn with_key(text: &str, selector: &Selector, key: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct File {
        dkim: Dkim,
    }
    #[derive(Deserialize)]
    struct Dkim {
        selector: toml::Spanned<String>,
        private_key: toml::Spanned<String>,
    }
    let dkim = toml::from_str::<File>(text).ok()?.dkim;
    let mut changes =
        [(dkim.selector.span(), toml_string(selector.as_str())), (dkim.private_key.span(), toml_string(key))];
    // The later place first: the earlier one's span stays true.
    changes.sort_by_key(|(span, _)| std::cmp::Reverse(span.start));
    let mut text = text.to_owned();
    for (span, value) in changes {
        text.replace_range(span, &value);
    }
    Some(text)
}

/// A TOML basic string.
pub fn toml_string(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolver::{FixedZone, Kind};

    const OVERLAP: Duration = Duration::from_secs(100);

    fn rotation(stage: Stage) -> Rotation {
        let selector = |text| Selector::parse(text).unwrap();
        Rotation { stage, ..Rotation::new(&selector("postbud1"), &selector("postbud2"), "new.pem".into()) }
    }

    #[test]
    fn the_new_key_signs_only_when_dns_shows_it_everywhere() {
        let now = Timestamp::from_millis(5000);
        let publishing = rotation(Stage::Publishing);
        let next = |view: &View, already| advance(&publishing, view, already, now, OVERLAP);
        let missing = View { new_missing: vec!["x".into()], ..View::default() };
        assert_eq!(next(&missing, false), Next::Wait);
        let dead = View { unanswered: Some("dead".into()), ..View::default() };
        assert_eq!(next(&dead, false), Next::AskAgain("dead".into()));
        assert_eq!(next(&View::default(), false), Next::Switch);
        assert_eq!(next(&missing, true), Next::Switch, "the file was changed already: say so and go on");
    }

    #[test]
    fn the_old_key_stays_for_the_overlap_and_is_revoked_then() {
        let overlap = rotation(Stage::Overlap { since: 1000 });
        let next = |view: &View, secs: u64| advance(&overlap, view, true, Timestamp::from_millis(secs * 1000), OVERLAP);
        let present = View { old_present: vec!["x".into()], ..View::default() };
        assert_eq!(next(&present, 100), Next::Keep(Timestamp::from_millis(101_000)));
        assert_eq!(next(&View::default(), 100), Next::Keep(Timestamp::from_millis(101_000)));
        assert_eq!(next(&present, 101), Next::Revoke);
        assert_eq!(next(&View { unanswered: Some("dead".into()), ..present }, 101), Next::AskAgain("dead".into()));
        assert_eq!(next(&View::default(), 101), Next::Finish);
    }

    #[tokio::test]
    async fn a_view_tells_right_keys_from_wrong_and_revoked_from_present() {
        let key = SigningKey::generate_rsa(2048).unwrap();
        let (old, new) = (Selector::parse("postbud1").unwrap(), Selector::parse("postbud2").unwrap());
        let domains = [Domain::parse("a.dk").unwrap(), Domain::parse("b.dk").unwrap()];
        let zone = FixedZone::new();
        let value = crate::dkim::record::render(&domains[0], &new, &key).unwrap().value;
        zone.add_txt("postbud2._domainkey.a.dk", &value);
        zone.add_txt("postbud1._domainkey.a.dk", "v=DKIM1; p=");
        zone.add_txt("postbud1._domainkey.b.dk", &value);
        let view = look(&zone, domains.iter(), &old, &new, &key).await;
        assert_eq!(view.new_missing, ["postbud2._domainkey.b.dk"]);
        assert_eq!(view.old_present, ["postbud1._domainkey.b.dk"]);
        zone.add_txt("postbud2._domainkey.b.dk", &value);
        zone.remove("postbud1._domainkey.b.dk", Kind::Txt);
        assert_eq!(look(&zone, domains.iter(), &old, &new, &key).await, View::default());
        zone.fail("b.dk");
        assert!(look(&zone, domains.iter(), &old, &new, &key).await.unanswered.is_some());
    }

    #[test]
    fn selectors_count_up() {
        for (before, after) in
            [("postbud1", "postbud2"), ("postbud9", "postbud10"), ("key", "key2"), ("2026.a", "2026.a2")]
        {
            assert_eq!(next_selector(&Selector::parse(before).unwrap()).unwrap().as_str(), after);
        }
    }

    #[test]
    fn a_customers_file_keeps_its_comments() {
        let before = "# note\nname = \"x\"\n[dkim] # here\nselector = 'postbud1'   # old\nprivate_key = \"../keys/a.pem\"\n[route]\nvia = \"mailjet\"\n";
        let after = with_key(before, &Selector::parse("postbud2").unwrap(), "../keys/\"b\".pem").unwrap();
        assert!(after.contains("selector = \"postbud2\"   # old\n"), "{after}");
        assert!(
            after.starts_with("# note\nname = \"x\"\n[dkim] # here\n")
                && after.ends_with("[route]\nvia = \"mailjet\"\n")
        );
        let read: toml::Table = toml::from_str(&after).unwrap();
        assert_eq!(read["dkim"]["private_key"].as_str(), Some("../keys/\"b\".pem"));
        assert_eq!(with_key("name = 1", &Selector::parse("a").unwrap(), "b"), None);
    }

    #[test]
    fn a_rotation_survives_on_disk() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings { state_dir: dir.path().to_owned(), ..Settings::default() };
        let customer = CustomerId::new("test-as");
        assert_eq!(Rotation::load(&settings, &customer).unwrap(), None);
        let under_way = rotation(Stage::Overlap { since: 7 });
        under_way.save(&settings, &customer).unwrap();
        assert_eq!(Rotation::load(&settings, &customer).unwrap(), Some(under_way));
        Rotation::remove(&settings, &customer).unwrap();
        assert_eq!(Rotation::load(&settings, &customer).unwrap(), None);
    }
}
