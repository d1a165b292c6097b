//! Collections of replies. Each was written down with what its replies mean before anybody tried them on the rules.

use super::classify::Phase::{self, *};
use super::classify::tests::context;
use super::wordings::{miscounted, wrong};

/// Replies by what they are about.
pub(super) struct Collection {
    /// With 5xx: an account's allowance is used up, or mail comes too fast.
    pub allowances: &'static [&'static str],
    /// With 5xx: a connection has carried enough mail. Where they come on the first message, mail waits.
    pub of_connection: &'static [&'static str],
    /// An account is blocked as a whole.
    pub blocked: &'static [&'static str],
    /// Our address, our name or our right to connect is refused.
    pub barred: &'static [&'static str],
    /// The server does not relay.
    pub no_relay: &'static [&'static str],
    /// The transaction has too many recipients.
    pub too_many_recipients: &'static [&'static str],
    /// About a recipient, with words for a number or a limit.
    pub not_too_many_recipients: &'static [&'static str],
    /// About the recipient or its mailbox.
    pub of_recipient: &'static [&'static str],
    /// About the sender's address.
    pub of_sender: &'static [&'static str],
    /// About the content.
    pub of_message: &'static [&'static str],
    /// What has another meaning at another step, as [`short`](super::classify::tests::short) writes it.
    pub others: &'static [(Phase, &'static str, &'static str)],
}

impl Collection {
    /// No replies, for collections that have not all kinds.
    pub const NONE: Collection = Collection {
        allowances: &[],
        of_connection: &[],
        blocked: &[],
        barred: &[],
        no_relay: &[],
        too_many_recipients: &[],
        not_too_many_recipients: &[],
        of_recipient: &[],
        of_sender: &[],
        of_message: &[],
        others: &[],
    };

    /// Checks that each reply has the meaning that was written down.
    pub fn check(&self) {
        let (context, before_content) = (context(false), [Mail, Rcpt, Data]);
        let found = [
            wrong(&[Mail, Rcpt, Data, End], self.allowances, &["dRb"], &context),
            wrong(&[Mail, Rcpt, Data, End], self.blocked, &["dRb"], &context),
            wrong(&before_content, self.of_connection, &["dRb"], &context),
            wrong(&before_content, self.barred, &["dR?"], &context),
            wrong(&before_content, self.no_relay, &["dR?"], &context),
            wrong(&[Rcpt], self.of_recipient, &["fr-"], &context),
            wrong(&[Mail], self.of_sender, &["fm-"], &context),
            wrong(&[End], self.of_message, &["fm-"], &context),
        ];
        assert_eq!(found.concat(), []);
        for (phase, right, text) in self.others {
            assert_eq!(wrong(&[*phase], &[text], &[right], &context), []);
        }
        assert_eq!(miscounted(self.too_many_recipients, self.not_too_many_recipients), [""; 0]);
    }
}
