//! What happens while a flow has the call: digits, ends of prompts, timers, connector sessions.

use super::Call;
use super::flow_run::Purpose;
use crate::flow::{ConnectorEvent, FlowEvent, GatherEnd, PlayEnd};
use crate::gather::Progress;
use crate::io::Timer;
use crate::journal::Kind;
use crate::key::LegId;
use crate::world::World;
use media::{Command, LegKey};
use std::time::Instant;

impl Call {
    pub(crate) fn handle_connector(
        &mut self,
        now: Instant,
        w: &mut World,
        id: u32,
        event: ConnectorEvent,
    ) {
        if self.connected_as(id).is_err() {
            return;
        }
        self.record(
            now,
            w,
            Kind::Connector {
                id,
                event: event.clone(),
            },
        );
        match event {
            ConnectorEvent::Connected => {
                let Some(connecting) = self.flow.as_mut().and_then(|flow| flow.connect.as_mut())
                else {
                    return;
                };
                if !std::mem::replace(&mut connecting.connected, true) {
                    self.tell_flow(now, w, FlowEvent::Connected { id });
                }
            }
            ConnectorEvent::Ended { normal, reason } => self.end_connect(now, w, normal, reason),
            ConnectorEvent::FunctionCall(call) => {
                self.tell_flow(now, w, FlowEvent::FunctionCall(call))
            }
            ConnectorEvent::Note { .. } => {}
            ConnectorEvent::Transcript(transcript) => {
                self.tell_flow(now, w, FlowEvent::Transcript(transcript))
            }
        }
    }

    pub(super) fn end_connect(
        &mut self,
        now: Instant,
        w: &mut World,
        normal: bool,
        reason: String,
    ) {
        let Some(connecting) = self.flow.as_mut().and_then(|flow| flow.connect.take()) else {
            return;
        };
        // The session detaches itself when it ends well; it may have been lost instead.
        w.media(
            self.key,
            Command::Detach {
                leg: LegKey(LegId::A.0),
                id: connecting.id,
            },
        );
        self.tell_flow(
            now,
            w,
            FlowEvent::ConnectEnded {
                id: connecting.id,
                normal,
                reason,
            },
        );
    }

    /// A digit of the caller, each once, whichever way it came.
    pub(crate) fn flow_digit(&mut self, now: Instant, w: &mut World, digit: char, by_info: bool) {
        let Some(flow) = &mut self.flow else { return };
        if by_info {
            for (&id, playing) in flow
                .plays
                .iter_mut()
                .filter(|(_, playing)| playing.interruptible)
            {
                playing.interrupted = true;
                w.media(
                    self.key,
                    Command::StopPlay {
                        leg: LegKey(LegId::A.0),
                        id,
                    },
                );
            }
        }
        let Some(gathering) = &mut flow.gather else {
            self.tell_flow(now, w, FlowEvent::Digit(digit));
            return;
        };
        match gathering.digit(digit) {
            Progress::Wait => w
                .timers
                .set(self.key, Timer::Gather, now + gathering.timeout()),
            Progress::Done(end) => self.end_gather(now, w, end),
        }
    }

    pub(crate) fn handle_played(
        &mut self,
        now: Instant,
        w: &mut World,
        id: u32,
        end: PlayEnd,
        played_ms: u32,
    ) {
        let Some(flow) = &mut self.flow else { return };
        let Some(playing) = flow.plays.remove(&id) else {
            return;
        };
        if flow.plays.is_empty()
            && let Some(gathering) = flow
                .gather
                .as_ref()
                .filter(|gathering| !gathering.has_digits())
        {
            w.timers
                .set(self.key, Timer::Gather, now + gathering.timeout());
        }
        let end = if playing.interrupted && end == PlayEnd::Stopped {
            PlayEnd::Interrupted
        } else {
            end
        };
        match playing.purpose {
            Purpose::Flow(id) => self.tell_flow(now, w, FlowEvent::Played { id, end, played_ms }),
            Purpose::Ringback => {}
        }
    }

    pub(crate) fn handle_gather_timeout(&mut self, now: Instant, w: &mut World) {
        self.end_gather(now, w, GatherEnd::Timeout);
    }

    pub(crate) fn handle_flow_timer(&mut self, now: Instant, w: &mut World, id: u32) {
        if self
            .flow
            .as_mut()
            .is_some_and(|flow| flow.timers.remove(&id))
        {
            self.tell_flow(now, w, FlowEvent::Timer(id));
        }
    }

    /// Nobody rings any more: the caller hears something else, or nothing.
    pub(crate) fn stop_ringback(&mut self, w: &mut World) {
        let Some(flow) = &self.flow else { return };
        for (&id, _) in flow
            .plays
            .iter()
            .filter(|(_, playing)| playing.purpose == Purpose::Ringback)
        {
            w.media(
                self.key,
                Command::StopPlay {
                    leg: LegKey(LegId::A.0),
                    id,
                },
            );
        }
    }

    pub(super) fn end_gather(&mut self, now: Instant, w: &mut World, end: GatherEnd) {
        w.timers.cancel(self.key, Timer::Gather);
        let Some(gathering) = self.flow.as_mut().and_then(|flow| flow.gather.take()) else {
            return;
        };
        let id = gathering.id();
        self.tell_flow(
            now,
            w,
            FlowEvent::Gathered {
                id,
                digits: gathering.into_digits(),
                end,
            },
        );
    }
}
