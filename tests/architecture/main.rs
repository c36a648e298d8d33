//! The rules of ARCHITECTURE.md that a machine can hold: who may depend on whom, which
//! foreign type enters by which door, and what the core may not touch.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Package → the packages of this workspace that it may depend on. To change the
/// architecture, change this table and say why in the commit.
const MAY_USE: &[(&str, &[&str])] = &[
    ("sip", &[]),
    ("media", &[]),
    ("b2bua", &["media", "sip"]),
    ("plugin-host", &["b2bua"]),
    ("host", &["b2bua", "media", "plugin-host", "sip"]),
    ("gatepost-sdk", &[]),
    ("ai-receptionist", &["gatepost-sdk"]),
    ("auto-attendant", &["gatepost-sdk"]),
    ("hello-router", &["gatepost-sdk"]),
    ("hostile", &["gatepost-sdk"]),
    ("openai-realtime", &["gatepost-sdk"]),
    ("static-routes", &["gatepost-sdk"]),
    ("twilio", &["gatepost-sdk"]),
    ("tests", &["b2bua", "media", "plugin-host", "sip"]),
    ("rtpload", &[]),
    ("xtask", &[]),
];

/// A foreign crate and the only places (path prefixes) that may name it.
const DOORS: &[(&str, &[&str])] = &[
    (
        "rsip",
        &["host/core/sip/tests/", "host/core/sip/src/message"],
    ),
    (
        "rtp",
        &["host/core/media/tests/", "host/core/media/src/packet"],
    ),
    ("rtp_types", &["host/core/media/src/packet"]),
    ("rtcp_types", &["host/core/media/src/packet"]),
    ("rubato", &["host/core/media/src/resample"]),
    ("wasmtime", &["host/plugin-host/"]),
    ("axum", &["host/src/api"]),
    ("sqlx", &["host/src/store"]),
];

/// What decides takes time, randomness and packets as values (ARCHITECTURE.md, "Invariants").
const NOT_IN_THE_CORE: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    "std::thread",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "tokio::",
    "wasmtime",
];

#[test]
fn packages_depend_only_inwards() {
    let allowed: BTreeMap<_, _> = MAY_USE.iter().copied().collect();
    let packages = workspace_packages();
    let ours: Vec<&str> = packages.iter().map(|(name, _)| name.as_str()).collect();
    for (name, manifest) in &packages {
        let may = allowed
            .get(name.as_str())
            .unwrap_or_else(|| panic!("package {name} is not in the table MAY_USE"));
        for section in ["dependencies", "build-dependencies"] {
            let Some(dependencies) = manifest.get(section).and_then(|d| d.as_table()) else {
                continue;
            };
            for dependency in dependencies.keys().filter(|d| ours.contains(&d.as_str())) {
                assert!(
                    may.contains(&dependency.as_str()),
                    "{name} may not depend on {dependency}"
                );
            }
        }
    }
}

#[test]
fn foreign_types_enter_by_their_door() {
    let mut wrong = Vec::new();
    for file in rust_files(&root()) {
        let path = file
            .strip_prefix(root())
            .unwrap()
            .to_string_lossy()
            .into_owned();
        if path.starts_with("tests/architecture/") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        for (name, places) in DOORS {
            if places.iter().any(|place| path.starts_with(place)) {
                continue;
            }
            if code_lines(&text).any(|line| names_crate(line, name)) {
                wrong.push(format!("{path} names {name}; only {places:?} may"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_core_touches_no_clock_task_or_socket() {
    let mut wrong = Vec::new();
    for package in ["sip", "media", "b2bua"] {
        for file in rust_files(&root().join("host/core").join(package).join("src")) {
            let text = fs::read_to_string(&file).unwrap();
            // Tests may take a first instant to count from; what decides may not.
            let decides = text.split("\n#[cfg(test)]").next().unwrap_or("");
            for word in NOT_IN_THE_CORE {
                if code_lines(decides).any(|line| line.contains(word)) {
                    wrong.push(format!("{} names {word}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_public_world_is_documented_for_authors() {
    for file in fs::read_dir(root().join("wit")).unwrap().flatten() {
        if file.path().extension().is_none_or(|e| e != "wit") {
            continue;
        }
        let text = fs::read_to_string(file.path()).unwrap();
        let mut before = "";
        for line in text.lines() {
            let starts = line.starts_with("interface ") || line.starts_with("world host");
            assert!(
                !starts || before.trim_start().starts_with("///"),
                "{}: `{line}` has no doc comment",
                file.path().display()
            );
            before = line;
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}

fn workspace_packages() -> Vec<(String, toml::Table)> {
    let manifest: toml::Table = fs::read_to_string(root().join("Cargo.toml"))
        .unwrap()
        .parse()
        .unwrap();
    let members = manifest["workspace"]["members"].as_array().unwrap();
    members
        .iter()
        .map(|member| {
            let path = root().join(member.as_str().unwrap()).join("Cargo.toml");
            let table: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
            (table["package"]["name"].as_str().unwrap().to_owned(), table)
        })
        .collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() {
                if name != "target"
                    && !name.to_string_lossy().starts_with('.')
                    && name != "node_modules"
                {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn code_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
}

/// `name::` or `use name` as a whole word.
fn names_crate(line: &str, name: &str) -> bool {
    let path = format!("{name}::");
    line.match_indices(&path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        // `crate::rtp::` and `media::rtp::` are our own modules.
        before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':')
            || line[..at].ends_with(" ::")
    })
}
