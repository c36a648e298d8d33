//! Outgoing HTTP/1.1 for plugins: one request, one bounded answer. No redirects (the new
//! place was not granted), no cookies, no compression.
//!
//! - [`dial`]: from an URL to a connection; [`addresses`]: which addresses are public.
//! - [`tls`]: which certificates are trusted.

pub mod addresses;
pub mod dial;
mod idle;
mod plugins;
pub mod tls;

use bytes::Bytes;
use dial::{DialError, Origin, Permit, UrlError};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Uri};
use hyper_util::rt::TokioIo;
use idle::Idle;
use rustls::ClientConfig;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// Cheap to clone. Works from any executor: the sockets live on the runtime given at the start.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    runtime: Handle,
    tls: Arc<ClientConfig>,
    limits: Limits,
    idle: Idle,
}

type Sender = SendRequest<Full<Bytes>>;

#[derive(Debug, Clone)]
pub struct Limits {
    pub request_bytes: usize,  // 1 MiB
    pub response_bytes: usize, // 1 MiB
    /// For the whole exchange; a shorter one may be asked for.
    pub timeout: Duration, // 10 s
    /// Connections kept open for the next request, in all.
    pub idle_connections: usize, // 256
    /// How long.
    pub idle_for: Duration, // 30 s
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            request_bytes: 1 << 20,
            response_bytes: 1 << 20,
            timeout: Duration::from_secs(10),
            idle_connections: 256,
            idle_for: Duration::from_secs(30),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    /// Values that are not UTF-8 have their odd bytes replaced.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("`{0}` is not an HTTP header that may be sent")]
    Header(String),
    #[error("`{0}` is not an HTTP method")]
    Method(String),
    #[error("no valid HTTP response: {0}")]
    Protocol(#[source] hyper::Error),
    #[error("the request is larger than {limit} bytes")]
    RequestTooLarge { limit: usize },
    #[error("the response is larger than {limit} bytes")]
    ResponseTooLarge { limit: usize },
    #[error("no complete response in {0:?}")]
    Timeout(Duration),
    #[error(transparent)]
    Url(#[from] UrlError),
    #[error("the program is shutting down")]
    Shutdown,
}

impl Client {
    pub fn new(runtime: Handle, tls: Arc<ClientConfig>, limits: Limits) -> Client {
        let idle = Idle::new(limits.idle_connections, limits.idle_for);
        Client {
            inner: Arc::new(Inner {
                runtime,
                tls,
                limits,
                idle,
            }),
        }
    }

    /// `owner` is whose request it is: connections are not shared between owners. `permit`
    /// says for the URL's origin what the owner may do.
    pub async fn fetch(
        &self,
        owner: &str,
        request: Request,
        permit: impl FnOnce(&Origin) -> Permit,
        timeout: Duration,
    ) -> Result<Response, FetchError> {
        let limit = self.inner.limits.request_bytes;
        if request.body.len() > limit {
            return Err(FetchError::RequestTooLarge { limit });
        }
        let uri: Uri = request.url.parse().map_err(|_| UrlError::Malformed)?;
        let origin = Origin::of_http(&uri)?;
        let permit = permit(&origin);
        if permit == Permit::None {
            return Err(DialError::NotGranted(origin).into());
        }
        let outgoing = outgoing(request, &uri, &origin)?;
        let key = idle::Key {
            owner: owner.to_owned(),
            origin,
            permit,
        };
        let timeout = timeout.min(self.inner.limits.timeout);
        let inner = self.inner.clone();
        // On its own runtime: the caller's executor may have no reactor. When the caller goes
        // away, so does the request.
        let task = self.inner.runtime.spawn(async move {
            match tokio::time::timeout(timeout, inner.exchange(key, outgoing)).await {
                Ok(result) => result,
                Err(_) => Err(FetchError::Timeout(timeout)),
            }
        });
        AbortOnDrop(task).await
    }
}

impl Inner {
    async fn exchange(
        &self,
        key: idle::Key,
        request: hyper::Request<Full<Bytes>>,
    ) -> Result<Response, FetchError> {
        let (mut sender, answer) = match self.idle.take(&key) {
            Some(sender) => self.send_again(&key, sender, request).await?,
            None => self.send_anew(&key, request).await?,
        };
        let response = self.collect(answer).await?;
        if sender.ready().await.is_ok() {
            self.idle.keep(key, sender);
        }
        Ok(response)
    }

    /// On a kept connection, which the other side may have closed just now. A new one then
    /// gets the request if it was not sent, or if it does no harm twice (RFC 9110 §9.2.2).
    async fn send_again(
        &self,
        key: &idle::Key,
        mut sender: Sender,
        request: hyper::Request<Full<Bytes>>,
    ) -> Result<(Sender, hyper::Response<Incoming>), FetchError> {
        let copy = request.method().is_idempotent().then(|| request.clone());
        match sender.try_send_request(request).await {
            Ok(answer) => Ok((sender, answer)),
            Err(mut error) => match error.take_message().or(copy) {
                Some(request) => self.send_anew(key, request).await,
                None => Err(FetchError::Protocol(error.into_error())),
            },
        }
    }

    async fn send_anew(
        &self,
        key: &idle::Key,
        request: hyper::Request<Full<Bytes>>,
    ) -> Result<(Sender, hyper::Response<Incoming>), FetchError> {
        let stream = dial::dial(&key.origin, key.permit, &self.tls, self.limits.timeout).await?;
        let (mut sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(FetchError::Protocol)?;
        // Ends when the other side closes or the sender is dropped.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an HTTP connection ended");
            }
        });
        let answer = sender
            .send_request(request)
            .await
            .map_err(FetchError::Protocol)?;
        Ok((sender, answer))
    }

