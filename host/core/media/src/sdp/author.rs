//! Our side of one leg's session: the offers and answers that we write.

use super::capabilities::Capabilities;
use super::codec::Codec;
use super::description::{MediaDescription, SessionDescription};
use super::direction::Direction;
use super::error::Refusal;
use super::negotiated::{Agreed, Negotiated};
use bytes::Bytes;
use std::fmt::Write;
use std::net::SocketAddr;

/// Writes the descriptions of one leg. Lives as long as the leg's dialog: it remembers what
/// RFC 3264 §8 wants to stay the same (session id, number of streams, payload numbers) and
/// raises the version only when something changed.
#[derive(Debug, Clone)]
pub struct Author {
    session_id: u64,
    version: u64,
    /// Everything after `o=` of the last description; none before the first.
    last: Option<String>,
    /// All streams of the session; the one we use has `None`.
    streams: Vec<Option<Refused>>,
    /// Formats that already have a number in this session.
    numbers: Vec<Codec>,
}

/// A stream that stays in the session with port 0.
#[derive(Debug, Clone)]
struct Refused {
    kind: String,
    proto: String,
    formats: String,
}

/// What we offered and wait for an answer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    pub codecs: Vec<Codec>,
    pub event: Option<Codec>,
    pub ptime_ms: u8,
    pub direction: Direction,
    /// Where the audio stands among the streams, and how many there are.
    pub index: usize,
    pub streams: usize,
}

impl Author {
    /// `session_id` names the session in `o=`: unpredictable, unique for the node.
    pub fn new(session_id: u64) -> Author {
        // RFC 3264 §5: representable as 64-bit signed, and so is every later version.
        let session_id = session_id >> 2;
        Author {
            session_id,
            version: session_id,
            last: None,
            streams: Vec::new(),
            numbers: Vec::new(),
        }
    }

    /// Offer audio to this leg's peer.
    ///
    /// `from` is what the other leg offered, if it did (none for a late offer or a call that
    /// we originate): its codecs come first with its numbers, so that packets can be relayed;
    /// codecs that we can transcode to are added. Fails if the policy leaves nothing.
    pub fn offer(
        &mut self,
        capabilities: &Capabilities,
        from: Option<&SessionDescription>,
        local: SocketAddr,
        direction: Direction,
    ) -> Result<(Bytes, Offer), Refusal> {
        let other = from.and_then(|d| d.audio()).map(|(_, media)| media);
        let mut codecs = self.candidates(capabilities, other);
        if codecs.is_empty() {
            return Err(no_common_codec(other, capabilities));
        }
        let event_clock = codecs[0].clock;
        let wanted = other.and_then(|o| o.events.iter().find(|e| e.clock == event_clock));
        let event = match wanted {
            Some(event) => event.clone(),
            None => Codec {
                fmtp: Some("0-16".into()),
                ..Codec::new("telephone-event", 101, event_clock)
            },
        };
        let mut used = Vec::new();
        for codec in &mut codecs {
            codec.payload = self.number(codec, &used);
            used.push(codec.payload);
        }
        let event = Codec {
            payload: self.number(&event, &used),
            ..event
        };
        let ptime_ms = other.and_then(|o| o.ptime_ms).unwrap_or(DEFAULT_PTIME);
        if self.streams.is_empty() {
            self.streams.push(None);
        }
        let index = self.audio_index();
        let body = self.write("RTP/AVP", &codecs, Some(&event), ptime_ms, direction, local);
        let offer = Offer {
            codecs,
            event: Some(event),
            ptime_ms,
            direction,
            index,
            streams: self.streams.len(),
        };
        Ok((body, offer))
    }

    /// Answer this leg's offer.
    ///
    /// `bridged` is what the other leg agreed to, if there is one: its codec is taken if the
    /// offer has it, so that nothing need be transcoded. `direction` is what we would like;
    /// what the offer allows of it is answered (RFC 3264 §6.1).
    pub fn answer(
        &mut self,
        offer: &SessionDescription,
        capabilities: &Capabilities,
        bridged: Option<&Negotiated>,
        local: SocketAddr,
        direction: Direction,
    ) -> Result<(Bytes, Negotiated), Refusal> {
        let Some((index, media)) = offer.audio() else {
            let secured = offer
                .media
                .iter()
                .find(|m| m.kind == "audio" && m.port != 0);
            return Err(secured.map_or(Refusal::NoAudio, |m| Refusal::Transport(m.proto.clone())));
        };
        let codec = choose(media, capabilities, bridged)
            .ok_or_else(|| no_common_codec(Some(media), capabilities))?;
        // The offerer's number is used both ways (RFC 3264 §6.1).
        let event = media
            .events
            .iter()
            .find(|e| e.clock == codec.clock)
            .or(media.events.first())
            .cloned();
        let ptime_ms = media.ptime_ms.unwrap_or(DEFAULT_PTIME);
        let direction = media.effective_direction().mirrored().and(direction);
        self.streams = offer.media.iter().map(|m| Some(Refused::of(m))).collect();
        self.streams[index] = None;
        for known in media.codecs.iter().chain(&media.events) {
            self.remember(known);
        }
        let proto = media.proto.clone();
        let body = self.write(
            &proto,
            std::slice::from_ref(&codec),
            event.as_ref(),
            ptime_ms,
            direction,
            local,
        );
        let same = |codec: Codec| Agreed {
            send_payload: codec.payload,
            receive_payload: codec.payload,
            codec,
        };
        Ok((
            body,
            negotiated(
                media,
                vec![same(codec)],
                event.map(same),
                ptime_ms,
                direction,
            ),
        ))
    }

