//! The DKIM engine against the RFCs, a slow model, other verifiers, and hostile input.

#[path = "../benches/corpus/mod.rs"]
#[allow(dead_code, reason = "shared with the benches, which use all of it")]
mod corpus;

#[path = "support/skip.rs"]
mod skip;

#[path = "dkim/key_records.rs"]
mod key_records;
#[path = "dkim/keys.rs"]
mod keys;
#[path = "dkim/mail_auth.rs"]
mod mail_auth_agrees;
#[path = "dkim/model.rs"]
mod model;
#[path = "dkim/properties.rs"]
mod properties;
#[path = "dkim/rfc6376.rs"]
mod rfc6376;
#[path = "dkim/rfc8463.rs"]
mod rfc8463;
#[path = "dkim/signatures.rs"]
mod signatures;
#[path = "dkim/strangers_bodies.rs"]
mod strangers_bodies;
#[path = "dkim/verifiers.rs"]
mod verifiers;
