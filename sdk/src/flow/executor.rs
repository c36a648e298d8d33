//! The executor inside the guest: it turns `async fn run` into `on-event → actions`.
//!
//! There is one future for a call. Each event is put where the operation that it belongs to
//! will look for it, then the future is polled until it waits again; what it asked for
//! meanwhile is the answer to the event.

use super::{Action, Call, Event, Exit, Flow, Hangup};
use crate::types::{CallInfo, Failure, Reject};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

pub(crate) struct Session {
    shared: Shared,
    /// gone when it returned
    run: Option<Run>,
    woken: Arc<Woken>,
}

/// What `async fn run` gives.
type Run = Pin<Box<dyn Future<Output = Result<(), Exit>>>>;

impl Session {
    pub(crate) fn new<F: Flow>(info: CallInfo) -> Session {
        let shared = Shared::default();
        let call = Call {
            info: Rc::new(info),
            shared: shared.clone(),
        };
        Session {
            shared,
            run: Some(Box::pin(F::run(call))),
            woken: Arc::default(),
        }
    }

    pub(crate) fn on_event(&mut self, event: Event) -> Vec<Action> {
        self.shared.take_in(event);
        self.poll();
        self.shared.take_actions()
    }

    fn poll(&mut self) {
        let Some(run) = &mut self.run else { return };
        let waker = Waker::from(self.woken.clone());
        loop {
            self.woken.0.store(false, Ordering::Relaxed);
            match run.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Pending if self.woken.0.load(Ordering::Relaxed) => {}
                Poll::Pending => return,
                Poll::Ready(result) => {
                    // Dropped here, so that whatever it left running stops before the end.
                    self.run = None;
                    return self.finish(result);
                }
            }
        }
    }

    fn finish(&self, result: Result<(), Exit>) {
        let end = match result {
            Ok(()) => Reject::new(480, "the flow has ended"),
            Err(Exit::Hangup(hangup)) => Reject::new(hangup.status.max(400), "the flow has ended"),
            Err(Exit::Failed(failure)) => {
                let text = match failure {
                    Failure::Config(text) => format!("config: {text}"),
                    Failure::Input(text) => format!("input: {text}"),
                    Failure::Upstream(text) => format!("upstream: {text}"),
                    Failure::Internal(text) => format!("internal: {text}"),
                };
                crate::log::error(&format!("the flow failed: {text}"));
                self.shared
                    .act(Action::Note(("flow-failed".into(), text.clone())));
                Reject::new(500, text)
            }
        };
        self.shared.end(end);
    }
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What the futures of a call share with its executor.
#[derive(Clone, Default)]
pub(crate) struct Shared(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    actions: Vec<Action>,
    last_id: u32,
    answer_asked: bool,
    answered: bool,
    /// the flow itself ended the call
    ended: bool,
    hangup: Option<Hangup>,
    /// Events for what is running, by its id; events for anything else are late.
    inboxes: BTreeMap<u32, Inbox>,
}

#[derive(Default)]
struct Inbox {
    takes_digits: bool,
    events: VecDeque<Event>,
}

impl Shared {
    pub(super) fn act(&self, action: Action) {
        let mut state = self.0.borrow_mut();
        if state.hangup.is_none() && !state.ended {
            state.actions.push(action);
        }
    }

    /// Ends the call, once.
    pub(super) fn end(&self, reject: Reject) {
        self.act(Action::Hangup(reject));
        self.0.borrow_mut().ended = true;
    }

    pub(super) fn fresh_id(&self) -> u32 {
        let mut state = self.0.borrow_mut();
        state.last_id += 1;
        state.last_id
    }

    pub(super) async fn answer(&self) -> Result<(), Hangup> {
        let ask = {
            let mut state = self.0.borrow_mut();
            !state.answered && !std::mem::replace(&mut state.answer_asked, true)
        };
        if ask {
            self.act(Action::Answer);
        }
        poll_fn(|_| {
            let state = self.0.borrow();
            match state.hangup {
                Some(hangup) => Poll::Ready(Err(hangup)),
                None if state.answered => Poll::Ready(Ok(())),
                None => Poll::Pending,
            }
        })
        .await
    }

    pub(super) async fn hung_up(&self) -> Hangup {
        poll_fn(|_| self.0.borrow().hangup.map_or(Poll::Pending, Poll::Ready)).await
    }

