//! Changing one of a customer's DKIM keys without a mail ever failing verification: the new key is published first, signs only
//! when DNS shows it everywhere, and the old one stays published until the last mail it signed has arrived.
//!
//! ```text
//!   Publishing ──DNS shows the new key──► Overlap ──time over──► Revoking ──DNS shows the old one gone──► (done)
//!                                            ▲                      │
//!                                            └──the relay signs with the old key again
//! ```
//!
//! The time of the overlap counts from when the running relay was seen to sign with the new key: that the customer's file names
//! it says nothing about a relay that was not reloaded. The clock alone revokes nothing: a run of the command that sees the old
//! key out of use does, and only where the relay's queue has nothing left that this key signed: mail may be held for any time.
//!
//! A customer's keys sign for all its domains, so each step waits for every one of these; and each of its keys
//! ([`KeyPlace`]) rotates by itself. A step is one run of the command, and any run may be repeated: what has to be on disk is
//! there before what builds on it (key, then this state, then the customer's file). [`advance`] decides; the command does.
//! [`wanted`] says what has to stand in DNS meanwhile, for the table of records and the checks.

mod customer_file;
mod published;
mod store;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use customer_file::{Named, toml_string};
pub use published::{REVOKED, Role, Shown, View, Wanted, look, wanted};
pub use store::{Lock, lock, under_way};

use crate::customers::KeyPlace;
use crate::dkim::{Selector, key_host};
use crate::resolver;
use crate::smtp::Domain;
use crate::time::Timestamp;

const VERSION: u32 = 2;
/// The versions that can be read. 1 did not know when the new key was seen to sign, nor that revoking is a stage.
const READABLE: std::ops::RangeInclusive<u32> = 1..=VERSION;
/// A rotation under way, as it is kept on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    version: u32,
    /// Which of the customer's keys.
    pub place: KeyPlace,
    /// The one that signed before.
    pub old: Key,
    /// The one that will.
    pub new: Key,
    /// Where it stands.
    pub stage: Stage,
}

/// A key of a rotation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Where it is published.
    pub selector: String,
    /// The value of its record.
    pub record: String,
    /// The private key's file as the customer's file names it, relative to that.
    pub file: String,
}

impl Key {
    /// The host of its record at a domain.
    pub fn host(&self, domain: &Domain) -> String {
        key_host(&self.selector, domain)
    }
}

/// Where a rotation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The customer publishes the new key; the old one signs.
    Publishing,
    /// The customer's file names the new key; both are published.
    Overlap {
        /// Since when the new key is seen to sign; before that, when the old one may have signed last. Milliseconds since 1970.
        since: u64,
        /// The running relay was seen to sign with the new key.
        #[serde(default)]
        seen_new: bool,
    },
    /// Mail signed with the old key has arrived: the customer revokes it.
    Revoking,
}

/// What a run of the command tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Step {
    /// To publish.
    Publish {
        /// Where: one host a domain.
        hosts: Vec<String>,
        /// What, the same at each.
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
        #[serde(serialize_with = "as_text")]
        reason: resolver::Error,
    },
    /// The customer's file was changed.
    Switched {
        /// To.
        selector: String,
        /// Which file.
        file: String,
    },
    /// The running relay was not reloaded.
    StillSigning {
        /// What it signs with.
        selector: String,
    },
    /// No relay runs, or it signs with neither key.
    NotSeen {
        /// What it has to be seen to sign with.
        selector: String,
    },
    /// Both stay until then, RFC 3339.
    Overlap {
        /// When.
        until: String,
    },
    /// Mail that the old key signed waits in the queue.
    StillQueued {
        /// Whose.
        customer: String,
    },
    /// No relay runs, so nobody knows what waits.
    QueueNotSeen,
    /// The old key is to be revoked.
    Revoke {
        /// Where: one host a domain.
        hosts: Vec<String>,
    },
    /// Over.
    Done {
        /// What signs now.
        selector: String,
        /// The file that is of no more use; `None` where something else still signs with that key.
        old_file: Option<String>,
    },
}

fn as_text<S: serde::Serializer>(shown: &impl std::fmt::Display, out: S) -> Result<S::Ok, S::Error> {
    out.collect_str(shown)
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// The new key has to be seen first.
    Wait,
    /// Nothing is known.
    AskAgain(resolver::Error),
    /// Let the new key sign.
    Switch,
    /// Keep both: the new key was not seen to sign.
    See,
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
        Stage::Overlap { seen_new: false, .. } => return Next::See,
        Stage::Overlap { since, seen_new: true } => Timestamp::from_millis(since) + overlap,
        Stage::Revoking => now,
    };
    match &view.unanswered {
        // What signs now has to be there all the time.
        None if !view.new_missing.is_empty() => Next::Wait,
        _ if now < until => Next::Keep(until),
        Some(reason) => Next::AskAgain(reason.clone()),
        None if !view.old_present.is_empty() => Next::Revoke,
        None => Next::Finish,
    }
}

