//! The servers that are measured: each takes calls on one port and sends them on to
//! 127.0.0.1:5180.

use anyhow::{Context, Result, bail};
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where every box sends its calls.
pub const CALLEE: u16 = 5180;

pub struct Running {
    pub name: &'static str,
    /// where it takes calls
    pub port: u16,
    children: Vec<Child>,
    _folder: Option<tempfile::TempDir>,
}

impl Running {
    pub fn pids(&self) -> Vec<u32> {
        self.children
            .iter()
            .flat_map(|c| super::proc::tree(c.id()))
            .collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for child in &mut self.children {
            // SAFETY: kill on a process of our own that was not waited for yet.
            unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
            let end = Instant::now() + Duration::from_secs(5);
            while child.try_wait().ok().flatten().is_none() && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Gatepost with media anchored on both legs and a fresh `static-routes` instance per call.
pub fn gatepost(root: &Path) -> Result<Running> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (sip, http) = (5190, 8190);
    let plugins = folder.path().join("plugins.d/bench");
    fs::create_dir_all(&plugins)?;
    fs::copy(
        root.join("target/plugins/static-routes.wasm"),
        plugins.join("static-routes.wasm"),
    )?;
    fs::write(
        plugins.join("static-routes.toml"),
        format!(
            "[bind]\ndefault = true\n[[config.rule]]\nto = \"^9\"\nreject = 403\n[[config.rule]]\nto = \".\"\ndial = [\"sip:{{user}}@127.0.0.1:{CALLEE}\"]\n"
        ),
    )?;
    let config = folder.path().join("gatepost.toml");
    fs::write(
        &config,
        format!(
            "[sip]\nlisten = [\"udp://127.0.0.1:{sip}\"]\nmax_calls = 20000\n[rtp]\nports = [40000, 59998]\n[http]\nlisten = \"127.0.0.1:{http}\"\n\
             [store]\nurl = \"sqlite://{}\"\n[plugins]\ndir = \"{}\"\ncache = \"{}\"\n[journal]\ndir = \"{}\"\n[log]\nfilter = \"warn\"\n\
             [[tenant]]\nid = \"bench\"\nsources = [\"127.0.0.0/8\"]\n",
            path("gatepost.db"),
            path("plugins.d"),
            path("cache"),
            path("journal"),
        ),
    )?;
    let child = start(
        Command::new(root.join("target/release/gatepost"))
            .arg("serve")
            .arg("--config")
            .arg(&config)
            .env(
                "GATEPOST_ADMIN_TOKEN",
                "bench-token-0123456789abcdef0123456789",
            ),
        folder.path(),
    )?;
    let mut running = Running {
        name: "gatepost",
        port: sip,
        children: vec![child],
        _folder: Some(folder),
    };
    wait(&mut running, "its HTTP port", || {
        TcpStream::connect(("127.0.0.1", http)).is_ok()
    })?;
    Ok(running)
}

/// Kamailio as a plain record-routing proxy, or with rtpengine anchoring media.
pub fn kamailio(root: &Path, rtpengine: bool, transcode_to: Option<&str>) -> Result<Running> {
    let folder = tempfile::tempdir()?;
    let mut children = Vec::new();
    if rtpengine {
        children.push(start(
            Command::new("rtpengine").args([
                "--config-file=none",
                "--table=-1",
                "--interface=127.0.0.1",
                "--listen-ng=127.0.0.1:2223",
                "--port-min=20000",
                "--port-max=39998",
                "--log-level=3",
                "--log-stderr",
                "--foreground",
                "--num-threads=2",
            ]),
            folder.path(),
        )?);
    }
    let config = root.join("tests/bench/kamailio.cfg");
    let mut command = Command::new(program("kamailio"));
    command
        .args(["-DD", "-E", "-m", "1024", "-M", "16", "-f"])
        .arg(&config)
        .arg("-w")
        .arg(folder.path());
    if rtpengine {
        command.args(["-A", "WITH_RTPENGINE"]);
    }
    if let Some(codec) = transcode_to {
        command.args(["-A", &format!("RTPE_OFFER=\"replace-origin replace-session-connection ICE=remove transcode-{codec} codec-mask-PCMU\"")]);
    }
    children.push(start(&mut command, folder.path())?);
    let mut running = Running {
        name: if rtpengine {
            "kamailio + rtpengine"
        } else {
            "kamailio"
        },
        port: 5160,
        children,
        _folder: Some(folder),
    };
    wait(&mut running, "its SIP port", || listens_udp(5160))?;
    Ok(running)
}

fn program(name: &str) -> PathBuf {
    let there = Path::new("/usr/sbin").join(name);
    if there.exists() { there } else { name.into() }
}

fn start(command: &mut Command, folder: &Path) -> Result<Child> {
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join("log"))?;
    command
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("{} does not start", command.get_program().to_string_lossy()))
}

fn wait(running: &mut Running, what: &str, ready: impl Fn() -> bool) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(20);
    while !ready() {
        let ended = running
            .children
            .iter_mut()
            .any(|c| matches!(c.try_wait(), Ok(Some(_))));
        if ended || Instant::now() > end {
            let log = running
                ._folder
                .as_ref()
                .map(|f| fs::read_to_string(f.path().join("log")).unwrap_or_default());
            bail!(
                "{} does not open {what}:\n{}",
                running.name,
                log.unwrap_or_default()
            );
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn listens_udp(port: u16) -> bool {
    fs::read_to_string("/proc/net/udp").is_ok_and(|t| t.contains(&format!("0100007F:{port:04X}")))
}
