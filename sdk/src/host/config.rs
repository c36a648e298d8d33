//! The settings that the operator gave this plugin: `[config]` of its `.toml`, or
//! `PUT /api/plugins/{plugin}/config`.

use crate::types::Failure;
use serde::de::DeserializeOwned;

/// All settings as a type of the plugin's own.
///
/// ```
/// use gatepost_sdk::{config, testing::FakeHost, types::Failure};
///
/// #[derive(serde::Deserialize)]
/// struct Settings {
///     office: String,
/// }
///
/// fn office() -> Result<String, Failure> {
///     Ok(config::read::<Settings>()?.office)
/// }
///
/// let host = FakeHost::new().config(gatepost_sdk::json!({ "office": "sip:office@10.0.0.1" }));
/// assert_eq!(host.run(office).unwrap(), "sip:office@10.0.0.1");
/// ```
pub fn read<T: DeserializeOwned>() -> Result<T, ConfigError> {
    parse(&json())
}

/// All settings as one JSON object; `{}` where there are none.
pub fn json() -> String {
    super::sys::config::json()
}

/// One value by its dotted path (`menu.timeout-ms`); strings come bare, everything else
/// as JSON.
pub fn get(key: &str) -> Option<String> {
    super::sys::config::get(key)
}

pub(crate) fn parse<T: DeserializeOwned>(json: &str) -> Result<T, ConfigError> {
    serde_json::from_str(json).map_err(|error| ConfigError(error.to_string()))
}

/// The settings do not fit the plugin; the text says where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(pub String);

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "config: {}", self.0)
    }
}

impl std::error::Error for ConfigError {}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        Failure::Config(error.0)
    }
}
