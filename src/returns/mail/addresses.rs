//! The only addresses for which the listener accepts mail: return paths that this relay made, the addresses for complaints, and those for
//! DMARC reports. Everybody knows the latter, so mail to them alone gets only a part of what the listener accepts: a stranger who floods
//! them keeps no bounce out.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::Settings;
use super::counters::Counters;
use crate::message::{ReturnPaths, Returned};
use crate::smtp::{EnhancedCode, Mailbox, Reply, ReversePath};
use crate::submission::policy::Identity;
use crate::submission::session::EnvelopePolicy;
use crate::time::Timestamp;

/// The purpose of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    /// Mail about a recipient of a message.
    Returned(Returned),
    Complaints,
    Dmarc,
}

pub(super) struct Addresses {
    settings: Arc<Settings>,
    paths: Arc<ReturnPaths>,
    counters: Counters,
    minute: Mutex<Minute>,
}

/// The messages of the current minute.
#[derive(Default)]
struct Minute {
    /// The minute's number since 1970.
    number: u64,
    messages: u32,
    /// Those of them that were only for addresses which everybody knows.
    public: u32,
}

/// The part of a limit for mail to addresses that everybody knows.
pub(super) fn public_part(most: u64) -> u64 {
    (most - most / 4).max(1)
}

impl Addresses {
    pub fn new(settings: Arc<Settings>, paths: Arc<ReturnPaths>, counters: Counters) -> Self {
        Addresses { settings, paths, counters, minute: Mutex::default() }
    }

    /// Returns the purpose of an address, or `None` if it is not one of ours.
    pub fn purpose(&self, address: &Mailbox) -> Option<For> {
        let is =
            |other: &Mailbox| other.host() == address.host() && other.local().eq_ignore_ascii_case(address.local());
        if let Some(returned) = self.paths.read(address) {
            return Some(For::Returned(returned));
        }
        if self.settings.complaints.iter().any(is) {
            return Some(For::Complaints);
        }
        self.settings.dmarc.iter().any(is).then_some(For::Dmarc)
    }

    /// Returns true if this client's complaints are believed without a return path of ours in them.
    pub fn believes(&self, client: IpAddr) -> bool {
        self.settings.believes(client)
    }

    /// Returns true if a message to these recipients names no return path of ours.
    pub fn is_public(&self, recipients: &[Mailbox]) -> bool {
        !recipients.iter().any(|to| matches!(self.purpose(to), Some(For::Returned(_))))
    }

    /// Counts a message before it is accepted. Returns false if a limit for this minute is reached.
    pub fn admits_message(&self, is_public: bool, now: Timestamp) -> bool {
        let mut minute = self.minute.lock().unwrap_or_else(PoisonError::into_inner);
        let number = now.as_millis() / 60_000;
        if minute.number != number {
            *minute = Minute { number, ..Minute::default() };
        }
        if self.is_reached(&minute, is_public) {
            return false;
        }
        minute.messages += 1;
        minute.public += u32::from(is_public);
        true
    }

    fn is_reached(&self, minute: &Minute, is_public: bool) -> bool {
        let most = self.settings.messages_per_minute;
        minute.messages >= most || (is_public && u64::from(minute.public) >= public_part(most.into()))
    }

    /// Returns true if the next message would exceed a limit.
    fn is_full(&self, is_public: bool, now: Timestamp) -> bool {
        let minute = self.minute.lock().unwrap_or_else(PoisonError::into_inner);
        minute.number == now.as_millis() / 60_000 && self.is_reached(&minute, is_public)
    }

    fn refusal(&self, address: &Mailbox, now: Timestamp) -> Option<(&'static str, Reply)> {
        let refuse = |what, code, enhanced, text: &str| Some((what, Reply::new(code, enhanced, text)));
        match self.purpose(address) {
            Some(For::Returned(Returned { queue_id, .. })) if queue_id.arrived() + self.settings.keep < now => {
                refuse("expired", 550, EnhancedCode(5, 1, 6), "this return path has expired; the mail is forgotten")
            }
            Some(purpose) if self.is_full(!matches!(purpose, For::Returned(_)), now) => {
                refuse("messages_per_minute", 451, EnhancedCode(4, 7, 1), "too much mail; try again later")
            }
            Some(_) => None,
            None if self.is_ours(address) => {
                let text = "no such address; this server takes mail that returns to a return path of its own";
                refuse("unknown_address", 550, EnhancedCode(5, 1, 1), text)
            }
            None => refuse("relay", 550, EnhancedCode(5, 7, 1), "this server relays no mail"),
        }
    }

