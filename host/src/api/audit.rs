//! The audit log of a tenant.

use super::Api;
use super::auth::{Caller, Scope, Tenant};
use super::page::Paging;
use super::problem::Problem;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/api/admin/audit", get(list))
}

async fn list(State(api): State<Api>, tenant: Tenant, paging: Paging) -> Result<Response, Problem> {
    tenant.may(Scope::Admin)?;
    Ok(paging.envelope(&api.deps.store.audit_log(&tenant.id, paging.0).await?))
}

/// What was done stays done where the database is away: the log has it then.
pub(super) async fn write(
    api: &Api,
    tenant: Option<&str>,
    caller: &Caller,
    action: &str,
    object: &str,
    detail: &str,
) {
    tracing::info!(
        tenant,
        actor = caller.name,
        action,
        object,
        detail,
        "changed over REST"
    );
    if let Err(error) = api
        .deps
        .store
        .audit(tenant, &caller.name, action, object, detail)
        .await
    {
        tracing::error!(%error, "the audit log lacks a line");
    }
}
