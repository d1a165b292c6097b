//! What may be sent when: the routes with their caps and their troubles, and the lanes in line for each.

pub mod forecast;
pub mod lanes;
pub mod routes;
pub mod suspensions;
pub mod throttle;
pub mod throttle_state;
