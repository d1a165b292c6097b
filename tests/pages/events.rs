//! The results of a look, as they come one by one (server-sent events).

use std::time::Duration;

use serde_json::Value;

use crate::rig::{Rig, Setup, path};
use crate::support::skip::skip;

/// Two of the records are answered late, one after the other.
const LATE: &[(&str, Duration)] = &[("_dmarc", Duration::from_millis(800)), ("mailjet", Duration::from_millis(400))];

#[test]
fn results_come_one_by_one_and_then_the_page() {
    let rig = Rig::with(&Setup { late: LATE, ..Setup::default() });
    if rig.knot.is_none() {
        return skip("results_come_one_by_one_and_then_the_page", "no knot: install the package");
    }
    let link = rig.link("test-as", &[]);
    let page = format!("{}/test.dk", path(&link));
    let opened = rig.get(&page, "");
    assert!(opened.contains(&format!("data-live=\"{page}/events\"")), "{opened}");
    let stream = rig.get(&format!("{page}/events"), "");
    assert!(stream.to_ascii_lowercase().contains("content-type: text/event-stream"), "{stream}");

    let (mut kinds, mut parts) = (Vec::new(), Vec::new());
    for line in stream.lines() {
        if let Some(kind) = line.strip_prefix("event: ") {
            kinds.push(kind.to_owned());
        } else if let Some(data) = line.strip_prefix("data: ").filter(|data| data.starts_with('{')) {
            let part: Value = serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"));
            assert_eq!(part["id"], "results", "{part}");
            parts.push(part["html"].as_str().unwrap().to_owned());
        }
    }
    assert!(parts.len() >= 2, "{stream}");
    assert_eq!(kinds.pop().as_deref(), Some("done"), "{stream}");
    assert!(kinds.iter().all(|kind| kind == "part"), "{stream}");
    let shown: Vec<usize> = parts.iter().map(|part| part.matches("<li>").count()).collect();
    assert!(shown.is_sorted_by(|earlier, later| earlier < later), "each part has more results: {shown:?} {stream}");
    // What is there is shown while the slow ones are still looked up.
    assert!(parts.iter().any(|part| part.contains("SPF") && !part.contains("DMARC")), "{parts:#?}");
    assert!(stream.contains(&format!("data: {page}")), "the page follows: {stream}");
}
