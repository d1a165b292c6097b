//! Certificates that the TLS library cannot read or whose keys it does not take, from openssl, shown by a server with OpenSSL's TLS:
//! opportunistic and pinned TLS come about all the same, and where certificates are checked, the refusal says what is wrong and
//! advises nothing that does not help.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use postbud::delivery::{Outcome, Trouble, Verdict};
use postbud::route::{Route, TlsMode, TlsPolicy, TlsVersion};
use rustls::crypto::aws_lc_rs::{default_provider, sign::any_supported_type};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedProtocolVersion};

use super::certs::{Authority, Issued, self_signed};
use super::messages::{attempt, message, patient_delivery, route};
use super::peers::free_port;
use super::script::{Server, Step, hear, hello, say, takes_one};
use super::skip::skip;

/// A certificate and its key, in files.
struct Made {
    dir: tempfile::TempDir,
}

impl Made {
    /// By these lines of a shell, which find openssl's configuration in `$config` and leave `cert.pem` and `cert.key`.
    fn by(script: &str) -> Made {
        let dir = tempfile::tempdir().unwrap();
        let script = format!("set -e\nexport OPENSSL_CONF=/dev/null\n{script}");
        let output = Command::new("sh").args(["-c", &script]).current_dir(dir.path()).output().unwrap();
        assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
        Made { dir }
    }

