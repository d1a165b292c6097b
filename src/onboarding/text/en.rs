//! All texts in English.

mod dmarc;
mod failures;
mod publish;
mod records;
mod rotation;

use super::Word;
use super::{is_appended_to, is_bare_address, is_version, reports_meant};
use crate::onboarding::Overall;
use crate::onboarding::dmarc::policy_meant;
use crate::onboarding::finding::{Finding, Item, Need, Provider, Severity};
use crate::onboarding::misplaced::label;
use crate::plain;
pub(super) use dmarc::dmarc_step;
use failures::{not_there, unanswered};
pub(super) use publish::{
    delegating, enforcing, in_the_way, label_hint, mail, other_steps, reason, replaces, role, to_come, watching,
};
use records::{character, dkim_flaw, included, no_key, spf_fault, tag_mistake};
pub(super) use records::{note, obstacle};
use rotation::rotating;
pub(super) use rotation::rotation;

pub(super) fn finding(finding: &Finding) -> (String, String) {
    use Finding as F;
    let (what, next): (String, String) = match finding {
        F::Unanswered { reason } => (unanswered(reason), "Nothing is known to be wrong. Check again later.".into()),
        F::OutOfTime { secs } => (
            format!("The check was broken off after {secs} seconds: answers came too slowly."),
            "Nothing is known to be wrong. Check again later.".into(),
        ),
        F::WrongHost { found_at, right_host, zone } => (
            format!("The record stands at {found_at}."),
            match zone {
                Some(zone) => format!(
                    "Move it to {right_host}. Enter {} as its name if the DNS panel appends the zone's name ({zone}) by itself.",
                    label(right_host, zone)
                ),
                None => format!(
                    "Move it to {right_host}. Many DNS panels append the zone's name by themselves: then enter only what stands before it."
                ),
            },
        ),
        F::PublicProvider { domain } => (
            format!("{domain} belongs to a public mailbox provider: nobody else can send in its name."),
            "Send from a domain of your own.".into(),
        ),
        F::OwnDomain { domain } => (format!("{domain} is a domain of your own."), String::new()),
        F::FromDomainWildcard { domain } => (
            format!("{domain} has no records of its own: a wildcard (*) answers for it, as for every name that is not there."),
            format!(
                "The first record that you publish at {domain} ends that for this name: publish there, too, what the wildcard answers today (MX, A)."
            ),
        ),
        F::FromDomainAlias { domain, target } => (
            format!("{domain} is an alias (CNAME) for {target}: its TXT and MX records are read there."),
            String::new(),
        ),
        F::OwnershipByTxt { host } => (format!("Proven by the TXT record at {host}."), String::new()),
        F::OwnershipUntidy { host, found } => (
            format!("The TXT record at {host} holds more than the value: {found}. That may be too much for Mailjet, which reads it as well."),
            "Remove the quotation marks and spaces around the value.".into(),
        ),
        F::OwnershipByFile { url } => (format!("Proven by the file {url}."), String::new()),
        F::OwnershipMissing { host, value, url } => (
            "Nothing proves yet that the domain is yours.".into(),
            format!(
                "Publish a TXT record at {host} with the value {value}, or put an empty file at {url}. One of the two is enough."
            ),
        ),
        F::OwnershipWrongValue { host, found } if found.trim().is_empty() => {
            (format!("The TXT record at {host} is empty."), "Enter the value.".into())
        }
        F::OwnershipWrongValue { host, found } => {
            (format!("The TXT record at {host} has another value: {found}."), "Replace the value.".into())
        }
        F::FileNotEmpty { url } => (format!("{url} is there and not empty."), "Replace it with an empty file.".into()),
        F::FileAnywhere { url } => (
            format!("The web server answers with a page whatever file is asked for, so {url} proves nothing."),
            "Use the TXT record.".into(),
        ),
        F::FileAddressRefused { url } => (
            format!("{url} lies at an address that is not public."),
            "Use the TXT record, or a web server on the Internet.".into(),
        ),
        F::FileRedirectRefused { url } => (
            format!("{url} redirects out of the domain, or too often."),
            "Put the file where the redirect starts, or use the TXT record.".into(),
        ),
        F::FileNotThere { url, reason } => (format!("The file {url} could not be fetched: {}.", not_there(reason)), String::new()),
        F::SpfPasses { ip, lookups } => {
            (format!("{ip} may send for the domain ({lookups} of 10 DNS lookups)."), String::new())
        }
        F::SpfMissing { domain } => (format!("{domain} has no SPF record."), "Publish the record shown.".into()),
        F::SpfNearMiss { text } => (
            format!("This TXT record looks like SPF and is not: {text}"),
            match plain::first_strange(text) {
                Some(strange) => format!("It holds {}. Replace it.", character(strange)),
                None => "It must begin with exactly v=spf1 and a space, without quotation marks in the value. Replace it.".into(),
            },
        ),
        F::SpfSeveral { domain, count } => (
            format!("{domain} has {count} SPF records. Receivers then count none of them."),
            "Replace them by one, the record shown.".into(),
        ),
        F::SpfSyntax { domain, term, fault } => (
            format!(
                "In the SPF record of {domain}, {term} {}. Receivers then reject the whole record.",
                spf_fault(term, fault)
            ),
            "Mend or remove it.".into(),
        ),
        F::SpfTooLong { domain, octets } => (
            format!("The SPF record of {domain} has {octets} characters, more than receivers can be expected to read."),
            "Remove what is not used, or move parts of it into records of their own (include:).".into(),
        ),
        F::SpfNoEffect { domain, terms } => (
            format!("In the SPF record of {domain}, {} has no effect: receivers pass over it.", terms.join(" ")),
            match terms.iter().all(|term| is_version(term)) {
                true => "Remove it: v=spf1 belongs at the beginning, once.",
                false => "Write a colon in place of the equals sign (include:, ip4:), or remove it.",
            }
            .into(),
        ),
        F::SpfMeant { written, meant } => (
            match meant.is_empty() {
                true => format!("\"{written}\" is left out of the record shown: it says nothing there."),
                false => format!("\"{written}\" is read as \"{meant}\" in the record shown."),
            },
            String::new(),
        ),
        F::SpfUnread { terms } => (
            format!("In the SPF record, this cannot be read: {}. It may be a sender.", terms.join(" ")),
            "Correct it, or remove it where it is not used. Until then the record must not end in -all.".into(),
        ),
        F::SpfAfterAll { domain, terms } => (
            format!("In the SPF record of {domain}, what stands after \"all\" never counts: {}.", terms.join(" ")),
            "Move it before \"all\", or remove it.".into(),
        ),
        F::SpfEverybody { domain, term } => (
            format!("The SPF record of {domain} has {term}: as good as anybody may send as you."),
            "End it in ~all or -all, and name only the servers that send for you.".into(),
        ),
        F::SpfPtr { domain } => (
            format!("The SPF record of {domain} uses ptr, which is slow, unreliable and should not be used."),
            "Replace ptr by addresses (ip4:, a:).".into(),
        ),
        F::SpfLoop { domain } => {
            (format!("The SPF record of {domain} leads back to itself."), "Remove that include or redirect.".into())
        }
        F::SpfTooManyLookups { count } => (
            format!("SPF needs {count} DNS lookups and receivers stop at 10: the record then fails."),
            "Remove includes that are not used any more, or write addresses in their place.".into(),
        ),
        F::SpfNearLookupLimit { count } => (
            format!("SPF can need {count} DNS lookups, and receivers stop at 10."),
            "Remove includes that are not used any more.".into(),
        ),
        F::SpfTooManyVoidLookups { count } => (
            format!("SPF asks for {count} names without an address, and receivers stop after 2."),
            "Remove terms whose names have no address.".into(),
        ),
        F::SpfManyVoidLookups { count } => (
            format!(
                "SPF can ask for {count} names without an address, and receivers stop after 2: mail from webCRM passes before that, your other mail may not."
            ),
            "Remove terms whose names have no address.".into(),
        ),
        F::SpfTooManyExchanges { domain } => (
            format!("{domain} has more than 10 mail exchangers, too many for mx in SPF."),
            "Write their addresses instead of mx.".into(),
        ),
        F::SpfIncludeWithoutRecord { domain } => (
            format!("SPF leads to {domain}, which has no SPF record: receivers then reject the whole record."),
            "Remove that include or redirect, or correct its spelling.".into(),
        ),
        F::SpfIncludeSeveral { domain, count } => (
            format!("SPF leads to {domain}, which has {count} SPF records: receivers then reject the whole record."),
            "Remove that include or redirect, or ask whoever runs that domain to publish one record only.".into(),
        ),
        F::SpfBeyondUs { domain, fault } => (
            format!(
                "SPF also leads to {domain}, {}: mail from webCRM passes before that, your other mail may not.",
                included(fault)
            ),
            "Remove that include or redirect, or have it mended.".into(),
        ),
        F::SpfOursBroken { include, ip } => (
            format!("SPF includes {include} as it should, but {include} itself does not let {ip} send."),
            "This is for webCRM to mend, not for the customer.".into(),
        ),
        F::SpfIncludeMissing { include } => (
            format!("SPF does not include {include}: mail from webCRM is not allowed."),
            format!("Add include:{include} before \"all\"."),
        ),
        F::SpfIncludeShadowed { include, by } => (
            format!("include:{include} is never reached, since {by} stands before it."),
            format!("Move include:{include} before {by}."),
        ),
        F::SpfAddressOnly { ip, include } => (
            format!("SPF allows {ip}, but not Mailjet's addresses, which {include} holds."),
            format!("Add include:{include} before \"all\"."),
        ),
        F::SpfDoesNotPass { ip, verdict } => (
            format!("SPF says {verdict} for {ip}."),
            // A record that cannot be evaluated gets no proposal, because only the customer knows its intended content.
            match *verdict {
                "permerror" => "The record counts again when what is named here is mended.",
                _ => "Publish the record shown.",
            }
            .into(),
        ),
        F::SpfBesideAlias { domain, target } => (
            format!(
                "{domain} is an alias (CNAME) for {target}, and no SPF record can be published beside an alias."
            ),
            publish::without_alias(target),
        ),
        F::SpfProposalFails { obstacle } => self::obstacle(obstacle, false),
        F::SpfWithoutUs { ip } => (
            format!(
                "SPF does not allow {ip}. Mail leaves through your own server, so only mail to your own people can suffer from it."
            ),
            "If that mail is refused, allow the address there.".into(),
        ),
        F::SpfUsable { lookups } => {
            (format!("The record can be used (up to {lookups} of 10 DNS lookups)."), String::new())
        }
        F::DkimGood { host } => (format!("The key at {host} is the right one."), String::new()),
        F::DkimMissing { host } => (format!("There is no key at {host}."), "Publish the record shown.".into()),
        F::DkimSeveral { host, count } => (
            format!("There are {count} records at {host}; receivers take any of them."),
            "Keep only the record shown.".into(),
        ),
        F::DkimMismatch { host } => (
            format!("At {host} another key is published than the one that signs."),
            "Replace it by the record shown.".into(),
        ),
        F::DkimFlaw { host, flaw } => {
            let (what, next) = dkim_flaw(&flaw.0);
            (format!("{host}: {what}"), next.to_owned())
        }
        F::DkimRotating { host, role, shown } => {
            let (what, next) = rotating(host, *role, *shown);
            (what, next.to_owned())
        }
        F::DkimRotatingUnanswered { host, reason } => (
            format!("The key at {host}, which does not sign now, could not be checked. {}", unanswered(reason)),
            "Nothing is known to be wrong. Check again later.".into(),
        ),
        F::DkimRotationUnreadable { .. } => (
            "It is not known how far a change of keys has come.".into(),
            "This is for webCRM to mend, not for the customer.".into(),
        ),
        F::DkimSecond { said, first_known } => {
            let (what, next) = self::finding(said);
            let first = match first_known {
                true => "The first one (RSA) is in order, which is enough.",
                false => "The first one (RSA), which is enough, could not be checked.",
            };
            (format!("The second signature (Ed25519): {what} {first}"), next)
        }
        F::DkimKeyUnusable { .. } => (
            "Our own key cannot be used.".into(),
            "This is for webCRM to mend, not for the customer.".into(),
        ),
        F::DelegationZone { host, said } => {
            let (what, _) = self::finding(said);
            (format!("The alias is right, but the record in webCRM's zone at {host} is not. {what}"), "This is for webCRM to mend, not for the customer: `postbud dkim zone --update`.".into())
        }
        F::DelegationWrong { host, found, target } => (
            format!("{host} is an alias of {found}, where our key is not."),
            points_to(found, target, "Have it lead to"),
        ),
        F::DelegationMissing { host, target } => {
            (format!("There is no alias at {host}."), format!("Publish the CNAME to {target}."))
        }
        F::DelegationByHand { host, target } => (
            format!("The key at {host} is published by hand, so each new key has to be published as well."),
            format!("Replace it by a CNAME to {target}, and keys change by themselves."),
        ),
        F::DelegationIdle { host, target } => (
            format!("There is no alias to {target} at {host}, which the next key needs."),
            "Publish the CNAME shown.".into(),
        ),
        F::DelegationOffered { host, target, .. } => (
            format!("The keys are published by hand. With an alias to {target} at {host}, and the other alias, they would change by themselves."),
            "Publish the CNAME beside the record that is there, which stays for now.".into(),
        ),
        F::DelegationReady { zone } => (
            format!("The keys are published by hand, and both aliases to {zone} are there."),
            "This is for webCRM to go on with, not for the customer: `postbud dkim rotate` makes a key that changes by itself. The record of the present key stays until that says so.".into(),
        ),
        F::MailjetKeyMissing { host, domain, why } => (
            format!("{} The signature that Mailjet adds does not verify, and behind Mailjet no other does.", no_key(host, why)),
            format!(
                "webCRM takes the value from Mailjet's console and enters it in the customer's file, dkim in [mailjet.\"{domain}\"]: then `postbud domain records` shows the record to publish."
            ),
        ),
        F::MailjetKeyShort { host, bits } => (
            match finding.severity() {
                Severity::Fault => format!("Mailjet's key at {host} has {bits} bits: receivers accept none with fewer than 1024."),
                _ => format!("Mailjet's key at {host} has {bits} bits: receivers accept it, and 2048 are better."),
            },
            "This is for webCRM to ask of Mailjet, not for the customer to mend.".into(),
        ),
        F::MailjetKeyUnset { host, domain } => (
            format!("There is a usable key at {host}. Whether it is Mailjet's is not known: the value is not in the configuration."),
            format!(
                "webCRM takes the value from Mailjet's console and enters it in the customer's file, dkim in [mailjet.\"{domain}\"]: then the two are compared."
            ),
        ),
        F::MailjetKeyOfOther { host } => (
            format!("The key at {host} is that of the Mailjet account which takes the domain's mail now. The next account has another one."),
            "Publish the record shown, and the mail moves to the better account.".into(),
        ),
        F::MailjetAccepts { tier, domain } => {
            (format!("Mailjet's account of the tier {tier} takes mail of {domain}."), String::new())
        }
        F::MailjetUnproven { tier, domain } => (
            format!("{domain} is registered in Mailjet's account of the tier {tier}, which has not seen the proof of ownership."),
            "Publish the proof of ownership; Mailjet is then asked to look by itself.".into(),
        ),
        F::MailjetObjects { tier, requirement, reason } => (
            match reason.is_empty() {
                true => format!("Mailjet's account of the tier {tier} has not found the {requirement} record in order."),
                false => format!("Mailjet's account of the tier {tier} does not find the {requirement} record in order: {reason}."),
            },
            "Publish the record as shown; Mailjet is then asked to look by itself.".into(),
        ),
        F::MailjetOwned { tier, domain, reason } => (
            format!("{domain} belongs to another account of Mailjet's, so the tier {tier} cannot register it. {reason}"),
            format!("webCRM finds out who has {domain} at Mailjet: the customer removes it from its own account there, or asks Mailjet's support to release it. Then `postbud domain check` tries again."),
        ),
        F::MailjetRefuses { tier, domain, reason } => (
            format!("Mailjet's account of the tier {tier} does not register {domain}. {reason}"),
            format!("webCRM looks into the account in Mailjet's console, or registers the domain there by hand and enters what it shows in [mailjet.\"{domain}\"] of the customer's file."),
        ),
        F::MailjetCredentials { tier, reason } => (
            format!("Mailjet does not take the API key of the tier {tier}. {reason}"),
            format!("webCRM corrects the key and its secret in [mailjet.{tier}] of the server file."),
        ),
        F::MailjetSilent { tier, reason, hours } => (
            match hours {
                0 => format!("Mailjet's API gave no answer for the tier {tier}. {reason}"),
                hours => format!("Mailjet's API has given no answer for the tier {tier} for {hours} hours. {reason}"),
            },
            "Nothing is known to be wrong with the domain. It is tried again by itself.".into(),
        ),
        F::MailjetUnkept { tier, reason } => (
            format!("What Mailjet says for the tier {tier} cannot be kept: {reason}."),
            "This is for webCRM to mend, not for the customer.".into(),
        ),
        F::DmarcGood { host, policy } => (format!("The policy at {host} is {policy}."), String::new()),
        F::DmarcMissing { host } => {
            (format!("There is no DMARC record at {host}."), "Publish the record shown.".into())
        }
        F::DmarcSeveral { host, count } => {
            (format!("There are {count} DMARC records at {host}; receivers then count none."), "Keep only the one shown.".into())
        }
        F::DmarcInvalid { host, tag } => (
            format!("In the DMARC record at {host}, \"{tag}\" names no policy: many receivers then ignore the whole record."),
            match policy_meant(tag) {
                Some(policy) => format!("Write only {} there.", policy.as_str()),
                None => "Write none, quarantine or reject there.".into(),
            },
        ),
        F::DmarcNoPolicy { host, tags } => (
            match tags.is_empty() {
                true => format!("The DMARC record at {host} has no p=: many receivers then ignore the whole record."),
                false => format!(
                    "The DMARC record at {host} has no p=, and {}= is for other names only: many receivers then ignore the whole record.",
                    tags.join("= and ")
                ),
            },
            "Add p=none right after v=DMARC1;, or publish the record shown.".into(),
        ),
        F::DmarcPolicyName { host, name } => (
            format!("In the DMARC record at {host}, {name}= is no tag that receivers know: p= is meant."),
            "Replace it by the record shown.".into(),
        ),
        F::DmarcValue { host, tag } => (
            format!("In the DMARC record at {host}, \"{tag}\" has no valid value: many receivers then ignore the whole record."),
            "Correct or remove it.".into(),
        ),
        F::DmarcMistake { host, mistake } => {
            let (what, next) = tag_mistake(&mistake.0);
            (format!("The DMARC record at {host}: {what}"), next)
        }
        F::DmarcPercent { percent: 0, policy } => (
            format!("pct=0 is gone from the standard (RFC 9989): receivers that follow it apply {policy} to all mail."),
            "Write t=y in place of pct=0: receivers then apply the policy one step milder.".into(),
        ),
        F::DmarcPercent { percent, policy } => (
            format!(
                "pct={percent} is gone from the standard (RFC 9989): receivers that follow it apply {policy} to all mail, not to {percent} % of it."
            ),
            format!("Remove pct={percent} when {policy} may hit all mail. Until then, choose a milder policy."),
        ),
        F::DmarcNearMiss { host, text, mistake } => (
            format!("This TXT record at {host} looks like DMARC and is not: {text}"),
            match mistake {
                Some(mistake) => {
                    let (what, next) = tag_mistake(&mistake.0);
                    format!("{what} {next}")
                }
                None => "It must begin with exactly v=DMARC1 and a semicolon. Replace it.".into(),
            },
        ),
        F::DmarcTag { host, tag } if is_bare_address(tag) => (
            format!("In the DMARC record at {host}, receivers ignore \"{tag}\": mailto: is missing in front of the address."),
            "Write mailto: in front of the address.".into(),
        ),
        F::DmarcTag { host, tag } => (
            format!("In the DMARC record at {host}, receivers ignore \"{tag}\"."),
            match reports_meant(tag) {
                Some(meant) => format!("Write {meant} there."),
                None => "Mend or remove it.".into(),
            },
        ),
        F::DmarcInherited { host } => (format!("The policy comes from {host}."), String::new()),
        F::DmarcObsolete { tag } => {
            (format!("The tag {tag}= is gone from the standard (RFC 9989)."), format!("Remove {tag}=."))
        }
        F::DmarcNoReports { host, .. } => (
            format!("The DMARC record at {host} sends reports to nobody."),
            "Add rua=mailto: with an address that somebody reads.".into(),
        ),
        F::DmarcReportsRefused { destination, host } => (
            format!("Reports to {destination} are not sent: it has not said that it wants them."),
            format!("{destination} must publish a TXT record at {host} with the value v=DMARC1;"),
        ),
        F::DmarcReportsNotAllowed { destination, host } => (
            format!("Reports to {destination} are not sent yet: webCRM's zone lacks the TXT record at {host}."),
            "That is webCRM's part: `postbud dmarc zone` prints the record.".into(),
        ),
        F::DmarcReports { step } => dmarc_step(step),
        F::DmarcMonitoring => (
            "The policy only watches (none). That is how to begin.".into(),
            "When the reports have shown only your own mail for some weeks, go on to p=quarantine.".into(),
        ),
        F::DmarcTesting => {
            ("t=y: receivers apply the policy one step milder.".into(), "Remove t=y when you are done testing.".into())
        }
        F::DmarcWithoutDkim { policy, key } => (
            format!(
                "The policy is {policy}, and {} is not in order: receivers act against mail from webCRM.",
                item(*key)
            ),
            "Put that key in order first.".into(),
        ),
        F::DmarcKeyFirst { policy, key } => (
            format!("The record you have does not count today. The one to publish does: with p={policy}, and {} is not in order.", item(*key)),
            "Set the key right first: until then the policy would hit mail from webCRM.".into(),
        ),
        F::DmarcOnSpfAlone { policy, key } => (
            format!(
                "The policy is {policy}, and {} is not in order: only SPF carries DMARC, so mail from webCRM that is forwarded fails.",
                item(*key)
            ),
            "Put that key in order.".into(),
        ),
        F::DmarcDkimAligned { domain } => {
            (format!("Mail is signed as {domain} itself, so DMARC passes by DKIM."), String::new())
        }
        F::DmarcSpfUnaligned { alias } => (
            format!("Without {alias}, SPF adds nothing to DMARC; DKIM carries it alone."),
            format!("Publish the alias {alias} as well."),
        ),
        F::DmarcSpfStrict { alias } => (
            format!("aspf=s asks for exactly the same domain, and mail is returned to {alias}: SPF does not align."),
            "Remove aspf=s.".into(),
        ),
        F::ReturnPathGood { host } => (format!("{host} points to Mailjet."), String::new()),
        F::ReturnPathMissing { host, target } => {
            (format!("{host} is not there."), format!("Publish a CNAME at {host} to {target}."))
        }
        F::ReturnPathWrong { host, found, target } => {
            (format!("{host} points to {found}."), points_to(found, target, "Point the alias to"))
        }
        F::ReturnPathAddress { host, target, address } => (
            format!("{host} answers with the address {address} in place of an alias for {target}."),
            format!(
                "Switch the proxy off for {host} (in Cloudflare: \"DNS only\"). If an A or AAAA record stands there instead, replace it by a CNAME to {target}."
            ),
        ),
        F::MxGood { host } => (format!("Answers and bounces reach {host}."), String::new()),
        F::MxMissing { domain } => (
            format!("{domain} cannot receive mail: it has no MX record and no address."),
            "Publish an MX record. Many receivers refuse mail that cannot be answered.".into(),
        ),
        F::MxBesideAlias { domain, target } => (
            format!(
                "{domain} cannot receive mail: {target}, for which it is an alias (CNAME), has no MX record and no address."
            ),
            format!("Many receivers refuse mail that cannot be answered. {}", publish::without_alias(target)),
        ),
        F::MxUnreachable { host } => (
            format!("Answers and bounces reach nobody: {host}, which the MX record names, has no address on the Internet."),
            "Correct the MX record, or publish the address (A or AAAA) of that name. An MX record cannot name an address itself."
                .into(),
        ),
        F::MxNull { domain } => (
            format!("{domain} says that it takes no mail (MX 0 .)."),
            "Many receivers refuse mail that cannot be answered. Publish an MX record, or send from another domain."
                .into(),
        ),
        F::ProbeGood { server, detail } => (format!("{server} takes mail from us: {detail}."), String::new()),
        F::ProbeFailed { server, step, reason, remedy } => (
            format!("{server} cannot be used: {step}: {reason}."),
            match remedy.is_empty() {
                true => "See it step by step with `postbud probe`.".into(),
                false => remedy.clone(),
            },
        ),
        F::ProbeSkipped { server } => (
            format!("{server} was not tried."),
            "Try it with `postbud domain check --probe`, or step by step with `postbud probe`.".into(),
        ),
        F::RelayByAddress { server, ip } => (
            format!("webCRM does not log in at {server}: the server has to know it by the address {ip}."),
            format!(
                "Let {ip} send through the server to every recipient (Postfix: mynetworks; Exchange: a receive connector with relay; Microsoft 365: an inbound connector)."
            ),
        ),
        F::InternalMailByMailjet { domain, include, provider } => (
            format!(
                "Mail from webCRM to your own people comes from outside, from Mailjet's addresses, in the name of {domain}. The SPF record of {include} holds the addresses."
            ),
            match provider {
                Provider::Microsoft365 => format!(
                    "If it is refused (550 5.7.68, 5.7.1): in Microsoft 365, let Mailjet send as {domain} (Tenant Allow/Block List, Spoofed senders), and add Mailjet's addresses to the inbound connector if that one restricts the domain to certain addresses."
                ),
                Provider::Google => {
                    "If it is refused: in Google Workspace, add Mailjet's addresses to the email allowlist.".into()
                }
                Provider::Other => {
                    "If it is refused: allow Mailjet's addresses on the mail server that takes your mail.".into()
                }
            },
        ),
        F::InternalMail { ip, provider } => (
            format!(
                "Mail from webCRM to your own people comes from {ip}, from outside, in the name of your own domain."
            ),
            match provider {
                Provider::Microsoft365 => format!(
                    "If it is refused (550 5.7.68, 5.7.1): in Microsoft 365, allow {ip} with an inbound connector or in the IP allow list."
                ),
                Provider::Google => format!("If it is refused: in Google Workspace, add {ip} to the email allowlist."),
                Provider::Other => format!(
                    "If it is refused: allow {ip} on your mail server (Postfix: mynetworks; Exchange: a receive connector)."
                ),
            },
        ),
    };
    (what, next)
}

