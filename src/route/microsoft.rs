//! Microsoft 365 as a customer's own server: its hosts, and its replies if passwords (basic authentication) are switched off.
//!
//! Basic SMTP AUTH is off by default for existing tenants from the end of December 2026. An administrator may switch it on again for
//! some time; then only OAuth (XOAUTH2) is left.

use super::{LoginSecret, Route};

/// The text in the alert and in commands.
pub const WHEN: &str = "Microsoft 365 switches passwords over SMTP off by default at the end of December 2026";

/// One of Microsoft's clouds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cloud {
    /// The cloud of nearly all customers.
    Worldwide,
    /// The clouds of the United States' government.
    UsGovernment,
    /// The cloud in China, which 21Vianet operates.
    China,
}

/// The hosts that accept logins, by the end of their names. Each entry begins with a dot and matches the name itself or a name below it.
const HOSTS: [(&str, Cloud); 7] = [
    (".office365.com", Cloud::Worldwide),
    (".outlook.com", Cloud::Worldwide),
    (".office.com", Cloud::Worldwide),
    (".office365.us", Cloud::UsGovernment),
    (".outlook.us", Cloud::UsGovernment),
    (".partner.outlook.cn", Cloud::China),
    (".office365.cn", Cloud::China),
];

impl Cloud {
    /// Returns the cloud of a host of Microsoft 365.
    pub fn of(host: &str) -> Option<Self> {
        let host = format!(".{}", host.trim_end_matches('.').to_ascii_lowercase());
        HOSTS.iter().find(|(end, _)| host.ends_with(end)).map(|(_, cloud)| *cloud)
    }

    /// Returns the URL where a tenant's applications fetch tokens.
    pub fn token_url(self, tenant: &str) -> String {
        let host = match self {
            Cloud::Worldwide => "login.microsoftonline.com",
            Cloud::UsGovernment => "login.microsoftonline.us",
            Cloud::China => "login.partner.microsoftonline.cn",
        };
        format!("https://{host}/{tenant}/oauth2/v2.0/token")
    }

    /// Returns the scope of a token for SMTP.
    pub fn scope(self) -> &'static str {
        match self {
            Cloud::Worldwide => "https://outlook.office365.com/.default",
            Cloud::UsGovernment => "https://outlook.office365.us/.default",
            Cloud::China => "https://partner.outlook.cn/.default",
        }
    }
}

impl Route {
    /// Returns the cloud if the route logs in at Microsoft 365 with a password, which stops working.
    pub fn password_at_microsoft365(&self) -> Option<Cloud> {
        let login = self.login.as_ref().filter(|login| matches!(login.secret, LoginSecret::Password(_)));
        login.and_then(|_| Cloud::of(&self.host))
    }
}

/// Returns true if a server's text says that it takes no passwords. Microsoft uses 5.7.139 for a wrong password too.
pub fn says_passwords_are_off(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let any = |words: &[&str]| words.iter().any(|word| text.contains(word));
    any(&["basic authentication", "smtpclientauthentication is disabled", "5.7.30 "])
        || (text.contains("5.7.139") && !text.contains("credentials were incorrect"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_of_microsoft_365_are_known() {
        for (host, cloud) in [
            ("smtp.office365.com", Some(Cloud::Worldwide)),
            ("SMTP.Office365.com.", Some(Cloud::Worldwide)),
            ("outlook.office365.com", Some(Cloud::Worldwide)),
            ("smtp-legacy.office365.com", Some(Cloud::Worldwide)),
            ("smtp-mail.outlook.com", Some(Cloud::Worldwide)),
            ("test-dk.mail.protection.outlook.com", Some(Cloud::Worldwide)),
            ("smtp.office365.us", Some(Cloud::UsGovernment)),
            ("smtp.partner.outlook.cn", Some(Cloud::China)),
            ("smtp.gmail.com", None),
            ("mail.notoffice365.com", None),
            ("office365.com.evil.dk", None),
            ("mail.test.dk", None),
        ] {
            assert_eq!(Cloud::of(host), cloud, "{host}");
        }
        let url = Cloud::Worldwide.token_url("t.onmicrosoft.com");
        assert_eq!(url, "https://login.microsoftonline.com/t.onmicrosoft.com/oauth2/v2.0/token");
    }

    #[test]
    fn a_reply_that_says_no_passwords_is_told_from_a_wrong_password() {
        for (text, off) in [
            ("550 5.7.30 Basic authentication is not supported for Client Submission.", true),
            ("535 5.7.139 Authentication unsuccessful, basic authentication is disabled. [X]", true),
            ("535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant.", true),
            ("535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox.", true),
            (
                "535 5.7.139 Authentication unsuccessful, user is locked by your organization's security defaults policy",
                true,
            ),
            ("535 5.7.139 Authentication unsuccessful, the user credentials were incorrect.", false),
            ("535 5.7.3 Authentication unsuccessful", false),
            ("454 4.7.0 Temporary authentication failure", false),
            ("432 4.3.2 Concurrent connections limit exceeded", false),
        ] {
            assert_eq!(says_passwords_are_off(text), off, "{text}");
        }
    }
}