/// What the running relay signs a customer's mail with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InUse {
    /// The old key, at one domain at least: it was not reloaded.
    Old,
    /// The new key, at every domain.
    New,
    /// Nobody knows: none runs, or its key is neither.
    Unseen,
}

impl InUse {
    /// By the selectors that sign, a list for each domain.
    pub fn of<'a>(signers: impl IntoIterator<Item = &'a [String]>, old: &Key, new: &Key) -> Self {
        let mut seen = None;
        for selectors in signers {
            let has = |key: &Key| selectors.contains(&key.selector);
            match (has(old), has(new)) {
                (_, true) => seen = seen.or(Some(InUse::New)),
                (true, false) => return InUse::Old,
                (false, false) => seen = Some(InUse::Unseen),
            }
        }
        seen.unwrap_or(InUse::Unseen)
    }
}

impl Rotation {
    /// A rotation that begins.
    pub fn new(place: KeyPlace, old: Key, new: Key) -> Self {
        Rotation { version: VERSION, place, old, new, stage: Stage::Publishing }
    }

    /// The customer's file names the new key.
    pub fn switched(&mut self, now: Timestamp) {
        self.stage = Stage::Overlap { since: now.as_millis(), seen_new: false };
    }

    /// Takes in what the running relay was seen to sign with, once the customer's file names the new key; says whether that
    /// changes where the rotation stands.
    pub fn seen(&mut self, in_use: InUse, now: Timestamp) -> bool {
        let since = now.as_millis();
        match (in_use, self.stage) {
            // The overlap is for mail that the old key signed: it has not begun, or begins anew.
            (InUse::Old, _) => self.switched(now),
            (InUse::New, Stage::Overlap { seen_new: false, .. }) => {
                self.stage = Stage::Overlap { since, seen_new: true }
            }
            // The clock was wrong then, or is now: a time to come would never be over.
            (InUse::New, Stage::Overlap { since: before, seen_new: true }) if before > since => {
                self.stage = Stage::Overlap { since, seen_new: true }
            }
            _ => return false,
        }
        true
    }
}

