//! Bodies that end in every sort of white space, signed by dkimpy and by Perl's Mail::DKIM: `verify` says of each what these two
//! say, of the message as it was signed and of one whose body became another on its way.

use std::path::Path;
use std::process::Command;

use postbud::dkim::record::render;
use postbud::dkim::verify::{Keys, verify};
use postbud::dkim::{Selector, SigningKey};
use postbud::smtp::Domain;

/// Each is signed, and each stands in for every other one.
const BODIES: &[&str] = &[
    "",
    "\r\n",
    "\r\n\r\n\r\n",
    " \r\n",
    " \t \r\n\t\r\n",
    "\r\n \r\n",
    " \r\n\r\n",
    "Hello!\r\n",
    "Hello!\r\n\r\n",
    "Hello!\r\n  \r\n",
    "Hello!\r\n\t\r\n \r\n",
    "Hello!\r\n \r\n\r\n",
    "Hello!\r\n\r\n \t\r\n",
    "Hello! \t\r\n",
    "Hello! \r\n \r\n\r\n\t \r\n\r\n",
    "Hello!\r\n\r\n \r\nworld\r\n",
    "Hello!\r\n \r\n\t\r\nworld\r\n \r\n",
    "Hello!\r\n\r\n\r\nworld\r\n",
    " Hello!\r\n",
    "\tHello!\r\n",
    "Hello  you!\r\n",
    "Hello\tyou! \r\n",
    "\r\n\r\nHello!\r\n",
    " \r\nHello!\r\n",
    "Hello!\r\n .\r\n",
    "Hello!\r\n\r\n \r\n-- \r\n",
];

/// With `l=` besides, which the last one of a name has.
const CANONICALIZATIONS: &[&str] = &["simple-simple", "relaxed-relaxed", "simple-simple-l", "relaxed-relaxed-l"];

const HEADER: &str = "From: A <a@test.dk>\r\nTo:  b@example.com \r\nSubject: hej\r\n\tdu\r\n";

/// Signs each message of `in` as its name says, into `out`; then prints what dkimpy says of each message in `judged`.
const DKIMPY: &str = r#"
import os, sys, dkim
dir, step = sys.argv[1:]
record = open(dir + "/record", "rb").read()
for name in sorted(os.listdir(dir + "/" + step)):
    message = open(dir + "/" + step + "/" + name, "rb").read()
    if step == "in":
        how = tuple(word.encode() for word in name.split("-")[1:3])
        field = dkim.sign(message, b"postbud1", b"test.dk", open(dir + "/key", "rb").read(), canonicalize=how,
                          include_headers=[b"from", b"to", b"subject"], length=name.endswith("-l"))
        open(dir + "/out/dkimpy-" + name, "wb").write(field + message)
    else:
        print(name, "pass" if dkim.verify(message, dnsfunc=lambda *_, **__: record) else "fail")
"#;

