//! Which postbud this is: its version, and the commit and the compiler that made it.

/// The version, as packages and the pages name it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit it was built from; `unknown` in a developer's build.
pub const COMMIT: &str = env!("POSTBUD_BUILD_COMMIT");
/// What `postbud --version` says after the program's name.
pub const LONG: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (commit ",
    env!("POSTBUD_BUILD_COMMIT"),
    ", ",
    env!("POSTBUD_BUILD_PROFILE"),
    ", ",
    env!("POSTBUD_BUILD_TARGET"),
    ", ",
    env!("POSTBUD_BUILD_COMPILER"),
    ")"
);
