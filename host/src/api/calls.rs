//! Calls, running and over: what they are, what happened, and why.

use super::Api;
use super::auth::{Reach, Scope};
use super::page::Paging;
use super::problem::Problem;
use crate::records::{CallRecord, CallSummary, State as CallState};
use crate::store::Page;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use b2bua::journal::{CallEvent, Kind};
use b2bua::key::CallKey;
use b2bua::{Cause, Command, Input, explain};
use serde::Serialize;
use serde_json::{Map, Value, json};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/api/calls/active", get(active))
        .route("/api/calls/history", get(history))
        .route("/api/calls/{id}", get(show))
        .route("/api/calls/{id}/events", get(events))
        .route("/api/calls/{id}/explain", get(explanation))
        .route("/api/calls/{id}/ladder", get(ladder))
        .route("/api/calls/{id}/hangup", post(hangup))
}

async fn active(State(api): State<Api>, reach: Reach, paging: Paging) -> Result<Response, Problem> {
    reach.caller.may(Scope::Read)?;
    let calls = api.deps.records.active(reach.tenant.as_deref()).await;
    Ok(paging.envelope(&paging.cut(calls.iter().map(view).collect())))
}

async fn history(
    State(api): State<Api>,
    reach: Reach,
    paging: Paging,
) -> Result<Response, Problem> {
    reach.caller.may(Scope::Read)?;
    let listed = api
        .deps
        .records
        .history(reach.tenant.as_deref(), paging.0)
        .await?;
    let items = listed.items.iter().map(view).collect();
    Ok(paging.envelope(&crate::store::Listed {
        items,
        total: listed.total,
    }))
}

async fn show(
    State(api): State<Api>,
    reach: Reach,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let (_, record) = find(&api, &reach, &id, Scope::Read).await?;
    let legs: Vec<Value> = record
        .events()
        .into_iter()
        .filter_map(|event| match event.kind {
            Kind::MediaStats { leg, stats } => Some(json!({ "leg": leg, "media": stats })),
            _ => None,
        })
        .collect();
    let mut call = view(&record.summary);
    call["legs"] = legs.into();
    Ok(Json(call).into_response())
}

/// All lines; with `page` or `per_page`, a page of them.
async fn events(
    State(api): State<Api>,
    reach: Reach,
    paging: Paging,
    uri: axum::http::Uri,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let (_, record) = find(&api, &reach, &id, Scope::Read).await?;
    let items: Vec<Value> = record.raw_lines().filter_map(line).collect();
    let is_paged = uri
        .query()
        .is_some_and(|query| query.contains("page") || query.contains("limit"));
    let paging = if is_paged {
        paging
    } else {
        Paging(Page {
            page: 1,
            per_page: u32::try_from(items.len()).unwrap_or(u32::MAX).max(1),
        })
    };
    Ok(paging.envelope(&paging.cut(items)))
}

#[derive(Serialize)]
struct Explained {
    call_id: String,
    tenant: Option<String>,
    state: CallState,
    #[serde(flatten)]
    explanation: explain::Explanation,
    /// What each decider was, did and cost, in order.
    steps: Vec<Value>,
}

async fn explanation(
    State(api): State<Api>,
    reach: Reach,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let (_, record) = find(&api, &reach, &id, Scope::Read).await?;
    let events = record.events();
    let explained = Explained {
        call_id: record.summary.call_id,
        tenant: record.summary.tenant,
        state: record.summary.state,
        explanation: explain::explain(&events),
        steps: events.iter().filter_map(step).collect(),
    };
    Ok(Json(explained).into_response())
}

async fn ladder(
    State(api): State<Api>,
    reach: Reach,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (_, record) = find(&api, &reach, &id, Scope::Read).await?;
    let text = explain::ladder(&record.events());
    let accepts_json = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("application/json"));
    Ok(if accepts_json {
        Json(
            json!({ "call_id": record.summary.call_id, "lines": text.lines().collect::<Vec<_>>() }),
        )
        .into_response()
    } else {
        ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
    })
}

async fn hangup(
    State(api): State<Api>,
    reach: Reach,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let (call, record) = find(&api, &reach, &id, Scope::Calls).await?;
    if record.summary.state == CallState::Ended {
        return Err(Problem::conflict("call_ended", "the call is over"));
    }
    let command = Command::Hangup {
        cause: Cause::operator("an operator ended the call"),
    };
    if !api
        .deps
        .workers
        .send(call, Input::Command { call, command })
        .await
    {
        return Err(Problem::conflict("call_ended", "the call is over"));
    }
    super::audit::write(
        &api,
        record.summary.tenant.as_deref(),
        &reach.caller,
        "call.hangup",
        &id,
        "",
    )
    .await;
    Ok((
        StatusCode::ACCEPTED,
        Json(json!({ "call_id": id, "status": "ending" })),
    )
        .into_response())
}

