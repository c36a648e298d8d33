//! What is refused, and whether the text says what to do.

use crate::guests::{self, Router, dummy, edited, rejecting};
use crate::{DEFAULT, Host, TENANT};
use plugin_host::check::{Kind, MAX_SIZE, inspect};

fn refusal(bytes: &[u8]) -> String {
    Host::new()
        .try_deploy("p", bytes, DEFAULT)
        .map(|v| v.digest().to_owned())
        .unwrap_err()
        .to_string()
}

#[test]
fn a_good_file_is_described() {
    let manifest = r#"{"name":"screen","version":"1.2.0","kinds":["router"],"capabilities":["kv"],"headers":["X-One"]}"#;
    let file = Router {
        body: guests::NEXT,
        manifest,
        ..Router::default()
    }
    .component();
    let (report, _) = inspect(&file, MAX_SIZE).unwrap();
    assert_eq!(report.kinds, [Kind::Router]);
    assert_eq!(report.contract, "0.1.0");
    assert_eq!(
        (
            report.manifest.name.as_str(),
            report.manifest.headers.as_slice()
        ),
        ("screen", &["X-One".to_owned()][..])
    );
    assert_eq!(report.digest.len(), 64);
    assert!(
        report
            .imports
            .iter()
            .all(|i| i.starts_with("gatepost:plugin/types")),
        "{:?}",
        report.imports
    );
}

#[test]
fn a_module_with_metadata_is_made_a_component_by_the_host() {
    let host = Host::new();
    let module = Router {
        body: &guests::reject("486", "busy"),
        ..Router::default()
    }
    .module();
    host.deploy("p", &module, DEFAULT);
    assert_eq!(host.refusal(), (486, "busy".into()));
}

#[test]
fn all_four_kinds_in_one_component_are_found() {
    let (report, _) = inspect(&dummy("host"), MAX_SIZE).unwrap();
    assert_eq!(report.kinds, Kind::ALL);
}

#[test]
fn a_trap_in_the_trial_call_is_told() {
    let text = refusal(&dummy("router-plugin"));
    assert!(
        text.contains("trial call failed") && text.contains("unreachable"),
        "{text}"
    );
}

#[test]
fn another_shape_is_told_with_what_differs() {
    let text = refusal(&edited(
        "router-plugin",
        "trunk: option<string>,\n    direction",
        "trunk: option<string>,\n    region: string,\n    direction",
    ));
    assert!(
        text.contains("another shape") && text.contains("on-invite") && text.contains("region"),
        "{text}"
    );
}

#[test]
fn a_missing_export_is_named() {
    let text = refusal(&edited(
        "provider-plugin",
        "inbound: func(call: call-info) -> result<read, failure>;",
        "",
    ));
    assert!(text.contains("inbound"), "{text}");
}

#[test]
fn a_host_function_of_a_later_version_is_named() {
    let text = refusal(&edited(
        "router-plugin",
        "now-ms: func() -> u64;",
        "now-ms: func() -> u64;\n  zone: func() -> string;",
    ));
    assert!(
        text.contains("clock") && text.contains("no function zone"),
        "{text}"
    );
}

#[test]
fn another_version_of_the_contract_is_told_and_a_patch_version_is_not() {
    let text = refusal(&edited(
        "router-plugin",
        "gatepost:plugin@0.1.0",
        "gatepost:plugin@0.2.0",
    ));
    assert!(text.contains("0.2.0") && text.contains("0.1.0"), "{text}");
    let later = edited(
        "router-plugin",
        "gatepost:plugin@0.1.0",
        "gatepost:plugin@0.1.7",
    );
    assert_eq!(inspect(&later, MAX_SIZE).unwrap().0.kinds, [Kind::Router]);
    // It links and is asked; that a dummy traps then is another matter.
    let text = refusal(&later);
    assert!(text.contains("trial call failed"), "{text}");
}

#[test]
fn damaged_files_are_refused_and_the_live_version_goes_on() {
    let host = Host::new();
    let good = rejecting(486, "good");
    host.deploy("p", &good, DEFAULT);
    let middle = good.len() / 2;
    let mut flipped = good.clone();
    flipped[middle..middle + 64]
        .iter_mut()
        .for_each(|byte| *byte ^= 0xa5);
    for damaged in [
        &good[..middle],
        &flipped,
        b"<html>404</html>",
        b"",
        b"\0asm",
    ] {
        let error = host
            .try_deploy("p", damaged, DEFAULT)
            .map(|_| ())
            .unwrap_err()
            .to_string();
        let view = host.host.registry().view(TENANT, "p").unwrap();
        assert_eq!(view.last_error.unwrap().error, error);
        assert_eq!(host.refusal(), (486, "good".into()));
    }
    host.deploy("p", &rejecting(487, "better"), DEFAULT);
    assert_eq!(host.refusal(), (487, "better".into()));
    assert_eq!(
        host.host.registry().view(TENANT, "p").unwrap().last_error,
        None
    );
}

