//! Logs in to a smarthost (`login`, `sasl`), with a password or a token (`oauth`; `entra` explains Microsoft's refusals).

mod entra;
pub(super) mod login;
pub(super) mod oauth;
pub(super) mod sasl;
