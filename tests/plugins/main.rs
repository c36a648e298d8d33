//! The plugins that we ship, through the plugin host and without SIP: what they decide, what
//! they import, and that their decisions replay. Needs `cargo xtask build-guests`.

mod connector;
mod flow;
mod hostile;
mod provider;
mod router;

use b2bua::call_info::{Attestation, CallInfo, Direction, Endpoint, Header, Transport};
use plugin_host::{Compile, Deploy, Origin, PluginHost, PluginHostConfig, SecretStore, Settings};
use std::future::Future;
use std::sync::Arc;

pub const TENANT: &str = "demo";

/// A plugin host in a folder of its own.
pub struct Host {
    pub host: Arc<PluginHost>,
    _folder: tempfile::TempDir,
}

impl Host {
    /// With one of the plugins that `build-guests` made.
    pub fn with(name: &str, settings: &str) -> Host {
        let folder = tempfile::tempdir().expect("a folder");
        let config = PluginHostConfig {
            instances: 32,
            threads: 2,
            secrets: Arc::new(Secrets),
            ..PluginHostConfig::new(folder.path().to_owned(), Compile::InProcess)
        };
        let host = Host {
            host: PluginHost::new(config).expect("a plugin host"),
            _folder: folder,
        };
        host.deploy(name, settings);
        host
    }

    pub fn deploy(&self, name: &str, settings: &str) {
        let bytes = std::fs::read(tests::e2e::component(name)).expect("the component");
        let settings = Settings::from_toml(settings).unwrap_or_else(|e| panic!("{e}"));
        let deploy = Deploy {
            tenant: TENANT,
            name,
            bytes: &bytes,
            origin: Origin::Folder,
            settings: Some(settings),
            activate: true,
            by: "test",
        };
        self.host
            .deploy(&deploy)
            .unwrap_or_else(|e| panic!("{name}: {e}"));
    }
}

pub const SECRET: &str = "12345";

/// Every secret is [`SECRET`].
struct Secrets;

impl SecretStore for Secrets {
    fn secret(&self, _tenant: &str, _name: &str) -> Option<String> {
        Some(SECRET.to_owned())
    }
}

pub fn call(called: &str, headers: &[(&str, &str)]) -> Arc<CallInfo> {
    Arc::new(CallInfo {
        call_id: "0".repeat(28),
        tenant: TENANT.into(),
        trunk: None,
        direction: Direction::Inbound,
        source: Endpoint {
            host: [192, 0, 2, 1].into(),
            port: 5060,
            transport: Transport::Udp,
        },
        request_uri: format!("sip:{called}@example.com"),
        called: called.into(),
        caller: "2000".into(),
        from_uri: "sip:2000@example.com".into(),
        from_display: None,
        to_uri: format!("sip:{called}@example.com"),
        attestation: Attestation::None,
        codecs: vec!["PCMU".into()],
        headers: headers
            .iter()
            .map(|(name, value)| Header {
                name: (*name).into(),
                value: (*value).into(),
            })
            .collect(),
        received_ms: 1_760_000_000_000,
        ext: Vec::new(),
    })
}

pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    // The plugin host brings its own threads: the bare minimum of an executor will do.
    let mut work = std::pin::pin!(work);
    let waker = std::task::Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = std::task::Context::from_waker(&waker);
    loop {
        match work.as_mut().poll(&mut context) {
            std::task::Poll::Ready(output) => return output,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}

struct Unpark(std::thread::Thread);

impl std::task::Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
