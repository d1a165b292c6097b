//! The OpenAPI document, and the samples that go with it.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::rig::Rig;
use crate::support::skip::skip;

/// To write it again: `UPDATE=1 cargo test --test api the_document`.
#[test]
fn the_document_in_docs_is_the_one_that_is_served() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    let made = postbud::operate::api::openapi();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &made).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == made, "docs/openapi.json is old; run this test with UPDATE=1");
    let document: Value = serde_json::from_str(&made).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let mut ids = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let Some(id) = operation["operationId"].as_str() else { continue };
            assert!(!ids.contains(&id), "{id} is there twice");
            ids.push(id);
            let summary = operation["summary"].as_str().unwrap_or_default();
            let success = operation["responses"].as_object().unwrap().keys().any(|status| status.starts_with('2'));
            assert!(!summary.is_empty() && success, "{method} {path}: {operation}");
        }
    }
}

#[test]
fn the_document_is_served_without_a_token() {
    let rig = Rig::start();
    let nobody = crate::client::Client { to: rig.api, token: String::new() };
    assert_eq!(nobody.read("/openapi.json")["info"]["title"], "postbud");
}

#[test]
fn the_samples_for_curl_do_what_they_say() {
    let rig = Rig::start();
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/api.md")).unwrap();
    let samples: Vec<&str> = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let scripts: Vec<&&str> = samples.iter().filter(|sample| sample.contains("curl")).collect();
    assert!(!scripts.is_empty());
    if Command::new("curl").arg("--version").output().is_err() {
        return skip("the samples for curl", "curl is not installed");
    }
    rig.submit("ole@anna.example", "x@example.com");
    let client = rig.client("admin");
    let work = tempfile::tempdir().unwrap();
    for script in scripts {
        let done = Command::new("bash")
            .args(["-euo", "pipefail", "-c", script])
            .current_dir(work.path())
            .env("POSTBUD", format!("http://{}", rig.api))
            .env("TOKEN", &client.token)
            .output()
            .unwrap();
        let (out, error) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success(), "{script}\n{out}\n{error}");
    }
    assert!(rig.site.customer_file("nordlys").exists(), "the sample has added a customer");
}

/// The sample is a program of statements alone and marks what may be null. Mono's compiler knows neither, so it gets the statements in a
/// method and without the marks.
#[test]
fn the_sample_for_c_sharp_compiles_against_the_types_that_it_uses() {
    let this = "the_sample_for_c_sharp_compiles_against_the_types_that_it_uses";
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/api.md")).unwrap();
    let sample = text.split("```csharp\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a sample");
    let sample = sample.replace("string?", "string").replace("!;", ";").replace("!,", ",").replace("!)", ")");
    let (usings, statements): (Vec<&str>, Vec<&str>) =
        sample.lines().partition(|line| line.starts_with("using System"));
    let program = format!(
        "using System;\nusing System.Net.Http;\nusing System.Threading.Tasks;\n{}\n\
         static class Program {{\n static async Task Run(string token, string queueId, string cursor) {{\n{}\n}}\n\
         static void Main(string[] args) {{ Run(args[0], args[1], args[2]).Wait(); }} }}\n",
        usings.join("\n"),
        statements.join("\n")
    );
    let dir = tempfile::tempdir().unwrap();
    let compile = |program: &str| {
        let main = dir.path().join("Sample.cs");
        fs::write(&main, program).unwrap();
        let stubs = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api/httpclient.cs");
        let out = format!("-out:{}", dir.path().join("sample.exe").display());
        Command::new("mcs").arg("-warnaserror").arg(out).arg(&main).arg(stubs).output()
    };
    let Ok(compiled) = compile(&program) else { return skip(this, "no mcs here (mono-mcs)") };
    assert!(compiled.status.success(), "{program}\n{}", String::from_utf8_lossy(&compiled.stderr));
    // A method of another name would be found.
    let wrong = compile(&program.replace("IfMatch", "IfMatches")).unwrap();
    assert!(!wrong.status.success());
}

/// Generated requests of every kind: no 5xx, and no answer that the document does not know.
#[test]
fn schemathesis_finds_no_undocumented_answer() {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), std::path::PathBuf::from);
    let program = target.join("schemathesis/bin/schemathesis");
    if !program.exists() {
        return skip("schemathesis", "it is not installed; tests/install does that");
    }
    let rig = Rig::start();
    for n in 0..5 {
        rig.submit("ole@anna.example", &format!("{n}@example.com"));
    }
    let client = rig.client("admin");
    let work = tempfile::tempdir().unwrap();
    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
                  response_headers_conformance,unsupported_method";
    let done = Command::new(program)
        .current_dir(work.path())
        .args(["run", &format!("http://{}/api/v1/openapi.json", rig.api)])
        .args(["--header", &format!("Authorization: Bearer {}", client.token)])
        .args([
            "--checks",
            checks,
            "--max-examples",
            "15",
            "--max-time",
            "60",
            "--request-timeout",
            "40",
            "--seed",
            "1",
            "--workers",
            "2",
        ])
        // A stream ends with its job, and the checks of domains ask a DNS that is not there.
        .args(["--exclude-operation-id", "followJob"])
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{out}\n{}\n{}", String::from_utf8_lossy(&done.stderr), rig.relay.log());
}
