//! What a peer sent, read tolerantly and bounded: the only place that names `sdp_types`.

use super::codec::Codec;
use super::direction::Direction;
use super::error::SdpError;
use std::net::{IpAddr, SocketAddr};

pub(super) const MAX_BYTES: usize = 65_535;
pub(super) const MAX_MEDIA: usize = 32;
/// Payload types of one stream that are looked at.
const MAX_FORMATS: usize = 64;
/// Longest media type and transport.
const MAX_WORD: usize = 64;
/// Longer parameters are not worth passing on.
const MAX_FMTP: usize = 512;

/// A peer's offer or answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionDescription {
    /// `o=` session version; a peer that sends the same one again changed nothing.
    pub version: u64,
    pub session_id: String,
    /// All streams in order; their number and order bind the answer (RFC 3264 §6).
    pub media: Vec<MediaDescription>,
}

/// One `m=` section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaDescription {
    /// `audio`, `video`, `image`, …
    pub kind: String,
    pub proto: String,
    /// The format list as it was written, to repeat it in a refusal.
    pub formats: String,
    /// 0: disabled.
    pub port: u16,
    /// None where there is none we can use.
    pub address: Option<IpAddr>,
    /// As written, from the peer's side; see [`MediaDescription::effective_direction`].
    pub direction: Direction,
    /// Usable audio formats in the peer's order, without telephone-event and comfort noise.
    pub codecs: Vec<Codec>,
    /// telephone-event formats (RFC 4733).
    pub events: Vec<Codec>,
    /// Within 10 to 60, else as if absent.
    pub ptime_ms: Option<u8>,
    /// `a=rtcp` (RFC 3605).
    pub rtcp: Option<SocketAddr>,
}

impl SessionDescription {
    /// Read a body. Refuses what breaks the grammar or our limits; formats, attributes and
    /// streams that we do not understand are kept or skipped, never an error.
    pub fn parse(body: &[u8]) -> Result<SessionDescription, SdpError> {
        if body.len() > MAX_BYTES {
            return Err(SdpError::TooLarge(body.len()));
        }
        // RFC 8866 §4.5 wants UTF-8; a Latin-1 session name is no reason to lose a call.
        let text = String::from_utf8_lossy(body);
        let parsed = sdp_types::Session::parse(text.as_bytes())
            .map_err(|e| SdpError::Syntax(shorten(&e.to_string())))?;
        if parsed.medias.len() > MAX_MEDIA {
            return Err(SdpError::TooManyStreams(parsed.medias.len()));
        }
        let media = parsed
            .medias
            .iter()
            .map(|m| MediaDescription::read(&parsed, m))
            .collect::<Result<_, _>>()?;
        Ok(SessionDescription {
            version: parsed.origin.sess_version,
            session_id: parsed.origin.sess_id,
            media,
        })
    }

    /// The stream that we take: the first enabled one of plain RTP audio with an address.
    pub fn audio(&self) -> Option<(usize, &MediaDescription)> {
        self.media
            .iter()
            .enumerate()
            .find(|(_, m)| m.is_usable_audio())
    }

    /// Whether the peer puts us on hold: `sendonly`, `inactive` or `c=0.0.0.0`.
    pub fn is_hold(&self) -> bool {
        self.audio()
            .is_some_and(|(_, m)| m.effective_direction().is_hold())
    }

    /// The peer's RTP address, if it wants audio at all.
    pub fn audio_address(&self) -> Option<SocketAddr> {
        let (_, media) = self.audio()?;
        Some(SocketAddr::new(media.address?, media.port))
    }
}

impl MediaDescription {
    fn read(
        session: &sdp_types::Session,
        media: &sdp_types::Media,
    ) -> Result<MediaDescription, SdpError> {
        // Both are repeated in our answers.
        if media.media.len() > MAX_WORD || media.proto.len() > MAX_WORD {
            return Err(SdpError::Syntax(
                "a stream's type or transport is too long".into(),
            ));
        }
        let audio = media.media == "audio" && is_rtp(&media.proto);
        let connection = media.connections.first().or(session.connection.as_ref());
        let address = connection.and_then(address_of);
        if audio && media.port != 0 && address.is_none() {
            return Err(SdpError::Address);
        }
        let attributes = || {
            media
                .attributes
                .iter()
                .map(|a| (a.attribute.as_str(), a.value.as_deref().unwrap_or("")))
        };
        let direction = attributes()
            .find_map(|(name, _)| Direction::from_attribute(name))
            .or_else(|| {
                session
                    .attributes
                    .iter()
                    .find_map(|a| Direction::from_attribute(&a.attribute))
            });
        let (mut codecs, mut events) = (Vec::new(), Vec::new());
        if audio {
            let payloads = payloads(&media.fmt)?;
            if payloads.is_empty() {
                return Err(SdpError::NoFormat);
            }
            for payload in payloads {
                let mapped = attributes()
                    .filter(|(name, _)| *name == "rtpmap")
                    .find_map(|(_, v)| rtpmap(v, payload));
                let Some(mut codec) = mapped.or_else(|| Codec::from_static(payload)) else {
                    continue;
                };
                codec.fmtp = attributes()
                    .filter(|(name, _)| *name == "fmtp")
                    .find_map(|(_, v)| fmtp(v, payload));
                if codec.is_event() {
                    events.push(codec);
                } else if !codec.is_auxiliary() {
                    codecs.push(codec);
                }
            }
        }
        let ptime_ms = attributes()
            .find(|(name, _)| *name == "ptime")
            .and_then(|(_, v)| v.trim().parse::<u8>().ok())
            .filter(|ms| (10..=60).contains(ms));
        let rtcp = attributes()
            .find(|(name, _)| *name == "rtcp")
            .and_then(|(_, v)| rtcp(v, address));
        Ok(MediaDescription {
            kind: media.media.clone(),
            proto: media.proto.clone(),
            formats: media.fmt.clone(),
            port: media.port,
            address,
            direction: direction.unwrap_or_default(),
            codecs,
            events,
            ptime_ms,
            rtcp,
        })
    }

