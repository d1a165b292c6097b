//! Key rotation: replaces one of a customer's DKIM keys without breaking the signature of any mail. The new key is published first,
//! and signs only after DNS shows it at every domain. The old key stays published until the last mail signed with it has arrived.
//!
//! ```text
//!   Publishing ──DNS shows the new key──► Overlap ──time over──► Revoking ──DNS shows the old one gone──► (done)
//!                                            ▲                      │
//!                                            └──the relay signs with the old key again
//! ```
//!
//! The overlap begins when the running relay is seen to sign with the new key. It does not begin when the customer's file names the new
//! key, because the relay may not have been reloaded yet. Time alone never revokes a key. Only a run of the command does, after it has seen
//! that the old key is out of use and that the relay's queue has no mail signed with it, because mail may be held without limit.
//!
//! Keys in webCRM's zone ([`Delegation`](super::Delegation)) rotate in the same steps, and the customer does nothing. A new
//! key then signs only after DNS has shown it for as long as the record before it may be cached. After a leak there is no overlap: the
//! old key is revoked as soon as the new one signs, and mail signed with it that has not arrived fails DKIM.
//!
//! A customer's keys sign for all its domains, so each step waits for all of them. Each key ([`KeyPlace`]) rotates on its own. A step
//! is one run of the command, and every run may be repeated: the files are written in the order in which they depend on each other
//! (key, then this state, then the customer's file). [`advance`] decides the next step, and the command carries it out. [`wanted`]
//! lists the records that DNS must have during the rotation, for the record table and the checks.

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
/// The versions of the file that can be read. Version 1 has neither `seen_new` nor the stage `Revoking`.
const READABLE: std::ops::RangeInclusive<u32> = 1..=VERSION;
/// A running rotation, as it is stored on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    version: u32,
    /// The customer's key that rotates.
    pub place: KeyPlace,
    /// The key that signed before the rotation.
    pub old: Key,
    /// The key that signs after the rotation.
    pub new: Key,
    pub stage: RotationStage,
    /// When DNS began to show the new key everywhere, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visible: Option<u64>,
    /// True if the old key has leaked: it is revoked without an overlap.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaked: bool,
}

/// One of the two keys of a rotation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// The selector at which the key is published.
    pub selector: String,
    /// The value of the key record.
    pub record: String,
    /// The path of the private key's file, relative to the customer's file.
    pub file: String,
}

impl Key {
    /// Returns the host of the key record at a domain.
    pub fn host(&self, domain: &Domain) -> String {
        key_host(&self.selector, domain)
    }
}

/// The stage of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RotationStage {
    /// The customer publishes the new key. The old key signs.
    Publishing,
    /// The customer's file names the new key. Both keys are published.
    Overlap {
        /// The time since when the new key is seen to sign, in milliseconds since 1970. While `seen_new` is false, it is the time
        /// when the customer's file was changed or the old key was last seen to sign.
        since: u64,
        /// True if the running relay was seen to sign with the new key.
        #[serde(default)]
        seen_new: bool,
    },
    /// All mail signed with the old key has arrived. The customer revokes the old key.
    Revoking,
}

/// The result of one run of the command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum RotationStep {
    /// The customer must publish the new key.
    Publish {
        /// The hosts, one for each domain.
        hosts: Vec<String>,
        /// The value, the same at every host.
        value: String,
    },
    /// DNS does not show the new key at every domain yet.
    Waiting {
        /// The hosts where it is missing.
        hosts: Vec<String>,
    },
    /// The new key is in webCRM's zone, and DNS must show it.
    InZone {
        /// The selector of the new key.
        selector: String,
    },
    /// A person must put these lines into webCRM's zone.
    PublishZone {
        /// The lines of the zone file.
        lines: Vec<String>,
    },
    /// Caches may still have the record that was there before the new key.
    Settling {
        /// When no cache has it any more, in RFC 3339 form.
        until: String,
    },
    /// DNS did not answer.
    Unanswered {
        /// The error of the DNS query.
        #[serde(serialize_with = "as_text")]
        reason: resolver::Error,
    },
    /// The customer's file was changed to the new key.
    Switched {
        /// The selector of the new key.
        selector: String,
        /// The path of the customer's file.
        file: String,
        /// True if the running relay signs with the new key already.
        taken: bool,
    },
    /// The running relay still signs with the old key, because it was not reloaded.
    StillSigning {
        /// The selector of the old key.
        selector: String,
    },
    /// No relay is running, or it signs with neither key.
    NotSeen {
        /// The selector with which the relay must be seen to sign.
        selector: String,
    },
    /// Both keys must stay published for some time.
    Overlap {
        /// The end of the overlap, in RFC 3339 form.
        until: String,
    },
    /// The queue still has mail signed with the old key.
    StillQueued { customer: String },
    /// No relay is running, so nobody knows whether the queue has mail signed with the old key.
    QueueNotSeen,
    /// The customer must revoke the old key.
    Revoke {
        /// The hosts, one for each domain.
        hosts: Vec<String>,
    },
    /// The rotation has ended.
    Done {
        /// The selector that signs now.
        selector: String,
        /// The file of the old key, which can be deleted. `None` if another customer or place still signs with that key.
        old_file: Option<String>,
    },
}

