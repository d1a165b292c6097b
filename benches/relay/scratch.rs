//! A scratch postbud: keys, certificates and configuration in a directory of its own, and the program run on it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use argon2::PasswordHasher as _;
use argon2::password_hash::SaltString;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postbud::load::Tls;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};

/// The customer's domain in every run.
pub const DOMAIN: &str = "test.dk";
/// The submitter's name, and the sink's.
pub const USERNAME: &str = "webcrm";
/// The password that the source logs in with.
pub const PASSWORD: &str = "not a secret";

/// Which keys sign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
pub enum Signer {
    /// RSA with 2048 bits.
    #[default]
    Rsa,
    /// Ed25519 only: everything but RSA, to see the rest.
    Ed25519,
    /// Both, two signatures.
    Both,
}

/// How the scratch relay is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Which keys sign.
    pub signer: Signer,
    /// On the listener.
    pub tls_in: Tls,
    /// On the listener.
    pub auth_in: bool,
    /// Toward the sink.
    pub tls_out: Tls,
    /// Toward the sink.
    pub auth_out: bool,
    /// Connections to the sink at once.
    pub concurrency: usize,
    /// The address of the sink.
    pub sink: SocketAddr,
    /// Size limit of a message, octets.
    pub message_size: u64,
    /// The lines about the spool; none for the embedded one.
    pub spool: String,
    /// The relay keeps a record.
    pub events: bool,
}

/// The directory with all that a run needs.
pub struct Scratch {
    dir: PathBuf,
    rsa: RsaKeyPair,
    ed25519: Ed25519KeyPair,
}

/// Selector and public key of what may have signed, as DNS would publish it.
pub struct KeyRecord {
    /// `<selector>._domainkey.<domain>.`
    pub name: String,
    /// `v=DKIM1; …`
    pub text: String,
}

impl Scratch {
    /// Makes keys and certificates in `dir`, or takes those that are there.
    pub fn new(dir: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(dir.join("config/customers"))?;
        let (rsa, ed25519) = (dir.join("rsa.pem"), dir.join("ed25519.pem"));
        if !rsa.exists() {
            write_pem(&rsa, AsDer::<Pkcs8V1Der>::as_der(&RsaKeyPair::generate(KeySize::Rsa2048)?)?.as_ref())?;
            write_pem(&ed25519, Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new())?.as_ref())?;
            certificates(dir)?;
        }
        let rsa = PrivatePkcs8KeyDer::from_pem_file(rsa)?;
        let ed25519 = PrivatePkcs8KeyDer::from_pem_file(ed25519)?;
        Ok(Scratch {
            dir: dir.to_owned(),
            rsa: RsaKeyPair::from_pkcs8(rsa.secret_pkcs8_der())?,
            ed25519: Ed25519KeyPair::from_pkcs8_maybe_unchecked(ed25519.secret_pkcs8_der())?,
        })
    }

    /// A file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The customer's RSA key.
    pub fn rsa(&self) -> &RsaKeyPair {
        &self.rsa
    }

    /// What DNS would publish.
    pub fn records(&self) -> anyhow::Result<Vec<KeyRecord>> {
        let rsa = STANDARD.encode(AsDer::<PublicKeyX509Der>::as_der(self.rsa.public_key())?.as_ref());
        let ed25519 = STANDARD.encode(self.ed25519.public_key().as_ref());
        Ok(vec![
            KeyRecord { name: format!("load1._domainkey.{DOMAIN}."), text: format!("v=DKIM1; k=rsa; p={rsa}") },
            KeyRecord { name: format!("load2._domainkey.{DOMAIN}."), text: format!("v=DKIM1; k=ed25519; p={ed25519}") },
        ])
    }

    /// Writes the configuration; gives the listener's address and the web's.
    pub fn configure(&self, setup: &Setup, state_dir: &Path) -> anyhow::Result<(SocketAddr, SocketAddr)> {
        let (listen, web) = (free_address()?, free_address()?);
        let salt = SaltString::encode_b64(b"load harness salt").map_err(|e| anyhow::anyhow!("{e}"))?;
        let hash = argon2::Argon2::default()
            .hash_password(PASSWORD.as_bytes(), &salt)
            .map_err(|e| anyhow::anyhow!("{e}"))?
            .to_string();
        let tls_in = match setup.tls_in {
            Tls::Off => "tls = \"off\"".to_owned(),
            Tls::Starttls => {
                "tls = \"starttls\"\ncertificate = \"../server.pem\"\nprivate_key = \"../server.key\"".to_owned()
            }
            Tls::Implicit => {
                "tls = \"implicit\"\ncertificate = \"../server.pem\"\nprivate_key = \"../server.key\"".to_owned()
            }
        };
        let auth_in = match (setup.auth_in, setup.tls_in) {
            (false, _) => "auth = \"off\"",
            (true, Tls::Off) => "auth = \"required\"\nallow_plaintext_auth = true",
            (true, _) => "auth = \"required\"",
        };
        let events = match setup.events {
            true => format!("[events]\nlog = \"{}\"\n", state_dir.join("events.jsonl").display()),
            false => String::new(),
        };
        let config = format!(
            "hostname = \"out.example.com\"\n\
             state_dir = \"{}\"\n\
             customers_dir = \"customers\"\n\
             [[listener]]\naddress = \"{listen}\"\n{tls_in}\n{auth_in}\nallow_from = [\"127.0.0.0/8\"]\n\
             [[submitter]]\nusername = \"{USERNAME}\"\npassword_hash = \"{hash}\"\ncustomers = \"all\"\n\
             [egress]\naddress = \"127.0.0.1\"\nbind = \"127.0.0.1\"\n\
             [limits]\nmessage_size = \"{} MiB\"\n\
             [retry]\nfirst = \"1s\"\nlongest = \"2s\"\n\
             [web]\naddress = \"{web}\"\n{events}{}",
            state_dir.display(),
            setup.message_size.div_ceil(1 << 20),
            setup.spool,
        );
        fs::write(self.path("config/postbud.toml"), config)?;
        let keys = match setup.signer {
            Signer::Rsa => "selector = \"load1\"\nprivate_key = \"../../rsa.pem\"",
            Signer::Ed25519 => "selector = \"load2\"\nprivate_key = \"../../ed25519.pem\"",
            Signer::Both => {
                "selector = \"load1\"\nprivate_key = \"../../rsa.pem\"\n\
                 ed25519_selector = \"load2\"\ned25519_private_key = \"../../ed25519.pem\""
            }
        };
        let tls_out = match setup.tls_out {
            Tls::Off => "tls = \"off\"",
            Tls::Starttls => "tls = \"required\"\nca_file = \"../../ca.pem\"",
            Tls::Implicit => "tls = \"implicit\"\nca_file = \"../../ca.pem\"",
        };
        let auth_out = match (setup.auth_out, setup.tls_out) {
            (false, _) => String::new(),
            (true, tls) => {
                fs::write(self.path("config/sink.password"), PASSWORD)?;
                let clear = if tls == Tls::Off { "allow_plaintext_auth = true\n" } else { "" };
                format!("username = \"{USERNAME}\"\npassword_file = \"../sink.password\"\n{clear}")
            }
        };
        let customer = format!(
            "name = \"Load test\"\ndomains = [\"{DOMAIN}\"]\nbulk = \"warn\"\n[dkim]\n{keys}\n\
             [route]\nvia = \"own-server\"\nhost = \"{}\"\nport = {}\n{tls_out}\n{auth_out}\
             [route.limits]\nconcurrency = {}\n",
            setup.sink.ip(),
            setup.sink.port(),
            setup.concurrency
        );
        fs::write(self.path("config/customers/load-test.toml"), customer)?;
        Ok((listen, web))
    }
}