#[test]
fn what_was_uploaded_is_there_after_a_restart_and_changed_code_on_disk_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        let config = plugin_host::PluginHostConfig {
            instances: 16,
            threads: 1,
            ..plugin_host::PluginHostConfig::new(
                folder.path().to_owned(),
                plugin_host::Compile::InProcess,
            )
        };
        Host {
            host: plugin_host::PluginHost::new(config).unwrap(),
            _folder: tempfile::tempdir().unwrap(),
        }
    };
    start().deploy("p", &rejecting(486, "kept"), DEFAULT);
    for file in std::fs::read_dir(folder.path().join("compiled"))
        .unwrap()
        .flatten()
    {
        let mut code = std::fs::read(file.path()).unwrap();
        let middle = code.len() / 2;
        code[middle] ^= 1;
        std::fs::write(file.path(), code).unwrap();
    }
    assert_eq!(start().refusal(), (486, "kept".into()));
}

/// Routers that do what the project's hostile components do, so that more than their lack of
/// exports is looked at.
#[test]
fn hostile_starts_are_contained_and_explained() {
    let cases = [
        ("(func $s unreachable) (start $s)", "unreachable"),
        ("(func $s (call $s)) (start $s)", "recursion"),
        ("(func $s (loop $l (br $l))) (start $s)", "deadline"),
        ("(table 10000000 funcref)", "table"),
        ("(data (i32.const 65530) \"0123456789\")", "bounds"),
        (
            "(func $s (drop (i32.load (i32.const 0x7fffffff)))) (start $s)",
            "bounds",
        ),
        (
            "(func $s (drop (i32.div_u (i32.const 1) (i32.const 0)))) (start $s)",
            "divide by zero",
        ),
    ];
    let host = Host::new();
    host.deploy("neighbour", &rejecting(486, "alive"), DEFAULT);
    for (functions, named) in cases {
        let router = Router {
            functions,
            body: guests::NEXT,
            ..Router::default()
        };
        let error = host
            .try_deploy("hostile", &router.component(), DEFAULT)
            .map(|_| ())
            .unwrap_err()
            .to_string();
        assert!(error.contains(named), "{functions}: {error}");
        assert_eq!(host.refusal(), (486, "alive".into()));
    }
    // Taking all the memory that it is allowed is no offence.
    let grows = "(func $s (local $p i32) (loop $l (local.set $p (memory.grow (i32.const 16)))
        (if (i32.ne (local.get $p) (i32.const -1)) (then
            (memory.fill (i32.shl (local.get $p) (i32.const 16)) (i32.const 165) (i32.const 1048576)) (br $l))))) (start $s)";
    let router = Router {
        functions: grows,
        body: guests::NEXT,
        ..Router::default()
    };
    host.deploy("hungry", &router.component(), "");
}

#[test]
fn a_memory_of_4_gib_is_refused() {
    let text = Router {
        body: guests::NEXT,
        ..Router::default()
    }
    .text()
    .replace(
        "(memory (export \"memory\") 1)",
        "(memory (export \"memory\") 65536)",
    );
    let error = Host::new()
        .try_deploy("p", &guests::router_of(&text), DEFAULT)
        .map(|_| ())
        .unwrap_err()
        .to_string();
    assert!(error.contains("memory"), "{error}");
}

/// The hostile components that the project's conformance material has, where it is there.
#[test]
fn every_hostile_component_is_contained_and_explained() {
    let folder = guests::wit().join("../../shared/conformance/wasm");
    let Ok(files) = std::fs::read_dir(&folder) else {
        println!(
            "skipped: there are no hostile components at {}",
            folder.display()
        );
        return;
    };
    let host = Host::new();
    host.deploy("neighbour", &rejecting(486, "alive"), DEFAULT);
    let mut seen = 0;
    for file in files
        .flatten()
        .filter(|f| f.path().extension().is_some_and(|e| e == "wasm"))
    {
        let error = host
            .try_deploy("hostile", &std::fs::read(file.path()).unwrap(), DEFAULT)
            .map(|_| ())
            .unwrap_err();
        println!("{}: {error}", file.file_name().to_string_lossy());
        assert!(error.to_string().len() > 20, "{error}");
        assert_eq!(host.refusal(), (486, "alive".into()));
        seen += 1;
    }
    assert!(seen > 0);
}
