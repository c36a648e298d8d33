//! What a carrier's adapter may change. Mirrors `wit/provider.wit`.

use crate::call_info::{Ext, Header};
use serde::{Deserialize, Serialize};

/// An INVITE that is about to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outgoing {
    pub request_uri: String,
    pub from_uri: String,
    pub from_display: Option<String>,
    pub to_uri: String,
    pub headers: Vec<Header>,
}

/// What the adapter wants to be different; `None` keeps what is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shaped {
    pub request_uri: Option<String>,
    pub from_uri: Option<String>,
    pub from_display: Option<String>,
    pub to_uri: Option<String>,
    pub set_headers: Vec<Header>,
    pub remove_headers: Vec<String>,
}

/// What an incoming INVITE says in the carrier's own headers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    pub called: Option<String>,
    pub caller: Option<String>,
    pub ext: Ext,
}
