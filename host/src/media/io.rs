//! What a media thread needs of the operating system: wait, receive, send, for thousands of
//! UDP sockets at once. Two ways to do it: [`super::uring`] and [`super::epoll`].

use super::epoll::Epoll;
use super::uring::Uring;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::time::Duration;

/// A socket is known by its local UDP port; a thread has at most one for each.
pub type Port = u16;

/// The largest datagram that is received or sent; longer ones are dropped. A voice packet
/// that crosses an Ethernet is shorter.
pub const MAX_DATAGRAM: usize = 1_984;

pub struct Received<'a> {
    pub port: Port,
    pub from: SocketAddr,
    pub bytes: &'a mut [u8],
}

/// One thread's sockets. Errors of single packets are counted, not returned: UDP may lose
/// packets anyway, and one bad peer must not end a batch.
pub trait PacketIo {
    /// Starts to receive on a non-blocking socket. It must stay open until `remove`.
    fn add(&mut self, port: Port, socket: RawFd) -> io::Result<()>;

    /// When this returns, nothing takes packets from the socket any more.
    fn remove(&mut self, port: Port);

    /// Hands queued packets to the kernel, then sleeps until a packet comes, the wake-up
    /// descriptor is signalled, or `timeout` passes; none is for ever.
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()>;

    /// The next packet of those that `wait` found. Its buffer is reused afterwards.
    fn receive(&mut self) -> Option<Received<'_>>;

    /// Queues a copy of `bytes`; it leaves with the batch, at `flush` or `wait` at the latest.
    fn send(&mut self, port: Port, to: SocketAddr, bytes: &[u8]);

    /// Queues the first `len` bytes of the packet that `receive` gave last.
    fn forward(&mut self, port: Port, to: SocketAddr, len: usize);

    fn flush(&mut self);

    fn counters(&self) -> Counters;
}

/// Since the start of the thread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    pub received: u64,
    pub sent: u64,
    /// The kernel refused it (a full buffer, no route), or there is no such socket.
    pub send_failed: u64,
    /// Longer than [`MAX_DATAGRAM`].
    pub oversized: u64,
    /// The kernel had more packets than there were buffers, so that it held them back.
    pub out_of_buffers: u64,
}

/// Which way the packets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backend {
    /// io_uring where the kernel has it, else epoll.
    #[default]
    Auto,
    Epoll,
    IoUring,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Backend::Auto => "auto",
            Backend::Epoll => "epoll",
            Backend::IoUring => "io_uring",
        })
    }
}

