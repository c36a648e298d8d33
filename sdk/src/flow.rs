//! Flows: a program for one call, written as a straight-line `async fn`.
//!
//! ```
//! use gatepost_sdk::flow::{Call, Exit, Flow, Gather};
//! use std::time::Duration;
//!
//! struct Menu;
//!
//! impl Flow for Menu {
//!     async fn run(call: Call) -> Result<(), Exit> {
//!         call.answer().await?;
//!         let menu = Gather::digits(1).timeout(Duration::from_secs(5)).prompt("menu.wav");
//!         match call.gather(menu).await?.digits.as_str() {
//!             "1" => call.dial("sip:sales@10.0.0.1").await.map(drop)?,
//!             _ => call.play("goodbye.wav").await.map(drop)?,
//!         }
//!         Ok(())
//!     }
//! }
//!
//! gatepost_sdk::export!(Menu as flow);
//! # fn main() {}
//! ```
//!
//! * What takes time is a future. Dropping one stops what it started: the prompt falls
//!   silent, the timer is cancelled, the target stops ringing. So [`crate::select!`] and
//!   [`Call::timeout`] need no clean-up code.
//! * When the call ends, every future that waits gives `Err(`[`Hangup`]`)`; `?` then leaves
//!   `run`, and what comes after the last `await` (a counter in `kv`, a log line) still runs.
//! * When `run` returns before the call ended, the host ends the call.
//! * Time is the host's: there are no threads, and a future of another runtime that waits
//!   for something else than this call will never be woken.

mod connect;
mod dial;
mod executor;
mod media;
mod race;

pub use connect::{Connect, ConnectEvent};
pub use dial::{Dial, DialEnd};
pub use media::{Digits, Gather, Gathering, IntoPrompts, Play};
pub use race::{Either, race};

pub use crate::bindings::flow::exports::gatepost::plugin::flow::{
    Action, Event, FunctionCall, GatherEnd, Gathered, PlayEnd, Played, Prompt, Transcript,
};
/// The records inside [`Action`] and [`Event`], for tests that look at them.
pub mod raw {
    pub use crate::bindings::flow::exports::gatepost::plugin::flow::{
        Connect, ConnectEnded, Dial, DialFailed, FunctionResult, Gather, Play, Timer,
    };
}

use crate::bindings::flow::exports::gatepost::plugin::flow::{Guest, GuestSession, Timer};
use crate::config::ConfigError;
use crate::types::{CallInfo, DialPlan, Failure, Reject, millis};
pub(crate) use executor::Session as Driver;
use executor::{Running, Shared};
use std::cell::RefCell;
use std::future::Future;
use std::marker::PhantomData;
use std::rc::Rc;
use std::time::Duration;

/// A program for one call.
pub trait Flow: 'static {
    fn run(call: Call) -> impl Future<Output = Result<(), Exit>>;
}

/// The call that a flow runs. Clones are the same call.
#[derive(Clone)]
pub struct Call {
    info: Rc<CallInfo>,
    shared: Shared,
}

impl Call {
    /// What the host told of the call when it entered the flow.
    pub fn info(&self) -> &CallInfo {
        &self.info
    }

    /// 180 to the caller.
    pub fn ring(&self) {
        self.shared.act(Action::Ring);
    }

    /// 200 to the caller; waits until audio flows. Does nothing when the call is answered.
    pub async fn answer(&self) -> Result<(), Hangup> {
        self.shared.answer().await
    }

    /// Plays prompts one after the other: a file name, a [`Prompt`], or a list of these.
    pub fn play(&self, prompts: impl IntoPrompts) -> Play {
        Play::new(self.shared.clone(), prompts.into_prompts())
    }

    /// Collects digits.
    pub fn gather(&self, gather: Gather) -> Gathering {
        Gathering::new(self.shared.clone(), gather)
    }

    /// The caller's digits one by one, from here on, whether they also go to a `gather`
    /// or not.
    pub fn digits(&self) -> Digits {
        Digits::new(self.shared.clone())
    }

    /// Dials and waits until the dialled call is over. See [`Dial`].
    pub fn dial(&self, plan: impl Into<DialPlan>) -> Dial {
        Dial::new(self.shared.clone(), plan.into())
    }

