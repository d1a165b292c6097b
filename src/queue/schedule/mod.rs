//! Decides what may be sent when: the routes with their caps and troubles, and the lanes in line for each route.

pub(crate) mod forecast;
pub(crate) mod lanes;
pub(crate) mod routes;
pub(crate) mod suspensions;
pub(crate) mod throttle;
pub(crate) mod throttle_state;
