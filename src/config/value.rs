//! Turns TOML values into checked ones: durations, sizes, names, addresses, networks, paths.
//!
//! A refusal shows the value and says what would be right.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use toml::Spanned;
use toml::de::DeValue;
use url::Url;

use crate::smtp::{Domain, Mailbox};
use crate::visible::is_unseen;

/// Why a value cannot be used, and where it stands in its file.
#[derive(Debug)]
pub(super) struct BadValue {
    pub at: Range<usize>,
    pub what: String,
}

/// Refuses a value, with what is wrong with it.
fn refuse<T>(value: &Spanned<DeValue<'_>>, what: String) -> Result<T, Vec<BadValue>> {
    Err(vec![BadValue { at: value.span(), what }])
}

/// A checked type that the configuration can hold. Relative paths are relative to `dir`. Unusable elements of a list are refused singly.
pub(super) trait FromValue: Sized {
    fn from_value(value: &Spanned<DeValue<'_>>, dir: &Path) -> Result<Self, Vec<BadValue>>;
}

/// A type that is written as text.
trait FromText: Sized {
    /// Describes the expected value if a value is not text: `a duration like "5m"`.
    const WANTED: &'static str;
    fn from_text(text: &str, dir: &Path) -> Result<Self, String>;
}

impl<T: FromText> FromValue for T {
    fn from_value(value: &Spanned<DeValue<'_>>, dir: &Path) -> Result<Self, Vec<BadValue>> {
        match value.get_ref() {
            DeValue::String(text) => T::from_text(text, dir).or_else(|what| refuse(value, what)),
            other => refuse(value, format!("is {}, but {} belongs here", shown(other), T::WANTED)),
        }
    }
}

fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        other => kind(other).to_owned(),
    }
}

/// Names the type of a value for people.
pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

impl FromText for String {
    const WANTED: &'static str = "a text in quotes";
    fn from_text(text: &str, _: &Path) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("is empty; leave the key out where nothing is meant".to_owned());
        }
        if let Some(unseen) = text.chars().find(|&c| is_unseen(c)) {
            return Err(format!("holds {}, a character that is not seen; take it out", unseen.escape_unicode()));
        }
        Ok(text.to_owned())
    }
}

impl FromText for PathBuf {
    const WANTED: &'static str = "a path in quotes";
    fn from_text(text: &str, dir: &Path) -> Result<Self, String> {
        Ok(dir.join(String::from_text(text, dir)?))
    }
}

impl FromText for Duration {
    const WANTED: &'static str = "a duration with its unit, like \"90s\", \"5m\", \"4h\" or \"5d\",";
    fn from_text(text: &str, _: &Path) -> Result<Self, String> {
        duration(text).ok_or_else(|| {
            format!("\"{text}\" is not a duration; write it with its unit, like \"90s\", \"5m\", \"4h\" or \"5d\"")
        })
    }
}

/// Reads `"90s"`, `"5m"`, `"4h"`, `"5d"`, `"250ms"`, and sums such as `"1h 30m"`. Returns `None` for anything else.
fn duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        let after = rest[digits..].trim_start();
        let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let millis = match &after[..end] {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        total = total.checked_add(Duration::from_millis(number.checked_mul(millis)?))?;
        rest = after[end..].trim_start();
    }
    // More than a hundred years is a slip, and sums of times must not overflow.
    (total <= Duration::from_secs(100 * 366 * 86_400)).then_some(total)
}

/// A number of octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub(super) struct ByteSize(pub u64);

impl std::fmt::Display for ByteSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (divisor, unit) = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")]
            .into_iter()
            .find(|(divisor, _)| self.0 >= *divisor && self.0.is_multiple_of(*divisor))
            .unwrap_or((1, "B"));
        write!(f, "{} {unit}", self.0 / divisor)
    }
}

impl FromText for ByteSize {
    const WANTED: &'static str = "a size with its unit, like \"25 MiB\",";
    fn from_text(text: &str, _: &Path) -> Result<Self, String> {
        size(text)
            .ok_or_else(|| format!("\"{text}\" is not a size; write it with its unit, like \"25 MiB\" or \"1 GiB\""))
    }
}

/// Returns the octets of a size with its unit.
pub(crate) fn octets(text: &str) -> Option<u64> {
    size(text).map(|size| size.0)
}

fn size(text: &str) -> Option<ByteSize> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let unit: u64 = match text[digits..].trim() {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return None,
    };
    number.checked_mul(unit).map(ByteSize)
}

impl FromText for Domain {
    const WANTED: &'static str = "a domain name like \"test.dk\"";
    fn from_text(text: &str, _: &Path) -> Result<Self, String> {
        let domain = Domain::parse(text).map_err(|_| format!("\"{text}\" is not a domain name like \"test.dk\""))?;
        if !domain.as_str().contains('.') {
            return Err(format!("\"{text}\" is not a full domain name like \"{text}.dk\""));
        }
        if domain.as_str().parse::<std::net::Ipv4Addr>().is_ok() {
            return Err(format!("\"{text}\" is an address, not a domain name like \"test.dk\""));
        }
        Ok(domain)
    }
}

