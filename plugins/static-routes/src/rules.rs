//! The settings: an ordered list of rules.

use crate::in_rule;
use crate::pattern::Pattern;
use crate::template::Captures;
use gatepost_sdk::types::{CallInfo, Failure};
use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings<'a> {
    #[serde(borrow, default)]
    rule: Rules<'a>,
}

#[derive(Default)]
struct Rules<'a>(Vec<Rule<'a>>);

/// One rule. Which action it has is looked at only when it matches.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule<'a> {
    #[serde(borrow, default)]
    to: Option<Text<'a>>,
    #[serde(borrow, default)]
    from: Option<Text<'a>>,
    #[serde(borrow, default)]
    dial: Option<Vec<Text<'a>>>,
    #[serde(default)]
    reject: Option<u16>,
    #[serde(borrow, default)]
    flow: Option<Text<'a>>,
    #[serde(borrow, default)]
    redirect: Option<Vec<Text<'a>>>,
    /// for the operator, with `reject`
    #[serde(borrow, default)]
    pub(crate) reason: Option<Text<'a>>,
    /// the trunk that the targets of `dial` go through
    #[serde(borrow, default)]
    pub(crate) trunk: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(crate) caller_id: Option<Text<'a>>,
    /// added to the INVITE of each target
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    /// seconds for each target; 0 means the host's default
    #[serde(default)]
    pub(crate) timeout_s: u32,
    /// ring all targets at once
    #[serde(default)]
    pub(crate) parallel: bool,
}

pub(crate) enum Action<'a> {
    Dial(&'a [Text<'a>]),
    Flow(&'a str),
    Redirect(&'a [Text<'a>]),
    Reject(u16),
}

/// Why a rule did not match, and how near it came.
pub(crate) struct Miss {
    /// conditions that held come first, then how much of the literal head agreed
    pub(crate) nearness: (u8, usize),
    side: Side,
    pattern: String,
}

#[derive(Clone, Copy)]
enum Side {
    From,
    To,
}

pub(crate) fn parse(json: &str) -> Result<Vec<Rule<'_>>, Failure> {
    match serde_json::from_str::<Settings<'_>>(json) {
        Ok(settings) => Ok(settings.rule.0),
        Err(error) => {
            let text = error.to_string();
            // Line and column are those of our JSON, not of the operator's file.
            Err(Failure::Config(
                text.split(" at line ")
                    .next()
                    .unwrap_or_default()
                    .to_owned(),
            ))
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Rules<'a> {
    /// Like that of a list, but an error has the number of its rule.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Rules<'a>, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Vec<Rule<'de>>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of rules")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut rules = Vec::new();
                loop {
                    match list.next_element() {
                        Ok(Some(rule)) => rules.push(rule),
                        Ok(None) => return Ok(rules),
                        Err(error) => {
                            return Err(A::Error::custom(format_args!(
                                "rule {}: {error}",
                                rules.len() + 1
                            )));
                        }
                    }
                }
            }
        }
        deserializer.deserialize_seq(Each).map(Rules)
    }
}

impl Rule<'_> {
    /// What the rule's expressions captured, or why it does not match. The outer error is
    /// an expression that is wrong.
    pub(crate) fn matches(&self, call: &CallInfo) -> Result<Result<Captures, Miss>, String> {
        let mut captures = Captures::default();
        let mut held = 0;
        let mut missed: Option<Miss> = None;
        for (side, text, value) in [
            (Side::To, &self.to, &call.called),
            (Side::From, &self.from, &call.caller),
        ] {
            let Some(text) = text else { continue };
            let pattern = Pattern::new(text)
                .map_err(|error| format!("`{}` = \"{}\": {error}", side.key(), &**text))?;
            if pattern.find(value, &mut captures) {
                held += 1;
            } else {
                let agreeing = pattern.agreeing(value);
                missed.get_or_insert(Miss {
                    nearness: (0, agreeing),
                    side,
                    pattern: text.to_string(),
                });
            }
        }
        Ok(match missed {
            None => Ok(captures),
            Some(mut miss) => {
                miss.nearness.0 = held;
                Err(miss)
            }
        })
    }

    pub(crate) fn action(&self, index: usize) -> Result<Action<'_>, Failure> {
        let action = match (&self.dial, self.reject, &self.flow, &self.redirect) {
            (Some(uris), None, None, None) if !uris.is_empty() => Action::Dial(uris),
            (None, Some(code @ 400..=699), None, None) => Action::Reject(code),
            (None, None, Some(name), None) => Action::Flow(name),
            (None, None, None, Some(uris)) if !uris.is_empty() => Action::Redirect(uris),
            (None, Some(code), None, None) => {
                return Err(in_rule(
                    index,
                    &format!("`reject` is a SIP status from 400 to 699, not {code}"),
                ));
            }
            (Some(_), None, None, None) | (None, None, None, Some(_)) => {
                return Err(in_rule(index, "its list of SIP URIs is empty"));
            }
            _ => {
                return Err(in_rule(
                    index,
                    "it needs exactly one of `dial`, `reject`, `flow` and `redirect`",
                ));
            }
        };
        Ok(action)
    }
}

impl Miss {
    pub(crate) fn why(&self, call: &CallInfo) -> String {
        let value = match self.side {
            Side::From => &call.caller,
            Side::To => &call.called,
        };
        format!(
            "its `{}` \"{}\" does not match \"{value}\"",
            self.side.key(),
            self.pattern
        )
    }
}

impl Side {
    fn key(self) -> &'static str {
        match self {
            Side::From => "from",
            Side::To => "to",
        }
    }
}

/// Text that is borrowed from the JSON unless it has escapes.
pub(crate) struct Text<'a>(Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text<'a>, D::Error> {
        struct Borrow;
        impl<'de> Visitor<'de> for Borrow {
            type Value = Cow<'de, str>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text.to_owned()))
            }
        }
        deserializer.deserialize_str(Borrow).map(Text)
    }
}
