//! `"Display" <uri>;params` and `uri;params`: From, To, Contact, Route and their kin
//! (RFC 3261 §20.10).

use super::text::{Params, find_top_level, is_balanced, unquote};
use super::uri::{SipUri, UriError};
use memchr::memchr3;
use std::borrow::Cow;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameAddr<'a> {
    /// As written, quotes and all; empty where there is none.
    pub raw_display: &'a str,
    /// Of any scheme, without the angle brackets.
    pub uri: &'a str,
    /// Those of the header, not those of the URI.
    pub params: Params<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("neither a name-addr nor an addr-spec")]
pub struct NameAddrError;

impl<'a> NameAddr<'a> {
    pub fn parse(text: &'a str) -> Result<Self, NameAddrError> {
        let text = text.trim_ascii();
        let parsed = match find_bracket(text)? {
            Some(open) => {
                let close = open + text[open..].find('>').ok_or(NameAddrError)?;
                NameAddr {
                    raw_display: text[..open].trim_ascii(),
                    uri: text[open + 1..close].trim_ascii(),
                    params: Params::new(&text[close + 1..]),
                }
            }
            // Without brackets the parameters are the header's (RFC 3261 §20.10).
            None => {
                let end = find_top_level(text, b';').unwrap_or(text.len());
                let uri = text[..end].trim_ascii();
                if uri.bytes().any(|b| b",?\" ".contains(&b)) {
                    return Err(NameAddrError);
                }
                NameAddr {
                    raw_display: "",
                    uri,
                    params: Params::new(&text[end..]),
                }
            }
        };
        let has_scheme = parsed.uri.find(':').is_some_and(|colon| colon > 0);
        if !has_scheme || !parsed.params.is_well_formed() || !is_balanced(parsed.params.as_str()) {
            return Err(NameAddrError);
        }
        Ok(parsed)
    }

    /// The display name without quotes and backslashes.
    pub fn display(&self) -> Option<Cow<'a, str>> {
        (!self.raw_display.is_empty()).then(|| unquote(self.raw_display))
    }

    pub fn tag(&self) -> Option<&'a str> {
        self.params.get("tag").filter(|tag| !tag.is_empty())
    }

    pub fn sip_uri(&self) -> Result<SipUri<'a>, UriError> {
        SipUri::parse(self.uri)
    }
}

/// The `<` of a name-addr. An error where the display name's quotes do not close.
fn find_bracket(text: &str) -> Result<Option<usize>, NameAddrError> {
    // As a rule there is no quote, or nothing that it hides.
    match memchr3(b'"', b'<', b';', text.as_bytes()) {
        None => return Ok(None),
        Some(at) if text.as_bytes()[at] == b'<' => return Ok(Some(at)),
        Some(at) if text.as_bytes()[at] == b';' => return Ok(None),
        Some(_) => {}
    }
    let (mut quoted, mut escaped) = (false, false);
    for (i, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'<' if !quoted => return Ok(Some(i)),
            // An addr-spec has begun its parameters: a later `<` is no bracket of ours.
            b';' if !quoted => return Ok(None),
            _ => {}
        }
    }
    if quoted { Err(NameAddrError) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_name_may_hold_anything() {
        let addr =
            NameAddr::parse(r#""J \"<sip:x>;tag=no\" \\" <sip:a@b;p=1>;tag=t1;q=0.5"#).unwrap();
        assert_eq!(addr.display().unwrap(), r#"J "<sip:x>;tag=no" \"#);
        assert_eq!(addr.uri, "sip:a@b;p=1");
        assert_eq!(addr.tag(), Some("t1"));
        assert_eq!(addr.params.get("q"), Some("0.5"));
    }

    #[test]
    fn without_brackets_the_parameters_are_the_headers() {
        let addr = NameAddr::parse("sip:vivekg@chair ;   tag    = 1918181833n").unwrap();
        assert_eq!(
            (addr.uri, addr.tag()),
            ("sip:vivekg@chair", Some("1918181833n"))
        );
        assert_eq!(addr.display(), None);
        assert_eq!(
            NameAddr::parse("caller<sip:c@d>;tag=3")
                .unwrap()
                .raw_display,
            "caller"
        );
        assert_eq!(
            NameAddr::parse("isbn:2983792873").unwrap().uri,
            "isbn:2983792873"
        );
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in [
            "",
            "<sip:a@b",
            "\"Mr. X <sip:a@b>;tag=1",
            "sip:a@b?Route=x",
            "<>",
            "nothing",
            "<sip:a>;;",
            "<sip:a>junk",
            "<sip:a>;x=\"y",
        ] {
            assert_eq!(NameAddr::parse(bad), Err(NameAddrError), "{bad}");
        }
    }
}
