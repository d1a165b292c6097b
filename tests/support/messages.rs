//! Leased messages and routes for delivery tests.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use postbud::delivery::{Delivery, Egress, Outcome, Settings, Timeouts};
use postbud::message::QueueIds;
use postbud::route::{Caps, Login, LoginSecret, Route, RouteId, RouteKind, TlsMode, TlsPolicy};
use postbud::spool::{Bytes, Error, Pending, ReadChunk, Record};

use crate::records::record;

static IDS: QueueIds = QueueIds::new(1);

/// A message in memory.
pub struct Message {
    pub record: Record,
    pub bytes: Bytes,
}

struct Chunks(Vec<Vec<u8>>);

impl ReadChunk for Chunks {
    fn chunks(&self) -> usize {
        self.0.len()
    }
    fn read(self: Arc<Self>, index: usize) -> Pending<Result<Vec<u8>, Error>> {
        Box::pin(async move { Ok(self.0[index].clone()) })
    }
}

/// Makes a message with `Subject: test` and a short body, from a@test.dk.
pub fn message(to: &[&str]) -> Message {
    message_of(to, &["Subject: test\r\nFrom: a@test.dk\r\n\r\nbody\r\n.dot\r\n"])
}

/// Makes a message with content in these chunks.
pub fn message_of(to: &[&str], chunks: &[&str]) -> Message {
    let prefix = b"DKIM-Signature: v=1\r\n".to_vec();
    let content_len: u64 = chunks.iter().map(|chunk| chunk.len() as u64).sum();
    let header_len = chunks[0].find("\r\n\r\n").map_or(chunks[0].len(), |at| at + 2) as u32;
    let size = prefix.len() as u64 + content_len;
    let source = Arc::new(Chunks(chunks.iter().map(|chunk| chunk.as_bytes().to_vec()).collect()));
    let record = Record { id: IDS.next(), size, ..record("bounce@test.dk", to) };
    Message { record, bytes: Bytes::new(prefix, header_len, content_len, source) }
}

/// Makes a plaintext route without login.
pub fn route(server: SocketAddr) -> Route {
    Route {
        id: RouteId::new("own-server.test-as"),
        kind: RouteKind::OwnServer,
        host: server.ip().to_string(),
        port: server.port(),
        tls: TlsPolicy { mode: TlsMode::Off, ..TlsPolicy::default() },
        login: None,
        caps: Caps::default(),
        message_size: 50 << 20,
        verp: false,
        public_only: false,
    }
}

/// Makes a login by password.
pub fn login(username: &str, password: &str) -> Option<Login> {
    let secret = LoginSecret::Password(password.to_owned());
    Some(Login::new(username, secret))
}

/// Makes settings with short time limits, bound to `local`.
pub fn settings_from(local: IpAddr) -> Settings {
    let second = Duration::from_secs(1);
    let timeouts = Timeouts {
        connect: second,
        greeting: second,
        handshake: second,
        mail: second,
        rcpt: second,
        data_start: second,
        data_block: second,
        data_end: second,
        quit: second,
    };
    Settings { timeouts, ..Settings::new("out.webcrm.test", Egress::bound([40, 74, 40, 57].into(), local)) }
}

/// Makes a delivery with short time limits over loopback.
pub fn delivery() -> Delivery {
    Delivery::new(settings_from([127, 0, 0, 1].into())).unwrap()
}

/// Makes a delivery with normal time limits, for real servers.
pub fn patient_delivery() -> Delivery {
    Delivery::new(Settings::new("out.webcrm.test", Egress::bound([40, 74, 40, 57].into(), [127, 0, 0, 1].into())))
        .unwrap()
}

/// Makes one attempt for all recipients.
pub async fn attempt(delivery: &Delivery, route: &Arc<Route>, message: &Message) -> Outcome {
    let all: Vec<usize> = (0..message.record.envelope.recipients.len()).collect();
    delivery.attempt(route, &message.record, &message.bytes, &all, b"").await
}
