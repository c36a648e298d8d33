//! TCP connections of one worker: accepted and opened ones, each a task with a bounded queue
//! (RFC 3261 §18, RFC 5626 for what a flow is).

use super::Router;
use bytes::{Bytes, BytesMut};
use sip::message::framing::{Framed, StreamFramer};
use sip::{Flow, Transport};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

/// Makes a listening socket; `shared` as for UDP.
pub fn bind(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Old connections in TIME-WAIT must not keep a restarted host from its port.
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    Ok(socket)
}

#[derive(Debug, Clone)]
pub struct Limits {
    /// Of the node; every worker counts into `open`.
    pub connections: u32,
    pub open: Arc<AtomicU32>,
    /// A connection without traffic is closed after this.
    pub idle: Duration,
}

/// The connections of one worker.
pub struct Connections {
    worker: u16,
    router: Router,
    limits: Limits,
    live: HashMap<u64, Connection>,
    by_remote: HashMap<SocketAddr, u64>,
    serial: u64,
}

struct Connection {
    remote: SocketAddr,
    outgoing: mpsc::Sender<Bytes>,
}

impl Connections {
    pub fn new(worker: u16, router: Router, limits: Limits) -> Self {
        Connections {
            worker,
            router,
            limits,
            live: HashMap::new(),
            by_remote: HashMap::new(),
            serial: 0,
        }
    }

    /// Takes over a connection that a peer opened. Over the limit it is closed at once.
    pub fn accepted(&mut self, stream: TcpStream, local: SocketAddr, remote: SocketAddr) {
        let Some((id, room)) = self.room() else {
            tracing::warn!(
                limit = self.limits.connections,
                "refused a TCP connection: too many"
            );
            return;
        };
        let flow = Flow {
            transport: Transport::Tcp,
            local,
            remote,
            connection: id,
        };
        let outgoing = self.enter(id, remote);
        let task = Task {
            flow,
            reported: flow,
            router: self.router.clone(),
            idle: self.limits.idle,
            outgoing,
            _room: room,
        };
        tokio::spawn(task.run(async move { Ok(stream) }));
    }

    /// Sends on the connection that the flow names; a flow without one (`connection` 0) uses
    /// a connection to its remote address, or opens one. `Err` tells that the flow is dead.
    pub fn send(&mut self, flow: Flow, bytes: Bytes) -> Result<(), Flow> {
        let id = match flow.connection {
            0 => match self.by_remote.get(&flow.remote) {
                Some(id) => *id,
                None => self.open(flow)?,
            },
            id => id,
        };
        let connection = self.live.get(&id).ok_or(flow)?;
        // A peer that does not read is as good as gone; waiting for it would cost the others.
        connection.outgoing.try_send(bytes).map_err(|_| {
            tracing::debug!(connection = id, "a TCP peer does not read");
            self.forget(id);
            flow
        })
    }

    /// The task of this connection has ended.
    pub fn ended(&mut self, flow: &Flow) {
        self.forget(flow.connection);
    }

    pub fn len(&self) -> usize {
        self.live.len()
    }

    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    fn open(&mut self, flow: Flow) -> Result<u64, Flow> {
        let (id, room) = self.room().ok_or(flow)?;
        let outgoing = self.enter(id, flow.remote);
        let opened = Flow {
            connection: id,
            ..flow
        };
        let task = Task {
            flow: opened,
            reported: flow,
            router: self.router.clone(),
            idle: self.limits.idle,
            outgoing,
            _room: room,
        };
        tokio::spawn(task.run(connect(flow.local, flow.remote)));
        Ok(id)
    }

    fn room(&mut self) -> Option<(u64, Room)> {
        let room = Room::take(&self.limits)?;
        self.serial += 1;
        Some((connection_id(self.worker, self.serial), room))
    }

    fn enter(&mut self, id: u64, remote: SocketAddr) -> mpsc::Receiver<Bytes> {
        let (sender, receiver) = mpsc::channel(WRITE_QUEUE);
        self.live.insert(
            id,
            Connection {
                remote,
                outgoing: sender,
            },
        );
        self.by_remote.insert(remote, id);
        receiver
    }

    fn forget(&mut self, id: u64) {
        if let Some(connection) = self.live.remove(&id)
            && self.by_remote.get(&connection.remote) == Some(&id)
        {
            self.by_remote.remove(&connection.remote);
        }
    }
}

/// The worker that owns a connection, from its id.
pub fn owner(connection: u64) -> u16 {
    (connection >> 48) as u16
}

/// Never 0, which means "no connection yet".
fn connection_id(worker: u16, serial: u64) -> u64 {
    (u64::from(worker) << 48) | (serial & 0xffff_ffff_ffff)
}

