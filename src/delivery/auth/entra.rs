//! Advice for a person about an error of Microsoft's token endpoint (Entra ID). The error texts begin with a number, AADSTS.

/// Numbers with the remedy. Microsoft documents several hundred; these are the ones that a wrong setup meets.
const REMEDIES: [(&str, &str); 16] = [
    ("AADSTS7000215", "the client secret is wrong: enter the secret's Value, not its Secret ID"),
    ("AADSTS7000222", "the client secret has expired: make a new one at the application (Certificates & secrets)"),
    ("AADSTS7000216", "the request has no client secret: enter it in client_secret_file"),
    (
        "AADSTS700016",
        "the tenant does not know the application: compare client_id and the tenant in token_url, and have an administrator consent",
    ),
    ("AADSTS700213", "the application does not accept this kind of credential: give it a client secret"),
    ("AADSTS7000112", "the application is disabled in the tenant: enable the enterprise application"),
    ("AADSTS90002", "there is no such tenant: correct it in token_url"),
    ("AADSTS900023", "the tenant in token_url is neither a domain nor an id: correct it"),
    (
        "AADSTS500011",
        "the tenant does not have the service in scope: correct scope, or have an administrator consent to it",
    ),
    (
        "AADSTS7000229",
        "the application has no enterprise application in the tenant: have an administrator consent to it there",
    ),
    ("AADSTS65001", "nobody has consented to the application: an administrator grants it in the tenant"),
    ("AADSTS50194", "the application is of one tenant only: name that tenant in token_url, and not \"common\""),
    ("AADSTS50059", "token_url names no tenant: put its id or one of its domains there"),
    ("AADSTS70011", "scope is wrong: it must end in /.default"),
    ("AADSTS1002012", "scope is wrong: it must end in /.default"),
    ("AADSTS53003", "a Conditional Access policy blocks the application: exclude it, or allow our address there"),
];

/// Returns the remedy for an error's text.
pub fn remedy(text: &str) -> Option<&'static str> {
    let number = text.find("AADSTS").map(|at| &text[at..])?;
    let number = &number[..number[6..].find(|c: char| !c.is_ascii_digit()).map_or(number.len(), |at| at + 6)];
    REMEDIES.iter().find(|(known, _)| *known == number).map(|(_, remedy)| *remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_whole() {
        for (text, part) in [
            (
                "400 invalid_client AADSTS7000215: Invalid client secret provided. Ensure the secret being sent",
                Some("Value"),
            ),
            ("unauthorized_client AADSTS700016: Application with identifier 'x' was not found", Some("client_id")),
            ("AADSTS70002: Error validating credentials", None),
            ("AADSTS7000229: The client application x is missing service principal in the tenant", Some("consent")),
            ("AADSTS90002", Some("no such tenant")),
            ("AADSTS", None),
            ("invalid_client", None),
        ] {
            assert_eq!(remedy(text).is_some(), part.is_some(), "{text}");
            assert!(part.is_none_or(|part| remedy(text).unwrap().contains(part)), "{text}");
        }
    }
}
