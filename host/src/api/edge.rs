//! What holds for every request, whatever its path: correlation id, one form of each path,
//! problems with a body, and a panic that ends one request only.

use super::problem::Problem;
use crate::telemetry::{Metric, count};
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt as _;
use std::fmt::Write as _;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The path and query as they came; routing sees a path without a slash at its end.
#[derive(Debug, Clone)]
pub(super) struct AsCalled(pub(super) String);

/// A response of somebody else (a plugin): it goes out as it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Foreign;

pub(super) async fn edge(mut request: Request, next: Next) -> Response {
    let correlation_id = correlation_id(request.headers());
    let called = request
        .uri()
        .path_and_query()
        .map_or_else(|| "/".to_owned(), |called| called.to_string());
    if let Some(uri) = without_slash(request.uri()) {
        *request.uri_mut() = uri;
    }
    request.extensions_mut().insert(AsCalled(called));
    // Of a request with both lengths the server keeps the chunks. Whoever is in front of us may
    // have kept the other one, so nothing more is read from that connection (RFC 9112 §6.3).
    let close = request.headers().contains_key(header::TRANSFER_ENCODING);
    let refused = refused(request.headers());
    let mut response = match refused {
        Some(problem) => problem.into_response(),
        None => AssertUnwindSafe(next.run(request))
            .catch_unwind()
            .await
            .unwrap_or_else(|_| {
                tracing::error!(correlation_id, "a request panicked");
                Problem::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal",
                    "this host has a bug; its log says more",
                )
                .into_response()
            }),
    };
    if response.extensions().get::<Foreign>().is_none() {
        response = with_problem(response, &correlation_id);
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response.headers_mut().insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
    }
    if close {
        response
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Ok(value) = HeaderValue::from_str(&correlation_id) {
        response.headers_mut().insert("x-correlation-id", value);
    }
    count(match response.status().as_u16() {
        500.. => Metric::ApiRequests5xx,
        400.. => Metric::ApiRequests4xx,
        _ => Metric::ApiRequests2xx,
    });
    response
}

/// Bodies in a coding are not unpacked: a small one may become a very large one.
fn refused(headers: &HeaderMap) -> Option<Problem> {
    let coding = headers.get(header::CONTENT_ENCODING)?;
    (coding != "identity").then(|| {
        Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "a body must come without Content-Encoding",
        )
    })
}

/// Gives an error its body.
fn with_problem(response: Response, correlation_id: &str) -> Response {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let (mut parts, _) = response.into_parts();
    let known = parts.extensions.remove::<Arc<Problem>>();
    let problem = known.map_or_else(
        || Problem::of_status(status),
        |problem| Problem::clone(&problem),
    );
    let body = problem.to_json(correlation_id).to_string();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    Response::from_parts(parts, Body::from(body))
}

/// The caller's, if it is one; else a new one.
fn correlation_id(headers: &HeaderMap) -> String {
    let given = headers
        .get("x-correlation-id")
        .and_then(|value| value.to_str().ok());
    let fits =
        |id: &&str| !id.is_empty() && id.len() <= 128 && id.bytes().all(|b| b.is_ascii_graphic());
    given.filter(fits).map_or_else(new_id, str::to_owned)
}

/// Unique in this process, and most likely beyond.
fn new_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut id = String::with_capacity(32);
    let _ = write!(
        id,
        "{:012x}{:08x}",
        crate::store::now_ms(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    );
    id
}

fn without_slash(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    let short = path.trim_end_matches('/');
    if short.len() == path.len() || path == "/" {
        return None;
    }
    let short = if short.is_empty() { "/" } else { short };
    let path_and_query = match uri.query() {
        Some(query) => format!("{short}?{query}"),
        None => short.to_owned(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path_and_query.parse().ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_form() {
        let short = |uri: &str| without_slash(&uri.parse().unwrap()).map(|uri| uri.to_string());
        assert_eq!(
            short("/api/plugins/?page=2").as_deref(),
            Some("/api/plugins?page=2")
        );
        assert_eq!(short("/api/plugins//").as_deref(), Some("/api/plugins"));
        assert_eq!(short("/api/plugins"), None);
        assert_eq!(short("/"), None);
    }

    #[test]
    fn a_correlation_id_that_would_break_a_line_is_replaced() {
        let mut headers = HeaderMap::new();
        headers.insert("x-correlation-id", HeaderValue::from_static("abc-1"));
        assert_eq!(correlation_id(&headers), "abc-1");
        headers.insert("x-correlation-id", HeaderValue::from_static("a b"));
        assert_ne!(correlation_id(&headers), "a b");
        assert_ne!(
            correlation_id(&HeaderMap::new()),
            correlation_id(&HeaderMap::new())
        );
    }
}
