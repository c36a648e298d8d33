//! The contract may grow, and what it had may not change.

use crate::guests::wit;
use std::path::Path;
use wit_component::semver_check;
use wit_parser::{PackageId, Resolve};

const HOW: &str = "a released interface was changed. Within 0.1 add a new interface, or a function to an interface that \
    plugins import, and leave every record, variant, enum and exported interface alone (wit/README.md, \"Evolution\"). \
    What cannot be said so needs the next version of the package, in a folder of its own";

#[test]
fn the_contract_serves_every_plugin_that_was_built_against_its_first_release() {
    let failed = check(&wit());
    assert!(failed.is_none(), "{HOW}: {}", failed.unwrap());
}

#[test]
fn the_check_sees_what_breaks_plugins_and_lets_pass_what_does_not() {
    let breaks = [
        (
            "    trunk: option<string>,\n    direction",
            "    trunk: option<string>,\n    region: string,\n    direction",
        ),
        (
            "enum transport { udp, tcp, tls, ws, wss }",
            "enum transport { udp, tcp, tls, ws, wss, sctp }",
        ),
        (
            "on-invite: func(call: call-info)",
            "on-invite: func(call: call-info, again: bool)",
        ),
        ("on-invite: func", "on-cancel: func();\n  on-invite: func"),
        ("now-ms: func() -> u64;", ""),
    ];
    for (from, to) in breaks {
        assert!(check(edited(from, to).path()).is_some(), "`{to}` passes");
    }
    let passes = [(
        "now-ms: func() -> u64;",
        "now-ms: func() -> u64;\n  zone: func() -> string;",
    )];
    for (from, to) in passes {
        let failed = check(edited(from, to).path());
        assert!(failed.is_none(), "`{to}`: {}", failed.unwrap());
    }
}

/// Why plugins of the first release would not run with the contract in this folder.
fn check(folder: &Path) -> Option<String> {
    let mut resolve = Resolve::default();
    // Both are held at once, so the older one goes by another version; the check ignores it.
    let old = package(&mut resolve, &wit().join("since-0.1"), "@0.0.1");
    let new = package(&mut resolve, folder, "@0.1.0");
    for world in [
        "router-plugin",
        "flow-plugin",
        "provider-plugin",
        "connector-plugin",
        "host",
    ] {
        let old = resolve.select_world(&[old], Some(world)).unwrap();
        let new = resolve.select_world(&[new], Some(world)).unwrap();
        if let Err(error) = semver_check(resolve.clone(), old, new) {
            return Some(format!("world {world}: {error:#}"));
        }
    }
    None
}

fn package(resolve: &mut Resolve, folder: &Path, version: &str) -> PackageId {
    let mut map = wit_parser::SourceMap::new();
    for file in std::fs::read_dir(folder)
        .unwrap()
        .flatten()
        .filter(|f| f.path().extension().is_some_and(|e| e == "wit"))
    {
        let text = std::fs::read_to_string(file.path()).unwrap();
        map.push_str(
            &file.path().display().to_string(),
            text.replace("@0.1.0", version),
        );
    }
    resolve
        .push_group(map.parse().map_err(|(_, error)| error).unwrap())
        .unwrap()
}

fn edited(from: &str, to: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut changed = false;
    for file in std::fs::read_dir(wit().join("since-0.1"))
        .unwrap()
        .flatten()
    {
        let text = std::fs::read_to_string(file.path()).unwrap();
        changed |= text.contains(from);
        std::fs::write(folder.path().join(file.file_name()), text.replace(from, to)).unwrap();
    }
    assert!(changed, "`{from}`");
    folder
}
