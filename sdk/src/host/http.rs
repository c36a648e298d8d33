//! Outgoing HTTP. Needs the capability `http:HOST` for each host. `{secret:NAME}` in a
//! header's value is replaced by the host, so the plugin never holds the secret.

pub use crate::bindings::imports::gatepost::plugin::http::Error;

use crate::types::{Header, HttpRequest, HttpResponse};

/// `timeout_ms` is cut to what is left of the call's deadline.
pub fn fetch(request: &HttpRequest, timeout_ms: u32) -> Result<HttpResponse, Error> {
    super::sys::http::fetch(request, timeout_ms)
}

/// A GET without headers.
pub fn get(url: impl Into<String>, timeout_ms: u32) -> Result<HttpResponse, Error> {
    fetch(
        &HttpRequest {
            method: "GET".into(),
            url: url.into(),
            headers: Vec::new(),
            body: Vec::new(),
        },
        timeout_ms,
    )
}

/// A POST of JSON.
pub fn post_json(
    url: impl Into<String>,
    body: &serde_json::Value,
    timeout_ms: u32,
) -> Result<HttpResponse, Error> {
    let headers = vec![Header::new("Content-Type", "application/json")];
    let body = body.to_string().into_bytes();
    fetch(
        &HttpRequest {
            method: "POST".into(),
            url: url.into(),
            headers,
            body,
        },
        timeout_ms,
    )
}