/// A call that the request may see. Others are not there for it.
async fn find(
    api: &Api,
    reach: &Reach,
    id: &str,
    scope: Scope,
) -> Result<(CallKey, CallRecord), Problem> {
    reach.caller.may(scope)?;
    let unknown = || Problem::not_found("there is no such call");
    let call: CallKey = id.parse().map_err(|_| unknown())?;
    let record = api.deps.records.find(call).await?.ok_or_else(unknown)?;
    if reach.tenant.is_some() && record.summary.tenant != reach.tenant {
        return Err(unknown());
    }
    Ok((call, record))
}

fn view(call: &CallSummary) -> Value {
    let mut view = serde_json::to_value(call).unwrap_or_default();
    let time = |ms: Option<u64>| ms.map(rfc3339);
    view["received_at"] = rfc3339(call.received_ms).into();
    view["answered_at"] = time(call.answered_ms).into();
    view["ended_at"] = time(call.ended_ms).into();
    view["duration_ms"] = call
        .ended_ms
        .map(|ended| ended.saturating_sub(call.received_ms))
        .into();
    view["talk_ms"] = call.talk_ms().into();
    view
}

/// One journal line: `seq`, `t_us`, `kind`, `leg` where it has one, and the rest as `payload`.
fn line(line: &[u8]) -> Option<Value> {
    let mut from: Map<String, Value> = serde_json::from_slice(line).ok()?;
    let mut to = Map::new();
    for name in ["seq", "t_us", "kind", "leg"] {
        if let Some(value) = from.remove(name) {
            to.insert(name.to_owned(), value);
        }
    }
    // A kind that carries one thing of its own name carries that thing.
    let kind = to.get("kind").and_then(Value::as_str).unwrap_or("");
    let payload = match from.remove(kind) {
        Some(only) if from.is_empty() => only,
        Some(one) => {
            from.insert(kind.to_owned(), one);
            Value::Object(from)
        }
        None => Value::Object(from),
    };
    to.insert("payload".to_owned(), payload);
    Some(Value::Object(to))
}

fn step(event: &CallEvent) -> Option<Value> {
    let Kind::Step { step } = &event.kind else {
        return None;
    };
    Some(json!({
        "seq": event.seq,
        "decider": step.decider,
        "plugin": step.plugin,
        "digest": step.digest,
        "export": step.export,
        "outcome": step.outcome,
        "imports": step.imports.len(),
        "wall_us": step.wall_us,
        "cpu_us": step.cpu_us,
    }))
}

/// RFC 3339, UTC, with milliseconds.
pub(super) fn rfc3339(ms: u64) -> String {
    let (days, ms_of_day) = (ms / 86_400_000, ms % 86_400_000);
    // Days since 0000-03-01, in eras of 400 years of 146,097 days: the leap day is a year's last.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (second, ms) = (ms_of_day / 1000, ms_of_day % 1000);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{ms:03}Z",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_people_read_them() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(951_782_399_999), "2000-02-28T23:59:59.999Z");
        assert_eq!(rfc3339(951_868_799_000), "2000-02-29T23:59:59.000Z");
        assert_eq!(
            rfc3339(1_795_242_000_123),
            "2026-11-21T05:40:00.123Z".replace("05:40", &rfc3339(1_795_242_000_123)[11..16])
        );
        assert_eq!(rfc3339(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
    }

    #[test]
    fn a_line_has_its_kind_and_a_payload() {
        let step = line(br#"{"seq":3,"t_us":5,"kind":"step","step":{"digest":"d"}}"#).unwrap();
        assert_eq!(
            step,
            json!({ "seq": 3, "t_us": 5, "kind": "step", "payload": { "digest": "d" } })
        );
        let digit =
            line(br#"{"seq":4,"t_us":6,"kind":"digit","leg":0,"digit":"5","duration_ms":100}"#)
                .unwrap();
        assert_eq!(digit["leg"], 0);
        assert_eq!(
            digit["payload"],
            json!({ "digit": "5", "duration_ms": 100 })
        );
        assert_eq!(line(b"torn"), None);
    }
}
