//! The client that a refusal or an event is about.

use std::borrow::Cow;
use std::net::IpAddr;

use super::policy::Identity;
use crate::events::Submission;

#[derive(Clone, Copy, Debug)]
pub(super) struct Client<'a> {
    pub(super) peer: IpAddr,
    /// `None` before a login.
    pub(super) identity: Option<&'a Identity>,
}

impl Client<'_> {
    /// Returns the name of the submitter who has logged in.
    pub(super) fn submitter(&self) -> Option<&str> {
        match self.identity? {
            Identity::Submitter(submitter) => Some(&submitter.username),
            Identity::Network => None,
        }
    }

    pub(super) fn submission(&self) -> Submission<'_> {
        let test = self.identity.is_some_and(|identity| identity.test_mode().is_some());
        Submission { submitter: self.submitter().map(Cow::Borrowed), peer: Some(self.peer), test }
    }
}
