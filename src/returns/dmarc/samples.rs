//! Reports as the big reporters write them, written by us: the order, the names and the habits are theirs, the numbers are ours.

use std::io::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};

/// 2026-11-27T00:00:00Z, the day that all samples are about.
pub const BEGINS: u64 = 1_795_737_600;
/// A second before the next day.
pub const ENDS: u64 = BEGINS + 86_399;

/// A report of a habit: what it is called, and its XML. Each tells of 10 messages of ours by DKIM and SPF, 4 of Mailjet's by DKIM alone,
/// and 3 of a forger's.
pub fn all() -> Vec<(&'static str, String)> {
    vec![
        ("google", google()),
        ("microsoft", microsoft()),
        ("yahoo", yahoo()),
        ("mail.ru", mail_ru()),
        ("fastmail", fastmail()),
        ("opendmarc", opendmarc()),
        ("rspamd", rspamd()),
        ("rfc9990", rfc_9990()),
    ]
}

fn row(ip: &str, count: u32, disposition: &str, dkim: &str, spf: &str, more: &str) -> String {
    format!(
        "<row><source_ip>{ip}</source_ip><count>{count}</count><policy_evaluated><disposition>{disposition}</disposition>\
         <dkim>{dkim}</dkim><spf>{spf}</spf>{more}</policy_evaluated></row>"
    )
}

fn auth(dkim: &[(&str, &str, &str)], spf: &[(&str, &str)]) -> String {
    let dkim = dkim.iter().map(|(domain, selector, result)| {
        format!("<dkim><domain>{domain}</domain><result>{result}</result><selector>{selector}</selector></dkim>")
    });
    let spf =
        spf.iter().map(|(domain, result)| format!("<spf><domain>{domain}</domain><result>{result}</result></spf>"));
    format!("<auth_results>{}{}</auth_results>", dkim.collect::<String>(), spf.collect::<String>())
}

/// Ours, Mailjet's and the forger's records, with what stands in `identifiers`.
fn records(identifiers: &str) -> [String; 3] {
    let ours = row("40.74.40.57", 10, "none", "pass", "pass", "");
    let mailjet = row("87.253.233.10", 4, "none", "pass", "fail", "");
    let forger = row("192.0.2.99", 3, "none", "fail", "fail", "");
    [
        format!("{ours}{identifiers}{}", auth(&[("test.dk", "postbud-a", "pass")], &[("test.dk", "pass")])),
        format!(
            "{mailjet}{identifiers}{}",
            auth(&[("test.dk", "postbud-a", "fail"), ("test.dk", "mailjet", "pass")], &[("bnc3.mailjet.com", "pass")])
        ),
        format!("{forger}{identifiers}{}", auth(&[], &[("spam.example", "softfail")])),
    ]
}

/// Indented, with an id of digits.
fn google() -> String {
    let records = records("<identifiers><header_from>test.dk</header_from></identifiers>");
    let records: String = records.iter().map(|record| format!("  <record>\n    {record}\n  </record>\n")).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\" ?>\n<feedback>\n  <report_metadata>\n    <org_name>google.com</org_name>\n    \
         <email>noreply-dmarc-support@google.com</email>\n    <extra_contact_info>https://support.google.com/a/answer/2466580</extra_contact_info>\n    \
         <report_id>8293631894893125362</report_id>\n    <date_range>\n      <begin>{BEGINS}</begin>\n      <end>{ENDS}</end>\n    </date_range>\n  \
         </report_metadata>\n  <policy_published>\n    <domain>test.dk</domain>\n    <adkim>r</adkim>\n    <aspf>r</aspf>\n    <p>none</p>\n    \
         <sp>none</sp>\n    <pct>100</pct>\n    <np>none</np>\n  </policy_published>\n{records}</feedback>\n"
    )
}

