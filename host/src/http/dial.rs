//! From an URL to a connection: the one way by which plugins reach out. Parses the URL, looks
//! the name up, refuses addresses that are not public unless just this host and port was
//! granted, connects, and does TLS.

use super::addresses::is_public;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Where an URL leads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Lower case; an IPv6 address without brackets.
    pub host: String,
    pub port: u16,
    pub tls: bool,
}

/// `host:port`, as in a `Host` header.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    #[error("the URL has no host")]
    Host,
    #[error("the URL cannot be read")]
    Malformed,
    #[error("the URL starts with {found}, and only {wanted} will do")]
    Scheme { found: String, wanted: &'static str },
    #[error("the URL carries a user name; use a header with a secret")]
    User,
}

impl Origin {
    /// Of an `http` or `https` URL.
    pub fn of_http(uri: &hyper::Uri) -> Result<Origin, UrlError> {
        Origin::of(uri, ["http", "https"], "http:// or https://")
    }

    /// Of a `ws` or `wss` URL.
    pub fn of_websocket(uri: &hyper::Uri) -> Result<Origin, UrlError> {
        Origin::of(uri, ["ws", "wss"], "ws:// or wss://")
    }

    fn of(
        uri: &hyper::Uri,
        [plain, secure]: [&str; 2],
        wanted: &'static str,
    ) -> Result<Origin, UrlError> {
        let scheme = uri.scheme_str().ok_or(UrlError::Malformed)?;
        let tls = if scheme.eq_ignore_ascii_case(secure) {
            true
        } else if scheme.eq_ignore_ascii_case(plain) {
            false
        } else {
            return Err(UrlError::Scheme {
                found: scheme.to_owned(),
                wanted,
            });
        };
        let authority = uri.authority().ok_or(UrlError::Host)?;
        if authority.as_str().contains('@') {
            return Err(UrlError::User);
        }
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_ascii_lowercase();
        if host.is_empty() {
            return Err(UrlError::Host);
        }
        let port = match authority.port() {
            Some(port) => port.as_str().parse().map_err(|_| UrlError::Malformed)?,
            None if tls => 443,
            None => 80,
        };
        Ok(Origin { host, port, tls })
    }
}

/// What a plugin was granted about an origin. `HOST` alone opens the host's public addresses
/// on every port; only `HOST:PORT` in full opens addresses of the site and of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Permit {
    None,
    Public,
    AnyAddress,
}

impl Permit {
    /// `grants` are the plugin's; those that do not start with `http:` are not for us.
    pub fn find<'a>(grants: impl IntoIterator<Item = &'a str>, origin: &Origin) -> Permit {
        Permit::of_hosts(
            grants
                .into_iter()
                .filter_map(|grant| grant.strip_prefix("http:")),
            origin,
        )
    }

    /// `hosts` are `HOST`, `HOST:PORT`, or `*` for all public ones.
    pub fn of_hosts<'a>(hosts: impl IntoIterator<Item = &'a str>, origin: &Origin) -> Permit {
        let exact = origin.to_string();
        let bare = exact.rsplit_once(':').map_or("", |(host, _)| host);
        let granted = |host: &str| {
            if host.eq_ignore_ascii_case(&exact) {
                Permit::AnyAddress
            } else if host == "*"
                || host.eq_ignore_ascii_case(bare)
                || host.eq_ignore_ascii_case(&origin.host)
            {
                Permit::Public
            } else {
                Permit::None
            }
        };
        hosts.into_iter().map(granted).max().unwrap_or(Permit::None)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("{origin} cannot be reached: {error}")]
    Connect { origin: Origin, error: io::Error },
    #[error("{0} is not granted")]
    NotGranted(Origin),
    #[error("{origin} is {ip}, which is not public: grant `http:{origin}` to allow it")]
    NotPublic { origin: Origin, ip: IpAddr },
    #[error("the name {0} is unknown")]
    Resolve(String),
    #[error("{origin} gives no TLS that we trust: {error}")]
    Tls { origin: Origin, error: io::Error },
    #[error("{0} did not answer in time")]
    Timeout(Origin),
}

pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}
pub type Stream = Box<dyn Duplex>;

/// Needs a tokio runtime.
pub async fn dial(
    origin: &Origin,
    permit: Permit,
    tls: &Arc<ClientConfig>,
    timeout: Duration,
) -> Result<Stream, DialError> {
    match tokio::time::timeout(timeout, dial_patiently(origin, permit, tls)).await {
        Ok(result) => result,
        Err(_) => Err(DialError::Timeout(origin.clone())),
    }
}

