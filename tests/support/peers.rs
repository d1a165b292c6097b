//! Real servers that tests deliver to. Each is started in a scratch folder on a free port of loopback, with a login, a certificate and a
//! readable mailbox. Needs `certs.rs` and `skip.rs` as siblings:
//!
//! ```ignore
//! #[path = "support/certs.rs"] mod certs;
//! #[path = "support/skip.rs"] mod skip;
//! #[path = "support/peers.rs"] mod peers;
//! ```
//!
//! A server ends with its [`Peer`], and after three minutes in any case.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::certs::Authority;
pub use super::ports::free_port;
use super::skip::skip;

/// The login that every peer knows.
pub const USERNAME: &str = "webcrm";
/// The password of that user.
pub const PASSWORD: &str = "hemmelig-nok-123";
/// The realm of that login where the server has realms.
pub const REALM: &str = "egenserver.test";

/// The settings of a peer.
#[derive(Clone, Debug)]
pub struct Options {
    /// STARTTLS is offered (with a certificate for `localhost` and 127.0.0.1, issued by [`Peer::ca`]).
    pub starttls: bool,
    /// A login is offered and required.
    pub login: bool,
    /// A login without TLS is accepted.
    pub login_in_clear: bool,
    /// The mechanisms offered.
    pub mechanisms: &'static str,
    /// The address to listen at; loopback unless a test has its own network.
    pub address: &'static str,
    /// Further lines of its configuration (Postfix: main.cf).
    pub more: Vec<String>,
    /// Domains whose mail it forwards to a server on this machine.
    pub routes: Vec<(&'static str, SocketAddr)>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            starttls: true,
            login: true,
            login_in_clear: false,
            mechanisms: "PLAIN LOGIN",
            address: "127.0.0.1",
            more: Vec::new(),
            routes: Vec::new(),
        }
    }
}

/// A running server.
pub struct Peer {
    /// The address at which it accepts mail, with STARTTLS if configured.
    pub smtp: SocketAddr,
    /// The certificate authority of its certificate.
    pub ca: PathBuf,
    dir: tempfile::TempDir,
    mailboxes: Vec<PathBuf>,
    log: PathBuf,
    server: Child,
}

impl Drop for Peer {
    fn drop(&mut self) {
        // `timeout` passes SIGTERM on to the server it watches.
        let _ = Command::new("kill").arg(self.server.id().to_string()).status();
        let _ = self.server.wait();
    }
}

impl Peer {
    /// Returns every message delivered so far, as in the mailbox, in no order.
    pub fn mails(&self) -> Vec<String> {
        let folders = self.mailboxes.iter().filter_map(|folder| fs::read_dir(folder).ok());
        folders
            .flatten()
            .flatten()
            .filter_map(|entry| fs::read(entry.path()).ok())
            .map(|mail| String::from_utf8_lossy(&mail).into_owned())
            .collect()
    }

