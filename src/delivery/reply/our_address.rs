//! Finds our own address in a reply, in the forms in which servers and block lists write it.

use std::net::{IpAddr, SocketAddr};

/// Returns true if `text`, in lower case, names the address `ours` in one of its forms: `40.74.40.57`, `::ffff:284a:2839`,
/// `040.074.040.057`, `40-74-40-57.isp.net`, `57.40.74.40.bl.test`, a network that holds it.
pub fn names(text: &str, ours: IpAddr) -> bool {
    let ours = ours.to_canonical();
    let text = without_padding(&text.replace("ipv6:", " "));
    let of_address = |c: char| c.is_ascii_hexdigit() || matches!(c, '.' | ':' | '/');
    let punctuation = ['.', ':', '/'];
    // A colon may belong to the address: `::1`.
    let stripped =
        |token: &'_ str| [token.trim_end_matches(punctuation).to_owned(), token.trim_matches(punctuation).to_owned()];
    text.split(|c| !of_address(c)).any(|token| stripped(token).iter().any(|token| is_address(token, ours)))
        || of_ipv4(ours).is_some_and(|forms| forms.iter().any(|form| stands_alone(&text, form)))
}

/// The text without zeros in front of numbers: `040.074.040.057` is `40.74.40.57`. The groups of an IPv6 address keep their value.
fn without_padding(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    // A number begins where neither a digit nor a letter stands before it.
    let mut begins = true;
    while let Some(c) = chars.next() {
        if !(begins && c == '0' && chars.peek().is_some_and(char::is_ascii_digit)) {
            shown.push(c);
            begins = !c.is_alphanumeric();
        }
    }
    shown
}

/// Returns true if `token` is the address, with or without a port, or a network that holds it.
fn is_address(token: &str, ours: IpAddr) -> bool {
    let (address, length) =
        token.split_once('/').map_or((token, None), |(address, length)| (address, length.parse().ok()));
    let Ok(address) = address.parse::<IpAddr>() else {
        return token.parse::<SocketAddr>().is_ok_and(|socket| socket.ip().to_canonical() == ours);
    };
    let length: u32 = length.unwrap_or(128) + if address.is_ipv4() && length.is_some() { 96 } else { 0 };
    // A network wider than /8 (IPv6: /16) does not name us.
    let narrowest = if ours.is_ipv4() { 96 + 8 } else { 16 };
    let same = (bits(address) ^ bits(ours)).leading_zeros();
    length >= narrowest && same >= length.min(128)
}

/// The address as IPv6, where IPv4 addresses are mapped.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The forms of an IPv4 address in names: with dots, with hyphens, and reversed, as block lists are queried.
fn of_ipv4(ours: IpAddr) -> Option<[String; 4]> {
    let IpAddr::V4(ip) = ours else { return None };
    let [a, b, c, d] = ip.octets();
    let reversed = format!("{d}.{c}.{b}.{a}.");
    Some([format!("{a}.{b}.{c}.{d}"), format!("{a}-{b}-{c}-{d}"), format!("{d}-{c}-{b}-{a}"), reversed])
}

/// Returns true if `form` occurs in `text` and is not part of a longer number.
fn stands_alone(text: &str, form: &str) -> bool {
    text.match_indices(form).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let mut behind = text[at + form.len()..].chars();
        let next = behind.next();
        let goes_on = match next {
            Some('.') => behind.next().is_some_and(|c| c.is_ascii_digit()),
            next => next.is_some_and(|c| c.is_ascii_digit()) && !form.ends_with('.'),
        };
        let begins_before = before.is_some_and(|c| c.is_ascii_digit() || c == '.');
        // The reversed form is followed by the list's name.
        let of_list = !form.ends_with('.') || next.is_some_and(|c| c.is_ascii_alphabetic());
        !goes_on && !begins_before && of_list
    })
}
