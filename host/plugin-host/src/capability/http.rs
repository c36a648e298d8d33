//! `http`: outgoing requests to granted hosts. The transport is the shell's.

use crate::bindings::convert::{http_headers, http_headers_back};
use crate::bindings::imports::http::{Error, Host};
use crate::bindings::wit;
use crate::instance::State;
use crate::record::{self, shown};
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
                .map(|h| json!([h.name, without_credentials(&h.name, &h.value)]))
                .collect();
            json!({ "method": request.method, "url": request.url, "headers": headers, "body": shown(&request.body) })
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
                let headers: Vec<_> = r
                    .headers
                    .iter()
                    .map(|(n, v)| json!([n, without_credentials(n, v)]))
                    .collect();
                json!({ "status": r.status, "headers": headers, "body": shown(&r.body) })
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
        body: record::bytes(&value["body"]).unwrap_or_default(),
    })
}

/// What a record may have of a header: credentials stay out, names of secrets stay in.
fn without_credentials<'a>(name: &str, value: &'a str) -> &'a str {
    const CREDENTIALS: [&str; 7] = [
        "api-key",
        "authorization",
        "cookie",
        "proxy-authorization",
        "set-cookie",
        "x-api-key",
        "x-auth-token",
    ];
    let secret =
        CREDENTIALS.iter().any(|c| c.eq_ignore_ascii_case(name)) && !value.contains("{secret:");
    if secret { "(hidden)" } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::kv::MemoryKv;
    use crate::capability::log::TracingLog;
    use crate::capability::secrets::SecretStore;
    use crate::capability::{Context, Services};
    use crate::engine::{self, lanes::Lanes};
    use crate::grants::Grants;
    use crate::limits::Limits;
    use crate::record::Recorder;
    use std::sync::{Arc, Mutex};
    use wasmtime::Store;

    /// Answers everything, and remembers what came.
    #[derive(Default)]
    struct Echo(Mutex<Vec<HttpRequest>>);

    impl HttpClient for Echo {
        fn fetch<'a>(
            &'a self,
            _: &'a [String],
            request: HttpRequest,
            _: Duration,
        ) -> HttpFuture<'a> {
            self.0.lock().unwrap().push(request);
            let headers = vec![("Set-Cookie".to_owned(), "session=1".to_owned())];
            Box::pin(async {
                Ok(HttpResponse {
                    status: 200,
                    headers,
                    body: b"pong".to_vec(),
                })
            })
        }
    }

    struct One;

    impl SecretStore for One {
        fn secret(&self, _: &str, _: &str) -> Option<String> {
            Some("hunter2".to_owned())
        }
    }

    fn state(http: Arc<Echo>, grants: &[&str], recorder: Recorder) -> Store<State> {
        let engine = engine::start(4).unwrap().engine;
        let services = Services {
            http,
            kv: Arc::new(MemoryKv::default()),
            secrets: Arc::new(One),
            log: Arc::new(TracingLog),
            lanes: Lanes::new(1),
        };
        let grants = Arc::new(Grants::new(grants.iter().map(|g| (*g).to_owned())));
        let context = Context {
            tenant: "t".into(),
            plugin: "p".into(),
            call: String::new(),
            config: "{}".into(),
            grants,
        };
        crate::instance::store(
            &engine,
            &Limits {
                deadline_ms: 5_000,
                ..Limits::default()
            },
            context,
            Arc::new(services),
            recorder,
        )
    }

    fn fetch(store: &mut Store<State>, authorization: &str) -> Result<wit::HttpResponse, Error> {
        let request = wit::HttpRequest {
            method: "POST".to_owned(),
            url: "https://api.example.com/".to_owned(),
            headers: vec![wit::Header {
                name: "Authorization".to_owned(),
                value: authorization.to_owned(),
            }],
            body: b"ping".to_vec(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime
            .block_on(Host::fetch(store.data_mut(), request, 100))
            .unwrap()
    }

    #[test]
    fn a_secret_goes_out_and_is_not_written_down_and_the_record_answers_alone() {
        let http = Arc::new(Echo::default());
        let mut live = state(
            http.clone(),
            &["http:api.example.com", "secret:key"],
            Recorder::live(),
        );
        let answer = fetch(&mut live, "Bearer {secret:key}").unwrap();
        assert_eq!(http.0.lock().unwrap()[0].headers[0].1, "Bearer hunter2");
        fetch(&mut live, "Bearer literal").unwrap();
        let record = live.data_mut().recorder.take();
        let text = serde_json::to_string(&record).unwrap();
        assert!(
            !text.contains("hunter2") && !text.contains("literal") && !text.contains("session=1"),
            "{text}"
        );
        assert!(
            text.contains("{secret:key}") && text.contains("ping") && text.contains("pong"),
            "{text}"
        );

        let mut replayed = state(http.clone(), &[], Recorder::replay(record));
        let again = fetch(&mut replayed, "Bearer {secret:key}").unwrap();
        assert_eq!((again.status, again.body), (answer.status, answer.body));
        assert_eq!(http.0.lock().unwrap().len(), 2, "a replay sends nothing");
    }

    #[test]
    fn a_secret_that_was_not_granted_does_not_go_out() {
        let http = Arc::new(Echo::default());
        let mut live = state(
            http.clone(),
            &["http:api.example.com", "secret:other"],
            Recorder::live(),
        );
        assert_eq!(
            fetch(&mut live, "{secret:key}").unwrap_err(),
            Error::Denied("secret:key".to_owned())
        );
        assert!(http.0.lock().unwrap().is_empty());
    }
}
