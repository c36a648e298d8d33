//! What plugins and connector sessions get from the shell: HTTP and the tenants' secrets.

use crate::config::Config;
use crate::http::dial::{DialError, Origin, Permit};
use crate::http::{Client, FetchError, Request};
use arc_swap::ArcSwap;
use plugin_host::capability::http::HttpFuture;
use plugin_host::{HttpClient, HttpError, HttpRequest, HttpResponse, SecretStore};
use std::sync::Arc;
use std::time::Duration;

/// The secrets of the configuration that is in force.
pub struct ConfiguredSecrets(pub Arc<ArcSwap<Config>>);

impl SecretStore for ConfiguredSecrets {
    fn secret(&self, tenant: &str, name: &str) -> Option<String> {
        let config = self.0.load();
        config
            .tenant(tenant)?
            .secrets
            .get(name)
            .map(|secret| secret.reveal().to_owned())
    }
}

/// HTTP for plugins.
pub struct PluginHttp(pub Client);

impl HttpClient for PluginHttp {
    fn fetch<'a>(
        &'a self,
        hosts: &'a [String],
        request: HttpRequest,
        timeout: Duration,
    ) -> HttpFuture<'a> {
        Box::pin(async move {
            let HttpRequest {
                method,
                url,
                headers,
                body,
            } = request;
            let request = Request {
                method,
                url,
                headers,
                body,
            };
            let permit = |origin: &Origin| permit(hosts, origin);
            let response = self
                .0
                .fetch("plugins", request, permit, timeout)
                .await
                .map_err(http_error)?;
            Ok(HttpResponse {
                status: response.status,
                headers: response.headers,
                body: response.body.to_vec(),
            })
        })
    }
}

/// `*` opens every public address.
fn permit(hosts: &[String], origin: &Origin) -> Permit {
    let grants: Vec<String> = hosts.iter().map(|host| format!("http:{host}")).collect();
    match Permit::find(grants.iter().map(String::as_str), origin) {
        Permit::None if hosts.iter().any(|host| host == "*") => Permit::Public,
        found => found,
    }
}

fn http_error(error: FetchError) -> HttpError {
    match error {
        FetchError::Dial(DialError::NotGranted(origin)) => HttpError::Denied(origin.to_string()),
        FetchError::RequestTooLarge { .. } | FetchError::ResponseTooLarge { .. } => {
            HttpError::TooLarge
        }
        FetchError::Timeout(_) => HttpError::Timeout,
        FetchError::Dial(_)
        | FetchError::Header(_)
        | FetchError::Method(_)
        | FetchError::Protocol(_)
        | FetchError::Url(_)
        | FetchError::Shutdown => HttpError::Failed(error.to_string()),
    }
}
