//! The settings as they are written, and the menu that they make.

use gatepost_sdk::Value;
use gatepost_sdk::types::Failure;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ops::Deref;

/// Every prompt is a file of the tenant's prompt folder, or a list of files.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    pub(crate) prompt: List,
    pub(crate) invalid_prompt: List,
    pub(crate) no_input_prompt: List,
    /// before the menu again, when nobody answered
    pub(crate) unavailable_prompt: List,
    pub(crate) goodbye_prompt: List,
    /// seconds for the first digit
    pub(crate) timeout_s: u64,
    /// seconds for each further digit, where the menu has longer choices
    pub(crate) digit_timeout_s: u64,
    pub(crate) tries: u32,
    /// SIP URIs that are dialled when the tries are used up
    pub(crate) operator: List,
    /// what the caller hears while something is dialled: the name of a tone
    pub(crate) ringback: String,
    menu: BTreeMap<String, Written>,
}

impl Default for Settings {
    fn default() -> Settings {
        let file = |name: &str| List(vec![name.to_owned()]);
        Settings {
            prompt: file("welcome.wav"),
            invalid_prompt: file("invalid.wav"),
            no_input_prompt: file("no-input.wav"),
            unavailable_prompt: file("unavailable.wav"),
            goodbye_prompt: file("goodbye.wav"),
            timeout_s: 5,
            digit_timeout_s: 2,
            tries: 3,
            operator: List::default(),
            ringback: "ringback".to_owned(),
            menu: BTreeMap::new(),
        }
    }
}

impl Settings {
    pub(crate) fn menu(&self) -> Result<Menu, Failure> {
        if self.menu.is_empty() {
            return Err(Failure::Config("`menu` has no choices".to_owned()));
        }
        let mut choices = BTreeMap::new();
        for (digits, written) in &self.menu {
            let valid = !digits.is_empty()
                && digits.len() <= 15
                && digits.bytes().all(|digit| b"0123456789*".contains(&digit));
            if !valid {
                return Err(Failure::Config(format!(
                    "menu \"{digits}\": a choice is 1 to 15 of the digits 0 to 9 and *"
                )));
            }
            let choice = written
                .choice()
                .map_err(|what| Failure::Config(format!("menu {digits}: {what}")))?;
            choices.insert(digits.clone(), choice);
        }
        Ok(Menu(choices))
    }
}

/// What each choice leads to; there is at least one.
pub(crate) struct Menu(BTreeMap<String, Choice>);

impl Menu {
    pub(crate) fn get(&self, digits: &str) -> Option<&Choice> {
        self.0.get(digits)
    }

    pub(crate) fn longest(&self) -> u8 {
        self.0
            .keys()
            .map(|digits| digits.len())
            .max()
            .map_or(1, |longest| longest as u8)
    }
}

pub(crate) struct Choice {
    /// played before it is followed
    pub(crate) prompt: List,
    pub(crate) action: Action,
}

pub(crate) enum Action {
    Connect {
        connector: String,
        settings: Value,
    },
    Dial(Dial),
    Hangup,
    /// the menu again
    Menu,
}

#[derive(Default)]
pub(crate) struct Dial {
    pub(crate) uris: List,
    pub(crate) trunk: Option<String>,
    pub(crate) caller_id: Option<String>,
    /// for each target; 0 means the host's default
    pub(crate) timeout_s: u32,
}

impl Action {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Action::Connect { .. } => "connect",
            Action::Dial(_) => "dial",
            Action::Hangup => "hangup",
            Action::Menu => "menu",
        }
    }
}

/// One choice as written: exactly one of `dial`, `play`, `connect`, `menu` and `hangup`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    prompt: List,
    #[serde(default)]
    dial: Option<List>,
    #[serde(default)]
    trunk: Option<String>,
    #[serde(default)]
    caller_id: Option<String>,
    #[serde(default)]
    timeout_s: u32,
    /// prompts, and the menu again
    #[serde(default)]
    play: Option<List>,
    /// name of a connector plugin
    #[serde(default)]
    connect: Option<String>,
    /// with `connect`: goes over the connector's own configuration
    #[serde(default)]
    settings: Option<Value>,
    #[serde(default)]
    menu: bool,
    #[serde(default)]
    hangup: bool,
}

impl Written {
    fn choice(&self) -> Result<Choice, &'static str> {
        let mut prompt = self.prompt.clone();
        let action = match (
            &self.dial,
            &self.play,
            &self.connect,
            self.menu,
            self.hangup,
        ) {
            (Some(uris), None, None, false, false) if !uris.is_empty() => Action::Dial(Dial {
                uris: uris.clone(),
                trunk: self.trunk.clone(),
                caller_id: self.caller_id.clone(),
                timeout_s: self.timeout_s,
            }),
            (Some(_), None, None, false, false) => return Err("its list of SIP URIs is empty"),
            (None, Some(files), None, false, false) => {
                prompt.0.extend(files.iter().cloned());
                Action::Menu
            }
            (None, None, Some(connector), false, false) => Action::Connect {
                connector: connector.clone(),
                settings: self
                    .settings
                    .clone()
                    .unwrap_or_else(|| Value::Object(Default::default())),
            },
            (None, None, None, true, false) => Action::Menu,
            (None, None, None, false, true) => Action::Hangup,
            _ => {
                return Err(
                    "it needs exactly one of `dial`, `play`, `connect`, `menu` and `hangup`",
                );
            }
        };
        Ok(Choice { prompt, action })
    }
}

/// One text or a list of them.
#[derive(Clone, Default, Deserialize)]
#[serde(from = "OneOrMany")]
pub(crate) struct List(Vec<String>);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl From<OneOrMany> for List {
    fn from(written: OneOrMany) -> List {
        match written {
            OneOrMany::One(text) => List(vec![text]),
            OneOrMany::Many(texts) => List(texts),
        }
    }
}

impl Deref for List {
    type Target = [String];
    fn deref(&self) -> &[String] {
        &self.0
    }
}
