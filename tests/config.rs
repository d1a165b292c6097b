//! Configuration from the operator's side: the examples are valid, every mistake is found at once, and a reload names the changes that it
//! cannot make.

#[path = "support/skip.rs"]
mod skip;

#[path = "support/certs.rs"]
mod certs;

mod config {
    mod examples;
    mod logins;
    mod mistakes;
    mod odd_files;
    mod reload;
    pub mod scratch;
}
