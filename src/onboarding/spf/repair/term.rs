//! Corrects one term to valid SPF.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{Ipv4Net, Ipv4Subnets};

use super::{Meant, is_sound};
use crate::digits::digits;
use crate::onboarding::spf::macros::MacroString;

/// Names that are followed by `:` and an argument.
const MECHANISMS: [&str; 7] = ["include", "exists", "ip4", "ip6", "ptr", "mx", "a"];

/// Returns true if a term is legal and without effect, but was clearly meant to have one. A mechanism with `=` in place of `:` is an
/// unknown modifier (RFC 7208 §6), and so are a second version and `redirct=`.
pub fn is_without_effect(term: &str) -> bool {
    let Some((name, _)) = term.split_once('=') else { return false };
    let name = name.to_ascii_lowercase();
    let is_misspelt = || ["include", "redirect", "exists"].iter().any(|known| strsim::osa_distance(&name, known) == 1);
    MECHANISMS.contains(&name.as_str())
        || matches!(name.as_str(), "v" | "all" | "ip" | "ipv4" | "ipv6")
        || ((5..=9).contains(&name.len()) && is_misspelt())
}

/// Returns the meaning of one piece of a record.
pub fn one(piece: &str) -> Meant {
    let unread = || Meant::Unread(piece.to_owned());
    if is_sound(piece) && !is_without_effect(piece) && has_plain_argument(piece) {
        return Meant::Term(piece.to_owned());
    }
    let bare = piece.trim_matches(['(', ')', '[', ']', '<', '>', '*', '!', '&']);
    if bare.is_empty() {
        return Meant::Nothing;
    }
    let end = bare.find(|c| !matches!(c, '+' | '-' | '~' | '?')).unwrap_or(bare.len());
    let (qualifiers, body) = bare.split_at(end);
    // A plus is what a term without a qualifier has anyway.
    if body.is_empty() && qualifiers.chars().all(|c| c == '+') {
        return Meant::Nothing;
    }
    let small = body.to_ascii_lowercase();
    if let Some(version) = small.strip_prefix("v=spf") {
        let rest = version.trim_start_matches(|c: char| c.is_ascii_digit());
        return if rest.is_empty() { Meant::Nothing } else { one(&body[body.len() - rest.len()..]) };
    }
    let (qualifiers, meant) = match all(qualifiers, &small) {
        Some(qualifiers) => (qualifiers, Some("all".to_owned())),
        None => (qualifiers, named(body)),
    };
    // An explanation is no sender, and says nothing that receivers need.
    let is_explanation = small.starts_with("exp=") || small.starts_with("exp:");
    let Some(meant) = meant.or_else(|| network(body)) else {
        return if is_explanation { Meant::Nothing } else { unread() };
    };
    let is_modifier = meant.contains('=') && !meant.contains(':');
    let term = if is_modifier { meant } else { format!("{}{meant}", qualifier(qualifiers)) };
    match is_sound(&term) {
        true => Meant::Term(term),
        // An unknown modifier that some parsers reject never had a meaning.
        false if is_other_modifier(body) => Meant::Nothing,
        false => unread(),
    }
}

/// Returns the qualifiers of an `all`, if the term was meant to be one: with a sign after it, with the qualifier after it, or with one slip
/// where the qualifier shows that no name was meant.
fn all<'t>(qualifiers: &'t str, small: &'t str) -> Option<&'t str> {
    let name = small.trim_end_matches(['.', ':', '/', '=', ',', '+', '-', '~', '?']);
    let after = &small[name.len()..];
    let is_after = qualifiers.is_empty() && !after.is_empty() && after.chars().all(|c| "+-~?".contains(c));
    match name {
        "all" if is_after => Some(after),
        "all" => Some(qualifiers),
        // One letter is the mechanism `a`.
        _ => (!qualifiers.is_empty()
            && name.len() > 1
            && after.len() < 2
            && (strsim::osa_distance(name, "all") == 1 || matches!(name, "a11" | "a1i" | "ai1" | "aii")))
        .then_some(qualifiers),
    }
}

/// Returns one of several qualifiers (`--all`, `+-all`): the mildest with a meaning.
fn qualifier(written: &str) -> &str {
    ["?", "~", "-", "+"].into_iter().find(|one| written.contains(one)).unwrap_or_default()
}

fn is_other_modifier(body: &str) -> bool {
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
            && !matches!(name.to_ascii_lowercase().as_str(), "redirect" | "exp")
    };
    body.split_once('=').is_some_and(|(name, _)| is_name(name)) && !is_without_effect(body)
}

