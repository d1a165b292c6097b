//! Reports when tokens expire, as a metric, because a program with an expired token is refused without warning.

use std::fmt;
use std::sync::PoisonError;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::Tokens;

/// The maximum number of tokens in the metric: those that expire first.
const TOLD: usize = 100;

/// Reports each token that expires, also after its expiry, until it is revoked.
pub struct Expiry(pub Tokens);

impl fmt::Debug for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Expiry")
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    token: String,
}

impl Collector for Expiry {
    fn encode(&self, mut out: DescriptorEncoder) -> Result<(), fmt::Error> {
        let mut expiring: Vec<(u64, String)> = {
            let known = self.0.0.known.read().unwrap_or_else(PoisonError::into_inner);
            let expires = |known: &super::KnownToken| Some((known.kept.expires?.as_secs(), known.kept.name.clone()));
            known.values().filter_map(|known| expires(known)).collect()
        };
        expiring.sort();
        let family = Family::<Labels, Gauge>::default();
        for (at, token) in expiring.into_iter().take(TOLD) {
            family.get_or_create(&Labels { token }).set(i64::try_from(at).unwrap_or(i64::MAX));
        }
        let help = "When a token of the HTTP interface expires, Unix time";
        let encoder = out.encode_descriptor("api_token_expiry_timestamp_seconds", help, None, family.metric_type())?;
        family.encode(encoder)
    }
}
