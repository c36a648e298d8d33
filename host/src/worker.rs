//! One thread that owns one `B2bua`, its sockets and its timer. It shares no call state with
//! anyone: it reads, hands in, drains, writes and sleeps.
//!
//! - [`handle`]: how the rest of the program reaches the workers.

pub mod handle;

pub use handle::{Load, Order, Workers};

use crate::decide::Decide;
use crate::records::Records;
use crate::signalling::tcp::{self, Connections};
use crate::signalling::udp::UdpPort;
use crate::signalling::{BoundSocket, Event, Router, sharding};
use anyhow::Context as _;
use b2bua::journal::Kind;
use b2bua::key::CallKey;
use b2bua::{B2bua, Cause, Command, Directory, Fault, Input, Output};
use bytes::Bytes;
use sip::{Flow, Transport};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::Sleep;

use crate::config::ListenTransport;

/// What one worker is made of; it makes the rest on its own thread.
pub struct Setup {
    pub number: u16,
    pub core: b2bua::Config,
    /// For branches, tags, Call-IDs and ports: different for every start of the program.
    pub seed: u64,
    pub directory: Arc<Directory>,
    pub sockets: Vec<BoundSocket>,
    pub connections: tcp::Limits,
    pub router: Router,
    pub events: mpsc::Receiver<Event>,
    pub orders: mpsc::Receiver<Order>,
    pub load: Arc<Load>,
    pub decide: Decide,
    pub records: Records,
}

/// Starts the thread. It ends after [`Order::Stop`].
pub fn spawn(setup: Setup) -> anyhow::Result<JoinHandle<()>> {
    let name = format!("sip-{}", setup.number);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Default 61: a burst of datagrams would then wait for as many tasks.
        .event_interval(16)
        .build()
        .context("cannot make a worker's runtime")?;
    std::thread::Builder::new()
        .name(name)
        .spawn(move || {
            runtime.block_on(async {
                match Worker::new(setup) {
                    Ok(worker) => worker.run().await,
                    Err(error) => tracing::error!(%error, "a SIP worker cannot start"),
                }
            });
            // Tasks of ended calls and connections need not be waited for.
            runtime.shutdown_background();
        })
        .context("cannot start a worker's thread")
}

struct Worker {
    number: u16,
    core: B2bua,
    router: Router,
    udp: Vec<UdpPort>,
    connections: Connections,
    events: mpsc::Receiver<Event>,
    orders: mpsc::Receiver<Order>,
    load: Arc<Load>,
    decide: Decide,
    records: Records,
    inbox: Inbox,
    /// The core panicked in this turn.
    hurt: bool,
}

/// What one turn of the loop takes in; kept to spare allocations.
#[derive(Default)]
struct Inbox {
    datagrams: Vec<(Flow, Bytes)>,
    events: Vec<Event>,
    orders: Vec<Order>,
    /// The timer ran out.
    due: bool,
}

impl Worker {
    /// Must be called inside the worker's runtime.
    fn new(setup: Setup) -> anyhow::Result<Self> {
        let mut udp = Vec::new();
        for BoundSocket { listen, socket } in setup.sockets {
            match listen.transport {
                ListenTransport::Udp => {
                    let port = UdpPort::new(socket)?;
                    let (router, number) = (setup.router.clone(), setup.number);
                    tokio::spawn(port.undeliverable(move |flow| {
                        // Lost with a full queue: then Timer B finds out instead.
                        router.offer(number, Event::Failed(flow));
                    }));
                    udp.push(port);
                }
                ListenTransport::Tcp => {
                    let listener = TcpListener::from_std(std::net::TcpListener::from(socket))?;
                    tokio::spawn(tcp::accept(listener, setup.router.clone(), setup.number));
                }
            }
        }
        Ok(Worker {
            number: setup.number,
            core: B2bua::new(setup.core, setup.number, setup.seed, setup.directory),
            connections: Connections::new(setup.number, setup.router.clone(), setup.connections),
            router: setup.router,
            udp,
            events: setup.events,
            orders: setup.orders,
            load: setup.load,
            decide: setup.decide,
            records: setup.records,
            inbox: Inbox::default(),
            hurt: false,
        })
    }

