//! The tree walk of DMARC (RFC 9989 §4.10), which finds the names that have a record, and the organizational domain among them.

use super::record::{Record, is_dmarc, looks_like_dmarc};
use crate::plain;
use crate::resolver::{self, Resolver, joined};

/// The records at one name.
pub(super) enum At {
    /// There is no record. Holds the values that were probably meant to be one.
    Nothing(Vec<String>),
    One(String),
    Several(Vec<String>),
}

pub(super) async fn at(resolver: &dyn Resolver, name: &str) -> Result<At, resolver::Error> {
    let host = format!("_dmarc.{name}");
    let texts = match resolver.txt(&host).await {
        // A name that is too long for DNS has no record.
        Err(resolver::Error::Name(_)) => Vec::new(),
        texts => texts?,
    };
    let texts = texts.iter().map(|strings| plain::text(&joined(strings)));
    let (mut records, rest): (Vec<String>, Vec<String>) = texts.partition(|text| is_dmarc(text));
    // The order of an answer is random, and people compare what they read.
    records.sort();
    Ok(match records.len() {
        0 => At::Nothing(rest.into_iter().filter(|text| looks_like_dmarc(text)).collect()),
        1 => At::One(records.remove(0)),
        // RFC 9989 §4.10: if there are several records, none counts.
        _ => At::Several(records),
    })
}

/// Returns the names that a tree walk asks above `name`, the longest first (RFC 9989 §4.10). There are at most eight questions in all.
fn parents(name: &str) -> Vec<&str> {
    let labels: Vec<usize> =
        std::iter::once(0).chain(name.bytes().enumerate().filter(|(_, b)| *b == b'.').map(|(at, _)| at + 1)).collect();
    let first = match labels.len() {
        count if count > 8 => count - 7,
        _ => 1,
    };
    labels[first.min(labels.len())..].iter().map(|start| &name[*start..]).collect()
}

/// The result of a tree walk.
pub(super) struct Tree {
    /// Each name that has a record, with the record, the longest name first.
    pub records: Vec<(String, String)>,
    pub organization: String,
}

pub(super) async fn tree(resolver: &dyn Resolver, name: &str) -> Result<Tree, resolver::Error> {
    let mut tree = Tree { records: Vec::new(), organization: name.to_owned() };
    let mut below = name;
    for asked in std::iter::once(name).chain(parents(name)) {
        if let At::One(text) = at(resolver, asked).await? {
            let suffix = Record::parse(&text).ok().and_then(|record| record.public_suffix);
            tree.records.push((asked.to_owned(), text));
            match suffix {
                Some(false) => {
                    tree.organization = asked.to_owned();
                    return Ok(tree);
                }
                Some(true) => {
                    tree.organization = if asked == name { name.to_owned() } else { below.to_owned() };
                    return Ok(tree);
                }
                // This is the name with the fewest labels so far.
                None => tree.organization = asked.to_owned(),
            }
        }
        below = asked;
    }
    Ok(tree)
}

/// Returns the organizational domain of a name (RFC 9989 §4.10.2).
pub async fn organization(resolver: &dyn Resolver, name: &str) -> Result<String, resolver::Error> {
    Ok(tree(resolver, name).await?.organization)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolver::FixedZone;

    #[test]
    fn a_tree_walk_asks_eight_names_at_most() {
        assert_eq!(parents("a.b.dk"), ["b.dk", "dk"]);
        assert_eq!(parents("dk"), Vec::<&str>::new());
        // RFC 9989 §4.10: a.b.c.d.e.f.g.h.i.j.mail.example.com
        let deep = parents("a.b.c.d.e.f.g.h.i.j.mail.example.com");
        assert_eq!(deep.first(), Some(&"g.h.i.j.mail.example.com"));
        assert_eq!(deep.len(), 7);
    }

    #[test]
    fn psd_tags_end_the_walk() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let zone = FixedZone::parse(
            "_dmarc.dk TXT \"v=DMARC1; p=none; psd=y\"\n_dmarc.org.net TXT \"v=DMARC1; p=none; psd=n\"\n\
             _dmarc.net TXT \"v=DMARC1; p=none\"\n_dmarc.deep.com TXT \"v=DMARC1; p=none\"\n_dmarc.a.deep.com TXT \"v=DMARC1; p=none\"",
        )
        .unwrap();
        let org = |name| runtime.block_on(organization(&zone, name)).unwrap();
        assert_eq!(org("mail.test.dk"), "test.dk");
        assert_eq!(org("a.b.org.net"), "org.net");
        assert_eq!(org("x.a.deep.com"), "deep.com");
        assert_eq!(org("nothing.example"), "nothing.example");
    }
}
