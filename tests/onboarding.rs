//! Onboarding from the side of customers and operators: against a real DNS server and with the real program.

#[path = "support/capture.rs"]
mod capture;
#[path = "support/client.rs"]
mod client;
#[path = "support/contract.rs"]
mod contract;
#[path = "support/customers.rs"]
mod customers;
#[path = "support/http.rs"]
mod http;
#[path = "support/knot.rs"]
mod knot;
#[path = "support/mailjet_api.rs"]
mod mailjet_api;
#[path = "support/ports.rs"]
mod ports;
#[path = "support/proxies.rs"]
mod proxies;
#[path = "support/scripted_dns.rs"]
mod scripted_dns;
#[path = "support/skip.rs"]
mod skip;

#[path = "onboarding/answers.rs"]
mod answers;
#[path = "onboarding/checks.rs"]
mod checks;
#[path = "onboarding/delegation.rs"]
mod delegation;
#[path = "onboarding/dmarc_reports.rs"]
mod dmarc_reports;
#[path = "onboarding/fetch.rs"]
mod fetch;
#[path = "onboarding/golden.rs"]
mod golden;
#[path = "onboarding/held.rs"]
mod held;
#[path = "onboarding/hostile.rs"]
mod hostile;
#[path = "onboarding/mailjet.rs"]
mod mailjet;
#[path = "onboarding/microsoft365.rs"]
mod microsoft365;
#[path = "onboarding/newcomer.rs"]
mod newcomer;
#[path = "onboarding/places.rs"]
mod places;
#[path = "onboarding/rig.rs"]
mod rig;
#[path = "onboarding/rotation.rs"]
mod rotation;
#[path = "onboarding/sealed.rs"]
mod sealed;
#[path = "onboarding/spf.rs"]
mod spf;
#[path = "onboarding/whole_path.rs"]
mod whole_path;