    /// Waits until `count` messages are there; fails after 20 s with the server's log.
    pub fn wait_for_mails(&self, count: usize) -> Vec<String> {
        let begun = Instant::now();
        loop {
            let mails = self.mails();
            if mails.len() >= count {
                return mails;
            }
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "{} of {count} mails; log:\n{}",
                mails.len(),
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Returns the server's log.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Returns its scratch folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

/// Returns true if `test` can start servers that need root and `program`. Reports a skip if not.
pub fn can_run(test: &str, program: &str) -> bool {
    if !rustix::process::geteuid().is_root() {
        skip(test, &format!("{program} needs root"));
        return false;
    }
    if !Path::new(program).exists() {
        skip(test, &format!("{program} is not installed; tests/install fetches it"));
        return false;
    }
    true
}

/// Starts Postfix, which accepts mail for anybody (after the login, if one is configured) into one mailbox.
pub fn start_postfix(test: &str, options: &Options) -> Option<Peer> {
    if !can_run(test, "/usr/sbin/postfix") || (options.login && !can_run(test, "/usr/sbin/saslpasswd2")) {
        return None;
    }
    let dir = scratch();
    let path = |name: &str| dir.path().join(name).display().to_string();
    for folder in ["etc/sasl", "spool", "lib", "mail"] {
        fs::create_dir_all(path(folder)).unwrap();
    }
    chown(path("mail"), Some(65534), Some(65534)).unwrap();
    let postfix_user = id_of("postfix");
    chown(path("lib"), Some(postfix_user), None).unwrap();
    write_certificate(dir.path());
    let smtp = free_port(options.address);
    let mut main = format!(
        "compatibility_level = 3.6\nqueue_directory = {}\ndata_directory = {}\ncommand_directory = /usr/sbin\n\
         daemon_directory = /usr/lib/postfix/sbin\nmail_owner = postfix\nsetgid_group = postdrop\n\
         myhostname = mail.{REALM}\nmydestination =\nmynetworks = 192.0.2.254/32\ninet_interfaces = {}\ninet_protocols = ipv4\n\
         maillog_file = {}\nmaillog_file_prefixes = /\ndefault_transport = virtual\nvirtual_mailbox_base = {}\n\
         virtual_mailbox_maps = static:all/\nvirtual_minimum_uid = 1\nvirtual_uid_maps = static:65534\n\
         virtual_gid_maps = static:65534\nalias_maps =\nalias_database =\nsmtpd_peername_lookup = no\n",
        path("spool"),
        path("lib"),
        options.address,
        path("maillog"),
        path("mail"),
    );
    main.push_str("message_size_limit = 52428800\nvirtual_mailbox_limit = 0\nmailbox_size_limit = 0\n");
    if options.starttls {
        main.push_str(&format!(
            "smtpd_tls_cert_file = {}\nsmtpd_tls_key_file = {}\nsmtpd_tls_security_level = may\nsmtpd_tls_loglevel = 1\n",
            path("cert.pem"),
            path("cert.key"),
        ));
    }
    if options.login {
        let clear = if options.login_in_clear { "no" } else { "yes" };
        main.push_str(&format!(
            "smtpd_sasl_auth_enable = yes\ncyrus_sasl_config_path = {}\nsmtpd_sasl_local_domain = {REALM}\n\
             smtpd_tls_auth_only = {clear}\nsmtpd_recipient_restrictions = permit_sasl_authenticated, reject\n",
            path("etc/sasl"),
        ));
        fs::write(
            path("etc/sasl/smtpd.conf"),
            format!(
                "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: {}\nmech_list: {}\n",
                path("sasldb2"),
                options.mechanisms
            ),
        )
        .unwrap();
        let script = format!("printf %s '{PASSWORD}' | saslpasswd2 -p -c -f {} -u {REALM} {USERNAME}", path("sasldb2"));
        assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success(), "saslpasswd2");
        chown(path("sasldb2"), Some(postfix_user), None).unwrap();
    } else {
        // Postfix refuses a bare "permit" as an open relay, which is intended here.
        main.push_str("smtpd_relay_restrictions = check_recipient_access static:OK, reject\n");
    }
    if !options.routes.is_empty() {
        let to = |(domain, server): &(&str, SocketAddr)| {
            format!("{{ {domain} = smtp:[{}]:{} }}", server.ip(), server.port())
        };
        let all: Vec<String> = options.routes.iter().map(to).collect();
        main.push_str(&format!("transport_maps = inline:{{ {} }}\n", all.join(", ")));
    }
    for line in &options.more {
        main.push_str(line);
        main.push('\n');
    }
    fs::write(path("etc/main.cf"), main).unwrap();
    let services = "cleanup unix n - n - 0 cleanup\nqmgr unix n - n 300 1 qmgr\ntlsmgr unix - - n 1000? 1 tlsmgr\n\
         rewrite unix - - n - - trivial-rewrite\nbounce unix - - n - 0 bounce\ndefer unix - - n - 0 bounce\n\
         trace unix - - n - 0 bounce\nverify unix - - n - 1 verify\nflush unix n - n 1000? 0 flush\n\
         proxymap unix - - n - - proxymap\nerror unix - - n - - error\nretry unix - - n - - error\n\
         discard unix - - n - - discard\nsmtp unix - - n - - smtp\nvirtual unix - n n - - virtual\nanvil unix - - n - 1 anvil\n\
         scache unix - - n - 1 scache\npostlog unix-dgram n - n - 1 postlogd\n";
    fs::write(path("etc/master.cf"), format!("{smtp} inet n - n - - smtpd\n{services}")).unwrap();
    let server = watched("postfix").args(["-c", &path("etc"), "start-fg"]).spawn().unwrap();
    let (mailboxes, log) = (vec![dir.path().join("mail/all/new")], dir.path().join("maillog"));
    Some(ready(Peer { smtp, ca: dir.path().join("ca.pem"), dir, mailboxes, log, server }))
}

/// Returns a program that `tests/install` has unpacked.
pub fn unpacked(package: &str, program: &str) -> String {
    format!("{}/target/peers/{package}/{program}", env!("CARGO_MANIFEST_DIR"))
}

/// Starts Exim, which accepts mail for anybody after the login into one mailbox.
pub fn start_exim(test: &str, options: &Options) -> Option<Peer> {
    let program = unpacked("exim4-daemon-light", "usr/sbin/exim4");
    if !can_run(test, &program) {
        return None;
    }
    if !Command::new("id").arg("Debian-exim").stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success() {
        skip(test, "Exim's user Debian-exim is not there; tests/install makes it");
        return None;
    }
    let dir = scratch();
    let path = |name: &str| dir.path().join(name).display().to_string();
    for folder in ["spool", "log", "mail"] {
        fs::create_dir_all(path(folder)).unwrap();
        chown(path(folder), Some(65534), Some(65534)).unwrap();
    }
    write_certificate(dir.path());
    chown(path("cert.key"), Some(65534), None).unwrap();
    let smtp = free_port(options.address);
    let mut authenticators = String::new();
    if options.mechanisms.contains("PLAIN") {
        authenticators.push_str(&format!(
            "plain:\n driver = plaintext\n public_name = PLAIN\n server_prompts = :\n server_set_id = $auth2\n \
             server_condition = ${{if and{{{{eq{{$auth2}}{{{USERNAME}}}}}{{eq{{$auth3}}{{{PASSWORD}}}}}}}}}\n"
        ));
    }
    if options.mechanisms.contains("CRAM-MD5") {
        authenticators.push_str(&format!(
            "cram:\n driver = cram_md5\n public_name = CRAM-MD5\n server_set_id = $auth1\n \
             server_secret = ${{if eq{{$auth1}}{{{USERNAME}}}{{{PASSWORD}}}fail}}\n"
        ));
    }
    let config = format!(
        "primary_hostname = mail.{REALM}\nexim_path = {program}\nexim_user = nobody\nexim_group = nogroup\n\
         spool_directory = {}\nlog_file_path = {}/%slog\npid_file_path = {}\nlocal_interfaces = {}\n\
         daemon_smtp_ports = {}\ntls_advertise_hosts = *\ntls_certificate = {}\ntls_privatekey = {}\n\
         auth_advertise_hosts = ${{if def:tls_in_cipher {{*}}{{}}}}\nhost_lookup =\nrfc1413_query_timeout = 0s\n\
         never_users =\nlog_selector = +smtp_connection +received_recipients\nacl_smtp_rcpt = rcpt\n{}\n\
         begin acl\nrcpt:\n accept authenticated = *\n deny message = Relay not permitted\n\
         begin routers\n{}all:\n driver = accept\n transport = box\n\
         begin transports\nout:\n driver = smtp\nbox:\n driver = appendfile\n directory = {}\n maildir_format\n user = nobody\n group = nogroup\n\
         begin authenticators\n{authenticators}",
        path("spool"),
        path("log"),
        path("exim.pid"),
        options.address,
        smtp.port(),
        path("cert.pem"),
        path("cert.key"),
        options.more.join("\n"),
        options.routes.iter().map(exim_route).collect::<String>(),
        path("mail"),
    );
    fs::write(path("exim.conf"), config).unwrap();
    let server = watched(&program).args(["-C", &path("exim.conf"), "-bdf", "-q1h"]).spawn().unwrap();
    let (mailboxes, log) = (vec![dir.path().join("mail/new")], dir.path().join("log/mainlog"));
    Some(ready(Peer { smtp, ca: dir.path().join("ca.pem"), dir, mailboxes, log, server }))
}

fn exim_route((domain, server): &(&str, SocketAddr)) -> String {
    format!(
        "to_{}:\n driver = manualroute\n domains = {domain}\n route_list = * \"{}::{}\" byname\n self = send\n transport = out\n",
        domain.replace('.', "_"),
        server.ip(),
        server.port()
    )
}

/// Starts Dovecot's submission server, which accepts mail for anybody after the login and passes it on to the server at `behind`.
///
/// Dovecot looks for its parts under /usr/lib. Therefore the unpacked package is mounted over /usr in the server's own mount namespace.
pub fn start_dovecot(test: &str, options: &Options, behind: SocketAddr) -> Option<Peer> {
    if !can_run(test, &unpacked("dovecot-submissiond", "usr/sbin/dovecot")) || !can_overlay(test) {
        return None;
    }
    let dir = scratch();
    let path = |name: &str| dir.path().join(name).display().to_string();
    for folder in ["run", "state", "home"] {
        fs::create_dir_all(path(folder)).unwrap();
    }
    chown(path("home"), Some(65534), Some(65534)).unwrap();
    write_certificate(dir.path());
    let smtp = free_port(options.address);
    let config = format!(
        "protocols = submission\nbase_dir = {}\nstate_dir = {}\nlog_path = {}\nhostname = mail.{REALM}\nlisten = {}\n\
         default_internal_user = nobody\ndefault_internal_group = nogroup\ndefault_login_user = daemon\n\
         first_valid_uid = 1\nmail_location = maildir:{}\nauth_mechanisms = {}\nauth_failure_delay = 0\n\
         ssl = required\nssl_cert = <{}\nssl_key = <{}\n\
         submission_relay_host = {}\nsubmission_relay_port = {}\n\
         passdb {{\n driver = static\n args = user={USERNAME} password={PASSWORD}\n}}\n\
         userdb {{\n driver = static\n args = uid=65534 gid=65534 home={}\n}}\n\
         service submission-login {{\n inet_listener submission {{\n port = {}\n }}\n}}\n",
        path("run"),
        path("state"),
        path("log"),
        options.address,
        path("home"),
        options.mechanisms.to_lowercase(),
        path("cert.pem"),
        path("cert.key"),
        behind.ip(),
        behind.port(),
        path("home"),
        smtp.port(),
    );
    fs::write(path("dovecot.conf"), config).unwrap();
    let script = "mount -t overlay overlay -o lowerdir=\"$1\":/usr /usr && exec dovecot -F -c \"$2\"";
    let server = watched("unshare")
        .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script, "dovecot"])
        .args([&unpacked("dovecot-submissiond", "usr"), &path("dovecot.conf")])
        .spawn()
        .unwrap();
    let (mailboxes, log) = (Vec::new(), dir.path().join("log"));
    Some(ready(Peer { smtp, ca: dir.path().join("ca.pem"), dir, mailboxes, log, server }))
}

