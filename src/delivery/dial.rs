//! Makes a connection that is ready for MAIL: connect, greeting, EHLO, STARTTLS, EHLO again, AUTH.
//!
//! A failure here concerns the route and never a message, so mail waits. It says what a person can do, if that is known.
//! If one of the host's addresses fails, the next one is tried (RFC 5321 §5.1). A refused login is not tried at another
//! address, because it concerns the account.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::addresses::Failed;
use super::auth::login::{self, NoLogin};
use super::connection::{Broken, Connection};
use super::counters::{ConnectionLabels, Counters, TlsLabels};
use super::egress::{self, ConnectError, Endpoint};
use super::outcome::{Trouble, clip, clipped};
use super::reply::classify::{Context, Phase, classify};
use super::reply::words::Words;
use super::settings::Settings;
use super::step::{Step, StepLog};
use super::tls::{Fallback, TlsClient, TlsError};
use crate::machine::net::TcpStream;
use crate::message::FailureClass;
use crate::route::{Cause, Login, LoginSecret, Route, TlsMode};
use crate::smtp::ehlo::address_seen;
use crate::smtp::{Extensions, Mechanism, Reply};

/// How many of a host's addresses are tried for one connection. The next connection tries the others.
const MOST_ADDRESSES: usize = 8;

/// Why there is no connection to send over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The step that failed, for the metrics and the probe.
    pub step: Step,
    /// The server's reply, or what broke.
    pub reason: String,
    /// The result for the route.
    pub trouble: Trouble,
    /// The reason in one word.
    pub class: FailureClass,
    /// The failure is about the account or about us, so the host's other addresses would not do better.
    pub everywhere: bool,
}

impl Failure {
    fn back_off(step: Step, reason: impl Into<String>, advice: Option<&str>) -> Self {
        let reason = clipped(reason.into());
        let advice = advice.map(str::to_owned);
        let trouble = Trouble::BackOff { reason: reason.clone(), at_least: None, advice };
        Failure { step, reason, trouble, class: FailureClass::Network, everywhere: false }
    }

    fn wrong_address(step: Step, reason: impl Into<String>, advice: impl Into<String>) -> Self {
        let reason = reason.into();
        let trouble = Trouble::Suspend { cause: Cause::Address, reason: reason.clone(), advice: advice.into() };
        Failure { step, reason, trouble, class: FailureClass::Network, everywhere: true }
    }

    fn broken(phase: Phase, why: &Broken) -> Self {
        // A server may close the connection on a wrong login, which must not be tried at all its addresses.
        let everywhere = phase == Phase::Login;
        Failure { everywhere, ..Failure::back_off(phase.step(), format!("{why} (at {})", phase.as_str()), None) }
    }

    /// Joins the failures of a host's addresses into one. A server's reply says more than an address that nobody
    /// answers at, so it is preferred.
    fn of_all(mut failures: Vec<Failure>, host: &str) -> Self {
        let tried = failures.len();
        let telling = failures.iter().position(|failure| failure.step != Step::Connect).unwrap_or(0);
        let mut failure = failures.swap_remove(telling);
        if tried > 1 {
            let others = format!("; {tried} addresses of {host} were tried, and none worked");
            failure.trouble.reason_mut().push_str(&others);
            failure.reason.push_str(&others);
        }
        failure
    }

    /// What a person can do, if known.
    pub fn advice(&self) -> Option<&str> {
        self.trouble.advice()
    }
}

/// A source of bearer tokens.
pub trait TokenSource: Sync {
    /// Returns a token, which may have been used before.
    fn token(&self) -> impl Future<Output = Result<String, Failure>> + Send;

    /// Returns a new token, because the server refused the last one.
    fn new_token(&self) -> impl Future<Output = Result<String, Failure>> + Send;
}

/// Advice about a failed step after which the connection was made in another way.
const PASSED_OVER: &str =
    "the host's next address was tried: have this one repaired, or removed from the host's DNS name";
const IN_CLEAR: &str = "mail goes in clear meanwhile: find out what keeps TLS from working at the server";