/// Opens the backend on the calling thread, which must be the one that uses it.
pub fn open(wanted: Backend, wake: RawFd) -> io::Result<(Backend, Box<dyn PacketIo>)> {
    match wanted {
        Backend::Epoll => Ok((Backend::Epoll, Box::new(Epoll::new(wake)?))),
        Backend::IoUring => Ok((Backend::IoUring, Box::new(Uring::new(wake)?))),
        Backend::Auto => match Uring::new(wake) {
            Ok(uring) => Ok((Backend::IoUring, Box::new(uring))),
            Err(error) => {
                tracing::info!(%error, "io_uring cannot be used, media goes through epoll");
                Ok((Backend::Epoll, Box::new(Epoll::new(wake)?)))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::sys::EventFd;
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_packet_comes_in_and_another_goes_out_from_the_same_port() {
        each_backend(|io, _| {
            let (peer, ours) = (peer(), peer());
            let port = add(io, &ours);
            peer.send_to(b"ping", ours.local_addr().unwrap()).unwrap();
            io.wait(LONG).unwrap();
            let got = io.receive().unwrap();
            assert_eq!(
                (got.port, got.from, &*got.bytes),
                (port, peer.local_addr().unwrap(), &b"ping"[..])
            );
            assert!(io.receive().is_none());

            io.send(port, peer.local_addr().unwrap(), b"pong");
            io.flush();
            let mut buffer = [0; 16];
            let (len, from) = peer.recv_from(&mut buffer).unwrap();
            assert_eq!(
                (&buffer[..len], from),
                (&b"pong"[..], ours.local_addr().unwrap())
            );
        });
    }

    #[test]
    fn bursts_over_many_sockets_all_arrive_and_are_answered() {
        each_backend(|io, _| {
            let peer = peer();
            let ours: Vec<_> = (0..60).map(|_| self::peer()).collect();
            for socket in &ours {
                add(io, socket);
            }
            for round in 0..12u8 {
                for socket in &ours {
                    peer.send_to(&[round; 172], socket.local_addr().unwrap())
                        .unwrap();
                }
                if round % 4 != 3 {
                    continue;
                }
                let mut got = 0;
                while got < 240 {
                    io.wait(LONG).unwrap();
                    while let Some(packet) = io.receive() {
                        assert_eq!(packet.bytes.len(), 172);
                        packet.bytes[1] = 9;
                        let (port, from) = (packet.port, packet.from);
                        io.forward(port, from, 100);
                        got += 1;
                    }
                }
                io.flush();
                let mut buffer = [0; 200];
                for _ in 0..240 {
                    assert_eq!(peer.recv_from(&mut buffer).unwrap().0, 100);
                    assert_eq!(buffer[1], 9);
                }
            }
            assert_eq!(io.counters().received, 720);
            assert_eq!(io.counters().sent, 720);
            assert_eq!(io.counters().send_failed, 0);
        });
    }

    #[test]
    fn a_removed_socket_gives_nothing_and_can_be_added_again() {
        each_backend(|io, _| {
            let (peer, ours) = (peer(), peer());
            let port = add(io, &ours);
            io.wait(Some(Duration::ZERO)).unwrap();
            io.remove(port);
            peer.send_to(b"stale", ours.local_addr().unwrap()).unwrap();
            io.wait(Some(Duration::ZERO)).unwrap();
            assert!(io.receive().is_none());
            let mut buffer = [0; 16];
            assert_eq!(
                ours.recv(&mut buffer).unwrap(),
                5,
                "nobody took it from the socket"
            );

            add(io, &ours);
            peer.send_to(b"fresh", ours.local_addr().unwrap()).unwrap();
            io.wait(LONG).unwrap();
            assert_eq!(&*io.receive().unwrap().bytes, b"fresh");
        });
    }

    #[test]
    fn the_wake_up_ends_a_wait_and_so_does_the_timeout() {
        each_backend(|io, wake| {
            wake.signal();
            io.wait(LONG).unwrap();
            assert!(io.receive().is_none());
            io.wait(Some(Duration::from_micros(300))).unwrap();
            assert!(io.receive().is_none());
            wake.signal();
            io.wait(LONG).unwrap();
            assert!(io.receive().is_none());
        });
    }

    #[test]
    fn an_oversized_packet_is_dropped_and_counted_and_the_next_one_arrives() {
        each_backend(|io, _| {
            let (peer, ours) = (peer(), peer());
            add(io, &ours);
            peer.send_to(&[0; MAX_DATAGRAM + 100], ours.local_addr().unwrap())
                .unwrap();
            peer.send_to(&[7; MAX_DATAGRAM], ours.local_addr().unwrap())
                .unwrap();
            let mut lengths = Vec::new();
            while lengths.is_empty() {
                io.wait(LONG).unwrap();
                while let Some(packet) = io.receive() {
                    lengths.push(packet.bytes.len());
                }
            }
            assert_eq!(lengths, [MAX_DATAGRAM]);
            assert_eq!(io.counters().oversized, 1);
        });
    }

    #[test]
    fn a_packet_for_an_unknown_port_is_counted_and_harms_nothing() {
        each_backend(|io, _| {
            io.send(9, "127.0.0.1:9".parse().unwrap(), b"lost");
            io.flush();
            assert_eq!(io.counters().send_failed, 1);
        });
    }

    /// Long enough that only a bug makes it pass.
    const LONG: Option<Duration> = Some(Duration::from_secs(10));

    fn each_backend(mut test: impl FnMut(&mut dyn PacketIo, &EventFd)) {
        let wake = EventFd::new().unwrap();
        test(&mut Epoll::new(wake.raw()).unwrap(), &wake);
        match Uring::new(wake.raw()) {
            Ok(mut uring) => test(&mut uring, &wake),
            Err(error) => eprintln!("no io_uring here: {error}"),
        }
    }

    fn peer() -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(LONG).unwrap();
        socket
    }

    fn add(io: &mut dyn PacketIo, socket: &UdpSocket) -> Port {
        let port = socket.local_addr().unwrap().port();
        io.add(port, socket.as_raw_fd()).unwrap();
        port
    }
}
