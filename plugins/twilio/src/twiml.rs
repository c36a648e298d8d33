//! The TwiML that we answer with.

use crate::form::Form;
use crate::{Settings, uri};
use std::fmt::Write;

pub(crate) const NOTHING: &str = r#"<?xml version="1.0" encoding="UTF-8"?><Response/>"#;
pub(crate) const HANGUP: &str =
    r#"<?xml version="1.0" encoding="UTF-8"?><Response><Hangup/></Response>"#;

/// Twilio takes at most so many characters after the `?` of a SIP URI.
const LONGEST_HEADERS: usize = 1_024;

/// Dials our SIP address `here` with the number that was called.
pub(crate) fn dial(here: &str, form: &Form, settings: &Settings) -> String {
    let called = form
        .get("To")
        .or_else(|| form.get("Called"))
        .unwrap_or_default();
    // A call to a SIP domain has a SIP URI here.
    let called = uri::user(called).unwrap_or_else(|| called.to_owned());
    let mut sip = uri::with_user(here, &percent(&called, b"-_.!~*'()&=+$,/"));
    let headers = headers(form, settings);
    if !headers.is_empty() && headers.len() <= LONGEST_HEADERS {
        sip = format!("{sip}?{headers}");
    }

    let mut attributes = String::new();
    if settings.answer_on_bridge {
        attributes.push_str(r#" answerOnBridge="true""#);
    }
    if let Some(timeout) = settings.timeout_s {
        let _ = write!(attributes, r#" timeout="{timeout}""#);
    }
    if let Some(caller_id) = &settings.caller_id {
        let _ = write!(attributes, r#" callerId="{}""#, escape(caller_id));
    }
    let sip = escape(&sip);
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?><Response><Dial{attributes}><Sip>{sip}</Sip></Dial></Response>"#
    )
}

/// `X-A=…&X-B=…` (RFC 3261 §19.1.1, headers of a URI).
fn headers(form: &Form, settings: &Settings) -> String {
    let mut text = String::new();
    for (name, template) in &settings.headers {
        let mut value = String::new();
        let mut rest = template.as_str();
        while let Some((before, (field, after))) = rest
            .split_once('{')
            .and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
        {
            value.push_str(before);
            value.push_str(form.get(field).unwrap_or_default());
            rest = after;
        }
        value.push_str(rest);
        if !text.is_empty() {
            text.push('&');
        }
        let _ = write!(
            text,
            "{}={}",
            percent(name, b"-_"),
            percent(&value, b"-_.!~*'()")
        );
    }
    text
}

/// Everything but letters, digits and `keep` as `%XX`.
fn percent(text: &str, keep: &[u8]) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || keep.contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
