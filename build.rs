//! Tells the program which commit it is built from, and how. `postbud --version` says so.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=POSTBUD_COMMIT");
    let profile = env::var("PROFILE").unwrap_or_default();
    // A build from an archive of the source has no repository: whoever makes it names the commit.
    let named = env::var("POSTBUD_COMMIT").ok().filter(|commit| !commit.is_empty());
    // Only a release asks git. A developer's build would be made anew after every commit.
    let commit = named.or_else(|| if profile == "release" { asked_git() } else { None });
    println!("cargo:rustc-env=POSTBUD_BUILD_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
    println!("cargo:rustc-env=POSTBUD_BUILD_PROFILE={profile}");
    println!("cargo:rustc-env=POSTBUD_BUILD_TARGET={}", env::var("TARGET").unwrap_or_default());
    println!("cargo:rustc-env=POSTBUD_BUILD_COMPILER={}", compiler().as_deref().unwrap_or("rustc"));
}

/// The commit of the working tree, with `-dirty` behind it where files differ from it.
fn asked_git() -> Option<String> {
    for name in ["HEAD", "index"] {
        println!("cargo:rerun-if-changed={}", output("git", &["rev-parse", "--git-path", name])?);
    }
    let commit = output("git", &["rev-parse", "--short=12", "HEAD"])?;
    // Without locks, git does not write the index, whose new time would make the next build start from the beginning.
    let changed = output("git", &["--no-optional-locks", "status", "--porcelain", "--untracked-files=no"])?;
    Some(if changed.is_empty() { commit } else { format!("{commit}-dirty") })
}

/// `rustc 1.95.0`
fn compiler() -> Option<String> {
    let said = output(&env::var("RUSTC").ok()?, &["--version"])?;
    Some(said.split(' ').take(2).collect::<Vec<_>>().join(" "))
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
