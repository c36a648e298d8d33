//! Compiling in a process of its own: niced, with limits on memory and CPU, so that no upload
//! can starve calls or take the host with it.

use super::AdmissionError;
use crate::engine;
use anyhow::{Context, bail};
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

/// The hidden command that the host calls itself with: `COMPILE_COMMAND IN OUT`.
pub const COMPILE_COMMAND: &str = "__compile-component";

/// Bytes of address space: enough for a component of the size limit.
const MEMORY: u64 = 1 << 30;
/// Seconds of CPU.
const CPU: u64 = 30;

/// Where compilation happens.
#[derive(Debug, Clone)]
pub enum Compile {
    /// This program, which passes [`COMPILE_COMMAND`] on to [`compile_child_main`].
    Child(PathBuf),
    /// In this process: for tests and small tools.
    InProcess,
}

impl Compile {
    pub(super) fn run(&self, component: &[u8], folder: &Path) -> Result<Vec<u8>, AdmissionError> {
        match self {
            Compile::InProcess => {
                let engine =
                    engine::compiler().map_err(|e| AdmissionError::Compile(format!("{e:#}")))?;
                engine
                    .precompile_component(component)
                    .map_err(|e| AdmissionError::Compile(format!("{e:#}")))
            }
            Compile::Child(program) => in_child(program, component, folder),
        }
    }
}

fn in_child(program: &Path, component: &[u8], folder: &Path) -> Result<Vec<u8>, AdmissionError> {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let name = format!(
        "job-{}-{}",
        std::process::id(),
        SERIAL.fetch_add(1, Ordering::Relaxed)
    );
    let (input, output) = (
        folder.join(format!("{name}.wasm")),
        folder.join(format!("{name}.out")),
    );
    let result = fs::write(&input, component)
        .map_err(|e| AdmissionError::Store(format!("cannot write {}: {e}", input.display())))
        .and_then(|()| supervise(program, &input, &output));
    let _ = fs::remove_file(&input);
    let _ = fs::remove_file(&output);
    result
}

fn supervise(program: &Path, input: &Path, output: &Path) -> Result<Vec<u8>, AdmissionError> {
    let mut command = Command::new(program);
    command
        .arg(COMPILE_COMMAND)
        .arg(input)
        .arg(output)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .env_clear();
    // SAFETY: only async-signal-safe calls between fork and exec.
    unsafe { command.pre_exec(limit_me) };
    let done = command
        .output()
        .map_err(|e| AdmissionError::Compile(format!("the compiler does not start: {e}")))?;
    if done.status.success() {
        return fs::read(output)
            .map_err(|e| AdmissionError::Store(format!("cannot read compiled code: {e}")));
    }
    let text = String::from_utf8_lossy(&done.stderr);
    let text = text.trim();
    match done.status.signal() {
        Some(libc::SIGXCPU | libc::SIGKILL) => {
            Err(AdmissionError::CompileLimit(format!("{CPU} s of CPU")))
        }
        Some(_) if text.contains("memory allocation") => Err(AdmissionError::CompileLimit(
            format!("{} MiB of memory", MEMORY >> 20),
        )),
        Some(signal) => Err(AdmissionError::Compile(format!(
            "the compiler ended with signal {signal}: {text}"
        ))),
        None => Err(AdmissionError::Compile(text.chars().take(600).collect())),
    }
}

fn limit_me() -> std::io::Result<()> {
    for (what, limit) in [
        (libc::RLIMIT_AS, MEMORY),
        (libc::RLIMIT_CPU, CPU),
        (libc::RLIMIT_CORE, 0),
    ] {
        let limit = libc::rlimit {
            rlim_cur: limit,
            rlim_max: limit,
        };
        // SAFETY: `limit` lives through the call.
        if unsafe { libc::setrlimit(what, &limit) } != 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    // SAFETY: plain numbers. Failing to be nice is no reason to fail.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 10) };
    Ok(())
}

/// The child's whole life: `arguments` are those after [`COMPILE_COMMAND`].
pub fn compile_child_main(arguments: &[OsString]) -> ExitCode {
    match compile(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn compile(arguments: &[OsString]) -> anyhow::Result<()> {
    let [input, output] = arguments else {
        bail!("usage: {COMPILE_COMMAND} IN OUT")
    };
    let component = fs::read(input).context("the component")?;
    let code = engine::compiler()?
        .precompile_component(&component)
        .map_err(|e| anyhow::anyhow!("{e:#}"))?;
    fs::write(output, code).context("the compiled code")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_child_is_limited_before_it_runs() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "ulimit -v; ulimit -t; nice"]);
        // SAFETY: only async-signal-safe calls between fork and exec.
        unsafe { shell.pre_exec(limit_me) };
        let told = String::from_utf8(shell.output().unwrap().stdout).unwrap();
        let told: Vec<&str> = told.lines().collect();
        assert_eq!(
            told,
            [
                (MEMORY >> 10).to_string().as_str(),
                CPU.to_string().as_str(),
                "10"
            ]
        );
    }

    #[test]
    fn a_compiler_that_is_ended_by_a_limit_is_told_apart_from_one_that_refuses() {
        let folder = tempfile::tempdir().unwrap();
        let run = |script: &str| {
            let program = folder.path().join("compiler");
            fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(
                &program,
                std::os::unix::fs::PermissionsExt::from_mode(0o700),
            )
            .unwrap();
            // A test beside this one may fork while the script is open for writing, and the
            // kernel then refuses to run it (ETXTBSY) until that fork has become a program.
            loop {
                match in_child(&program, b"", folder.path()).unwrap_err() {
                    AdmissionError::Compile(text) if text.contains("busy") => {}
                    error => return error,
                }
            }
        };
        assert!(
            matches!(run("kill -XCPU $$"), AdmissionError::CompileLimit(what) if what.contains("CPU"))
        );
        assert!(
            matches!(run("echo memory allocation failed >&2; kill -ABRT $$"), AdmissionError::CompileLimit(what) if what.contains("MiB"))
        );
        assert_eq!(
            run("echo it is broken >&2; exit 1"),
            AdmissionError::Compile("it is broken".to_owned())
        );
    }
}
