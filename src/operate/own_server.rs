//! A customer's own server, as the customer enters it: it is tried first, and stored if mail could be delivered there.
//!
//! The person who enters it may be a stranger with a forwarded link. Therefore only public addresses and the usual ports are tried, and a
//! stored password is only sent to the server, port and user for which it was entered. The customer's file says so too
//! (`addresses = "public"`): the name may lead to another address tomorrow.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::actor::Need;
use super::customers::{CustomerChange, Customers, Password, Patch, RouteChange, TlsName, ViaName};
use super::site::{Site, postmaster};
use super::{Actor, Error};
use crate::customers::{Customer, Via};
use crate::delivery::ProbeReport;
use crate::message::CustomerId;
use crate::resolver::{Memo, SharedResolver, is_public};
use crate::route::{Caps, Login, LoginSecret, Route, RouteId, RouteKind, TlsMode, TlsPolicy};
use crate::smtp::Domain;

/// The ports at which mail servers accept submitted mail.
pub const PORTS: [u16; 6] = [25, 465, 587, 588, 2525, 2587];
/// The time limit of a trial, because a page waits for it.
const TRIAL_TIME: Duration = Duration::from_secs(25);

/// A server to be tried.
#[derive(Clone)]
pub struct OwnServer {
    /// The host name or address.
    pub host: String,
    pub port: u16,
    /// How the connection is protected.
    pub tls: TlsMode,
    /// The login; `None` if the server accepts our address without one.
    pub login: Option<OwnLogin>,
}

/// The login at a server to be tried.
#[derive(Clone)]
pub struct OwnLogin {
    pub username: String,
    /// The password. `None` means the stored one, if it was entered for exactly this server and user.
    pub password: Option<Password>,
}

/// Why a server was not tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTried {
    /// The host name is invalid.
    Host,
    /// The host name has no address.
    NoAddress,
    /// The address is not on the public internet.
    PrivateAddress,
    /// The port is not one of [`PORTS`].
    Port,
    /// The login would be sent without encryption.
    PlainLogin,
    /// The user name is missing.
    Username,
    /// The password must be entered again.
    Password,
}

/// The result of a trial.
pub enum Trial {
    /// It was not tried.
    Not(NotTried),
    /// It was tried. The report has the result of each step.
    Done(ProbeReport),
    /// It took too long.
    TooSlow,
}

impl Site {
    /// Tries a server as a delivery of the customer's mail would, without sending anything.
    pub async fn try_own_server(&self, actor: &Actor, customer: &str, server: &OwnServer) -> Result<Trial, Error> {
        actor.may(Need::OwnOf(&CustomerId::new(customer)))?;
        let customer = self.customer(actor, customer)?;
        // The addresses that were checked are the ones that are tried, even if DNS changes in between.
        let resolver: SharedResolver = Arc::new(Memo::new(Arc::clone(&self.checker.resolver)));
        let route = match self.route_to(&customer, server, &resolver).await {
            Ok(route) => Arc::new(route),
            Err(why) => return Ok(Trial::Not(why)),
        };
        let from = postmaster(&customer)?;
        let delivery = self.delivery_asking(resolver)?;
        match tokio::time::timeout(TRIAL_TIME, delivery.probe(&route, &from, &from)).await {
            Ok(report) => Ok(Trial::Done(report)),
            Err(_) => Ok(Trial::TooSlow),
        }
    }

    async fn route_to(
        &self,
        customer: &Customer,
        server: &OwnServer,
        resolver: &SharedResolver,
    ) -> Result<Route, NotTried> {
        let OwnServer { host, port, tls, login } = server;
        let settings = &self.configured.onboarding;
        if !settings.http_allow_private && !PORTS.contains(port) {
            return Err(NotTried::Port);
        }
        let (host, addresses) = match host.parse::<IpAddr>() {
            Ok(address) => (host.clone(), vec![address]),
            Err(_) => {
                let name = Domain::parse(host).map_err(|_| NotTried::Host)?;
                let addresses = resolver.addresses(name.as_str()).await.map_err(|_| NotTried::NoAddress)?;
                (name.to_string(), addresses)
            }
        };
        if addresses.is_empty() {
            return Err(NotTried::NoAddress);
        }
        if !settings.http_allow_private && !addresses.iter().all(|address| is_public(*address)) {
            return Err(NotTried::PrivateAddress);
        }
        let login = match login {
            None => None,
            Some(_) if matches!(tls, TlsMode::Off | TlsMode::Opportunistic) => return Err(NotTried::PlainLogin),
            Some(login) if login.username.is_empty() => return Err(NotTried::Username),
            Some(OwnLogin { username, password: Some(password) }) => {
                let secret = LoginSecret::Password(password.clone().into_inner().to_string());
                Some(Login::new(username.as_str(), secret))
            }
            Some(OwnLogin { username, password: None }) => {
                Some(kept_login(customer, server, username).ok_or(NotTried::Password)?)
            }
        };
        Ok(Route {
            id: RouteId::new(&format!("own-server.{}", customer.id)),
            kind: RouteKind::OwnServer,
            host,
            port: *port,
            tls: TlsPolicy { mode: *tls, ..TlsPolicy::default() },
            login,
            caps: Caps::default(),
            message_size: crate::route::ADDED,
            verp: false,
            public_only: !settings.http_allow_private,
        })
    }
}

/// Returns the stored login, if it is for exactly this server, port, protection and user.
fn kept_login(customer: &Customer, server: &OwnServer, username: &str) -> Option<Login> {
    let Via::OwnServer(route) = &customer.via else { return None };
    let is_same = route.host == server.host && route.port == server.port && route.tls.mode == server.tls;
    route.login.clone().filter(|login| is_same && login.username == username)
}

impl Customers<'_> {
    /// Stores a server that was tried. The customer's mail is sent there from now on. Blocks.
    pub fn use_own_server(&self, actor: &Actor, customer: &str, server: &OwnServer) -> Result<(), Error> {
        let OwnServer { host, port, tls, login } = server.clone();
        let (username, password) = match login {
            None => (Patch::Remove, Patch::Remove),
            Some(OwnLogin { username, password }) => (Patch::Set(username), password.map_or(Patch::Keep, Patch::Set)),
        };
        let route = RouteChange {
            via: Patch::Set(ViaName::OwnServer),
            tier: Patch::Remove,
            track_opens: Patch::Remove,
            track_clicks: Patch::Remove,
            host: Patch::Set(host),
            port: Patch::Set(port),
            tls: Patch::Set(TlsName::from(tls)),
            username,
            password,
            limits: None,
            public_only: if self.configured.onboarding.http_allow_private { Patch::Remove } else { Patch::Set(true) },
        };
        self.change_own(actor, customer, &CustomerChange { route: Some(route), ..CustomerChange::default() })
    }
}
