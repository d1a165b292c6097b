//! The elements of a report (RFC 9990 appendix A, RFC 7489 appendix C), by the names that reporters use.

/// An element with a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    Feedback,
    ReportMetadata,
    OrgName,
    Email,
    ReportId,
    DateRange,
    Begin,
    End,
    PolicyPublished,
    Domain,
    Policy,
    Record,
    Row,
    SourceIp,
    Count,
    PolicyEvaluated,
    Disposition,
    Dkim,
    Spf,
    Reason,
    Type,
    Comment,
    Identifiers,
    HeaderFrom,
    AuthResults,
    Selector,
    Result,
    Other,
}

/// Recognises an element by its name, without a namespace prefix, and regardless of case and of the characters between words. The second
/// value is false if the standard writes the name differently.
pub(super) fn tag(name: &str) -> (Tag, bool) {
    let local = name.rsplit(':').next().unwrap_or_default();
    let mut plain = [0; 24];
    let mut length = 0;
    for octet in local.bytes().filter(|octet| !matches!(octet, b'_' | b'-')) {
        let Some(place) = plain.get_mut(length) else { return (Tag::Other, true) };
        *place = octet.to_ascii_lowercase();
        length += 1;
    }
    let (tag, written) = match &plain[..length] {
        b"feedback" => (Tag::Feedback, "feedback"),
        b"reportmetadata" => (Tag::ReportMetadata, "report_metadata"),
        b"orgname" => (Tag::OrgName, "org_name"),
        b"email" => (Tag::Email, "email"),
        b"reportid" => (Tag::ReportId, "report_id"),
        b"daterange" => (Tag::DateRange, "date_range"),
        b"begin" => (Tag::Begin, "begin"),
        b"end" => (Tag::End, "end"),
        b"policypublished" => (Tag::PolicyPublished, "policy_published"),
        b"domain" => (Tag::Domain, "domain"),
        b"p" => (Tag::Policy, "p"),
        b"record" => (Tag::Record, "record"),
        b"row" => (Tag::Row, "row"),
        b"sourceip" => (Tag::SourceIp, "source_ip"),
        b"count" => (Tag::Count, "count"),
        b"policyevaluated" => (Tag::PolicyEvaluated, "policy_evaluated"),
        b"disposition" => (Tag::Disposition, "disposition"),
        b"dkim" => (Tag::Dkim, "dkim"),
        b"spf" => (Tag::Spf, "spf"),
        b"reason" => (Tag::Reason, "reason"),
        b"type" => (Tag::Type, "type"),
        b"comment" => (Tag::Comment, "comment"),
        b"identifiers" => (Tag::Identifiers, "identifiers"),
        // The name in drafts of RFC 7489, which some reporters still use.
        b"identities" => (Tag::Identifiers, "identities"),
        b"headerfrom" => (Tag::HeaderFrom, "header_from"),
        b"authresults" => (Tag::AuthResults, "auth_results"),
        b"selector" => (Tag::Selector, "selector"),
        b"result" => (Tag::Result, "result"),
        _ => return (Tag::Other, true),
    };
    (tag, local == written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_every_dress() {
        for (name, known) in [
            ("source_ip", (Tag::SourceIp, true)),
            ("dmarc:source_ip", (Tag::SourceIp, true)),
            ("Source_IP", (Tag::SourceIp, false)),
            ("sourceIp", (Tag::SourceIp, false)),
            ("source-ip", (Tag::SourceIp, false)),
            ("FEEDBACK", (Tag::Feedback, false)),
            ("identities", (Tag::Identifiers, true)),
            ("extra_contact_info", (Tag::Other, true)),
            ("", (Tag::Other, true)),
        ] {
            assert_eq!(tag(name), known, "{name}");
        }
        assert_eq!(tag(&"x".repeat(10_000)).0, Tag::Other);
    }
}