/// Explains where an alias must lead. A panel that takes the target for a name in the zone wants a dot at its end.
fn points_to(found: &str, target: &str, verb: &str) -> String {
    match is_appended_to(target, found) {
        true => format!("{verb} {target}, with a dot at the end: without it your DNS panel appends the zone's name."),
        false => format!("{verb} {target}."),
    }
}

pub(super) fn item(item: Item) -> &'static str {
    match item {
        Item::FromDomain => "From domain",
        Item::Ownership => "Ownership",
        Item::Spf => "SPF",
        Item::Dkim => "DKIM",
        Item::MailjetAccount => "Mailjet's account",
        Item::MailjetDkim => "DKIM (Mailjet)",
        Item::Dmarc => "DMARC",
        Item::ReturnPath => "Return path",
        Item::Mx => "MX",
        Item::OwnServer => "Own server",
        Item::InternalMail => "Internal mail",
    }
}

pub(super) fn need(need: Need) -> &'static str {
    match need {
        Need::Required => "required",
        Need::Recommended => "recommended",
        Need::Optional => "optional",
    }
}

pub(super) fn overall(overall: Overall) -> &'static str {
    match overall {
        Overall::Good => "Everything is in order.",
        Overall::Recommendations => "Everything required is in order; something recommended is open.",
        Overall::Unknown => {
            "Not everything could be checked, because something could not be looked up in DNS. Check again later."
        }
        Overall::Missing => "Something required is missing or broken.",
    }
}

pub(super) fn word(word: Word) -> &'static str {
    match word {
        Word::Need => "NEED",
        Word::For => "FOR",
        Word::Type => "TYPE",
        Word::Host => "HOST",
        Word::Label => "NAME",
        Word::Value => "VALUE",
        Word::Records => "records to publish",
        Word::Why => "Why",
        Word::OrInstead => "or instead an empty file at",
        Word::Found => "found",
        Word::Expected => "expected",
        Word::Next => "next",
        Word::AlreadyThere => "there already",
        Word::NotKnown => "DNS did not answer",
        Word::Unanswered => "DNS did not answer, so we do not know whether this record is published already.",
        Word::OneLineHint => {
            "Each value is one line, without quotation marks. Where a panel takes only 255 characters a string, split it without adding a space."
        }
        Word::Unknown => {
            "Not everything could be looked up in DNS. The records that build on those you have now (as SPF and DMARC do) are therefore left out: a guess could stop your other mail. Try again later."
        }
    }
}
