//! One media thread: an [`Engine`], its sockets, and the loop between them.

use super::io::{self, Backend, PacketIo};
use super::mailbox::{Inbox, Order};
use super::ports::{IdlePorts, PortPair};
use super::stats::ThreadStats;
use media::engine::{Handled, PortOrder};
use media::{ConnectorEvent, Engine, Event, SessionKey};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Sender;

pub type EventSink = Arc<dyn Fn(SessionKey, Event) + Send + Sync>;

/// Everything that a media thread owns.
pub struct MediaThread {
    engine: Engine,
    io: Box<dyn PacketIo>,
    inbox: Inbox,
    idle: Arc<IdlePorts>,
    /// By RTP port.
    open: HashMap<u16, PortPair>,
    listeners: HashMap<(SessionKey, u32), Sender<ConnectorEvent>>,
    events: EventSink,
    stats: Arc<ThreadStats>,
}

impl MediaThread {
    /// Must be called on the thread that will call `run`: io_uring belongs to one.
    pub fn new(
        backend: Backend,
        engine: media::engine::Config,
        inbox: Inbox,
        idle: Arc<IdlePorts>,
        events: EventSink,
        stats: Arc<ThreadStats>,
    ) -> std::io::Result<(Backend, MediaThread)> {
        let (backend, io) = io::open(backend, inbox.wake_fd())?;
        let engine = Engine::new(Instant::now(), engine);
        let (open, listeners) = (HashMap::new(), HashMap::new());
        Ok((
            backend,
            MediaThread {
                engine,
                io,
                inbox,
                idle,
                open,
                listeners,
                events,
                stats,
            },
        ))
    }

    /// Until the mailbox says stop.
    pub fn run(mut self) {
        while !self.inbox.is_stopping() {
            let now = Instant::now();
            let timeout = self
                .engine
                .poll_timeout()
                .map(|(at, _)| at.saturating_duration_since(now));
            if let Err(error) = self.io.wait(timeout) {
                tracing::error!(%error, "waiting for packets failed");
                // Not a busy loop, whatever is wrong.
                std::thread::sleep(Duration::from_millis(10));
            }
            let now = Instant::now();
            self.receive(now);
            self.obey(now);
            if self.engine.poll_timeout().is_some_and(|(at, _)| at <= now) {
                self.engine.handle_timeout(now);
            }
            self.order_ports(now);
            self.transmit();
            self.report();
        }
        self.io.flush();
        for (port, pair) in std::mem::take(&mut self.open) {
            self.io.remove(port);
            self.io.remove(port + 1);
            drop(pair);
        }
        self.stats
            .publish(self.io.counters(), self.engine.counters());
    }

    fn receive(&mut self, now: Instant) {
        while let Some(packet) = self.io.receive() {
            // RTP has the even port of a pair, RTCP the odd one (RFC 3550 §11).
            if packet.port % 2 == 0 {
                match self
                    .engine
                    .handle_rtp(now, packet.port, packet.from, packet.bytes)
                {
                    Handled::Consumed => {}
                    Handled::Forward { port, to, len } => self.io.forward(port, to, len),
                }
            } else {
                self.engine
                    .handle_rtcp(now, packet.port, packet.from, packet.bytes);
            }
        }
    }

    fn obey(&mut self, now: Instant) {
        let MediaThread {
            inbox,
            engine,
            listeners,
            ..
        } = self;
        inbox.drain(MAX_ORDERS, |order| match order {
            Order::Command(session, command) => engine.handle_command(now, session, command),
            Order::Listen {
                session,
                id,
                sender,
            } => {
                listeners.insert((session, id), sender);
            }
            Order::Forget { session, id } => {
                listeners.remove(&(session, id));
            }
        });
    }

    fn transmit(&mut self) {
        for packet in self.engine.transmits() {
            self.io.send(packet.port, packet.to, packet.bytes);
        }
        self.engine.clear_transmits();
    }

    fn order_ports(&mut self, now: Instant) {
        while let Some(order) = self.engine.poll_port() {
            match order {
                PortOrder::Open { local, port, .. } => {
                    if let Err(error) = self.open_pair(local, port) {
                        tracing::warn!(%error, %local, port, "a media port cannot be opened");
                        self.engine.port_failed(now, port);
                    }
                }
                PortOrder::Close { port } => {
                    if let Some(pair) = self.open.remove(&port) {
                        // What is still to leave from it (an RTCP BYE) goes first.
                        self.transmit();
                        self.io.flush();
                        self.io.remove(port);
                        self.io.remove(port + 1);
                        self.idle.close(pair);
                    }
                }
            }
        }
    }

    fn open_pair(&mut self, local: std::net::IpAddr, port: u16) -> std::io::Result<()> {
        let pair = self.idle.open(local, port)?;
        self.io.add(port, pair.rtp())?;
        if let Err(error) = self.io.add(port + 1, pair.rtcp()) {
            self.io.remove(port);
            return Err(error);
        }
        self.open.insert(pair.port(), pair);
        Ok(())
    }

    fn report(&mut self) {
        while let Some((session, event)) = self.engine.poll_event() {
            match event {
                Event::Connector { id, event, .. } => self.tell_connector(session, id, event),
                event => (self.events)(session, event),
            }
        }
        self.stats
            .publish(self.io.counters(), self.engine.counters());
    }

    /// Never waits. Audio leaves some room, so that a session which is behind still hears
    /// what it cannot do without.
    fn tell_connector(&mut self, session: SessionKey, id: u32, event: ConnectorEvent) {
        let Some(sender) = self.listeners.get(&(session, id)) else {
            return;
        };
        let is_audio = matches!(event, ConnectorEvent::Audio(_));
        if (is_audio && sender.capacity() <= RESERVED) || sender.try_send(event).is_err() {
            self.stats.connector_overrun();
        }
        if sender.is_closed() {
            self.listeners.remove(&(session, id));
        }
    }
}

/// Orders that are done between two looks at the sockets: a few hundred microseconds' worth.
const MAX_ORDERS: usize = 256;
/// Places of a connector's channel that audio leaves free.
const RESERVED: usize = 16;
