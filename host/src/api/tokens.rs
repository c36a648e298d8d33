//! API tokens of a tenant. A token is shown in the answer that makes it, and never again.

use super::Api;
use super::auth::{Scope, Tenant, hash_token};
use super::body::JsonBody;
use super::calls::rfc3339;
use super::page::Paging;
use super::plugins::audit;
use super::problem::Problem;
use crate::node::secret;
use crate::store::now_ms;
use crate::store::tokens::TokenRow;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/api/keys", get(list).post(create))
        .route("/api/keys/{id}", delete(remove))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    name: String,
    scopes: Vec<String>,
    /// Seconds from now; without it the token does not expire.
    expires_in_s: Option<u64>,
}

async fn create(
    State(api): State<Api>,
    tenant: Tenant,
    JsonBody(create): JsonBody<Create>,
) -> Result<Response, Problem> {
    tenant.may(Scope::Admin)?;
    if create.name.is_empty()
        || create.name.len() > 100
        || create.name.chars().any(char::is_control)
    {
        return Err(Problem::invalid(
            "name: 1 to 100 characters, none of them control characters",
        ));
    }
    let known: Vec<&str> = Scope::ALL.iter().map(|scope| scope.name()).collect();
    let scopes: Option<Vec<Scope>> = create
        .scopes
        .iter()
        .map(|name| Scope::parse(name))
        .collect();
    let scopes = scopes
        .filter(|scopes| !scopes.is_empty())
        .ok_or_else(|| Problem::invalid(format!("scopes: some of {}", known.join(", "))))?;
    let random = |_| {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "no_randomness",
            "the system gives no random numbers",
        )
    };
    let token = format!(
        "gp_{}",
        hex::encode(secret::random::<24>().map_err(random)?)
    );
    let now = now_ms();
    let row = TokenRow {
        id: hex::encode(secret::random::<8>().map_err(random)?),
        tenant: tenant.id.clone(),
        name: create.name,
        hash: hash_token(&token).to_vec(),
        prefix: token[..9].to_owned(),
        scopes: scopes.iter().map(|scope| scope.name().to_owned()).collect(),
        created_ms: now,
        expires_ms: create
            .expires_in_s
            .map(|seconds| now.saturating_add(seconds.saturating_mul(1000))),
    };
    api.deps.store.insert_token(&row).await?;
    audit(
        &api,
        &tenant,
        "token.create",
        &row.id,
        &row.scopes.join(" "),
    )
    .await;
    let mut answer = view(&row);
    answer["token"] = token.into();
    let location = format!("/api/keys/{}", row.id);
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        Json(answer),
    )
        .into_response())
}

async fn list(State(api): State<Api>, tenant: Tenant, paging: Paging) -> Result<Response, Problem> {
    tenant.may(Scope::Admin)?;
    let tokens = api.deps.store.tokens(&tenant.id).await?;
    Ok(paging.envelope(&paging.cut(tokens.iter().map(view).collect())))
}

async fn remove(
    State(api): State<Api>,
    tenant: Tenant,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    tenant.may(Scope::Admin)?;
    if !api.deps.store.delete_token(&tenant.id, &id).await? {
        return Err(Problem::not_found("there is no such key"));
    }
    audit(&api, &tenant, "token.delete", &id, "").await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn view(token: &TokenRow) -> Value {
    json!({
        "id": token.id,
        "name": token.name,
        "prefix": token.prefix,
        "scopes": token.scopes,
        "created_at": rfc3339(token.created_ms),
        "expires_at": token.expires_ms.map(rfc3339),
    })
}
