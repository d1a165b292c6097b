//! From nothing to a connection that takes MAIL: connect, greeting, EHLO, STARTTLS, EHLO again, AUTH.
//!
//! Whatever fails here concerns the route, never a message: mail waits. A step that fails says what a person can do. RFC 5321
//! §5.1: where an address of the host fails, the next one is tried; not for a login that was refused, which is the account's.

use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::addresses::Failed;
use super::classify::{Context, Phase, classify};
use super::connection::{Broken, Connection};
use super::counters::{ConnectionLabels, Counters, TlsLabels};
use super::egress::{self, ConnectError, Way};
use super::login::{self, NoLogin};
use super::outcome::{Trouble, clip, clipped};
use super::settings::Settings;
use super::step::Step;
use super::tls::{Fallback, TlsClient, TlsError};
use super::words::Words;
use crate::route::{Cause, Login, LoginSecret, Route, TlsMode};
use crate::smtp::ehlo::address_seen;
use crate::smtp::{Extensions, Mechanism, Reply};

/// Addresses of a host that are tried for one connection. Others have their turn at the next one.
const MOST_ADDRESSES: usize = 8;

/// Why there is no connection to send over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The step that failed, for counters and the probe.
    pub step: Step,
    /// What was heard, or what broke.
    pub reason: String,
    /// What it means for the route.
    pub trouble: Trouble,
    /// The host's other addresses would not do better: it is about the account, or about us.
    pub everywhere: bool,
}

impl Failure {
    fn back_off(step: Step, reason: impl Into<String>, advice: Option<&str>) -> Self {
        let reason = clipped(reason.into());
        let advice = advice.map(str::to_owned);
        let trouble = Trouble::BackOff { reason: reason.clone(), at_least: None, advice };
        Failure { step, reason, trouble, everywhere: false }
    }

    fn wrong_address(step: Step, reason: impl Into<String>, advice: impl Into<String>) -> Self {
        let reason = reason.into();
        let trouble = Trouble::Suspend { cause: Cause::Address, reason: reason.clone(), advice: advice.into() };
        Failure { step, reason, trouble, everywhere: true }
    }

    fn broken(phase: Phase, why: &Broken) -> Self {
        // A server may hang up on a wrong login, and that must not be tried at all its addresses.
        let everywhere = phase == Phase::Login;
        Failure { everywhere, ..Failure::back_off(phase.step(), format!("{why} (at {})", phase.as_str()), None) }
    }

    /// One for all of a host's addresses: what a server said tells more than that another one was not there.
    fn of_all(mut failures: Vec<Failure>, host: &str) -> Self {
        let tried = failures.len();
        let telling = failures.iter().position(|failure| failure.step != Step::Connect).unwrap_or(0);
        let mut failure = failures.swap_remove(telling);
        if tried > 1 {
            let others = format!("; {tried} addresses of {host} were tried, and none was of use");
            failure.trouble.reason_mut().push_str(&others);
            failure.reason.push_str(&others);
        }
        failure
    }

    /// What a person can do, where something is known.
    pub fn advice(&self) -> Option<&str> {
        self.trouble.advice()
    }
}

/// Where a bearer token comes from.
pub trait TokenSource: Sync {
    /// A token; a new one where the last was refused.
    fn token(&self, refused: bool) -> impl Future<Output = Result<String, Failure>> + Send;
}

/// A step that was taken, for the probe.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The step.
    pub step: Step,
    /// How long it took.
    pub took: Duration,
    /// What was found.
    pub found: String,
    /// What to do, where it failed and the connection was made another way.
    pub advice: Option<String>,
}

/// Why a failed step was not the end, and what to do about it.
const PASSED_OVER: &str = "the host's next address was tried: have this one mended, or taken out of the host's name";
const IN_CLEAR: &str = "mail goes in clear meanwhile: find out what keeps TLS from working at the server";

/// Keeps steps where somebody wants them; costs nothing where nobody does.
#[derive(Default)]
pub struct Trace(Option<Vec<Taken>>);

impl Trace {
    /// Keeps every step.
    pub fn kept() -> Self {
        Trace(Some(Vec::new()))
    }

    /// The steps so far.
    pub fn steps(self) -> Vec<Taken> {
        self.0.unwrap_or_default()
    }

