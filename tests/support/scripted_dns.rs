//! A DNS server on loopback, over UDP, that gives a test's answers, right or wrong, at once or late. Knot serves zones; this one behaves
//! like broken and slow servers.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hickory_resolver::proto::op::{Message, Metadata, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, CNAME, MX, NS, SOA, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record};
use postbud::resolver::{self, Dns, FixedZone, RecordType};

/// The server. It stops when dropped.
pub struct ScriptedDns {
    /// The address of the server.
    pub address: SocketAddr,
    stopped: Arc<AtomicBool>,
}

impl ScriptedDns {
    /// Answers each question with the answer that `script` fills in, which is NOERROR and empty before. The script gets the name without
    /// its trailing dot and the record type, and returns how long to delay the answer.
    pub fn start(script: impl Fn(&str, RecordType, &mut Message) -> Duration + Send + Sync + 'static) -> ScriptedDns {
        Self::start_with(None, script)
    }

    /// Does the same, but answers questions with EDNS with this code only, as servers that do not know it.
    pub fn start_with(
        code_for_edns: Option<ResponseCode>,
        script: impl Fn(&str, RecordType, &mut Message) -> Duration + Send + Sync + 'static,
    ) -> ScriptedDns {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback has ports");
        let address = socket.local_addr().expect("a bound socket has an address");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout can be set");
        let stopped = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopped);
        std::thread::spawn(move || {
            let mut question = [0; 4096];
            while !stop.load(Ordering::Relaxed) {
                let Ok((len, from)) = socket.recv_from(&mut question) else { continue };
                let Some((answer, wait)) = answered(&question[..len], code_for_edns, &script) else { continue };
                let socket = socket.try_clone().expect("a socket can be shared");
                std::thread::spawn(move || {
                    std::thread::sleep(wait);
                    let _ = socket.send_to(&answer, from);
                });
            }
        });
        ScriptedDns { address, stopped }
    }

    /// Returns a resolver that asks this server once.
    pub fn resolver(&self) -> Dns {
        let settings = resolver::Settings {
            servers: vec![self.address],
            timeout: Duration::from_secs(5),
            attempts: 0,
            ..resolver::Settings::default()
        };
        Dns::new(&settings).expect("a server is named")
    }
}

impl Drop for ScriptedDns {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

fn answered(
    question: &[u8],
    code_for_edns: Option<ResponseCode>,
    script: &impl Fn(&str, RecordType, &mut Message) -> Duration,
) -> Option<(Vec<u8>, Duration)> {
    let question = Message::from_vec(question).ok()?;
    let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
    answer.metadata = Metadata::response_from_request(&question.metadata);
    answer.metadata.recursion_available = true;
    let query = question.queries.first()?.clone();
    let name = query.name().to_ascii().trim_end_matches('.').to_ascii_lowercase();
    let asked = query.query_type().to_string();
    let record_type =
        [RecordType::A, RecordType::Aaaa, RecordType::Txt, RecordType::Mx, RecordType::Cname, RecordType::Ptr]
            .into_iter()
            .find(|record_type| record_type.as_str() == asked)?;
    answer.add_query(query);
    if let Some(code) = code_for_edns.filter(|_| question.edns.is_some()) {
        answer.metadata.response_code = code;
        return Some((answer.to_vec().ok()?, Duration::ZERO));
    }
    let wait = script(&name, record_type, &mut answer);
    Some((answer.to_vec().ok()?, wait))
}

/// Makes an absolute name.
pub fn name(text: &str) -> Name {
    Name::from_ascii(format!("{}.", text.trim_end_matches('.'))).expect("a test's name is one")
}

/// Makes the SOA of a zone, as in a negative answer.
pub fn soa(zone: &str) -> Record {
    let data = SOA::new(name("ns.test"), name("hostmaster.test"), 1, 60, 60, 60, 1);
    Record::from_rdata(name(zone), 60, RData::SOA(data))
}

/// Makes a name server of a zone, as in a referral.
pub fn ns(zone: &str) -> Record {
    Record::from_rdata(name(zone), 60, RData::NS(NS(name("ns.elsewhere.test"))))
}

/// Makes a record that makes `from` an alias of `to`.
pub fn cname(from: &str, to: &str) -> Record {
    Record::from_rdata(name(from), 60, RData::CNAME(CNAME(name(to))))
}

/// Fills in the answer of a zone, as a resolver would. The TTL is 0, so nothing is cached.
pub fn from_zone(zone: &FixedZone, asked: &str, record_type: RecordType, answer: &mut Message) {
    let Ok(found) = zone.answer(asked, record_type) else {
        answer.metadata.response_code = ResponseCode::ServFail;
        return;
    };
    if found.records.is_empty() {
        if found.no_such_name {
            answer.metadata.response_code = ResponseCode::NXDomain;
        }
        answer.add_authority(soa("."));
    }
    for record in found.records {
        let data = match record {
            resolver::Record::A(ip) => RData::A(A(ip)),
            resolver::Record::Txt(strings) => RData::TXT(TXT::from_bytes(strings.iter().map(Vec::as_slice).collect())),
            resolver::Record::Mx(preference, host) => RData::MX(MX::new(preference, name(&host))),
            resolver::Record::Cname(target) => RData::CNAME(CNAME(name(&target))),
            other => panic!("a scripted zone does not serve {other:?}"),
        };
        answer.add_answer(Record::from_rdata(name(asked), 0, data));
    }
}
