//! The session of one leg: its port, what was offered and answered, and who may send. Writes
//! descriptions and media commands; knows nothing of SIP messages.

use crate::key::LegId;
use bytes::Bytes;
use media::sdp::{
    Author, Capabilities, Direction, Negotiated, Offer, Refusal, SdpError, SessionDescription,
};
use media::{Command, LegKey};
use std::net::{IpAddr, SocketAddr};

#[derive(Debug)]
pub struct LegMedia {
    leg: LegId,
    port: u16,
    /// As it goes into SDP.
    local: SocketAddr,
    capabilities: Capabilities,
    author: Author,
    exchange: Exchange,
    /// The peer's last description, offer or answer.
    theirs: Option<SessionDescription>,
    /// Our last description, to be repeated where nothing changes.
    ours: Option<Bytes>,
    negotiated: Option<Negotiated>,
    /// Where the leg's signalling comes from.
    signalling: IpAddr,
}

/// RFC 3264 §4: at most one offer is open.
#[derive(Debug)]
enum Exchange {
    Idle,
    /// The peer's offer waits for our answer.
    Answering(SessionDescription),
    /// Our offer waits for the peer's answer.
    Offering(Offer),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MediaError {
    #[error("{0}")]
    Description(#[from] SdpError),
    #[error("{0}")]
    Refused(#[from] Refusal),
    #[error("a description came where none was due")]
    Unexpected,
}

impl MediaError {
    /// For the INVITE that brought it (RFC 3261 §21.4.26, §21.4.1).
    pub fn status(&self) -> u16 {
        match self {
            MediaError::Description(_) => 400,
            MediaError::Refused(_) | MediaError::Unexpected => 488,
        }
    }
}

impl LegMedia {
    pub fn new(
        leg: LegId,
        port: u16,
        advertise: IpAddr,
        signalling: IpAddr,
        capabilities: Capabilities,
        session_id: u64,
    ) -> Self {
        LegMedia {
            leg,
            port,
            local: SocketAddr::new(advertise, port),
            capabilities,
            author: Author::new(session_id),
            exchange: Exchange::Idle,
            theirs: None,
            ours: None,
            negotiated: None,
            signalling,
        }
    }

    /// The peer offers.
    pub fn take_offer(&mut self, body: &[u8]) -> Result<(), MediaError> {
        if !matches!(self.exchange, Exchange::Idle) {
            return Err(MediaError::Unexpected);
        }
        let description = SessionDescription::parse(body)?;
        if description.audio().is_none() {
            return Err(Refusal::NoAudio.into());
        }
        self.theirs = Some(description.clone());
        self.exchange = Exchange::Answering(description);
        Ok(())
    }

    /// We offer to the peer what `from`, the other leg, offered or has.
    pub fn make_offer(
        &mut self,
        from: Option<&SessionDescription>,
        direction: Direction,
    ) -> Result<Bytes, MediaError> {
        if !matches!(self.exchange, Exchange::Idle) {
            return Err(MediaError::Unexpected);
        }
        let (body, offer) = self
            .author
            .offer(&self.capabilities, from, self.local, direction)?;
        self.exchange = Exchange::Offering(offer);
        self.ours = Some(body.clone());
        Ok(body)
    }

    /// Answer the open offer; `bridged` is what the other leg agreed to.
    pub fn make_answer(
        &mut self,
        bridged: Option<&Negotiated>,
        direction: Direction,
    ) -> Result<Bytes, MediaError> {
        let Exchange::Answering(offer) = &self.exchange else {
            return Err(MediaError::Unexpected);
        };
        let (body, negotiated) =
            self.author
                .answer(offer, &self.capabilities, bridged, self.local, direction)?;
        self.negotiated = Some(negotiated.with_signalling_source(self.signalling));
        self.exchange = Exchange::Idle;
        self.ours = Some(body.clone());
        Ok(body)
    }

    pub fn take_answer(&mut self, body: &[u8]) -> Result<(), MediaError> {
        let Exchange::Offering(offer) = &self.exchange else {
            return Err(MediaError::Unexpected);
        };
        let description = SessionDescription::parse(body)?;
        let negotiated = self.author.accept_answer(offer, &description)?;
        self.negotiated = Some(negotiated.with_signalling_source(self.signalling));
        self.theirs = Some(description);
        self.exchange = Exchange::Idle;
        Ok(())
    }

    /// An answer before the answer (RFC 3261 §13.2.1): it may come again, or another one from
    /// another branch, so the offer stays open.
    pub fn take_early_answer(&mut self, body: &[u8]) -> Result<(), MediaError> {
        let Exchange::Offering(offer) = &self.exchange else {
            return Err(MediaError::Unexpected);
        };
        let offer = offer.clone();
        self.take_answer(body)?;
        self.exchange = Exchange::Offering(offer);
        Ok(())
    }

    /// The 2xx brought no answer: the early one is the answer, if there was one.
    pub fn settle_early_answer(&mut self) -> Result<(), MediaError> {
        if self.negotiated.is_none() {
            return Err(MediaError::Unexpected);
        }
        self.exchange = Exchange::Idle;
        Ok(())
    }

    /// The exchange came to nothing: what was agreed before stays (RFC 3264 §8).
    pub fn give_up_exchange(&mut self) {
        self.exchange = Exchange::Idle;
    }

    /// The open offer of the peer; none where there is none.
    pub fn open_offer(&self) -> Option<&SessionDescription> {
        match &self.exchange {
            Exchange::Answering(offer) => Some(offer),
            Exchange::Idle | Exchange::Offering(_) => None,
        }
    }

    pub fn is_offering(&self) -> bool {
        matches!(self.exchange, Exchange::Offering(_))
    }

    /// What the peer described last.
    pub fn theirs(&self) -> Option<&SessionDescription> {
        self.theirs.as_ref()
    }

    pub fn ours(&self) -> Option<&Bytes> {
        self.ours.as_ref()
    }

    pub fn negotiated(&self) -> Option<&Negotiated> {
        self.negotiated.as_ref()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// What the peer wants as its direction, seen from us: what may pass towards the other leg.
    pub fn offered_direction(&self) -> Direction {
        let wanted = self
            .theirs
            .as_ref()
            .and_then(|d| d.audio())
            .map(|(_, media)| media.effective_direction());
        wanted.unwrap_or_default()
    }

    pub fn open(&self, bind: IpAddr) -> Command {
        Command::Open {
            leg: self.key(),
            local: bind,
            port: self.port,
        }
    }

    /// What was agreed, as an order to the media; none before the first agreement.
    pub fn negotiate(&self) -> Option<Command> {
        let negotiated = self.negotiated.clone()?;
        let direction = negotiated.direction;
        Some(Command::Negotiate {
            leg: self.key(),
            negotiated,
            direction,
        })
    }

    pub fn close(&self) -> Command {
        Command::Close { leg: self.key() }
    }

    pub fn key(&self) -> LegKey {
        LegKey(self.leg.0)
    }
}