/// Reads a mechanism or modifier by its name.
fn named(body: &str) -> Option<String> {
    let end = body.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).unwrap_or(body.len());
    let (name, rest) = body.split_at(end);
    let name = name.to_ascii_lowercase();
    let argument = rest.trim_start_matches([':', '=']);
    let signs = rest.len() - argument.len();
    let name = match name.as_str() {
        "ip" | "ipv4" | "ip-4" | "ipv-4" => "ip4",
        "ipv6" | "ip-6" | "ipv-6" => "ip6",
        name @ ("ip4" | "ip6") => name,
        // What stands behind it tells `lp4` and `ip44` from a name.
        name if signs > 0 && ["ip4", "ip6"].iter().any(|known| strsim::osa_distance(name, known) == 1) => {
            network(argument)?;
            "ip4"
        }
        name if signs > 0 => ["include", "redirect", "exists"]
            .into_iter()
            .find(|known| strsim::osa_distance(name, known) <= 1)
            .unwrap_or(name),
        name => name,
    };
    let argument = argument.trim_matches(['<', '>', '(', ')', '[', ']']);
    // `mx:mx:a.dk`
    let again = |argument: &str| argument.get(..name.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(name));
    let argument = match name {
        "a" | "mx" | "ptr" if again(argument) && argument[name.len()..].starts_with([':', '=']) => {
            &argument[name.len() + 1..]
        }
        _ => argument,
    };
    // `ip:4:192.0.2.1`
    let argument = match name {
        "ip4" | "ip6" => argument.strip_prefix("4:").or_else(|| argument.strip_prefix("6:")).unwrap_or(argument),
        _ => argument,
    };
    match name {
        "include" => network(argument).or_else(|| Some(format!("include:{}", host(argument)?))),
        "redirect" | "exp" => Some(format!("{name}={}", host(argument)?)),
        "exists" => network(argument).or_else(|| Some(format!("exists:{}", host(argument)?))),
        // An IPv6 address may begin with two colons.
        "ip4" | "ip6" => network(rest.get(1..).unwrap_or_default())
            .or_else(|| network(argument.trim_start_matches(['.', '-', '/'])))
            .or_else(|| of_name(argument)),
        "a" | "mx" | "ptr" if argument.is_empty() => Some(name.to_owned()),
        "a" | "mx" | "ptr" => network(argument).or_else(|| target(name, argument, signs > 0)),
        _ => None,
    }
}

/// A name where an address belongs. `192.0.2.x` is neither.
fn of_name(argument: &str) -> Option<String> {
    let is_number = |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_digit());
    let is_half_an_address = argument.split('.').filter(|label| is_number(label)).count() > 1;
    if is_half_an_address { None } else { Some(format!("a:{}", host(argument)?)) }
}

/// A name that continues the list of the term before it: `include:a.dk,b.dk`.
pub fn continued(before: &str, piece: &str) -> Option<String> {
    let (name, _) = before.split_once(':')?;
    let bare = name.trim_start_matches(['+', '-', '~', '?']).to_ascii_lowercase();
    let is_list = matches!(bare.as_str(), "include" | "a" | "mx") && !piece.contains('%');
    is_list.then(|| Some(format!("{name}:{}", host(piece)?)))?
}

/// Top-level domains that are told from other words.
const TOP: [&str; 18] =
    ["com", "net", "org", "info", "biz", "eu", "dk", "se", "no", "fi", "de", "nl", "be", "fr", "es", "it", "uk", "io"];

/// The last label of the name before it, where a comma stands for the dot: `include:spf.protection.outlook,com`.
pub fn completed(before: &str, piece: &str) -> Option<String> {
    let is_top = |label: &str| TOP.iter().any(|top| label.eq_ignore_ascii_case(top));
    let (name, argument) = before.split_once(':')?;
    let is_open = !is_top(argument.rsplit('.').next()?) && !argument.contains(['/', '%']) && host(argument).is_some();
    (is_open && is_top(piece)).then(|| format!("{name}:{argument}.{piece}"))
}

/// Reads `a`, `mx` or `ptr` with a name, prefix lengths or both.
fn target(name: &str, argument: &str, has_sign: bool) -> Option<String> {
    let argument = ["http://", "https://"].iter().find_map(|scheme| argument.strip_prefix(scheme)).unwrap_or(argument);
    let (host_name, lengths) = match argument.find('/') {
        Some(at) => argument.split_at(at),
        None => (argument, ""),
    };
    let lengths = lengths.trim_end_matches('/');
    match host_name {
        "" => Some(format!("{name}{lengths}")),
        _ if has_sign => Some(format!("{name}:{}{lengths}", host(host_name)?)),
        _ => None,
    }
}

/// The most networks that stand for a range. A range with more of them is rather a slip.
const MOST_NETWORKS: usize = 8;
/// The shortest prefix of a network in a range. What holds a wider one is everybody's.
const SHORTEST_IN_RANGE: u8 = 8;