    /// Begins to talk to an AI platform through a connector of the tenant. `settings` is
    /// merged over the connector's configuration.
    ///
    /// ```
    /// # use gatepost_sdk::flow::*;
    /// # async fn assistant(call: Call) -> Result<(), Exit> {
    /// let mut ai = call.connect("openai-realtime", gatepost_sdk::json!({ "voice": "marin" }));
    /// while let Some(event) = ai.next().await? {
    ///     if let ConnectEvent::FunctionCall(function) = event {
    ///         ai.respond(&function, gatepost_sdk::json!({ "balance": 12 }));
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect(&self, connector: impl Into<String>, settings: serde_json::Value) -> Connect {
        Connect::start(self.shared.clone(), connector.into(), settings.to_string())
    }

    pub async fn sleep(&self, duration: Duration) -> Result<(), Hangup> {
        let mut running = Running::start(&self.shared, Action::CancelTimer, |id| {
            Action::StartTimer(Timer {
                id,
                after_ms: millis(duration),
            })
        });
        running.next().await?;
        running.finish();
        Ok(())
    }

    /// Gives a future so long; `None` says that the time was over first, and the future is
    /// dropped.
    pub async fn timeout<F: IntoFuture>(
        &self,
        duration: Duration,
        future: F,
    ) -> Result<Option<F::Output>, Hangup> {
        match race(future, self.sleep(duration)).await {
            Either::Left(output) => Ok(Some(output)),
            Either::Right(slept) => slept.map(|()| None),
        }
    }

    /// RFC 4733 digits to the caller; `w` is half a second of pause.
    pub fn send_digits(&self, digits: impl Into<String>) {
        self.shared.act(Action::SendDigits(digits.into()));
    }

    /// A line in the call's journal.
    pub fn note(&self, kind: impl Into<String>, text: impl Into<String>) {
        self.shared.act(Action::Note((kind.into(), text.into())));
    }

    /// Ends the call. Use it as `return call.hangup();` or with `?`.
    pub fn hangup(&self) -> Result<(), Exit> {
        self.reject(480, "the flow ended the call")
    }

    /// Refuses a call that is not answered with this SIP status, 400 to 699; ends an
    /// answered one.
    pub fn reject(&self, code: u16, reason: impl Into<String>) -> Result<(), Exit> {
        self.shared.end(Reject::new(code, reason));
        Err(Exit::Hangup(Hangup { status: code }))
    }

    /// Waits until the caller hangs up.
    pub async fn hung_up(&self) -> Hangup {
        self.shared.hung_up().await
    }

    /// An action that this version of the SDK has no word for.
    pub fn act(&self, action: Action) {
        self.shared.act(action);
    }

    /// A number that no other operation of this call has, for [`Call::act`].
    pub fn fresh_id(&self) -> u32 {
        self.shared.fresh_id()
    }
}

/// The call is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hangup {
    /// the SIP status that ended it; 200 for a BYE
    pub status: u16,
}

impl std::fmt::Display for Hangup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the call is over ({})", self.status)
    }
}

impl std::error::Error for Hangup {}

/// Why a flow left its `run` early.
#[derive(Debug, Clone, PartialEq)]
pub enum Exit {
    /// It cannot do its work: the host logs why and ends the call.
    Failed(Failure),
    /// The call is over.
    Hangup(Hangup),
}

impl From<Hangup> for Exit {
    fn from(hangup: Hangup) -> Exit {
        Exit::Hangup(hangup)
    }
}

impl From<Failure> for Exit {
    fn from(failure: Failure) -> Exit {
        Exit::Failed(failure)
    }
}

impl From<ConfigError> for Exit {
    fn from(error: ConfigError) -> Exit {
        Exit::Failed(error.into())
    }
}

#[doc(hidden)]
pub struct Adapter<T>(PhantomData<T>);

#[doc(hidden)]
pub struct Session<T>(RefCell<Driver>, PhantomData<T>);

impl<T: Flow> Guest for Adapter<T> {
    type Session = Session<T>;
}

impl<T: Flow> GuestSession for Session<T> {
    fn new(call: CallInfo) -> Session<T> {
        crate::export::enter();
        Session(RefCell::new(Driver::new::<T>(call)), PhantomData)
    }

    fn on_event(&self, event: Event) -> Vec<Action> {
        self.0.borrow_mut().on_event(event)
    }
}

#[cfg(test)]
mod tests;
