//! Long steps that show what they do.

use anyhow::{Context, Result, bail};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Prints `title`, does the work, prints how long it took.
pub fn step<T>(title: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    eprintln!("\x1b[1m==> {title}\x1b[0m");
    let start = Instant::now();
    let result = work().with_context(|| title.to_owned());
    eprintln!(
        "    {} after {:.1} s",
        if result.is_ok() { "done" } else { "FAILED" },
        start.elapsed().as_secs_f32()
    );
    result
}

/// Runs a program with this one's own output; an exit code other than 0 is an error.
pub fn run(command: &mut Command) -> Result<()> {
    let text = line(command);
    let status = command
        .status()
        .with_context(|| format!("{text}: it does not start"))?;
    if !status.success() {
        bail!("{text}: {status}");
    }
    Ok(())
}

/// Runs a program quietly; its output is shown where it fails.
pub fn quiet(command: &mut Command) -> Result<String> {
    let text = line(command);
    let out = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{text}: it does not start"))?;
    if !out.status.success() {
        bail!(
            "{text}: {}\n{}{}",
            out.status,
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// Is there a program of this name on the path?
pub fn has(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|folder| folder.join(program).is_file())
}

fn line(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for arg in command.get_args() {
        text.push(' ');
        text.push_str(&arg.to_string_lossy());
    }
    text
}
