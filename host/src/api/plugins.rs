//! Plugins and their versions: uploads, activation, settings.
//!
//! A name may have a file in the watched folder and versions that came over REST. The last
//! change decides which one answers; at a start the file comes last, so it answers.

use super::Api;
use super::auth::{Scope, Tenant};
use super::body::{JsonBody, Upload};
use super::page::Paging;
use super::problem::Problem;
use crate::telemetry::{Metric, count};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use plugin_host::check::MAX_SIZE;
use plugin_host::registry::{PluginView, VersionView};
use plugin_host::{AdmissionError, Deploy, Origin, Settings};
use serde::Deserialize;
use serde_json::{Map, Value, json};

pub(super) fn routes() -> Router<Api> {
    let uploads = Router::new()
        .route(
            "/api/plugins/{name}",
            get(show).put(put).patch(patch).delete(remove),
        )
        .route("/api/plugins/{name}/versions", get(versions).post(upload))
        // A form is a little larger than its file.
        .layer(DefaultBodyLimit::max(MAX_SIZE + (64 << 10)));
    Router::new()
        .route("/api/plugins", get(list).post(create))
        .route("/api/plugins/{name}/report", get(report))
        .route(
            "/api/plugins/{name}/versions/{version}",
            get(version).delete(remove_version),
        )
        .route("/api/plugins/{name}/versions/{version}/wasm", get(wasm))
        .route(
            "/api/plugins/{name}/versions/{version}/report",
            get(version_report),
        )
        .route("/api/plugins/{name}/activate", post(activate))
        .route("/api/plugins/{name}/rollback", post(roll_back))
        .route("/api/plugins/{name}/config", get(config).put(set_config))
        .route("/api/plugins/{name}/grants", get(grants).put(set_grants))
        .merge(uploads)
}

async fn list(State(api): State<Api>, tenant: Tenant, paging: Paging) -> Result<Response, Problem> {
    tenant.may(Scope::Read)?;
    let plugins: Vec<Value> = api
        .deps
        .plugins
        .registry()
        .list(&tenant.id)
        .iter()
        .map(|plugin| view(&tenant.id, plugin))
        .collect();
    Ok(paging.envelope(&paging.cut(plugins)))
}

#[derive(Deserialize)]
struct Create {
    name: String,
    /// For people; what a plugin is, its component says.
    #[serde(default, rename = "world")]
    _world: Option<String>,
    /// As in a plugin's `.toml`. An unknown key is refused there.
    #[serde(flatten)]
    settings: Map<String, Value>,
}

async fn create(
    State(api): State<Api>,
    tenant: Tenant,
    JsonBody(create): JsonBody<Create>,
) -> Result<Response, Problem> {
    tenant.may(Scope::Publish)?;
    let name = checked(&create.name)?;
    let settings = settings(Value::Object(create.settings))?;
    if settings.bind.is_some() {
        tenant.may(Scope::Activate)?;
    }
    let _one = api.changing.lock().await;
    let registry = api.deps.plugins.registry();
    if registry.plugin(&tenant.id, name).is_some() {
        return Err(Problem::conflict(
            "plugin_exists",
            format!("there is a plugin named {name}"),
        ));
    }
    registry.set_settings(&tenant.id, name, settings)?;
    audit(&api, &tenant, "plugin.create", name, "").await;
    let location = format!("/api/plugins/{name}");
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        Json(view(&tenant.id, &find(&api, &tenant, name)?)),
    )
        .into_response())
}

async fn show(
    State(api): State<Api>,
    tenant: Tenant,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    tenant.may(Scope::Read)?;
    Ok(Json(view(&tenant.id, &find(&api, &tenant, &name)?)).into_response())
}

/// The active version's report, and why the last file was not taken.
async fn report(
    State(api): State<Api>,
    tenant: Tenant,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    tenant.may(Scope::Read)?;
    let plugin = find(&api, &tenant, &name)?;
    let report = plugin
        .versions
        .iter()
        .find(|version| version.active)
        .map(|version| &version.report);
    Ok(Json(json!({ "name": plugin.name, "active": active(&plugin), "report": report, "last_error": plugin.last_error })).into_response())
}

