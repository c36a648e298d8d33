//! SIP sockets of the workers.
//!
//! - [`mmsg`]: many datagrams with one system call.
//! - [`udp`], [`tcp`]: one socket, and the connections, of one worker.
//! - [`sharding`]: which worker a message belongs to.
//!
//! Nothing here parses more of a message than it needs to find its worker or its end.

pub mod mmsg;
pub mod sharding;
pub mod tcp;
pub mod udp;

use crate::config::{Listen, ListenTransport};
use anyhow::Context as _;
use bytes::Bytes;
use sip::Flow;
use socket2::Socket;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// What a worker hears from the network beside its own UDP sockets.
#[derive(Debug)]
pub enum Event {
    /// A peer opened a TCP connection.
    Accepted {
        stream: TcpStream,
        local: SocketAddr,
        remote: SocketAddr,
    },
    /// A connection of this worker ended. `reported` is the flow that the core sent on.
    Closed {
        flow: Flow,
        reported: Flow,
    },
    /// What was sent to this flow cannot be delivered.
    Failed(Flow),
    Message(Flow, Bytes),
    /// Another worker's answer on a connection of this one.
    Send(Flow, Bytes),
}

/// Finds the worker for a message and hands it over.
#[derive(Debug, Clone)]
pub struct Router {
    workers: Arc<[mpsc::Sender<Event>]>,
}

impl Router {
    pub fn new(workers: Vec<mpsc::Sender<Event>>) -> Self {
        Router {
            workers: workers.into(),
        }
    }

    pub fn workers(&self) -> u16 {
        self.workers.len() as u16
    }

    /// Waits while the worker's queue is full: a stream's peer then has to wait too.
    pub async fn message(&self, flow: Flow, bytes: Bytes) {
        let worker = sharding::worker_for(&bytes, self.workers());
        let _ = self.workers[usize::from(worker)]
            .send(Event::Message(flow, bytes))
            .await;
    }

    /// For datagrams: a full queue drops it, as a full socket would. Tells whether it was taken.
    pub fn offer(&self, worker: u16, event: Event) -> bool {
        self.workers
            .get(usize::from(worker))
            .is_some_and(|queue| queue.try_send(event).is_ok())
    }

    async fn accepted(
        &self,
        worker: u16,
        stream: TcpStream,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> bool {
        match self.workers.get(usize::from(worker)) {
            Some(queue) => queue
                .send(Event::Accepted {
                    stream,
                    local,
                    remote,
                })
                .await
                .is_ok(),
            None => false,
        }
    }

    async fn closed(&self, flow: Flow, reported: Flow) {
        if let Some(queue) = self.workers.get(usize::from(tcp::owner(flow.connection))) {
            let _ = queue.send(Event::Closed { flow, reported }).await;
        }
    }
}

/// The bound sockets of all workers, before any worker runs: an address in use stops the
/// start, not a thread later.
#[derive(Debug, Default)]
pub struct Bound {
    /// For each worker, its sockets.
    pub workers: Vec<Vec<BoundSocket>>,
}

#[derive(Debug)]
pub struct BoundSocket {
    /// With the port that was really had, where the configuration says 0.
    pub listen: Listen,
    pub socket: Socket,
}

impl Bound {
    pub fn bind(listen: &[Listen], workers: u16) -> anyhow::Result<Self> {
        let shared = workers > 1;
        let mut bound = Bound {
            workers: (0..workers).map(|_| Vec::new()).collect(),
        };
        for wanted in listen {
            let mut listen = *wanted;
            for sockets in &mut bound.workers {
                let socket = match listen.transport {
                    ListenTransport::Tcp => tcp::bind(listen.address, shared),
                    ListenTransport::Udp => udp::bind(listen.address, shared),
                }
                .with_context(|| format!("cannot listen on {listen}"))?;
                if let Some(address) = socket.local_addr()?.as_socket() {
                    listen.address = address;
                }
                sockets.push(BoundSocket { listen, socket });
            }
        }
        Ok(bound)
    }

    /// The addresses that were really had.
    pub fn addresses(&self) -> Vec<Listen> {
        self.workers
            .first()
            .map(|sockets| sockets.iter().map(|socket| socket.listen).collect())
            .unwrap_or_default()
    }
}
