//! Plugins through the public door, with components made on the spot: what is refused and how
//! it is told, what is contained, what a failure leads to, and what a swap leaves alone.

mod admission;
mod contained;
mod contract;
mod failure;
mod guests;
mod replay;
mod swap;

use b2bua::call_info::{Attestation, CallInfo, Direction, Endpoint, Header, Transport};
use b2bua::decision::{Decision, Routed};
use plugin_host::admission::AdmissionError;
use plugin_host::registry::Version;
use plugin_host::{Compile, Deploy, Origin, PluginHost, PluginHostConfig, Settings};
use std::future::Future;
use std::sync::Arc;

/// A plugin host in a folder of its own.
struct Host {
    host: Arc<PluginHost>,
    _folder: tempfile::TempDir,
}

const TENANT: &str = "acme";
const DEFAULT: &str = "[bind]\ndefault = true\n";

impl Host {
    fn new() -> Host {
        let folder = tempfile::tempdir().unwrap();
        let host = PluginHost::new(PluginHostConfig {
            instances: 64,
            threads: 2,
            ..PluginHostConfig::new(folder.path().to_owned(), Compile::InProcess)
        });
        Host {
            host: host.unwrap(),
            _folder: folder,
        }
    }

    fn try_deploy(
        &self,
        name: &str,
        bytes: &[u8],
        settings: &str,
    ) -> Result<Arc<Version>, AdmissionError> {
        self.host.deploy(&Deploy {
            tenant: TENANT,
            name,
            bytes,
            origin: Origin::Api,
            settings: Some(Settings::from_toml(settings).unwrap()),
            activate: true,
            by: "test",
        })
    }

    fn deploy(&self, name: &str, bytes: &[u8], settings: &str) -> Arc<Version> {
        self.try_deploy(name, bytes, settings)
            .unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    fn route(&self) -> Routed {
        self.route_to("1000")
    }

    fn route_to(&self, called: &str) -> Routed {
        block_on(self.host.route(TENANT, &call(called)))
    }

    /// Status and reason of the refusal that a call gets.
    fn refusal(&self) -> (u16, String) {
        match self.route().decision {
            Ok(Decision::Reject(reject)) => (reject.code, reject.reason),
            other => panic!("{other:?}"),
        }
    }
}

fn call(called: &str) -> Arc<CallInfo> {
    Arc::new(CallInfo {
        call_id: "0123".into(),
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
        headers: vec![
            Header {
                name: "X-One".into(),
                value: "1".into(),
            },
            Header {
                name: "X-Two".into(),
                value: "2".into(),
            },
        ],
        received_ms: 1,
        ext: Vec::new(),
    })
}

/// From a runtime of another kind, as the shell's workers have.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(work)
}
