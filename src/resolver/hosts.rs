//! The hosts file, hosts(5): names to which the operator of this machine has given addresses.
//!
//! It is used for connections (to a smarthost), never for checks of what everybody sees of a domain. It is read again at each
//! lookup, so a change takes effect at the next connection. A file that is missing or cannot be read counts as empty, as it
//! does for other programs.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::files;

/// A hosts file on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostsFile {
    path: PathBuf,
}

impl Default for HostsFile {
    /// Returns the system's own file, `/etc/hosts`.
    fn default() -> Self {
        HostsFile::new("/etc/hosts")
    }
}

impl HostsFile {
    /// Uses the file at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        HostsFile { path: path.into() }
    }

    /// Returns the addresses of a name in the order of the file; none if the file does not have the name.
    pub async fn addresses(&self, name: &str) -> Vec<IpAddr> {
        let path = self.path.clone();
        let text = tokio::task::spawn_blocking(move || files::read(&path)).await;
        let text = text.ok().and_then(Result::ok).unwrap_or_default();
        addresses_in(&String::from_utf8_lossy(&text), name)
    }
}

fn addresses_in(text: &str, name: &str) -> Vec<IpAddr> {
    let bare = |name: &str| name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let wanted = bare(name);
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
        let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
        if let Some(address) = address
            && words.any(|alias| bare(alias) == wanted)
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "127.0.0.1\tlocalhost\n\
        # 192.0.2.9 mail.kunde.test\n\
        192.0.2.1  Mail.Kunde.test mail # the old one\n\
        nonsense mail.kunde.test\n\
        2001:db8::1 mail.kunde.test.\n\
        192.0.2.1 mail.kunde.test\n\
        192.0.2.3\n";

    #[test]
    fn names_and_aliases_are_found_without_regard_to_case() {
        let both: Vec<IpAddr> = vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        assert_eq!(addresses_in(FILE, "MAIL.kunde.test"), both);
        assert_eq!(addresses_in(FILE, "mail.kunde.test."), both);
        assert_eq!(addresses_in(FILE, "mail"), both[..1]);
        for absent in ["kunde.test", "192.0.2.1", "old", ""] {
            assert_eq!(addresses_in(FILE, absent), Vec::<IpAddr>::new(), "{absent:?}");
        }
    }

    #[tokio::test]
    async fn a_missing_file_knows_no_names() {
        assert!(HostsFile::new("/nowhere/hosts").addresses("localhost").await.is_empty());
    }
}
