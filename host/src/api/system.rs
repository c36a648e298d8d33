//! What the program says of itself: health, readiness, figures.

use super::Api;
use crate::records::State as CallState;
use crate::telemetry::{Metric, metrics};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use std::sync::atomic::Ordering;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/", get(info))
        .route("/info", get(info))
        .route("/health", get(health))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/ready", get(ready))
        .route("/metrics", get(figures))
}

async fn info() -> Response {
    let info = json!({
        "name": "gatepost",
        "version": env!("CARGO_PKG_VERSION"),
        "paths": ["/health", "/ready", "/metrics", "/api/plugins", "/api/bindings", "/api/calls/active", "/api/calls/history"],
    });
    Json(info).into_response()
}

async fn health(State(api): State<Api>) -> Response {
    let health = json!({
        "status": "healthy",
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_s": api.started.elapsed().as_secs(),
        "active_calls": api.deps.workers.calls(),
    });
    Json(health).into_response()
}

/// Whether calls should be sent here. The database is told of, but no call needs it.
async fn ready(State(api): State<Api>) -> Response {
    let store = if api.deps.store.is_up().await {
        "up"
    } else {
        "down"
    };
    if api.draining.load(Ordering::Relaxed) {
        let body = Json(json!({ "status": "draining", "store": store }));
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            [(header::RETRY_AFTER, "30")],
            axum::Extension(super::edge::Foreign),
            body,
        )
            .into_response();
    }
    Json(json!({ "status": "ready", "store": store })).into_response()
}

/// Prometheus text, or the statistics of calls for whoever accepts JSON.
async fn figures(State(api): State<Api>, headers: HeaderMap) -> Response {
    publish(&api);
    let accepts_json = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("application/json"));
    if !accepts_json {
        return (
            [(header::CONTENT_TYPE, "text/plain; version=0.0.4")],
            metrics::prometheus(),
        )
            .into_response();
    }
    let active = api.deps.records.active(None).await;
    let in_state = |state: CallState| active.iter().filter(|call| call.state == state).count();
    let read = metrics::read;
    let ended_well = read(Metric::CallsEnded2xx);
    let failed = read(Metric::CallsEnded3xx)
        + read(Metric::CallsEnded4xx)
        + read(Metric::CallsEnded5xx)
        + read(Metric::CallsEnded6xx);
    let answered = read(Metric::CallsAnswered);
    let statistics = json!({
        "active_calls": read(Metric::CallsActive),
        "answered_now": in_state(CallState::Answered),
        "ringing_now": in_state(CallState::Ringing),
        "total_calls": read(Metric::CallsStarted),
        "answered_calls": answered,
        "completed_calls": ended_well,
        "failed_calls": failed,
        "talk_seconds": read(Metric::CallsTalkSeconds),
        "average_talk_seconds": if answered == 0 { 0.0 } else { read(Metric::CallsTalkSeconds) as f64 / answered as f64 },
        "uptime_s": api.started.elapsed().as_secs(),
    });
    Json(statistics).into_response()
}

/// Takes the figures from where their truth is.
fn publish(api: &Api) {
    use metrics::set;
    let workers = &api.deps.workers;
    set(Metric::CallsActive, workers.calls() as u64);
    let sum = |figure: fn(&crate::worker::Load) -> u64| workers.loads().map(figure).sum();
    set(
        Metric::SipConnections,
        sum(|load| load.connections.load(Ordering::Relaxed) as u64),
    );
    set(
        Metric::SipDropped,
        sum(|load| load.dropped.load(Ordering::Relaxed)),
    );
    set(
        Metric::SipOverflowed,
        sum(|load| load.overflowed.load(Ordering::Relaxed)),
    );
    api.deps.records.publish();
    let media = (api.deps.media)();
    set(Metric::MediaReceived, media.received);
    set(Metric::MediaSent, media.sent);
    set(Metric::MediaLegs, media.legs);
    set(Metric::MediaDroppedNoLeg, media.dropped_no_leg);
    set(Metric::MediaDroppedSource, media.dropped_source);
    set(Metric::MediaDroppedMalformed, media.dropped_malformed);
    set(Metric::MediaDroppedEvents, media.dropped_events);
    set(Metric::MediaDroppedTransmits, media.dropped_transmits);
}
