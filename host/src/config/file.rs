//! The file as it is written. Every field may be missing; `check` makes it complete.

use super::values::{Advertise, CodecName, Listen, SecretSource, TenantId};
use b2bua::directory::Cidr;
use serde::Deserialize;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use toml::Spanned;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConfigFile {
    pub sip: Sip,
    pub rtp: Rtp,
    pub http: Http,
    pub store: Store,
    pub plugins: Plugins,
    pub journal: Journal,
    pub log: Log,
    pub tenant: Vec<Spanned<Tenant>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sip {
    pub listen: Option<Spanned<Vec<Listen>>>,
    pub advertise: Option<Advertise>,
    pub domain: Option<String>,
    pub workers: Option<Spanned<u16>>,
    pub max_calls: Option<Spanned<u32>>,
    pub max_connections: Option<Spanned<u32>>,
    pub connection_idle_s: Option<Spanned<u32>>,
    pub drain_s: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rtp {
    pub ports: Option<Spanned<Vec<u16>>>,
    pub address: Option<IpAddr>,
    pub advertise: Option<IpAddr>,
    pub threads: Option<Spanned<u16>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    pub listen: Option<SocketAddr>,
    pub public_url: Option<Spanned<String>>,
    pub admin_token_file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    pub url: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Plugins {
    pub dir: Option<PathBuf>,
    pub cache: Option<PathBuf>,
    pub watch: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Journal {
    pub dir: Option<PathBuf>,
    pub keep_days: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    pub filter: Option<String>,
    pub json: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tenant {
    pub id: Spanned<TenantId>,
    #[serde(default)]
    pub domains: Vec<Spanned<String>>,
    #[serde(default)]
    pub sources: Vec<Cidr>,
    pub prompts: Option<PathBuf>,
    pub default_trunk: Option<Spanned<String>>,
    #[serde(default)]
    pub codecs: Vec<CodecName>,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    pub secrets: std::collections::BTreeMap<String, Spanned<SecretSource>>,
    #[serde(default)]
    pub trunk: Vec<Spanned<Trunk>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    pub max_calls: Option<u32>,
    pub max_duration_s: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trunk {
    pub id: Spanned<TenantId>,
    pub provider: Option<String>,
    pub proxy: Option<Spanned<String>>,
    pub transport: Option<Spanned<String>>,
    pub username: Option<String>,
    pub password: Option<Spanned<SecretSource>>,
    pub realm: Option<String>,
    #[serde(default)]
    pub sources: Vec<Cidr>,
    #[serde(default)]
    pub codecs: Vec<CodecName>,
    #[serde(default)]
    pub trusted: bool,
    pub max_calls: Option<u32>,
}
