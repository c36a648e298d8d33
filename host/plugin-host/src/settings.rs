//! What an operator says about a plugin: `<name>.toml` beside the file, or the same as JSON
//! over REST.
//!
//! ```toml
//! [bind]                  # which calls it is asked about
//! default = true          # every call of the tenant
//! numbers = ["+1555*"]    # or calls to these; `*` at the end is "begins with"
//! trunks = ["carrier"]    # or calls that came in on these trunks
//! priority = 100          # lower is asked first; at the same number the closer match
//!
//! [config]                # handed to the plugin
//!
//! [grants]
//! allow = ["kv", "http:api.example.com", "secret:token", "secret-read:pin"]
//!
//! [limits]                # see `Limits`
//! deadline_ms = 50
//!
//! [on_failure]            # what the caller gets when it fails
//! action = "last_good"    # then fail_closed; or fallback_plugin, static_route, fail_open
//! code = 500
//! ```

use crate::grants::Grants;
use crate::limits::Limits;
use b2bua::call_info::CallInfo;
use b2bua::decision::{Decision, DialPlan, Reject, Strategy, Target};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    pub bind: Option<Bind>,
    pub config: Config,
    pub grants: GrantSettings,
    pub limits: Limits,
    pub on_failure: OnFailure,
}

/// The plugin's own settings: any JSON object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Config(pub serde_json::Map<String, Value>);

impl Default for Config {
    fn default() -> Self {
        Config(serde_json::Map::new())
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GrantSettings {
    pub allow: Grants,
}

/// Which calls a plugin is asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bind {
    pub default: bool,
    pub numbers: Vec<String>,
    pub trunks: Vec<String>,
    /// lower is asked first
    pub priority: u32,
}

impl Default for Bind {
    fn default() -> Self {
        Bind {
            default: false,
            numbers: Vec::new(),
            trunks: Vec::new(),
            priority: 100,
        }
    }
}

impl Bind {
    /// How closely this fits a call: `None` not at all, and the higher the closer.
    pub fn fits(&self, call: &CallInfo) -> Option<u32> {
        let number = self
            .numbers
            .iter()
            .filter_map(|n| match n.strip_suffix('*') {
                Some(prefix) => call
                    .called
                    .starts_with(prefix)
                    .then(|| 100 + prefix.len() as u32),
                None => (call.called == *n).then_some(10_000),
            });
        let trunk = call
            .trunk
            .iter()
            .filter(|t| self.trunks.contains(t))
            .map(|_| 50);
        number.chain(trunk).chain(self.default.then_some(0)).max()
    }
}

/// What a caller gets when the plugin fails: traps, misses its deadline, breaks a limit or
/// reports a failure itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub enum OnFailure {
    /// Refuse the call.
    FailClosed {
        #[serde(default = "server_error")]
        code: u16,
        #[serde(default)]
        reason: Option<String>,
    },
    /// As if it had no opinion: ask the next binding.
    FailOpen,
    /// Ask another plugin of the tenant, then refuse.
    FallbackPlugin {
        plugin: String,
        #[serde(default = "server_error")]
        code: u16,
    },
    /// Ask the version that answered well before this one, then refuse.
    LastGood {
        #[serde(default = "server_error")]
        code: u16,
    },
    /// Dial these, or refuse with `reject`. `{user}` is the number called.
    StaticRoute {
        #[serde(default)]
        dial: Vec<String>,
        #[serde(default)]
        reject: Option<u16>,
    },
}

fn server_error() -> u16 {
    500
}

impl Default for OnFailure {
    fn default() -> Self {
        OnFailure::LastGood {
            code: server_error(),
        }
    }
}

impl OnFailure {
    /// The SIP status of a refusal.
    pub(crate) fn code(&self) -> u16 {
        match self {
            OnFailure::FailClosed { code, .. }
            | OnFailure::FallbackPlugin { code, .. }
            | OnFailure::LastGood { code } => *code,
            OnFailure::FailOpen | OnFailure::StaticRoute { .. } => server_error(),
        }
    }

    /// The decision of a static route.
    pub(crate) fn static_decision(
        dial: &[String],
        reject: Option<u16>,
        call: &CallInfo,
    ) -> Decision {
        if dial.is_empty() {
            return Decision::Reject(Reject {
                code: reject.unwrap_or(500),
                reason: "the static route refuses".to_owned(),
                retry_after_s: None,
            });
        }
        let target = |uri: &String| Target {
            uri: uri.replace("{user}", &call.called),
            trunk: None,
            caller_id: None,
            headers: Vec::new(),
            codecs: Vec::new(),
            timeout_ms: 0,
            ext: Vec::new(),
        };
        Decision::Dial(DialPlan {
            targets: dial.iter().map(target).collect(),
            strategy: Strategy::Serial,
            max_duration_s: None,
            ext: Vec::new(),
        })
    }
}

