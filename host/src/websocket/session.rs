//! One session, from the plugin's start to the end of the socket.

use super::connect::{ConnectError, connect};
use super::dialect::{Action, Connection, Dialect, Encoding, Event, Format, Started, media_format};
use super::outbox::{Full, Outbox};
use super::{Deps, Report, Request};
use crate::http::dial::Stream;
use b2bua::ConnectorOrder;
use b2bua::flow::{ConnectorEvent, FunctionCall, Transcript};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::SplitStream;
use media::{Command, ConnectorCommand};
use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

/// How a session ends; `None` where the call ordered it and wants to hear no more.
type End = Option<(bool, String)>;

pub(super) async fn run(
    deps: Arc<Deps>,
    request: Request,
    mut orders: mpsc::Receiver<ConnectorOrder>,
    report: Report,
) {
    let mut reporter = Reporter {
        report,
        id: request.connect.id,
        owed: true,
    };
    let mut early = VecDeque::new();
    let opening = open(&deps, &request);
    let opened = tokio::select! {
        opened = opening => opened,
        () = stopped(&mut orders, &mut early) => return reporter.end(None),
    };
    let end = match opened {
        Err(reason) => Some((false, reason)),
        Ok((started, socket)) => {
            converse(
                &deps,
                &request,
                started,
                socket,
                orders,
                early,
                &mut reporter,
            )
            .await
        }
    };
    reporter.end(end);
}

/// Ready when the call wants no session any more; keeps other orders for later.
async fn stopped(
    orders: &mut mpsc::Receiver<ConnectorOrder>,
    early: &mut VecDeque<ConnectorOrder>,
) {
    while early.len() < super::MAX_ORDERS {
        match orders.recv().await {
            None | Some(ConnectorOrder::Stop) => return,
            Some(order) => early.push_back(order),
        }
    }
    // Nobody sends so much before the session is open.
}

async fn open(
    deps: &Deps,
    request: &Request,
) -> Result<(Started, WebSocketStream<Stream>), String> {
    let started = deps.dialects.start(&request.connect, &request.info).await?;
    check(&started.connection)?;
    let tenant = request.info.tenant.clone();
    let secrets = |name: &str| deps.secrets.secret(&tenant, name);
    let socket = connect(
        &started.connection,
        &started.grants,
        &secrets,
        &deps.tls,
        deps.limits.message_bytes,
        deps.limits.connect_timeout,
    )
    .await
    .map_err(|error: ConnectError| error.to_string())?;
    Ok((started, socket))
}

/// What the contract promises about formats.
fn check(connection: &Connection) -> Result<(), String> {
    for (name, format) in [("input", connection.input), ("output", connection.output)] {
        let rates: &[u32] = match format.encoding {
            Encoding::PcmS16le => &[8_000, 16_000, 24_000, 48_000],
            Encoding::Pcma | Encoding::Pcmu => &[8_000],
        };
        if !rates.contains(&format.rate) {
            return Err(format!(
                "the {name} format {:?} cannot have {} Hz",
                format.encoding, format.rate
            ));
        }
    }
    if !(20..=200).contains(&connection.frame_ms) {
        return Err(format!(
            "frame-ms is {}, and must be 20 to 200",
            connection.frame_ms
        ));
    }
    Ok(())
}

