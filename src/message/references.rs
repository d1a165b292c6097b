//! The submitter's own names for a message, which come back in every event about it.

/// What the submitter calls a message. Empty where it gave nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    /// The submitter's reference, for this message alone.
    pub reference: Option<Box<str>>,
    /// The campaign that the message belongs to.
    pub campaign: Option<Box<str>>,
    /// Words that group messages as the submitter likes.
    pub tags: Box<[Box<str>]>,
    /// What a Mailjet route is told besides.
    pub for_mailjet: ForMailjet,
}

/// Which fields of Mailjet's go with a message on the way there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForMailjet {
    /// The reference came in X-Postbud-Reference, and the message has no X-MJ-CustomID.
    pub adds_reference: bool,
    /// The campaign came in X-Postbud-Campaign, and the message has no X-Mailjet-Campaign.
    pub adds_campaign: bool,
    /// The message has its own X-MJ-EventPayload.
    pub has_payload: bool,
}
