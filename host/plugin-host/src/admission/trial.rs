//! The trial: an instance is made and, of what can be asked without a call, asked once.
//! Names of exports prove nothing about their types; an instance does.

use super::{AdmissionError, Loaded};
use crate::bindings::convert;
use crate::capability::{Context, Services};
use crate::check::Kind;
use crate::instance;
use crate::limits::Limits;
use crate::record::Recorder;
use b2bua::call_info::{Attestation, CallInfo, Direction, Endpoint, Transport};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use wasmtime::Engine;

/// Room for a first call on a cold cache and a busy machine.
const DEADLINE_MS: u32 = 1_000;

pub(crate) async fn try_out(
    engine: &Engine,
    loaded: &Loaded,
    limits: &Limits,
    context: Context,
    services: Arc<Services>,
) -> Result<(), AdmissionError> {
    let limits = Limits {
        deadline_ms: limits.deadline_ms.max(DEADLINE_MS),
        ..limits.clone()
    };
    // Imports of the trial do nothing: a replay of an empty record answers none of them.
    let mut store = instance::store(
        engine,
        &limits,
        context,
        services,
        Recorder::replay(Vec::new()),
    );
    let wrong =
        |e: wasmtime::Error| AdmissionError::Instantiate(instance::failure(e, &limits).to_string());
    let missing = |kind: Kind| AdmissionError::Instantiate(format!("its {kind} cannot be found"));
    let instance = loaded
        .pre
        .instantiate_async(&mut store)
        .await
        .map_err(wrong)?;
    for kind in &loaded.report.kinds {
        match kind {
            Kind::Router => {
                let indices = loaded.router.as_ref().ok_or_else(|| missing(*kind))?;
                let guest = indices.load(&mut store, &instance).map_err(wrong)?;
                let call = convert::call_info(&canned_call(), &loaded.report.manifest.headers);
                // What it decides does not matter, nor that it has no settings yet; a trap does.
                if let Err(error) = guest.call_on_invite(&mut store, &call).await {
                    return Err(AdmissionError::Trial(
                        instance::failure_in(&store, error, &limits).to_string(),
                    ));
                }
            }
            Kind::Flow => {
                let indices = loaded.flow.as_ref().ok_or_else(|| missing(*kind))?;
                indices.load(&mut store, &instance).map_err(wrong)?;
            }
            Kind::Provider => {
                let indices = loaded.provider.as_ref().ok_or_else(|| missing(*kind))?;
                indices.load(&mut store, &instance).map_err(wrong)?;
            }
            Kind::Connector => {
                let indices = loaded.connector.as_ref().ok_or_else(|| missing(*kind))?;
                indices.load(&mut store, &instance).map_err(wrong)?;
            }
        }
    }
    Ok(())
}

fn canned_call() -> CallInfo {
    CallInfo {
        call_id: "0".repeat(28),
        tenant: "trial".to_owned(),
        trunk: None,
        direction: Direction::Inbound,
        source: Endpoint {
            host: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
            port: 5060,
            transport: Transport::Udp,
        },
        request_uri: "sip:trial@example.invalid".to_owned(),
        called: "trial".to_owned(),
        caller: "trial".to_owned(),
        from_uri: "sip:trial@example.invalid".to_owned(),
        from_display: None,
        to_uri: "sip:trial@example.invalid".to_owned(),
        attestation: Attestation::None,
        codecs: vec!["PCMU".to_owned()],
        headers: Vec::new(),
        received_ms: 0,
        ext: Vec::new(),
    }
}