async fn converse(
    deps: &Deps,
    request: &Request,
    started: Started,
    socket: WebSocketStream<Stream>,
    mut orders: mpsc::Receiver<ConnectorOrder>,
    early: VecDeque<ConnectorOrder>,
    reporter: &mut Reporter,
) -> End {
    let (sink, mut incoming) = socket.split();
    let limits = &deps.limits;
    let outbox = Outbox::new(
        sink,
        limits.outbox_messages,
        limits.outbox_bytes,
        limits.write_timeout,
    );
    let Connection {
        input,
        output,
        frame_ms,
        ..
    } = started.connection;
    let mut heard = match attach(deps, request, input, output, frame_ms) {
        Some(heard) => heard,
        None => return Some((false, "the media thread takes no more orders".into())),
    };
    let held_frames = (limits.held_audio.as_millis() / u128::from(frame_ms)).max(1) as usize;
    let mut session = Session {
        deps,
        request,
        dialect: started.dialect,
        outbox,
        timers: BTreeMap::new(),
        held: VecDeque::with_capacity(held_frames),
        held_frames,
        dropped_audio: 0,
        closing: None,
    };
    let end = session
        .talk(&mut incoming, &mut heard, &mut orders, early, reporter)
        .await;
    deps.media.send(
        request.session,
        Command::Detach {
            leg: request.leg,
            id: request.connect.id,
        },
    );
    deps.media.detach(request.session, request.connect.id);
    if session.dropped_audio > 0 {
        tracing::info!(
            frames = session.dropped_audio,
            "the platform was too slow for the caller's audio"
        );
    }
    session.say_goodbye().await;
    end
}

fn attach(
    deps: &Deps,
    request: &Request,
    input: Format,
    output: Format,
    frame_ms: u32,
) -> Option<mpsc::Receiver<media::ConnectorEvent>> {
    let (sender, heard) = mpsc::channel(HEARD);
    let (leg, id) = (request.leg, request.connect.id);
    let attached = deps.media.attach(request.session, id, sender)
        && deps.media.send(
            request.session,
            Command::Attach {
                leg,
                id,
                input: media_format(input),
                output: media_format(output),
                frame_ms,
            },
        );
    attached.then_some(heard)
}

struct Session<'a> {
    deps: &'a Deps,
    request: &'a Request,
    dialect: Box<dyn Dialect>,
    outbox: Outbox,
    timers: BTreeMap<u32, Instant>,
    /// Caller audio that the platform is too slow for, oldest first.
    held: VecDeque<Bytes>,
    held_frames: usize,
    dropped_audio: u64,
    /// Our close frame was sent: why, and until when its answer is awaited.
    closing: Option<(String, Instant)>,
}

