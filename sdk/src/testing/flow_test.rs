//! Drives a flow as the host does, with time that the test moves.

use super::{FakeHost, call_info};
use crate::flow::raw::{self, ConnectEnded, DialFailed};
use crate::flow::{
    Action, Driver, Event, Flow, FunctionCall, GatherEnd, Gathered, PlayEnd, Played, Prompt,
    Transcript,
};
use crate::types::{CallInfo, DialPlan, Reject};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// A call in a flow, with a small model of the host: prompts take their time, a digit stops
/// those that may be stopped, `gather` and timers end when the clock says so.
///
/// ```
/// use gatepost_sdk::flow::*;
/// use gatepost_sdk::testing::FlowTest;
/// use std::time::Duration;
///
/// struct Menu;
/// impl Flow for Menu {
///     async fn run(call: Call) -> Result<(), Exit> {
///         call.answer().await?;
///         let digits = call.gather(Gather::digits(1).prompt("menu.wav")).await?.digits;
///         call.play(format!("{digits}.wav")).await?;
///         Ok(())
///     }
/// }
///
/// let mut test = FlowTest::start::<Menu>();
/// assert_eq!(test.playing(), ["menu.wav"]);
/// test.press("7");
/// assert_eq!(test.playing(), ["7.wav"]);
/// test.advance(Duration::from_secs(1));
/// assert!(test.ended().is_some());
/// ```
pub struct FlowTest {
    host: FakeHost,
    session: Driver,
    now_ms: u64,
    /// length of each prompt, by file name, text or tone; others take 1,000 ms
    lengths_ms: BTreeMap<String, u64>,
    actions: Vec<Action>,
    plays: Vec<Playing>,
    gather: Option<Gathering>,
    /// id and when it is due
    timers: Vec<(u32, u64)>,
    dials: Vec<raw::Dial>,
    connects: Vec<raw::Connect>,
    ended: Option<Reject>,
}

struct Playing {
    play: raw::Play,
    began_ms: u64,
    /// none plays until it is stopped
    ends_ms: Option<u64>,
}

struct Gathering {
    gather: raw::Gather,
    digits: String,
    /// when the caller is too slow; set once no prompt plays
    due_ms: Option<u64>,
}

impl FlowTest {
    /// A call enters the flow.
    pub fn start<F: Flow>() -> FlowTest {
        FlowTest::start_on::<F>(FakeHost::new(), call_info())
    }

    pub fn start_on<F: Flow>(host: FakeHost, call: CallInfo) -> FlowTest {
        let session = host.run(|| Driver::new::<F>(call));
        let mut test = FlowTest {
            host,
            session,
            now_ms: 0,
            lengths_ms: BTreeMap::new(),
            actions: Vec::new(),
            plays: Vec::new(),
            gather: None,
            timers: Vec::new(),
            dials: Vec::new(),
            connects: Vec::new(),
            ended: None,
        };
        test.event(Event::Started);
        test
    }

    /// From here on a prompt takes so long.
    pub fn prompt_length(&mut self, prompt: &str, length: Duration) {
        self.lengths_ms
            .insert(prompt.into(), length.as_millis() as u64);
    }

    /// Tells the flow something, and does what it answers.
    pub fn event(&mut self, event: Event) {
        let actions = self.host.run(|| self.session.on_event(event));
        for action in actions {
            self.actions.push(action.clone());
            self.act(action);
        }
    }

    /// The caller presses digits.
    pub fn press(&mut self, digits: &str) {
        for digit in digits.chars() {
            self.event(Event::Digit(digit.into()));
            while let Some(at) = self
                .plays
                .iter()
                .position(|playing| playing.play.interruptible)
            {
                let playing = self.plays.remove(at);
                self.end_play(playing, PlayEnd::Interrupted);
            }
            let Some(gathering) = &mut self.gather else {
                continue;
            };
            if gathering.gather.terminators.contains(digit) {
                self.end_gather(GatherEnd::Terminator);
                continue;
            }
            gathering.digits.push(digit);
            gathering.due_ms = Some(self.now_ms + u64::from(gathering.gather.inter_timeout_ms));
            let most = usize::from(gathering.gather.max_digits);
            if most > 0 && gathering.digits.len() >= most {
                self.end_gather(GatherEnd::MaxDigits);
            }
        }
    }

