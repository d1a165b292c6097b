//! Configuration as an operator meets it: the examples pass, every mistake is found in one go, a reload names what it cannot do.

#[path = "support/skip.rs"]
mod skip;

mod config {
    mod examples;
    mod logins;
    mod mistakes;
    mod odd_files;
    mod reload;
    pub mod scratch;
}
