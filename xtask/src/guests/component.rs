//! Makes a component of a module that `wit-bindgen` has prepared.

use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;
use wit_component::{ComponentEncoder, DecodedWasm};

/// What a plugin may import: nothing of WASI, which the host does not have.
const OUR_PACKAGE: &str = "gatepost:plugin/";

/// Writes the component, unless it is there already; gives its size in bytes.
pub(crate) fn make(module: &Path, component: &Path) -> Result<usize> {
    let bytes = fs::read(module).with_context(|| format!("reading {}", module.display()))?;
    let encoded = ComponentEncoder::default()
        .validate(true)
        .module(&bytes)?
        .encode()?;
    refuse_foreign_imports(&encoded)?;
    // A host that watches the folder should not see a change where there is none, nor half
    // a file where there is one.
    if fs::read(component).is_ok_and(|present| present == encoded) {
        return Ok(encoded.len());
    }
    let partial = component.with_extension("wasm.partial");
    fs::write(&partial, &encoded).with_context(|| format!("writing {}", partial.display()))?;
    fs::rename(&partial, component).with_context(|| format!("writing {}", component.display()))?;
    Ok(encoded.len())
}

fn refuse_foreign_imports(component: &[u8]) -> Result<()> {
    let DecodedWasm::Component(resolve, world) = wit_component::decode(component)? else {
        bail!("the encoder gave no component");
    };
    let world = &resolve.worlds[world];
    let foreign: Vec<String> = world
        .imports
        .keys()
        .map(|key| resolve.name_world_key(key))
        .filter(|name| !name.starts_with(OUR_PACKAGE))
        .collect();
    if !foreign.is_empty() {
        bail!(
            "it imports {}, which plugins are not given",
            foreign.join(", ")
        );
    }
    if world.exports.is_empty() {
        bail!("it exports nothing: is `gatepost_sdk::export!` missing?");
    }
    Ok(())
}
