//! What ends or begins at a leg here: prompts, digits to send, a connector session. Ticks
//! once per packet duration while it is there.

use crate::codec::{AudioCodec, FRAME, RATE};
use crate::command::{
    ConnectorCommand, ConnectorEvent, Event, Format, LegKey, PlayEnd, SessionKey,
};
use crate::connector::{Egress, Ingress};
use crate::dtmf::{Generator, Step};
use crate::events::EventQueue;
use crate::jitter::{JitterBuffer, Playout};
use crate::packet::{ExtendedSeqNo, Header, RtpTime};
use crate::playback::Playback;
use crate::resample::UnsupportedRate;
use crate::sdp::Negotiated;
use crate::stream::Sender;
use crate::tone::Tone;
use std::collections::VecDeque;
use std::time::Instant;

#[derive(Debug, Default)]
pub struct Terminal {
    /// The first one plays, the others wait.
    plays: VecDeque<Playback>,
    digits: Generator,
    /// Timestamp of the event that is being sent.
    event_time: Option<RtpTime>,
    /// The digit as a tone, where the peer knows no events.
    tone: Option<Tone>,
    connector: Option<Box<Connector>>,
}

#[derive(Debug)]
struct Connector {
    id: u32,
    ingress: Ingress,
    egress: Egress,
    jitter: JitterBuffer,
    /// Decoded and not yet handed over.
    heard: Vec<i16>,
    /// Frames concealed since the last good one.
    concealed: u32,
    last_frame: Vec<i16>,
}

/// What a tick sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speech {
    /// The samples in the frame.
    Audio,
    /// An event's payload under this header.
    Event(Header, [u8; 4]),
    Nothing,
}

const MAX_PLAYS: usize = 32;
/// Longest packet: 60 ms.
pub const MAX_FRAME: usize = FRAME * 3;
/// Frames repeated, ever more softly, before concealment gives way to silence.
const MAX_CONCEALED: u32 = 3;

impl Terminal {
    /// False if too many wait already.
    pub fn play(&mut self, playback: Playback) -> bool {
        let room = self.plays.len() < MAX_PLAYS;
        if room {
            self.plays.push_back(playback);
        }
        room
    }

    pub fn stop_play(&mut self, id: u32) -> Option<Playback> {
        let at = self.plays.iter().position(|p| p.id == id)?;
        self.plays.remove(at)
    }

    /// A digit has begun: what may be interrupted is over.
    pub fn interrupt(&mut self, session: SessionKey, leg: LegKey, events: &mut EventQueue) {
        self.plays.retain(|play| {
            if play.interruptible {
                events.push(session, played(leg, play, PlayEnd::Interrupted));
            }
            !play.interruptible
        });
    }

    /// The leg is over.
    pub fn stop_all(&mut self, session: SessionKey, leg: LegKey, events: &mut EventQueue) {
        for play in self.plays.drain(..) {
            events.push(session, played(leg, &play, PlayEnd::Stopped));
        }
    }

    pub fn send_digits(&mut self, digits: &str) {
        self.digits.push(digits);
    }

    pub fn attach(
        &mut self,
        id: u32,
        input: Format,
        output: Format,
        frame_ms: u32,
    ) -> Result<(), UnsupportedRate> {
        let (ingress, egress) = (Ingress::new(input, frame_ms)?, Egress::new(output)?);
        let jitter = JitterBuffer::new();
        let (heard, last_frame) = (Vec::new(), Vec::new());
        self.connector = Some(Box::new(Connector {
            id,
            ingress,
            egress,
            jitter,
            heard,
            concealed: 0,
            last_frame,
        }));
        Ok(())
    }

    pub fn detach(&mut self, id: u32) {
        if self.connector.as_ref().is_some_and(|c| c.id == id) {
            self.connector = None;
        }
    }

    pub fn command(
        &mut self,
        session: SessionKey,
        leg: LegKey,
        id: u32,
        command: ConnectorCommand,
        events: &mut EventQueue,
    ) {
        let Some(connector) = self.connector.as_mut().filter(|c| c.id == id) else {
            return;
        };
        match command {
            ConnectorCommand::Enqueue { item, audio } => connector.egress.enqueue(&item, &audio),
            ConnectorCommand::Mark(name) => connector.egress.mark(name),
            ConnectorCommand::Clear => {
                let (item, played_ms) = connector.egress.clear();
                let event = ConnectorEvent::Cleared { item, played_ms };
                events.push(session, Event::Connector { leg, id, event });
            }
        }
    }

    /// A packet of the leg, for the connector; of an event only its number, without payload.
    pub fn hear(
        &mut self,
        seq: ExtendedSeqNo,
        time: RtpTime,
        codec: u8,
        payload: &[u8],
        restarted: bool,
    ) {
        if let Some(connector) = &mut self.connector {
            if restarted {
                connector.jitter.reset();
            }
            connector.jitter.push(seq, time, codec, payload);
        }
    }

    pub fn tell_digit(
        &self,
        session: SessionKey,
        leg: LegKey,
        digit: char,
        events: &mut EventQueue,
    ) {
        if let Some(connector) = &self.connector {
            let event = ConnectorEvent::Digit(digit);
            events.push(
                session,
                Event::Connector {
                    leg,
                    id: connector.id,
                    event,
                },
            );
        }
    }