impl FromText for Mailbox {
    const WANTED: &'static str = "a mail address like \"postmaster@test.dk\"";
    fn from_text(text: &str, _: &Path) -> Result<Self, String> {
        Mailbox::parse(text).map_err(|_| format!("\"{text}\" is not a mail address like \"postmaster@test.dk\""))
    }
}

/// A host to connect to: a name, `localhost`, or an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostName(pub String);

impl FromText for HostName {
    const WANTED: &'static str = "a host name like \"mail.test.dk\"";
    fn from_text(text: &str, _: &Path) -> Result<Self, String> {
        if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return Ok(HostName(address.to_string()));
        }
        let looks_like_an_address = text.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b':');
        match Domain::parse(text) {
            Ok(name) if !looks_like_an_address => Ok(HostName(name.as_str().to_owned())),
            // The text is not shown: it may hold a login, as a URL does, or a whole setting of a database.
            _ if text.contains(['@', '/', '=']) => {
                Err("is not a host name like \"mail.test.dk\"; it holds more than a name".to_owned())
            }
            _ if text.contains(':') => {
                Err(format!("\"{text}\" is not a host name like \"mail.test.dk\"; the port has its own key"))
            }
            _ => Err(format!("\"{text}\" is not a host name like \"mail.test.dk\", nor an address")),
        }
    }
}

/// A port that can be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Port(pub u16);

impl FromValue for Port {
    fn from_value(value: &Spanned<DeValue<'_>>, dir: &Path) -> Result<Self, Vec<BadValue>> {
        let refused = |shown: String| refuse(value, format!("{shown} is not a port (1–65535)"));
        match value.get_ref() {
            DeValue::Integer(_) => {
                let number = i64::from_value(value, dir)?;
                let port = u16::try_from(number).ok().filter(|port| *port > 0).map(Port);
                port.map_or_else(|| refused(number.to_string()), Ok)
            }
            DeValue::String(text) => refused(format!("\"{text}\"")),
            other => refused(shown(other)),
        }
    }
}

impl FromText for IpAddr {
    const WANTED: &'static str = "an IP address in quotes, like \"10.0.0.4\",";
    fn from_text(text: &str, _: &Path) -> Result<Self, String> {
        text.parse().map_err(|_| format!("\"{text}\" is not an IP address like \"10.0.0.4\" or \"2001:db8::4\""))
    }
}

/// The address to which outgoing connections are bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bind {
    /// The network gives the address (`"any"`).
    Any,
    /// Connections are bound to this address of the machine.
    To(IpAddr),
}

impl FromText for Bind {
    const WANTED: &'static str = "an IP address of this machine in quotes, like \"10.0.0.4\", or \"any\"";
    fn from_text(text: &str, dir: &Path) -> Result<Self, String> {
        match text {
            "any" => Ok(Bind::Any),
            text => IpAddr::from_text(text, dir).map(Bind::To).map_err(|what| format!("{what}, nor \"any\"")),
        }
    }
}

impl FromText for SocketAddr {
    const WANTED: &'static str = "an address with its port in quotes, like \"127.0.0.1:2525\",";
    fn from_text(text: &str, _: &Path) -> Result<Self, String> {
        text.parse().map_err(|_| {
            format!("\"{text}\" is not an address with its port, like \"127.0.0.1:2525\" or \"[::1]:2525\"")
        })
    }
}

impl FromText for IpNet {
    const WANTED: &'static str = "a network in quotes, like \"10.0.0.0/8\",";
    fn from_text(text: &str, _: &Path) -> Result<Self, String> {
        let refused = || format!("\"{text}\" is not a network like \"10.0.0.0/8\", nor an address");
        match text.parse::<IpAddr>() {
            Ok(address) => Ok(address.into()),
            Err(_) => text.parse().map_err(|_| refused()),
        }
    }
}

impl FromText for Url {
    const WANTED: &'static str = "a URL in quotes";
    fn from_text(text: &str, _: &Path) -> Result<Self, String> {
        // The text is not shown: a URL may hold a login or a token.
        Url::parse(text).map_err(|error| format!("is not a URL: {error}"))
    }
}

impl FromValue for bool {
    fn from_value(value: &Spanned<DeValue<'_>>, _: &Path) -> Result<Self, Vec<BadValue>> {
        match value.get_ref() {
            DeValue::Boolean(flag) => Ok(*flag),
            DeValue::String(text) => refuse(value, format!("\"{text}\" is a text; write true or false without quotes")),
            other => refuse(value, format!("is {}, but true or false belongs here", shown(other))),
        }
    }
}

