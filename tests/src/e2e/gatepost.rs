//! One running node: its folder, its process, its REST API.

use super::http::{self, Reply};
use super::{component, free_port, root, wait_for};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub const ADMIN_TOKEN: &str = "end-to-end-admin-token-0123456789abcdef";

/// What a node is started with.
pub struct Setup {
    folder: tempfile::TempDir,
    /// TOML after the generated `[sip]`, `[rtp]`, `[http]`, `[store]` and `[plugins]`.
    tenants: String,
    pub sip_port: u16,
    pub http_port: u16,
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

impl Setup {
    /// One tenant `demo` that takes calls from 127.0.0.0/8.
    pub fn new() -> Self {
        Self::with_tenants(
            "[[tenant]]\nid = \"demo\"\ndomains = [\"127.0.0.1\"]\nsources = [\"127.0.0.0/8\"]\nprompts = \"prompts\"\n",
        )
    }

    pub fn with_tenants(tenants: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Setup {
            folder,
            tenants: tenants.to_owned(),
            sip_port: free_port(),
            http_port: free_port(),
        }
    }

    /// More TOML at the end of the configuration.
    pub fn more(mut self, toml: &str) -> Self {
        self.tenants.push_str(toml);
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a component of `target/plugins` into the tenant's plugin folder as `name`, with
    /// `settings` as its `<name>.toml`.
    pub fn plugin(self, tenant: &str, name: &str, of: &str, settings: &str) -> Self {
        let folder = self.path("plugins.d").join(tenant);
        fs::create_dir_all(&folder).expect("a plugin folder");
        fs::write(folder.join(format!("{name}.toml")), settings).expect("settings");
        fs::copy(component(of), folder.join(format!("{name}.wasm"))).expect("a component");
        self
    }

    /// A file in the node's folder.
    pub fn file(self, name: &str, bytes: &[u8]) -> Self {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder");
        fs::write(path, bytes).expect("a file");
        self
    }

    fn config(&self) -> String {
        let (sip, http, dir) = (self.sip_port, self.http_port, self.folder.path().display());
        // Four hundred ports of its own for media, away from those of other tests.
        let rtp = 30_000 + (sip - 12_000) % 250 * 100;
        let last = rtp + 398;
        format!(
            "[sip]\nlisten = [\"udp://127.0.0.1:{sip}\", \"tcp://127.0.0.1:{sip}\"]\ndomain = \"127.0.0.1\"\n\
             [rtp]\nports = [{rtp}, {last}]\n\
             [http]\nlisten = \"127.0.0.1:{http}\"\n\
             [store]\nurl = \"sqlite://{dir}/gatepost.db\"\n\
             [plugins]\ndir = \"{dir}/plugins.d\"\n{}",
            self.tenants.replace(
                "prompts = \"prompts\"",
                &format!("prompts = \"{dir}/prompts\"")
            )
        )
    }

    /// Starts the node and waits until it says that it is ready.
    pub fn start(self) -> Gatepost {
        fs::create_dir_all(self.path("plugins.d")).expect("a plugin folder");
        let config = self.path("gatepost.toml");
        fs::write(&config, self.config()).expect("a configuration");
        let log = self.path("gatepost.log");
        let child = spawn(&config, &log, self.folder.path());
        let mut node = Gatepost { setup: self, child };
        node.wait_ready();
        node
    }
}

fn spawn(config: &Path, log: &Path, folder: &Path) -> Child {
    let out = fs::File::options()
        .create(true)
        .append(true)
        .open(log)
        .expect("a log file");
    Command::new(binary())
        .arg("serve")
        .arg("--config")
        .arg(config)
        .current_dir(folder)
        .env("GATEPOST_ADMIN_TOKEN", ADMIN_TOKEN)
        .stdin(Stdio::null())
        .stdout(out.try_clone().expect("a second handle"))
        .stderr(out)
        .spawn()
        .expect("gatepost starts")
}

/// `GATEPOST_BIN`, else the release build.
pub fn binary() -> PathBuf {
    let path = std::env::var_os("GATEPOST_BIN")
        .map_or_else(|| root().join("target/release/gatepost"), PathBuf::from);
    assert!(
        path.exists(),
        "{} is missing: run `cargo xtask test`",
        path.display()
    );
    path
}

pub struct Gatepost {
    pub setup: Setup,
    child: Child,
}

impl Gatepost {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `127.0.0.1:PORT` of its SIP socket.
    pub fn sip(&self) -> String {
        format!("127.0.0.1:{}", self.setup.sip_port)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.setup.path("gatepost.log")).unwrap_or_default()
    }

    /// One REST request as platform admin, for the tenant `demo`.
    pub fn api(&self, method: &str, path: &str, body: &[u8]) -> Reply {
        self.api_as("demo", method, path, body)
    }

    pub fn api_as(&self, tenant: &str, method: &str, path: &str, body: &[u8]) -> Reply {
        let bearer = format!("Bearer {ADMIN_TOKEN}");
        let kind = if body.first() == Some(&0) {
            "application/wasm"
        } else {
            "application/json"
        };
        let headers = [
            ("Authorization", bearer.as_str()),
            ("Content-Type", kind),
            ("X-Tenant-Id", tenant),
        ];
        http::request(self.setup.http_port, method, path, &headers, body)
            .unwrap_or_else(|e| panic!("{method} {path}: {e}\n{}", self.log()))
    }

    pub fn get(&self, path: &str) -> serde_json::Value {
        let reply = self.api("GET", path, b"");
        assert_eq!(reply.status, 200, "GET {path}: {}", reply.text());
        reply.json()
    }

    /// Puts a new component in the place of a plugin, as a deployment tool would: written
    /// beside it and renamed over it.
    pub fn replace_plugin(&self, tenant: &str, name: &str, bytes: &[u8]) {
        let folder = self.setup.path("plugins.d").join(tenant);
        let fresh = folder.join(format!(".{name}.new"));
        fs::write(&fresh, bytes).expect("a component");
        fs::rename(fresh, folder.join(format!("{name}.wasm"))).expect("a rename");
    }

    /// Ended calls, newest first.
    pub fn history(&self) -> Vec<serde_json::Value> {
        self.get("/api/calls/history?per_page=200")["items"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    }

    /// Kills the process without a word and starts it again on the same folder.
    pub fn kill_and_restart(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.child = spawn(
            &self.setup.path("gatepost.toml"),
            &self.setup.path("gatepost.log"),
            self.setup.folder.path(),
        );
        self.wait_ready();
    }

    fn wait_ready(&mut self) {
        let port = self.setup.http_port;
        wait_for("gatepost to be ready", Duration::from_secs(30), || {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("gatepost ended with {status}:\n{}", self.log());
            }
            http::request(port, "GET", "/ready", &[], b"")
                .ok()
                .filter(|r| r.status == 200)
        });
    }
}

impl Drop for Gatepost {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- gatepost's log ---\n{}", self.log());
        }
    }
}
