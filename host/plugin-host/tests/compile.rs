//! Compiling in a child process: this program is its own child, as the host's program is.

use plugin_host::{
    COMPILE_COMMAND, Compile, Deploy, Origin, PluginHost, PluginHostConfig, compile_child_main,
};
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some((first, rest)) = arguments.split_first()
        && first == COMPILE_COMMAND
    {
        return compile_child_main(rest);
    }
    let folder = tempfile::tempdir().unwrap();
    let child = Compile::Child(std::env::current_exe().unwrap());
    println!("a component is compiled in a child");
    deploy(folder.path(), child).unwrap();
    println!("compiled code is taken from the disk the next time");
    let nobody = || Compile::Child("/nonexistent/compiler".into());
    deploy(folder.path(), nobody()).unwrap();
    println!("and is no use under another key");
    std::fs::write(folder.path().join("cache.key"), [0; 32]).unwrap();
    let refused = deploy(folder.path(), nobody()).unwrap_err();
    assert!(refused.contains("does not start"), "{refused}");
    let left: Vec<_> = std::fs::read_dir(folder.path().join("compiled"))
        .unwrap()
        .flatten()
        .map(|f| f.file_name())
        .collect();
    assert_eq!(
        left.len(),
        1,
        "the child leaves nothing but the code: {left:?}"
    );
    ExitCode::SUCCESS
}

fn deploy(folder: &Path, compile: Compile) -> Result<(), String> {
    let host = PluginHost::new(PluginHostConfig {
        instances: 8,
        threads: 1,
        ..PluginHostConfig::new(folder.to_owned(), compile)
    })
    .unwrap();
    let deploy = Deploy {
        tenant: "t",
        name: "p",
        bytes: &component(),
        origin: Origin::Folder,
        settings: None,
        activate: true,
        by: "test",
    };
    host.deploy(&deploy)
        .map(|_| ())
        .map_err(|error| error.to_string())
}

/// A router without an opinion.
fn component() -> Vec<u8> {
    let text = r#"(module
        (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 8192))
        (func (export "gatepost:plugin/router@0.1.0#on-invite") (param i32) (result i32)
            (i32.store8 (i32.const 1028) (i32.const 4)) (i32.const 1024)))"#;
    let mut module = wat::parse_str(text).unwrap();
    let mut resolve = wit_parser::Resolve::default();
    let (package, _) = resolve
        .push_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit"))
        .unwrap();
    let world = resolve
        .select_world(&[package], Some("router-plugin"))
        .unwrap();
    wit_component::embed_component_metadata(
        &mut module,
        &resolve,
        world,
        wit_component::StringEncoding::UTF8,
    )
    .unwrap();
    module
}