const MAIL_DKIM: &str = r#"
use strict; use warnings;
use Mail::DKIM::Signer; use Mail::DKIM::Verifier; use Mail::DKIM::PublicKey; use Mail::DKIM::PrivateKey;
my ($dir, $step) = @ARGV;
sub slurp { open my $file, '<:raw', $_[0] or die; local $/; my $text = <$file>; return $text // ''; }
my $record = slurp("$dir/record");
no warnings 'redefine';
*Mail::DKIM::PublicKey::fetch = sub { return Mail::DKIM::PublicKey->parse($record); };
*Mail::DKIM::PublicKey::fetch_async = sub {
    my ($class, %args) = @_;
    my $key = Mail::DKIM::PublicKey->parse($record);
    my $done = $args{Callbacks}{Success}; my $got = $done ? $done->($key) : $key;
    return sub { $got };
};
my $key = Mail::DKIM::PrivateKey->load(File => "$dir/key");
opendir my $list, "$dir/$step" or die;
for my $name (sort grep { !/^\./ } readdir $list) {
    my $message = slurp("$dir/$step/$name");
    if ($step eq 'in') {
        next if $name =~ /-l$/;
        my (undef, $header, $body) = split /-/, $name;
        my $signer = Mail::DKIM::Signer->new(Algorithm => 'rsa-sha256', Method => "$header/$body", Domain => 'test.dk',
            Selector => 'postbud1', Key => $key);
        $signer->PRINT($message); $signer->CLOSE;
        open my $file, '>:raw', "$dir/out/maildkim-$name" or die;
        print $file $signer->signature->as_string, "\r\n", $message;
    } else {
        my $verifier = Mail::DKIM::Verifier->new;
        $verifier->PRINT($message); $verifier->CLOSE;
        print "$name ", ($verifier->result eq 'pass' ? 'pass' : 'fail'), "\n";
    }
}
"#;

/// Runs one of the two over a step; its lines.
fn run(program: &str, arguments: [&str; 2], dir: &Path, step: &str) -> Vec<String> {
    let output = Command::new(program).args(arguments).arg(dir).arg(step).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

async fn ours(message: &[u8], record: &str) -> &'static str {
    let verdicts = verify(message, Keys::Record(record)).await.unwrap();
    if verdicts.len() == 1 && verdicts[0].result.is_ok() { "pass" } else { "fail" }
}

fn split(message: &str) -> (&str, &str) {
    message.split_once("\r\n\r\n").expect("an empty line")
}

#[tokio::test]
async fn verify_agrees_with_two_verifiers_on_every_end_of_a_body() {
    let has = |program: &str, arguments: [&str; 2]| {
        let found = Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success());
        if !found {
            eprintln!(
                "SKIPPED verify_agrees_with_two_verifiers_on_every_end_of_a_body ({}): not installed",
                arguments[1]
            );
        }
        found
    };
    let strangers = [
        ("/usr/bin/python3", ["-c", DKIMPY], has("/usr/bin/python3", ["-c", "import dkim"])),
        ("perl", ["-e", MAIL_DKIM], has("perl", ["-e", "use Mail::DKIM 1.20220520"])),
    ];
    let dir = tempfile::tempdir().unwrap();
    let key = SigningKey::generate_rsa(2048).unwrap();
    let (domain, selector) = (Domain::parse("test.dk").unwrap(), Selector::parse("postbud1").unwrap());
    let record = render(&domain, &selector, &key).unwrap().value;
    std::fs::write(dir.path().join("record"), &record).unwrap();
    // Neither takes PKCS #8.
    std::fs::write(dir.path().join("key.pem"), key.to_pem().unwrap()).unwrap();
    let converted = Command::new("openssl")
        .args(["rsa", "-traditional", "-in"])
        .arg(dir.path().join("key.pem"))
        .arg("-out")
        .arg(dir.path().join("key"))
        .output();
    assert!(converted.is_ok_and(|output| output.status.success()), "openssl");
    for folder in ["in", "out", "judged"] {
        std::fs::create_dir(dir.path().join(folder)).unwrap();
    }
    for how in CANONICALIZATIONS {
        for (number, body) in BODIES.iter().enumerate() {
            let name = format!("{number:02}-{how}");
            std::fs::write(dir.path().join("in").join(name), format!("{HEADER}\r\n{body}")).unwrap();
        }
    }
    for (program, script, _) in strangers.iter().filter(|(.., installed)| *installed) {
        run(program, *script, dir.path(), "in");
    }
    let mut expected = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir(dir.path().join("out")).unwrap() {
        let entry = entry.unwrap();
        let signed = std::fs::read_to_string(entry.path()).unwrap();
        let (header, own) = split(&signed);
        // Perl takes the zero for no limit, where nothing of the body is signed.
        let perl_errs = header.contains("l=0;");
        for (number, body) in BODIES.iter().enumerate() {
            let name = format!("{}-{number:02}", entry.file_name().display());
            let message = format!("{header}\r\n\r\n{body}");
            let verdict = ours(message.as_bytes(), &record).await;
            assert!(*body != own || verdict == "pass", "{name} as it was signed: {message:?}");
            std::fs::write(dir.path().join("judged").join(&name), message).unwrap();
            expected.insert(name, (verdict, perl_errs));
        }
    }
    for (program, script, _) in strangers.iter().filter(|(.., installed)| *installed) {
        let mut differ = Vec::new();
        let lines = run(program, *script, dir.path(), "judged");
        assert_eq!(lines.len(), expected.len());
        for line in lines {
            let (name, verdict) = line.split_once(' ').unwrap();
            let (ours, perl_errs) = expected[name];
            if ours != verdict && !(*program == "perl" && perl_errs) {
                differ.push(line);
            }
        }
        assert!(
            differ.is_empty(),
            "{program} says otherwise of {}: {:#?}",
            differ.len(),
            &differ[..differ.len().min(20)]
        );
    }
}
