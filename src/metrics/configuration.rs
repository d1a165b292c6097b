//! Metrics for alerting rules besides the stages' counters: the version, the last reload, and when certificates expire.

use std::fmt;
use std::sync::atomic::AtomicU64;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::customers::{Routing, SigningDomain};
use crate::submission::ServerTls;
use crate::time::Timestamp;
use crate::version;

/// Says which version runs.
pub fn register_build(stages: &mut Registry) {
    let labels = [("version", version::VERSION), ("commit", version::COMMIT)];
    let build = Family::<_, Gauge>::default();
    build.get_or_create(&labels).set(1);
    stages.register("build_info", "The version that runs; always 1", build);
}

/// The result of the last reload of the configuration. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Reloads {
    successful: Gauge,
    at: Gauge<f64, AtomicU64>,
}

impl Reloads {
    /// Adds the gauges to a registry. The start counts as a successful reload.
    pub fn register(&self, stages: &mut Registry) {
        self.ended(true);
        let help = "1 if the last reload was taken over, 0 if it was refused and the old configuration goes on";
        stages.register("reload_successful", help, self.successful.clone());
        let help = "When the configuration was last taken over, Unix time";
        stages.register("reload_success_timestamp_seconds", help, self.at.clone());
    }

    /// Records the result of a reload.
    pub fn ended(&self, successful: bool) {
        self.successful.set(i64::from(successful));
        if successful {
            self.at.set(Timestamp::now().as_millis() as f64 / 1000.0);
        }
    }
}

/// When the certificates of the listeners expire.
#[derive(Debug)]
pub struct Certificates(pub Vec<ServerTls>);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CertificateLabels {
    certificate: String,
}

/// How long signatures are valid, where they expire. Mail that waits longer is held.
pub struct Signatures(pub Routing);

impl fmt::Debug for Signatures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signatures")
    }
}

impl Collector for Signatures {
    fn encode(&self, mut out: DescriptorEncoder) -> Result<(), fmt::Error> {
        let directory = self.0.directory();
        let domains = directory.customers().flat_map(|customer| &customer.domains);
        let shortest = domains.filter_map(|(domain, signing)| match signing {
            SigningDomain::Ready(signer) => signer.profiles_of(domain).filter_map(|profile| profile.expires).min(),
            SigningDomain::Broken(_) => None,
        });
        let Some(shortest) = shortest.min() else { return Ok(()) };
        let gauge = ConstGauge::new(i64::try_from(shortest.as_secs()).unwrap_or(i64::MAX));
        let help = "The shortest time that a DKIM signature is valid; absent where signatures do not expire";
        let encoder = out.encode_descriptor("dkim_signature_lifetime_seconds", help, None, gauge.metric_type())?;
        gauge.encode(encoder)
    }
}

impl Collector for Certificates {
    fn encode(&self, mut out: DescriptorEncoder) -> Result<(), fmt::Error> {
        let family = Family::<CertificateLabels, Gauge>::default();
        for tls in &self.0 {
            if let Some(at) = tls.expires() {
                let labels = CertificateLabels { certificate: tls.certificate().display().to_string() };
                family.get_or_create(&labels).set(at);
            }
        }
        let help = "When the certificate in use expires, Unix time";
        let encoder =
            out.encode_descriptor("certificate_expiry_timestamp_seconds", help, None, family.metric_type())?;
        family.encode(encoder)
    }
}
