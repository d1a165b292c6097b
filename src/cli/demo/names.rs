//! The demo's own DNS server: a zone in memory, over UDP on the loopback interface. With it the demo's customer has domains, and nobody
//! else's server is asked.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use hickory_resolver::proto::op::{Message, Metadata, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, CNAME, MX, SOA, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record};
use tokio::net::UdpSocket;

use crate::resolver::{self, FixedZone, RecordType};

/// The maximum size of our queries.
const LONGEST: usize = 1232;

/// Answers from a zone until the runtime ends. Returns its address.
pub(super) async fn serve(zone: FixedZone) -> anyhow::Result<SocketAddr> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.context("no name server can be started")?;
    let address = socket.local_addr()?;
    let zone = Arc::new(zone);
    tokio::spawn(async move {
        let mut question = [0; LONGEST];
        while let Ok((len, from)) = socket.recv_from(&mut question).await {
            if let Some(answer) = answer(&question[..len], &zone) {
                // A client without an answer asks again.
                let _ = socket.send_to(&answer, from).await;
            }
        }
    });
    Ok(address)
}

fn answer(question: &[u8], zone: &FixedZone) -> Option<Vec<u8>> {
    let question = Message::from_vec(question).ok()?;
    let query = question.queries.first()?.clone();
    let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
    answer.metadata = Metadata::response_from_request(&question.metadata);
    answer.metadata.recursion_available = true;
    let name = query.name().to_ascii().trim_end_matches('.').to_ascii_lowercase();
    let asked = query.query_type().to_string();
    let kinds = [
        RecordType::A,
        RecordType::Aaaa,
        RecordType::Txt,
        RecordType::Mx,
        RecordType::Cname,
        RecordType::Ptr,
        RecordType::Soa,
    ];
    let kind = kinds.into_iter().find(|kind| kind.as_str() == asked);
    answer.add_query(query);
    let found = kind.and_then(|kind| zone.answer(&name, kind).ok());
    let records = found.as_ref().map_or(&[][..], |found| &found.records);
    if records.is_empty() {
        if found.as_ref().is_some_and(|found| found.no_such_name) {
            answer.metadata.response_code = ResponseCode::NXDomain;
        }
        answer.add_authority(Record::from_rdata(Name::root(), 60, RData::SOA(soa()?)));
    }
    for data in records.iter().filter_map(data) {
        answer.add_answer(Record::from_rdata(absolute(&name)?, 60, data));
    }
    answer.to_vec().ok()
}

fn data(record: &resolver::Record) -> Option<RData> {
    Some(match record {
        resolver::Record::A(address) => RData::A(A(*address)),
        resolver::Record::Txt(strings) => RData::TXT(TXT::from_bytes(strings.iter().map(Vec::as_slice).collect())),
        resolver::Record::Mx(preference, host) => RData::MX(MX::new(*preference, absolute(host)?)),
        resolver::Record::Cname(target) => RData::CNAME(CNAME(absolute(target)?)),
        resolver::Record::Soa(_) => RData::SOA(soa()?),
        // The demo's zone has no other types.
        _ => return None,
    })
}

fn soa() -> Option<SOA> {
    Some(SOA::new(absolute("ns.demo.example")?, absolute("hostmaster.demo.example")?, 1, 60, 60, 60, 1))
}

fn absolute(name: &str) -> Option<Name> {
    Name::from_ascii(format!("{}.", name.trim_end_matches('.'))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolver::Dns;

    #[tokio::test]
    async fn it_answers_what_the_zone_has_and_nothing_else() {
        let zone = FixedZone::parse("a.example TXT \"v=spf1 mx ~all\"\na.example MX 10 mx.a.example").unwrap();
        let settings =
            resolver::Settings { servers: vec![serve(zone).await.unwrap()], ..resolver::Settings::default() };
        let dns = Dns::new(&settings).unwrap();
        let ask = async |name: &str, kind| resolver::Resolver::query(&dns, name, kind).await.unwrap();
        assert_eq!(
            ask("a.example", RecordType::Txt).await.records,
            [resolver::Record::Txt(vec![b"v=spf1 mx ~all".to_vec()])]
        );
        assert!(ask("b.example", RecordType::Txt).await.no_such_name);
        let nothing = ask("a.example", RecordType::A).await;
        assert!(nothing.records.is_empty() && !nothing.no_such_name);
    }
}
