//! The version of postbud, with its commit and compiler.

/// The version, as packages and the pages name it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit of the build; `unknown` in a developer's build.
pub const COMMIT: &str = env!("POSTBUD_BUILD_COMMIT");
/// The text of `postbud --version` after the program's name.
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