/// Settings that cannot be used; the text names the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SettingsError(pub String);

impl Settings {
    pub fn from_toml(text: &str) -> Result<Settings, SettingsError> {
        let settings: Settings =
            toml::from_str(text).map_err(|e| SettingsError(with_nearest(&e.to_string())))?;
        settings.checked()
    }

    pub fn from_json(value: Value) -> Result<Settings, SettingsError> {
        let settings: Settings = serde_json::from_value(value)
            .map_err(|e| SettingsError(with_nearest(&e.to_string())))?;
        settings.checked()
    }

    /// Refuses numbers and names that make no sense.
    pub fn checked(self) -> Result<Settings, SettingsError> {
        self.limits.check().map_err(SettingsError)?;
        self.grants.allow.check().map_err(SettingsError)?;
        let code = match &self.on_failure {
            OnFailure::FailClosed { code, .. }
            | OnFailure::FallbackPlugin { code, .. }
            | OnFailure::LastGood { code } => Some(*code),
            OnFailure::StaticRoute { dial, reject } => {
                if dial.is_empty() == reject.is_none() {
                    return Err(SettingsError(
                        "on_failure: a static_route has either dial or reject".to_owned(),
                    ));
                }
                *reject
            }
            OnFailure::FailOpen => None,
        };
        if let Some(code) = code.filter(|c| !(400..700).contains(c)) {
            return Err(SettingsError(format!(
                "on_failure: {code} is no SIP status that refuses a call (400 to 699)"
            )));
        }
        if let Some(bind) = &self.bind
            && let Some(bad) = bind
                .numbers
                .iter()
                .find(|n| n.is_empty() || n[..n.len() - 1].contains('*'))
        {
            return Err(SettingsError(format!(
                "bind.numbers: `{bad}` may have one `*`, at its end"
            )));
        }
        Ok(self)
    }

    pub(crate) fn config_json(&self) -> String {
        serde_json::to_string(&self.config.0).unwrap_or_else(|_| "{}".to_owned())
    }
}

/// serde names what it expected; the nearest of these is most likely what was meant.
fn with_nearest(error: &str) -> String {
    let Some((_, rest)) = error.split_once("unknown field `") else {
        return error.to_owned();
    };
    let Some((unknown, rest)) = rest.split_once('`') else {
        return error.to_owned();
    };
    let known = rest.split('`').skip(1).step_by(2);
    match known.map(|k| (distance(unknown, k), k)).min() {
        Some((d, nearest)) if d <= 3 => format!("{}\ndid you mean `{nearest}`?", error.trim_end()),
        _ => error.to_owned(),
    }
}

/// Levenshtein's.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_is_read() {
        let settings = Settings::from_toml(
            "[bind]\nnumbers = [\"+1555*\"]\npriority = 5\n[config]\nrule = [{ to = \"^1\" }]\n[grants]\nallow = [\"kv\"]\n\
             [limits]\ndeadline_ms = 20\n[on_failure]\naction = \"fallback_plugin\"\nplugin = \"static-routes\"\n",
        )
        .unwrap();
        assert_eq!(settings.bind.as_ref().unwrap().priority, 5);
        assert!(settings.config_json().contains("\"to\":\"^1\""));
        assert_eq!(
            settings.on_failure,
            OnFailure::FallbackPlugin {
                plugin: "static-routes".to_owned(),
                code: 500
            }
        );
    }

    #[test]
    fn an_unknown_key_is_named_with_the_nearest_known_one() {
        let error = Settings::from_toml("[limits]\ndeadline = 20\n")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("deadline") && error.contains("did you mean `deadline_ms`"),
            "{error}"
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            "[limits]\ndeadline_ms = 0\n",
            "[grants]\nallow = [\"everything\"]\n",
            "[on_failure]\naction = \"fail_closed\"\ncode = 200\n",
            "[on_failure]\naction = \"static_route\"\n",
            "[bind]\nnumbers = [\"1*2\"]\n",
        ] {
            assert!(Settings::from_toml(bad).is_err(), "{bad}");
        }
    }
}