/// Returns the networks that a range of IPv4 addresses consists of: `ip4:192.0.2.4-192.0.2.9`, `ip4:192.0.2.4-9`, `192.0.2.*`.
pub fn range(text: &str) -> Option<Vec<String>> {
    let bare = text.trim_start_matches('+');
    let small = bare.to_ascii_lowercase();
    let name =
        ["ip4:", "ip4=", "ipv4:", "ipv4=", "ip:"].into_iter().find(|name| small.starts_with(name)).unwrap_or_default();
    let argument = bare[name.len()..].trim_matches(['[', ']']);
    let (first, last) = match argument.split_once('-') {
        Some((first, last)) => {
            let first: Ipv4Addr = first.parse().ok()?;
            // `192.0.2.4-7` leaves out what both ends have in common. In `192.0.2.0-24` a slash may have been meant.
            // `ip4:192.0.2.4-ip4:192.0.2.9`
            let again = !name.is_empty() && last.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name));
            let last = if again { &last[name.len()..] } else { last };
            let last = match digits::<u8>(last) {
                Some(8..=32) => return None,
                Some(last) => Ipv4Addr::from_bits(first.to_bits() & !0xff | u32::from(last)),
                None => last.parse().ok()?,
            };
            (first, last)
        }
        None => of_wildcards(argument)?,
    };
    let networks: Vec<_> =
        (first <= last).then(|| Ipv4Subnets::new(first, last, 0).take(MOST_NETWORKS + 1).collect())?;
    let is_narrow = networks.iter().all(|network| network.prefix_len() >= SHORTEST_IN_RANGE);
    let term = |network: &Ipv4Net| match network.prefix_len() {
        32 => format!("ip4:{}", network.addr()),
        _ => format!("ip4:{network}"),
    };
    (is_narrow && networks.len() <= MOST_NETWORKS).then(|| networks.iter().map(term).collect())
}

/// Returns the first and the last address of `192.0.2.*`. An `x` in place of the asterisk may stand in an example.
fn of_wildcards(text: &str) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let given = text.trim_end_matches(".*");
    let is_whole = given.len() < text.len() && text.split('.').count() == 4 && !given.contains('*');
    let with = |rest: &str| text.replace('*', rest).parse().ok();
    is_whole.then(|| Some((with("0")?, with("255")?)))?
}

/// Converts an address or a network to the mechanism that names it.
fn network(text: &str) -> Option<String> {
    let text = ["http://", "https://"].iter().find_map(|scheme| text.strip_prefix(scheme)).unwrap_or(text);
    let text = text.trim_matches(['[', ']']).trim_end_matches(['.', '/']);
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address.trim_end_matches(']'), Some(length.trim_start_matches('/'))),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    // RFC 7208 §5: such an address is the IPv4 address in it, and `ip6:` never matches it.
    if let (IpAddr::V6(ip), None) = (address, length)
        && let Some(ip) = ip.to_ipv4_mapped()
    {
        return Some(format!("ip4:{ip}"));
    }
    let length = match (address, length) {
        (_, None) => String::new(),
        (IpAddr::V4(_), Some(mask)) if mask.contains('.') => format!("/{}", prefix_of(mask.parse().ok()?)?),
        (_, Some(digits)) => format!("/{}", digits.parse::<u8>().ok()?),
    };
    Some(match address {
        IpAddr::V4(ip) => format!("ip4:{ip}{length}"),
        IpAddr::V6(ip) => format!("ip6:{ip}{length}"),
    })
}

/// Returns the prefix length of a netmask.
fn prefix_of(mask: Ipv4Addr) -> Option<u32> {
    let bits = u32::from(mask);
    (bits.leading_ones() + bits.trailing_zeros() == 32 || bits == 0).then(|| bits.leading_ones())
}

/// Reads a host name, possibly an international one, or a macro string.
fn host(text: &str) -> Option<String> {
    if text.contains('%') {
        return MacroString::domain_spec(text).map(|_| text.to_owned());
    }
    let text = ["http://", "https://"].iter().find_map(|scheme| text.strip_prefix(scheme)).unwrap_or(text);
    let text = text.trim_end_matches(['/', ':']).trim_start_matches('.');
    if text.len() > 253 || text.contains("..") {
        return None;
    }
    let name = match text.is_ascii() {
        true => text.to_owned(),
        false => idna::domain_to_ascii(text).ok()?,
    };
    // No top-level domain begins with a digit: `192.0.2.1mx` is an address with a term after it.
    let top = name.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    (is_host(&name) && top.starts_with(|c: char| c.is_ascii_alphabetic())).then_some(name)
}

/// Returns true for two or more labels of letters, digits, hyphens and underscores, of which the last is not a number.
fn is_host(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    name.contains('.') && name.split('.').all(is_label) && MacroString::domain_spec(name).is_some()
}

/// Returns true if a valid term's argument is a plain name. SPF allows any printable character in a name, but a colon in it begins another
/// term.
fn has_plain_argument(term: &str) -> bool {
    let bare = term.trim_start_matches(['+', '-', '~', '?']);
    let Some((name, argument)) = bare.split_once([':', '=']) else { return true };
    match ["include", "exists", "redirect", "exp", "ptr", "mx", "a"]
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known))
    {
        true => argument.contains('%') || is_host(argument.split('/').next().unwrap_or_default()),
        false => true,
    }
}
