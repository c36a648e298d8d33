//! What the caller hears and presses.

use super::executor::{Running, Shared};
use super::{Action, Event, GatherEnd, Gathered, Hangup, Played, Prompt, raw};
use crate::types::millis;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

/// Prompts that play. Awaiting it waits for the end; dropping it stops them.
#[must_use = "nothing plays until it is awaited"]
pub struct Play {
    shared: Shared,
    prompts: Vec<Prompt>,
    interruptible: bool,
    repeat: u32,
}

impl Play {
    pub(super) fn new(shared: Shared, prompts: Vec<Prompt>) -> Play {
        Play {
            shared,
            prompts,
            interruptible: false,
            repeat: 1,
        }
    }

    /// A digit stops it.
    pub fn interruptible(mut self) -> Play {
        self.interruptible = true;
        self
    }

    /// How often.
    pub fn repeat(mut self, times: u32) -> Play {
        self.repeat = times.max(1);
        self
    }

    /// Again and again until it is dropped.
    pub fn forever(mut self) -> Play {
        self.repeat = 0;
        self
    }

    fn start(self) -> Running {
        let Play {
            shared,
            prompts,
            interruptible,
            repeat,
        } = self;
        Running::start(&shared, Action::StopPlay, |id| {
            Action::Play(raw::Play {
                id,
                prompts,
                interruptible,
                repeat,
            })
        })
    }
}

impl IntoFuture for Play {
    type Output = Result<Played, Hangup>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output>>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let mut running = self.start();
            loop {
                if let Event::Played(played) = running.next().await? {
                    running.finish();
                    return Ok(played);
                }
            }
        })
    }
}

/// What digits to wait for.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Gather {
    max_digits: u8,
    terminators: String,
    first_timeout: Duration,
    inter_timeout: Duration,
    prompts: Vec<Prompt>,
}

impl Gather {
    /// Ends after so many digits, or 5 s without the first or 3 s without a further one.
    pub fn digits(max: u8) -> Gather {
        Gather {
            max_digits: max,
            terminators: String::new(),
            first_timeout: Duration::from_secs(5),
            inter_timeout: Duration::from_secs(3),
            prompts: Vec::new(),
        }
    }

    /// Any number of digits up to one of these, e.g. `#`, which is no part of the result.
    pub fn until(terminators: impl Into<String>) -> Gather {
        Gather {
            terminators: terminators.into(),
            ..Gather::digits(0)
        }
    }

    /// Digits that end it and are no part of the result.
    pub fn terminators(mut self, digits: impl Into<String>) -> Gather {
        self.terminators = digits.into();
        self
    }

    /// How long to wait for the first digit once no prompt plays.
    pub fn timeout(mut self, first: Duration) -> Gather {
        self.first_timeout = first;
        self
    }

    /// How long to wait for each further digit.
    pub fn digit_timeout(mut self, further: Duration) -> Gather {
        self.inter_timeout = further;
        self
    }

    /// Plays this meanwhile; the first digit stops it.
    pub fn prompt(mut self, prompts: impl IntoPrompts) -> Gather {
        self.prompts.extend(prompts.into_prompts());
        self
    }
}

/// Digits that are being collected. Dropping it stops that, and its prompt.
#[must_use = "nothing is collected until it is awaited"]
pub struct Gathering {
    shared: Shared,
    gather: Gather,
}

impl Gathering {
    pub(super) fn new(shared: Shared, gather: Gather) -> Gathering {
        Gathering { shared, gather }
    }
}

impl IntoFuture for Gathering {
    type Output = Result<Gathered, Hangup>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output>>>;

    fn into_future(self) -> Self::IntoFuture {
        let Gathering { shared, gather } = self;
        Box::pin(async move {
            // Held until the digits are there: dropping it stops a prompt that still plays.
            let _prompt = (!gather.prompts.is_empty()).then(|| {
                Play::new(shared.clone(), gather.prompts)
                    .interruptible()
                    .start()
            });
            let mut digits = Running::start(&shared, Action::StopGather, |id| {
                Action::Gather(raw::Gather {
                    id,
                    max_digits: gather.max_digits,
                    terminators: gather.terminators,
                    first_timeout_ms: millis(gather.first_timeout),
                    inter_timeout_ms: millis(gather.inter_timeout),
                })
            });
            loop {
                if let Event::Gathered(gathered) = digits.next().await? {
                    digits.finish();
                    return Ok(gathered);
                }
            }
        })
    }
}

impl Gathered {
    /// Nothing was pressed in time.
    pub fn is_empty(&self) -> bool {
        self.digits.is_empty()
    }

    /// It ended because the caller was too slow.
    pub fn timed_out(&self) -> bool {
        self.end == GatherEnd::Timeout
    }
}

/// The caller's digits one by one.
pub struct Digits(Running);

impl Digits {
    pub(super) fn new(shared: Shared) -> Digits {
        Digits(Running::digits(&shared))
    }

    /// `0`–`9`, `*`, `#`, `A`–`D`.
    pub async fn next(&mut self) -> Result<String, Hangup> {
        loop {
            if let Event::Digit(digit) = self.0.next().await? {
                return Ok(digit);
            }
        }
    }
}

impl Prompt {
    /// A file of the tenant's prompt folder.
    pub fn file(name: impl Into<String>) -> Prompt {
        Prompt::File(name.into())
    }

    /// Text to be spoken; plays only where the host has a speech engine.
    pub fn say(text: impl Into<String>) -> Prompt {
        Prompt::Say(text.into())
    }

    /// `ringback`, `busy`, `congestion`, `beep`, or `HZ[+HZ]:MS`.
    pub fn tone(name: impl Into<String>) -> Prompt {
        Prompt::Tone(name.into())
    }

    pub fn silence(length: Duration) -> Prompt {
        Prompt::Silence(millis(length))
    }
}

impl From<&str> for Prompt {
    fn from(file: &str) -> Prompt {
        Prompt::file(file)
    }
}

impl From<String> for Prompt {
    fn from(file: String) -> Prompt {
        Prompt::File(file)
    }
}

/// One prompt or a list of them.
pub trait IntoPrompts {
    fn into_prompts(self) -> Vec<Prompt>;
}

impl IntoPrompts for Prompt {
    fn into_prompts(self) -> Vec<Prompt> {
        vec![self]
    }
}

impl IntoPrompts for &str {
    fn into_prompts(self) -> Vec<Prompt> {
        vec![self.into()]
    }
}

impl IntoPrompts for String {
    fn into_prompts(self) -> Vec<Prompt> {
        vec![self.into()]
    }
}

impl<T: Into<Prompt>> IntoPrompts for Vec<T> {
    fn into_prompts(self) -> Vec<Prompt> {
        self.into_iter().map(Into::into).collect()
    }
}

impl<T: Into<Prompt>, const N: usize> IntoPrompts for [T; N] {
    fn into_prompts(self) -> Vec<Prompt> {
        self.into_iter().map(Into::into).collect()
    }
}