    /// Plain RTP audio, enabled. An SRTP profile is not: we have no keys to offer back.
    pub fn is_usable_audio(&self) -> bool {
        self.kind == "audio"
            && self.port != 0
            && self.address.is_some()
            && is_plain_rtp(&self.proto)
    }

    /// From the peer's side. `c=0.0.0.0` is hold as RFC 2543 had it: the peer does not listen.
    pub fn effective_direction(&self) -> Direction {
        match self.address {
            Some(ip) if ip.is_unspecified() => self.direction.and(Direction::SendOnly),
            _ => self.direction,
        }
    }
}

fn is_rtp(proto: &str) -> bool {
    proto.contains("RTP/")
}

fn is_plain_rtp(proto: &str) -> bool {
    proto.eq_ignore_ascii_case("RTP/AVP") || proto.eq_ignore_ascii_case("RTP/AVPF")
}

/// One unicast IP address; names and multicast are not for telephony.
fn address_of(connection: &sdp_types::Connection) -> Option<IpAddr> {
    if connection.nettype != sdp_types::NetType::In || !connection.addrtype.is_ip() {
        return None;
    }
    let ip = connection.try_address().ok()?.ip;
    let family_fits = ip.is_ipv4() == (connection.addrtype == sdp_types::AddrType::Ip4);
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    (family_fits && !ip.is_multicast() && !broadcast).then_some(ip)
}

fn payloads(formats: &str) -> Result<Vec<u8>, SdpError> {
    let mut found = Vec::new();
    for word in formats.split_ascii_whitespace().take(MAX_FORMATS) {
        let payload = word.parse::<u8>().ok().filter(|p| *p < 128);
        let payload = payload.ok_or_else(|| SdpError::PayloadType(shorten(word)))?;
        if !found.contains(&payload) {
            found.push(payload);
        }
    }
    Ok(found)
}

/// `0 PCMU/8000[/1]` if it is about this payload and makes sense.
fn rtpmap(value: &str, payload: u8) -> Option<Codec> {
    let (number, rest) = value.split_once(' ')?;
    if number.parse::<u8>() != Ok(payload) {
        return None;
    }
    let mut parts = rest.trim().split('/');
    let name = parts
        .next()
        .filter(|n| !n.is_empty() && n.len() <= 64 && n.bytes().all(is_token))?;
    // The clock is divided by; the fastest in use is 192 kHz.
    let clock = parts
        .next()?
        .trim()
        .parse::<u32>()
        .ok()
        .filter(|c| (1000..=192_000).contains(c))?;
    let channels = match parts.next() {
        Some(text) => text
            .trim()
            .parse::<u8>()
            .ok()
            .filter(|c| (1..=8).contains(c))?,
        None => 1,
    };
    Some(Codec {
        channels,
        ..Codec::new(name, payload, clock)
    })
}

fn fmtp(value: &str, payload: u8) -> Option<String> {
    let (number, rest) = value.split_once(' ')?;
    let rest = rest.trim();
    (number.parse::<u8>() == Ok(payload) && !rest.is_empty() && rest.len() <= MAX_FMTP)
        .then(|| rest.to_owned())
}

/// `53020` or `53020 IN IP4 126.16.64.4` (RFC 3605). Another address than the stream's is
/// not believed: our reports would go to someone who never asked for them.
fn rtcp(value: &str, address: Option<IpAddr>) -> Option<SocketAddr> {
    let mut words = value.split_ascii_whitespace();
    let port = words.next()?.parse::<u16>().ok().filter(|p| *p != 0)?;
    let ip = address?;
    let named = words.nth(2).map_or(Ok(ip), str::parse);
    (named == Ok(ip)).then(|| SocketAddr::new(ip, port))
}

/// RFC 8866 §9 token-char.
fn is_token(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x27 | 0x2a | 0x2b | 0x2d | 0x2e | b'0'..=b'9' | b'A'..=b'Z' | 0x5e..=0x7e)
}

fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}