/// Starts aiosmtpd, which accepts mail for anybody after STARTTLS and AUTH LOGIN (it offers nothing else) into one mailbox.
pub fn start_aiosmtpd(test: &str) -> Option<Peer> {
    let modules = unpacked("python3-aiosmtpd", "usr/lib/python3/dist-packages");
    if !Path::new(&modules).exists() {
        skip(test, "aiosmtpd is not there; tests/install fetches it");
        return None;
    }
    let dir = scratch();
    let path = |name: &str| dir.path().join(name).display().to_string();
    fs::create_dir(path("mail")).unwrap();
    write_certificate(dir.path());
    let smtp = free_port("127.0.0.1");
    let log = dir.path().join("log");
    let written = fs::File::create(&log).unwrap();
    let server = watched("/usr/bin/python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/aiosmtpd_server.py"))
        .args([&smtp.port().to_string(), &path("cert.pem"), &path("cert.key"), &path("mail"), USERNAME, PASSWORD])
        .env("PYTHONPATH", modules)
        .stdout(written.try_clone().unwrap())
        .stderr(written)
        .spawn()
        .unwrap();
    let mailboxes = vec![dir.path().join("mail")];
    Some(ready(Peer { smtp, ca: dir.path().join("ca.pem"), dir, mailboxes, log, server }))
}