    fn is_ours(&self, address: &Mailbox) -> bool {
        let domain = address.domain();
        let named = self.settings.complaints.iter().chain(&self.settings.dmarc).filter_map(Mailbox::domain);
        named.chain([self.paths.domain()]).any(|ours| Some(ours) == domain)
    }
}

impl EnvelopePolicy for Addresses {
    fn accepts_up_to(&self, _: &ReversePath) -> u64 {
        u64::MAX
    }

    fn refusal_of(&self, _: &Identity, _: &ReversePath, recipient: &Mailbox) -> Option<Reply> {
        let (what, reply) = self.refusal(recipient, Timestamp::now())?;
        self.counters.refuse(what);
        Some(reply)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use zeroize::Zeroizing;

    use super::*;
    use crate::message::QueueId;
    use crate::returns::mail::Forward;
    use crate::smtp::Domain;
    use crate::submission::{ListenerAuth, ListenerSettings, ListenerTls};

    pub fn settings() -> Settings {
        let mailbox = |text: &str| Mailbox::parse(text).unwrap();
        Settings {
            domain: Domain::parse("returns.test").unwrap(),
            listener: ListenerSettings {
                address: "127.0.0.1:0".parse().unwrap(),
                tls: ListenerTls::Off,
                auth: ListenerAuth::Off,
                allow_plaintext_auth: false,
                allow_from: Vec::new(),
            },
            complaints: vec![mailbox("fbl@returns.test")],
            complaints_from: Vec::new(),
            dmarc: vec![mailbox("dmarc@reports.test")],
            forward: Forward::Nothing,
            limits: Settings::default_limits(),
            messages_per_minute: 4,
            inbox_size: 1 << 20,
            keep: Duration::from_secs(30 * 86_400),
        }
    }

    #[test]
    fn mail_is_taken_for_these_addresses_and_nothing_else() {
        let settings = Arc::new(settings());
        let paths = Arc::new(ReturnPaths::new(settings.domain.clone(), &[Zeroizing::new([1; 32])]));
        let counters = Counters::default();
        let addresses = Addresses::new(settings, Arc::clone(&paths), counters.clone());
        let now = Timestamp::now();
        let path = |age: u64| {
            let queue_id = QueueId::first_at(now - Duration::from_secs(age * 86_400));
            paths.address(Returned { queue_id, index: 0 }).to_string()
        };
        let code = |address: &str| {
            addresses.refusal(&Mailbox::parse(address).unwrap(), now).map_or(250, |(_, reply)| reply.code)
        };
        for (address, expected) in [
            (path(0).as_str(), 250),
            (&path(29), 250),
            (&path(31), 550),
            (&path(0).to_uppercase(), 250),
            (&path(0).replace("r-", "q-"), 550),
            ("FBL@returns.test", 250),
            ("dmarc@reports.test", 250),
            ("fbl@reports.test", 550),
            ("dmarc@returns.test", 550),
            ("postmaster@returns.test", 550),
            ("a@gmail.example", 550),
            ("\"fbl@returns.test\"@gmail.example", 550),
            ("fbl%returns.test@other.example", 550),
            ("fbl@[127.0.0.1]", 550),
        ] {
            assert_eq!(code(address), expected, "{address}");
        }
        let admitted = |is_public, now| addresses.admits_message(is_public, now);
        assert!((0..3).all(|_| admitted(true, now)) && !admitted(true, now), "strangers get a part");
        assert_eq!((code("fbl@returns.test"), code("dmarc@reports.test"), code(&path(0))), (451, 451, 250));
        assert!(admitted(false, now) && !admitted(false, now));
        assert_eq!(code(&path(0)), 451);
        let later = now + Duration::from_secs(60);
        assert!(admitted(true, later) && admitted(false, later));
        let [public, own] = ["fbl@returns.test", path(0).as_str()].map(|text| Mailbox::parse(text).unwrap());
        assert!(addresses.is_public(std::slice::from_ref(&public)) && !addresses.is_public(&[public, own]));
    }
}
