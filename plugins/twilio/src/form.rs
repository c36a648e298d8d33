//! `application/x-www-form-urlencoded`, in the order that it was sent.

use gatepost_sdk::types::{Ext, HttpRequest};

pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    /// The form in the body; `None` where it has another type.
    pub(crate) fn of(request: &HttpRequest) -> Option<Form> {
        let media_type = request
            .header("Content-Type")
            .and_then(|value| value.split(';').next())
            .map(str::trim)?;
        media_type
            .eq_ignore_ascii_case("application/x-www-form-urlencoded")
            .then(|| Form::parse(&String::from_utf8_lossy(&request.body)))
    }

    /// The query, which is all that a GET has.
    pub(crate) fn of_query(url: &str) -> Option<Form> {
        url.split_once('?')
            .map(|(_, query)| Form::parse(query.split('#').next().unwrap_or(query)))
    }

    fn parse(text: &str) -> Form {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Form(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(name), decode(value))
                })
                .collect(),
        )
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// All pairs in byte order, equal ones once: the order in which they are signed.
    pub(crate) fn sorted(&self) -> Vec<&(String, String)> {
        let mut pairs: Vec<_> = self.0.iter().collect();
        pairs.sort();
        pairs.dedup();
        pairs
    }

    /// For a notice: `CallSid` is `call-sid`. Long values (tokens) are left out.
    pub(crate) fn to_ext(&self) -> Ext {
        const LONGEST: usize = 2_048;
        const MOST: usize = 64;
        let short = self
            .0
            .iter()
            .filter(|(_, value)| value.len() <= LONGEST)
            .take(MOST);
        short
            .map(|(name, value)| (kebab(name), value.clone()))
            .collect()
    }
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = bytes
            .get(at + 1..at + 3)
            .filter(|_| bytes[at] == b'%')
            .and_then(|digits| {
                let digits = std::str::from_utf8(digits)
                    .ok()
                    .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
                u8::from_str_radix(digits, 16).ok()
            });
        match (escaped, bytes[at]) {
            (Some(byte), _) => {
                decoded.push(byte);
                at += 3;
                continue;
            }
            (None, b'+') => decoded.push(b' '),
            (None, byte) => decoded.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn kebab(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 4);
    let mut after_small = false;
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            if after_small {
                text.push('-');
            }
            after_small = false;
            text.push(letter.to_ascii_lowercase());
        } else {
            after_small = letter.is_ascii_lowercase() || letter.is_ascii_digit();
            text.push(if letter == '_' { '-' } else { letter });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone_and_broken_ones_stay() {
        let form = Form::parse("To=%2B1555&Body=a+b%20c&Odd=100%&Half=%4&Name");
        assert_eq!(form.get("To"), Some("+1555"));
        assert_eq!(form.get("Body"), Some("a b c"));
        assert_eq!(form.get("Odd"), Some("100%"));
        assert_eq!(form.get("Half"), Some("%4"));
        assert_eq!(form.get("Name"), Some(""));
    }

    #[test]
    fn names_become_those_of_notices() {
        assert_eq!(kebab("CallSid"), "call-sid");
        assert_eq!(kebab("SipResponseCode"), "sip-response-code");
        assert_eq!(kebab("SipHeader_X-Foo"), "sip-header-x-foo");
        assert_eq!(kebab("RecordingURL"), "recording-url");
    }
}
