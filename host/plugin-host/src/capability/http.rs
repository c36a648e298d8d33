//! `http`: outgoing requests to granted hosts. The transport is the shell's.

use crate::bindings::convert::{http_headers, http_headers_back};
use crate::bindings::imports::http::{Error, Host};
use crate::bindings::wit;
use crate::instance::State;
use serde_json::{Value, json};
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    pub method: String,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpResponse {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpError {
    Denied(String),
    Failed(String),
    Timeout,
    TooLarge,
}

pub type HttpFuture<'a> =
    Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'a>>;

/// Sends one request; never follows a redirect. `hosts` are the granted ones (`HOST` or
/// `HOST:PORT`, or `*`): only an address named there may be private.
pub trait HttpClient: Send + Sync {
    fn fetch<'a>(
        &'a self,
        hosts: &'a [String],
        request: HttpRequest,
        timeout: Duration,
    ) -> HttpFuture<'a>;
}

/// Nothing goes out.
pub struct NoHttp;

impl HttpClient for NoHttp {
    fn fetch<'a>(&'a self, _: &'a [String], request: HttpRequest, _: Duration) -> HttpFuture<'a> {
        Box::pin(async move { Err(HttpError::Denied(request.url)) })
    }
}

impl State {
    pub(crate) fn granted_hosts(&self) -> Vec<String> {
        self.context
            .grants
            .iter()
            .filter_map(|g| g.strip_prefix("http:"))
            .map(str::to_owned)
            .collect()
    }

    /// `{secret:NAME}` in a value becomes the secret; `Err` names one that may not be used.
    fn substituted(&self, value: &str) -> Result<String, String> {
        let mut out = String::new();
        let mut rest = value;
        while let Some((before, after)) = rest.split_once("{secret:") {
            let (name, after) = after
                .split_once('}')
                .ok_or_else(|| "a {secret: without its }".to_owned())?;
            out.push_str(before);
            out.push_str(
                &self
                    .secret_by_reference(name)
                    .ok_or_else(|| format!("secret:{name}"))?,
            );
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }
}

impl Host for State {
    async fn fetch(
        &mut self,
        request: wit::HttpRequest,
        timeout_ms: u32,
    ) -> wasmtime::Result<Result<wit::HttpResponse, Error>> {
        let args = || {
            let headers: Vec<_> = request
                .headers
                .iter()
                .map(|h| json!([h.name, h.value]))
                .collect();
            json!({ "method": request.method, "url": request.url, "headers": headers, "body": hex::encode(&request.body) })
        };
        if let Some(recalled) = self.recorder.recall("http.fetch", args) {
            return Ok(match recalled {
                Some(value) => recalled_response(value),
                None => Err(Error::Failed(
                    "nothing was recorded for this request".to_owned(),
                )),
            });
        }
        let result = self.send(&request, timeout_ms).await;
        self.recorder.note("http.fetch", args, || match &result {
            Ok(r) => {
                let headers: Vec<_> = r.headers.iter().map(|(n, v)| json!([n, v])).collect();
                json!({ "status": r.status, "headers": headers, "body": hex::encode(&r.body) })
            }
            Err(Error::Denied(what)) => json!({ "error": "denied", "text": what }),
            Err(Error::Timeout) => json!({ "error": "timeout" }),
            Err(Error::TooLarge) => json!({ "error": "too-large" }),
            Err(Error::Failed(why)) => json!({ "error": "failed", "text": why }),
        });
        Ok(result.map(|r| wit::HttpResponse {
            status: r.status,
            headers: http_headers(&r.headers),
            body: r.body,
        }))
    }
}

impl State {
    async fn send(
        &mut self,
        request: &wit::HttpRequest,
        timeout_ms: u32,
    ) -> Result<HttpResponse, Error> {
        let mut headers = http_headers_back(request.headers.clone());
        for (_, value) in &mut headers {
            *value = self.substituted(value).map_err(Error::Denied)?;
        }
        let left = self.deadline.saturating_duration_since(Instant::now());
        let timeout = left.min(Duration::from_millis(timeout_ms.into()));
        let hosts = self.granted_hosts();
        let request = HttpRequest {
            method: request.method.clone(),
            url: request.url.clone(),
            headers,
            body: request.body.clone(),
        };
        let fetched = self
            .in_time(self.services.http.fetch(&hosts, request, timeout))
            .await;
        fetched
            .unwrap_or(Err(HttpError::Timeout))
            .map_err(|error| match error {
                HttpError::Denied(what) => Error::Denied(what),
                HttpError::Failed(why) => Error::Failed(why),
                HttpError::Timeout => Error::Timeout,
                HttpError::TooLarge => Error::TooLarge,
            })
    }
}

fn recalled_response(value: Value) -> Result<wit::HttpResponse, Error> {
    let text = || value["text"].as_str().unwrap_or("").to_owned();
    match value["error"].as_str() {
        Some("denied") => return Err(Error::Denied(text())),
        Some("timeout") => return Err(Error::Timeout),
        Some("too-large") => return Err(Error::TooLarge),
        Some(_) => return Err(Error::Failed(text())),
        None => {}
    }
    let headers = value["headers"].as_array().into_iter().flatten();
    Ok(wit::HttpResponse {
        status: value["status"]
            .as_u64()
            .and_then(|s| u16::try_from(s).ok())
            .unwrap_or(0),
        headers: headers
            .filter_map(|h| {
                Some(wit::Header {
                    name: h[0].as_str()?.to_owned(),
                    value: h[1].as_str()?.to_owned(),
                })
            })
            .collect(),
        body: value["body"]
            .as_str()
            .and_then(|b| hex::decode(b).ok())
            .unwrap_or_default(),
    })
}
