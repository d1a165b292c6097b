//! The two text formats of a scrape: Prometheus' own format, and OpenMetrics for readers that prefer it.
//!
//! The registry writes OpenMetrics. There, the type and help of a counter have its name without `_total`, but Prometheus' format expects
//! the full name. For that format, these lines are rewritten.

use prometheus_client::registry::Registry;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format 0.0.4.
    Text,
    OpenMetrics,
}

impl Format {
    /// Chooses the format by a request's Accept header (RFC 9110 §12.5.1); several headers are joined by commas. Without a preference, or
    /// if neither format is accepted, it is Prometheus' format.
    pub fn accepted(accept: &str) -> Self {
        let openmetrics = quality(accept, "application", "openmetrics-text");
        if openmetrics > quality(accept, "text", "plain") { Format::OpenMetrics } else { Format::Text }
    }

    /// The value of Content-Type.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// Encodes the present content of the registry.
    pub fn encode(self, registry: &Registry) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry).expect("a String takes every write");
        match self {
            Format::OpenMetrics => text,
            Format::Text => to_prometheus(&text),
        }
    }
}

/// Returns the weight of a media type in thousandths, from the most specific range that covers it.
fn quality(accept: &str, wanted_type: &str, wanted_subtype: &str) -> u32 {
    let ranges = accept.split(',').filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let is = |given: &str, wanted: &str| given.eq_ignore_ascii_case(wanted);
        let specific = match (kind, subtype) {
            ("*", "*") => 1,
            (kind, "*") if is(kind, wanted_type) => 2,
            (kind, subtype) if is(kind, wanted_type) && is(subtype, wanted_subtype) => 3,
            _ => return None,
        };
        let q = parts.find_map(|parameter| parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q=")));
        let q: f32 = q.map_or(Some(1.0), |q| q.trim().parse().ok()).filter(|q| (0.0..=1.0).contains(q))?;
        Some((specific, (q * 1000.0) as u32))
    });
    // If a type is listed with several versions, the highest weight counts.
    ranges.max().map_or(0, |(_, q)| q)
}

/// Converts OpenMetrics to Prometheus' text format.
fn to_prometheus(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len() + openmetrics.len() / 16);
    let mut lines = openmetrics.lines().peekable();
    while let Some(line) = lines.next() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        let kind = match line.strip_prefix("# TYPE ") {
            Some(own) => Some(own),
            // In OpenMetrics the type follows the help.
            None if line.starts_with("# HELP ") => lines.peek().and_then(|next| next.strip_prefix("# TYPE ")),
            None => None,
        };
        let is_counter = kind.is_some_and(|kind| kind.ends_with(" counter"));
        match line.splitn(4, ' ').collect::<Vec<_>>().as_slice() {
            [mark @ "#", word, name, rest] if is_counter => {
                text.extend([mark, " ", word, " ", name, "_total ", rest, "\n"]);
            }
            _ => text.extend([line, "\n"]),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::family::Family;
    use prometheus_client::metrics::gauge::Gauge;
    use prometheus_client::metrics::histogram::Histogram;
    use prometheus_client::registry::Unit;

    use super::*;

    #[test]
    fn openmetrics_goes_to_who_prefers_it() {
        for (accept, expected) in [
            // Prometheus 2 and 3, in their usual settings and with either protocol put first.
            (
                "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
                 text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                Format::OpenMetrics,
            ),
            ("text/plain;version=0.0.4;q=0.5,application/openmetrics-text;version=1.0.0;q=0.4,*/*;q=0.1", Format::Text),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                 application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                 text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                Format::OpenMetrics,
            ),
            ("application/openmetrics-text", Format::OpenMetrics),
            ("Application/OpenMetrics-Text; version=1.0.0", Format::OpenMetrics),
            ("application/*", Format::OpenMetrics),
            ("text/plain;q=0.9, application/openmetrics-text", Format::OpenMetrics),
            ("*/*;q=0.9, text/plain;q=0.1", Format::OpenMetrics),
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/*", Format::Text),
            ("text/plain", Format::Text),
            ("text/plain; version=0.0.4", Format::Text),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Format::Text),
            ("application/openmetrics-text;q=0", Format::Text),
            ("application/openmetrics-text;q=0.5, text/plain", Format::Text),
            ("application/openmetrics-text, text/plain", Format::Text),
            ("application/openmetrics-text;q=nonsense, */*;q=0.5", Format::Text),
            ("image/png", Format::Text),
            (";;,,/,q=1", Format::Text),
        ] {
            assert_eq!(Format::accepted(accept), expected, "{accept}");
        }
    }

    #[test]
    fn prometheus_format_names_counters_by_their_samples_and_leaves_the_rest() {
        let mut registry = Registry::default();
        let counters = Family::<[(&str, &str); 1], Counter>::default();
        counters.get_or_create(&[("event", "a counter # TYPE x")]).inc();
        registry.register("events", "Events by kind", counters);
        registry.register("depth", "A gauge, not a counter", Gauge::<i64>::default());
        registry.register_with_unit("wait", "A histogram", Unit::Seconds, Histogram::new([0.1, 1.0]));
        let text = Format::Text.encode(&registry);
        let expected = "# HELP events_total Events by kind.\n# TYPE events_total counter\n\
                        events_total{event=\"a counter # TYPE x\"} 1\n\
                        # HELP depth A gauge, not a counter.\n# TYPE depth gauge\ndepth 0\n\
                        # HELP wait_seconds A histogram.\n# TYPE wait_seconds histogram\n\
                        wait_seconds_sum 0.0\nwait_seconds_count 0\n";
        assert!(text.starts_with(expected), "{text}");
        assert!(!text.contains("# EOF") && !text.contains("# UNIT"), "{text}");
        let openmetrics = Format::OpenMetrics.encode(&registry);
        assert!(openmetrics.contains("# TYPE events counter\n") && openmetrics.ends_with("# EOF\n"), "{openmetrics}");
    }
}