impl FromValue for i64 {
    fn from_value(value: &Spanned<DeValue<'_>>, _: &Path) -> Result<Self, Vec<BadValue>> {
        match value.get_ref() {
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .or_else(|_| refuse(value, format!("{number} is too large a number"))),
            DeValue::String(text) if text.parse::<i64>().is_ok() => {
                refuse(value, format!("\"{text}\" is a text; write the number without quotes"))
            }
            other => refuse(value, format!("is {}, but a number belongs here", shown(other))),
        }
    }
}

macro_rules! whole_number {
    ($($type:ty),*) => {$(
        impl FromValue for $type {
            fn from_value(value: &Spanned<DeValue<'_>>, dir: &Path) -> Result<Self, Vec<BadValue>> {
                let number = i64::from_value(value, dir)?;
                let wrong = if number < 0 { "is negative" } else { "is too large a number" };
                <$type>::try_from(number).or_else(|_| refuse(value, format!("{number} {wrong}")))
            }
        }
    )*};
}
whole_number!(u32, u64, usize);

impl FromValue for f64 {
    fn from_value(value: &Spanned<DeValue<'_>>, dir: &Path) -> Result<Self, Vec<BadValue>> {
        match value.get_ref() {
            DeValue::Float(number) => {
                let parsed = number.as_str().replace('_', "").parse::<f64>().ok().filter(|number| number.is_finite());
                parsed.map_or_else(|| refuse(value, format!("{number} is not a finite number")), Ok)
            }
            // Whole numbers that are used as factors are small.
            _ => i64::from_value(value, dir).map(|number| number as f64),
        }
    }
}

/// Reads a list. Each element that cannot be used is refused at its own place.
impl<T: FromValue> FromValue for Vec<T> {
    fn from_value(value: &Spanned<DeValue<'_>>, dir: &Path) -> Result<Self, Vec<BadValue>> {
        let DeValue::Array(array) = value.get_ref() else {
            let what = format!("is {}, but a list in [square brackets] belongs here", kind(value.get_ref()));
            return refuse(value, what);
        };
        let (mut found, mut refused) = (Vec::new(), Vec::new());
        for element in array.iter() {
            match T::from_value(element, dir) {
                Ok(element) => found.push(element),
                Err(more) => refused.extend(more),
            }
        }
        if refused.is_empty() { Ok(found) } else { Err(refused) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_carry_their_unit() {
        for (text, seconds) in [("90s", 90), ("5m", 300), ("4h", 14_400), ("5d", 432_000), ("1h 30m", 5_400), ("0s", 0)]
        {
            assert_eq!(duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        for text in ["", " ", "5", "m", "5 weeks", "-5m", "5m!", "1.5h", "99999999999999999999d", "200000d", "５m"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn what_may_hold_a_login_is_not_shown_when_it_is_refused() {
        for text in ["user:hunter2@127.0.0.1:1080", "hooks/hunter2", "//u:hunter2@hooks.test.dk", "https://hunter2 x/"]
        {
            let url = Url::from_text(text, Path::new("")).map(|_| ());
            assert!(!url.is_err_and(|error| error.contains("hunter2")), "{text}");
        }
        for text in ["user:hunter2@mail.test.dk", "https://mail.test.dk/hunter2", "host=x password=hunter2"] {
            let error = HostName::from_text(text, Path::new("")).unwrap_err();
            assert!(!error.contains("hunter2") && error.contains("is not a host name"), "{error}");
        }
    }

    #[test]
    fn sizes_carry_their_unit() {
        for (text, octets) in
            [("25 MiB", 25 << 20), ("1GiB", 1 << 30), ("0 B", 0), ("64 KiB", 65_536), ("25 MB", 25_000_000)]
        {
            assert_eq!(size(text), Some(ByteSize(octets)), "{text}");
        }
        for text in ["", "25", "MiB", "25 mib", "25 MiB x", "-1 MiB", "99999999999999 TiB"] {
            assert_eq!(size(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_in_the_largest_unit_that_fits() {
        for (octets, text) in [(25 << 20, "25 MiB"), (1 << 30, "1 GiB"), (1_500, "1500 B"), (0, "0 B")] {
            assert_eq!(ByteSize(octets).to_string(), text);
        }
    }

    #[test]
    fn hosts_are_names_or_addresses_without_port() {
        let host = |text| HostName::from_text(text, Path::new("")).map(|host| host.0);
        assert_eq!(host("Mail.Test.DK").unwrap(), "mail.test.dk");
        assert_eq!(host("localhost").unwrap(), "localhost");
        assert_eq!(host("10.0.0.4").unwrap(), "10.0.0.4");
        assert_eq!(host("[2001:db8::1]").unwrap(), "2001:db8::1");
        for text in ["", "mail.test.dk:587", "111.222.333.444", "a b", "smtp://mail.test.dk"] {
            assert!(host(text).is_err(), "{text}");
        }
    }
}
