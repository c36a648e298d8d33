//! `sip:`, `sips:` and `tel:` URIs (RFC 3261 §19.1, RFC 3966), read on demand from text.

use super::text::Params;
use std::borrow::Cow;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SipUri<'a> {
    pub scheme: Scheme,
    /// As written, escapes kept. The number of a `tel:` URI.
    pub user: Option<&'a str>,
    pub password: Option<&'a str>,
    /// Without the brackets of an IPv6 reference. Empty for `tel:`.
    pub host: &'a str,
    pub port: Option<u16>,
    pub params: Params<'a>,
    /// What follows `?`, as written.
    pub headers: Option<&'a str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    Sip,
    Sips,
    Tel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// Answered with 416 where it is the Request-URI.
    #[error("the scheme is none of sip, sips and tel")]
    Scheme,
    #[error("the URI has no host")]
    Host,
    #[error("the port is not a number from 0 to 65535")]
    Port,
    #[error("a character that no URI has")]
    Character,
}

impl<'a> SipUri<'a> {
    pub fn parse(text: &'a str) -> Result<Self, UriError> {
        let (scheme, rest) = text.split_once(':').ok_or(UriError::Scheme)?;
        let scheme = Scheme::parse(scheme)?;
        if rest
            .bytes()
            .any(|b| b <= b' ' || b == 0x7f || b == b'<' || b == b'>' || b == b'"')
        {
            return Err(UriError::Character);
        }
        if scheme == Scheme::Tel {
            let (number, params) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
            if number.is_empty() {
                return Err(UriError::Host);
            }
            let params = Params::new(params);
            return Ok(SipUri {
                scheme,
                user: Some(number),
                password: None,
                host: "",
                port: None,
                params,
                headers: None,
            });
        }
        // `;`, `?` and `/` are allowed in the user part: look for its end first.
        let (user_info, rest) = match rest.find('@') {
            Some(at) => (Some(&rest[..at]), &rest[at + 1..]),
            None => (None, rest),
        };
        let (user, password) = match user_info.map(|info| {
            info.split_once(':')
                .map_or((info, None), |(u, p)| (u, Some(p)))
        }) {
            Some((user, password)) => (Some(user), password),
            None => (None, None),
        };
        let (rest, headers) = match rest.split_once('?') {
            Some((rest, headers)) => (rest, Some(headers)),
            None => (rest, None),
        };
        let (host_port, params) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
        let (host, port) = split_host_port(host_port)?;
        Ok(SipUri {
            scheme,
            user,
            password,
            host,
            port,
            params: Params::new(params),
            headers,
        })
    }

    /// The user part with its escapes resolved.
    pub fn user_decoded(&self) -> Option<Cow<'a, str>> {
        self.user.map(decode)
    }

    /// The part of the user before its own parameters: `+1555` of `+1555;npdi@…`.
    pub fn number(&self) -> Option<&'a str> {
        self.user.map(|user| user.split(';').next().unwrap_or(user))
    }

    /// `transport=`, where given.
    pub fn transport(&self) -> Option<crate::Transport> {
        self.params
            .get("transport")
            .and_then(crate::Transport::parse)
    }

    /// Whether a Route with this URI is a loose router (RFC 3261 §19.1.1).
    pub fn is_loose_router(&self) -> bool {
        self.params.has("lr")
    }

    /// Header fields in the URI, names and values with their escapes resolved.
    pub fn header_fields(&self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> {
        self.headers
            .into_iter()
            .flat_map(|headers| headers.split('&'))
            .filter_map(|field| {
                let (name, value) = field.split_once('=')?;
                Some((decode(name), decode(value)))
            })
    }
}

impl Scheme {
    fn parse(text: &str) -> Result<Self, UriError> {
        [Scheme::Sip, Scheme::Sips, Scheme::Tel]
            .into_iter()
            .find(|scheme| scheme.as_str().eq_ignore_ascii_case(text))
            .ok_or(UriError::Scheme)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Sip => "sip",
            Scheme::Sips => "sips",
            Scheme::Tel => "tel",
        }
    }
}

