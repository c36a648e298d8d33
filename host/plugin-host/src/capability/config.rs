//! `config`: the settings that the operator gave the plugin.

use crate::bindings::imports::config::Host;
use crate::instance::State;
use serde_json::{Value, json};

impl Host for State {
    fn json(&mut self) -> wasmtime::Result<String> {
        if let Some(recalled) = self.recorder.recall("config.json", || json!([])) {
            return Ok(recalled
                .as_ref()
                .and_then(Value::as_str)
                .unwrap_or("{}")
                .to_owned());
        }
        let text = self.context.config.to_string();
        self.recorder
            .note("config.json", || json!([]), || Value::from(text.as_str()));
        Ok(text)
    }

    fn get(&mut self, key: String) -> wasmtime::Result<Option<String>> {
        let args = || json!([key]);
        if let Some(recalled) = self.recorder.recall("config.get", args) {
            return Ok(recalled.as_ref().and_then(Value::as_str).map(str::to_owned));
        }
        let value = match self.parsed_config.as_ref() {
            Some(config) => lookup(config, &key),
            None => {
                let config = serde_json::from_str(&self.context.config).unwrap_or(Value::Null);
                lookup(self.parsed_config.insert(config), &key)
            }
        };
        self.recorder.note("config.get", args, || {
            value.as_deref().map_or(Value::Null, Value::from)
        });
        Ok(value)
    }
}

/// `key` is a dotted path; strings come bare, everything else as JSON.
fn lookup(config: &Value, key: &str) -> Option<String> {
    let found = key.split('.').try_fold(config, |value, name| match value {
        Value::Array(items) => items.get(name.parse::<usize>().ok()?),
        _ => value.get(name),
    })?;
    match found {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_is_found_by_its_dotted_path() {
        let config = json!({ "menu": { "timeout-ms": 5, "name": "day" }, "list": ["a"] });
        let get = |key| lookup(&config, key);
        assert_eq!(get("menu.timeout-ms").as_deref(), Some("5"));
        assert_eq!(get("menu.name").as_deref(), Some("day"));
        assert_eq!(get("list.0").as_deref(), Some("a"));
        assert_eq!(
            get("menu").as_deref(),
            Some(r#"{"name":"day","timeout-ms":5}"#)
        );
        assert_eq!(get("menu.none"), None);
    }
}
