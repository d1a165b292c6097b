//! Real servers: STARTTLS and login in their several ways.

use std::sync::Arc;

use postbud::delivery::Verdict;
use postbud::route::{TlsMode, TlsPolicy};

use super::messages::{attempt, login, message, patient_delivery, route};
use super::peers::{Options, PASSWORD, REALM, USERNAME, start_postfix};

#[tokio::test(flavor = "multi_thread")]
async fn postfix_takes_mail_after_starttls_and_login() {
    let Some(postfix) = start_postfix("postfix_takes_mail_after_starttls_and_login", &Options::default()) else {
        return;
    };
    let mut route = route(postfix.smtp);
    route.tls = TlsPolicy { mode: TlsMode::Required, ca_file: Some(postfix.ca.clone()), ..TlsPolicy::default() };
    route.login = login(&format!("{USERNAME}@{REALM}"), PASSWORD);
    let (delivery, route) = (patient_delivery(), Arc::new(route));
    for _ in 0..3 {
        let outcome = attempt(&delivery, &route, &message(&["x@test.net", "y@test.net"])).await;
        assert!(outcome.recipients.iter().all(|r| r.verdict == Verdict::Delivered), "{outcome:?}\n{}", postfix.log());
    }
    let mails = postfix.wait_for_mails(6);
    assert!(
        mails
            .iter()
            .all(|mail| mail.contains("DKIM-Signature: v=1\nSubject: test\n") && mail.ends_with("\nbody\n.dot\n"))
    );
    assert_eq!(postfix.log().matches("]: connect from").count(), 2, "one probe that it listens, one kept connection");
}