/// Host and port of a URI or a sent-by; the host without brackets.
pub fn split_host_port(text: &str) -> Result<(&str, Option<u16>), UriError> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or(UriError::Host)?;
        match after.trim_ascii().strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if after.trim_ascii().is_empty() => (host, None),
            None => return Err(UriError::Host),
        }
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host.trim_ascii_end(), Some(port)),
            None => (text, None),
        }
    };
    if host.is_empty()
        || !host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._:%~".contains(&b) || b >= 0x80)
    {
        return Err(UriError::Host);
    }
    let port = match port.map(str::trim_ascii) {
        Some(port) if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) => {
            return Err(UriError::Port);
        }
        Some(port) => Some(port.parse().map_err(|_| UriError::Port)?),
        None => None,
    };
    Ok((host, port))
}

/// Resolves `%41`. What is no escape stays as it is; what is no UTF-8 is replaced.
pub fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let escape = (bytes[i] == b'%')
            .then(|| Some((hex(*bytes.get(i + 1)?)?, hex(*bytes.get(i + 2)?)?)))
            .flatten();
        match escape {
            Some((high, low)) => {
                out.push(high << 4 | low);
                i += 3;
            }
            None => {
                out.push(bytes[i]);
                i += 1;
            }
        }
    }
    Cow::Owned(
        String::from_utf8(out)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
    )
}

/// Escapes all that may not stand in a user part (RFC 3261 §25.1, user).
pub fn encode_user(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&byte) {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn hex(byte: u8) -> Option<u8> {
    (byte as char).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parts_of_a_sip_uri_are_read() {
        let uri = SipUri::parse("sips:alice;day=tue:pw@[2001:db8::10]:5061;transport=TCP;lr?Subject=a%20b&Priority=urgent").unwrap();
        assert_eq!(uri.scheme, Scheme::Sips);
        assert_eq!(uri.user, Some("alice;day=tue"));
        assert_eq!(uri.number(), Some("alice"));
        assert_eq!(uri.password, Some("pw"));
        assert_eq!((uri.host, uri.port), ("2001:db8::10", Some(5061)));
        assert_eq!(uri.transport(), Some(crate::Transport::Tcp));
        assert!(uri.is_loose_router());
        let fields: Vec<_> = uri.header_fields().collect();
        assert_eq!(fields[0], ("Subject".into(), "a b".into()));
        assert_eq!(fields[1], ("Priority".into(), "urgent".into()));
    }

    #[test]
    fn escapes_in_the_user_part_are_not_separators() {
        let uri = SipUri::parse("sip:sips%3Auser%40example.com@example.net").unwrap();
        assert_eq!(uri.user_decoded().unwrap(), "sips:user@example.com");
        assert_eq!(uri.host, "example.net");
        assert_eq!(decode("%Z%45"), "%ZE");
        assert_eq!(decode("null-%00-null"), "null-\0-null");
        assert_eq!(encode_user("a b@c%"), "a%20b%40c%25");
    }

    #[test]
    fn a_tel_uri_has_a_number_and_no_host() {
        let uri = SipUri::parse("tel:+1-201-555-0123;phone-context=x").unwrap();
        assert_eq!((uri.user, uri.host), (Some("+1-201-555-0123"), ""));
        assert_eq!(uri.params.get("phone-context"), Some("x"));
    }

    #[test]
    fn what_is_no_uri_says_why() {
        assert_eq!(SipUri::parse("http://x"), Err(UriError::Scheme));
        assert_eq!(SipUri::parse("sip:"), Err(UriError::Host));
        assert_eq!(SipUri::parse("sip:a@"), Err(UriError::Host));
        assert_eq!(SipUri::parse("sip:a@b:99999"), Err(UriError::Port));
        assert_eq!(SipUri::parse("sip:a@b:-1"), Err(UriError::Port));
        assert_eq!(SipUri::parse("sip:a b@c"), Err(UriError::Character));
        assert_eq!(SipUri::parse("sip:a@[::1"), Err(UriError::Host));
    }
}