    /// The inward half of a tick: `frame` samples of what the caller says go to the connector.
    pub fn listen(
        &mut self,
        session: SessionKey,
        leg: LegKey,
        negotiated: &Negotiated,
        frame: usize,
        events: &mut EventQueue,
    ) {
        let Some(connector) = &mut self.connector else {
            return;
        };
        connector.hear(negotiated, frame);
        connector.ingress.push(&connector.heard[..frame]);
        connector.heard.drain(..frame);
        while let Some(audio) = connector.ingress.next_piece() {
            let event = ConnectorEvent::Audio(audio);
            events.push(
                session,
                Event::Connector {
                    leg,
                    id: connector.id,
                    event,
                },
            );
        }
    }

    /// The outward half: the next `out.len()` samples for the peer.
    pub fn speak(
        &mut self,
        now: Instant,
        session: SessionKey,
        leg: LegKey,
        negotiated: &Negotiated,
        sender: &mut Sender,
        out: &mut [i16],
        events: &mut EventQueue,
    ) -> Speech {
        if !self.digits.is_idle() || self.tone.is_some() {
            return self.speak_digit(now, negotiated, sender, out);
        }
        self.event_time = None;
        let encodes = negotiated.primary().is_some_and(|p| {
            AudioCodec::of(&p.codec.name, p.codec.clock, p.codec.channels).is_some()
        });
        while let Some(play) = self.plays.front_mut() {
            let end = if encodes {
                play.fill(out)
            } else {
                Some(PlayEnd::Failed)
            };
            let Some(end) = end else { return Speech::Audio };
            events.push(session, played(leg, play, end));
            self.plays.pop_front();
        }
        let Some(connector) = &mut self.connector else {
            return Speech::Nothing;
        };
        while let Some(name) = connector.egress.reached_mark() {
            let event = ConnectorEvent::Marked(name);
            events.push(
                session,
                Event::Connector {
                    leg,
                    id: connector.id,
                    event,
                },
            );
        }
        connector.egress.fill(out);
        Speech::Audio
    }

    /// Whether what the peer hears is made here.
    pub fn speaks(&self) -> bool {
        self.connector.is_some()
            || !self.plays.is_empty()
            || !self.digits.is_idle()
            || self.tone.is_some()
    }

    /// Whether what the peer says ends here.
    pub fn listens(&self) -> bool {
        self.connector.is_some()
    }

    fn speak_digit(
        &mut self,
        now: Instant,
        negotiated: &Negotiated,
        sender: &mut Sender,
        out: &mut [i16],
    ) -> Speech {
        let frame_ms = (out.len() * 1000 / RATE as usize) as u32;
        let clock = negotiated.event.as_ref().map_or(RATE, |e| e.codec.clock);
        let step = self.digits.next(frame_ms, clock);
        match (step, &negotiated.event) {
            (
                Some(Step::Event {
                    payload, begins, ..
                }),
                Some(event),
            ) => {
                let time = match self.event_time.filter(|_| !begins) {
                    Some(time) => time,
                    None => sender.time_now(now, clock),
                };
                self.event_time = Some(time);
                let duration = u32::from(payload.duration);
                let header = sender.generate_event(now, event.send_payload, time, begins, duration);
                Speech::Event(header, payload.write())
            }
            (Some(Step::Pause) | None, Some(_)) => Speech::Nothing,
            (step, None) => {
                if let Some(Step::Event {
                    digit,
                    begins: true,
                    ..
                }) = step
                {
                    self.tone = Tone::digit(digit, IN_BAND_MS);
                }
                let filled = self.tone.as_mut().map_or(0, |tone| tone.fill(out));
                out[filled..].fill(0);
                if filled < out.len() {
                    self.tone = None;
                }
                Speech::Audio
            }
        }
    }
}

/// ms, as long as the event would be.
const IN_BAND_MS: u32 = 100;

impl Connector {
    /// Have at least `frame` samples in `heard`.
    fn hear(&mut self, negotiated: &Negotiated, frame: usize) {
        while self.heard.len() < frame {
            match self.jitter.pop() {
                Playout::Packet { payload, codec, .. } => {
                    let agreed = negotiated.codecs.get(usize::from(codec)).map(|a| &a.codec);
                    let codec = agreed.and_then(|c| AudioCodec::of(&c.name, c.clock, c.channels));
                    let at = self.heard.len();
                    self.heard.resize(at + payload.len().min(MAX_HEARD), 0);
                    let count =
                        codec.map_or(0, |codec| codec.decode(payload, &mut self.heard[at..]));
                    self.heard.truncate(at + count);
                    self.last_frame.clear();
                    self.last_frame.extend_from_slice(&self.heard[at..]);
                    self.concealed = 0;
                    if count == 0 {
                        self.heard.resize(frame.max(at), 0);
                    }
                }
                // Repeat what was there, 6 dB softer each time (after RFC 3551's "frame
                // repetition"); longer gaps are silence.
                Playout::Lost if self.concealed < MAX_CONCEALED && !self.last_frame.is_empty() => {
                    self.concealed += 1;
                    self.last_frame.iter_mut().for_each(|s| *s /= 2);
                    self.heard.extend_from_slice(&self.last_frame);
                }
                Playout::Lost => {
                    let at = self.heard.len();
                    self.heard.resize(at + self.last_frame.len().max(FRAME), 0);
                }
                // A platform's voice detection needs silence to be audio too.
                Playout::Empty => self.heard.resize(frame, 0),
            }
        }
    }
}

/// Samples decoded of one packet.
const MAX_HEARD: usize = crate::codec::MAX_PACKET_SAMPLES;

pub fn played(leg: LegKey, play: &Playback, end: PlayEnd) -> Event {
    Event::Played {
        leg,
        id: play.id,
        end,
        played_ms: play.played_ms(),
    }
}
