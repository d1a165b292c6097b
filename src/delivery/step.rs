//! The steps of a conversation with a smarthost, as the probe shows them and the counters label them.

use std::fmt;

use serde::{Serialize, Serializer};

/// One step, from the name of the host to the last command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Looking up the host's addresses.
    Resolve,
    /// Reading the certificates that the route's configuration names.
    Policy,
    /// Opening the connection.
    Connect,
    /// The server's first line.
    Greeting,
    /// EHLO, or HELO.
    Hello,
    /// STARTTLS and the handshake.
    Tls,
    /// The server's certificate.
    Certificate,
    /// Fetching the login's token from its provider.
    Token,
    /// AUTH.
    Login,
    /// MAIL FROM.
    Mail,
    /// RCPT TO.
    Rcpt,
    /// DATA, up to the 354.
    Data,
    /// The end of the content, up to the server's reply.
    End,
    /// RSET.
    Rset,
    /// The same recipient without a login: does the server relay for strangers?
    OpenRelay,
}

impl Step {
    /// The name in reports, JSON and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Step::Resolve => "resolve",
            Step::Policy => "policy",
            Step::Connect => "connect",
            Step::Greeting => "greeting",
            Step::Hello => "hello",
            Step::Tls => "tls",
            Step::Certificate => "certificate",
            Step::Token => "token",
            Step::Login => "login",
            Step::Mail => "MAIL",
            Step::Rcpt => "RCPT",
            Step::Data => "DATA",
            Step::End => "final dot",
            Step::Rset => "RSET",
            Step::OpenRelay => "open relay",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Step {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(self.as_str())
    }
}
