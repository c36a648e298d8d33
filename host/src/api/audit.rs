//! The audit log of a tenant.

use super::Api;
use super::auth::{Scope, Tenant};
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
