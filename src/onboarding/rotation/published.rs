//! What a rotation wants in DNS at each stage, and how DNS shows it.

use serde::Serialize;

use super::{Rotation, Stage};
use crate::dkim::{KeyRecord, Selector, key_host};
use crate::plain;
use crate::resolver::{self, Resolver, joined};
use crate::smtp::Domain;

/// What revokes a key (RFC 6376 §3.6.1).
pub const REVOKED: &str = "v=DKIM1; p=";

/// What a key that does not sign is doing in DNS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Will sign.
    Incoming,
    /// Has signed; mail of it is under way.
    Outgoing,
    /// Has signed; its record is to be empty.
    Revoked,
}

/// A record that a rotation wants in DNS, at every domain of the customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Why.
    pub role: Role,
    /// Where.
    pub selector: String,
    /// What.
    pub value: String,
}

/// What has to stand in DNS now besides the keys that sign, whose selectors are `signing`.
pub fn wanted(rotations: &[Rotation], signing: &[&Selector]) -> Vec<Wanted> {
    let mut all = Vec::new();
    for Rotation { old, new, stage, .. } in rotations {
        let outgoing = match stage {
            Stage::Revoking => (Role::Revoked, REVOKED),
            Stage::Publishing | Stage::Overlap { .. } => (Role::Outgoing, old.record.as_str()),
        };
        for (key, (role, value)) in [(new, (Role::Incoming, new.record.as_str())), (old, outgoing)] {
            // What signs is published for that reason alone, whatever a file was changed to by hand.
            if !signing.iter().any(|selector| selector.as_str() == key.selector) {
                all.push(Wanted { role, selector: key.selector.clone(), value: value.to_owned() });
            }
        }
    }
    all
}

/// How DNS shows a record that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Shown {
    /// As it should be.
    Right,
    /// Nothing there.
    Missing,
    /// Something else.
    Other,
}

impl Wanted {
    /// The host of the record at a domain.
    pub fn host(&self, domain: &Domain) -> String {
        key_host(&self.selector, domain)
    }

    /// Asks DNS.
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

/// No key: receivers verify nothing with it. A key that cannot be read does not count: a copy of it may be cached that can.
fn is_revoked(record: &KeyRecord) -> bool {
    record.flaws.contains(&crate::dkim::record::Flaw::Revoked)
}

async fn key_records(resolver: &dyn Resolver, host: &str) -> Result<Vec<KeyRecord>, resolver::Error> {
    let texts = resolver.txt(host).await?;
    Ok(texts.iter().map(|strings| KeyRecord::parse(&plain::text(&joined(strings)))).collect())
}

/// What DNS shows, over all domains of the customer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Hosts where the new key is missing or another one.
    pub new_missing: Vec<String>,
    /// Hosts where the old key is not revoked.
    pub old_present: Vec<String>,
    /// A question was not answered.
    pub unanswered: Option<resolver::Error>,
}

/// Asks DNS for both keys of a rotation at every domain.
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
        let rotation = rotation(Stage::Publishing);
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
        let (rotation, zone, domain) = (rotation(Stage::Publishing), FixedZone::new(), Domain::parse("a.dk").unwrap());
        zone.add_txt("postbud1._domainkey.a.dk", "v=DKIM1; k=ed25519; p=AAAA");
        let view = look(&zone, std::iter::once(&domain), &rotation).await;
        assert_eq!(view.old_present, ["postbud1._domainkey.a.dk"]);
    }

    #[test]
    fn each_stage_wants_its_records() {
        let selector = |text| Selector::parse(text).unwrap();
        let (old, new) = (selector("postbud1"), selector("postbud2"));
        let roles = |stage, signing: &[&Selector]| -> Vec<(Role, String)> {
            let all = wanted(&[rotation(stage)], signing);
            all.into_iter().map(|wanted| (wanted.role, wanted.selector)).collect()
        };
        assert_eq!(roles(Stage::Publishing, &[&old]), [(Role::Incoming, "postbud2".to_owned())]);
        // The file was changed, the state was not: a crash between the two.
        assert_eq!(roles(Stage::Publishing, &[&new]), [(Role::Outgoing, "postbud1".to_owned())]);
        for seen_new in [false, true] {
            // However long ago: the relay that runs may sign with the old one again.
            let overlap = Stage::Overlap { since: 0, seen_new };
            assert_eq!(roles(overlap, &[&new]), [(Role::Outgoing, "postbud1".to_owned())]);
        }
        assert_eq!(roles(Stage::Revoking, &[&new]), [(Role::Revoked, "postbud1".to_owned())]);
        assert_eq!(wanted(&[rotation(Stage::Revoking)], &[&new])[0].value, "v=DKIM1; p=");
        assert_eq!(
            roles(Stage::Revoking, &[&old]),
            [(Role::Incoming, "postbud2".to_owned())],
            "what signs is not revoked"
        );
    }
}