/// Makes connections for one route.
pub struct Dialler<'a, T> {
    /// Our host name, our address and the timeouts.
    pub settings: &'a Settings,
    /// The route to connect to.
    pub route: &'a Route,
    /// The route's TLS client; `None` if the route has no TLS.
    pub tls: Option<&'a TlsClient>,
    /// The bearer tokens, for a route whose login needs them.
    pub tokens: &'a T,
    /// The mechanism of the route's last login.
    pub usual: Option<Mechanism>,
    /// The host's addresses that failed recently.
    pub failed: &'a Failed,
    /// The counters of all attempts and connections.
    pub counters: &'a Counters,
}

impl<T: TokenSource> Dialler<'_, T> {
    /// Makes a connection that is ready for MAIL, to the first of the host's addresses that allows it.
    pub async fn dial(&self, log: &mut StepLog) -> Result<Connection, Failure> {
        let mut endpoints = match egress::endpoints(self.settings, self.route).await {
            Ok(endpoints) => endpoints,
            Err(error) => return self.counted(Err(unreachable(&error))),
        };
        let begun = Instant::now();
        self.failed.last(&mut endpoints, Endpoint::address, begun);
        endpoints.truncate(MOST_ADDRESSES);
        let mut failures: Vec<Failure> = Vec::new();
        for endpoint in endpoints {
            if let Some(failure) = failures.last() {
                if begun.elapsed() >= self.patience() {
                    break;
                }
                log.failed(failure.step, &failure.reason, begun, 0, PASSED_OVER);
            }
            let failure = match self.counted(self.dial_endpoint(endpoint, log).await) {
                Ok(connection) => {
                    endpoint.address().inspect(|address| self.failed.forget(*address));
                    return Ok(connection);
                }
                Err(failure) if failure.everywhere => return Err(failure),
                Err(failure) => failure,
            };
            tracing::debug!(route = %self.route.id, address = ?endpoint.address(), "{}", failure.reason);
            endpoint.address().inspect(|address| self.failed.note(*address, Instant::now()));
            failures.push(failure);
        }
        // There is at least one endpoint, and each gave a connection or a failure.
        Err(Failure::of_all(failures, &self.route.host))
    }

    /// No further address is tried after this time. It is twice what an address that never greets takes.
    fn patience(&self) -> Duration {
        2 * (self.settings.timeouts.connect + self.settings.timeouts.greeting)
    }

    /// Counts the attempt to connect.
    fn counted(&self, dialled: Result<Connection, Failure>) -> Result<Connection, Failure> {
        let result = dialled.as_ref().map_or_else(|failure| failure.step.as_str(), |_| "established");
        let labels = ConnectionLabels { route: self.route.id.as_str().to_owned(), result };
        self.counters.connections.get_or_create(&labels).inc();
        if let Ok(connection) = &dialled {
            let version = connection.tls.as_ref().map_or("none", |tls| tls.version);
            self.counters.tls.get_or_create(&TlsLabels { version }).inc();
        }
        dialled
    }

    async fn dial_endpoint(&self, endpoint: Endpoint<'_>, log: &mut StepLog) -> Result<Connection, Failure> {
        let (begun, before) = (Instant::now(), log.len());
        let went_by_pkcs1 = self.tls.is_some_and(TlsClient::goes_by_pkcs1);
        let mut dialled = self.dial_with(endpoint, Ok(self.tls), log).await;
        // The server's key needs another kind of handshake, which needs another connection.
        if dialled.is_err() && !went_by_pkcs1 && self.tls.is_some_and(TlsClient::goes_by_pkcs1) {
            log.forget_from(before);
            dialled = match self.dial_with(endpoint, Ok(self.tls), log).await {
                Err(failure) if failure.step == Phase::StartTls.step() => dialled,
                second => second,
            };
        }
        match dialled {
            // The handshake made the connection useless. Opportunistic TLS means that mail may go without TLS.
            Err(failure) if self.route.tls.mode == TlsMode::Opportunistic && failure.step == Phase::StartTls.step() => {
                tracing::warn!(route = %self.route.id, address = ?endpoint.address(), "mail goes in clear: {}", failure.reason);
                let advice = failure.advice().map(str::to_owned);
                log.failed(failure.step, &failure.reason, begun, before, advice.as_deref().unwrap_or(IN_CLEAR));
                self.dial_with(endpoint, Err(Fallback { reason: failure.reason, advice }), log).await
            }
            dialled => dialled,
        }
    }

    /// Connects with TLS as the route wants it, or without TLS after a handshake that failed.
    async fn dial_with(
        &self,
        endpoint: Endpoint<'_>,
        tls: Result<Option<&TlsClient>, Fallback>,
        log: &mut StepLog,
    ) -> Result<Connection, Failure> {
        let (tls, fallback) = tls.map_or_else(|fallback| (None, Some(fallback)), |tls| (tls, None));
        let begun = Instant::now();
        let target = (self.route.host.as_str(), self.route.port);
        let (stream, peer) = egress::connect(endpoint, target, self.settings.timeouts.connect)
            .await
            .map_err(|error| unreachable(&error))?;
        log.done(Step::Connect, begun, || {
            let from = stream.local_addr().map_or_else(|_| "?".to_owned(), |address| address.ip().to_string());
            format!("{peer} from {from}")
        });
        let implicit = self.route.tls.mode == TlsMode::Implicit;
        let mut connection = match tls {
            Some(tls) if implicit => self.handshake(tls, stream, peer, log).await?,
            _ => Connection::new(stream, peer, &self.counters.open),
        };
        connection.fallback = fallback;
        self.greeting(&mut connection, log).await?;
        self.hello(&mut connection, Phase::Hello, log).await?;
        if let (Some(tls), false) = (tls, implicit) {
            if connection.extensions.starttls {
                connection = self.start_tls(tls, connection, log).await?;
                // In TLS 1.3 our side finishes before the server has checked our certificate. The server refuses the
                // handshake in place of its reply to EHLO (RFC 8446 §4.4.2.4).
                self.hello(&mut connection, Phase::StartTls, log).await?;
            } else if self.route.tls.mode == TlsMode::Required {
                return Err(Failure::back_off(
                    Phase::StartTls.step(),
                    "the server offers no STARTTLS, which this route requires",
                    Some(
                        "switch TLS on at the server. If the server never had TLS, set tls = \"opportunistic\" for this route. If it \
                         had TLS until now, something on the way may be removing the offer",
                    ),
                ));
            }
        }
        if let Some(login) = &self.route.login {
            self.log_in(&mut connection, login, log).await?;
        }
        connection.used = tokio::time::Instant::now();
        Ok(connection)
    }

    async fn greeting(&self, connection: &mut Connection, log: &mut StepLog) -> Result<(), Failure> {
        let begun = Instant::now();
        let greeting = connection
            .reply(self.settings.timeouts.greeting)
            .await
            .map_err(|why| Failure::broken(Phase::Greeting, &why))?;
        if greeting.code != 220 {
            return Err(self.refused(connection, Phase::Greeting, &greeting));
        }
        log.done(Phase::Greeting.step(), begun, || greeting.to_string());
        Ok(())
    }

    /// Sends EHLO, or HELO. `broken_at` is the phase to blame if the connection breaks before the reply.
    async fn hello(&self, connection: &mut Connection, broken_at: Phase, log: &mut StepLog) -> Result<(), Failure> {
        let begun = Instant::now();
        let limit = self.settings.timeouts.handshake;
        let name = &self.settings.hostname;
        let broken = |why: Broken| Failure::broken(broken_at, &why);
        let mut answer = connection.ask(&format!("EHLO {name}"), limit).await.map_err(broken)?;
        if answer.code == 250 {
            connection.extensions = Extensions::of(&answer);
        } else if is_not_known(&answer) {
            // RFC 5321 §3.2: a server that does not know EHLO gets HELO. If HELO fails, too, the refusal of EHLO is
            // reported.
            connection.extensions = Extensions::default();
            if let Ok(greeted) = connection.ask(&format!("HELO {name}"), limit).await
                && greeted.code == 250
            {
                answer = greeted;
            }
        }
        if answer.code != 250 {
            return Err(self.refused(connection, Phase::Hello, &answer));
        }
        if let (Some(expected), Some(seen)) = (self.settings.egress.expect_seen_as, address_seen(&answer))
            && expected.to_canonical() != seen
        {
            return Err(Failure::wrong_address(
                Phase::Hello.step(),
                format!("the server sees us as {seen}, not as {expected}"),
                format!(
                    "mail would leave from an address that customers have not allowed: make sure that connections from here \
                     leave from {expected} (egress.bind, NAT, routes), then resume the route"
                ),
            ));
        }
        log.done(Phase::Hello.step(), begun, || match connection.extensions.offered.as_slice() {
            [] => format!("{answer} (no extensions)"),
            offered => offered.join(", "),
        });
        Ok(())
    }

    async fn start_tls(
        &self,
        tls: &TlsClient,
        mut connection: Connection,
        log: &mut StepLog,
    ) -> Result<Connection, Failure> {
        let step = Phase::StartTls.step();
        let answer = connection
            .ask("STARTTLS", self.settings.timeouts.handshake)
            .await
            .map_err(|why| Failure::broken(Phase::StartTls, &why))?;
        if answer.code != 220 {
            return Err(self.refused(&connection, Phase::StartTls, &answer));
        }
        // Octets behind the 220 came without encryption, so an attacker may have put them there to be taken for a reply
        // inside TLS.
        if connection.has_more() {
            return Err(Failure::back_off(
                step,
                "the server sent more in clear after it agreed to STARTTLS: refused",
                Some("something on the way to the server injects replies; check the network, or the server's software"),
            ));
        }
        let peer = connection.peer.clone();
        let stream = connection.into_plain_stream().ok_or_else(|| Failure::back_off(step, "TLS within TLS", None))?;
        self.handshake(tls, stream, peer, log).await
    }

    async fn handshake(
        &self,
        tls: &TlsClient,
        stream: TcpStream,
        peer: String,
        log: &mut StepLog,
    ) -> Result<Connection, Failure> {
        let begun = Instant::now();
        let step = Phase::StartTls.step();
        let limit = self.settings.timeouts.handshake;
        let shaken = timeout(limit, tls.handshake(stream))
            .await
            .map_err(|_| Failure::back_off(step, format!("no TLS within {} s", limit.as_secs_f32()), None))?;
        let (stream, info) = shaken.map_err(|error| match error {
            TlsError::Certificate(refusal) => Failure::back_off(step, refusal.reason, Some(&refusal.advice)),
            TlsError::Handshake(_) => {
                Failure::back_off(step, error.to_string(), Some("check the route's port, TLS mode and minimum version"))
            }
        })?;
        log.done(Phase::StartTls.step(), begun, || format!("{} {}", info.version, info.cipher));
        Ok(Connection::encrypted(stream, info, peer, &self.counters.open))
    }

    async fn log_in(&self, connection: &mut Connection, login: &Login, log: &mut StepLog) -> Result<(), Failure> {
        let begun = Instant::now();
        let step = Phase::Login.step();
        let encrypted = connection.tls.is_some();
        if !encrypted && !login.allow_plaintext {
            if let Some(Fallback { reason, advice }) = &connection.fallback {
                let reason = format!("there is no TLS, and the password is not sent in clear; {reason}");
                return Err(Failure::back_off(step, reason, advice.as_deref()));
            }
            return Err(Failure::back_off(
                step,
                "the connection has no TLS, and the password is not sent in clear",
                Some("switch TLS on at the server, or set allow_plaintext_auth = true for this route"),
            ));
        }
        match self.log_in_by(connection, login).await? {
            Ok(mechanism) => {
                connection.mechanism = Some(mechanism);
                log.done(step, begun, || format!("{} as {}", mechanism.as_str(), login.username));
                Ok(())
            }
            Err(NoLogin::Unfit { reason, advice }) => {
                Err(Failure { class: FailureClass::Auth, ..Failure::back_off(step, reason, Some(&advice)) })
            }
            Err(NoLogin::Refused(mechanism, reply)) => {
                let mut failure = self.refused(connection, Phase::Login, &reply);
                if let Some(hint) = login::hint(mechanism, encrypted, &reply) {
                    failure.trouble.advise_also(hint);
                }
                Err(failure)
            }
            Err(NoLogin::GivenUp(mechanism, challenge)) => Err(Failure {
                class: FailureClass::Auth,
                everywhere: true,
                ..Failure::back_off(
                    step,
                    format!("the server asks for more than {} has to say: {challenge}", mechanism.as_str()),
                    Some("have the server's login repaired, or name another mechanism in auth for this route"),
                )
            }),
            Err(NoLogin::Broken(why)) => Err(Failure::broken(Phase::Login, &why)),
        }
    }

    /// Logs in. The outer error means that there is no token.
    async fn log_in_by(
        &self,
        connection: &mut Connection,
        login: &Login,
    ) -> Result<Result<Mechanism, NoLogin>, Failure> {
        let limit = self.settings.timeouts.handshake;
        let mechanisms = match login::mechanisms(connection, login) {
            Ok(mechanisms) => mechanisms,
            Err(unfit) => return Ok(Err(unfit)),
        };
        let username = login.username.as_str();
        if let LoginSecret::Password(password) = &login.secret {
            return Ok(login::with_password(connection, mechanisms, self.usual, (username, password), limit).await);
        }
        let token = self.tokens.token().await?;
        let first = login::with_token(connection, (username, &token), limit).await;
        let Err(NoLogin::Refused(_, reply)) = &first else { return Ok(first) };
        if !reply.is_permanent() {
            return Ok(first);
        }
        // The kept token may have been revoked. The refusal of a new token is final.
        let renewed = self.tokens.new_token().await?;
        if renewed == token {
            return Ok(first);
        }
        Ok(match login::with_token(connection, (username, &renewed), limit).await {
            // The server closed the connection on a second try, so the first refusal counts.
            Err(NoLogin::Broken(_)) => first,
            second => second,
        })
    }

    fn refused(&self, connection: &Connection, phase: Phase, reply: &Reply) -> Failure {
        let context = Context::of(self.route, self.settings.egress.address, connection.fallback.as_ref());
        let reply = &clip(reply.clone());
        let (meaning, trouble) = classify(phase, reply, &context);
        let reason = format!("{reply} (at {})", phase.as_str());
        let trouble =
            trouble.unwrap_or(Trouble::BackOff { reason: reason.clone(), at_least: None, advice: meaning.advice });
        let everywhere = phase == Phase::Login || matches!(trouble, Trouble::Suspend { .. });
        Failure {
            step: phase.step(),
            reason,
            trouble,
            class: meaning.reply.class.unwrap_or(FailureClass::Unknown),
            everywhere,
        }
    }
}

/// Returns true if the server refused a command that it does not know, and not our name.
fn is_not_known(answer: &Reply) -> bool {
    let unknown = [
        " unknown command ",
        " command unknown ",
        " unrecognized command ",
        " unrecognised command ",
        " command unrecognized ",
        " command unrecognised ",
        " command not ",
        " not recognized ",
        " not recognised ",
        " not implemented ",
        " unsupported command ",
        " invalid command ",
        " bad command ",
        " unrecognized verb ",
        " unrecognised verb ",
        " ehlo not ",
        " ehlo is not ",
        " ehlo unsupported ",
        " esmtp not ",
        " esmtp is not ",
        " use helo ",
        " say helo ",
        " try helo ",
        " send helo ",
    ];
    let says_so = || answer.is_permanent() && Words::of(&answer.lines.join(" ")).any(&unknown);
    matches!(answer.code, 500 | 502 | 504) || says_so()
}

fn unreachable(error: &ConnectError) -> Failure {
    let everywhere = matches!(error, ConnectError::EgressLost { .. });
    Failure { everywhere, ..Failure::back_off(Step::Connect, error.to_string(), error.advice()) }
}
