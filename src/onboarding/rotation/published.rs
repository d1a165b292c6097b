//! The records that a rotation needs in DNS at each stage, and their state in DNS.

use serde::Serialize;

use super::{Rotation, RotationStage};
use crate::dkim::record::Flaw;
use crate::dkim::{KeyRecord, Selector, key_host};
use crate::plain;
use crate::resolver::{self, Resolver, joined};
use crate::smtp::Domain;

/// The value of a key record that revokes the key (RFC 6376 §3.6.1).
pub const REVOKED: &str = "v=DKIM1; p=";

/// Why a key that does not sign needs a record in DNS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The key will sign.
    Incoming,
    /// The key has signed mail that may not have arrived yet.
    Outgoing,
    /// The key has signed, and its record must now be empty.
    Revoked,
}

/// A record that a rotation needs in DNS at every domain of the customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Why the record is needed.
    pub role: Role,
    /// The selector of the record.
    pub selector: String,
    /// The value of the record.
    pub value: String,
}

/// Returns the records that DNS must have now in addition to those of the signing keys, whose selectors are `signing`.
pub fn wanted(rotations: &[Rotation], signing: &[&Selector]) -> Vec<Wanted> {
    let mut all = Vec::new();
    for Rotation { old, new, stage, .. } in rotations {
        let outgoing = match stage {
            RotationStage::Revoking => (Role::Revoked, REVOKED),
            RotationStage::Publishing | RotationStage::Overlap { .. } => (Role::Outgoing, old.record.as_str()),
        };
        for (key, (role, value)) in [(new, (Role::Incoming, new.record.as_str())), (old, outgoing)] {
            // A key that signs must be published anyway, even if somebody has changed the customer's file by hand.
            if !signing.iter().any(|selector| selector.as_str() == key.selector) {
                all.push(Wanted { role, selector: key.selector.clone(), value: value.to_owned() });
            }
        }
    }
    all
}

/// The state of a needed record in DNS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Shown {
    /// The record is right.
    Right,
    /// There is no record.
    Missing,
    /// There is a different record, or more than one.
    Other,
}

impl Wanted {
    /// Returns the host of the record at a domain.
    pub fn host(&self, domain: &Domain) -> String {
        key_host(&self.selector, domain)
    }

    /// Looks the record up in DNS.
    pub async fn look(&self, resolver: &dyn Resolver, domain: &Domain) -> Result<Shown, resolver::Error> {
        let records = key_records(resolver, &self.host(domain)).await?;
        let wanted = KeyRecord::parse(&self.value);
        Ok(match (self.role, &records[..]) {
            // An empty p= and no record at all mean the same to receivers (RFC 6376 §3.6.1, §6.1.2).
            (Role::Revoked, found) if found.iter().all(is_revoked) => Shown::Right,
            (Role::Revoked, _) => Shown::Other,
            (_, []) => Shown::Missing,
            (_, [record]) if record.is_usable() && record.is_same_key(&wanted) => Shown::Right,
            _ => Shown::Other,
        })
    }
}

/// Returns true if the record has an empty `p=` and no flaw. A damaged key does not count as revoked, because an intact copy may be cached.
/// If there are two `p=`, some receivers read the key from the second one.
fn is_revoked(record: &KeyRecord) -> bool {
    let is_harmless = |flaw: &Flaw| matches!(flaw, Flaw::Revoked | Flaw::NoVersion | Flaw::Testing | Flaw::Strict);
    record.flaws.contains(&Flaw::Revoked) && record.flaws.iter().all(is_harmless)
}

async fn key_records(resolver: &dyn Resolver, host: &str) -> Result<Vec<KeyRecord>, resolver::Error> {
    let texts = resolver.txt(host).await?;
    Ok(texts.iter().map(|strings| KeyRecord::parse(&plain::text(&joined(strings)))).collect())
}

/// The state of both keys at all domains of the customer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The hosts that do not have the new key.
    pub new_missing: Vec<String>,
    /// The hosts where the old key is not revoked.
    pub old_present: Vec<String>,
    /// The error of a question that was not answered.
    pub unanswered: Option<resolver::Error>,
}

/// Looks up both keys of a rotation at every domain.
pub async fn look(resolver: &dyn Resolver, domains: impl Iterator<Item = &Domain>, rotation: &Rotation) -> View {
    let new =
        Wanted { role: Role::Incoming, selector: rotation.new.selector.clone(), value: rotation.new.record.clone() };
    let old = Wanted { role: Role::Revoked, selector: rotation.old.selector.clone(), value: REVOKED.to_owned() };
    let mut view = View::default();
    for domain in domains {
        for (wanted, not_right) in [(&new, &mut view.new_missing), (&old, &mut view.old_present)] {
            match wanted.look(resolver, domain).await {
                Ok(Shown::Right) => {}
                Ok(_) => not_right.push(wanted.host(domain)),
                Err(error) => view.unanswered = Some(error),
            }
        }
    }
    view
}

#[cfg(test)]
mod tests {
    use super::super::tests::rotation;
    use super::*;
    use crate::resolver::{FixedZone, RecordType};

