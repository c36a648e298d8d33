//! Values that are parsed once, while the file is read: a wrong one is reported with its line.

use serde::Deserialize;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// One listening address, e.g. `udp://127.0.0.1:5060`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Listen {
    pub transport: ListenTransport,
    pub address: SocketAddr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ListenTransport {
    Tcp,
    Udp,
}

impl TryFrom<String> for Listen {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let form = || {
            format!(
                "`{text}` is not of the form udp://ADDRESS:PORT or tcp://ADDRESS:PORT, e.g. udp://127.0.0.1:5060"
            )
        };
        let (scheme, address) = text.split_once("://").ok_or_else(form)?;
        let transport = match scheme {
            "udp" => ListenTransport::Udp,
            "tcp" => ListenTransport::Tcp,
            "tls" | "ws" | "wss" => {
                return Err(format!("`{text}`: SIP is served over udp and tcp only"));
            }
            _ => return Err(form()),
        };
        let address = address.parse().map_err(|_| form())?;
        Ok(Listen { transport, address })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.transport {
            ListenTransport::Tcp => "tcp",
            ListenTransport::Udp => "udp",
        };
        write!(f, "{scheme}://{}", self.address)
    }
}

/// What others are told to reach us by, where that differs from the listening address.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Advertise {
    /// Name or address; an IPv6 address is without brackets.
    pub host: String,
    pub port: Option<u16>,
}

impl FromStr for Advertise {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Advertise {
                host: address.ip().to_string(),
                port: Some(address.port()),
            });
        }
        if let Ok(ip) = text
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<IpAddr>()
        {
            return Ok(Advertise {
                host: ip.to_string(),
                port: None,
            });
        }
        let wrong =
            || format!("`{text}` is neither an address nor a host name, with or without `:PORT`");
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(port.parse().map_err(|_| wrong())?)),
            None => (text, None),
        };
        if !is_host_name(host) {
            return Err(wrong());
        }
        Ok(Advertise {
            host: host.to_owned(),
            port,
        })
    }
}

impl TryFrom<String> for Advertise {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// The id of a tenant or a trunk. It is a folder's name and part of paths of the API.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct TenantId(pub String);

impl TryFrom<String> for TenantId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        let starts = text
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if !starts || text.len() > 63 || !text.bytes().all(fits) {
            return Err(format!(
                "`{text}` cannot be an id: 1 to 63 of a-z, 0-9, `-` and `_`, the first a letter or digit"
            ));
        }
        Ok(TenantId(text))
    }
}

/// A codec that this host can negotiate, by its SDP name (RFC 3551 table 4).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct CodecName(pub String);

impl TryFrom<String> for CodecName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.to_ascii_uppercase().as_str() {
            known @ ("PCMU" | "PCMA") => Ok(CodecName(known.to_owned())),
            _ => Err(format!(
                "`{text}` is not a codec of this host; it knows PCMU and PCMA"
            )),
        }
    }
}

/// Where a secret is: in the file itself, in the environment, or in a file of its own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(
    untagged,
    expecting = "a secret is a string, { env = \"NAME\" } or { file = \"PATH\" }"
)]
pub enum SecretSource {
    Value(Secret),
    Env(FromEnv),
    File(FromFile),
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FromEnv {
    pub env: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FromFile {
    pub file: PathBuf,
}

/// Text that is never logged.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// RFC 1123 §2.1, loosely: what may stand as the host part of a SIP URI.
pub(super) fn is_host_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 253
        && text.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advertised_name_may_have_a_port() {
        assert_eq!(
            "sbc.example.com:5070".parse(),
            Ok(Advertise {
                host: "sbc.example.com".into(),
                port: Some(5070)
            })
        );
        assert_eq!(
            "[2001:db8::1]".parse(),
            Ok(Advertise {
                host: "2001:db8::1".into(),
                port: None
            })
        );
        assert!("sbc example".parse::<Advertise>().is_err());
    }

    #[test]
    fn a_secret_is_not_shown_by_debug() {
        assert!(!format!("{:?}", Secret::new("hunter2")).contains("hunter2"));
    }
}
