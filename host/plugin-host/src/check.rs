//! What is this file? Its kinds, imports and manifest; or, in words, what is wrong with it
//! and what to do. Nothing of it runs here.

mod shape;

use crate::manifest::{self, Manifest};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use wasmparser::{Parser, Validator, WasmFeatures};
use wit_component::{ComponentEncoder, DecodedWasm};
use wit_parser::{Resolve, WorldId, WorldItem};

/// Largest file that is looked at, bytes: 2 MiB unless the tenant may have more.
pub const MAX_SIZE: usize = 2 << 20;

/// What a plugin can be; one may be several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Connector,
    Flow,
    Provider,
    Router,
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::Connector, Kind::Flow, Kind::Provider, Kind::Router];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Connector => "connector",
            Kind::Flow => "flow",
            Kind::Provider => "provider",
            Kind::Router => "router",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What a good file is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// SHA-256 of the file as it came, hexadecimal: the version's name
    pub digest: String,
    pub kinds: Vec<Kind>,
    /// of the plugin contract that it was built against, e.g. `0.1.0`
    pub contract: String,
    pub imports: Vec<String>,
    pub exports: Vec<String>,
    pub manifest: Manifest,
    /// bytes of the file
    pub size: usize,
}

/// A file that cannot be a plugin. The text says what it is and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the file is empty: was it still being written?")]
    Empty,
    #[error("the file has {size} bytes, the limit is {limit}")]
    TooLarge { size: usize, limit: usize },
    #[error(
        "the file is {what}, not a WebAssembly component: give the .wasm file that `cargo build --target wasm32-unknown-unknown` makes"
    )]
    NotWasm { what: &'static str },
    #[error("the binary does not validate: {0}")]
    Invalid(String),
    #[error(
        "this is a core module without component metadata: build it with gatepost-sdk (or wit-bindgen), or make a component of it with `wasm-tools component new`"
    )]
    PlainModule,
    #[error("it cannot be made a component: {0}")]
    NotEncodable(String),
    #[error(
        "it imports {0}, which plugins are not given: build for wasm32-unknown-unknown, or with `--stub-wasi` in JavaScript and Python"
    )]
    Wasi(String),
    #[error("it imports {0}, which this host does not have")]
    UnknownImport(String),
    #[error("it exports none of router, flow, provider, connector; it exports {exports}")]
    NoKind { exports: String },
    #[error("it was built against gatepost:plugin {found}; this host serves {served}")]
    Version { found: String, served: String },
    #[error(
        "{interface} has another shape than this host's: {what}. Build it against wit/ of this host's version"
    )]
    Shape { interface: String, what: String },
    #[error("{0}")]
    Manifest(String),
}

/// Looks at a file; gives the report and the component (made of a core module if need be).
pub fn inspect(bytes: &[u8], max_size: usize) -> Result<(Report, Cow<'_, [u8]>), Refused> {
    if bytes.is_empty() {
        return Err(Refused::Empty);
    }
    if bytes.len() > max_size {
        return Err(Refused::TooLarge {
            size: bytes.len(),
            limit: max_size,
        });
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(Refused::NotWasm {
            what: what_else(bytes),
        });
    }
    let manifest = manifest::read(bytes).map_err(Refused::Manifest)?;
    Validator::new_with_features(WasmFeatures::default())
        .validate_all(bytes)
        .map_err(|e| Refused::Invalid(e.to_string()))?;
    let component: Cow<'_, [u8]> = if Parser::is_core_wasm(bytes) {
        Cow::Owned(encode(bytes)?)
    } else {
        Cow::Borrowed(bytes)
    };
    let decoded =
        wit_component::decode(&component).map_err(|e| Refused::Invalid(format!("{e:#}")))?;
    let DecodedWasm::Component(resolve, world) = decoded else {
        return Err(Refused::NotWasm {
            what: "a WIT package",
        });
    };
    let (imports, exports) = (names(&resolve, world, false), names(&resolve, world, true));
    let kinds = judge(&resolve, world, &imports, &exports)?;
    let contract = imports
        .iter()
        .chain(&exports)
        .find_map(|name| {
            name.strip_prefix("gatepost:plugin/")?
                .split_once('@')
                .map(|(_, v)| v.to_owned())
        })
        .unwrap_or_default();
    let report = Report {
        digest: digest(bytes),
        kinds,
        contract,
        imports,
        exports,
        manifest,
        size: bytes.len(),
    };
    Ok((report, component))
}

/// SHA-256, hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn what_else(bytes: &[u8]) -> &'static str {
    let text: Vec<u8> = bytes.iter().take(64).map(u8::to_ascii_lowercase).collect();
    match bytes {
        b if b.starts_with(b"PK") => "a ZIP archive",
        [0x1f, 0x8b, ..] => "compressed with gzip",
        b if b.starts_with(b"\x7fELF") => {
            "a program for this machine, or compiled code (.cwasm), which is never taken from outside"
        }
        _ if text.starts_with(b"(component") || text.starts_with(b"(module") => "WebAssembly text",
        _ if text.starts_with(b"<") => "a web page",
        _ => "something else",
    }
}

