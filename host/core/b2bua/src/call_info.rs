//! What a call tells about itself when it asks. Mirrors `call-info` of `wit/types.wit`.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Name and value pairs that the contract did not foresee.
pub type Ext = Vec<(String, String)>;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    pub name: String,
    pub value: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    Inbound,
    Outbound,
}

/// STIR/SHAKEN attestation (RFC 8588).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attestation {
    None,
    A,
    B,
    C,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    pub host: IpAddr,
    pub port: u16,
    pub transport: Transport,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    Udp,
    Tcp,
    Tls,
    Ws,
    Wss,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallInfo {
    /// [`crate::key::CallKey`] as text
    pub call_id: String,
    pub tenant: String,
    pub trunk: Option<String>,
    pub direction: Direction,
    pub source: Endpoint,
    pub request_uri: String,
    /// User part of the Request-URI, unescaped.
    pub called: String,
    /// User part of the From URI, unescaped.
    pub caller: String,
    pub from_uri: String,
    pub from_display: Option<String>,
    pub to_uri: String,
    pub attestation: Attestation,
    /// Codec names of the offer, in its order.
    pub codecs: Vec<String>,
    /// All headers that a plugin may ask for; whoever asks a plugin passes on only those
    /// that its manifest names.
    pub headers: Vec<Header>,
    /// Wall clock at arrival, milliseconds since 1970-01-01 UTC.
    pub received_ms: u64,
    pub ext: Ext,
}