fn as_text<S: serde::Serializer>(shown: &impl std::fmt::Display, out: S) -> Result<S::Ok, S::Error> {
    out.collect_str(shown)
}

/// The next step of a rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Wait until DNS shows the new key at every domain.
    Wait,
    /// Wait until this time, because caches may still have the record that was there before the new key.
    Settle(Timestamp),
    /// Ask DNS again later, because it did not answer.
    AskAgain(resolver::Error),
    /// Change the customer's file to the new key.
    Switch,
    /// Keep both keys published until the relay is seen to sign with the new key.
    See,
    /// Keep both keys published until this time.
    Keep(Timestamp),
    /// Revoke the old key.
    Revoke,
    /// End the rotation and remove its file.
    Finish,
}

/// Decides the next step. `signs_already` is true if the customer's file already names the new selector, which is also possible after a
/// crash between that change and the change of the rotation's own file. `settle` is how long DNS must have shown the new key.
pub fn advance(
    rotation: &Rotation,
    view: &View,
    signs_already: bool,
    now: Timestamp,
    overlap: Duration,
    settle: Duration,
) -> Next {
    let overlap = if rotation.leaked { Duration::ZERO } else { overlap };
    let until = match rotation.stage {
        RotationStage::Publishing if signs_already => return Next::Switch,
        RotationStage::Publishing => {
            return match (&view.unanswered, view.new_missing.is_empty()) {
                (Some(reason), _) => Next::AskAgain(reason.clone()),
                (None, false) => Next::Wait,
                (None, true) => {
                    let visible = rotation.visible.map_or(now, |at| Timestamp::from_millis(at).believed(now, now));
                    if visible + settle <= now { Next::Switch } else { Next::Settle(visible + settle) }
                }
            };
        }
        RotationStage::Overlap { seen_new: false, .. } => return Next::See,
        RotationStage::Overlap { since, seen_new: true } => Timestamp::from_millis(since) + overlap,
        RotationStage::Revoking => now,
    };
    match &view.unanswered {
        // The key that signs now must be published all the time.
        None if !view.new_missing.is_empty() => Next::Wait,
        _ if now < until => Next::Keep(until),
        Some(reason) => Next::AskAgain(reason.clone()),
        None if !view.old_present.is_empty() => Next::Revoke,
        None => Next::Finish,
    }
}

/// The key with which the running relay signs a customer's mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InUse {
    /// The old key at one domain at least, because the relay was not reloaded.
    Old,
    /// The new key at every domain.
    New,
    /// Unknown, because no relay is running or it signs with neither key.
    Unseen,
}

impl InUse {
    /// Finds the key in use from the selectors that sign, given as one list for each domain.
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
    pub fn new(place: KeyPlace, old: Key, new: Key) -> Self {
        Rotation { version: VERSION, place, old, new, stage: RotationStage::Publishing, visible: None, leaked: false }
    }

    /// Records whether DNS shows the new key everywhere. Returns true if that changes the rotation.
    pub fn looked(&mut self, view: &View, now: Timestamp) -> bool {
        let before = self.visible;
        self.visible = match (&view.unanswered, view.new_missing.is_empty()) {
            (Some(_), _) => before,
            (None, false) => None,
            (None, true) => before.or(Some(now.as_millis())),
        };
        self.visible != before
    }

    /// Records that the customer's file names the new key.
    pub fn switched(&mut self, now: Timestamp) {
        self.stage = RotationStage::Overlap { since: now.as_millis(), seen_new: false };
    }

    /// Records the key with which the running relay was seen to sign, after the customer's file names the new key. Returns true if that
    /// changes the stage.
    pub fn seen(&mut self, in_use: InUse, now: Timestamp) -> bool {
        let since = now.as_millis();
        match (in_use, self.stage) {
            // The old key still signs, so the overlap has not begun, or must begin again.
            (InUse::Old, _) => self.switched(now),
            (InUse::New, RotationStage::Overlap { seen_new: false, .. }) => {
                self.stage = RotationStage::Overlap { since, seen_new: true }
            }
            // If the clock was ahead then, the overlap begins now.
            (InUse::New, RotationStage::Overlap { since: before, seen_new: true }) => {
                let before = Timestamp::from_millis(before);
                let since = before.believed(now, now);
                self.stage = RotationStage::Overlap { since: since.as_millis(), seen_new: true };
                return since != before;
            }
            _ => return false,
        }
        true
    }
}