/// A core module with component metadata becomes a component: authors need no extra tool.
fn encode(module: &[u8]) -> Result<Vec<u8>, Refused> {
    let has_metadata = Parser::new(0)
        .parse_all(module)
        .flatten()
        .any(|p| matches!(p, wasmparser::Payload::CustomSection(s) if s.name().starts_with("component-type")));
    let imports_wasi = Parser::new(0)
        .parse_all(module)
        .flatten()
        .find_map(|p| match p {
            wasmparser::Payload::ImportSection(section) => section
                .into_imports()
                .flatten()
                .find(|i| i.module.starts_with("wasi"))
                .map(|i| format!("{}.{}", i.module, i.name)),
            _ => None,
        });
    if let Some(import) = imports_wasi {
        return Err(Refused::Wasi(import));
    }
    if !has_metadata {
        return Err(Refused::PlainModule);
    }
    let mut encoder = ComponentEncoder::default()
        .validate(true)
        .module(module)
        .map_err(|e| Refused::NotEncodable(format!("{e:#}")))?;
    encoder
        .encode()
        .map_err(|e| Refused::NotEncodable(format!("{e:#}")))
}

fn names(resolve: &Resolve, world: WorldId, exports: bool) -> Vec<String> {
    let world = &resolve.worlds[world];
    let items = if exports {
        &world.exports
    } else {
        &world.imports
    };
    items
        .keys()
        .map(|key| resolve.name_world_key(key))
        .collect()
}

fn judge(
    resolve: &Resolve,
    world: WorldId,
    imports: &[String],
    exports: &[String],
) -> Result<Vec<Kind>, Refused> {
    let ours = shape::Contract::ours();
    for import in imports {
        if import.starts_with("wasi:") || import.starts_with("wasi_") {
            return Err(Refused::Wasi(import.clone()));
        }
        if !import.starts_with("gatepost:plugin/") {
            return Err(Refused::UnknownImport(import.clone()));
        }
    }
    let kinds: Vec<Kind> = Kind::ALL
        .into_iter()
        .filter(|kind| {
            exports
                .iter()
                .any(|e| e.split('@').next() == Some(&format!("gatepost:plugin/{kind}")))
        })
        .collect();
    if kinds.is_empty() {
        let exports = if exports.is_empty() {
            "nothing".to_owned()
        } else {
            exports.join(", ")
        };
        return Err(Refused::NoKind { exports });
    }
    for (items, exported) in [
        (&resolve.worlds[world].imports, false),
        (&resolve.worlds[world].exports, true),
    ] {
        for (key, item) in items {
            let name = resolve.name_world_key(key);
            let Some((interface, version)) = name
                .strip_prefix("gatepost:plugin/")
                .and_then(|n| n.split_once('@'))
            else {
                continue;
            };
            if !shape::compatible(version) {
                return Err(Refused::Version {
                    found: version.to_owned(),
                    served: shape::VERSION.to_owned(),
                });
            }
            if exported && !Kind::ALL.iter().any(|k| k.name() == interface) {
                continue;
            }
            let WorldItem::Interface { id, .. } = item else {
                continue;
            };
            ours.same_shape(resolve, *id, interface, exported)
                .map_err(|what| match what {
                    shape::Difference::NoInterface => Refused::UnknownImport(name.clone()),
                    shape::Difference::Other(what) => Refused::Shape {
                        interface: name.clone(),
                        what,
                    },
                })?;
        }
    }
    Ok(kinds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_other_kinds_are_named() {
        for (bytes, named) in [
            (&b"PK\x03\x04...."[..], "ZIP"),
            (b"<html><body>404</body></html>", "web page"),
            (b"(component)", "text"),
            (b"\x1f\x8b\x08aaaaaaaa", "gzip"),
            (b"\x7fELFaaaaaaaaa", "cwasm"),
            (b"hello", "something else"),
        ] {
            let refused = inspect(bytes, MAX_SIZE).unwrap_err().to_string();
            assert!(refused.contains(named), "{refused}");
        }
        assert_eq!(inspect(b"", MAX_SIZE).unwrap_err(), Refused::Empty);
        assert!(matches!(
            inspect(&[0; 100], 10),
            Err(Refused::TooLarge { .. })
        ));
    }

    #[test]
    fn a_component_that_exports_nothing_is_told_so() {
        let empty = b"\0asm\x0d\0\x01\0";
        assert!(matches!(
            inspect(empty, MAX_SIZE),
            Err(Refused::NoKind { .. })
        ));
    }

    #[test]
    fn a_plain_module_is_told_how_to_become_a_component() {
        let module = b"\0asm\x01\0\0\0";
        assert_eq!(inspect(module, MAX_SIZE).unwrap_err(), Refused::PlainModule);
    }
}