/// The selector after this one: its last number counted up past that of all `taken` ones, or `2` appended. A number that was
/// skipped is not gone back to: it may have been published and revoked.
pub fn next_selector(selector: &Selector, taken: &[Selector]) -> Option<Selector> {
    let text = selector.as_str();
    let stem = text.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = |other: &str| other.strip_prefix(stem)?.parse::<u64>().ok();
    let highest = taken.iter().filter_map(|other| number(other.as_str())).chain(number(text)).max();
    Selector::parse(&format!("{stem}{}", highest.unwrap_or(1).checked_add(1)?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dkim::SigningKey;

    const OVERLAP: Duration = Duration::from_secs(100);

    fn key(selector: &str, key: &SigningKey) -> Key {
        let (domain, name) = (Domain::parse("a.dk").unwrap(), Selector::parse(selector).unwrap());
        let record = crate::dkim::record::render(&domain, &name, key).unwrap().value;
        Key { selector: selector.to_owned(), record, file: format!("../../keys/{selector}.pem") }
    }

    pub(super) fn rotation(stage: Stage) -> Rotation {
        let [old, new] = [1, 2].map(|seed| SigningKey::from_ed25519_seed(&[seed; 32]).unwrap());
        Rotation { stage, ..Rotation::new(KeyPlace::Main, key("postbud1", &old), key("postbud2", &new)) }
    }

    fn silent() -> resolver::Error {
        resolver::Error::Timeout {
            name: "postbud2._domainkey.test.dk".to_owned(),
            record_type: resolver::RecordType::Txt,
        }
    }

    #[test]
    fn the_new_key_signs_only_when_dns_shows_it_everywhere() {
        let now = Timestamp::from_millis(5000);
        let publishing = rotation(Stage::Publishing);
        let next = |view: &View, already| advance(&publishing, view, already, now, OVERLAP);
        let missing = View { new_missing: vec!["x".into()], ..View::default() };
        assert_eq!(next(&missing, false), Next::Wait);
        let dead = View { unanswered: Some(silent()), ..View::default() };
        assert_eq!(next(&dead, false), Next::AskAgain(silent()));
        assert_eq!(next(&View::default(), false), Next::Switch);
        assert_eq!(next(&missing, true), Next::Switch, "the file was changed already: say so and go on");
    }

    #[test]
    fn the_old_key_stays_for_the_overlap_and_is_revoked_then() {
        let overlap = rotation(Stage::Overlap { since: 1000, seen_new: true });
        let next = |view: &View, secs: u64| advance(&overlap, view, true, Timestamp::from_millis(secs * 1000), OVERLAP);
        let present = View { old_present: vec!["x".into()], ..View::default() };
        assert_eq!(next(&present, 100), Next::Keep(Timestamp::from_millis(101_000)));
        assert_eq!(next(&View::default(), 100), Next::Keep(Timestamp::from_millis(101_000)));
        assert_eq!(next(&present, 101), Next::Revoke);
        assert_eq!(next(&View { unanswered: Some(silent()), ..present }, 101), Next::AskAgain(silent()));
        assert_eq!(next(&View::default(), 101), Next::Finish);
    }

    #[test]
    fn the_overlap_begins_when_the_relay_is_seen_to_sign_with_the_new_key() {
        let at = |secs: u64| Timestamp::from_millis(secs * 1000);
        let present = View { old_present: vec!["x".into()], ..View::default() };
        let mut rotation = rotation(Stage::Publishing);
        let next = |rotation: &Rotation, secs| advance(rotation, &present, true, at(secs), OVERLAP);
        rotation.switched(at(1));
        assert!(!rotation.seen(InUse::Unseen, at(1000)));
        assert_eq!(next(&rotation, 1000), Next::See, "time alone shows nothing");
        assert!(rotation.seen(InUse::Old, at(1001)));
        assert_eq!(next(&rotation, 5000), Next::See);
        assert!(rotation.seen(InUse::New, at(6000)));
        assert!(!rotation.seen(InUse::New, at(6050)) && !rotation.seen(InUse::Unseen, at(6060)), "seen once is seen");
        assert_eq!(next(&rotation, 6099), Next::Keep(at(6100)));
        assert_eq!(next(&rotation, 6100), Next::Revoke);
        rotation.stage = Stage::Revoking;
        assert!(!rotation.seen(InUse::New, at(6101)));
        assert_eq!(next(&rotation, 6101), Next::Revoke);
        assert_eq!(advance(&rotation, &View::default(), true, at(6101), OVERLAP), Next::Finish);
        assert!(rotation.seen(InUse::Old, at(6102)), "somebody went back to the old key");
        assert_eq!(next(&rotation, 9000), Next::See);
    }

    #[test]
    fn the_new_key_is_in_use_when_every_domain_has_it() {
        let Rotation { old, new, .. } = rotation(Stage::Publishing);
        let of = |domains: &[&[&str]]| {
            let domains: Vec<Vec<String>> =
                domains.iter().map(|selectors| selectors.iter().map(|s| (*s).to_owned()).collect()).collect();
            InUse::of(domains.iter().map(Vec::as_slice), &old, &new)
        };
        assert_eq!(of(&[&["postbud2"], &["other", "postbud2"]]), InUse::New);
        assert_eq!(of(&[&["postbud2"], &["postbud1", "other"]]), InUse::Old);
        assert_eq!(of(&[&[], &["postbud1"]]), InUse::Old);
        let unseen: [&[&[&str]]; 5] = [&[], &[&[]], &[&["other"]], &[&[], &["postbud2"]], &[&["postbud2"], &[]]];
        for unseen in unseen {
            assert_eq!(of(unseen), InUse::Unseen, "{unseen:?}");
        }
    }

    #[test]
    fn the_old_key_is_not_revoked_where_the_new_one_has_gone() {
        let overlap = rotation(Stage::Overlap { since: 1000, seen_new: true });
        let view = View { new_missing: vec!["x".into()], old_present: vec!["y".into()], unanswered: None };
        for now in [2000, 101_000] {
            assert_eq!(advance(&overlap, &view, true, Timestamp::from_millis(now), OVERLAP), Next::Wait, "at {now}");
        }
    }

    #[test]
    fn an_overlap_that_begins_in_the_future_begins_anew() {
        let mut rotation = rotation(Stage::Overlap { since: 1_000_000_000, seen_new: true });
        assert!(!rotation.seen(InUse::Unseen, Timestamp::from_millis(1000)));
        assert!(rotation.seen(InUse::New, Timestamp::from_millis(1000)));
        assert_eq!(rotation.stage, Stage::Overlap { since: 1000, seen_new: true });
    }

    #[test]
    fn selectors_count_up() {
        for (before, after) in
            [("postbud1", "postbud2"), ("postbud9", "postbud10"), ("key", "key2"), ("2026.a", "2026.a2")]
        {
            assert_eq!(next_selector(&Selector::parse(before).unwrap(), &[]).unwrap().as_str(), after);
        }
        let taken = ["postbud3", "other7"].map(|text| Selector::parse(text).unwrap());
        assert_eq!(next_selector(&Selector::parse("postbud1").unwrap(), &taken).unwrap().as_str(), "postbud4");
        let last = format!("postbud{}", u64::MAX);
        assert_eq!(next_selector(&Selector::parse(&last).unwrap(), &[]), None);
    }
}