    /// Lets time pass, with all that happens meanwhile in its order.
    pub fn advance(&mut self, time: Duration) {
        let until = self.now_ms + time.as_millis() as u64;
        while let Some(due) = self.next_due().filter(|due| *due <= until) {
            self.move_clock(due);
            self.fire();
        }
        self.move_clock(until);
    }

    /// The caller hangs up.
    pub fn hangup(&mut self) {
        self.event(Event::Hangup(200));
    }

    pub fn dial_ringing(&mut self) {
        let id = self.last_dial().id;
        self.event(Event::DialRinging(id));
    }

    pub fn dial_answered(&mut self) {
        let id = self.last_dial().id;
        self.event(Event::DialAnswered(id));
    }

    /// The dialled party, once answered, hangs up.
    pub fn dial_ended(&mut self) {
        match self.dials.pop() {
            Some(dial) if dial.resume => self.event(Event::DialEnded(dial.id)),
            Some(_) => self.event(Event::Hangup(200)),
            None => panic!("nothing is being dialled"),
        }
    }

    pub fn dial_failed(&mut self, status: u16, reason: &str) {
        let id = self.last_dial().id;
        self.dials.pop();
        self.event(Event::DialFailed(DialFailed {
            id,
            status,
            reason: reason.into(),
        }));
    }

    /// The platform of the newest `connect` is ready.
    pub fn connected(&mut self) {
        let id = self.last_connect().id;
        self.event(Event::Connected(id));
    }

    pub fn function_call(&mut self, call: &str, name: &str, arguments: Value) {
        let id = self.last_connect().id;
        let arguments = arguments.to_string();
        self.event(Event::FunctionCall(FunctionCall {
            id,
            call: call.into(),
            name: name.into(),
            arguments,
        }));
    }

    pub fn transcript(&mut self, speaker: &str, text: &str) {
        let id = self.last_connect().id;
        self.event(Event::Transcript(Transcript {
            id,
            speaker: speaker.into(),
            text: text.into(),
            final_: true,
        }));
    }

    pub fn connect_ended(&mut self, normal: bool, reason: &str) {
        let id = self.last_connect().id;
        self.connects.pop();
        self.event(Event::ConnectEnded(ConnectEnded {
            id,
            normal,
            reason: reason.into(),
        }));
    }

    /// What the flow asked for since the last look.
    pub fn actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// The prompts that the caller hears.
    pub fn playing(&self) -> Vec<String> {
        self.plays
            .iter()
            .flat_map(|playing| &playing.play.prompts)
            .map(name)
            .collect()
    }

    pub fn is_gathering(&self) -> bool {
        self.gather.is_some()
    }

    /// The plan that is being dialled, or talked on.
    pub fn dialled(&self) -> Option<&DialPlan> {
        self.dials.last().map(|dial| &dial.plan)
    }

    /// The URIs of [`FlowTest::dialled`].
    pub fn dialled_uris(&self) -> Vec<&str> {
        self.dialled().map_or(Vec::new(), |plan| {
            plan.targets
                .iter()
                .map(|target| target.uri.as_str())
                .collect()
        })
    }

    /// The connector that the caller talks to, and its settings.
    pub fn connect(&self) -> Option<(&str, Value)> {
        let connect = self.connects.last()?;
        Some((
            &connect.connector,
            serde_json::from_str(&connect.settings).unwrap_or_default(),
        ))
    }

    /// How the flow ended the call, where it did.
    pub fn ended(&self) -> Option<&Reject> {
        self.ended.as_ref()
    }