    /// A step that began at `begun` is done.
    pub fn done(&mut self, step: Step, begun: Instant, found: impl FnOnce() -> String) {
        if let Some(steps) = &mut self.0 {
            steps.push(Taken { step, took: begun.elapsed(), found: found(), advice: None });
        }
    }

    /// What was begun at `begun`, with `before` steps done by then, failed, and another way is tried.
    fn failed(&mut self, failure: &Failure, begun: Instant, before: usize, advice: &str) {
        if let Some(steps) = &mut self.0 {
            let done: Duration = steps[before..].iter().map(|step| step.took).sum();
            let (step, found) = (failure.step, failure.reason.clone());
            let took = begun.elapsed().saturating_sub(done);
            steps.push(Taken { step, took, found, advice: Some(advice.to_owned()) });
        }
    }

    /// Forgets all but the first steps: the others are made again.
    fn forget_from(&mut self, before: usize) {
        self.0.iter_mut().for_each(|steps| steps.truncate(before));
    }

    fn len(&self) -> usize {
        self.0.as_ref().map_or(0, Vec::len)
    }
}

/// Makes connections to one route.
pub struct Dialler<'a, T> {
    /// Our name, address and patience.
    pub settings: &'a Settings,
    /// Where to.
    pub route: &'a Route,
    /// TLS as the route wants it; `None` for none.
    pub tls: Option<&'a TlsClient>,
    /// Bearer tokens, where the route's login has them.
    pub tokens: &'a T,
    /// The mechanism that the route's last login went by.
    pub usual: Option<Mechanism>,
    /// The host's addresses that failed of late.
    pub failed: &'a Failed,
    /// What is counted.
    pub counters: &'a Counters,
}

