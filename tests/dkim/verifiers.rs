//! More than 500 messages, real-shaped and generated, through two independent verifiers: dkimpy and Perl's Mail::DKIM. Each
//! runs once over a directory of messages, and prints a line for every signature it saw.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use postbud::dkim::{Canonicalization, Signer, SigningKey};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::corpus::{Shape, newsletter};
use crate::signatures::{profile, sign};

const DKIMPY: &str = r#"
import os, sys, dkim
keys = dict(line.rstrip("\n").split(" ", 1) for line in open(sys.argv[1] + "/keys"))
def lookup(name, timeout=5):
    return keys[name.decode().rstrip(".")].encode()
for name in sorted(os.listdir(sys.argv[1] + "/messages")):
    verifier = dkim.DKIM(open(sys.argv[1] + "/messages/" + name, "rb").read())
    for index in range(int(sys.argv[2])):
        try:
            good = verifier.verify(idx=index, dnsfunc=lookup)
        except Exception as error:
            good = repr(error)
        print(name, index, "pass" if good is True else good)
"#;

const MAIL_DKIM: &str = r#"
use strict; use warnings;
use Mail::DKIM::Verifier; use Mail::DKIM::PublicKey;
my ($dir) = @ARGV;
my %keys;
open my $records, '<', "$dir/keys" or die; while (<$records>) { chomp; my ($n, $v) = split / /, $_, 2; $keys{$n} = $v; }
no warnings 'redefine';
*Mail::DKIM::PublicKey::fetch = sub {
    my ($class, %args) = @_;
    return Mail::DKIM::PublicKey->parse($keys{"$args{Selector}._domainkey.$args{Domain}"});
};
*Mail::DKIM::PublicKey::fetch_async = sub {
    my ($class, %args) = @_;
    my $key = Mail::DKIM::PublicKey->parse($keys{"$args{Selector}._domainkey.$args{Domain}"});
    my $done = $args{Callbacks}{Success}; my $got = $done ? $done->($key) : $key;
    return sub { $got };
};
opendir my $list, "$dir/messages" or die;
for my $name (sort grep { !/^\./ } readdir $list) {
    open my $file, '<:raw', "$dir/messages/$name" or die; local $/; my $text = <$file>;
    my $verifier = Mail::DKIM::Verifier->new;
    $verifier->PRINT($text); $verifier->CLOSE;
    my $index = 0;
    # It knows no Ed25519.
    print "$name ", $index++, " ", $_->result_detail, "\n" for grep { $_->algorithm =~ /^rsa/ } $verifier->signatures;
}
"#;

/// Returns true if a verifier is installed; says so where it is not.
fn installed(name: &str, probe: &mut Command) -> bool {
    let found = probe.output().is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("SKIPPED two_verifiers_accept_every_message ({name}): not installed");
    }
    found
}

/// Generated header and body, with every oddity intake lets through.
fn generated() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let value = prop_oneof![
        4 => "[ !-~]{0,60}",
        1 => "[!-~æøåÆØÅ €\t]{0,200}",
        1 => "([!-~]{1,30}\r\n[ \t]{1,4}){1,4}[!-~]{1,20}[ \t]{0,3}",
        1 => "[ \t]{0,5}",
        1 => "[\x01-\x08\x0e-\x1f\x7f a]{0,20}",
    ];
    let name = prop_oneof![
        "(To|Cc|Reply-To|Date|Message-ID|MIME-Version|Content-Type|References|List-Id|X-Other|Sender)",
        "(SUBJECT|subject|list-UNSUBSCRIBE|List-Unsubscribe-Post|Feedback-ID|Received|X-MJ-CustomID)",
    ];
    let field = (name, prop_oneof![Just(":"), Just(": "), Just(":\t")], value)
        .prop_map(|(name, colon, value)| format!("{name}{colon}{value}\r\n"));
    let line = prop_oneof![
        3 => "[ -~]{0,78}",
        1 => "[!-~æøå\t ]{0,300}",
        1 => "[ \t]{0,6}",
        1 => "[\x01-\x09\x0b\x0c\x0e-\x1f\x7f a]{0,20}",
        1 => Just(String::new()),
    ];
    (prop::collection::vec(field, 0..12), prop::collection::vec(line, 0..30)).prop_map(|(fields, lines)| {
        let header = format!("From: Sørens Cykler <a@test.dk>\r\n{}", fields.concat());
        let body: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        (header.into_bytes(), body.into_bytes())
    })
}

