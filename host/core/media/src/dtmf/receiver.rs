//! Telling events from packets (RFC 4733 §2.5.2): an event has one timestamp, however many
//! packets of it come, in which order, and whether or not the first or the last are lost.

use super::{EventPayload, digit_of};
use crate::packet::{RtpTime, Ssrc};
use std::time::{Duration, Instant};

#[derive(Debug, Clone, Default)]
pub struct Receiver {
    current: Option<Current>,
}

#[derive(Debug, Clone)]
struct Current {
    ssrc: Ssrc,
    time: RtpTime,
    digit: char,
    /// Ticks of segments that are over (§2.5.1.3), and of this one.
    earlier: u32,
    duration: u16,
    clock: u32,
    reported: bool,
    last: Instant,
}

/// A digit that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digit {
    pub digit: char,
    pub duration_ms: u32,
}

/// What a packet told. Both may be there: a new event whose predecessor's end was lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Noticed {
    pub ended: Option<Digit>,
    pub began: Option<char>,
    /// A second one, where a whole event fitted into one packet after a lost end.
    pub also_ended: Option<Digit>,
}

impl Receiver {
    /// `clock`: of the event's payload type, Hz.
    pub fn handle_packet(
        &mut self,
        now: Instant,
        ssrc: Ssrc,
        time: RtpTime,
        clock: u32,
        payload: EventPayload,
    ) -> Noticed {
        let mut noticed = Noticed::default();
        let Some(digit) = digit_of(payload.event) else {
            return noticed;
        };
        match &mut self.current {
            Some(current) if current.ssrc == ssrc && current.time == time => {
                current.last = now;
                current.duration = current.duration.max(payload.duration);
                if payload.end {
                    noticed.ended = current.report();
                }
                return noticed;
            }
            // Late packets of an event that another one followed.
            Some(current) if current.ssrc == ssrc && time.distance(current.time) < 0 => {
                return noticed;
            }
            Some(current) if current.is_continued_by(ssrc, time, digit) => {
                current.earlier += time.0.wrapping_sub(current.time.0);
                current.time = time;
                current.duration = payload.duration;
                current.last = now;
                if payload.end {
                    noticed.ended = current.report();
                }
                return noticed;
            }
            Some(current) => noticed.ended = current.report(),
            None => {}
        }
        let mut current = Current {
            ssrc,
            time,
            digit,
            earlier: 0,
            duration: payload.duration,
            clock,
            reported: false,
            last: now,
        };
        noticed.began = Some(digit);
        if payload.end {
            noticed.also_ended = current.report();
        }
        self.current = Some(current);
        noticed
    }

    /// An event of which nothing came for a while has ended, even if its ends were lost.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Digit> {
        let due = self.poll_timeout()?;
        if now < due {
            None
        } else {
            self.current.as_mut()?.report()
        }
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        let current = self.current.as_ref().filter(|c| !c.reported)?;
        Some(current.last + LOST_END)
    }
}

/// Three updates of 50 ms, the longest interval that RFC 4733 §2.5.1.2 has.
const LOST_END: Duration = Duration::from_millis(150);

impl Current {
    fn report(&mut self) -> Option<Digit> {
        if self.reported {
            return None;
        }
        self.reported = true;
        let ticks = u64::from(self.earlier) + u64::from(self.duration);
        Some(Digit {
            digit: self.digit,
            duration_ms: (ticks * 1000 / u64::from(self.clock.max(1))) as u32,
        })
    }

    /// §2.5.1.3: an event longer than 0xFFFF ticks goes on in a segment that begins where
    /// the one before ended.
    fn is_continued_by(&self, ssrc: Ssrc, time: RtpTime, digit: char) -> bool {
        let gap = time.0.wrapping_sub(self.time.0);
        !self.reported
            && self.ssrc == ssrc
            && self.digit == digit
            && (0xf000..=0x1_0000).contains(&gap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIVE: Digit = Digit {
        digit: '5',
        duration_ms: 100,
    };

    #[test]
    fn an_event_is_one_digit_however_often_its_end_is_sent() {
        let mut events = Events::default();
        for duration in [160, 320, 480, 640] {
            events.packet(1000, 5, false, duration);
        }
        for _ in 0..3 {
            events.packet(1000, 5, true, 800);
        }
        assert_eq!(events.ended, [FIVE]);
    }

    #[test]
    fn the_first_packets_may_be_lost() {
        let mut events = Events::default();
        events.packet(1000, 5, true, 800);
        events.packet(1000, 5, true, 800);
        assert_eq!(events.ended, [FIVE]);
    }

    #[test]
    fn lost_ends_are_noticed_by_the_next_event_or_by_time() {
        let mut events = Events::default();
        events.packet(1000, 5, false, 800);
        events.packet(3000, 5, false, 800);
        assert_eq!(events.ended, [FIVE]);
        let now = events.now + Duration::from_millis(151);
        assert_eq!(events.receiver.handle_timeout(now), Some(FIVE));
        assert_eq!(events.receiver.handle_timeout(now), None);
        events.packet(3000, 5, true, 800);
        assert_eq!(events.ended, [FIVE]);
    }

    #[test]
    fn the_same_digit_twice_is_two_digits() {
        let mut events = Events::default();
        for time in [1000, 2600] {
            events.packet(time, 5, false, 160);
            events.packet(time, 5, true, 800);
        }
        assert_eq!(events.ended, [FIVE, FIVE]);
    }

    #[test]
    fn late_packets_of_an_older_event_are_ignored() {
        let mut events = Events::default();
        events.packet(1000, 5, true, 800);
        events.packet(2600, 6, false, 160);
        events.packet(1000, 5, true, 800);
        events.packet(2600, 6, true, 800);
        assert_eq!(
            events.ended.iter().map(|d| d.digit).collect::<String>(),
            "56"
        );
    }

    #[test]
    fn a_long_event_goes_on_in_segments() {
        let mut events = Events::default();
        for duration in [0x4000, 0x8000, 0xffff] {
            events.packet(1000, 1, false, duration);
        }
        events.packet(1000 + 0xffff, 1, false, 0x4000);
        events.packet(1000 + 0xffff, 1, true, 0x5000);
        assert_eq!(
            events.ended,
            [Digit {
                digit: '1',
                duration_ms: (0xffff + 0x5000) / 8
            }]
        );
    }

    #[test]
    fn what_is_no_digit_is_no_digit() {
        let mut events = Events::default();
        events.packet(1000, 255, true, 160);
        events.packet(2000, 16, true, 160);
        assert_eq!(events.ended, []);
    }

    struct Events {
        receiver: Receiver,
        now: Instant,
        ended: Vec<Digit>,
    }

    impl Default for Events {
        fn default() -> Self {
            Events {
                receiver: Receiver::default(),
                now: Instant::now(),
                ended: Vec::new(),
            }
        }
    }

    impl Events {
        fn packet(&mut self, time: u32, event: u8, end: bool, duration: u16) {
            self.now += Duration::from_millis(20);
            let payload = EventPayload {
                event,
                end,
                duration,
            };
            let noticed =
                self.receiver
                    .handle_packet(self.now, Ssrc(1), RtpTime(time), 8000, payload);
            self.ended.extend(noticed.ended);
            self.ended.extend(noticed.also_ended);
        }
    }
}