    async fn run(mut self) {
        let mut timer = std::pin::pin!(tokio::time::sleep(Duration::ZERO));
        let mut turns: u32 = 0;
        loop {
            self.take_in(&mut timer).await;
            self.core.handle(
                Instant::now(),
                Input::WallClock {
                    now_ms: wall_clock_ms(),
                },
            );
            if self.hand_in() {
                return;
            }
            self.drain();
            self.flush();
            self.load.calls.store(self.core.calls(), Ordering::Relaxed);
            let now = Instant::now();
            let mut wake = self.core.poll_timeout().map_or(now + IDLE, |(at, _)| at);
            if std::mem::take(&mut self.hurt) {
                // A timer that panics would otherwise be due again at once, for ever.
                wake = wake.max(now + AFTER_A_PANIC);
            }
            timer.as_mut().reset(wake.into());
            // The tasks of this thread (connections, questions) must get their turn also
            // while there is always another datagram.
            turns = turns.wrapping_add(1);
            if turns.is_multiple_of(4) {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Waits for anything, and takes one batch of everything that is there.
    async fn take_in(&mut self, timer: &mut Pin<&mut Sleep>) {
        let Worker {
            udp,
            events,
            orders,
            inbox,
            ..
        } = self;
        poll_fn(|cx| {
            let mut something = false;
            for port in udp.iter_mut() {
                if port
                    .poll_receive(cx, |flow, bytes| inbox.datagrams.push((flow, bytes)))
                    .is_ready()
                {
                    something = true;
                }
                if port.poll_writable(cx).is_ready() {
                    something = true;
                }
            }
            something |= taken(events.poll_recv_many(cx, &mut inbox.events, BATCH));
            something |= taken(orders.poll_recv_many(cx, &mut inbox.orders, BATCH));
            if timer.as_mut().poll(cx).is_ready() {
                inbox.due = true;
                something = true;
            }
            if something {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Tells the core what came; tells whether the worker is to stop.
    fn hand_in(&mut self) -> bool {
        let mut inbox = std::mem::take(&mut self.inbox);
        // Answers first: they end work that has begun.
        for order in inbox.orders.drain(..) {
            match order {
                Order::HangUpAll => self.hang_up_all(),
                Order::Input(input) => self.handle(input),
                Order::Stop => return true,
            }
        }
        for event in inbox.events.drain(..) {
            self.hand_in_event(event);
        }
        for (flow, bytes) in inbox.datagrams.drain(..) {
            let owner = sharding::worker_for(&bytes, self.router.workers());
            if owner == self.number {
                self.handle(Input::Message { flow, bytes });
            } else if !self.router.offer(owner, Event::Message(flow, bytes)) {
                self.load.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        if std::mem::take(&mut inbox.due) {
            self.guarded(|core| core.handle_timeout(Instant::now()));
        }
        self.inbox = inbox;
        false
    }

    fn hand_in_event(&mut self, event: Event) {
        match event {
            Event::Accepted {
                stream,
                local,
                remote,
            } => self.connections.accepted(stream, local, remote),
            Event::Closed { flow, reported } => {
                self.connections.ended(&flow);
                self.handle(Input::FlowFailed { flow });
                if reported != flow {
                    self.handle(Input::FlowFailed { flow: reported });
                }
            }
            Event::Failed(flow) => self.handle(Input::FlowFailed { flow }),
            Event::Message(flow, bytes) => self.handle(Input::Message { flow, bytes }),
            Event::Send(flow, bytes) => self.transmit(flow, bytes),
        }
    }

    /// One input, and all that follows from it, so that no queue inside the core grows.
    fn handle(&mut self, input: Input) {
        self.guarded(|core| core.handle(Instant::now(), input));
        self.drain();
    }

    /// A bug that one message finds must not end the calls of everyone else.
    fn guarded(&mut self, act: impl FnOnce(&mut B2bua)) {
        let core = &mut self.core;
        if catch_unwind(AssertUnwindSafe(|| act(core))).is_err() {
            tracing::error!(
                worker = self.number,
                "a bug: the call machine panicked; the other calls go on"
            );
            self.load.panics.fetch_add(1, Ordering::Relaxed);
            self.hurt = true;
        }
    }

    fn hang_up_all(&mut self) {
        let calls: Vec<CallKey> = self.core.keys().collect();
        for call in calls {
            let cause = Cause::new(503, Fault::Host, "the host is being stopped");
            self.handle(Input::Command {
                call,
                command: Command::Hangup { cause },
            });
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Ask {
                    call,
                    ask,
                    question,
                    deadline: _,
                } => self.decide.ask(call, ask, question),
                Output::Connect {
                    call,
                    leg,
                    connect,
                    info,
                } => self.decide.connect(call, leg, connect, info),
                Output::ConnectorOrder { call, id, order } => {
                    self.decide.connector_order(call, id, order)
                }
                Output::FlowEvent { call, event } => self.decide.flow_event(call, event),
                Output::Locate {
                    query,
                    host,
                    port,
                    transport,
                } => self.decide.locate(query, host, port, transport),
                Output::Media { call, command } => self.decide.media(call, command),
                Output::Record { call, event } => {
                    if matches!(event.kind, Kind::Ended(_)) {
                        self.decide.ended(call);
                    }
                    self.records.record(call, event);
                }
                Output::Transmit(transmit) => self.transmit(transmit.flow, transmit.bytes),
            }
        }
    }

    fn transmit(&mut self, flow: Flow, bytes: Bytes) {
        if flow.transport == Transport::Udp {
            let fits = |port: &&mut UdpPort| port.local() == flow.local;
            let port = match self.udp.iter_mut().find(fits) {
                Some(port) => Some(port),
                None => self
                    .udp
                    .iter_mut()
                    .find(|port| port.local().is_ipv4() == flow.remote.is_ipv4()),
            };
            match port {
                Some(port) => port.queue(flow.remote, bytes),
                None => self.fail(flow),
            }
            return;
        }
        let owner = if flow.connection == 0 {
            self.number
        } else {
            tcp::owner(flow.connection)
        };
        if owner != self.number {
            if !self.router.offer(owner, Event::Send(flow, bytes)) {
                self.fail(flow);
            }
        } else if let Err(flow) = self.connections.send(flow, bytes) {
            self.fail(flow);
        }
    }

    /// Tells the core later, not in the middle of its own outputs.
    fn fail(&mut self, flow: Flow) {
        self.router.offer(self.number, Event::Failed(flow));
    }

    fn flush(&mut self) {
        let Worker {
            udp,
            router,
            number,
            ..
        } = self;
        for port in udp {
            port.flush(|flow| {
                router.offer(*number, Event::Failed(flow));
            });
        }
        let overflowed = self.udp.iter().map(UdpPort::overflowed).sum();
        self.load.overflowed.store(overflowed, Ordering::Relaxed);
        self.load
            .connections
            .store(self.connections.len(), Ordering::Relaxed);
    }
}

fn taken(poll: Poll<usize>) -> bool {
    // Ready with 0 means closed: nothing more will come.
    matches!(poll, Poll::Ready(count) if count > 0)
}

fn wall_clock_ms() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

/// Events and orders of one turn.
const BATCH: usize = 64;
/// A worker without any timer looks up this often.
const IDLE: Duration = Duration::from_secs(3600);
const AFTER_A_PANIC: Duration = Duration::from_millis(100);
