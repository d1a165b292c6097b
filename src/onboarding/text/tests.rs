use super::*;
use crate::delivery::Step as ProbeStep;
use crate::dkim::record::Flaw;
use crate::dkim::tags::Mistake;
use crate::onboarding::dmarc::step::{PolicyStage, Reason, Safety, Step as DmarcStep, Stranger};
use crate::onboarding::fetch::NotThere;
use crate::onboarding::finding::{DkimFlaw, NoKey, Provider, TagMistake};
use crate::onboarding::rotation::Shown;
use crate::onboarding::spf::obstacle::Obstacle;
use crate::onboarding::spf::repair::Repair;
use crate::resolver;

const ROLES: [Role; 3] = [Role::Incoming, Role::Outgoing, Role::Revoked];
const STEPS: [ProbeStep; 15] = [
    ProbeStep::Resolve,
    ProbeStep::Policy,
    ProbeStep::Connect,
    ProbeStep::Greeting,
    ProbeStep::Hello,
    ProbeStep::Tls,
    ProbeStep::Certificate,
    ProbeStep::Token,
    ProbeStep::Login,
    ProbeStep::Mail,
    ProbeStep::Rcpt,
    ProbeStep::Data,
    ProbeStep::End,
    ProbeStep::Rset,
    ProbeStep::OpenRelay,
];
const BOTH: [Lang; 2] = [Lang::Da, Lang::En];