impl Session<'_> {
    async fn talk(
        &mut self,
        incoming: &mut SplitStream<WebSocketStream<Stream>>,
        heard: &mut mpsc::Receiver<media::ConnectorEvent>,
        orders: &mut mpsc::Receiver<ConnectorOrder>,
        early: VecDeque<ConnectorOrder>,
        reporter: &mut Reporter,
    ) -> End {
        let ping_every = self.deps.limits.ping_every;
        let mut last_heard = Instant::now();
        let mut next_ping = last_heard + ping_every;
        let mut events = VecDeque::from([Event::Opened]);
        for order in early {
            match event_of(order) {
                Some(event) => events.push_back(event),
                None => return None,
            }
        }
        let mut writing = true;
        loop {
            while let Some(event) = events.pop_front() {
                let actions = match self.dialect.on_event(event).await {
                    Ok(actions) => actions,
                    Err(reason) => return Some((false, format!("the connector failed: {reason}"))),
                };
                if let ControlFlow::Break(end) = self.apply(actions, reporter) {
                    return end;
                }
            }
            let timer = self.timers.iter().map(|(id, at)| (*at, *id)).min();
            let close_by = self.closing.as_ref().map(|(_, at)| *at);
            let wake = [timer.map(|(at, _)| at), close_by, Some(next_ping)]
                .into_iter()
                .flatten()
                .min();
            tokio::select! {
                order = orders.recv() => match order.and_then(event_of) {
                    Some(event) => events.push_back(event),
                    None => return None,
                },
                message = incoming.next() => {
                    last_heard = Instant::now();
                    match self.read(message) {
                        Read::Event(event) => events.push_back(event),
                        Read::Nothing => {}
                        Read::Closed { code, reason } => return self.closed(code, reason).await,
                    }
                }
                event = heard.recv() => match event {
                    Some(media::ConnectorEvent::Audio(audio)) => self.hold(audio),
                    Some(media::ConnectorEvent::Cleared { item, played_ms }) => {
                        events.push_back(Event::Cleared { item, played_ms });
                    }
                    Some(media::ConnectorEvent::Digit(digit)) => events.push_back(Event::Digit(digit)),
                    Some(media::ConnectorEvent::Marked(mark)) => events.push_back(Event::Marked(mark)),
                    None => return Some((false, "the media of the call is gone".into())),
                },
                result = self.outbox.ended(), if writing => {
                    writing = false;
                    if let Err(error) = result {
                        return self.closed(ABNORMAL, error.to_string()).await;
                    }
                }
                () = sleep_until(wake.unwrap_or(next_ping)) => {
                    let now = Instant::now();
                    if let Some((reason, at)) = &self.closing && *at <= now {
                        return Some((true, reason.clone()));
                    }
                    if let Some((at, id)) = timer && at <= now {
                        self.timers.remove(&id);
                        events.push_back(Event::Timer(id));
                    }
                    if next_ping <= now {
                        if now.duration_since(last_heard) > ping_every * 2 {
                            return self.closed(ABNORMAL, "nothing was heard of the platform".into()).await;
                        }
                        next_ping = now + ping_every;
                        // A full outbox has enough in it to find out whether the peer lives.
                        let _ = self.outbox.send(Message::Ping(Bytes::new()));
                    }
                }
            }
            if self.closing.is_none()
                && self.outbox.has_room_for_audio()
                && let Some(audio) = self.held.pop_front()
            {
                events.push_back(Event::Audio(audio));
            }
        }
    }

    fn apply(&mut self, actions: Vec<Action>, reporter: &mut Reporter) -> ControlFlow<End> {
        for action in actions {
            match action {
                Action::CancelTimer(id) => {
                    self.timers.remove(&id);
                }
                Action::Clear => self.command(ConnectorCommand::Clear),
                Action::Close(reason) => self.close(reason),
                Action::Fail(reason) => return ControlFlow::Break(Some((false, reason))),
                Action::FunctionCall(call) => {
                    let call = FunctionCall {
                        id: reporter.id,
                        ..call
                    };
                    reporter.tell(ConnectorEvent::FunctionCall(call));
                }
                Action::Mark(mark) => self.command(ConnectorCommand::Mark(mark)),
                Action::Note { kind, text } => reporter.tell(ConnectorEvent::Note { kind, text }),
                Action::Other(name) => {
                    tracing::debug!(name, "an action of a later version was ignored")
                }
                Action::Play { item, audio } => {
                    self.command(ConnectorCommand::Enqueue { item, audio })
                }
                Action::Ready => reporter.tell(ConnectorEvent::Connected),
                Action::SendBinary(bytes) => self.send(Message::Binary(bytes.into()))?,
                Action::SendText(text) => self.send(Message::Text(text.into()))?,
                Action::StartTimer { id, after_ms } => {
                    if self.timers.len() >= self.deps.limits.timers
                        && !self.timers.contains_key(&id)
                    {
                        return ControlFlow::Break(Some((
                            false,
                            "the connector has too many timers".into(),
                        )));
                    }
                    let after = std::time::Duration::from_millis(after_ms.into());
                    self.timers.insert(id, Instant::now() + after);
                }
                Action::Transcript(transcript) => {
                    let transcript = Transcript {
                        id: reporter.id,
                        ..transcript
                    };
                    reporter.tell(ConnectorEvent::Transcript(transcript));
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn send(&mut self, message: Message) -> ControlFlow<End> {
        let limit = self.deps.limits.message_bytes;
        if message.len() > limit {
            let reason = format!("the connector wrote a message of more than {limit} bytes");
            return ControlFlow::Break(Some((false, reason)));
        }
        if self.closing.is_some() {
            return ControlFlow::Continue(());
        }
        match self.outbox.send(message) {
            Ok(()) => ControlFlow::Continue(()),
            Err(Full) => ControlFlow::Break(Some((
                false,
                "the platform does not read what is sent".into(),
            ))),
        }
    }

    fn command(&self, command: ConnectorCommand) {
        let (leg, id) = (self.request.leg, self.request.connect.id);
        if !self.deps.media.send(
            self.request.session,
            Command::Connector { leg, id, command },
        ) {
            tracing::warn!(
                "the media thread takes no more orders; something of an AI session was lost"
            );
        }
    }

    fn hold(&mut self, audio: Bytes) {
        if self.held.len() >= self.held_frames {
            self.held.pop_front();
            self.dropped_audio += 1;
        }
        self.held.push_back(audio);
    }

    fn close(&mut self, reason: String) {
        if self.closing.is_none() {
            let _ = self.outbox.send(close_frame());
            self.closing = Some((reason, Instant::now() + self.deps.limits.close_timeout));
        }
    }

    fn read(&self, message: Option<Result<Message, Error>>) -> Read {
        match message {
            Some(Ok(Message::Text(text))) => Read::Event(Event::Text(text.as_str().to_owned())),
            Some(Ok(Message::Binary(bytes))) => Read::Event(Event::Binary(bytes)),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Read::Nothing,
            Some(Ok(Message::Close(frame))) => match frame {
                Some(frame) => Read::Closed {
                    code: frame.code.into(),
                    reason: frame.reason.as_str().to_owned(),
                },
                // RFC 6455 §7.1.5: no status code was in the frame.
                None => Read::Closed {
                    code: 1005,
                    reason: String::new(),
                },
            },
            Some(Err(error)) => Read::Closed {
                code: ABNORMAL,
                reason: error.to_string(),
            },
            None => Read::Closed {
                code: ABNORMAL,
                reason: "the connection was lost".into(),
            },
        }
    }

    /// The socket is gone; only `fail` counts of what the connector answers.
    async fn closed(&mut self, code: u16, reason: String) -> End {
        if let Some((reason, _)) = self.closing.take() {
            return Some((true, reason));
        }
        let event = Event::Closed {
            code,
            reason: reason.clone(),
        };
        let failed = match self.dialect.on_event(event).await {
            Ok(actions) => actions.into_iter().find_map(|action| match action {
                Action::Fail(reason) => Some(reason),
                _ => None,
            }),
            Err(error) => Some(format!("the connector failed: {error}")),
        };
        Some(match failed {
            Some(reason) => (false, reason),
            None if matches!(code, 1000 | 1001 | 1005) => (true, reason),
            None => (
                false,
                format!("the platform closed the connection ({code}): {reason}"),
            ),
        })
    }

    /// A close frame, unless one was sent, and a moment for it to leave.
    async fn say_goodbye(mut self) {
        if self.outbox.send(close_frame()).is_ok() {
            let _ = timeout(self.deps.limits.close_timeout, self.outbox.ended()).await;
        }
    }
}

enum Read {
    Event(Event),
    Nothing,
    Closed { code: u16, reason: String },
}

/// None for `Stop`.
fn event_of(order: ConnectorOrder) -> Option<Event> {
    match order {
        ConnectorOrder::FunctionResult {
            call,
            output,
            respond,
        } => Some(Event::FunctionResult {
            call,
            output,
            respond,
        }),
        ConnectorOrder::Stop => None,
        ConnectorOrder::Update(json) => Some(Event::Update(json)),
    }
}

fn close_frame() -> Message {
    Message::Close(Some(CloseFrame {
        code: CloseCode::Normal,
        reason: "".into(),
    }))
}

/// Tells the call, and owes it an end: also if the task panics or is dropped.
struct Reporter {
    report: Report,
    id: u32,
    owed: bool,
}

impl Reporter {
    fn tell(&self, event: ConnectorEvent) {
        (self.report)(event);
    }

    fn end(mut self, end: End) {
        self.owed = false;
        if let Some((normal, reason)) = end {
            self.tell(ConnectorEvent::Ended { normal, reason });
        }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        if self.owed {
            self.tell(ConnectorEvent::Ended {
                normal: false,
                reason: "the session broke off".into(),
            });
        }
    }
}

/// RFC 6455 §7.4.1: the connection was lost without a close frame.
const ABNORMAL: u16 = 1006;
/// Events of the media thread that may wait: some seconds of audio at 20 ms.
const HEARD: usize = 256;
