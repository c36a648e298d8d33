//! Finds a toolchain that can compile for `wasm32-unknown-unknown`.
//!
//! In this order: the target of the active rustup toolchain, `rustup target add` where it
//! works, and Debian's own toolchain with its source of the standard library.
//! `GATEPOST_GUEST_TOOLCHAIN` = `rustup` or `debian` insists on one.

use anyhow::{Result, bail};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

pub(crate) enum Toolchain {
    /// Debian's compiler has no standard library for the target, so cargo builds it too.
    Debian {
        linker: PathBuf,
    },
    Rustup,
}

impl Toolchain {
    pub(crate) fn find() -> Result<Toolchain> {
        let wanted = env::var("GATEPOST_GUEST_TOOLCHAIN").unwrap_or_default();
        match wanted.as_str() {
            "" => match rustup() {
                Some(found) => Ok(found),
                None => debian(),
            },
            "rustup" => match rustup() {
                Some(found) => Ok(found),
                None => bail!(
                    "the active toolchain lacks {TARGET} and `rustup target add {TARGET}` does not work"
                ),
            },
            "debian" => debian(),
            other => bail!("GATEPOST_GUEST_TOOLCHAIN is `rustup` or `debian`, not `{other}`"),
        }
    }

    pub(crate) fn describe(&self) -> &'static str {
        match self {
            Toolchain::Debian { .. } => "Debian's toolchain and its source of std",
            Toolchain::Rustup => "the active toolchain",
        }
    }

    /// Its cargo, without what the cargo that runs us has put into the environment.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = match self {
            Toolchain::Debian { linker } => {
                let mut cargo = Command::new("/usr/bin/cargo");
                cargo.args(["-Zbuild-std=std,panic_abort"]);
                cargo
                    .env("RUSTC_BOOTSTRAP", "1")
                    .env("RUSTC", "/usr/bin/rustc");
                cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
                cargo
            }
            Toolchain::Rustup => {
                let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
                cargo.env_remove("RUSTC");
                cargo
            }
        };
        for variable in [
            "RUSTFLAGS",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_BUILD_TARGET",
            "CARGO_TARGET_DIR",
            "LD_LIBRARY_PATH",
        ] {
            cargo.env_remove(variable);
        }
        cargo
    }
}

fn rustup() -> Option<Toolchain> {
    if has_target() {
        return Some(Toolchain::Rustup);
    }
    eprintln!("guests: the active toolchain lacks {TARGET}; trying `rustup target add`");
    let added = Command::new("rustup")
        .args(["target", "add", TARGET])
        .stdin(Stdio::null())
        .status();
    (added.is_ok_and(|status| status.success()) && has_target()).then_some(Toolchain::Rustup)
}

/// Whether the active toolchain has a standard library for the target.
fn has_target() -> bool {
    let output = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .stderr(Stdio::null())
        .output();
    let Ok(output) = output else { return false };
    let folder = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let Ok(files) = fs::read_dir(folder) else {
        return false;
    };
    files
        .flatten()
        .any(|file| file.file_name().to_string_lossy().starts_with("libstd-"))
}

fn debian() -> Result<Toolchain> {
    if let Some(linker) = debian_linker() {
        return Ok(Toolchain::Debian { linker });
    }
    const PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "lld-22"];
    let install = format!(
        "apt-get install --yes --no-install-recommends {}",
        PACKAGES.join(" ")
    );
    let by_hand = format!(
        "install what is missing by `rustup target add {TARGET}`, or on Debian by `{install}`"
    );
    if !Path::new("/etc/debian_version").exists() || !is_root() {
        bail!("nothing here can compile for {TARGET}: {by_hand}");
    }
    eprintln!("guests: {install}");
    let installed = Command::new("sh")
        .args(["-c", &format!("apt-get update --quiet && {install}")])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .status();
    match debian_linker() {
        Some(linker) if installed.is_ok_and(|status| status.success()) => {
            Ok(Toolchain::Debian { linker })
        }
        _ => bail!("nothing here can compile for {TARGET}, and installing failed: {by_hand}"),
    }
}

/// The newest `wasm-ld`, where Debian's compiler and its source of std are there too.
fn debian_linker() -> Option<PathBuf> {
    let needed = [
        "/usr/bin/cargo",
        "/usr/bin/rustc",
        "/usr/lib/rustlib/src/rust/library/std/Cargo.toml",
    ];
    if !needed.iter().all(|path| Path::new(path).exists()) {
        return None;
    }
    let linkers = fs::read_dir("/usr/lib")
        .ok()?
        .flatten()
        .filter_map(|entry| {
            let version: u32 = entry
                .file_name()
                .to_str()?
                .strip_prefix("llvm-")?
                .parse()
                .ok()?;
            let linker = entry.path().join("bin/wasm-ld");
            linker.exists().then_some((version, linker))
        });
    linkers.max().map(|(_, linker)| linker)
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