    /// Read the answer to our offer.
    pub fn accept_answer(
        &mut self,
        offer: &Offer,
        answer: &SessionDescription,
    ) -> Result<Negotiated, Refusal> {
        // Some answerers leave out streams that they refuse. What matters is that ours is there.
        let Some(media) = answer.media.get(offer.index) else {
            return Err(Refusal::AnswerShape {
                offered: offer.streams,
                answered: answer.media.len(),
            });
        };
        if !media.is_usable_audio() {
            return Err(if media.port != 0 {
                Refusal::Transport(media.proto.clone())
            } else {
                Refusal::NoAudio
            });
        }
        let agree = |theirs: &Codec, ours: &[Codec]| {
            let ours = ours.iter().find(|c| c.matches(theirs))?;
            Some(Agreed {
                send_payload: theirs.payload,
                receive_payload: ours.payload,
                codec: theirs.clone(),
            })
        };
        let codecs: Vec<Agreed> = media
            .codecs
            .iter()
            .filter_map(|c| agree(c, &offer.codecs))
            .collect();
        let Some(first) = codecs.first() else {
            let ours = names(&offer.codecs);
            return Err(Refusal::NoCommonCodec {
                theirs: names(&media.codecs),
                ours,
            });
        };
        let clock = first.codec.clock;
        let event = media
            .events
            .iter()
            .filter(|e| e.clock == clock)
            .find_map(|e| agree(e, offer.event.as_slice()));
        let ptime_ms = media.ptime_ms.unwrap_or(offer.ptime_ms);
        let direction = media.effective_direction().mirrored().and(offer.direction);
        Ok(negotiated(media, codecs, event, ptime_ms, direction))
    }

    /// Version of the last description.
    pub fn version(&self) -> u64 {
        self.version
    }

    fn candidates(
        &self,
        capabilities: &Capabilities,
        other: Option<&MediaDescription>,
    ) -> Vec<Codec> {
        let mut codecs: Vec<Codec> = Vec::new();
        let theirs = other.map_or(&[][..], |o| &o.codecs);
        for codec in theirs.iter().filter(|c| capabilities.allow(&c.name)) {
            if !codecs.iter().any(|c| c.matches(codec)) {
                codecs.push(codec.clone());
            }
        }
        if capabilities.ordered {
            codecs.sort_by_key(|c| capabilities.rank(&c.name).unwrap_or(usize::MAX));
        }
        // Without a codec that we can decode on the other leg there is nothing to transcode.
        if other.is_none() || theirs.iter().any(Codec::is_transcodable) {
            let known = capabilities.codecs.iter().filter_map(|name| {
                let payload = Codec::static_payload(name)?;
                Codec::from_static(payload).filter(Codec::is_transcodable)
            });
            for codec in known {
                if !codecs.iter().any(|c| c.matches(&codec)) {
                    codecs.push(codec);
                }
            }
        }
        codecs
    }

    /// RFC 3264 §8.3.2: a number keeps its meaning for the whole session.
    fn number(&mut self, codec: &Codec, used: &[u8]) -> u8 {
        if let Some(known) = self
            .numbers
            .iter()
            .find(|k| k.matches(codec))
            .filter(|k| !used.contains(&k.payload))
        {
            return known.payload;
        }
        let taken = |p: u8| {
            used.contains(&p)
                || self
                    .numbers
                    .iter()
                    .any(|k| k.payload == p && !k.matches(codec))
        };
        let payload = if taken(codec.payload) {
            (96..128).find(|p| !taken(*p)).unwrap_or(codec.payload)
        } else {
            codec.payload
        };
        self.remember(&Codec {
            payload,
            ..codec.clone()
        });
        payload
    }

    fn remember(&mut self, codec: &Codec) {
        self.numbers
            .retain(|k| k.payload != codec.payload && !k.matches(codec));
        self.numbers.push(codec.clone());
    }

    fn audio_index(&self) -> usize {
        self.streams.iter().position(Option::is_none).unwrap_or(0)
    }