/// One of each, with values that can be found again in a text.
fn samples() -> Vec<Finding> {
    use Finding as F;
    let s = |text: &str| text.to_owned();
    let (h, d, u) = (|| s("host.example"), || s("domain.example"), || s("http://u.example/x"));
    let mut all = vec![
        F::Unanswered { reason: unanswered()[0].clone() },
        F::WrongHost { found_at: s("FOUND"), right_host: h(), zone: None },
        F::WrongHost { found_at: s("FOUND"), right_host: s("a.b.zone.example"), zone: Some(s("zone.example")) },
        F::PublicProvider { domain: d() },
        F::OwnDomain { domain: d() },
        F::FromDomainAlias { domain: d(), target: s("TARGET") },
        F::FromDomainWildcard { domain: d() },
        F::OwnershipByTxt { host: h() },
        F::OwnershipUntidy { host: h(), found: s("FOUND") },
        F::OwnershipByFile { url: u() },
        F::OwnershipMissing { host: h(), value: s("VALUE"), url: u() },
        F::OwnershipWrongValue { host: h(), found: s("FOUND") },
        F::FileNotEmpty { url: u() },
        F::FileAnywhere { url: u() },
        F::FileAddressRefused { url: u() },
        F::FileRedirectRefused { url: u() },
        F::FileNotThere { url: u(), reason: NotThere::Status(404) },
        F::SpfPasses { ip: s("192.0.2.1"), lookups: 7 },
        F::SpfMissing { domain: d() },
        F::SpfNearMiss { text: s("TEXT") },
        F::SpfSeveral { domain: d(), count: 3 },
        F::SpfTooLong { domain: d(), octets: 9000 },
        F::SpfNoEffect { domain: d(), terms: vec![s("TERM")] },
        F::SpfMeant { written: s("WRITTEN"), meant: s("MEANT") },
        F::SpfMeant { written: s("WRITTEN"), meant: String::new() },
        F::SpfUnread { terms: vec![s("TERM")] },
        F::SpfAfterAll { domain: d(), terms: vec![s("TERM")] },
        F::SpfEverybody { domain: d(), term: s("TERM") },
        F::SpfPtr { domain: d() },
        F::SpfLoop { domain: d() },
        F::SpfTooManyLookups { count: 17 },
        F::SpfNearLookupLimit { count: 9 },
        F::SpfTooManyVoidLookups { count: 5 },
        F::SpfManyVoidLookups { count: 5 },
        F::SpfTooManyExchanges { domain: d() },
        F::SpfIncludeWithoutRecord { domain: d() },
        F::SpfIncludeSeveral { domain: d(), count: 3 },
        F::SpfOursBroken { include: s("INCLUDE"), ip: s("192.0.2.1") },
        F::SpfIncludeMissing { include: s("INCLUDE") },
        F::SpfIncludeShadowed { include: s("INCLUDE"), by: s("BY") },
        F::SpfAddressOnly { ip: s("192.0.2.1"), include: s("INCLUDE") },
        F::SpfDoesNotPass { ip: s("192.0.2.1"), verdict: "softfail" },
        F::SpfDoesNotPass { ip: s("192.0.2.1"), verdict: "permerror" },
        F::SpfWithoutUs { ip: s("192.0.2.1") },
        F::SpfUsable { lookups: 7 },
        F::SpfBesideAlias { domain: d(), target: s("TARGET") },
        F::DkimGood { host: h() },
        F::DkimMissing { host: h() },
        F::DkimSeveral { host: h(), count: 3 },
        F::DkimMismatch { host: h() },
        F::DkimKeyUnusable { reason: s("REASON") },
        F::DkimSecond { said: Box::new(F::DkimMissing { host: h() }), first_known: true },
        F::DkimSecond { said: Box::new(F::DkimMissing { host: h() }), first_known: false },
        F::MailjetKeyMissing { host: h(), domain: d(), why: NoKey::Missing },
        F::MailjetKeyMissing { host: h(), domain: d(), why: NoKey::Several { count: 3 } },
        F::MailjetKeyMissing { host: h(), domain: d(), why: NoKey::Flawed { flaws: vec![DkimFlaw(Flaw::Revoked)] } },
        F::MailjetKeyShort { host: h(), bits: 1024 },
        F::MailjetKeyShort { host: h(), bits: 512 },
        F::MailjetKeyUnset { host: h(), domain: d() },
        F::MailjetKeyOfOther { host: h() },
        F::DelegationZone { host: h(), said: Box::new(F::DkimMissing { host: h() }) },
        F::DelegationWrong { host: h(), found: s("FOUND"), target: s("TARGET") },
        F::DelegationMissing { host: h(), target: s("TARGET") },
        F::DelegationByHand { host: h(), target: s("TARGET") },
        F::DelegationIdle { host: h(), target: s("TARGET") },
        F::DelegationOffered { host: h(), target: s("TARGET"), unanswered: false },
        F::DelegationReady { zone: s("ZONE") },
        F::MailjetAccepts { tier: s("TIER"), domain: d() },
        F::MailjetUnproven { tier: s("TIER"), domain: d() },
        F::MailjetObjects { tier: s("TIER"), requirement: "dkim", reason: s("REASON") },
        F::MailjetObjects { tier: s("TIER"), requirement: "spf", reason: String::new() },
        F::MailjetOwned { tier: s("TIER"), domain: d(), reason: s("REASON") },
        F::MailjetRefuses { tier: s("TIER"), domain: d(), reason: s("REASON") },
        F::MailjetCredentials { tier: s("TIER"), reason: s("REASON") },
        F::MailjetSilent { tier: s("TIER"), reason: s("REASON"), hours: 17 },
        F::MailjetUnkept { tier: s("TIER"), reason: s("REASON") },
        F::DkimRotatingUnanswered { host: h(), reason: unanswered()[0].clone() },
        F::DkimRotationUnreadable { reason: s("REASON") },
        F::DmarcGood { host: h(), policy: s("quarantine") },
        F::DmarcMissing { host: h() },
        F::DmarcSeveral { host: h(), count: 3 },
        F::DmarcNearMiss { host: h(), text: s("TEXT"), mistake: None },
        F::DmarcInvalid { host: h(), tag: s("TAG") },
        F::DmarcNoPolicy { host: h(), tags: vec![s("TAG")] },
        F::DmarcNoPolicy { host: h(), tags: vec![] },
        F::DmarcPolicyName { host: h(), name: s("NAME") },
        F::DmarcValue { host: h(), tag: s("TAG") },
        F::DmarcPercent { percent: 0, policy: s("reject") },
        F::DmarcPercent { percent: 20, policy: s("reject") },
        F::OutOfTime { secs: 30 },
        F::DmarcTag { host: h(), tag: s("TAG") },
        F::DmarcInherited { host: h() },
        F::DmarcObsolete { tag: s("pct") },
        F::DmarcNoReports { host: h(), wanted: true },
        F::DmarcNoReports { host: h(), wanted: false },
        F::DmarcReportsRefused { destination: s("DEST"), host: h() },
        F::DmarcReportsNotAllowed { destination: s("DEST"), host: h() },
        F::DmarcMonitoring,
        F::DmarcTesting,
        F::DmarcWithoutDkim { policy: s("reject"), key: Item::MailjetDkim },
        F::DmarcOnSpfAlone { policy: s("reject"), key: Item::MailjetDkim },
        F::DmarcKeyFirst { policy: s("reject"), key: Item::Dkim },
        F::DmarcDkimAligned { domain: d() },
        F::DmarcSpfUnaligned { alias: s("ALIAS") },
        F::DmarcSpfStrict { alias: s("ALIAS") },
        F::ReturnPathGood { host: h() },
        F::ReturnPathMissing { host: h(), target: s("TARGET") },
        F::ReturnPathWrong { host: h(), found: s("FOUND"), target: s("TARGET") },
        F::ReturnPathAddress { host: h(), target: s("TARGET"), address: s("192.0.2.1") },
        F::MxBesideAlias { domain: d(), target: s("TARGET") },
        F::RelayByAddress { server: s("SERVER"), ip: s("192.0.2.1") },
        F::MxGood { host: h() },
        F::MxMissing { domain: d() },
        F::MxUnreachable { host: h() },
        F::MxNull { domain: d() },
        F::ProbeGood { server: s("SERVER"), detail: s("DETAIL") },
        F::ProbeSkipped { server: s("SERVER") },
    ];
    for step in STEPS {
        all.push(F::ProbeFailed { server: s("SERVER"), step, reason: s("REASON"), remedy: s("REMEDY") });
        all.push(F::ProbeFailed { server: s("SERVER"), step, reason: s("REASON"), remedy: String::new() });
    }
    for fault in ["address", "name", "twice", "character", "unknown"] {
        all.push(F::SpfSyntax { domain: d(), term: s("TERM"), fault });
    }
    for fault in ["none", "several", "syntax", "loop"] {
        all.push(F::SpfBeyondUs { domain: d(), fault });
    }
    for obstacle in obstacles() {
        all.push(F::SpfProposalFails { obstacle });
    }
    for role in ROLES {
        for shown in [Shown::Right, Shown::Missing, Shown::Other] {
            all.push(F::DkimRotating { host: h(), role, shown });
        }
    }
    for provider in [Provider::Microsoft365, Provider::Google, Provider::Other] {
        all.push(F::InternalMail { ip: s("192.0.2.1"), provider });
        all.push(F::InternalMailByMailjet { domain: d(), include: s("INCLUDE"), provider });
    }
    for flaw in [
        Flaw::NoVersion,
        Flaw::Version(s("V")),
        Flaw::NoKey,
        Flaw::Revoked,
        Flaw::NotBase64('%'),
        Flaw::Truncated,
        Flaw::KeyType(s("K")),
        Flaw::Weak(1024),
        Flaw::Hash(s("sha1")),
        Flaw::Service(s("S")),
        Flaw::Testing,
        Flaw::Strict,
        Flaw::VersionNotFirst,
        Flaw::Case(s("P")),
        Flaw::NoPadding,
        Flaw::Bare(s("MISSING")),
        Flaw::OtherName(s("NAME")),
        Flaw::Pem,
        Flaw::Private,
        Flaw::OtherKeyType(crate::dkim::KeyType::Rsa),
        Flaw::Wrapped,
        Flaw::NoRecord(s("VALUE")),
    ] {
        all.push(F::DkimFlaw { host: h(), flaw: DkimFlaw(flaw) });
    }
    for mistake in [
        Mistake::Character('\u{a0}'),
        Mistake::Character('\u{feff}'),
        Mistake::Character('\u{2009}'),
        Mistake::Character('\u{200b}'),
        Mistake::Character('–'),
        Mistake::Character('ｖ'),
        Mistake::Character('ø'),
        Mistake::Character('\u{fffd}'),
        Mistake::Character('\u{440}'),
        Mistake::Quoting('"'),
        Mistake::Markup(s("&#59;")),
        Mistake::NoSign(s("rua")),
        Mistake::ZoneLine,
        Mistake::NoSemicolon(s("rua")),
        Mistake::EmptyTag,
        Mistake::NoTag(s("JUNK")),
        Mistake::Twice(s("rua")),
    ] {
        all.push(F::DkimFlaw { host: h(), flaw: DkimFlaw(Flaw::Tags(mistake.clone())) });
        all.push(F::DmarcNearMiss { host: h(), text: s("TEXT"), mistake: Some(TagMistake(mistake.clone())) });
        all.push(F::DmarcMistake { host: h(), mistake: TagMistake(mistake) });
    }
    all.extend(dmarc_steps().into_iter().map(|step| F::DmarcReports { step: Box::new(step) }));
    all
}