/// Hands accepted connections to the worker for as long as it lives.
pub async fn accept(listener: TcpListener, router: Router, worker: u16) {
    let Ok(local) = listener.local_addr() else {
        return;
    };
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                if !router.accepted(worker, stream, local, remote).await {
                    return;
                }
            }
            // Out of descriptors, as a rule: it will not be better at once.
            Err(error) => {
                tracing::warn!(%error, %local, "cannot accept TCP connections");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connect(local: SocketAddr, remote: SocketAddr) -> io::Result<TcpStream> {
    let socket = if remote.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    if !local.ip().is_unspecified() && local.is_ipv4() == remote.is_ipv4() {
        // The kernel chooses the port; the address is the one that our Via names.
        socket.bind((local.ip(), 0).into())?;
    }
    timeout(CONNECT_TIMEOUT, socket.connect(remote))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

struct Task {
    flow: Flow,
    /// What the core knows this connection as: for one that we opened, without its number.
    reported: Flow,
    router: Router,
    idle: Duration,
    outgoing: mpsc::Receiver<Bytes>,
    _room: Room,
}

impl Task {
    async fn run(self, stream: impl Future<Output = io::Result<TcpStream>>) {
        let Task {
            flow,
            reported,
            router,
            idle,
            outgoing,
            _room,
        } = self;
        let result = match stream.await {
            Ok(stream) => carry(stream, flow, &router, idle, outgoing).await,
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            tracing::debug!(%error, connection = flow.connection, "a TCP connection ended");
        }
        router.closed(flow, reported).await;
    }
}

/// Reads and writes until one side ends it.
async fn carry(
    stream: TcpStream,
    flow: Flow,
    router: &Router,
    idle: Duration,
    outgoing: mpsc::Receiver<Bytes>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15))
        .with_retries(4);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    let (reader, writer) = stream.into_split();
    let (touch, touched) = watch::channel(Instant::now());
    let (pong, pongs) = mpsc::channel(4);
    tokio::select! {
        result = read(reader, flow, router, &touch, pong) => result,
        result = write(writer, outgoing, pongs, &touch) => result,
        () = until_idle(touched, idle) => Ok(()),
    }
}

async fn read(
    mut reader: OwnedReadHalf,
    flow: Flow,
    router: &Router,
    touch: &watch::Sender<Instant>,
    pong: mpsc::Sender<Bytes>,
) -> io::Result<()> {
    let mut framer = StreamFramer::default();
    let mut buffer = BytesMut::with_capacity(READ_CHUNK);
    loop {
        buffer.reserve(READ_CHUNK);
        if reader.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
        touch.send_replace(Instant::now());
        framer.push(&buffer.split());
        loop {
            match framer.next() {
                Ok(Some(Framed::Message(bytes))) => router.message(flow, bytes).await,
                // RFC 5626 §4.4.1. A full queue means that pongs are under way already.
                Ok(Some(Framed::Ping)) => drop(pong.try_send(Bytes::from_static(b"\r\n"))),
                Ok(None) => break,
                Err(error) => {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        error.to_string(),
                    ));
                }
            }
        }
    }
}

async fn write(
    mut writer: OwnedWriteHalf,
    mut outgoing: mpsc::Receiver<Bytes>,
    mut pongs: mpsc::Receiver<Bytes>,
    touch: &watch::Sender<Instant>,
) -> io::Result<()> {
    loop {
        let bytes = tokio::select! {
            next = outgoing.recv() => next,
            next = pongs.recv() => next,
        };
        // The worker has given the connection up.
        let Some(bytes) = bytes else { return Ok(()) };
        timeout(WRITE_TIMEOUT, writer.write_all(&bytes))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        touch.send_replace(Instant::now());
    }
}

async fn until_idle(touched: watch::Receiver<Instant>, idle: Duration) {
    loop {
        let deadline = *touched.borrow() + idle;
        if deadline <= Instant::now() {
            return;
        }
        tokio::time::sleep_until(deadline).await;
    }
}

/// One place under the node's limit, given back when dropped.
struct Room(Arc<AtomicU32>);

impl Room {
    fn take(limits: &Limits) -> Option<Self> {
        let limit = limits.connections;
        limits
            .open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
                (open < limit).then_some(open + 1)
            })
            .ok()?;
        Some(Room(limits.open.clone()))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Messages that may wait for a slow peer.