    async fn collect(&self, answer: hyper::Response<Incoming>) -> Result<Response, FetchError> {
        let limit = self.limits.response_bytes;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, limit)
            .collect()
            .await
            .map_err(|error| match error.downcast::<hyper::Error>() {
                Ok(error) => FetchError::Protocol(*error),
                Err(error) => {
                    debug_assert!(error.is::<LengthLimitError>());
                    FetchError::ResponseTooLarge { limit }
                }
            })?;
        let headers = head
            .headers
            .iter()
            .map(|(name, value)| {
                (
                    name.as_str().to_owned(),
                    String::from_utf8_lossy(value.as_bytes()).into_owned(),
                )
            })
            .collect();
        Ok(Response {
            status: head.status.as_u16(),
            headers,
            body: body.to_bytes(),
        })
    }
}

/// The request as it goes on the wire: origin form (RFC 9112 §3.2.1), our own `Host`.
fn outgoing(
    request: Request,
    uri: &Uri,
    origin: &Origin,
) -> Result<hyper::Request<Full<Bytes>>, FetchError> {
    let method = Method::from_bytes(request.method.as_bytes())
        .ok()
        .filter(|method| *method != Method::CONNECT)
        .ok_or(FetchError::Method(request.method))?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut message = hyper::Request::new(Full::new(Bytes::from(request.body)));
    *message.method_mut() = method;
    *message.uri_mut() = path.parse().map_err(|_| UrlError::Malformed)?;
    let headers = message.headers_mut();
    for (name, value) in request.headers {
        let parsed = HeaderName::from_bytes(name.as_bytes())
            .ok()
            .filter(|name| !is_ours(name));
        match (parsed, HeaderValue::from_str(&value)) {
            (Some(name), Ok(value)) => headers.append(name, value),
            _ => return Err(FetchError::Header(name)),
        };
    }
    let host = HeaderValue::from_str(uri.authority().map_or(origin.host.as_str(), |a| a.as_str()))
        .map_err(|_| UrlError::Malformed)?;
    headers.insert(header::HOST, host);
    Ok(message)
}

/// Headers about the connection and the message's framing are the host's business: a second
/// `Content-Length` is how requests are smuggled.
fn is_ours(name: &HeaderName) -> bool {
    [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::HOST,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ]
    .contains(name)
}