    fn write(
        &mut self,
        proto: &str,
        codecs: &[Codec],
        event: Option<&Codec>,
        ptime_ms: u8,
        direction: Direction,
        local: SocketAddr,
    ) -> Bytes {
        let address = format!(
            "IN {} {}",
            if local.is_ipv4() { "IP4" } else { "IP6" },
            local.ip()
        );
        let mut rest = format!("s=-\r\nc={address}\r\nt=0 0\r\n");
        for stream in &self.streams {
            match stream {
                Some(Refused {
                    kind,
                    proto,
                    formats,
                }) => push(&mut rest, format_args!("m={kind} 0 {proto} {formats}")),
                None => write_audio(
                    &mut rest,
                    proto,
                    codecs,
                    event,
                    ptime_ms,
                    direction,
                    local.port(),
                ),
            }
        }
        if self.last.as_ref().is_some_and(|last| *last != rest) {
            self.version += 1;
        }
        let body = format!(
            "v=0\r\no=- {} {} {address}\r\n{rest}",
            self.session_id, self.version
        );
        self.last = Some(rest);
        Bytes::from(body)
    }
}

const DEFAULT_PTIME: u8 = 20;

impl Refused {
    fn of(media: &MediaDescription) -> Refused {
        // RFC 3264 §6: the formats of a refused stream mean nothing, but there must be one.
        let formats = media
            .formats
            .split_ascii_whitespace()
            .next()
            .filter(|f| f.len() <= 64)
            .unwrap_or("0");
        Refused {
            kind: media.kind.clone(),
            proto: media.proto.clone(),
            formats: formats.to_owned(),
        }
    }
}

fn choose(
    media: &MediaDescription,
    capabilities: &Capabilities,
    bridged: Option<&Negotiated>,
) -> Option<Codec> {
    let mut offered: Vec<&Codec> = media
        .codecs
        .iter()
        .filter(|c| capabilities.allow(&c.name))
        .collect();
    if capabilities.ordered {
        offered.sort_by_key(|c| capabilities.rank(&c.name).unwrap_or(usize::MAX));
    }
    let Some(bridged) = bridged else {
        return offered.into_iter().find(|c| c.is_transcodable()).cloned();
    };
    for agreed in &bridged.codecs {
        if let Some(codec) = offered.iter().find(|c| c.matches(&agreed.codec)) {
            let mut codec = (*codec).clone();
            // What passes through has the parameters of who really decodes it.
            if !codec.is_transcodable() {
                codec.fmtp = agreed.codec.fmtp.clone();
            }
            return Some(codec);
        }
    }
    let transcodes = bridged.codecs.iter().any(|a| a.codec.is_transcodable());
    offered
        .into_iter()
        .find(|c| transcodes && c.is_transcodable())
        .cloned()
}

fn negotiated(
    media: &MediaDescription,
    codecs: Vec<Agreed>,
    event: Option<Agreed>,
    ptime_ms: u8,
    direction: Direction,
) -> Negotiated {
    let ip = media
        .address
        .unwrap_or(std::net::Ipv4Addr::UNSPECIFIED.into());
    let remote = SocketAddr::new(ip, media.port);
    let remote_rtcp = media
        .rtcp
        .unwrap_or(SocketAddr::new(ip, media.port.saturating_add(1)));
    Negotiated {
        remote,
        remote_rtcp,
        alternate: None,
        codecs,
        event,
        ptime_ms,
        direction,
    }
}

fn write_audio(
    out: &mut String,
    proto: &str,
    codecs: &[Codec],
    event: Option<&Codec>,
    ptime_ms: u8,
    direction: Direction,
    port: u16,
) {
    let all = || codecs.iter().chain(event);
    let _ = write!(out, "m=audio {port} {proto}");
    for codec in all() {
        let _ = write!(out, " {}", codec.payload);
    }
    out.push_str("\r\n");
    for codec in all() {
        push(out, format_args!("a=rtpmap:{} {codec}", codec.payload));
        if let Some(fmtp) = &codec.fmtp {
            push(out, format_args!("a=fmtp:{} {fmtp}", codec.payload));
        }
    }
    push(out, format_args!("a=ptime:{ptime_ms}"));
    push(out, format_args!("a={}", direction.as_str()));
}

fn push(out: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(line);
    out.push_str("\r\n");
}

fn no_common_codec(theirs: Option<&MediaDescription>, ours: &Capabilities) -> Refusal {
    Refusal::NoCommonCodec {
        theirs: theirs.map_or(String::new(), |m| names(&m.codecs)),
        ours: ours.codecs.join(", "),
    }
}

fn names(codecs: &[Codec]) -> String {
    codecs
        .iter()
        .map(|c| c.name.as_str())
        .collect::<Vec<_>>()
        .join(", ")
}