    fn take_in(&self, event: Event) {
        let state = &mut *self.0.borrow_mut();
        let id = match &event {
            Event::Answered => {
                state.answered = true;
                return;
            }
            Event::Hangup(status) => {
                state.hangup = Some(Hangup { status: *status });
                return;
            }
            Event::Digit(_) => {
                for inbox in state
                    .inboxes
                    .values_mut()
                    .filter(|inbox| inbox.takes_digits)
                {
                    inbox.events.push_back(event.clone());
                }
                return;
            }
            Event::Started | Event::Other(_) => return,
            Event::Gathered(gathered) => gathered.id,
            Event::Played(played) => played.id,
            Event::DialFailed(failed) => failed.id,
            Event::FunctionCall(function) => function.id,
            Event::Transcript(transcript) => transcript.id,
            Event::ConnectEnded(ended) => ended.id,
            Event::Timer(id)
            | Event::DialRinging(id)
            | Event::DialAnswered(id)
            | Event::DialEnded(id)
            | Event::Connected(id) => *id,
        };
        if let Some(inbox) = state.inboxes.get_mut(&id) {
            inbox.events.push_back(event);
        }
    }

    fn take_actions(&self) -> Vec<Action> {
        let mut state = self.0.borrow_mut();
        let actions = std::mem::take(&mut state.actions);
        // The contract: after a hangup nothing is done any more.
        if state.hangup.is_some() {
            Vec::new()
        } else {
            actions
        }
    }
}

/// Something that was started and not yet over. Dropping it stops it.
pub(crate) struct Running {
    shared: Shared,
    id: u32,
    stop: Option<fn(u32) -> Action>,
}

impl Running {
    pub(super) fn start(
        shared: &Shared,
        stop: fn(u32) -> Action,
        start: impl FnOnce(u32) -> Action,
    ) -> Running {
        let running = Running::listen(shared, false, Some(stop));
        shared.act(start(running.id));
        running
    }

    /// Nothing to be stopped: only the caller's digits.
    pub(super) fn digits(shared: &Shared) -> Running {
        Running::listen(shared, true, None)
    }

    fn listen(shared: &Shared, takes_digits: bool, stop: Option<fn(u32) -> Action>) -> Running {
        let id = shared.fresh_id();
        shared.0.borrow_mut().inboxes.insert(
            id,
            Inbox {
                takes_digits,
                events: VecDeque::new(),
            },
        );
        Running {
            shared: shared.clone(),
            id,
            stop,
        }
    }

    pub(super) fn id(&self) -> u32 {
        self.id
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The next event of it. Events that came before the hangup are seen before it.
    pub(super) async fn next(&mut self) -> Result<Event, Hangup> {
        poll_fn(|_| {
            let mut state = self.shared.0.borrow_mut();
            if let Some(event) = state
                .inboxes
                .get_mut(&self.id)
                .and_then(|inbox| inbox.events.pop_front())
            {
                return Poll::Ready(Ok(event));
            }
            state
                .hangup
                .map_or(Poll::Pending, |hangup| Poll::Ready(Err(hangup)))
        })
        .await
    }

    /// It is over by itself: nothing is left to stop.
    pub(super) fn finish(&mut self) {
        self.stop = None;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let inbox = self
            .shared
            .0
            .borrow_mut()
            .inboxes
            .remove(&self.id)
            .unwrap_or_default();
        // An end that nobody has looked at is an end all the same.
        if let Some(stop) = self.stop
            && !inbox.events.iter().any(ends)
        {
            self.shared.act(stop(self.id));
        }
    }
}

/// Whether nothing is left to stop after this event.
fn ends(event: &Event) -> bool {
    match event {
        Event::Gathered(_)
        | Event::Played(_)
        | Event::Timer(_)
        | Event::DialFailed(_)
        | Event::DialEnded(_)
        | Event::ConnectEnded(_)
        | Event::Hangup(_) => true,
        Event::Started
        | Event::Answered
        | Event::Digit(_)
        | Event::DialRinging(_)
        | Event::DialAnswered(_)
        | Event::Connected(_)
        | Event::FunctionCall(_)
        | Event::Transcript(_)
        | Event::Other(_) => false,
    }
}