    #[tokio::test]
    async fn a_view_tells_right_keys_from_wrong_and_revoked_from_present() {
        let rotation = rotation(RotationStage::Publishing);
        let domains = [Domain::parse("a.dk").unwrap(), Domain::parse("b.dk").unwrap()];
        let zone = FixedZone::new();
        zone.add_txt("postbud2._domainkey.a.dk", &rotation.new.record);
        zone.add_txt("postbud1._domainkey.a.dk", "v=DKIM1; p=");
        zone.add_txt("postbud1._domainkey.b.dk", &rotation.old.record);
        let view = look(&zone, domains.iter(), &rotation).await;
        assert_eq!(view.new_missing, ["postbud2._domainkey.b.dk"]);
        assert_eq!(view.old_present, ["postbud1._domainkey.b.dk"]);
        zone.add_txt("postbud2._domainkey.b.dk", &rotation.new.record);
        zone.remove("postbud1._domainkey.b.dk", RecordType::Txt);
        assert_eq!(look(&zone, domains.iter(), &rotation).await, View::default());
        zone.add_txt("postbud2._domainkey.b.dk", &rotation.old.record);
        assert_eq!(
            look(&zone, domains.iter(), &rotation).await.new_missing,
            ["postbud2._domainkey.b.dk"],
            "two records"
        );
        zone.fail("b.dk");
        assert!(look(&zone, domains.iter(), &rotation).await.unanswered.is_some());
    }

    #[tokio::test]
    async fn a_damaged_record_does_not_count_as_revoked() {
        let (rotation, zone, domain) =
            (rotation(RotationStage::Publishing), FixedZone::new(), Domain::parse("a.dk").unwrap());
        zone.add_txt("postbud1._domainkey.a.dk", "v=DKIM1; k=ed25519; p=AAAA");
        let view = look(&zone, std::iter::once(&domain), &rotation).await;
        assert_eq!(view.old_present, ["postbud1._domainkey.a.dk"]);
    }

    #[tokio::test]
    async fn a_key_that_not_all_receivers_can_read_does_not_sign_next() {
        let (rotation, domain) = (rotation(RotationStage::Publishing), Domain::parse("a.dk").unwrap());
        let good = &rotation.new.record;
        for (record, shown) in [
            (good.clone(), true),
            (good.replace(" p=", "\u{a0}p="), false),
            (format!("\u{feff}{good}"), false),
            (format!("postbud2._domainkey IN TXT {good}"), false),
            (good.replace("; ", ", "), false),
            (good.replace("p=", "P="), false),
            (format!("{good}; my tag=x"), false),
        ] {
            let zone = FixedZone::new();
            zone.add_txt("postbud2._domainkey.a.dk", &record);
            let view = look(&zone, std::iter::once(&domain), &rotation).await;
            assert_eq!(view.new_missing.is_empty(), shown, "{record}");
        }
    }

    #[tokio::test]
    async fn a_key_that_some_receivers_still_read_is_not_revoked() {
        let (rotation, domain) = (rotation(RotationStage::Publishing), Domain::parse("a.dk").unwrap());
        for (record, revoked) in [
            ("v=DKIM1; p=".to_owned(), true),
            ("p=".to_owned(), true),
            (format!("v=DKIM1; p=; {}", rotation.old.record.split("; ").last().unwrap()), false),
            ("v=DKIM1;\u{a0}p=".to_owned(), false),
        ] {
            let zone = FixedZone::new();
            zone.add_txt("postbud1._domainkey.a.dk", &record);
            let view = look(&zone, std::iter::once(&domain), &rotation).await;
            assert_eq!(view.old_present.is_empty(), revoked, "{record}");
        }
    }

    #[test]
    fn each_stage_wants_its_records() {
        let selector = |text| Selector::parse(text).unwrap();
        let (old, new) = (selector("postbud1"), selector("postbud2"));
        let roles = |stage, signing: &[&Selector]| -> Vec<(Role, String)> {
            let all = wanted(&[rotation(stage)], signing);
            all.into_iter().map(|wanted| (wanted.role, wanted.selector)).collect()
        };
        assert_eq!(roles(RotationStage::Publishing, &[&old]), [(Role::Incoming, "postbud2".to_owned())]);
        // A crash came between the changes of the customer's file and of the rotation's file.
        assert_eq!(roles(RotationStage::Publishing, &[&new]), [(Role::Outgoing, "postbud1".to_owned())]);
        for seen_new in [false, true] {
            // The result does not depend on the time: the running relay may sign with the old key again.
            let overlap = RotationStage::Overlap { since: 0, seen_new };
            assert_eq!(roles(overlap, &[&new]), [(Role::Outgoing, "postbud1".to_owned())]);
        }
        assert_eq!(roles(RotationStage::Revoking, &[&new]), [(Role::Revoked, "postbud1".to_owned())]);
        assert_eq!(wanted(&[rotation(RotationStage::Revoking)], &[&new])[0].value, "v=DKIM1; p=");
        assert_eq!(
            roles(RotationStage::Revoking, &[&old]),
            [(Role::Incoming, "postbud2".to_owned())],
            "what signs is not revoked"
        );
    }
}
