//! Whose request it is. A bearer token is the platform admin's, or one of a tenant's, which
//! may do what its scopes say. Only hashes are compared, in constant time.

use super::Api;
use super::problem::Problem;
use crate::config::{Config, Secret};
use crate::telemetry::{Metric, count};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::fmt;
use subtle::ConstantTimeEq as _;

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    /// Make a version the one that answers; change settings and bindings.
    Activate,
    /// Make and delete tokens of the tenant.
    Admin,
    /// Act on running calls.
    Calls,
    /// Bring new versions.
    Publish,
    Read,
}

impl Scope {
    pub(super) const ALL: [Scope; 5] = [
        Scope::Activate,
        Scope::Admin,
        Scope::Calls,
        Scope::Publish,
        Scope::Read,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Scope::Activate => "activate",
            Scope::Admin => "admin",
            Scope::Calls => "calls",
            Scope::Publish => "publish",
            Scope::Read => "read",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Scope> {
        Scope::ALL.into_iter().find(|scope| scope.name() == name)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who asks.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// For the audit log: `admin`, or `token:ID`.
    pub(super) name: String,
    /// None for the platform admin, who may act for any.
    tenant: Option<String>,
    scopes: BTreeSet<Scope>,
}

impl Caller {
    pub(super) fn may(&self, scope: Scope) -> Result<(), Problem> {
        if self.scopes.contains(&scope) {
            Ok(())
        } else {
            Err(Problem::forbidden(scope.name()))
        }
    }
}

/// The platform admin's token, and how others are found.
pub(super) struct Auth {
    admin: [u8; 32],
}

impl Auth {
    pub(super) fn new(admin: &Secret) -> Self {
        Auth {
            admin: hash_token(admin.reveal()),
        }
    }
}

/// What is kept of a token. Tokens are random, so one round is enough.
pub fn hash_token(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Everything under `/api` needs a token, also what does not exist; the carriers' own paths
/// there do not (their provider verifies them).
pub(super) async fn authenticate(
    State(api): State<Api>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    let is_protected =
        (path == "/api" || path.starts_with("/api/")) && !path.starts_with("/api/v1/sip/inbound/");
    if is_protected {
        match caller(&api, request.headers()).await {
            Ok(caller) => {
                request.extensions_mut().insert(caller);
            }
            Err(problem) => {
                count(Metric::ApiUnauthorized);
                return problem.into_response();
            }
        }
    }
    next.run(request).await
}

async fn caller(api: &Api, headers: &HeaderMap) -> Result<Caller, Problem> {
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .ok_or_else(Problem::unauthorized)?;
    let (scheme, token) = given.split_once(' ').ok_or_else(Problem::unauthorized)?;
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() || token.len() > LONGEST_TOKEN {
        return Err(Problem::unauthorized());
    }
    let hash = hash_token(token);
    if bool::from(hash.ct_eq(&api.auth.admin)) {
        return Ok(Caller {
            name: "admin".to_owned(),
            tenant: None,
            scopes: Scope::ALL.into(),
        });
    }
    let row = api
        .deps
        .store
        .token_by_hash(&hash)
        .await?
        .ok_or_else(Problem::unauthorized)?;
    if !bool::from(row.hash.as_slice().ct_eq(&hash)) {
        return Err(Problem::unauthorized());
    }
    Ok(Caller {
        name: format!("token:{}", row.id),
        tenant: Some(row.tenant),
        scopes: row
            .scopes
            .iter()
            .filter_map(|name| Scope::parse(name))
            .collect(),
    })
}

impl FromRequestParts<Api> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        parts
            .extensions
            .get::<Caller>()
            .cloned()
            .ok_or_else(Problem::unauthorized)
    }
}

/// The tenant that a request is about: the token's, or for the platform admin the one that
/// `X-Tenant-Id` names, or the only one that there is.
#[derive(Debug, Clone)]
pub(super) struct Tenant {
    pub(super) id: String,
    pub(super) caller: Caller,
}

impl FromRequestParts<Api> for Tenant {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let reach = Reach::from_request_parts(parts, api).await?;
        let id = match reach.tenant {
            Some(id) => id,
            None => match api.deps.config.load().tenants.as_slice() {
                [only] => only.id.clone(),
                _ => {
                    return Err(Problem::new(
                        axum::http::StatusCode::BAD_REQUEST,
                        "tenant_required",
                        "there are several tenants: name one with X-Tenant-Id",
                    ));
                }
            },
        };
        Ok(Tenant {
            id,
            caller: reach.caller,
        })
    }
}

impl Tenant {
    pub(super) fn may(&self, scope: Scope) -> Result<(), Problem> {
        self.caller.may(scope)
    }
}

/// What a request may see: one tenant's, or, for the platform admin, everything.
#[derive(Debug, Clone)]
pub(super) struct Reach {
    pub(super) tenant: Option<String>,
    pub(super) caller: Caller,
}

impl FromRequestParts<Api> for Reach {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, api).await?;
        let asked = match parts.headers.get("x-tenant-id") {
            Some(value) => Some(value.to_str().map_err(|_| unknown_tenant())?.to_owned()),
            None => None,
        };
        let tenant = match (caller.tenant.clone(), asked) {
            (Some(own), Some(asked)) if own != asked => return Err(unknown_tenant()),
            (Some(own), _) => Some(own),
            (None, asked) => asked,
        };
        if let Some(id) = &tenant
            && !is_known(&api.deps.config.load(), id)
        {
            return Err(unknown_tenant());
        }
        Ok(Reach { tenant, caller })
    }
}

fn is_known(config: &Config, id: &str) -> bool {
    config.tenant(id).is_some()
}

fn unknown_tenant() -> Problem {
    Problem::not_found("there is no such tenant")
}

const LONGEST_TOKEN: usize = 4096;
