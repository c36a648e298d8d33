//! HTTP requests of carriers. They carry no token of ours: the tenant's provider plugin checks
//! their signature, which covers the URL as the carrier called it and the body as it came.

use super::Api;
use super::edge::{AsCalled, Foreign};
use super::listener::Peer;
use super::problem::Problem;
use crate::config::{Config, ListenTransport, TenantConfig};
use crate::node::snapshot;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::Response;
use axum::routing::any;
use axum::{Extension, Router};
use b2bua::decision::DecisionFailure;
use plugin_host::{Kind, Webhook, WebhookReply};
use std::collections::BTreeMap;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/webhooks/{tenant}/{plugin}", any(of_plugin))
        .route("/webhooks/{tenant}/{plugin}/{*rest}", any(below_plugin))
        .route("/twilio", any(of_the_only_one))
        .route("/twilio/status", any(of_the_only_one))
        .route("/api/v1/sip/inbound/webhook", any(of_the_only_one))
        .route("/api/v1/sip/inbound/status", any(of_the_only_one))
}

/// A request as it came.
type Parts = (
    Method,
    Extension<AsCalled>,
    ConnectInfo<Peer>,
    HeaderMap,
    Bytes,
);

async fn of_plugin(
    State(api): State<Api>,
    Path((tenant, plugin)): Path<(String, String)>,
    parts: Parts,
) -> Result<Response, Problem> {
    let config = api.deps.config.load_full();
    let tenant = config.tenant(&tenant).ok_or_else(unknown)?;
    ask(&api, &config, tenant, &plugin, parts).await
}

async fn below_plugin(
    State(api): State<Api>,
    Path((tenant, plugin, _)): Path<(String, String, String)>,
    parts: Parts,
) -> Result<Response, Problem> {
    of_plugin(State(api), Path((tenant, plugin)), parts).await
}

/// The paths of systems that had one tenant: for the only tenant with a provider `twilio`.
async fn of_the_only_one(State(api): State<Api>, parts: Parts) -> Result<Response, Problem> {
    let config = api.deps.config.load_full();
    let registry = api.deps.plugins.registry();
    let mut having = config.tenants.iter().filter(|tenant| {
        registry
            .plugin(&tenant.id, "twilio")
            .is_some_and(|plugin| plugin.has(Kind::Provider))
    });
    match (having.next(), having.next()) {
        (Some(tenant), None) => ask(&api, &config, tenant, "twilio", parts).await,
        (None, _) => Err(unknown()),
        (Some(_), Some(_)) => Err(Problem::not_found(
            "several tenants have a provider `twilio`: use /webhooks/TENANT/twilio",
        )),
    }
}

async fn ask(
    api: &Api,
    config: &Config,
    tenant: &TenantConfig,
    plugin: &str,
    parts: Parts,
) -> Result<Response, Problem> {
    let (method, Extension(AsCalled(called)), ConnectInfo(Peer(peer)), headers, body) = parts;
    let mut joined = BTreeMap::<String, String>::new();
    for (name, value) in &headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        joined
            .entry(name.as_str().to_owned())
            .and_modify(|all| {
                all.push_str(", ");
                all.push_str(&value);
            })
            .or_insert_with(|| value.into_owned());
    }
    let webhook = Webhook {
        method: method.as_str().to_owned(),
        url: format!("{}{called}", config.http.public_url),
        headers: joined.into_iter().collect(),
        body: body.to_vec(),
        ext: vec![
            ("sip-uri".to_owned(), sip_uri(config, tenant)),
            ("public-url".to_owned(), config.http.public_url.clone()),
            ("remote".to_owned(), peer.to_string()),
        ],
    };
    let reply = api
        .deps
        .plugins
        .webhook(&tenant.id, plugin, webhook)
        .await
        .map_err(|failure| problem(&tenant.id, plugin, &failure))?;
    for (kind, _) in &reply.notices {
        tracing::debug!(tenant = tenant.id, plugin, kind, "a webhook told something");
    }
    Ok(response(reply))
}

/// This host's SIP address, such that a call to it is recognised as this tenant's.
fn sip_uri(config: &Config, tenant: &TenantConfig) -> String {
    let Some(listen) = config.sip.listen.first() else {
        return String::new();
    };
    let advertised = snapshot::advertised(config, listen.address);
    let (host, port) = match advertised.rsplit_once(':') {
        Some((host, port)) => (host.to_owned(), port.to_owned()),
        None => (advertised, "5060".to_owned()),
    };
    let host = tenant
        .domains
        .first()
        .or(config.sip.domain.as_ref())
        .cloned()
        .unwrap_or(host);
    let port = if port == "5060" {
        String::new()
    } else {
        format!(":{port}")
    };
    match listen.transport {
        ListenTransport::Udp => format!("sip:{host}{port}"),
        ListenTransport::Tcp => format!("sip:{host}{port};transport=tcp"),
    }
}

fn response(reply: WebhookReply) -> Response {
    let mut response = Response::new(Body::from(reply.body));
    // A plugin says what it likes; what cannot be sent is an error of its own.
    *response.status_mut() = StatusCode::from_u16(reply.status)
        .ok()
        .filter(|status| status.as_u16() >= 200)
        .unwrap_or(StatusCode::BAD_GATEWAY);
    for (name, value) in reply.headers {
        let known = HeaderName::from_bytes(name.as_bytes())
            .ok()
            .filter(|name| !OURS.contains(&name.as_str()));
        if let (Some(name), Ok(value)) = (known, HeaderValue::from_bytes(value.as_bytes())) {
            response.headers_mut().append(name, value);
        }
    }
    response.extensions_mut().insert(Foreign);
    response
}

fn problem(tenant: &str, plugin: &str, failure: &DecisionFailure) -> Problem {
    if !matches!(
        failure,
        DecisionFailure::Unknown { .. } | DecisionFailure::MissingExport { .. }
    ) {
        tracing::warn!(tenant, plugin, %failure, "a provider did not answer a webhook");
    }
    let failed = |status, detail: &str| Problem::new(status, "provider_failed", detail);
    match failure {
        DecisionFailure::Unknown { .. }
        | DecisionFailure::MissingExport { .. }
        | DecisionFailure::NoRouter => unknown(),
        DecisionFailure::Overload { .. } => Problem {
            retry_after: Some(1),
            ..failed(
                StatusCode::SERVICE_UNAVAILABLE,
                "the tenant's plugins are busy",
            )
        },
        DecisionFailure::Deadline { .. } => failed(
            StatusCode::GATEWAY_TIMEOUT,
            "the provider plugin did not answer in time",
        ),
        DecisionFailure::OutputLimit { .. }
        | DecisionFailure::Reported { .. }
        | DecisionFailure::Trap { .. } => failed(
            StatusCode::BAD_GATEWAY,
            "the provider plugin failed; the host's log says how",
        ),
    }
}

fn unknown() -> Problem {
    Problem::not_found("no provider plugin answers here")
}

/// About the connection, and so ours.
const OURS: &[&str] = &[
    "connection",
    "content-length",
    "keep-alive",
    "proxy-authenticate",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