/// Returns the selector that follows this one. Its number is one more than the highest among this selector and all `taken` ones with
/// the same stem. Without a number it gets `2`. Lower free numbers are not used, because they may have been published and revoked.
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

    pub(super) fn rotation(stage: RotationStage) -> Rotation {
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
        let publishing = rotation(RotationStage::Publishing);
        let next = |view: &View, already| advance(&publishing, view, already, now, OVERLAP, Duration::ZERO);
        let missing = View { new_missing: vec!["x".into()], ..View::default() };
        assert_eq!(next(&missing, false), Next::Wait);
        let dead = View { unanswered: Some(silent()), ..View::default() };
        assert_eq!(next(&dead, false), Next::AskAgain(silent()));
        assert_eq!(next(&View::default(), false), Next::Switch);
        assert_eq!(next(&missing, true), Next::Switch, "the file was changed already: say so and go on");
    }

    #[test]
    fn a_delegated_key_signs_once_no_cache_has_what_was_there_before() {
        let at = Timestamp::from_millis;
        let settle = Duration::from_secs(300);
        let next = |it: &Rotation, now| advance(it, &View::default(), false, at(now), OVERLAP, settle);
        let mut it = rotation(RotationStage::Publishing);
        assert_eq!(next(&it, 1000), Next::Settle(at(301_000)));
        assert!(it.looked(&View::default(), at(1000)) && !it.looked(&View::default(), at(2000)));
        assert_eq!(next(&it, 300_999), Next::Settle(at(301_000)));
        assert_eq!(next(&it, 301_000), Next::Switch);
        assert!(
            !it.looked(&View { unanswered: Some(silent()), ..View::default() }, at(3000)),
            "silence takes nothing away"
        );
        let gone = View { new_missing: vec!["x".into()], ..View::default() };
        assert!(it.looked(&gone, at(4000)) && it.visible.is_none(), "it begins anew");
    }

    #[test]
    fn a_leaked_key_is_revoked_as_soon_as_the_new_one_signs() {
        let mut it = rotation(RotationStage::Overlap { since: 1000, seen_new: true });
        it.leaked = true;
        let view = View { old_present: vec!["x".into()], ..View::default() };
        let next = |it: &Rotation| advance(it, &view, true, Timestamp::from_millis(1000), OVERLAP, Duration::ZERO);
        assert_eq!(next(&it), Next::Revoke);
        it.stage = RotationStage::Overlap { since: 1000, seen_new: false };
        assert_eq!(next(&it), Next::See, "not before");
    }

    #[test]
    fn the_old_key_stays_for_the_overlap_and_is_revoked_then() {
        let overlap = rotation(RotationStage::Overlap { since: 1000, seen_new: true });
        let next = |view: &View, secs: u64| {
            advance(&overlap, view, true, Timestamp::from_millis(secs * 1000), OVERLAP, Duration::ZERO)
        };
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
        let mut rotation = rotation(RotationStage::Publishing);
        let next = |rotation: &Rotation, secs| advance(rotation, &present, true, at(secs), OVERLAP, Duration::ZERO);
        rotation.switched(at(1));
        assert!(!rotation.seen(InUse::Unseen, at(1000)));
        assert_eq!(next(&rotation, 1000), Next::See, "time alone shows nothing");
        assert!(rotation.seen(InUse::Old, at(1001)));
        assert_eq!(next(&rotation, 5000), Next::See);
        assert!(rotation.seen(InUse::New, at(6000)));
        assert!(!rotation.seen(InUse::New, at(6050)) && !rotation.seen(InUse::Unseen, at(6060)), "seen once is seen");
        assert_eq!(next(&rotation, 6099), Next::Keep(at(6100)));
        assert_eq!(next(&rotation, 6100), Next::Revoke);
        rotation.stage = RotationStage::Revoking;
        assert!(!rotation.seen(InUse::New, at(6101)));
        assert_eq!(next(&rotation, 6101), Next::Revoke);
        assert_eq!(advance(&rotation, &View::default(), true, at(6101), OVERLAP, Duration::ZERO), Next::Finish);
        assert!(rotation.seen(InUse::Old, at(6102)), "somebody went back to the old key");
        assert_eq!(next(&rotation, 9000), Next::See);
    }

    #[test]
    fn the_new_key_is_in_use_when_every_domain_has_it() {
        let Rotation { old, new, .. } = rotation(RotationStage::Publishing);
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
        let overlap = rotation(RotationStage::Overlap { since: 1000, seen_new: true });
        let view = View { new_missing: vec!["x".into()], old_present: vec!["y".into()], unanswered: None };
        for now in [2000, 101_000] {
            assert_eq!(
                advance(&overlap, &view, true, Timestamp::from_millis(now), OVERLAP, Duration::ZERO),
                Next::Wait,
                "at {now}"
            );
        }
    }

    #[test]
    fn an_overlap_that_begins_in_the_future_begins_anew() {
        let mut rotation = rotation(RotationStage::Overlap { since: 1_000_000_000, seen_new: true });
        assert!(!rotation.seen(InUse::Unseen, Timestamp::from_millis(1000)));
        assert!(rotation.seen(InUse::New, Timestamp::from_millis(1000)));
        assert_eq!(rotation.stage, RotationStage::Overlap { since: 1000, seen_new: true });
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
