//! What their messages say.

use super::transport_of;
use crate::call_info::{Attestation, CallInfo, Direction, Endpoint, Header};
use crate::cause::q850_in;
use crate::key::CallKey;
use crate::world::World;
use bytes::Bytes;
use media::sdp::SessionDescription;
use sip::message::{Fields, HeaderName, NameAddr, SipUri};

/// A call as its INVITE tells it; whose it is, is not yet known.
pub(crate) fn call_info(
    w: &World,
    key: CallKey,
    flow: &sip::Flow,
    invite: &sip::Request,
) -> CallInfo {
    let from = invite.from();
    let user = |uri: &str| {
        SipUri::parse(uri)
            .ok()
            .and_then(|uri| uri.user_decoded().map(|user| user.into_owned()))
    };
    let from_uri = from.map_or("", |from| from.uri);
    let described = sdp_body(invite).and_then(|body| SessionDescription::parse(body).ok());
    let codecs = described
        .as_ref()
        .and_then(|d| d.audio())
        .map(|(_, audio)| audio.codecs.as_slice())
        .unwrap_or_default();
    let is_secret = |name: &str| {
        name.eq_ignore_ascii_case("Authorization")
            || name.eq_ignore_ascii_case("Proxy-Authorization")
    };
    CallInfo {
        call_id: key.to_string(),
        tenant: String::new(),
        trunk: None,
        direction: Direction::Inbound,
        source: Endpoint {
            host: flow.remote.ip().to_canonical(),
            port: flow.remote.port(),
            transport: transport_of(flow.transport),
        },
        request_uri: invite.uri().to_owned(),
        called: user(invite.uri()).unwrap_or_default(),
        caller: user(from_uri).unwrap_or_default(),
        from_uri: from_uri.to_owned(),
        from_display: from
            .and_then(|from| from.display())
            .map(|display| display.into_owned()),
        to_uri: invite.to().map_or("", |to| to.uri).to_owned(),
        attestation: Attestation::None,
        codecs: codecs.iter().map(|codec| codec.name.clone()).collect(),
        headers: invite
            .iter()
            .filter(|(name, _)| !is_secret(name))
            .map(|(name, value)| Header {
                name: name.to_owned(),
                value: value.to_owned(),
            })
            .collect(),
        received_ms: w.wall_ms,
        ext: Vec::new(),
    }
}

/// The body, if it is a session description. A body without Content-Type is taken for one:
/// nothing else is sent with an INVITE by peers that leave it out.
pub(crate) fn sdp_body(message: &Fields) -> Option<&Bytes> {
    let body = message.body();
    let is_sdp = match message.get(HeaderName::ContentType) {
        Some(text) => text
            .split(';')
            .next()
            .unwrap_or("")
            .trim()
            .eq_ignore_ascii_case("application/sdp"),
        None => true,
    };
    (!body.is_empty() && is_sdp).then_some(body)
}

/// Options that the peer requires and nobody here knows (RFC 3261 §8.2.2.3).
pub(crate) fn unsupported(request: &sip::Request) -> Vec<String> {
    let required = request
        .list(HeaderName::Require)
        .chain(request.list(HeaderName::ProxyRequire));
    required
        .map(|tag| tag.trim().to_owned())
        .filter(|tag| !tag.is_empty())
        .take(16)
        .collect()
}

/// The URI of the Contact, if it can be a remote target.
pub(crate) fn contact_uri(message: &Fields) -> Option<String> {
    let contact = message.contact()?;
    super::is_sip_uri(contact.uri).then(|| contact.uri.to_owned())
}

