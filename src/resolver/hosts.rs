//! The hosts file, hosts(5): names that the operator of this machine has given addresses to.
//!
//! Asked for where connections go (a smarthost), never for what the world sees of a domain. It is read at each question, so
//! an edit counts from the next connection; a file that is missing or cannot be read knows no names, as everywhere else.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::files;

/// A hosts file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostsFile {
    path: PathBuf,
}

impl Default for HostsFile {
    /// The system's.
    fn default() -> Self {
        HostsFile::new("/etc/hosts")
    }
}

impl HostsFile {
    /// The file at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        HostsFile { path: path.into() }
    }

    /// The addresses of a name, in the file's order; none where the file does not have it.
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
