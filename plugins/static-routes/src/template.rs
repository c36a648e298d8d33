//! SIP URIs and texts with `{user}`, `{caller}` and capture groups in them.

use gatepost_sdk::types::CallInfo;

/// What the expressions of a rule captured, by number and by name.
#[derive(Default)]
pub(crate) struct Captures(Vec<(String, String)>);

impl Captures {
    /// The first to claim a key keeps it: `to` comes before `from`.
    pub(crate) fn add(&mut self, index: usize, name: Option<&str>, text: &str) {
        for key in [Some(index.to_string()), name.map(str::to_owned)]
            .into_iter()
            .flatten()
        {
            if self.get(&key).is_none() {
                self.0.push((key, text.to_owned()));
            }
        }
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == key)
            .map(|(_, text)| text.as_str())
    }
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Escape {
    Nothing,
    /// What is filled in comes from the caller; it must stay inside the user part.
    UriUser,
}

pub(crate) fn fill(
    template: &str,
    captures: &Captures,
    call: &CallInfo,
    escape: Escape,
) -> Result<String, String> {
    let mut filled = String::with_capacity(template.len() + call.called.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let Some((key, after)) = after.split_once('}') else {
            return Err(format!("`{template}` has a `{{` without a `}}`"));
        };
        let value = match key {
            "user" => &call.called,
            "caller" => &call.caller,
            _ => captures.get(key).ok_or_else(|| {
                format!("`{template}` asks for {{{key}}}, which is neither `user`, `caller` nor a group of its expressions")
            })?,
        };
        match escape {
            Escape::Nothing => filled.push_str(value),
            Escape::UriUser => escape_user(value, &mut filled),
        }
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

/// RFC 3261 §25.1: `user` is unreserved, escaped, or one of `&=+$,;?/`.
fn escape_user(value: &str, filled: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&byte) {
            filled.push(char::from(byte));
        } else {
            const HEX: &[u8; 16] = b"0123456789ABCDEF";
            filled.push('%');
            filled.push(char::from(HEX[usize::from(byte >> 4)]));
            filled.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}