/// One line, with namespaces declared, a version, and envelope addresses.
fn microsoft() -> String {
    let identifiers = "<identifiers><envelope_to>outlook.com</envelope_to><envelope_from>test.dk</envelope_from><header_from>test.dk</header_from></identifiers>";
    let records: String = records(identifiers).iter().map(|record| format!("<record>{record}</record>")).collect();
    format!(
        "<?xml version=\"1.0\"?><feedback xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\
         <version>1.0</version><report_metadata><org_name>Outlook.com</org_name><email>dmarcreport@microsoft.com</email>\
         <report_id>d0e9fbc5c9704b6f90b4c9a0</report_id><date_range><begin>{BEGINS}</begin><end>{}</end></date_range></report_metadata>\
         <policy_published><domain>test.dk</domain><adkim>r</adkim><aspf>r</aspf><p>none</p><sp>none</sp><pct>100</pct><fo>0</fo></policy_published>\
         {records}</feedback>",
        BEGINS + 86_400
    )
}

/// Quotes in an organisation's name, and spaces at the ends.
fn yahoo() -> String {
    let records: String = records("<identifiers><header_from>test.dk</header_from></identifiers>")
        .iter()
        .map(|record| format!("<record>{record}</record>\n"))
        .collect();
    format!(
        "<?xml version=\"1.0\"?>  \n<feedback>  \n <report_metadata>  \n  <org_name> Yahoo! &amp; Inc. </org_name>  \n  \
         <email>dmarchelp@yahooinc.com</email>  \n  <report_id>1795829422.128372</report_id>  \n  <date_range>  \n   <begin>{BEGINS}</begin>  \n   \
         <end>{ENDS} </end>  \n  </date_range>  \n </report_metadata>  \n <policy_published>  \n  <domain>test.dk</domain>  \n  <p>none</p>  \n \
         </policy_published>  \n{records}</feedback>"
    )
}

/// Results in capitals, and no selectors.
fn mail_ru() -> String {
    google()
        .replace("google.com", "Mail.Ru")
        .replace("8293631894893125362", "42349123784923749827341")
        .replace(">pass<", ">Pass<")
        .replace("<selector>postbud-a</selector>", "")
        .replace("<sp>none</sp>\n    ", "<sp></sp>")
}

/// Reasons beside the results, human results, and two `auth_results`.
fn fastmail() -> String {
    microsoft()
        .replace("Outlook.com", "Fastmail Pty Ltd")
        .replace("d0e9fbc5c9704b6f90b4c9a0", "284719234")
        .replace("<result>pass</result>", "<human_result>good &#38; valid</human_result><result>pass</result>")
        .replace(
            "<dkim>fail</dkim><spf>fail</spf>",
            "<dkim>fail</dkim><spf>fail</spf><reason><type>local_policy</type><comment>none</comment></reason>",
        )
        .replace("</dkim><spf><domain>", "</dkim></auth_results><auth_results><spf><domain>")
}

/// Tabs, a missing XML declaration, ids with an at sign, and addresses in IPv6's form.
fn opendmarc() -> String {
    let text = google();
    text.split_once("?>\n")
        .expect("a declaration")
        .1
        .replace("  ", "\t")
        .replace("google.com", "mail.example.org")
        .replace("8293631894893125362", "test.dk-1795737600@1795823999")
        .replace("40.74.40.57", "::ffff:40.74.40.57")
}

/// A version behind the metadata, and the schema of RFC 7489 as its namespace.
fn rspamd() -> String {
    microsoft()
        .replace("Outlook.com", "Rspamd")
        .replace("d0e9fbc5c9704b6f90b4c9a0", "test.dk.1795737600.1795823999")
        .replace("<feedback xmlns:xsd", "<feedback xmlns=\"http://dmarc.org/dmarc-xml/0.1\" xmlns:xsd")
}

/// The schema of RFC 9990: a namespace with a prefix, a disposition for what passes, and test mode.
fn rfc_9990() -> String {
    let mut text = microsoft()
        .replace("Outlook.com", "receiver.example")
        .replace("d0e9fbc5c9704b6f90b4c9a0", "abc.def@receiver.example");
    text = text
        .replace("<disposition>none</disposition><dkim>pass</dkim>", "<disposition>pass</disposition><dkim>pass</dkim>")
        .replace("<pct>100</pct>", "<testing>n</testing><discovery_method>treewalk</discovery_method>")
        .replace("<feedback xmlns:xsd", "<feedback xmlns:dmarc=\"urn:ietf:params:xml:ns:dmarc-2.0\" xmlns:xsd");
    text.replace('<', "<dmarc:").replace("<dmarc:/", "</dmarc:").replace("<dmarc:?", "<?")
}