/// Upload and activate in one step. Makes the plugin where there is none.
async fn put(
    State(api): State<Api>,
    tenant: Tenant,
    Path(name): Path<String>,
    upload: Upload,
) -> Result<Response, Problem> {
    tenant.may(Scope::Activate)?;
    deploy(&api, &tenant, &name, upload, true).await
}

/// A new version, which waits for its activation unless `?activate=true`.
async fn upload(
    State(api): State<Api>,
    tenant: Tenant,
    Path(name): Path<String>,
    uri: Uri,
    upload: Upload,
) -> Result<Response, Problem> {
    let activate = uri
        .query()
        .is_some_and(|query| query.split('&').any(|pair| pair == "activate=true"));
    if activate {
        tenant.may(Scope::Activate)?;
    }
    deploy(&api, &tenant, &name, upload, activate).await
}

async fn deploy(
    api: &Api,
    tenant: &Tenant,
    name: &str,
    upload: Upload,
    activate: bool,
) -> Result<Response, Problem> {
    tenant.may(Scope::Publish)?;
    let name = checked(name)?.to_owned();
    let settings = match upload.fields.get("settings") {
        Some(text) => {
            tenant.may(Scope::Activate)?;
            let value = serde_json::from_str(text)
                .map_err(|error| Problem::invalid(format!("settings: {error}")))?;
            Some(settings(value)?)
        }
        None => None,
    };
    let Ok(_room) = api.uploads.try_acquire() else {
        return Err(Problem::busy(
            "other uploads are being compiled: try again in a moment",
        ));
    };
    let is_known = api
        .deps
        .plugins
        .registry()
        .view(&tenant.id, &name)
        .is_some_and(|plugin| !plugin.versions.is_empty());
    let (plugins, id, by, plugin) = (
        api.deps.plugins.clone(),
        tenant.id.clone(),
        tenant.caller.name.clone(),
        name.clone(),
    );
    let deployed = tokio::task::spawn_blocking(move || {
        let deploy = Deploy {
            tenant: &id,
            name: &plugin,
            bytes: &upload.wasm,
            origin: Origin::Api,
            settings,
            activate,
            by: &by,
        };
        plugins
            .deploy(&deploy)
            .map(|version| version.digest().to_owned())
    });
    // A panic in there is told as what it is: ours.
    let deployed = deployed.await.unwrap_or_else(|_| {
        Err(AdmissionError::Store(
            "the upload's task panicked".to_owned(),
        ))
    });
    count(if deployed.is_ok() {
        Metric::PluginDeployed
    } else {
        Metric::PluginRefused
    });
    let digest = match deployed {
        Ok(digest) => digest,
        Err(error) => {
            audit(api, tenant, "plugin.refuse", &name, &error.to_string()).await;
            return Err(error.into());
        }
    };
    audit(
        api,
        tenant,
        if activate {
            "plugin.deploy"
        } else {
            "plugin.publish"
        },
        &name,
        &digest,
    )
    .await;
    let plugin = find(api, tenant, &name)?;
    let version = plugin
        .versions
        .iter()
        .find(|version| version.digest == digest)
        .ok_or_else(|| Problem::not_found("the version is gone again"))?;
    let status = if is_known && activate {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    let location = format!("/api/plugins/{name}/versions/{digest}");
    Ok((
        status,
        [(header::LOCATION, location)],
        Json(version_view(&name, version)),
    )
        .into_response())
}

/// `bind`, `config`, `grants`, `limits` and `on_failure`, each replaced where it is given;
/// `null` takes it away.
async fn patch(
    State(api): State<Api>,
    tenant: Tenant,
    Path(name): Path<String>,
    JsonBody(changes): JsonBody<Map<String, Value>>,
) -> Result<Response, Problem> {
    change(&api, &tenant, &name, "plugin.patch", |settings| {
        for (key, value) in changes {
            if value.is_null() {
                settings.remove(&key);
            } else {
                settings.insert(key, value);
            }
        }
    })
    .await?;
    Ok(Json(view(&tenant.id, &find(&api, &tenant, &name)?)).into_response())
}

async fn remove(
    State(api): State<Api>,
    tenant: Tenant,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    tenant.may(Scope::Publish)?;
    let plugin = find(&api, &tenant, &name)?;
    if !plugin.active.is_empty() || plugin.settings.bind.is_some() {
        tenant.may(Scope::Activate)?;
    }
    api.deps.plugins.registry().remove(&tenant.id, &name)?;
    audit(&api, &tenant, "plugin.delete", &name, "").await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn versions(
    State(api): State<Api>,
    tenant: Tenant,
    paging: Paging,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    tenant.may(Scope::Read)?;
    let plugin = find(&api, &tenant, &name)?;
    let versions = plugin
        .versions
        .iter()
        .map(|version| version_view(&name, version))
        .collect();
    Ok(paging.envelope(&paging.cut(versions)))
}

async fn version(
    State(api): State<Api>,
    tenant: Tenant,
    Path((name, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    tenant.may(Scope::Read)?;
    let plugin = find(&api, &tenant, &name)?;
    Ok(Json(version_view(&name, pick(&plugin, &id)?)).into_response())
}

async fn version_report(
    State(api): State<Api>,
    tenant: Tenant,
    Path((name, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    tenant.may(Scope::Read)?;
    let plugin = find(&api, &tenant, &name)?;
    Ok(Json(&pick(&plugin, &id)?.report).into_response())
}

async fn wasm(
    State(api): State<Api>,
    tenant: Tenant,
    Path((name, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    tenant.may(Scope::Publish)?;
    let plugin = find(&api, &tenant, &name)?;
    let digest = pick(&plugin, &id)?.digest.clone();
    let plugins = api.deps.plugins.clone();
    let bytes = tokio::task::spawn_blocking(move || plugins.registry().wasm(&digest))
        .await
        .ok()
        .flatten();
    let bytes = bytes.ok_or_else(|| {
        Problem::not_found("only files that came over REST are kept; this one came from the folder")
    })?;
    Ok(([(header::CONTENT_TYPE, "application/wasm")], bytes).into_response())
}

async fn remove_version(
    State(api): State<Api>,
    tenant: Tenant,
    Path((name, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    tenant.may(Scope::Publish)?;
    let digest = pick(&find(&api, &tenant, &name)?, &id)?.digest.clone();
    api.deps
        .plugins
        .registry()
        .delete_version(&tenant.id, &name, &digest)?;
    audit(&api, &tenant, "plugin.delete_version", &name, &digest).await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Activate {
    /// A digest, or at least 8 characters of its beginning; without it the version that came
    /// last.
    version: Option<String>,
}

async fn activate(
    State(api): State<Api>,
    tenant: Tenant,
    Path(name): Path<String>,
    JsonBody(activate): JsonBody<Activate>,
) -> Result<Response, Problem> {
    tenant.may(Scope::Activate)?;
    let _one = api.changing.lock().await;
    let plugin = find(&api, &tenant, &name)?;
    let version = match &activate.version {
        Some(id) => pick(&plugin, id)?,
        None => {
            let latest = plugin
                .versions
                .iter()
                .max_by_key(|version| version.uploaded_ms);
            latest.ok_or_else(|| {
                Problem::conflict("no_version", "the plugin has no version yet: upload one")
            })?
        }
    };
    api.deps
        .plugins
        .registry()
        .activate(&tenant.id, &name, &version.digest)?;
    audit(&api, &tenant, "plugin.activate", &name, &version.digest).await;
    Ok(Json(view(&tenant.id, &find(&api, &tenant, &name)?)).into_response())
}

async fn roll_back(
    State(api): State<Api>,
    tenant: Tenant,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    tenant.may(Scope::Activate)?;
    let _one = api.changing.lock().await;
    find(&api, &tenant, &name)?;
    let version = api.deps.plugins.registry().roll_back(&tenant.id, &name)?;
    audit(&api, &tenant, "plugin.rollback", &name, version.digest()).await;
    Ok(Json(view(&tenant.id, &find(&api, &tenant, &name)?)).into_response())
}

async fn config(
    State(api): State<Api>,
    tenant: Tenant,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    tenant.may(Scope::Read)?;
    Ok(Json(find(&api, &tenant, &name)?.settings.config).into_response())
}

async fn set_config(
    State(api): State<Api>,
    tenant: Tenant,
    Path(name): Path<String>,
    JsonBody(config): JsonBody<Map<String, Value>>,
) -> Result<Response, Problem> {
    change(&api, &tenant, &name, "plugin.config", |settings| {
        settings.insert("config".to_owned(), Value::Object(config));
    })
    .await?;
    Ok(Json(find(&api, &tenant, &name)?.settings.config).into_response())
}

async fn grants(
    State(api): State<Api>,
    tenant: Tenant,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    tenant.may(Scope::Read)?;
    Ok(Json(find(&api, &tenant, &name)?.settings.grants).into_response())
}

async fn set_grants(
    State(api): State<Api>,
    tenant: Tenant,
    Path(name): Path<String>,
    JsonBody(grants): JsonBody<Value>,
) -> Result<Response, Problem> {
    change(&api, &tenant, &name, "plugin.grants", |settings| {
        settings.insert("grants".to_owned(), grants);
    })
    .await?;
    Ok(Json(find(&api, &tenant, &name)?.settings.grants).into_response())
}

/// Changes a plugin's settings: what calls do from now on.
pub(super) async fn change(
    api: &Api,
    tenant: &Tenant,
    name: &str,
    action: &str,
    work: impl FnOnce(&mut Map<String, Value>),
) -> Result<(), Problem> {
    tenant.may(Scope::Activate)?;
    let _one = api.changing.lock().await;
    let plugin = find(api, tenant, name)?;
    let Ok(Value::Object(mut value)) = serde_json::to_value(&plugin.settings) else {
        return Err(Problem::invalid("the plugin's settings have no JSON form"));
    };
    work(&mut value);
    api.deps
        .plugins
        .registry()
        .set_settings(&tenant.id, name, settings(Value::Object(value))?)?;
    audit(api, tenant, action, name, "").await;
    Ok(())
}

pub(super) fn settings(value: Value) -> Result<Settings, Problem> {
    Settings::from_json(value).map_err(|error| {
        Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_settings",
            error.to_string(),
        )
    })
}

pub(super) fn find(api: &Api, tenant: &Tenant, name: &str) -> Result<PluginView, Problem> {
    let plugin = api.deps.plugins.registry().view(&tenant.id, name);
    plugin.ok_or_else(|| Problem::not_found("there is no such plugin"))
}

pub(super) async fn audit(api: &Api, tenant: &Tenant, action: &str, object: &str, detail: &str) {
    super::audit::write(
        api,
        Some(&tenant.id),
        &tenant.caller,
        action,
        object,
        detail,
    )
    .await;
}

/// A name is a file's name and part of a path.
pub(super) fn checked(name: &str) -> Result<&str, Problem> {
    if crate::plugins::is_name(name) {
        Ok(name)
    } else {
        Err(Problem::invalid(
            "name: 1 to 64 of letters, digits, `-`, `_` and `.`, the first a letter or digit",
        ))
    }
}

fn pick<'a>(plugin: &'a PluginView, id: &str) -> Result<&'a VersionView, Problem> {
    let id = id
        .strip_prefix("sha256:")
        .unwrap_or(id)
        .to_ascii_lowercase();
    let mut fitting = plugin.versions.iter().filter(|version| {
        version.digest == id || (id.len() >= 8 && version.digest.starts_with(&id))
    });
    match (fitting.next(), fitting.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(Problem::not_found("there is no such version")),
        (Some(_), Some(_)) => Err(Problem::conflict(
            "ambiguous",
            "several versions begin like this",
        )),
    }
}

fn active(plugin: &PluginView) -> Option<&str> {
    Some(plugin.active.as_str()).filter(|digest| !digest.is_empty())
}

fn view(tenant: &str, plugin: &PluginView) -> Value {
    let mut value = serde_json::to_value(plugin).unwrap_or_default();
    value["tenant"] = tenant.into();
    value["active"] = active(plugin).into();
    value["versions"] = plugin
        .versions
        .iter()
        .map(|version| version_view(&plugin.name, version))
        .collect();
    value
}

/// A version as the API shows it: what matters of its report stands beside it.
fn version_view(plugin: &str, version: &VersionView) -> Value {
    let mut value = serde_json::to_value(version).unwrap_or_default();
    let worlds: Vec<String> = version
        .report
        .kinds
        .iter()
        .map(|kind| format!("gatepost:plugin/{kind}-plugin@{}", version.report.contract))
        .collect();
    value["plugin"] = plugin.into();
    value["version"] = version.digest.as_str().into();
    value["kinds"] = json!(version.report.kinds);
    value["world"] = worlds.join(", ").into();
    value["capabilities"] = json!(version.report.manifest.capabilities);
    value
}
