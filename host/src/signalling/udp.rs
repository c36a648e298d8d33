//! One UDP socket of one worker: batches in, batches out, undeliverable ones noticed.

use super::mmsg::{self, Received};
use bytes::Bytes;
use sip::{Flow, Transport};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Makes the socket. `shared` lets every worker bind the same address, with the kernel
/// spreading peers over them (SO_REUSEPORT).
pub fn bind(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    // A burst of calls must fit while the worker is busy. The kernel gives what it allows
    // (net.core.rmem_max); less than asked for is not an error.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    let _ = socket.set_send_buffer_size(SEND_BUFFER);
    // Without it a dead next hop is noticed by Timer B alone, 32 s late.
    let _ = mmsg::keep_errors(socket.as_fd(), address.is_ipv6());
    socket.bind(&address.into())?;
    Ok(socket)
}

pub struct UdpPort {
    socket: Arc<AsyncFd<Socket>>,
    local: SocketAddr,
    received: Received,
    /// What the kernel did not take yet.
    waiting: VecDeque<(SocketAddr, Bytes)>,
    /// Datagrams given up because too many were waiting.
    overflowed: u64,
}

impl UdpPort {
    /// `socket` comes from [`bind`]. Must be called inside the worker's runtime.
    pub fn new(socket: Socket) -> io::Result<Self> {
        let local = socket
            .local_addr()?
            .as_socket()
            .ok_or(io::ErrorKind::AddrNotAvailable)?;
        let socket = Arc::new(mmsg::watch(socket)?);
        Ok(UdpPort {
            socket,
            local,
            received: Received::default(),
            waiting: VecDeque::new(),
            overflowed: 0,
        })
    }

    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Takes one batch; ready with the number of datagrams.
    pub fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        mut each: impl FnMut(Flow, Bytes),
    ) -> Poll<usize> {
        loop {
            // An error here means that the runtime goes down.
            let Ok(mut guard) = ready!(self.socket.poll_read_ready(cx)) else {
                return Poll::Pending;
            };
            match mmsg::receive(self.socket.get_ref().as_fd(), &mut self.received) {
                Ok(count) => {
                    for (remote, datagram) in self
                        .received
                        .datagrams()
                        .filter(|(_, datagram)| !datagram.is_empty())
                    {
                        each(self.flow(remote), Bytes::copy_from_slice(datagram));
                    }
                    return Poll::Ready(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => guard.clear_ready(),
                // An earlier datagram of ours came back as an ICMP error; the error queue
                // tells which. Receiving goes on.
                Err(_) => {}
            }
        }
    }

    pub fn queue(&mut self, to: SocketAddr, bytes: Bytes) {
        if self.waiting.len() >= MOST_WAITING {
            // The oldest is the one that its sender will most likely retransmit.
            self.waiting.pop_front();
            self.overflowed += 1;
        }
        self.waiting.push_back((to, bytes));
    }

    /// Sends what waits, until the kernel's buffer is full. Where the kernel refuses a
    /// datagram, `failed` hears of its flow.
    pub fn flush(&mut self, mut failed: impl FnMut(Flow)) {
        let mut retried = false;
        while !self.waiting.is_empty() {
            let batch = self.waiting.iter().map(|(to, bytes)| (*to, bytes.as_ref()));
            match mmsg::send(self.socket.get_ref().as_fd(), batch) {
                Ok(sent) => {
                    self.waiting.drain(..sent);
                    retried = false;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The socket's pending ICMP error of another datagram is reported on the
                // next send, once.
                Err(_) if !retried => retried = true,
                Err(error) => {
                    retried = false;
                    if let Some((to, _)) = self.waiting.pop_front() {
                        tracing::debug!(%error, "a datagram could not be sent");
                        failed(self.flow(to));
                    }
                }
            }
        }
    }

    /// Waits until [`flush`](Self::flush) may get further; never ready with nothing to send.
    pub fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.waiting.is_empty() {
            return Poll::Pending;
        }
        // The flush before gave "would block", or is to come.
        match ready!(self.socket.poll_write_ready(cx)) {
            Ok(mut guard) => {
                guard.clear_ready();
                Poll::Ready(())
            }
            Err(_) => Poll::Pending,
        }
    }

    pub fn overflowed(&self) -> u64 {
        self.overflowed
    }

    /// Reports flows whose datagrams could not be delivered (ICMP), until the socket ends.
    /// To be spawned beside the port.
    pub fn undeliverable(
        &self,
        failed: impl Fn(Flow) + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (socket, local) = (self.socket.clone(), self.local);
        async move {
            while let Ok(mut guard) = socket.ready(Interest::ERROR).await {
                loop {
                    match mmsg::take_error(socket.get_ref().as_fd()) {
                        // Too large for the path is the kernel's business: it fragments.
                        Ok((_, libc::EMSGSIZE)) => {}
                        Ok((Some(remote), _)) => failed(Flow {
                            transport: Transport::Udp,
                            local,
                            remote,
                            connection: 0,
                        }),
                        Ok((None, _)) => {}
                        Err(_) => break,
                    }
                }
                guard.clear_ready();
            }
        }
    }

    fn flow(&self, remote: SocketAddr) -> Flow {
        Flow {
            transport: Transport::Udp,
            local: self.local,
            remote,
            connection: 0,
        }
    }
}

const RECEIVE_BUFFER: usize = 8 << 20;
const SEND_BUFFER: usize = 4 << 20;
/// About a second of signalling at full rate.
const MOST_WAITING: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::time::Duration;

    #[tokio::test]
    async fn what_is_queued_arrives_in_batches() {
        let mut left = UdpPort::new(bind("127.0.0.1:0".parse().unwrap(), false).unwrap()).unwrap();
        let mut right = UdpPort::new(bind("127.0.0.1:0".parse().unwrap(), false).unwrap()).unwrap();
        for i in 0..100_u8 {
            left.queue(right.local(), Bytes::from(vec![i; 3]));
        }
        left.flush(|flow| panic!("{flow:?}"));
        let mut got = Vec::new();
        while got.len() < 100 {
            let arrived = poll_fn(|cx| {
                right.poll_receive(cx, |flow, bytes| {
                    assert_eq!(flow.remote, left.local());
                    got.push(bytes[0]);
                })
            });
            tokio::time::timeout(Duration::from_secs(5), arrived)
                .await
                .unwrap();
        }
        assert!(got.iter().copied().eq(0..100));
    }

    #[tokio::test]
    async fn a_flow_to_a_closed_port_is_reported() {
        let mut port = UdpPort::new(bind("127.0.0.1:0".parse().unwrap(), false).unwrap()).unwrap();
        let closed = std::net::UdpSocket::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let (sender, mut failed) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(port.undeliverable(move |flow| sender.send(flow).unwrap_or_default()));
        port.queue(closed, Bytes::from_static(b"x"));
        port.flush(|_| {});
        let flow = tokio::time::timeout(Duration::from_secs(5), failed.recv())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(flow.remote, closed);
    }
}
