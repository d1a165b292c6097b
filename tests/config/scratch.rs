//! A folder with the project's example configuration and everything it names, made anew.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use postbud::dkim::SigningKey;

/// `config/`, `keys/` and `certs/` as after the steps that config/postbud.toml asks for.
pub struct Scratch {
    dir: tempfile::TempDir,
}

impl Scratch {
    pub fn new() -> Self {
        let scratch = Scratch { dir: tempfile::tempdir().expect("a temporary folder") };
        copy(&project().join("config"), &scratch.path("config"));
        for name in ["mailjet-starter.key", "mailjet-starter.secret", "mailjet-trusted.key", "mailjet-trusted.secret"] {
            scratch.write_secret(&format!("config/secrets/{name}"), "not-a-real-credential\n");
        }
        scratch.write_secret("config/secrets/egenserver.password", "not-a-real-password\n");
        scratch.write_secret("config/secrets/webcrm.hash", password_hash());
        scratch.write_secret("keys/test.dk.pem", rsa_key());
        scratch.write_secret("keys/egenserver.dk.pem", rsa_key());
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        scratch.write("certs/server.pem", &made.cert.pem());
        scratch.write_secret("certs/server.key", &made.signing_key.serialize_pem());
        let other = rcgen::KeyPair::generate().expect("an EC key");
        scratch.write_secret("keys/other-ec.pem", &other.serialize_pem());
        scratch
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("inside the folder")).expect("the folder can be made");
        fs::write(path, content).expect("the file can be written");
    }

    pub fn write_secret(&self, name: &str, content: &str) {
        self.write(name, content);
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).expect("chmod");
    }

    /// Copies a case's files over the examples.
    pub fn overlay(&self, case: &Path) {
        copy(case, &self.path(""));
    }

    /// Runs postbud here.
    pub fn postbud(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("postbud runs")
    }

    /// What runs it.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_postbud"));
        command.args(arguments).current_dir(self.dir.path()).env_remove("POSTBUD_CONFIG");
        command
    }
}

/// The project's folder.
pub fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the folder can be made");
    for entry in fs::read_dir(from).expect("the folder can be read") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        match entry.file_type().expect("a type").is_dir() {
            // What a developer keeps there is not part of a clean clone.
            true if entry.file_name() == "secrets" => {}
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).expect("the file can be copied")),
        }
    }
}

fn rsa_key() -> &'static str {
    static KEY: OnceLock<String> = OnceLock::new();
    KEY.get_or_init(|| SigningKey::generate_rsa(2048).and_then(|key| Ok(key.to_pem()?.to_string())).expect("a key"))
}

/// Of "hemmeligt", made by `postbud hash-password`.
fn password_hash() -> &'static str {
    "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$SqlVijFGiPG+935vDSGEsA"
}
