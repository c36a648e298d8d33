//! Callers and callees made of SIPp scenarios in `tests/e2e/sipp`.

use super::{root, wait_for};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub struct Sipp {
    child: Child,
    folder: tempfile::TempDir,
    name: String,
}

/// How a SIPp process runs.
pub struct Run<'a> {
    /// file name in `tests/e2e/sipp`, without `.xml`
    pub scenario: &'a str,
    /// local address
    pub ip: &'a str,
    pub port: u16,
    /// `Some` for a caller
    pub target: Option<String>,
    pub tcp: bool,
    /// user part that is called
    pub service: &'a str,
    pub calls: u32,
    /// calls a second
    pub rate: u32,
    pub more: &'a [&'a str],
}

impl Default for Run<'_> {
    fn default() -> Self {
        Run {
            scenario: "uac",
            ip: "127.0.0.1",
            port: super::free_port(),
            target: None,
            tcp: false,
            service: "1000",
            calls: 1,
            rate: 1,
            more: &[],
        }
    }
}

impl Run<'_> {
    pub fn start(self) -> Sipp {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let scenario = root()
            .join("tests/e2e/sipp")
            .join(format!("{}.xml", self.scenario));
        let limit = 40 + self.calls / self.rate.max(1) * 2;
        let mut command = Command::new("sipp");
        command
            .args([
                "-nostdin",
                "-timeout_error",
                "-trace_err",
                "-recv_timeout",
                "20000",
                "-i",
                self.ip,
                "-mi",
                self.ip,
            ])
            .args([
                "-buff_size",
                "8388608",
                "-error_file",
                "errors.log",
                "-timeout",
                &format!("{limit}s"),
            ])
            .arg("-sf")
            .arg(&scenario)
            .args([
                "-p",
                &self.port.to_string(),
                "-t",
                if self.tcp { "t1" } else { "u1" },
            ])
            .args([
                "-m",
                &self.calls.to_string(),
                "-r",
                &self.rate.to_string(),
                "-l",
                "5000",
                "-s",
                self.service,
            ])
            .args(["-mp", &super::free_port().to_string()])
            .args(self.more);
        if let Some(target) = &self.target {
            command.arg(target);
        }
        let child = command
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| {
                panic!("sipp does not start ({e}): `cargo xtask test` installs it")
            });
        let sipp = Sipp {
            child,
            folder,
            name: self.scenario.to_owned(),
        };
        if self.target.is_none() {
            sipp.wait_listening(self.port, self.tcp);
        }
        sipp
    }
}

impl Sipp {
    /// Waits for the end and fails the test where a call went otherwise than its scenario.
    pub fn succeed(mut self) {
        let status = wait_for(
            &format!("sipp {}", self.name),
            Duration::from_secs(400),
            || self.child.try_wait().ok().flatten(),
        );
        assert!(
            status.success(),
            "sipp {} ended with {status}:\n{}",
            self.name,
            self.errors()
        );
    }

    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_path_buf()
    }

    /// INVITE to 200 of each call in milliseconds, ascending (needs `-trace_rtt`).
    pub fn setup_times(folder: &std::path::Path) -> Vec<f64> {
        let mut times = Vec::new();
        for entry in std::fs::read_dir(folder).expect("sipp's folder").flatten() {
            if entry.file_name().to_string_lossy().ends_with("_rtt.csv") {
                let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
                times.extend(
                    text.lines()
                        .skip(1)
                        .filter_map(|l| l.split(';').nth(1))
                        .filter_map(|t| t.trim().parse::<f64>().ok()),
                );
            }
        }
        times.sort_by(f64::total_cmp);
        times
    }

    /// Like [`Sipp::succeed`], and gives the set-up times.
    pub fn succeed_with_times(mut self) -> Vec<f64> {
        let status = wait_for(
            &format!("sipp {}", self.name),
            Duration::from_secs(400),
            || self.child.try_wait().ok().flatten(),
        );
        assert!(
            status.success(),
            "sipp {} ended with {status}:\n{}",
            self.name,
            self.errors()
        );
        Self::setup_times(&self.folder())
    }

    pub fn running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn errors(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("errors.log")).unwrap_or_default()
    }

    /// The socket is there when the kernel lists it.
    fn wait_listening(&self, port: u16, tcp: bool) {
        let table = if tcp {
            "/proc/net/tcp"
        } else {
            "/proc/net/udp"
        };
        let wanted = format!("0100007F:{port:04X}");
        wait_for("sipp to listen", Duration::from_secs(10), || {
            std::fs::read_to_string(table)
                .ok()
                .filter(|t| t.contains(&wanted))
                .map(|_| ())
        });
    }
}

impl Drop for Sipp {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
