//! Plugins in plain `cargo test`: a host of fakes, and drivers with a virtual clock.
//!
//! A router or provider is called inside [`FakeHost::run`]. A flow is driven by
//! [`FlowTest`], which plays the host's part: it answers, plays prompts, collects digits and
//! moves the clock. A connector is driven by [`ConnectorTest`].

mod connector_test;
mod fake_host;
mod flow_test;
pub(crate) mod imports;

pub use connector_test::ConnectorTest;
pub use fake_host::FakeHost;
pub use flow_test::FlowTest;

use crate::types::{Attestation, CallInfo, Direction, Endpoint, Transport};

/// A call like any other, to be changed where it matters:
/// `CallInfo { called: "100".into(), ..call_info() }`.
pub fn call_info() -> CallInfo {
    CallInfo {
        call_id: "test-call".into(),
        tenant: "demo".into(),
        trunk: None,
        direction: Direction::Inbound,
        source: Endpoint {
            host: "192.0.2.1".into(),
            port: 5060,
            transport: Transport::Udp,
        },
        request_uri: "sip:+15550100@sbc.example.com".into(),
        called: "+15550100".into(),
        caller: "+15550199".into(),
        from_uri: "sip:+15550199@carrier.example.com".into(),
        from_display: None,
        to_uri: "sip:+15550100@sbc.example.com".into(),
        attestation: Attestation::None,
        codecs: vec!["PCMU".into(), "PCMA".into()],
        headers: Vec::new(),
        received_ms: 1_767_225_600_000,
        ext: Vec::new(),
    }
}