pub fn gzip(text: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(text).unwrap();
    packer.finish().unwrap()
}

/// How a zip archive says the sizes of its entry.
#[derive(Clone, Copy, Debug)]
pub enum Sizes {
    Before,
    Behind,
    BehindUnsigned,
    Behind64,
    Stored,
}

/// An archive of one entry, without the directory that is not read.
pub fn zip(name: &str, text: &[u8], sizes: Sizes) -> Vec<u8> {
    let mut packer = DeflateEncoder::new(Vec::new(), Compression::default());
    packer.write_all(text).unwrap();
    let packed = packer.finish().unwrap();
    let (method, body): (u16, &[u8]) = if matches!(sizes, Sizes::Stored) { (0, text) } else { (8, &packed) };
    let follow = matches!(sizes, Sizes::Behind | Sizes::BehindUnsigned | Sizes::Behind64);
    let size = |count: usize| if follow { 0 } else { u32::try_from(count).unwrap() };
    let crc = crc32fast::hash(text);
    let mut out = b"PK\x03\x04\x14\x00".to_vec();
    out.extend(if follow { 8u16 } else { 0 }.to_le_bytes());
    out.extend(method.to_le_bytes());
    out.extend([0; 4]);
    out.extend(if follow { 0 } else { crc }.to_le_bytes());
    out.extend(size(body.len()).to_le_bytes());
    out.extend(size(text.len()).to_le_bytes());
    out.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
    out.extend(0u16.to_le_bytes());
    out.extend(name.as_bytes());
    out.extend(body);
    if follow {
        if !matches!(sizes, Sizes::BehindUnsigned) {
            out.extend(b"PK\x07\x08");
        }
        out.extend(crc.to_le_bytes());
        for count in [body.len(), text.len()] {
            match sizes {
                Sizes::Behind64 => out.extend((count as u64).to_le_bytes()),
                _ => out.extend((count as u32).to_le_bytes()),
            }
        }
    }
    out.extend(b"PK\x01\x02 the directory");
    out
}

/// A mail whose only part is an attachment (Google's shape).
pub fn mail(kind: &str, attachment: &[u8]) -> Vec<u8> {
    let body = lines(attachment);
    format!(
        "From: noreply-dmarc-support@google.com\r\nTo: dmarc@reports.webcrm.com\r\nSubject: Report domain: test.dk\r\nMIME-Version: 1.0\r\n\
         Content-Type: {kind}; name=\"google.com!test.dk!1795737600!1795823999.zip\"\r\nContent-Disposition: attachment\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{body}\r\n"
    )
    .into_bytes()
}

/// A mail with a text for people and the attachment behind it (Microsoft's, Yahoo's and most others' shape).
pub fn multipart(kind: &str, attachment: &[u8]) -> Vec<u8> {
    let body = lines(attachment);
    format!(
        "From: DMARC Aggregate Report <dmarcreport@microsoft.com>\r\nTo: dmarc@reports.webcrm.com\r\nSubject: =?utf-8?Q?Report?=\r\n\
         Content-Type: multipart/mixed; boundary=\"_mpm_2cba8\"\r\n\r\n--_mpm_2cba8\r\nContent-Type: text/html; charset=us-ascii\r\n\
         Content-Transfer-Encoding: 7bit\r\n\r\nThis is a DMARC report.\r\n--_mpm_2cba8\r\nContent-Type: {kind}\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{body}\r\n--_mpm_2cba8--\r\n"
    )
    .into_bytes()
}

fn lines(octets: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(octets);
    let lines: Vec<&str> = text.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap()).collect();
    lines.join("\r\n")
}