const WRITE_QUEUE: usize = 512;
const READ_CHUNK: usize = 16 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::super::Event;
    use super::*;

    #[tokio::test]
    async fn messages_are_framed_from_the_stream_and_pings_get_their_pong() {
        let mut node = Node::start(10, Duration::from_secs(60)).await;
        let mut peer = TcpStream::connect(node.listen).await.unwrap();
        node.accept().await;
        let message = options("a");
        let (first, rest) = message.split_at(20);
        peer.write_all(first).await.unwrap();
        peer.flush().await.unwrap();
        peer.write_all(&[rest, b"\r\n\r\n", &options("b")].concat())
            .await
            .unwrap();
        for wanted in ["a", "b"] {
            let Event::Message(flow, bytes) = node.next().await else {
                panic!()
            };
            assert_eq!(
                (flow.transport, flow.remote),
                (Transport::Tcp, peer.local_addr().unwrap())
            );
            assert_ne!(flow.connection, 0);
            assert_eq!(bytes, options(wanted));
        }
        let mut pong = [0; 2];
        peer.read_exact(&mut pong).await.unwrap();
        assert_eq!(&pong, b"\r\n");
    }

    #[tokio::test]
    async fn an_answer_goes_back_on_the_connection_of_its_request() {
        let mut node = Node::start(10, Duration::from_secs(60)).await;
        let mut peer = TcpStream::connect(node.listen).await.unwrap();
        node.accept().await;
        peer.write_all(&options("a")).await.unwrap();
        let Event::Message(flow, _) = node.next().await else {
            panic!()
        };
        node.connections
            .send(flow, Bytes::from_static(b"hello"))
            .unwrap();
        let mut text = [0; 5];
        peer.read_exact(&mut text).await.unwrap();
        assert_eq!(&text, b"hello");
        drop(peer);
        let Event::Closed { flow: closed, .. } = node.next().await else {
            panic!()
        };
        node.connections.ended(&closed);
        assert_eq!(node.connections.send(flow, Bytes::new()), Err(flow));
    }

    #[tokio::test]
    async fn one_connection_is_opened_for_many_messages_and_reused() {
        let mut node = Node::start(10, Duration::from_secs(60)).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let flow = Flow {
            transport: Transport::Tcp,
            local: node.listen,
            remote: listener.local_addr().unwrap(),
            connection: 0,
        };
        node.connections
            .send(flow, Bytes::from_static(b"one,"))
            .unwrap();
        node.connections
            .send(flow, Bytes::from_static(b"two"))
            .unwrap();
        let (mut peer, _) = listener.accept().await.unwrap();
        let mut text = [0; 7];
        peer.read_exact(&mut text).await.unwrap();
        assert_eq!(&text, b"one,two");
        assert_eq!(node.connections.len(), 1);
    }

    #[tokio::test]
    async fn a_refused_connection_is_told_with_the_flow_that_was_sent_on() {
        let mut node = Node::start(10, Duration::from_secs(60)).await;
        let closed = TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap();
        let flow = Flow {
            transport: Transport::Tcp,
            local: node.listen,
            remote: closed,
            connection: 0,
        };
        node.connections
            .send(flow, Bytes::from_static(b"x"))
            .unwrap();
        let Event::Closed { reported, .. } = node.next().await else {
            panic!()
        };
        assert_eq!(reported, flow);
    }

    #[tokio::test]
    async fn an_idle_connection_and_one_too_many_are_closed() {
        let mut node = Node::start(1, Duration::from_millis(50)).await;
        let mut idle = TcpStream::connect(node.listen).await.unwrap();
        node.accept().await;
        let mut refused = TcpStream::connect(node.listen).await.unwrap();
        node.accept().await;
        assert_eq!(refused.read(&mut [0; 1]).await.unwrap(), 0);
        assert_eq!(idle.read(&mut [0; 1]).await.unwrap(), 0);
        assert!(matches!(node.next().await, Event::Closed { .. }));
        assert_eq!(node.connections.limits.open.load(Ordering::Relaxed), 0);
    }

    struct Node {
        listen: SocketAddr,
        connections: Connections,
        events: mpsc::Receiver<Event>,
    }

    impl Node {
        async fn start(connections: u32, idle: Duration) -> Self {
            let (sender, events) = mpsc::channel(16);
            let router = Router::new(vec![sender]);
            let socket = bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
            let listener = TcpListener::from_std(std::net::TcpListener::from(socket)).unwrap();
            let listen = listener.local_addr().unwrap();
            tokio::spawn(accept(listener, router.clone(), 0));
            let limits = Limits {
                connections,
                open: Arc::default(),
                idle,
            };
            Node {
                listen,
                connections: Connections::new(0, router, limits),
                events,
            }
        }

        async fn next(&mut self) -> Event {
            timeout(Duration::from_secs(5), self.events.recv())
                .await
                .unwrap()
                .unwrap()
        }

        async fn accept(&mut self) {
            let Event::Accepted {
                stream,
                local,
                remote,
            } = self.next().await
            else {
                panic!()
            };
            self.connections.accepted(stream, local, remote);
        }
    }

    fn options(id: &str) -> Vec<u8> {
        format!(
            "OPTIONS sip:x@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bK{id}\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:x@127.0.0.1>\r\nCall-ID: {id}\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
        )
        .into_bytes()
    }
}
