//! What waits to be told to calls, bounded.

use crate::command::{ConnectorEvent, Event, SessionKey};
use std::collections::VecDeque;

#[derive(Debug, Default)]
pub struct EventQueue {
    queue: VecDeque<(SessionKey, Event)>,
    dropped: u64,
}

/// The shell drains after every batch of packets: this many only pile up if it stands still.
const MAX_EVENTS: usize = 65_536;
/// Audio stops here, so that what a call must hear has room.
const MAX_AUDIO: usize = MAX_EVENTS / 2;

impl EventQueue {
    pub fn push(&mut self, session: SessionKey, event: Event) {
        let audio = matches!(
            event,
            Event::Connector {
                event: ConnectorEvent::Audio(_),
                ..
            }
        );
        if self.queue.len() >= if audio { MAX_AUDIO } else { MAX_EVENTS } {
            self.dropped += 1;
            return;
        }
        self.queue.push_back((session, event));
    }

    pub fn pop(&mut self) -> Option<(SessionKey, Event)> {
        self.queue.pop_front()
    }

    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}
