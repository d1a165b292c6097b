//! Names that are aliases (CNAME). An alias cannot have other records (RFC 1034 §3.6.2), so no record can be published there.

use crate::resolver::{Error, Resolver};

/// The origin and the target of an alias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alias {
    /// The name itself has the alias, which must be removed before another record can be published.
    Own(String),
    /// A wildcard (`*`) gives the alias to every name that does not exist. A record at the name replaces it (RFC 4592 §2.2.1).
    Wildcard(String),
}

/// Looks up the alias of a name. Returns `None` if the name is not an alias.
pub async fn of(resolver: &dyn Resolver, host: &str) -> Result<Option<Alias>, Error> {
    let Some(target) = resolver.cname(host).await? else { return Ok(None) };
    let wildcard = match sibling(host) {
        Some(sibling) => match resolver.cname(&sibling).await {
            Err(Error::Name(_)) => None,
            answer => answer?,
        },
        None => None,
    };
    Ok(Some(match wildcard.as_ref() == Some(&target) {
        true => Alias::Wildcard(target),
        false => Alias::Own(target),
    }))
}

/// Returns true if a wildcard answers for the name as it would for any other, with TXT or MX records. A name with a record of its own
/// has no wildcard (RFC 4592 §2.2.1).
pub async fn is_wildcards(resolver: &dyn Resolver, name: &str) -> Result<bool, Error> {
    // A customer cannot change a wildcard of a top-level domain.
    let Some(sibling) = sibling(name).filter(|sibling| sibling.matches('.').count() > 1) else { return Ok(false) };
    let (ours, others) = (resolver.txt(name).await?, resolver.txt(&sibling).await);
    let same_txt = match others {
        Err(Error::Name(_)) => return Ok(false),
        others => same(ours, others?),
    };
    match same_txt {
        Some(same) => Ok(same),
        None => Ok(same(resolver.mx(name).await?, resolver.mx(&sibling).await?).unwrap_or(false)),
    }
}

/// Returns true if two answers hold the same records in any order; `None` if neither has any.
fn same<T: Ord>(mut ours: Vec<T>, mut others: Vec<T>) -> Option<bool> {
    ours.sort();
    others.sort();
    (!ours.is_empty() || !others.is_empty()).then(|| ours == others)
}

/// Returns a random name beside `host` that cannot exist: if it has an answer, the answer comes from a wildcard.
pub fn sibling(host: &str) -> Option<String> {
    host.split_once('.').map(|(_, above)| format!("{:016x}.{above}", rand::random::<u64>()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolver::FixedZone;

    #[tokio::test]
    async fn a_wildcards_alias_is_told_from_a_names_own() {
        let zone = "nyhed.own.dk CNAME web.host.dk\n*.wild.dk CNAME web.host.dk\nother.wild.dk CNAME else.host.dk\n\
                    www.host.dk A 192.0.2.1\n*.addresses.dk A 192.0.2.1\ndead.dk FAIL";
        let zone = FixedZone::parse(zone).unwrap();
        let own = |target: &str| Some(Alias::Own(target.to_owned()));
        for (host, expected) in [
            ("nyhed.own.dk", own("web.host.dk")),
            ("nyhed.wild.dk", Some(Alias::Wildcard("web.host.dk".to_owned()))),
            ("other.wild.dk", own("else.host.dk")),
            ("www.host.dk", None),
            ("nyhed.addresses.dk", None),
            ("absent.dk", None),
        ] {
            assert_eq!(of(&zone, host).await.unwrap(), expected, "{host}");
        }
        assert!(of(&zone, "x.dead.dk").await.is_err());
    }
}