    pub fn host(&self) -> &FakeHost {
        &self.host
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Answer => self.event(Event::Answered),
            Action::Play(play) => {
                let once: u64 = play
                    .prompts
                    .iter()
                    .map(|prompt| self.length_ms(prompt))
                    .sum();
                let ends_ms =
                    (play.repeat > 0).then(|| self.now_ms + once * u64::from(play.repeat));
                self.plays.push(Playing {
                    play,
                    began_ms: self.now_ms,
                    ends_ms,
                });
                self.hold_gather();
            }
            Action::StopPlay(id) => {
                if let Some(at) = self.plays.iter().position(|playing| playing.play.id == id) {
                    let playing = self.plays.remove(at);
                    self.end_play(playing, PlayEnd::Stopped);
                }
            }
            Action::Gather(gather) => {
                self.gather = Some(Gathering {
                    gather,
                    digits: String::new(),
                    due_ms: None,
                });
                self.arm_gather();
            }
            Action::StopGather(id) if self.gather.as_ref().is_some_and(|g| g.gather.id == id) => {
                self.end_gather(GatherEnd::Stopped);
            }
            Action::StartTimer(timer) => self
                .timers
                .push((timer.id, self.now_ms + u64::from(timer.after_ms))),
            Action::CancelTimer(id) => self.timers.retain(|(known, _)| *known != id),
            Action::Dial(dial) => self.dials.push(dial),
            Action::StopDial(id) => self.dials.retain(|dial| dial.id != id),
            Action::Connect(connect) => self.connects.push(connect),
            Action::Disconnect(id) => {
                if let Some(at) = self.connects.iter().position(|connect| connect.id == id) {
                    self.connects.remove(at);
                    self.event(Event::ConnectEnded(ConnectEnded {
                        id,
                        normal: true,
                        reason: "disconnected".into(),
                    }));
                }
            }
            Action::Hangup(reject) => {
                let status = reject.code;
                self.ended = Some(reject);
                self.event(Event::Hangup(status));
            }
            Action::StopGather(_)
            | Action::Ring
            | Action::FunctionResult(_)
            | Action::UpdateConnect(_)
            | Action::SendDigits(_)
            | Action::Note(_)
            | Action::Other(_) => {}
        }
    }

    fn next_due(&self) -> Option<u64> {
        let plays = self.plays.iter().filter_map(|playing| playing.ends_ms);
        let gather = self.gather.iter().filter_map(|gathering| gathering.due_ms);
        plays
            .chain(gather)
            .chain(self.timers.iter().map(|(_, due)| *due))
            .min()
    }

    fn fire(&mut self) {
        let now = self.now_ms;
        if let Some(at) = self
            .plays
            .iter()
            .position(|playing| playing.ends_ms.is_some_and(|ends| ends <= now))
        {
            let playing = self.plays.remove(at);
            self.end_play(playing, PlayEnd::Finished);
        } else if self
            .gather
            .as_ref()
            .is_some_and(|gathering| gathering.due_ms.is_some_and(|due| due <= now))
        {
            self.end_gather(GatherEnd::Timeout);
        } else if let Some(at) = self.timers.iter().position(|(_, due)| *due <= now) {
            let (id, _) = self.timers.remove(at);
            self.event(Event::Timer(id));
        }
    }

    fn end_play(&mut self, playing: Playing, end: PlayEnd) {
        let played_ms = (self.now_ms - playing.began_ms) as u32;
        self.event(Event::Played(Played {
            id: playing.play.id,
            end,
            played_ms,
        }));
        self.arm_gather();
    }

    fn end_gather(&mut self, end: GatherEnd) {
        if let Some(Gathering { gather, digits, .. }) = self.gather.take() {
            self.event(Event::Gathered(Gathered {
                id: gather.id,
                digits,
                end,
            }));
        }
    }

    /// The contract: the time for the first digit starts when no prompt plays.
    fn arm_gather(&mut self) {
        let silent = self.plays.is_empty();
        if let Some(gathering) = &mut self.gather
            && silent
            && gathering.due_ms.is_none()
        {
            gathering.due_ms = Some(self.now_ms + u64::from(gathering.gather.first_timeout_ms));
        }
    }

    fn hold_gather(&mut self) {
        if let Some(gathering) = &mut self.gather
            && gathering.digits.is_empty()
        {
            gathering.due_ms = None;
        }
    }

    fn move_clock(&mut self, to_ms: u64) {
        self.host
            .advance(Duration::from_millis(to_ms - self.now_ms));
        self.now_ms = to_ms;
    }

    fn length_ms(&self, prompt: &Prompt) -> u64 {
        match prompt {
            Prompt::Silence(ms) => u64::from(*ms),
            other => self.lengths_ms.get(&name(other)).copied().unwrap_or(1_000),
        }
    }

    fn last_dial(&self) -> &raw::Dial {
        self.dials.last().expect("nothing is being dialled")
    }

    fn last_connect(&self) -> &raw::Connect {
        self.connects.last().expect("nothing is connected")
    }
}

fn name(prompt: &Prompt) -> String {
    match prompt {
        Prompt::File(text) | Prompt::Say(text) | Prompt::Tone(text) => text.clone(),
        Prompt::Silence(ms) => format!("silence {ms} ms"),
    }
}
