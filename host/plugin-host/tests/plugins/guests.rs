//! Components for tests, made without a guest toolchain: WebAssembly text with the metadata
//! of `wit/`, or dummies of edited WIT.

use std::path::PathBuf;
use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{LiftLowerAbi, ManglingAndAbi, PackageId, Resolve};

pub fn wit() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../wit")
}

/// A router whose `on-invite` does what `body` says; it must leave a result on the stack.
/// `imports` are core imports, `manifest` is the manifest's JSON.
#[derive(Clone, Copy)]
pub struct Router<'a> {
    pub imports: &'a str,
    pub functions: &'a str,
    pub body: &'a str,
    pub manifest: &'a str,
}

impl Default for Router<'_> {
    fn default() -> Self {
        Router {
            imports: "",
            functions: "",
            body: "unreachable",
            manifest: "",
        }
    }
}

impl<'a> Router<'a> {
    /// With more functions.
    pub fn with(self, functions: &'a str) -> Self {
        Router { functions, ..self }
    }

    /// A core module with component metadata, as `cargo build` makes it.
    pub fn module(&self) -> Vec<u8> {
        with_metadata(&self.text(), "router-plugin")
    }

    pub fn component(&self) -> Vec<u8> {
        encode(&self.module())
    }

    pub fn text(&self) -> String {
        let manifest = match self.manifest {
            "" => String::new(),
            json => format!(
                "(@custom \"gatepost:manifest\" \"{}\")",
                json.replace('"', "\\22")
            ),
        };
        format!(
            r#"(module
                {imports}
                (memory (export "memory") 1)
                (global $top (mut i32) (i32.const 8192))
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                    (local $at i32)
                    (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
                    (global.set $top (i32.add (local.get $at) (local.get 3)))
                    (local.get $at))
                {functions}
                (func (export "gatepost:plugin/router@0.1.0#on-invite") (param $call i32) (result i32) {body})
                {manifest}
            )"#,
            imports = self.imports,
            functions = self.functions,
            body = self.body,
        )
    }
}

/// A component of the text of a router.
pub fn router_of(text: &str) -> Vec<u8> {
    encode(&with_metadata(text, "router-plugin"))
}

fn with_metadata(text: &str, world: &str) -> Vec<u8> {
    let mut module = wat::parse_str(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let (resolve, package) = resolve();
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    module
}

/// Refuses every call with this status and reason.
pub fn rejecting(code: u16, reason: &str) -> Vec<u8> {
    Router {
        body: &reject(&code.to_string(), reason),
        ..Router::default()
    }
    .component()
}

/// Does this with calls of a tenant, and refuses the trial call of admission with 480: a plugin
/// that shows its fault only in production.
pub fn faulty(fault: &str) -> Router<'static> {
    let body = format!(
        "(if {IN_PRODUCTION} (then {fault})) {}",
        reject("480", "trial")
    );
    Router {
        body: body.leak(),
        ..Router::default()
    }
}

/// The tenant of the trial call is `trial`; those of tests have four letters.
pub const IN_PRODUCTION: &str = "(i32.ne (i32.load offset=12 (local.get $call)) (i32.const 5))";

/// Text of a `reject` with an i32 expression or a number for the status.
pub fn reject(code: &str, reason: &str) -> String {
    let code = if code.starts_with('(') {
        code.to_owned()
    } else {
        format!("(i32.const {code})")
    };
    // result<decision, failure> at 1024: ok, then the case `reject`, then its record.
    let mut text = format!(
        "(i32.store8 (i32.const 1024) (i32.const 0)) (i32.store8 (i32.const 1028) (i32.const 1))
         (i32.store16 (i32.const 1032) {code}) (i32.store (i32.const 1036) (i32.const 2048))
         (i32.store (i32.const 1040) (i32.const {})) (i32.store8 (i32.const 1044) (i32.const 0))",
        reason.len()
    );
    for (at, byte) in reason.bytes().enumerate() {
        text.push_str(&format!(
            "(i32.store8 (i32.const {}) (i32.const {byte}))",
            2048 + at
        ));
    }
    text + "(i32.const 1024)"
}

/// No opinion.
pub const NEXT: &str = "(i32.store8 (i32.const 1024) (i32.const 0)) (i32.store8 (i32.const 1028) (i32.const 4)) (i32.const 1024)";

/// A flow that answers every event with one `hangup` of this status.
pub fn flow(code: u16, on_event: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
            (import "[export]gatepost:plugin/flow@0.1.0" "[resource-new]session" (func $new (param i32) (result i32)))
            (memory (export "memory") 1)
            (global $top (mut i32) (i32.const 8192))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (local $at i32)
                (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
                (global.set $top (i32.add (local.get $at) (local.get 3)))
                (local.get $at))
            (func (export "gatepost:plugin/flow@0.1.0#[constructor]session") (param i32) (result i32) (call $new (i32.const 1)))
            (func (export "gatepost:plugin/flow@0.1.0#[method]session.on-event")
                (param $self i32) (param $event i32) (param i32 i32 i32 i32 i32 i32 i32) (result i32)
                {on_event}
                (i32.store (i32.const 1024) (i32.const 2048)) (i32.store (i32.const 1028) (i32.const 1))
                (i32.store8 (i32.const 2048) (i32.const 16)) (i32.store16 (i32.const 2052) (i32.const {code}))
                (i32.store (i32.const 2056) (i32.const 4096)) (i32.store (i32.const 2060) (i32.const 0))
                (i32.store8 (i32.const 2064) (i32.const 0))
                (i32.const 1024))
        )"#
    );
    encode(&with_metadata(&text, "flow-plugin"))
}

/// Everything that this world wants, and each function is a trap.
pub fn dummy(world: &str) -> Vec<u8> {
    let (resolve, package) = resolve();
    dummy_of(&resolve, package, world)
}

/// The same, of `wit/` with `from` replaced by `to` in all its files.
pub fn edited(world: &str, from: &str, to: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let mut changed = false;
    for file in std::fs::read_dir(wit())
        .unwrap()
        .flatten()
        .filter(|f| f.path().extension().is_some_and(|e| e == "wit"))
    {
        let text = std::fs::read_to_string(file.path()).unwrap();
        changed |= text.contains(from);
        std::fs::write(folder.path().join(file.file_name()), text.replace(from, to)).unwrap();
    }
    assert!(changed, "nothing in wit/ has `{from}`");
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(folder.path()).unwrap();
    dummy_of(&resolve, package, world)
}

fn dummy_of(resolve: &Resolve, package: PackageId, world: &str) -> Vec<u8> {
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    let mut module = dummy_module(resolve, world, ManglingAndAbi::Legacy(LiftLowerAbi::Sync));
    embed_component_metadata(&mut module, resolve, world, StringEncoding::UTF8).unwrap();
    encode(&module)
}

fn encode(module: &[u8]) -> Vec<u8> {
    ComponentEncoder::default()
        .validate(true)
        .module(module)
        .unwrap()
        .encode()
        .unwrap()
}

pub fn resolve() -> (Resolve, PackageId) {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(wit()).unwrap();
    (resolve, package)
}