impl<T: TokenSource> Dialler<'_, T> {
    /// Connects, up to the point where MAIL can be sent: to the first of the host's addresses that gets us there.
    pub async fn dial(&self, trace: &mut Trace) -> Result<Connection, Failure> {
        let Route { host, port, .. } = self.route;
        let mut ways = match egress::ways(self.settings, host, *port).await {
            Ok(ways) => ways,
            Err(error) => return self.counted(Err(unreachable(&error))),
        };
        let begun = Instant::now();
        self.failed.last(&mut ways, Way::address, begun);
        ways.truncate(MOST_ADDRESSES);
        let mut failures: Vec<Failure> = Vec::new();
        for way in ways {
            if let Some(failure) = failures.last() {
                if begun.elapsed() >= self.patience() {
                    break;
                }
                trace.failed(failure, begun, 0, PASSED_OVER);
            }
            let failure = match self.counted(self.dial_way(way, trace).await) {
                Ok(connection) => {
                    way.address().inspect(|address| self.failed.forget(*address));
                    return Ok(connection);
                }
                Err(failure) if failure.everywhere => return Err(failure),
                Err(failure) => failure,
            };
            tracing::debug!(route = %self.route.id, address = ?way.address(), "{}", failure.reason);
            way.address().inspect(|address| self.failed.note(*address, Instant::now()));
            failures.push(failure);
        }
        // `ways` are never none, and each gave a connection or a failure.
        Err(Failure::of_all(failures, host))
    }

    /// No further address is begun after this long: twice what one that never greets takes.
    fn patience(&self) -> Duration {
        2 * (self.settings.timeouts.connect + self.settings.timeouts.greeting)
    }

    /// Counts a connection that was tried.
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

    async fn dial_way(&self, way: Way<'_>, trace: &mut Trace) -> Result<Connection, Failure> {
        let (begun, before) = (Instant::now(), trace.len());
        let went_by_pkcs1 = self.tls.is_some_and(TlsClient::goes_by_pkcs1);
        let mut dialled = self.dial_with(way, Ok(self.tls), trace).await;
        // The server's key asks for another kind of handshake, which takes another connection.
        if dialled.is_err() && !went_by_pkcs1 && self.tls.is_some_and(TlsClient::goes_by_pkcs1) {
            trace.forget_from(before);
            dialled = match self.dial_with(way, Ok(self.tls), trace).await {
                Err(failure) if failure.step == Phase::StartTls.step() => dialled,
                second => second,
            };
        }
        match dialled {
            // The handshake spoiled the connection; opportunistic means that mail may go without.
            Err(failure) if self.route.tls.mode == TlsMode::Opportunistic && failure.step == Phase::StartTls.step() => {
                tracing::warn!(route = %self.route.id, address = ?way.address(), "mail goes in clear: {}", failure.reason);
                let advice = failure.advice().map(str::to_owned);
                trace.failed(&failure, begun, before, advice.as_deref().unwrap_or(IN_CLEAR));
                self.dial_with(way, Err(Fallback { reason: failure.reason, advice }), trace).await
            }
            dialled => dialled,
        }
    }

    /// With TLS as the route wants it, or without it, because it failed.
    async fn dial_with(
        &self,
        way: Way<'_>,
        tls: Result<Option<&TlsClient>, Fallback>,
        trace: &mut Trace,
    ) -> Result<Connection, Failure> {
        let (tls, fallback) = tls.map_or_else(|fallback| (None, Some(fallback)), |tls| (tls, None));
        let begun = Instant::now();
        let target = (self.route.host.as_str(), self.route.port);
        let (stream, peer) =
            egress::connect(way, target, self.settings.timeouts.connect).await.map_err(|error| unreachable(&error))?;
        trace.done(Step::Connect, begun, || {
            let from = stream.local_addr().map_or_else(|_| "?".to_owned(), |address| address.ip().to_string());
            format!("{peer} from {from}")
        });
        let implicit = self.route.tls.mode == TlsMode::Implicit;
        let mut connection = match tls {
            Some(tls) if implicit => self.handshake(tls, stream, peer, trace).await?,
            _ => Connection::new(stream, peer, &self.counters.open),
        };
        connection.fallback = fallback;
        self.greeting(&mut connection, trace).await?;
        self.hello(&mut connection, Phase::Hello, trace).await?;
        if let (Some(tls), false) = (tls, implicit) {
            if connection.extensions.starttls {
                connection = self.start_tls(tls, connection, trace).await?;
                // With TLS 1.3 we are done before the server has seen our certificate, or that there is none: its refusal of the
                // handshake comes in place of its answer (RFC 8446 §4.4.2.4).
                self.hello(&mut connection, Phase::StartTls, trace).await?;
            } else if self.route.tls.mode == TlsMode::Required {
                return Err(Failure::back_off(
                    Phase::StartTls.step(),
                    "the server offers no STARTTLS, which this route requires",
                    Some(
                        "switch TLS on at the server; if it never had it, set tls = \"opportunistic\" for this route; if it had \
                         it yesterday, something on the way may be stripping it",
                    ),
                ));
            }
        }
        if let Some(login) = &self.route.login {
            self.log_in(&mut connection, login, trace).await?;
        }
        connection.used = tokio::time::Instant::now();
        Ok(connection)
    }

    async fn greeting(&self, connection: &mut Connection, trace: &mut Trace) -> Result<(), Failure> {
        let begun = Instant::now();
        let greeting = connection
            .reply(self.settings.timeouts.greeting)
            .await
            .map_err(|why| Failure::broken(Phase::Greeting, &why))?;
        if greeting.code != 220 {
            return Err(self.refused(connection, Phase::Greeting, &greeting));
        }
        trace.done(Phase::Greeting.step(), begun, || greeting.to_string());
        Ok(())
    }

    /// Greets the server. `broken_at` is the step that has failed where the connection does not last until its answer.
    async fn hello(&self, connection: &mut Connection, broken_at: Phase, trace: &mut Trace) -> Result<(), Failure> {
        let begun = Instant::now();
        let limit = self.settings.timeouts.handshake;
        let name = &self.settings.hostname;
        let broken = |why: Broken| Failure::broken(broken_at, &why);
        let mut answer = connection.ask(&format!("EHLO {name}"), limit).await.map_err(broken)?;
        if answer.code == 250 {
            connection.extensions = Extensions::of(&answer);
        } else if is_not_known(&answer) {
            // RFC 5321 §3.2: a server that does not know EHLO gets HELO. What else it says to that follows from EHLO's refusal.
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
                     leave as {expected} (egress.bind, NAT, routes), then resume the route"
                ),
            ));
        }
        trace.done(Phase::Hello.step(), begun, || match connection.extensions.offered.as_slice() {
            [] => format!("{answer} (no extensions)"),
            offered => offered.join(", "),
        });
        Ok(())
    }

    async fn start_tls(
        &self,
        tls: &TlsClient,
        mut connection: Connection,
        trace: &mut Trace,
    ) -> Result<Connection, Failure> {
        let step = Phase::StartTls.step();
        let answer = connection
            .ask("STARTTLS", self.settings.timeouts.handshake)
            .await
            .map_err(|why| Failure::broken(Phase::StartTls, &why))?;
        if answer.code != 220 {
            return Err(self.refused(&connection, Phase::StartTls, &answer));
        }
        // What comes behind the 220 in clear was put there by somebody else, to be taken for the server's word inside TLS.
        if connection.has_more() {
            return Err(Failure::back_off(
                step,
                "the server sent more in clear after it agreed to STARTTLS: refused",
                Some("something on the way to the server injects replies; check the network, or the server's software"),
            ));
        }
        let peer = connection.peer.clone();
        let stream = connection.into_plain_stream().ok_or_else(|| Failure::back_off(step, "TLS within TLS", None))?;
        self.handshake(tls, stream, peer, trace).await
    }

    async fn handshake(
        &self,
        tls: &TlsClient,
        stream: TcpStream,
        peer: String,
        trace: &mut Trace,
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
        trace.done(Phase::StartTls.step(), begun, || format!("{} {}", info.version, info.cipher));
        Ok(Connection::encrypted(stream, info, peer, &self.counters.open))
    }

    async fn log_in(&self, connection: &mut Connection, login: &Login, trace: &mut Trace) -> Result<(), Failure> {
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
                trace.done(step, begun, || format!("{} as {}", mechanism.as_str(), login.username));
                Ok(())
            }
            Err(NoLogin::Unfit { reason, advice }) => Err(Failure::back_off(step, reason, Some(&advice))),
            Err(NoLogin::Refused(mechanism, reply)) => {
                let mut failure = self.refused(connection, Phase::Login, &reply);
                if let Some(hint) = login::hint(mechanism, encrypted, &reply) {
                    failure.trouble.advise_also(hint);
                }
                Err(failure)
            }
            Err(NoLogin::GivenUp(mechanism, challenge)) => Err(Failure {
                everywhere: true,
                ..Failure::back_off(
                    step,
                    format!("the server asks for more than {} has to say: {challenge}", mechanism.as_str()),
                    Some("have the server's login mended, or name another mechanism in auth for this route"),
                )
            }),
            Err(NoLogin::Broken(why)) => Err(Failure::broken(Phase::Login, &why)),
        }
    }

    /// An error of its own where there is no token.
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
        let token = self.tokens.token(false).await?;
        let first = login::with_token(connection, (username, &token), limit).await;
        let Err(NoLogin::Refused(_, reply)) = &first else { return Ok(first) };
        if !reply.is_permanent() {
            return Ok(first);
        }
        // The kept token may have been revoked; a new one is refused in earnest.
        let renewed = self.tokens.token(true).await?;
        if renewed == token {
            return Ok(first);
        }
        Ok(match login::with_token(connection, (username, &renewed), limit).await {
            // The server hung up on a second try: the first one's refusal counts.
            Err(NoLogin::Broken(_)) => first,
            second => second,
        })
    }

    fn refused(&self, connection: &Connection, phase: Phase, reply: &Reply) -> Failure {
        let context = Context::of(self.route, self.settings.egress.address, connection.fallback.as_ref());
        let reply = &clip(reply.clone());
        let (class, trouble) = classify(phase, reply, &context);
        let reason = format!("{reply} (at {})", phase.as_str());
        let trouble =
            trouble.unwrap_or(Trouble::BackOff { reason: reason.clone(), at_least: None, advice: class.advice });
        let everywhere = phase == Phase::Login || matches!(trouble, Trouble::Suspend { .. });
        Failure { step: phase.step(), reason, trouble, everywhere }
    }
}

/// Whether the refusal is one of a command that the server does not know, and not of our name.
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
    ];
    let says_so = || answer.is_permanent() && Words::of(&answer.lines.join(" ")).any(&unknown);
    matches!(answer.code, 500 | 502 | 504) || says_so()
}

fn unreachable(error: &ConnectError) -> Failure {
    let everywhere = matches!(error, ConnectError::EgressLost { .. });
    Failure { everywhere, ..Failure::back_off(Step::Connect, error.to_string(), error.advice()) }
}
