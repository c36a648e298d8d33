//! `cargo xtask run`: the quickstart, from a fresh clone to the first call.

use crate::guests;
use crate::step::{run, step};
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use std::process::Command;

const CONFIG: &str = "examples/quickstart/gatepost.toml";

/// Which component goes into the demo tenant's plugin folder, beside the settings that
/// `examples/quickstart/plugins` has for it.
const DEMO: &[&str] = &[
    "static-routes",
    "auto-attendant",
    "twilio",
    "openai-realtime",
];

/// The plugins and the release build.
pub fn build(root: &Path) -> Result<()> {
    step("guests", || guests::build_all(root))?;
    step(
        "gatepost (release build; the first takes some minutes)",
        || {
            run(
                Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
                    .current_dir(root)
                    .args(["build", "--release", "-p", "host"]),
            )
        },
    )
}

pub fn quickstart(root: &Path) -> Result<()> {
    build(root)?;
    step("the demo tenant's plugins", || place_plugins(root))?;
    print_what_to_do(root)?;
    run(Command::new(root.join("target/release/gatepost"))
        .current_dir(root)
        .args(["serve", "--config", CONFIG]))
}

/// Settings are copied only where there are none: what someone tried out stays.
fn place_plugins(root: &Path) -> Result<()> {
    let folder = root.join("var/plugins.d/demo");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    for name in DEMO {
        let settings = root
            .join("examples/quickstart/plugins")
            .join(format!("{name}.toml"));
        let to = folder.join(format!("{name}.toml"));
        if settings.exists() && !to.exists() {
            fs::copy(&settings, &to).with_context(|| settings.display().to_string())?;
        }
        let component = root.join("target/plugins").join(format!("{name}.wasm"));
        let fresh = folder.join(format!(".{name}.wasm.new"));
        fs::copy(&component, &fresh).with_context(|| component.display().to_string())?;
        fs::rename(&fresh, folder.join(format!("{name}.wasm")))?;
    }
    Ok(())
}

fn print_what_to_do(root: &Path) -> Result<()> {
    let text = fs::read_to_string(root.join(CONFIG)).with_context(|| CONFIG.to_owned())?;
    let config: toml::Table = text.parse().with_context(|| CONFIG.to_owned())?;
    let value = |section: &str, key: &str| config.get(section).and_then(|s| s.get(key)).cloned();
    let sip = value("sip", "listen")
        .and_then(|l| l.as_array().and_then(|a| a.first().cloned()))
        .and_then(|v| v.as_str().map(str::to_owned))
        .unwrap_or_default();
    let sip = sip.trim_start_matches("udp://").to_owned();
    let http = value("http", "listen")
        .and_then(|v| v.as_str().map(str::to_owned))
        .unwrap_or_default();
    println!(
        "\n  Dial       sip:100@{sip}   the attendant (press 1)\n             sip:1000@{sip}  what listens on 127.0.0.1:5070, e.g. `sipp -sn uas -i 127.0.0.1 -p 5070`\n             sip:900@{sip}   a rejected call\n  Admin      http://{http}/\n  Token      var/admin-token (or GATEPOST_ADMIN_TOKEN where that is set)\n  Plugins    var/plugins.d/demo: change a file and the next call takes it\n  Why?       curl -H \"Authorization: Bearer $(cat var/admin-token)\" http://{http}/api/calls/history\n"
    );
    Ok(())
}
