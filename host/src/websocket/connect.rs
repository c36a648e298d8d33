//! Opens the WebSocket that a connector described, if it may.

use super::dialect::Connection;
use crate::http::dial::{self, DialError, Origin, Permit, Stream, UrlError};
use hyper::header::{HeaderName, HeaderValue};
use rustls::ClientConfig;
use std::sync::Arc;
use std::time::Duration;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Error};

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("the WebSocket handshake failed: {0}")]
    Handshake(String),
    #[error("`{0}` is not a header that a connector may set")]
    Header(String),
    #[error("the secret {name} is not granted: `secret:{name}` is needed")]
    SecretNotGranted { name: String },
    #[error("the tenant has no secret {name}")]
    SecretUnknown { name: String },
    #[error("the platform refused with HTTP status {0}")]
    Status(u16),
    #[error("the platform did not answer within {0:?}")]
    Timeout(Duration),
    #[error(transparent)]
    Url(#[from] UrlError),
}

/// The tenant's secret of this name.
pub type Secrets<'a> = &'a (dyn Fn(&str) -> Option<String> + Send + Sync);

pub async fn connect(
    connection: &Connection,
    grants: &[String],
    secrets: Secrets<'_>,
    tls: &Arc<ClientConfig>,
    max_message: usize,
    timeout: Duration,
) -> Result<WebSocketStream<Stream>, ConnectError> {
    let uri: hyper::Uri = connection.url.parse().map_err(|_| UrlError::Malformed)?;
    let origin = Origin::of_websocket(&uri)?;
    let permit = Permit::find(grants.iter().map(String::as_str), &origin);
    // Before secrets are looked up: a stranger shall not learn which exist.
    if permit == Permit::None {
        return Err(DialError::NotGranted(origin).into());
    }
    let request = handshake_request(connection, grants, secrets)?;
    let mut config = WebSocketConfig::default();
    config.max_message_size = Some(max_message);
    config.max_frame_size = Some(max_message);
    config.max_write_buffer_size = max_message
        .saturating_mul(2)
        .max(config.write_buffer_size * 2);
    let open = async {
        let stream = dial::dial(&origin, permit, tls, timeout).await?;
        tokio_tungstenite::client_async_with_config(request, stream, Some(config))
            .await
            .map_err(|error| match error {
                Error::Http(response) => ConnectError::Status(response.status().as_u16()),
                error => ConnectError::Handshake(error.to_string()),
            })
    };
    match tokio::time::timeout(timeout, open).await {
        Ok(opened) => opened.map(|(socket, _)| socket),
        Err(_) => Err(ConnectError::Timeout(timeout)),
    }
}

fn handshake_request(
    connection: &Connection,
    grants: &[String],
    secrets: Secrets<'_>,
) -> Result<Request, ConnectError> {
    let mut request = connection
        .url
        .as_str()
        .into_client_request()
        .map_err(|error: tungstenite::Error| ConnectError::Handshake(error.to_string()))?;
    let headers = request.headers_mut();
    for (name, value) in &connection.headers {
        let wrong = || ConnectError::Header(name.clone());
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        if is_ours(&parsed) {
            return Err(wrong());
        }
        let mut value =
            HeaderValue::from_str(&resolve(value, grants, secrets)?).map_err(|_| wrong())?;
        value.set_sensitive(true);
        headers.append(parsed, value);
    }
    if !connection.subprotocols.is_empty() {
        let joined = connection.subprotocols.join(", ");
        let value =
            HeaderValue::from_str(&joined).map_err(|_| ConnectError::Header(joined.clone()))?;
        headers.insert(hyper::header::SEC_WEBSOCKET_PROTOCOL, value);
    }
    Ok(request)
}

/// What belongs to the connection and its handshake (RFC 6455 §4.1).
fn is_ours(name: &HeaderName) -> bool {
    let name = name.as_str();
    [
        "connection",
        "content-length",
        "host",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ]
    .contains(&name)
        || name.starts_with("sec-websocket-")
}

/// Puts secrets in the place of `{secret:NAME}`.
fn resolve(value: &str, grants: &[String], secrets: Secrets<'_>) -> Result<String, ConnectError> {
    let mut resolved = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("{secret:") {
        let Some((name, behind)) = after.split_once('}') else {
            break;
        };
        let granted = |kind: &str| {
            grants
                .iter()
                .any(|g| matches!(g.strip_prefix(kind), Some(n) if n == name || n == "*"))
        };
        if !granted("secret:") && !granted("secret-read:") {
            return Err(ConnectError::SecretNotGranted {
                name: name.to_owned(),
            });
        }
        let secret = secrets(name).ok_or_else(|| ConnectError::SecretUnknown {
            name: name.to_owned(),
        })?;
        resolved.push_str(before);
        resolved.push_str(secret.trim_end_matches(['\r', '\n']));
        rest = behind;
    }
    resolved.push_str(rest);
    Ok(resolved)
}

#[cfg(test)]
mod tests {
    use super::super::dialect::{Encoding, Format};
    use super::*;

    #[test]
    fn a_secret_takes_its_place_only_if_it_was_granted_and_exists() {
        let grants = ["secret:key".to_owned(), "secret:gone".to_owned()];
        let secrets = |name: &str| (name != "gone").then(|| format!("<{name}>\n"));
        let resolve = |value| resolve(value, &grants, &secrets);
        assert_eq!(resolve("Bearer {secret:key}!").unwrap(), "Bearer <key>!");
        assert_eq!(resolve("{secret:key}{secret:key}").unwrap(), "<key><key>");
        assert_eq!(resolve("plain {secret:key").unwrap(), "plain {secret:key");
        assert!(matches!(
            resolve("{secret:other}"),
            Err(ConnectError::SecretNotGranted { .. })
        ));
        assert!(matches!(
            resolve("{secret:gone}"),
            Err(ConnectError::SecretUnknown { .. })
        ));
    }

    #[test]
    fn headers_of_the_handshake_itself_cannot_be_set() {
        for name in ["Host", "Sec-WebSocket-Key", "Upgrade", "bad name"] {
            let connection = connection(name, "x");
            let result = handshake_request(&connection, &[], &|_| None);
            assert!(matches!(result, Err(ConnectError::Header(_))), "{name}");
        }
        let result = handshake_request(&connection("X-A", "a\r\nB: c"), &[], &|_| None);
        assert!(matches!(result, Err(ConnectError::Header(_))));
    }

    fn connection(name: &str, value: &str) -> Connection {
        let format = Format {
            encoding: Encoding::Pcmu,
            rate: 8_000,
        };
        Connection {
            url: "ws://127.0.0.1:1/".into(),
            headers: vec![(name.into(), value.into())],
            subprotocols: vec![],
            input: format,
            output: format,
            frame_ms: 20,
        }
    }
}