/// A step for every answer to whether the next stage is safe.
fn dmarc_steps() -> Vec<DmarcStep> {
    let step = |stage: PolicyStage, safety| DmarcStep {
        stage,
        next: stage.next(),
        host: "host.example".to_owned(),
        record: Some("RECORD".to_owned()),
        safety,
    };
    let sender = |messages| Stranger { name: format!("SENDER-{messages}"), messages, days: 9 };
    let mut all = vec![
        step(PolicyStage::Reject, Safety::Reached),
        step(PolicyStage::Missing, Safety::Safe),
        step(PolicyStage::None, Safety::Safe),
        step(PolicyStage::Quarantine, Safety::SafeUnless { senders: vec![sender(300)] }),
        step(PolicyStage::Quarantine, Safety::SafeUnless { senders: (200..207).map(sender).collect() }),
    ];
    all.extend(
        [
            Reason::NoReports,
            Reason::OldReports { days: 17 },
            Reason::FewDays { days: 17, needed: 28 },
            Reason::FewMessages { messages: 17, needed: 100 },
            Reason::FewReporters { reporters: 1, needed: 2 },
            Reason::OursFail { failing: 17, messages: 300 },
            Reason::OthersFail { failing: 17, messages: 300, per_mille: 10 },
        ]
        .map(|reason| step(PolicyStage::None, Safety::NotYet { reasons: vec![reason] })),
    );
    all
}

