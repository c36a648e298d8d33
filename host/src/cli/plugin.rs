//! `gatepost plugin check`, and the compiling child.

use anyhow::Context as _;
use plugin_host::Report;
use plugin_host::check::{self, MAX_SIZE};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

pub(super) fn check(file: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    match check::inspect(&bytes, MAX_SIZE) {
        Ok((report, _)) => {
            let text = if json {
                serde_json::to_string_pretty(&report)? + "\n"
            } else {
                describe(file, &report)
            };
            print!("{text}");
            Ok(ExitCode::SUCCESS)
        }
        Err(refused) => {
            if json {
                println!("{}", serde_json::json!({ "error": refused.to_string() }));
            } else {
                eprintln!("{}: {refused}", file.display());
            }
            Ok(ExitCode::FAILURE)
        }
    }
}

fn describe(file: &Path, report: &Report) -> String {
    let mut text = format!("{}: ok\n", file.display());
    let mut line = |name: &str, values: &[String]| {
        let values = if values.is_empty() {
            "none".to_owned()
        } else {
            values.join(", ")
        };
        let _ = writeln!(text, "  {name:<8} {values}");
    };
    let kinds: Vec<String> = report
        .kinds
        .iter()
        .map(|kind| kind.name().to_owned())
        .collect();
    let worlds: Vec<String> = kinds
        .iter()
        .map(|kind| format!("gatepost:plugin/{kind}-plugin@{}", report.contract))
        .collect();
    line("kind", &kinds);
    line("world", &worlds);
    line("imports", &report.imports);
    line("exports", &report.exports);
    line(
        "name",
        &[format!(
            "{} {}",
            report.manifest.name, report.manifest.version
        )],
    );
    line("wants", &report.manifest.capabilities);
    line("headers", &report.manifest.headers);
    line("digest", std::slice::from_ref(&report.digest));
    line("size", &[format!("{} bytes", report.size)]);
    text
}

/// In the child process that the plugin host starts for an upload.
pub(super) fn compile(arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    Ok(plugin_host::compile_child_main(arguments))
}
