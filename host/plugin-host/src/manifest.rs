//! What a plugin says of itself, in the custom section `gatepost:manifest` of its module.

use crate::check::Kind;
use serde::{Deserialize, Serialize};

pub const SECTION: &str = "gatepost:manifest";

/// Unknown fields are passed over: a later SDK may say more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Manifest {
    pub name: String,
    pub version: String,
    pub kinds: Vec<Kind>,
    /// grants that it would like to have
    pub capabilities: Vec<String>,
    /// SIP headers that it wants to see
    pub headers: Vec<String>,
}

/// The manifest of a component or of a core module; a default one where there is none.
/// `Err` says what is wrong with it.
pub fn read(wasm: &[u8]) -> Result<Manifest, String> {
    for payload in wasmparser::Parser::new(0).parse_all(wasm) {
        let Ok(payload) = payload else { break };
        if let wasmparser::Payload::CustomSection(section) = payload
            && section.name() == SECTION
        {
            return serde_json::from_slice(section.data())
                .map_err(|e| format!("its manifest is not valid: {e}"));
        }
    }
    Ok(Manifest::default())
}