fn messages() -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut all: Vec<_> = (0..150)
        .map(|n| {
            let shape = Shape::ALL[n % 3];
            let message = newsletter(shape, 1500 + 150 * n, n as u64);
            (message.header, message.body)
        })
        .collect();
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[4; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    all.extend((0..400).map(|_| generated().new_tree(&mut runner).unwrap().current()));
    all
}

/// Writes the messages, each signed three times, and the records.
fn write(dir: &Path, messages: &[(Vec<u8>, Vec<u8>)]) {
    let keys = [
        ("rsa", SigningKey::generate_rsa(2048).unwrap(), Canonicalization::Relaxed),
        ("ed", SigningKey::generate_ed25519().unwrap(), Canonicalization::Relaxed),
        ("simple", SigningKey::generate_rsa(2048).unwrap(), Canonicalization::Simple),
    ];
    let mut records = String::new();
    let profiles = keys.into_iter().map(|(selector, key, how)| {
        let mut profile = profile(key);
        profile.selector = postbud::dkim::Selector::parse(selector).unwrap();
        (profile.header_canonicalization, profile.body_canonicalization) = (how, how);
        let record = postbud::dkim::record::render(&profile.domain, &profile.selector, &profile.key).unwrap();
        records.push_str(&format!("{} {}\n", record.name, record.value));
        profile
    });
    let signer = Signer::new(profiles.collect()).unwrap();
    std::fs::write(dir.join("keys"), records).unwrap();
    std::fs::create_dir(dir.join("messages")).unwrap();
    for (n, (header, body)) in messages.iter().enumerate() {
        let signatures = sign(&signer, header, body).unwrap().concat();
        std::fs::write(dir.join(format!("messages/{n:04}")), [&signatures, &header[..], b"\r\n", body].concat())
            .unwrap();
    }
}

/// Lines of `name index verdict` as counts of verdicts, and the first few that are no pass.
fn tally(program: &mut Command) -> (BTreeMap<bool, usize>, Vec<String>) {
    let output = program.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut counts = BTreeMap::new();
    let mut failures = Vec::new();
    for line in text.lines() {
        let passed = line.ends_with(" pass");
        *counts.entry(passed).or_default() += 1;
        if !passed && failures.len() < 5 {
            failures.push(line.to_owned());
        }
    }
    (counts, failures)
}

#[test]
fn two_verifiers_accept_every_message() {
    let python = "/usr/bin/python3";
    let dir = tempfile::tempdir().unwrap();
    let messages = messages();
    assert!(messages.len() >= 500);
    write(dir.path(), &messages);
    if installed("dkimpy", Command::new(python).args(["-c", "import dkim, nacl"])) {
        let (counts, failures) = tally(Command::new(python).args(["-c", DKIMPY]).arg(dir.path()).arg("3"));
        assert_eq!(counts, BTreeMap::from([(true, 3 * messages.len())]), "dkimpy: {failures:?}");
    }
    if installed("Mail::DKIM", Command::new("perl").args(["-e", "use Mail::DKIM 1.20220520"])) {
        let (counts, failures) = tally(Command::new("perl").args(["-e", MAIL_DKIM]).arg(dir.path()));
        assert_eq!(counts, BTreeMap::from([(true, 2 * messages.len())]), "Mail::DKIM: {failures:?}");
    }
}