    fn of(issued: &Issued) -> Made {
        let dir = tempfile::tempdir().unwrap();
        issued.write(dir.path());
        Made { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn pin(&self) -> [u8; 32] {
        let der = CertificateDer::from_pem_file(self.path("cert.pem")).unwrap();
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &der).as_ref().try_into().unwrap()
    }
}

/// The server with OpenSSL's TLS; ends with this.
struct Peer {
    child: Child,
    address: std::net::SocketAddr,
    log: PathBuf,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Peer {
    fn start(made: &Made, version: &str) -> Peer {
        let (address, log) = (free_port("127.0.0.1"), made.path(&format!("log-{version}")));
        let written = fs::File::create(&log).unwrap();
        let child = Command::new("/usr/bin/python3")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/tls_server.py"))
            .arg(address.port().to_string())
            .args([made.path("cert.pem"), made.path("cert.key")])
            .arg(version)
            .stdin(Stdio::null())
            .stdout(written.try_clone().unwrap())
            .stderr(written)
            .spawn()
            .unwrap();
        let peer = Peer { child, address, log };
        let begun = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "{}", peer.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        peer
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// What MAIL of the last message came over: `clear`, `TLSv1.3`.
    fn mail_over(&self) -> Option<String> {
        let log = self.log();
        let mail = log.lines().rfind(|line| line.contains(" MAIL FROM:"))?;
        mail.split(' ').next().map(str::to_owned)
    }

    async fn attempt(&self, tls: TlsPolicy) -> Outcome {
        let route = Route { tls, host: "localhost".to_owned(), ..route(self.address) };
        attempt(&patient_delivery(), &Arc::new(route), &message(&["x@test.net"])).await
    }

    /// Returns true if mail goes out over TLS with this policy.
    async fn is_encrypted(&self, tls: TlsPolicy) -> bool {
        let outcome = self.attempt(tls).await;
        let delivered = outcome.recipients[0].meaning.verdict == Verdict::Relayed;
        assert!(delivered || self.mail_over().is_none_or(|over| over != "clear"), "{outcome:?}");
        delivered && self.mail_over().is_some_and(|over| over.starts_with("TLSv1."))
    }
}

fn opportunistic() -> TlsPolicy {
    TlsPolicy { mode: TlsMode::Opportunistic, ..TlsPolicy::default() }
}

fn pinned(made: &Made) -> TlsPolicy {
    TlsPolicy { pinned_sha256: Some(made.pin()), ..TlsPolicy::default() }
}

fn checked(ca: Option<&Path>) -> TlsPolicy {
    TlsPolicy { ca_file: ca.map(Path::to_owned), ..TlsPolicy::default() }
}

/// The reason and the advice of a refusal.
fn refusal(outcome: &Outcome) -> (&str, &str) {
    assert_eq!(outcome.recipients[0].meaning.verdict, Verdict::Deferred, "{outcome:?}");
    match &outcome.trouble {
        Some(Trouble::BackOff { reason, advice: Some(advice), .. }) => (reason, advice),
        _ => panic!("{outcome:?}"),
    }
}

fn has_peer(test: &str) -> bool {
    let works = |program: &str, arguments: &[&str]| {
        Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
    };
    let has = works("/usr/bin/python3", &["-c", "import ssl"]) && works("openssl", &["version"]);
    if !has {
        skip(test, "no python3 with ssl, or no openssl");
    }
    has
}

/// A self-signed certificate of version 1 with this key.
fn version_1(key: &str) -> Made {
    Made::by(&format!(
        "openssl req -new {key} -nodes -subj /CN=localhost -keyout cert.key -out csr\n\
         openssl x509 -req -in csr -signkey cert.key -days 30 -out cert.pem\n\
         openssl x509 -in cert.pem -noout -text | grep -q 'Version: 1 '"
    ))
}

fn self_made(key: &str, more: &str) -> Made {
    Made::by(&format!(
        "openssl req -x509 {key} -nodes -subj /CN=localhost -days 30 {more} \
         -addext subjectAltName=DNS:localhost -keyout cert.key -out cert.pem"
    ))
}

/// A self-signed certificate of nobody, which names its server in the extension only.
fn without_a_subject(key: &str) -> Made {
    Made::by(&format!(
        "openssl req -x509 {key} -nodes -subj / -days 30 -addext subjectAltName=critical,DNS:localhost -keyout cert.key -out cert.pem"
    ))
}

const RSA: &str = "-newkey rsa:2048";
const EC: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256";

#[tokio::test(flavor = "multi_thread")]
async fn opportunistic_and_pinned_tls_come_about_whatever_the_certificate_is_like() {
    if !has_peer("opportunistic_and_pinned_tls_come_about_whatever_the_certificate_is_like") {
        return;
    }
    let rows = [
        (version_1(RSA), "a version 1 certificate"),
        (version_1(EC), "a version 1 certificate"),
        (version_1("-newkey ed25519"), "a version 1 certificate"),
        (version_1("-newkey rsa:1024"), "a version 1 certificate, a key of 1,024 bits"),
        (self_made(RSA, "-addext 1.2.3.4.5=critical,ASN1:UTF8String:x"), "that is not known here (1.2.3.4.5)"),
        (self_made(EC, "-addext 1.2.3.4.5=critical,ASN1:UTF8String:x"), "that is not known here (1.2.3.4.5)"),
        (self_made(RSA, "-addext certificatePolicies=critical,1.2.3.4"), "that is not known here (2.5.29.32)"),
        (self_made(RSA, "-addext 1.2.3.4.6=DER:0500 -addext inhibitAnyPolicy=critical,0"), "2.5.29.54"),
        (self_made("-newkey rsa:1024", ""), "a key of 1,024 bits"),
        (self_made("-newkey rsa:1536", ""), "a key of 1,536 bits"),
        (self_made("-newkey rsa:1024", "-sha1"), "a key of 1,024 bits"),
        (self_made(RSA, "-sha1"), "self-signed"),
        (self_made(RSA, "-set_serial -5"), "self-signed"),
        (self_made(EC, "-set_serial 0"), "self-signed"),
        (self_made(EC, "-set_serial 0x7fffffffffffffffffffffffffffffffffffffffffffffff"), "self-signed"),
        (self_made(RSA, "-md5"), "self-signed"),
        (self_made(RSA, "-days 2900000"), "self-signed"),
        (without_a_subject(RSA), "self-signed"),
        (without_a_subject(EC), "self-signed"),
        (Made::of(&self_signed(&["nobody.example"], true)), "self-signed"),
        (Made::of(&Authority::new().issue_expired(&["localhost"])), "the server's certificate"),
        (Made::of(&Authority::new().issue_early(&["localhost"])), "the server's certificate"),
    ];
    for (made, words) in &rows {
        for version in ["1.2", "1.3", "both"] {
            // In TLS 1.3 a key of 1,024 bits cannot be checked.
            let short_in_13 = version == "1.3" && words.contains("bits");
            let peer = Peer::start(made, version);
            assert!(peer.is_encrypted(opportunistic()).await, "{words}, {version}: {}", peer.log());
            let outcome = peer.attempt(checked(None)).await;
            let (reason, advice) = refusal(&outcome);
            assert!(reason.contains(words), "{words}, {version}: {reason}. {advice}");
            let is_advised = advice.contains("pin its SHA-256");
            assert!(is_advised || reason.contains("expired") || reason.contains("not valid yet"), "{reason}. {advice}");
            assert!(!advice.contains("ca_file") && !advice.contains("names"), "{reason}. {advice}");
            if short_in_13 {
                assert!(advice.contains("works over TLS 1.2"), "{advice}");
                let outcome = peer.attempt(pinned(made)).await;
                let (reason, advice) = refusal(&outcome);
                assert!(reason.contains(words.split(", ").last().unwrap()), "{reason}. {advice}");
                assert!(advice.contains("another certificate") && !advice.contains("pin"), "{reason}. {advice}");
            } else {
                assert!(peer.is_encrypted(pinned(made)).await, "{words}, {version}: {}", peer.log());
                // The pin is of this one alone.
                let other = TlsPolicy { pinned_sha256: Some([7; 32]), ..TlsPolicy::default() };
                assert!(!peer.is_encrypted(other).await);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_nothing_can_be_checked_by_is_named_and_never_advised_to_be_pinned() {
    if !has_peer("a_key_that_nothing_can_be_checked_by_is_named_and_never_advised_to_be_pinned") {
        return;
    }
    let tiny = self_made("-newkey rsa:512", "");
    let peer = Peer::start(&tiny, "1.2");
    assert!(peer.is_encrypted(opportunistic()).await, "{}", peer.log());
    for policy in [pinned(&tiny), checked(None)] {
        let outcome = peer.attempt(policy).await;
        let (reason, advice) = refusal(&outcome);
        assert!(reason.contains("a key of 512 bits"), "{reason}. {advice}");
        assert!(advice.contains("another certificate, with an RSA key of 2,048"), "{reason}. {advice}");
    }
    // A pin would do over TLS 1.2, which this route does not take.
    let short = self_made("-newkey rsa:1024", "");
    let peer = Peer::start(&short, "both");
    for policy in [pinned(&short), checked(None)] {
        let outcome = peer.attempt(TlsPolicy { minimum: TlsVersion::Tls13, ..policy }).await;
        let (reason, advice) = refusal(&outcome);
        assert!(reason.contains("a key of 1,024 bits") && advice.contains("another certificate"), "{reason}. {advice}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_only_key_is_of_a_kind_that_is_not_known_is_told_in_words() {
    if !has_peer("a_server_whose_only_key_is_of_a_kind_that_is_not_known_is_told_in_words") {
        return;
    }
    let brainpool = "-newkey ec -pkeyopt ec_paramgen_curve:brainpoolP256r1";
    for made in [self_made("-newkey ed448", ""), self_made(brainpool, "")] {
        let peer = Peer::start(&made, "both");
        for policy in [pinned(&made), checked(None)] {
            let outcome = peer.attempt(policy).await;
            let (reason, advice) = refusal(&outcome);
            assert!(
                reason.contains("kind of certificate that both know") && !advice.contains("pin"),
                "{reason}. {advice}"
            );
        }
        // Without TLS that can come about, opportunistic mail goes without.
        let outcome = peer.attempt(opportunistic()).await;
        assert_eq!(outcome.recipients[0].meaning.verdict, Verdict::Relayed, "{outcome:?}");
        assert_eq!(peer.mail_over().as_deref(), Some("clear"), "{}", peer.log());
    }
    // In TLS 1.2 the key's curve must be one that keys are exchanged on, too.
    let large = self_made("-newkey ec -pkeyopt ec_paramgen_curve:P-521", "");
    let peer = Peer::start(&large, "1.2");
    let outcome = peer.attempt(pinned(&large)).await;
    assert!(refusal(&outcome).0.contains("P-521 in TLS 1.3 only"), "{outcome:?}");
    let peer = Peer::start(&large, "1.3");
    assert!(peer.is_encrypted(pinned(&large)).await && peer.is_encrypted(opportunistic()).await, "{}", peer.log());
}

/// A certificate that an authority in `ca.pem` signed with these options of `openssl x509`, and with these extensions.
fn issued(key: &str, options: &str, extensions: &str) -> Made {
    Made::by(&format!(
        "openssl req -x509 {RSA} -nodes -subj /CN=ca -days 30 -addext keyUsage=critical,keyCertSign -keyout ca.key -out ca.pem\n\
         openssl req -new {key} -nodes -subj /CN=localhost -keyout cert.key -out csr\n\
         printf '{extensions}' >extensions\n\
         openssl x509 -req -in csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 {options} -out cert.pem"
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_authorities_vouch_for_is_refused_in_words_and_with_advice_that_helps() {
    if !has_peer("a_certificate_that_authorities_vouch_for_is_refused_in_words_and_with_advice_that_helps") {
        return;
    }
    let (named, v3) = ("subjectAltName=DNS:localhost", "-extfile extensions");
    let other = |names: &str| issued(RSA, v3, &format!("subjectAltName={names}"));
    let pin = "pin its SHA-256";
    let rows = [
        (issued(RSA, "", ""), "refused: a version 1 certificate", pin, &["ca_file", "server_name"][..]),
        (issued(RSA, &format!("{v3} -sha1"), named), "refused: signed with SHA-1", pin, &["ca_file", "server_name"]),
        (issued("-newkey rsa:1024", v3, named), "a key of 1,024 bits", pin, &["ca_file", "server_name"]),
        (
            issued(RSA, v3, &format!("{named}\\n1.2.3.4.5=critical,ASN1:UTF8String:x\\n")),
            "refused: a critical extension that is not known here (1.2.3.4.5)",
            pin,
            &["ca_file", "server_name"],
        ),
        (
            issued(RSA, &format!("{v3} -sha1"), &format!("{named}\\n1.2.3.4.5=critical,ASN1:UTF8String:x\\n")),
            "refused: signed with SHA-1, a critical extension",
            pin,
            &["ca_file", "server_name"],
        ),
        (
            issued(RSA, v3, "keyUsage=digitalSignature"),
            "no name at all (subject CN=localhost)",
            pin,
            &["use one of its names"],
        ),
        (issued(RSA, v3, "subjectAltName=email:a@test.dk"), "no name at all", pin, &["use one of its names"]),
        (
            other("DNS:*.test.dk"),
            "is for *.test.dk, not for localhost",
            "server_name a name that *.test.dk stands for",
            &["use one"],
        ),
        (other("DNS:mx.test.dk"), "is for mx.test.dk, not for localhost", "use one of its names", &["SHA-256"]),
        (other("IP:192.0.2.1"), "is for 192.0.2.1, not for localhost", "use one of its names", &["SHA-256"]),
        (
            issued(RSA, v3, &format!("{named}\\nextendedKeyUsage=clientAuth\\n")),
            "not one for servers",
            pin,
            &["ca_file"],
        ),
    ];
    for (made, words, help, no_help) in &rows {
        let peer = Peer::start(made, "both");
        let outcome = peer.attempt(checked(Some(&made.path("ca.pem")))).await;
        let (reason, advice) = refusal(&outcome);
        assert!(reason.contains(words) && advice.contains(help), "{words}: {reason}. {advice}");
        assert!(!no_help.iter().any(|words| advice.contains(words)), "{words}: {reason}. {advice}");
        // What is advised works.
        assert!(peer.is_encrypted(pinned(made)).await, "{words}: {}", peer.log());
        if let Some(name) = reason.split("is for ").nth(1).and_then(|rest| rest.split(", not").next())
            && !name.starts_with("no name")
        {
            let name = name.replace("*.", "mail.");
            let policy = TlsPolicy { server_name: Some(name), ..checked(Some(&made.path("ca.pem"))) };
            assert!(peer.is_encrypted(policy).await, "{words}: {}", peer.log());
        }
        assert!(peer.is_encrypted(opportunistic()).await, "{words}: {}", peer.log());
    }
    // The authority is not known: naming it helps only where nothing else is wrong.
    let rows = [
        (issued(RSA, v3, named), "ca_file"),
        (issued(RSA, v3, "keyUsage=digitalSignature"), "pin its SHA-256"),
        (issued(RSA, &format!("{v3} -sha1"), named), "pin its SHA-256"),
    ];
    for (made, help) in &rows {
        let peer = Peer::start(made, "both");
        let outcome = peer.attempt(checked(None)).await;
        let (reason, advice) = refusal(&outcome);
        assert!(advice.contains(help) && advice.contains("SHA-256"), "{reason}. {advice}");
        let works = peer.is_encrypted(checked(Some(&made.path("ca.pem")))).await;
        assert_eq!(works, advice.contains("ca_file"), "{reason}. {advice}: {}", peer.log());
    }
}

/// Shows a certificate with a key that is not its own.
#[derive(Debug)]
struct Impostor(Arc<CertifiedKey>);

impl ResolvesServerCert for Impostor {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_certificate_without_its_key_is_refused() {
    if !has_peer("a_pinned_certificate_without_its_key_is_refused") {
        return;
    }
    for made in [version_1(EC), version_1(RSA), self_made(EC, "")] {
        let own = PrivateKeyDer::from_pem_file(made.path("cert.key")).unwrap();
        let others = PrivateKeyDer::from_pem_slice(self_signed(&["x"], false).key.as_bytes()).unwrap();
        let rsa = PrivateKeyDer::from_pem_file(version_1(RSA).path("cert.key")).unwrap();
        for (key, right) in [(own, true), (others, false), (rsa, false)] {
            let versions: [&'static SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];
            for version in versions {
                let certificate = CertificateDer::from_pem_file(made.path("cert.pem")).unwrap();
                let shown = CertifiedKey::new(vec![certificate], any_supported_type(&key).unwrap());
                let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
                    .with_protocol_versions(&[version])
                    .unwrap()
                    .with_no_client_auth()
                    .with_cert_resolver(Arc::new(Impostor(Arc::new(shown))));
                let start = vec![hear("STARTTLS"), say("220 go"), Step::TlsAs(Arc::new(config))];
                let after = [vec![hear("EHLO"), say("250 mail.test.dk")], takes_one()].concat();
                let server = Server::start(vec![[hello(&["STARTTLS"]), start, after].concat()]).await;
                let route = Arc::new(Route { tls: pinned(&made), ..route(server.address) });
                let outcome = attempt(&patient_delivery(), &route, &message(&["x@test.net"])).await;
                let delivered = outcome.recipients[0].meaning.verdict == Verdict::Relayed;
                assert_eq!(delivered, right, "{version:?}: {outcome:?}");
                if !right {
                    let reason = &outcome.recipients[0].meaning.reply;
                    assert!(reason.contains("does not have the key"), "{reason}");
                }
            }
        }
    }
}