/// Every way in which DNS gives no answer.
fn unanswered() -> [resolver::Error; 6] {
    use resolver::{Error, RecordType};
    let name = || "name.example".to_owned();
    [
        Error::Timeout { name: name(), record_type: RecordType::Txt },
        Error::Refused { name: name(), record_type: RecordType::Txt, code: "SERVFAIL".to_owned() },
        Error::Referral { name: name(), record_type: RecordType::Txt },
        Error::Aliases { name: name(), record_type: RecordType::Txt },
        Error::Failed { name: name(), record_type: RecordType::Txt, reason: "DETAIL".to_owned() },
        Error::Name(name()),
    ]
}

/// Every way in which a web server does not give the file.
fn not_there() -> [NotThere; 8] {
    let detail = || "DETAIL".to_owned();
    [
        NotThere::Status(404),
        NotThere::Status(503),
        NotThere::Refused { detail: detail() },
        NotThere::NoConnection { detail: detail() },
        NotThere::Certificate { detail: detail() },
        NotThere::Tls { detail: detail() },
        NotThere::NoHttp { detail: detail() },
        NotThere::Late { secs: 10 },
    ]
}

/// Every failure of a resolver or a web server, each with whether it means that nothing answered.
fn failures() -> Vec<(Finding, bool)> {
    use Finding as F;
    let (host, url) = (|| "host.example".to_owned(), || "http://u.example/x".to_owned());
    let mut all = Vec::new();
    for reason in unanswered() {
        let silent = matches!(reason, resolver::Error::Timeout { .. });
        all.push((F::DkimRotatingUnanswered { host: host(), reason: reason.clone() }, silent));
        all.push((F::Unanswered { reason }, silent));
    }
    for reason in not_there() {
        let silent = matches!(reason, NotThere::Late { .. });
        all.push((F::FileNotThere { url: url(), reason }, silent));
    }
    all.push((F::DkimKeyUnusable { reason: "DETAIL".to_owned() }, false));
    all.push((F::DkimRotationUnreadable { reason: "DETAIL".to_owned() }, false));
    all
}

