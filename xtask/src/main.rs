//! `cargo xtask COMMAND`: what is done with this repository beside plain cargo.

mod bench;
mod guests;
mod peers;
mod serve;
mod step;
mod test;

use anyhow::{Result, bail};
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  run                    the quickstart: build everything, start a node on loopback
  test [NAME…]           everything that CI runs; or only these end-to-end tests
  bench WHAT             calls, relay, transcode or decision, beside Debian's peers
  build                  the plugins and the release build
  build-guests [NAME…]   build the plugins into target/plugins/NAME.wasm";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let Some((command, arguments)) = arguments.split_first() else {
        bail!("{USAGE}")
    };
    match command.as_str() {
        "run" => serve::quickstart(root()),
        "test" => test::main(root(), arguments),
        "bench" => bench::main(root(), arguments),
        "build" => serve::build(root()),
        "build-guests" => guests::build(root(), arguments).map(drop),
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(())
        }
        other => bail!("there is no command `{other}`\n{USAGE}"),
    }
}

/// The folder of the workspace.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the workspace")
}
