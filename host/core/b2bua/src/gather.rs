//! Collecting digits for a flow. Says what became of each digit and which of its two timers
//! runs; the call owns the clock.

use crate::flow::{Gather, GatherEnd};
use std::time::Duration;

#[derive(Debug)]
pub struct Gathering {
    gather: Gather,
    digits: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    Done(GatherEnd),
    /// More may come: start the timer between digits again.
    Wait,
}

impl Gathering {
    pub fn new(gather: Gather) -> Self {
        Gathering {
            gather,
            digits: String::new(),
        }
    }

    pub fn digit(&mut self, digit: char) -> Progress {
        if self.gather.terminators.contains(digit) {
            return Progress::Done(GatherEnd::Terminator);
        }
        self.digits.push(digit);
        let most = if self.gather.max_digits == 0 {
            MAX_DIGITS
        } else {
            usize::from(self.gather.max_digits)
        };
        if self.digits.len() >= most {
            Progress::Done(GatherEnd::MaxDigits)
        } else {
            Progress::Wait
        }
    }

    /// What to wait for now. The first one begins when no prompt plays.
    pub fn timeout(&self) -> Duration {
        let ms = if self.digits.is_empty() {
            self.gather.first_timeout_ms
        } else {
            self.gather.inter_timeout_ms
        };
        Duration::from_millis(u64::from(ms))
    }

    pub fn has_digits(&self) -> bool {
        !self.digits.is_empty()
    }

    pub fn id(&self) -> u32 {
        self.gather.id
    }

    pub fn into_digits(self) -> String {
        self.digits
    }
}

/// Where the flow sets no maximum.
const MAX_DIGITS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gather_ends_with_its_last_digit_or_its_terminator() {
        let mut gathering = gathering(2, "#");
        assert_eq!(gathering.timeout(), Duration::from_millis(5000));
        assert_eq!(gathering.digit('1'), Progress::Wait);
        assert_eq!(gathering.timeout(), Duration::from_millis(2000));
        assert_eq!(gathering.digit('2'), Progress::Done(GatherEnd::MaxDigits));
        assert_eq!(gathering.into_digits(), "12");
    }

    #[test]
    fn a_terminator_is_not_part_of_the_digits() {
        let mut gathering = gathering(0, "#*");
        assert_eq!(gathering.digit('4'), Progress::Wait);
        assert_eq!(gathering.digit('#'), Progress::Done(GatherEnd::Terminator));
        assert_eq!(gathering.into_digits(), "4");
    }

    #[test]
    fn a_gather_without_a_maximum_still_ends() {
        let mut gathering = gathering(0, "");
        let end = (1..).find(|_| gathering.digit('9') != Progress::Wait);
        assert_eq!(end, Some(MAX_DIGITS));
    }

    fn gathering(max_digits: u8, terminators: &str) -> Gathering {
        Gathering::new(Gather {
            id: 1,
            max_digits,
            terminators: terminators.into(),
            first_timeout_ms: 5000,
            inter_timeout_ms: 2000,
        })
    }
}