#[test]
fn failures_are_said_in_the_readers_language_and_only_silence_is_no_answer() {
    let mut said = std::collections::BTreeSet::new();
    for (finding, silent) in failures() {
        let detail = finding.detail().expect("operators see what the library said");
        for (lang, no_answer) in [(Lang::Da, "svarede ikke"), (Lang::En, "did not answer")] {
            let Text { what, next } = lang.finding(&finding);
            assert_eq!(what.contains(no_answer), silent, "{what}");
            for english in ["DETAIL", "no answer to", "cannot look up", "connection refused", "answers SERVFAIL"] {
                assert!(!format!("{what} {next}").contains(english), "{english} in {what}");
            }
            assert!(said.insert(what.clone()), "said of two failures: {what}");
        }
        assert!(serde_json::to_string(&finding).unwrap().contains(&serde_json::to_string(&detail).unwrap()));
    }
    for reason in unanswered() {
        let step = RotationStep::Unanswered { reason };
        assert!(BOTH.iter().all(|lang| lang.rotation(&step).contains("name.example")), "{step:?}");
    }
}

#[test]
fn what_a_probe_says_in_english_is_shown_in_english_only() {
    let server = || "SERVER".to_owned();
    let (reason, remedy) = ("REASON".to_owned(), "REMEDY".to_owned());
    let mut said = std::collections::BTreeSet::new();
    let failed = STEPS.map(|step| Finding::ProbeFailed {
        server: server(),
        step,
        reason: reason.clone(),
        remedy: remedy.clone(),
    });
    for finding in failed {
        let [da, en] = BOTH.map(|lang| lang.finding(&finding));
        let [da, en] = [da, en].map(|text| format!("{} {}", text.what, text.next));
        assert!(["REASON", "REMEDY"].iter().all(|word| en.contains(word) && !da.contains(word)), "{da} {en}");
        said.insert(da);
        assert!(finding.detail().is_some_and(|detail| detail.contains("REASON") && detail.contains("REMEDY")));
    }
    assert!(said.len() >= 10, "each step has words of its own: {said:?}");
    let good = Finding::ProbeGood { server: server(), detail: "DETAIL".to_owned() };
    assert!(!Lang::Da.finding(&good).what.contains("DETAIL") && Lang::En.finding(&good).what.contains("DETAIL"));
}

#[test]
fn danish_says_signatur_and_afkortet() {
    let findings = samples().into_iter().map(|finding| Lang::Da.finding(&finding));
    let findings = findings.flat_map(|text| [text.what, text.next]);
    let roles = ROLES.iter().map(|role| Lang::Da.role(*role).to_owned());
    let reasons = Item::ALL.iter().map(|item| Lang::Da.reason(*item, false).to_owned());
    for text in findings.chain(roles).chain(reasons) {
        for word in ["underskr", "skåret", "efterprøv", "egne folk"] {
            assert!(!text.contains(word), "{word} in {text}");
        }
    }
}

fn obstacles() -> Vec<Obstacle> {
    let (count, domain) = (17, || "domain.example".to_owned());
    let included = ["none", "several", "syntax", "loop"].map(|fault| Obstacle::Included { domain: domain(), fault });
    let mut all = vec![
        Obstacle::Lookups { count },
        Obstacle::Voids { count },
        Obstacle::Exchanges { domain: domain() },
        Obstacle::Unread { terms: vec![domain()] },
        Obstacle::TooLong { octets: 17 },
        Obstacle::Ours { include: domain() },
    ];
    all.extend(included);
    all
}

#[test]
fn what_is_to_be_done_before_a_record_is_published_names_what_it_speaks_of() {
    for obstacle in obstacles() {
        for lang in BOTH {
            let [to_come, there] = [false, true].map(|present| lang.obstacle(&obstacle, present));
            assert_ne!(to_come, there);
            for note in [to_come, there] {
                assert!(note.contains("17") || note.contains("domain.example"), "{note}");
            }
        }
    }
}

