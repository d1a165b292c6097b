//! Names that are aliases (CNAME). Nothing else can stand beside an alias (RFC 1034 §3.6.2), so no record can be published there.

use crate::resolver::{Error, Resolver};

/// Where a name's alias comes from, and where it leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alias {
    /// The name itself has it: other records need it gone.
    Own(String),
    /// The zone has one for every name that is not there (`*`). A record at the name takes its place (RFC 4592 §2.2.1).
    Wildcard(String),
}

/// Asks whether a name is an alias.
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

/// A name beside `host` that nobody can have made: what it answers, a wildcard answers.
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