/// Where a 3xx points to.
pub(crate) fn contacts(response: &sip::Response) -> Vec<String> {
    let uris = response
        .addresses(HeaderName::Contact)
        .map(|contact: NameAddr<'_>| contact.uri.to_owned());
    uris.filter(|uri| super::is_sip_uri(uri)).take(8).collect()
}

pub(crate) fn allows(message: &Fields, method: &str) -> bool {
    message
        .list(HeaderName::Allow)
        .any(|allowed| allowed.trim() == method)
}

/// The Q.850 cause of a received `Reason`.
pub(crate) fn reason_q850(message: &Fields) -> Option<u8> {
    message.get_all(HeaderName::Reason).find_map(q850_in)
}

/// Max-Forwards for a B leg: one less than the A leg has, so that a ring of B2BUAs comes to
/// an end (RFC 7332 §4).
pub(crate) fn hops_left(info: &CallInfo) -> u8 {
    let header = info
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("Max-Forwards"));
    let hops = header
        .and_then(|header| header.value.trim().parse::<u8>().ok())
        .unwrap_or(70);
    hops.saturating_sub(1)
}

/// A digit by INFO: `application/dtmf-relay` or `application/dtmf` (RFC 6086, legacy use);
/// with its duration, ms.
pub(crate) fn dtmf(info: &sip::Request) -> Option<(char, u32)> {
    let kind = info
        .get(HeaderName::ContentType)?
        .split(';')
        .next()?
        .trim()
        .to_ascii_lowercase();
    let body = std::str::from_utf8(info.body()).ok()?;
    let value = |name: &str| {
        body.lines().find_map(|line| {
            let (key, value) = line.split_once('=')?;
            key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
        })
    };
    let (signal, duration) = match kind.as_str() {
        "application/dtmf-relay" => (
            value("signal")?,
            value("duration").and_then(|ms| ms.parse().ok()),
        ),
        "application/dtmf" => (body.trim(), None),
        _ => return None,
    };
    let digit = match signal {
        "10" => '*',
        "11" => '#',
        one => one
            .chars()
            .next()
            .filter(|_| one.chars().count() == 1)?
            .to_ascii_uppercase(),
    };
    "0123456789*#ABCD"
        .contains(digit)
        .then_some((digit, duration.unwrap_or(160)))
}

/// The Call-ID of a message as it goes over the wire, without reading the rest of it.
pub(crate) fn call_id_in(bytes: &[u8]) -> Option<&str> {
    for line in bytes.split(|b| *b == b'\n').skip(1) {
        if line == b"\r" || line.is_empty() {
            return None;
        }
        let (name, value) = line.split_at(line.iter().position(|b| *b == b':')?);
        let name = name.trim_ascii_end();
        if name.eq_ignore_ascii_case(b"call-id") || name.eq_ignore_ascii_case(b"i") {
            return std::str::from_utf8(value.get(1..)?.trim_ascii()).ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_by_info_are_read_in_both_forms() {
        assert_eq!(
            dtmf(&info(
                "application/dtmf-relay",
                "Signal=5\r\nDuration=250\r\n"
            )),
            Some(('5', 250))
        );
        assert_eq!(
            dtmf(&info("application/dtmf-relay", "Signal= 11\r\n")),
            Some(('#', 160))
        );
        assert_eq!(dtmf(&info("Application/DTMF;x=y", "a")), Some(('A', 160)));
        assert_eq!(dtmf(&info("application/dtmf", "55")), None);
        assert_eq!(dtmf(&info("application/json", "5")), None);
    }

    #[test]
    fn the_call_id_is_found_in_any_form_and_never_in_a_body() {
        assert_eq!(
            call_id_in(b"SIP/2.0 200 OK\r\nVia: x\r\nCALL-ID :  abc@x \r\n\r\n"),
            Some("abc@x")
        );
        assert_eq!(call_id_in(b"BYE sip:x SIP/2.0\r\ni: 7\r\n\r\n"), Some("7"));
        assert_eq!(call_id_in(b"BYE sip:x SIP/2.0\r\n\r\ni: 7\r\n"), None);
        assert_eq!(call_id_in(b""), None);
        assert_eq!(call_id_in(b"x\r\nno colon\r\n"), None);
    }

    fn info(kind: &str, body: &str) -> sip::Request {
        sip::Request::builder(sip::Method::Info, "sip:x")
            .body(kind, body.to_owned())
            .build()
    }
}