#[test]
fn every_finding_is_said_in_both_languages_with_all_its_names_and_values() {
    for finding in samples() {
        let [da, en] = BOTH.map(|lang| lang.finding(&finding));
        assert!(!da.what.is_empty() && !en.what.is_empty(), "{finding:?}");
        assert_eq!(da.next.is_empty(), en.next.is_empty(), "{finding:?}");
        assert_ne!(da, en, "not translated: {finding:?}");
        let fields = serde_json::to_value(&finding).unwrap();
        for (name, value) in fields.as_object().unwrap() {
            let value = match value {
                serde_json::Value::String(text) => text.clone(),
                serde_json::Value::Null => continue,
                serde_json::Value::Array(list) => list.first().map_or("", |first| first.as_str().unwrap()).to_owned(),
                other => other.to_string(),
            };
            // Reasons have a test of their own.
            if [
                "code",
                "flaw",
                "fault",
                "provider",
                "role",
                "shown",
                "key",
                "said",
                "first_known",
                "wanted",
                "why",
                "obstacle",
                "mistake",
                "reason",
                // A probe's words, which have a test of their own.
                "detail",
                "remedy",
                "step",
            ]
            .contains(&name.as_str())
            {
                continue;
            }
            for text in [&da, &en] {
                assert!(format!("{} {}", text.what, text.next).contains(&value), "{name}={value} is not in {text:?}");
            }
        }
    }
}

#[test]
fn what_is_bad_has_a_next_step() {
    use crate::onboarding::Severity;
    for finding in samples().into_iter().filter(|finding| finding.severity() >= Severity::Warning) {
        for lang in BOTH {
            assert!(!lang.finding(&finding).next.is_empty(), "{lang}: {finding:?}");
        }
    }
}

#[test]
fn words_and_names_are_there_in_both_languages() {
    for lang in BOTH {
        for item in Item::ALL {
            assert!(!lang.item(item).is_empty());
            assert!([false, true].iter().all(|own_server| lang.reason(item, *own_server).ends_with('.')));
        }
        for role in ROLES {
            assert!(lang.role(role).ends_with('.'));
        }
        for note in [
            Note::Joined(2),
            Note::Repaired(Repair { written: "WRITTEN".into(), meant: "MEANT".into() }),
            Note::Repaired(Repair { written: "WRITTEN".into(), meant: String::new() }),
            Note::Unread(vec!["TERM".into()]),
            Note::Softened("-all"),
            Note::Moved("TERM".into()),
            Note::Dead("TERM".into()),
            Note::PlusAll,
            Note::AddedAll,
            Note::Guessed(vec!["TERM".into()]),
            Note::Ptr,
            Note::Begun,
        ] {
            assert!(!lang.note(&note).is_empty());
        }
        for overall in [Overall::Good, Overall::Recommendations, Overall::Unknown, Overall::Missing] {
            assert!(!lang.overall(overall).is_empty());
        }
        assert_eq!(lang.as_str().parse::<Lang>(), Ok(lang));
    }
    assert_ne!(Lang::Da.word(Word::Value), Lang::En.word(Word::Value));
}

#[test]
fn no_text_repeats_the_guides_mistakes() {
    for lang in BOTH {
        for finding in samples() {
            let text = lang.finding(&finding);
            for wrong in ["*dmarc", "111.222.333.444", "mailjet_", "pct=100"] {
                assert!(!text.what.contains(wrong) && !text.next.contains(wrong), "{wrong} in {text:?}");
            }
        }
    }
}

#[test]
fn what_the_http_client_says_about_mailjet_is_shown_in_english_only() {
    for hours in [0, 17] {
        let silent = Finding::MailjetSilent { tier: "TIER".to_owned(), reason: "REASON".to_owned(), hours };
        let [da, en] = BOTH.map(|lang| lang.finding(&silent).what);
        assert!(en.contains("REASON") && !da.contains("REASON") && da.contains("TIER"), "{da} {en}");
        assert_eq!(silent.detail().as_deref(), Some("REASON"));
    }
}

#[test]
fn an_address_for_reports_is_told_as_it_must_be_written() {
    for (tag, right) in [
        ("rua=a@test.dk", true),
        ("ruf=b@test.dk", true),
        ("rua=mailto: a@test.dk", true),
        ("rua=mailto://a@test.dk", true),
        ("rua=https://x.dk/a@b", false),
        ("rua=x", false),
        ("x=a@test.dk", false),
    ] {
        let finding = Finding::DmarcTag { host: "_dmarc.test.dk".to_owned(), tag: tag.to_owned() };
        for text in BOTH.map(|lang| lang.finding(&finding)) {
            assert!(text.what.contains(tag), "{}", text.what);
            assert_eq!(text.next.contains("mailto:"), right, "{tag}: {}", text.next);
        }
    }
}