/// A CA and a certificate for localhost that it signed.
fn certificates(dir: &Path) -> anyhow::Result<()> {
    let ca_key = rcgen::KeyPair::generate()?;
    let mut ca = rcgen::CertificateParams::new(Vec::new())?;
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    fs::write(dir.join("ca.pem"), ca.self_signed(&ca_key)?.pem())?;
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate()?;
    let server = rcgen::CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    fs::write(dir.join("server.pem"), server.signed_by(&key, &issuer)?.pem())?;
    write_secret(&dir.join("server.key"), key.serialize_pem().as_bytes())
}

fn write_pem(path: &Path, der: &[u8]) -> anyhow::Result<()> {
    let base64 = STANDARD.encode(der);
    let lines: Vec<&str> = base64.as_bytes().chunks(64).map(|l| std::str::from_utf8(l).expect("base64")).collect();
    write_secret(
        path,
        format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n")).as_bytes(),
    )
}

fn write_secret(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    Ok(())
}

/// A free loopback address, by asking the kernel for one.
pub fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// A running postbud. Killed when dropped.
pub struct Relay {
    child: Child,
    log: PathBuf,
    /// Where it takes mail.
    pub listen: SocketAddr,
    /// Where it tells about itself.
    pub web: SocketAddr,
}

impl Relay {
    /// Starts `program run` on what was configured and waits until it answers.
    pub fn start(program: &Path, scratch: &Scratch, listen: SocketAddr, web: SocketAddr) -> anyhow::Result<Self> {
        let log = scratch.path("relay.log");
        let out = fs::File::create(&log)?;
        let child = Command::new(program)
            .args(["run", "--config"])
            .arg(scratch.path("config/postbud.toml"))
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut relay = Relay { child, log, listen, web };
        let began = Instant::now();
        loop {
            if let Some(status) = relay.child.try_wait()? {
                anyhow::bail!("the relay ended at once ({status}):\n{}", relay.last_words());
            }
            if greeted(listen) {
                return Ok(relay);
            }
            anyhow::ensure!(began.elapsed() < Duration::from_secs(20), "no greeting in 20 s:\n{}", relay.last_words());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The end of its log.
    pub fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    /// The sum of every metric whose name contains `part` (counters of one name with different labels add up).
    pub fn metric(&self, part: &str) -> Option<f64> {
        let text = scrape(self.web).ok()?;
        let values: Vec<f64> = text
            .lines()
            .filter(|line| {
                !line.starts_with('#') && line.split(['{', ' ']).next().is_some_and(|name| name.contains(part))
            })
            .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
            .collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// Asks it to stop, waits for it, and says whether it ended well.
    pub fn stop(mut self) -> anyhow::Result<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(30) {
            if let Some(status) = self.child.try_wait()? {
                anyhow::ensure!(status.success(), "the relay ended with {status}:\n{}", self.last_words());
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        anyhow::bail!("the relay did not stop within 30 s of SIGTERM:\n{}", self.last_words())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // Already gone after stop(); both calls then do nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns true if something listens there. Says nothing: an implicit-TLS port would not understand it.
fn greeted(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok()
}

fn scrape(web: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&web, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(format!("GET /metrics HTTP/1.1\r\nHost: {web}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let mut body = String::new();
    reader.read_to_string(&mut body)?;
    Ok(body)
}
