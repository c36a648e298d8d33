//! Sending a string of digits: what is due in each frame of 10 to 60 ms.

use super::{EventPayload, event_of};
use std::collections::VecDeque;

/// Digits still to be sent; `w` is half a second of nothing.
#[derive(Debug, Clone, Default)]
pub struct Generator {
    queue: VecDeque<char>,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, Default)]
enum Phase {
    #[default]
    Idle,
    /// ms of the tone so far
    Tone {
        digit: char,
        event: u8,
        elapsed: u32,
    },
    /// Repeats of the end that are due, and ms of pause left
    Gap { event: u8, ends: u8, left: u32 },
}

/// What to send in this frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// `begins`: its timestamp is now, and it has the marker bit. The rest share both.
    Event {
        digit: char,
        payload: EventPayload,
        begins: bool,
    },
    Pause,
}

/// ms; receivers must take 40 (ITU-T Q.24), and slow ones are many.
const TONE: u32 = 100;
const GAP: u32 = 100;
const WAIT: u32 = 500;
/// RFC 4733 §2.5.1.4: the final packet is sent three times.
const ENDS: u8 = 3;
const MAX_QUEUE: usize = 256;

impl Generator {
    /// Append; what is neither a digit nor `w` is skipped.
    pub fn push(&mut self, digits: &str) {
        let wanted = digits
            .chars()
            .filter(|c| event_of(*c).is_some() || matches!(c, 'w' | 'W'));
        let room = MAX_QUEUE - self.queue.len().min(MAX_QUEUE);
        self.queue.extend(wanted.take(room));
    }

    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && matches!(self.phase, Phase::Idle)
    }

    /// The next `frame_ms`; none when all is sent. `clock` in Hz.
    pub fn next(&mut self, frame_ms: u32, clock: u32) -> Option<Step> {
        let ticks = |ms: u32| (ms * (clock / 1000)).min(0xffff) as u16;
        match &mut self.phase {
            Phase::Tone {
                digit,
                event,
                elapsed,
            } => {
                *elapsed += frame_ms;
                let (digit, event, elapsed) = (*digit, *event, *elapsed);
                let end = elapsed >= TONE;
                if end {
                    self.phase = Phase::Gap {
                        event,
                        ends: ENDS - 1,
                        left: GAP,
                    };
                }
                let payload = EventPayload {
                    event,
                    end,
                    duration: ticks(elapsed),
                };
                Some(Step::Event {
                    digit,
                    payload,
                    begins: elapsed == frame_ms,
                })
            }
            Phase::Gap { event, ends, left } => {
                let repeat = (*ends > 0).then(|| {
                    *ends -= 1;
                    let duration = ticks(TONE.div_ceil(frame_ms) * frame_ms);
                    EventPayload {
                        event: *event,
                        end: true,
                        duration,
                    }
                });
                *left = left.saturating_sub(frame_ms);
                if *left == 0 && *ends == 0 {
                    self.phase = Phase::Idle;
                }
                Some(match repeat {
                    Some(payload) => Step::Event {
                        digit: super::digit_of(payload.event).unwrap_or('0'),
                        payload,
                        begins: false,
                    },
                    None => Step::Pause,
                })
            }
            Phase::Idle => match self.queue.pop_front()? {
                'w' | 'W' => {
                    self.phase = Phase::Gap {
                        event: 0,
                        ends: 0,
                        left: WAIT,
                    };
                    self.next(frame_ms, clock)
                }
                digit => {
                    self.phase = Phase::Tone {
                        digit,
                        event: event_of(digit)?,
                        elapsed: 0,
                    };
                    self.next(frame_ms, clock)
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digit_lasts_100_ms_and_ends_three_times() {
        let mut generator = Generator::default();
        generator.push("5");
        let steps: Vec<_> = std::iter::from_fn(|| generator.next(20, 8000)).collect();
        let sent: Vec<(u16, bool, bool)> = steps
            .iter()
            .filter_map(|s| match s {
                Step::Event {
                    payload, begins, ..
                } => Some((payload.duration, payload.end, *begins)),
                Step::Pause => None,
            })
            .collect();
        assert_eq!(
            sent,
            [
                (160, false, true),
                (320, false, false),
                (480, false, false),
                (640, false, false),
                (800, true, false),
                (800, true, false),
                (800, true, false),
            ]
        );
        assert_eq!(steps.len(), 10); // 100 ms of tone, 100 ms until the next may begin
        assert!(generator.is_idle());
    }

    #[test]
    fn w_is_half_a_second() {
        let mut generator = Generator::default();
        generator.push("1ww2x");
        let steps: Vec<_> = std::iter::from_fn(|| generator.next(20, 8000)).collect();
        assert_eq!(steps.len(), 10 + 50 + 10);
        let begins = |s: &Step| matches!(s, Step::Event { begins: true, .. });
        assert_eq!(steps.iter().position(begins), Some(0));
        assert_eq!(steps.iter().rposition(begins), Some(60));
    }
}