/// Returns true if this machine lets `test` mount a folder over another in a mount namespace. Reports a skip if not.
fn can_overlay(test: &str) -> bool {
    let script = "mount -t overlay overlay -o lowerdir=\"$1\":/usr /usr";
    let tried = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh", &unpacked("dovecot-submissiond", "usr")])
        .stderr(Stdio::null())
        .status();
    let able = tried.is_ok_and(|status| status.success());
    if !able {
        skip(test, "no overlay mount in a namespace of one's own here");
    }
    able
}

/// Starts a SOCKS5 proxy, with a login if one is given.
pub fn start_microsocks(test: &str, login: Option<(&str, &str)>) -> Option<(SocketAddr, Stopped)> {
    let program = unpacked("microsocks", "usr/bin/microsocks");
    if !Path::new(&program).exists() {
        skip(test, "microsocks is not there; tests/install fetches it");
        return None;
    }
    let address = free_port("127.0.0.1");
    let mut command = watched(&program);
    command.args(["-i", "127.0.0.1", "-p", &address.port().to_string()]);
    if let Some((user, password)) = login {
        command.args(["-u", user, "-P", password]);
    }
    let proxy = Stopped(command.spawn().unwrap());
    let begun = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(10), "microsocks does not listen");
        std::thread::sleep(Duration::from_millis(10));
    }
    Some((address, proxy))
}

/// A process that ends when this is dropped.
pub struct Stopped(Child);

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

/// Makes a scratch folder that servers of other users can read.
fn scratch() -> tempfile::TempDir {
    let dir = tempfile::Builder::new().prefix("postbud-peer-").tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

fn write_certificate(dir: &Path) {
    let authority = Authority::new();
    fs::write(dir.join("ca.pem"), &authority.pem).unwrap();
    authority.issue(&["localhost", "127.0.0.1"]).write(dir);
}

/// Makes a command that ends after three minutes, whatever happens to the test.
fn watched(program: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args(["-k", "5", "180", program]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Waits until the server accepts connections.
fn ready(mut peer: Peer) -> Peer {
    let begun = Instant::now();
    while TcpStream::connect(peer.smtp).is_err() {
        if let Some(status) = peer.server.try_wait().unwrap() {
            panic!("the server ended ({status}); log:\n{}", peer.log());
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "the server does not listen; log:\n{}", peer.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    peer
}

/// Returns a user's number from /etc/passwd.
fn id_of(user: &str) -> u32 {
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let line = passwd.lines().find(|line| line.starts_with(&format!("{user}:"))).expect("the user exists");
    line.split(':').nth(2).and_then(|id| id.parse().ok()).expect("a user id")
}
