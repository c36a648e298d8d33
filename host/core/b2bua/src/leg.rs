//! One leg of a call: where its dialog stands, and the media that it holds.

use crate::decision::Target;
use crate::directory::Trunk;
use crate::key::{AskId, CallKey, LegId};
use crate::leg_media::LegMedia;
use crate::provider::Outgoing;
use crate::world::World;
use std::collections::VecDeque;
use std::net::SocketAddr;

#[derive(Debug)]
pub(crate) struct Leg {
    pub(crate) id: LegId,
    /// `Call-ID` of the dialog: the peer's on the A leg, ours on a B leg.
    pub(crate) call_id: String,
    /// Our tag in the dialog.
    pub(crate) tag: String,
    pub(crate) flow: sip::Flow,
    pub(crate) trunk: Option<Trunk>,
    pub(crate) media: Option<LegMedia>,
    held: Held,
    /// The trunk's count of calls that has this leg.
    pub(crate) counted: Option<(String, Option<String>)>,
    /// Its audio goes to and from the A leg.
    pub(crate) bridged: bool,
    /// The peer listed UPDATE in Allow (RFC 3311 §4).
    pub(crate) allows_update: bool,
    /// Our INVITE, on a B leg: a forking proxy may answer it more than once.
    pub(crate) invite: Option<SentInvite>,
    pub(crate) state: LegState,
}

/// What the media thread knows of the leg's port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    /// Nothing: it only stands in a description.
    Reserved,
    Open,
    /// It will tell when it has let go.
    Closing,
}

#[derive(Debug)]
pub(crate) enum LegState {
    /// The peer's INVITE waits for our final response.
    Proceeding(Proceeding),
    /// A target that is not yet sent an INVITE.
    Preparing(Preparing),
    /// Our INVITE waits for the peer's final response.
    Calling(Calling),
    /// We cancelled; the final response is still to come.
    Cancelling,
    Established(Established),
    /// Our BYE waits for its response.
    Leaving(Leaving),
    Over,
}

#[derive(Debug)]
pub(crate) struct Proceeding {
    pub(crate) server: sip::ServerKey,
    pub(crate) invite: sip::Request,
    /// The highest provisional status that we sent, and whether it had a description.
    pub(crate) told: u16,
    pub(crate) told_media: bool,
    /// Headers for the refusal.
    pub(crate) extra: Vec<(&'static str, String)>,
}

#[derive(Debug)]
pub(crate) struct Preparing {
    pub(crate) target: Target,
    pub(crate) outgoing: Outgoing,
    pub(crate) step: PreparingStep,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PreparingStep {
    New,
    Locating,
    Shaping { ask: AskId },
}

#[derive(Debug)]
pub(crate) struct SentInvite {
    pub(crate) client: sip::ClientKey,
    pub(crate) request: sip::Request,
}

#[derive(Debug)]
pub(crate) struct Calling {
    pub(crate) target: Target,
    /// Tried in order where one does not answer (RFC 3263 §4.3).
    pub(crate) addresses: VecDeque<SocketAddr>,
    /// Credentials were sent already.
    pub(crate) authorised: bool,
    pub(crate) rang: bool,
}

#[derive(Debug)]
pub(crate) struct Established {
    pub(crate) dialog: sip::Dialog,
    pub(crate) ack: Ack,
}

#[derive(Debug)]
pub(crate) struct Leaving {
    pub(crate) client: sip::ClientKey,
    pub(crate) bye: sip::Request,
    pub(crate) hop: sip::Flow,
    pub(crate) authorised: bool,
}

/// The third part of the three-way handshake.
#[derive(Debug)]
pub(crate) enum Ack {
    /// Our 2xx waits for the peer's ACK. RFC 3261 §15: no BYE before it.
    Awaited {
        server: sip::ServerKey,
        hang_up: Option<crate::cause::Cause>,
    },
    /// Both sides have theirs.
    Done,
}

impl Leg {
    pub(crate) fn new(
        id: LegId,
        call_id: String,
        tag: String,
        flow: sip::Flow,
        trunk: Option<Trunk>,
        state: LegState,
    ) -> Self {
        Leg {
            id,
            call_id,
            tag,
            flow,
            trunk,
            media: None,
            held: Held::Reserved,
            counted: None,
            bridged: false,
            allows_update: false,
            invite: None,
            state,
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state, LegState::Over)
    }

    /// The media thread holds something for the leg.
    pub(crate) fn has_media(&self) -> bool {
        self.held != Held::Reserved
    }

    pub(crate) fn open_media(&mut self, w: &mut World, call: CallKey) {
        if let Some(media) = self.media.as_ref().filter(|_| self.held == Held::Reserved) {
            w.media(call, media.open(w.config.media_local));
            self.held = Held::Open;
        }
    }

    /// The leg is out of the call: its media and its place in the trunk are free.
    pub(crate) fn close_media(&mut self, w: &mut World, call: CallKey) {
        w.uncount(self.counted.take().as_slice());
        match (&self.media, self.held) {
            (Some(media), Held::Open) => {
                w.media(call, media.close());
                self.held = Held::Closing;
            }
            (Some(_), Held::Reserved) => self.free_port(w),
            (Some(_), Held::Closing) | (None, _) => {}
        }
    }

    /// The media has let go of the port.
    pub(crate) fn free_port(&mut self, w: &mut World) {
        self.held = Held::Reserved;
        if let Some(media) = self.media.take() {
            w.ports.give_back(media.port());
        }
    }

    /// Somebody else has the port: it is gone for good. Tells whether it was this leg's.
    pub(crate) fn lose_port(&mut self, w: &mut World, port: u16) -> bool {
        let is_ours = self
            .media
            .as_ref()
            .is_some_and(|media| media.port() == port);
        if is_ours {
            w.ports.lose(port);
            self.media = None;
            self.held = Held::Reserved;
        }
        is_ours
    }

    pub(crate) fn release(&mut self, w: &mut World, call: CallKey) {
        self.free_port(w);
        w.uncount(self.counted.take().as_slice());
        w.forget_leg(call, self);
        if let Some(invite) = &self.invite {
            w.forget_client(invite.client);
        }
        match &self.state {
            LegState::Proceeding(proceeding) => w.forget_server(proceeding.server),
            LegState::Leaving(leaving) => w.forget_client(leaving.client),
            LegState::Established(Established {
                ack: Ack::Awaited { server, .. },
                ..
            }) => w.forget_server(*server),
            LegState::Calling(_)
            | LegState::Cancelling
            | LegState::Established(Established { ack: Ack::Done, .. })
            | LegState::Over
            | LegState::Preparing(_) => {}
        }
    }

    pub(crate) fn source(&self) -> std::net::IpAddr {
        self.flow.remote.ip()
    }
}
