//! One routing decision: a fresh Wasm instance and a warm one, beside LuaJIT doing the same
//! (Debian's `luajit`; a fresh Lua state and a warm one).

use crate::peers;
use crate::step::{has, quiet, run, step};
use anyhow::Result;
use std::path::Path;
use std::process::Command;

pub fn bench(root: &Path) -> Result<()> {
    if !has("luajit") {
        peers::apt(&["luajit"])?;
    }
    for round in 1..=3 {
        step(&format!("round {round} of 3"), || {
            let lua = quiet(Command::new("luajit").arg(root.join("tests/bench/decision.lua")))?;
            print!("    {lua}");
            for name in ["static-routes", "hello-router"] {
                println!("    {name}");
                let mut command = Command::new(root.join("target/release/examples/decision_cost"));
                command.arg(root.join(format!("target/plugins/{name}.wasm")));
                // The rules that the quickstart really has.
                let settings = root.join(format!("examples/quickstart/plugins/{name}.toml"));
                if settings.exists() {
                    command.arg(settings);
                }
                run(&mut command)?;
            }
            Ok(())
        })?;
    }
    println!("\nbudget: fresh ≤ 20 µs, warm ≤ 8 µs, two threads ≥ 1.6 times one");
    Ok(())
}
