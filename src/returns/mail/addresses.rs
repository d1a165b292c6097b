//! The only addresses for which the listener accepts mail: return paths that this relay made, the addresses for complaints, and those for
//! DMARC reports.

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
    /// The current minute, and the number of messages in it.
    minute: Mutex<(u64, u32)>,
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

    /// Counts a message before it is accepted. Returns false if the limit for this minute is reached.
    pub fn admits_message(&self, now: Timestamp) -> bool {
        let mut minute = self.minute.lock().unwrap_or_else(PoisonError::into_inner);
        let this = now.as_millis() / 60_000;
        if minute.0 != this {
            *minute = (this, 0);
        }
        minute.1 += 1;
        minute.1 <= self.settings.messages_per_minute
    }

    /// Returns true if the next message would exceed the limit.
    fn is_full(&self, now: Timestamp) -> bool {
        let minute = self.minute.lock().unwrap_or_else(PoisonError::into_inner);
        minute.0 == now.as_millis() / 60_000 && minute.1 >= self.settings.messages_per_minute
    }

    fn refusal(&self, address: &Mailbox, now: Timestamp) -> Option<(&'static str, Reply)> {
        let refuse = |what, code, enhanced, text: &str| Some((what, Reply::new(code, enhanced, text)));
        match self.purpose(address) {
            Some(For::Returned(Returned { queue_id, .. })) if queue_id.arrived() + self.settings.keep < now => {
                refuse("expired", 550, EnhancedCode(5, 1, 6), "this return path has expired; the mail is forgotten")
            }
            Some(_) if self.is_full(now) => {
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
            messages_per_minute: 2,
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
        assert!(addresses.admits_message(now) && addresses.admits_message(now) && !addresses.admits_message(now));
        assert_eq!(code("fbl@returns.test"), 451);
        let later = now + Duration::from_secs(60);
        assert!(addresses.admits_message(later));
    }
}