async fn dial_patiently(
    origin: &Origin,
    permit: Permit,
    tls: &Arc<ClientConfig>,
) -> Result<Stream, DialError> {
    let addresses = lookup(origin, permit).await?;
    let tcp = connect(origin, &addresses).await?;
    // Audio and JSON events are small and wanted at once.
    let _ = tcp.set_nodelay(true);
    if !origin.tls {
        return Ok(Box::new(tcp));
    }
    let failed = |error| DialError::Tls {
        origin: origin.clone(),
        error,
    };
    let name =
        ServerName::try_from(origin.host.clone()).map_err(|e| failed(io::Error::other(e)))?;
    let stream = TlsConnector::from(tls.clone())
        .connect(name, tcp)
        .await
        .map_err(failed)?;
    Ok(Box::new(stream))
}

async fn lookup(origin: &Origin, permit: Permit) -> Result<Vec<SocketAddr>, DialError> {
    if permit == Permit::None {
        return Err(DialError::NotGranted(origin.clone()));
    }
    let found: Vec<SocketAddr> = match origin.host.parse::<IpAddr>() {
        Ok(ip) => vec![SocketAddr::new(ip, origin.port)],
        Err(_) => tokio::net::lookup_host((origin.host.as_str(), origin.port))
            .await
            .map_err(|_| DialError::Resolve(origin.host.clone()))?
            .collect(),
    };
    let Some(first) = found.first().copied() else {
        return Err(DialError::Resolve(origin.host.clone()));
    };
    let allowed: Vec<_> = found
        .into_iter()
        .filter(|a| permit == Permit::AnyAddress || is_public(a.ip()))
        .collect();
    if allowed.is_empty() {
        return Err(DialError::NotPublic {
            origin: origin.clone(),
            ip: first.ip(),
        });
    }
    Ok(allowed)
}

async fn connect(origin: &Origin, addresses: &[SocketAddr]) -> Result<TcpStream, DialError> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(DialError::Connect {
        origin: origin.clone(),
        error: last,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_url_gives_host_port_and_tls() {
        let origin = |url: &str| Origin::of_http(&url.parse().unwrap());
        assert_eq!(
            origin("https://API.example.com/v1?x=1")
                .unwrap()
                .to_string(),
            "api.example.com:443"
        );
        assert_eq!(
            origin("http://[::1]:8080/").unwrap().to_string(),
            "[::1]:8080"
        );
        assert!(!origin("http://a.example/").unwrap().tls);
        assert_eq!(origin("https://user:pw@a.example/"), Err(UrlError::User));
        assert!(matches!(
            origin("ftp://a.example/"),
            Err(UrlError::Scheme { .. })
        ));
        let ws: hyper::Uri = "wss://a.example/live".parse().unwrap();
        assert_eq!(Origin::of_websocket(&ws).unwrap().port, 443);
    }

    #[test]
    fn a_host_grant_opens_public_addresses_and_a_host_port_grant_opens_all() {
        let origin = Origin {
            host: "api.example.com".into(),
            port: 8443,
            tls: true,
        };
        let permit = |grants: &[&str]| Permit::find(grants.iter().copied(), &origin);
        assert_eq!(permit(&[]), Permit::None);
        assert_eq!(
            permit(&["kv", "http:example.com", "http:api.example.com.evil.test"]),
            Permit::None
        );
        assert_eq!(permit(&["http:API.example.com"]), Permit::Public);
        assert_eq!(permit(&["http:*"]), Permit::Public);
        assert_eq!(permit(&["http:api.example.com:443"]), Permit::None);
        assert_eq!(
            permit(&["http:api.example.com", "http:api.example.com:8443"]),
            Permit::AnyAddress
        );
        let v6 = Origin {
            host: "::1".into(),
            port: 80,
            tls: false,
        };
        assert_eq!(Permit::find(["http:[::1]:80"], &v6), Permit::AnyAddress);
        assert_eq!(Permit::find(["http:::1"], &v6), Permit::Public);
    }

    #[tokio::test]
    async fn loopback_is_refused_unless_host_and_port_were_granted() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let tls = super::super::tls::client_config(None).unwrap();
        let limit = Duration::from_secs(10);
        for host in ["127.0.0.1", "localhost"] {
            let origin = Origin {
                host: host.into(),
                port,
                tls: false,
            };
            let refused = dial(&origin, Permit::Public, &tls, limit).await;
            assert!(
                matches!(refused, Err(DialError::NotPublic { .. })),
                "{host}"
            );
            assert!(matches!(
                dial(&origin, Permit::None, &tls, limit).await,
                Err(DialError::NotGranted(_))
            ));
            assert!(dial(&origin, Permit::AnyAddress, &tls, limit).await.is_ok());
        }
    }
}