struct AbortOnDrop(tokio::task::JoinHandle<Result<Response, FetchError>>);

impl Future for AbortOnDrop {
    type Output = Result<Response, FetchError>;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        std::pin::Pin::new(&mut self.0)
            .poll(cx)
            .map(|joined| joined.unwrap_or(Err(FetchError::Shutdown)))
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_request_is_sent_as_asked_and_its_answer_comes_back() {
        let mut server = Server::start().await;
        let client = client(Limits::default());
        let mut request = get(&server.url("/v1/lookup?n=1"));
        request.method = "POST".into();
        request.body = b"{}".to_vec();
        request.headers = vec![("X-Key".into(), "k".into())];
        let (answer, seen) = tokio::join!(
            fetch(&client, request),
            server.answer(b"HTTP/1.1 201 Created\r\nX-A: 1\r\nContent-Length: 5\r\n\r\nhello"),
        );
        let answer = answer.unwrap();
        assert_eq!((answer.status, &answer.body[..]), (201, &b"hello"[..]));
        assert!(answer.headers.contains(&("x-a".into(), "1".into())));
        assert!(
            seen.starts_with("POST /v1/lookup?n=1 HTTP/1.1\r\n"),
            "{seen}"
        );
        assert!(
            seen.contains("x-key: k\r\n") && seen.ends_with("\r\n\r\n{}"),
            "{seen}"
        );
    }

    #[tokio::test]
    async fn a_connection_is_used_again_by_its_owner_only() {
        let mut server = Server::start().await;
        let client = client(Limits::default());
        const OK: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
        for _ in 0..2 {
            let (answer, _) =
                tokio::join!(fetch(&client, get(&server.url("/"))), server.answer(OK));
            assert_eq!(answer.unwrap().status, 204);
        }
        assert_eq!(server.accepted, 1);
        server.connection = None;
        let other = client.fetch("other", get(&server.url("/")), |_| Permit::AnyAddress, LONG);
        let (answer, _) = tokio::join!(other, server.answer(OK));
        assert_eq!(answer.unwrap().status, 204);
        assert_eq!(server.accepted, 2);
    }

    #[tokio::test]
    async fn a_kept_connection_that_the_server_closed_is_replaced() {
        let mut server = Server::start().await;
        let client = client(Limits::default());
        const OK: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
        for _ in 0..2 {
            let (answer, _) =
                tokio::join!(fetch(&client, get(&server.url("/"))), server.answer(OK));
            assert_eq!(answer.unwrap().status, 204);
            server.connection = None;
        }
        assert_eq!(server.accepted, 2);
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer_and_is_not_followed() {
        let mut server = Server::start().await;
        let client = client(Limits::default());
        let (answer, _) = tokio::join!(
            fetch(&client, get(&server.url("/"))),
            server.answer(
                b"HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1/\r\nContent-Length: 0\r\n\r\n"
            ),
        );
        assert_eq!(answer.unwrap().status, 302);
    }

    #[tokio::test]
    async fn an_answer_over_the_limit_is_refused_whether_announced_or_chunked() {
        for answer in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n123456789"[..],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n5\r\n12345\r\n0\r\n\r\n",
        ] {
            let mut server = Server::start().await;
            let client = client(Limits { response_bytes: 8, ..Limits::default() });
            let (answer, _) = tokio::join!(fetch(&client, get(&server.url("/"))), server.answer(answer));
            assert!(matches!(answer, Err(FetchError::ResponseTooLarge { limit: 8 })), "{answer:?}");
        }
    }

    #[tokio::test]
    async fn a_request_over_the_limit_is_refused_before_it_is_sent() {
        let client = client(Limits {
            request_bytes: 3,
            ..Limits::default()
        });
        let mut request = get("http://127.0.0.1:9/");
        request.body = vec![0; 4];
        assert!(matches!(
            fetch(&client, request).await,
            Err(FetchError::RequestTooLarge { limit: 3 })
        ));
    }

