//! Bindings: which calls a plugin is asked about, with what settings, and what happens when
//! it fails. A plugin has one binding at most, and its id is the plugin's name.

use super::Api;
use super::auth::{Scope, Tenant};
use super::body::JsonBody;
use super::page::Paging;
use super::plugins::{change, find};
use super::problem::Problem;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use plugin_host::registry::PluginView;
use serde::Deserialize;
use serde_json::{Map, Value, json};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/api/bindings", get(list).post(create))
        .route("/api/bindings/{id}", get(show).put(replace).delete(remove))
}

/// What a binding says. What is left out of `PUT` and `POST` keeps the plugin's value, except
/// what calls it is for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Binding {
    plugin: Option<String>,
    #[serde(rename = "match", default)]
    calls: Match,
    priority: Option<u32>,
    config: Option<Value>,
    grants: Option<Value>,
    limits: Option<Value>,
    on_failure: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Match {
    default: bool,
    numbers: Vec<String>,
    trunks: Vec<String>,
}

async fn list(State(api): State<Api>, tenant: Tenant, paging: Paging) -> Result<Response, Problem> {
    tenant.may(Scope::Read)?;
    let mut bound: Vec<PluginView> = api.deps.plugins.registry().list(&tenant.id);
    bound.retain(|plugin| plugin.settings.bind.is_some());
    bound.sort_by_key(|plugin| plugin.settings.bind.as_ref().map(|bind| bind.priority));
    Ok(paging.envelope(&paging.cut(bound.iter().filter_map(view).collect())))
}

async fn show(
    State(api): State<Api>,
    tenant: Tenant,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    tenant.may(Scope::Read)?;
    Ok(Json(bound(&api, &tenant, &id)?).into_response())
}

async fn create(
    State(api): State<Api>,
    tenant: Tenant,
    JsonBody(binding): JsonBody<Binding>,
) -> Result<Response, Problem> {
    let plugin = binding
        .plugin
        .clone()
        .ok_or_else(|| Problem::invalid("plugin: which one?"))?;
    if find(&api, &tenant, &plugin)?.settings.bind.is_some() {
        return Err(Problem::conflict(
            "binding_exists",
            format!("{plugin} is bound: change that binding"),
        ));
    }
    write(&api, &tenant, &plugin, binding, "binding.create").await?;
    let location = format!("/api/bindings/{plugin}");
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        Json(bound(&api, &tenant, &plugin)?),
    )
        .into_response())
}

async fn replace(
    State(api): State<Api>,
    tenant: Tenant,
    Path(id): Path<String>,
    JsonBody(binding): JsonBody<Binding>,
) -> Result<Response, Problem> {
    if binding.plugin.as_ref().is_some_and(|plugin| *plugin != id) {
        return Err(Problem::invalid("plugin: a binding stays with its plugin"));
    }
    bound(&api, &tenant, &id)?;
    write(&api, &tenant, &id, binding, "binding.replace").await?;
    Ok(Json(bound(&api, &tenant, &id)?).into_response())
}

/// The plugin stays, and is asked about no call.
async fn remove(
    State(api): State<Api>,
    tenant: Tenant,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    bound(&api, &tenant, &id)?;
    change(&api, &tenant, &id, "binding.delete", |settings| {
        settings.remove("bind");
    })
    .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn write(
    api: &Api,
    tenant: &Tenant,
    plugin: &str,
    binding: Binding,
    action: &str,
) -> Result<(), Problem> {
    let Match {
        default,
        numbers,
        trunks,
    } = binding.calls;
    if !default && numbers.is_empty() && trunks.is_empty() {
        return Err(Problem::invalid(
            "match: `default`, `numbers` or `trunks` says which calls",
        ));
    }
    let mut bind = json!({ "default": default, "numbers": numbers, "trunks": trunks });
    if let Some(priority) = binding.priority {
        bind["priority"] = priority.into();
    }
    let others = [
        ("config", binding.config),
        ("grants", binding.grants),
        ("limits", binding.limits),
        ("on_failure", binding.on_failure),
    ];
    change(
        api,
        tenant,
        plugin,
        action,
        |settings: &mut Map<String, Value>| {
            settings.insert("bind".to_owned(), bind);
            for (key, value) in others {
                if let Some(value) = value {
                    settings.insert(key.to_owned(), value);
                }
            }
        },
    )
    .await
}

fn bound(api: &Api, tenant: &Tenant, id: &str) -> Result<Value, Problem> {
    let unbound = || Problem::not_found("there is no such binding");
    let plugin = api
        .deps
        .plugins
        .registry()
        .view(&tenant.id, id)
        .ok_or_else(unbound)?;
    view(&plugin).ok_or_else(unbound)
}

fn view(plugin: &PluginView) -> Option<Value> {
    let bind = plugin.settings.bind.as_ref()?;
    Some(json!({
        "id": plugin.name,
        "plugin": plugin.name,
        "kinds": plugin.kinds,
        "version": Some(&plugin.active).filter(|digest| !digest.is_empty()),
        "match": { "default": bind.default, "numbers": bind.numbers, "trunks": bind.trunks },
        "priority": bind.priority,
        "config": plugin.settings.config,
        "grants": plugin.settings.grants,
        "limits": plugin.settings.limits,
        "on_failure": plugin.settings.on_failure,
    }))
}
