//! Builds the plugins of `plugins/`, `examples/` and `tests/guests/` into components.
//!
//! A guest is any package there whose library is a `cdylib`. They are compiled for
//! `wasm32-unknown-unknown` in a target folder of their own, because the compiler that can
//! do so need not be the one that builds the host.

mod component;
mod toolchain;

use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;
use toolchain::Toolchain;

/// Builds all guests.
pub fn build_all(root: &Path) -> Result<()> {
    build(root, &[]).map(drop)
}

/// Builds the named guests, or all; gives where the components lie. Cargo skips what has
/// not changed.
pub fn build(root: &Path, only: &[String]) -> Result<Vec<PathBuf>> {
    let mut guests = find(root)?;
    for name in only {
        if !guests.iter().any(|guest| guest == name) {
            bail!(
                "there is no guest named {name}; there are {}",
                guests.join(", ")
            );
        }
    }
    if !only.is_empty() {
        guests.retain(|guest| only.contains(guest));
    }

    let began = Instant::now();
    let toolchain = Toolchain::find()?;
    eprintln!(
        "guests: building {} with {}",
        guests.join(", "),
        toolchain.describe()
    );
    let modules = root.join("target/guests");
    let mut cargo = toolchain.cargo();
    cargo
        .current_dir(root)
        .args(["build", "--profile", "guest", "--target", toolchain::TARGET]);
    cargo.arg("--target-dir").arg(&modules);
    for guest in &guests {
        cargo.args(["-p", guest]);
    }
    let status = cargo.status().context("starting cargo for the guests")?;
    if !status.success() {
        bail!(
            "the guests did not build with {} (see above)",
            toolchain.describe()
        );
    }

    let components = root.join("target/plugins");
    fs::create_dir_all(&components)
        .with_context(|| format!("creating {}", components.display()))?;
    let mut built = Vec::new();
    for guest in &guests {
        let module = modules
            .join(toolchain::TARGET)
            .join("guest")
            .join(guest.replace('-', "_"))
            .with_extension("wasm");
        let component = components.join(guest).with_extension("wasm");
        let size = component::make(&module, &component)
            .with_context(|| format!("making a component of {guest}"))?;
        eprintln!(
            "guests: {} ({:.0} KiB)",
            component.strip_prefix(root).unwrap_or(&component).display(),
            size as f64 / 1024.0
        );
        built.push(component);
    }
    eprintln!(
        "guests: {} components in {:.1} s",
        built.len(),
        began.elapsed().as_secs_f32()
    );
    Ok(built)
}

/// The members of the workspace that make a `cdylib`, by name.
fn find(root: &Path) -> Result<Vec<String>> {
    let workspace = read_toml(&root.join("Cargo.toml"))?;
    let members = workspace
        .get("workspace")
        .and_then(|workspace| workspace.get("members"))
        .and_then(|members| members.as_array());
    let members = members.context("the root Cargo.toml lists no members")?;
    let mut found = Vec::new();
    for folder in members.iter().filter_map(|member| member.as_str()) {
        let manifest = read_toml(&root.join(folder).join("Cargo.toml"))?;
        let kinds = manifest
            .get("lib")
            .and_then(|lib| lib.get("crate-type"))
            .and_then(|kinds| kinds.as_array());
        let is_guest =
            kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind.as_str() == Some("cdylib")));
        let name = manifest
            .get("package")
            .and_then(|package| package.get("name"))
            .and_then(|name| name.as_str());
        if let (true, Some(name)) = (is_guest, name) {
            found.push(name.to_owned());
        }
    }
    found.sort();
    Ok(found)
}

fn read_toml(path: &Path) -> Result<toml::Table> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    text.parse()
        .with_context(|| format!("reading {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plugin_and_example_of_the_workspace_is_a_guest() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("xtask lies in the workspace");
        let guests = find(root).unwrap();
        for name in [
            "auto-attendant",
            "hello-router",
            "openai-realtime",
            "static-routes",
            "twilio",
        ] {
            assert!(
                guests.iter().any(|guest| guest == name),
                "{name} is not among {guests:?}"
            );
        }
        assert!(
            !guests
                .iter()
                .any(|guest| guest == "host" || guest == "gatepost-sdk")
        );
    }
}