    #[tokio::test]
    async fn a_server_that_says_nothing_costs_the_timeout_and_no_more() {
        let server = Server::start().await;
        let client = client(Limits::default());
        let limit = Duration::from_millis(20);
        let answer = client
            .fetch("t", get(&server.url("/")), |_| Permit::AnyAddress, limit)
            .await;
        assert!(matches!(answer, Err(FetchError::Timeout(_))), "{answer:?}");
    }

    #[tokio::test]
    async fn what_could_smuggle_a_request_is_refused() {
        let client = client(Limits::default());
        for (name, value) in [
            ("Content-Length", "0"),
            ("transfer-encoding", "chunked"),
            ("Host", "x"),
            ("X", "a\r\nB: c"),
            ("X Y", ""),
        ] {
            let mut request = get("http://127.0.0.1:9/");
            request.headers = vec![(name.into(), value.into())];
            assert!(
                matches!(fetch(&client, request).await, Err(FetchError::Header(_))),
                "{name}"
            );
        }
        let mut request = get("http://127.0.0.1:9/");
        request.method = "GET / HTTP/1.1\r\n".into();
        assert!(matches!(
            fetch(&client, request).await,
            Err(FetchError::Method(_))
        ));
    }

    #[tokio::test]
    async fn an_address_of_the_site_is_refused_without_an_exact_grant() {
        let server = Server::start().await;
        let client = client(Limits::default());
        let answer = client
            .fetch("t", get(&server.url("/")), |_| Permit::Public, LONG)
            .await;
        assert!(
            matches!(answer, Err(FetchError::Dial(DialError::NotPublic { .. }))),
            "{answer:?}"
        );
        let answer = client
            .fetch("t", get(&server.url("/")), |_| Permit::None, LONG)
            .await;
        assert!(
            matches!(answer, Err(FetchError::Dial(DialError::NotGranted(_)))),
            "{answer:?}"
        );
    }

    #[test]
    fn it_can_be_awaited_where_there_is_no_tokio() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let client = Client::new(
            runtime.handle().clone(),
            tls::client_config(None).unwrap(),
            Limits::default(),
        );
        let answer = futures::executor::block_on(fetch(&client, get("http://127.0.0.1:1/")));
        assert!(
            matches!(answer, Err(FetchError::Dial(DialError::Connect { .. }))),
            "{answer:?}"
        );
    }

    const LONG: Duration = Duration::from_secs(10);

    fn client(limits: Limits) -> Client {
        Client::new(Handle::current(), tls::client_config(None).unwrap(), limits)
    }

    async fn fetch(client: &Client, request: Request) -> Result<Response, FetchError> {
        client
            .fetch("t", request, |_| Permit::AnyAddress, LONG)
            .await
    }

    fn get(url: &str) -> Request {
        Request {
            method: "GET".into(),
            url: url.into(),
            headers: vec![],
            body: vec![],
        }
    }

    struct Server {
        listener: TcpListener,
        connection: Option<tokio::net::TcpStream>,
        accepted: u32,
    }

    impl Server {
        async fn start() -> Server {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            Server {
                listener,
                connection: None,
                accepted: 0,
            }
        }

        fn url(&self, path: &str) -> String {
            format!("http://{}{path}", self.listener.local_addr().unwrap())
        }

        /// Reads one request (small enough for one read) and writes `answer`.
        async fn answer(&mut self, answer: &[u8]) -> String {
            if self.connection.is_none() {
                self.connection = Some(self.listener.accept().await.unwrap().0);
                self.accepted += 1;
            }
            let stream = self.connection.as_mut().unwrap();
            let mut seen = Vec::new();
            loop {
                let got = stream.read_buf(&mut seen).await.unwrap();
                let text = String::from_utf8_lossy(&seen);
                if got == 0
                    || text.ends_with("\r\n\r\n") && !text.starts_with("POST")
                    || text.ends_with("{}")
                {
                    break;
                }
            }
            stream.write_all(answer).await.unwrap();
            String::from_utf8(seen).unwrap()
        }
    }
}
