//! SIPp as caller and callee around a box, and what that cost the box.

use super::boxes::{CALLEE, Running};
use super::proc;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub struct Measured {
    pub ok: u32,
    pub failed: u32,
    pub cpu_per_1000_calls: f64,
    /// INVITE to 200, ms
    pub setup_p50: f64,
    pub setup_p99: f64,
    /// KiB of memory a live call, where calls were held
    pub pss_per_call: Option<f64>,
}

/// `calls` at `rate` a second, each held for `hold_ms`; memory is read at `mem_at` live calls.
pub fn calls(
    root: &Path,
    target: &Running,
    rate: u32,
    calls: u32,
    hold_ms: u32,
    mem_at: Option<u32>,
) -> Result<Measured> {
    let folder = tempfile::tempdir()?;
    let mut uas = sipp(root, folder.path(), "uas", CALLEE, 7000).spawn()?;
    let end = Instant::now() + Duration::from_secs(5);
    while !fs::read_to_string("/proc/net/udp")?.contains(&format!("0100007F:{CALLEE:04X}")) {
        if Instant::now() > end {
            bail!("sipp does not listen on {CALLEE}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let pids = target.pids();
    let (memory, cpu) = (proc::pss_kib(&pids), proc::cpu_seconds(&pids));
    let mut uac = sipp(root, folder.path(), "uac", 5170, 7400)
        .arg(format!("127.0.0.1:{}", target.port))
        .args([
            "-r",
            &rate.to_string(),
            "-m",
            &calls.to_string(),
            "-l",
            "1000000",
            "-d",
            &hold_ms.to_string(),
            "-s",
            "1000",
        ])
        .args([
            "-trace_rtt",
            "-rtt_freq",
            "50",
            "-trace_stat",
            "-fd",
            "1",
            "-stf",
            "stat.csv",
        ])
        .args([
            "-timeout",
            &format!("{}s", calls / rate + hold_ms / 1000 + 60),
        ])
        .spawn()
        .context("sipp does not start")?;
    let mut pss_per_call = None;
    while uac.try_wait()?.is_none() {
        std::thread::sleep(Duration::from_millis(250));
        if let Some(wanted) = mem_at.filter(|_| pss_per_call.is_none()) {
            let live = column(folder.path(), "CurrentCall").unwrap_or(0);
            if live >= wanted {
                std::thread::sleep(Duration::from_millis(1500));
                let now = proc::pss_kib(&target.pids());
                pss_per_call = Some(now.saturating_sub(memory) as f64 / f64::from(live));
            }
        }
    }
    // What is left to do after the last BYE belongs to the calls.
    std::thread::sleep(Duration::from_millis(1500));
    let cpu = proc::cpu_seconds(&target.pids()) - cpu;
    end_of(&mut uas);
    let (ok, failed) = (
        column(folder.path(), "SuccessfulCall(C)").unwrap_or(0),
        column(folder.path(), "FailedCall(C)").unwrap_or(calls),
    );
    let times = setup_times(folder.path());
    let at = |q: f64| {
        times
            .get(((times.len() as f64 * q) as usize).min(times.len().saturating_sub(1)))
            .copied()
            .unwrap_or(f64::NAN)
    };
    Ok(Measured {
        ok,
        failed,
        cpu_per_1000_calls: cpu / f64::from(ok.max(1)) * 1000.0,
        setup_p50: at(0.5),
        setup_p99: at(0.99),
        pss_per_call,
    })
}

fn sipp(root: &Path, folder: &Path, scenario: &str, port: u16, media: u16) -> Command {
    let mut command = Command::new("sipp");
    command
        .current_dir(folder)
        .arg("-sf")
        .arg(root.join("tests/e2e/sipp").join(format!("{scenario}.xml")))
        .args([
            "-i",
            "127.0.0.1",
            "-p",
            &port.to_string(),
            "-mp",
            &media.to_string(),
            "-nostdin",
            "-buff_size",
            "8388608",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

fn end_of(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// The last value of a column of SIPp's statistics.
fn column(folder: &Path, name: &str) -> Option<u32> {
    let text = fs::read_to_string(folder.join("stat.csv")).ok()?;
    let mut lines = text.lines();
    let at = lines.next()?.split(';').position(|n| n == name)?;
    lines.last()?.split(';').nth(at)?.trim().parse().ok()
}

fn setup_times(folder: &Path) -> Vec<f64> {
    let mut times: Vec<f64> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().ends_with("_rtt.csv"))
        .filter_map(|e| fs::read_to_string(e.path()).ok())
        .flat_map(|t| {
            t.lines()
                .skip(1)
                .filter_map(|l| l.split(';').nth(1)?.trim().parse().ok())
                .collect::<Vec<f64>>()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times
}
