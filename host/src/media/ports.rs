//! Pairs of UDP sockets for RTP and RTCP. A pair stays bound after its call, so that the next
//! call on that port pays for no socket, no bind and no close.

use socket2::{Domain, Protocol, Socket, Type};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Mutex, PoisonError};

#[derive(Debug)]
pub struct PortPair {
    local: IpAddr,
    port: u16,
    rtp: Socket,
    rtcp: Socket,
}

impl PortPair {
    /// RTP on `port`, which is even, RTCP on `port + 1` (RFC 3550 §11).
    pub fn bind(local: IpAddr, port: u16) -> io::Result<PortPair> {
        if port % 2 == 1 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "RTP has the even port of a pair",
            ));
        }
        Ok(PortPair {
            local,
            port,
            rtp: bind(local, port)?,
            rtcp: bind(local, port + 1)?,
        })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn rtp(&self) -> RawFd {
        self.rtp.as_raw_fd()
    }

    pub fn rtcp(&self) -> RawFd {
        self.rtcp.as_raw_fd()
    }

    /// Throws away what came for the call before.
    fn drain(&self) {
        let mut buffer = [std::mem::MaybeUninit::uninit(); 1];
        for socket in [&self.rtp, &self.rtcp] {
            // Bounded: somebody may be flooding the port.
            for _ in 0..MAX_STALE {
                match socket.recv(&mut buffer) {
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // An ICMP error waiting from the last call.
                    Err(_) => {}
                }
            }
        }
    }
}

fn bind(local: IpAddr, port: u16) -> io::Result<Socket> {
    let addr = SocketAddr::new(local, port);
    let kind = Type::DGRAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(addr), kind, Some(Protocol::UDP))?;
    // Voice goes before bulk data where a network looks at it. Not worth a failed call.
    let marked = if addr.is_ipv4() {
        socket.set_tos_v4(EXPEDITED_FORWARDING)
    } else {
        socket.set_only_v6(true)?;
        socket.set_tclass_v6(EXPEDITED_FORWARDING)
    };
    if let Err(error) = marked {
        tracing::debug!(%error, "packets cannot be marked as voice");
    }
    socket.bind(&addr.into())?;
    Ok(socket)
}

/// Pairs that no call uses. Shared by the media threads, since the next call on a port may
/// live on another one; only opening and closing a leg locks it.
#[derive(Debug)]
pub struct IdlePorts {
    pairs: Mutex<HashMap<u16, PortPair>>,
    limit: usize,
}

impl IdlePorts {
    pub fn new(limit: usize) -> IdlePorts {
        IdlePorts {
            pairs: Mutex::default(),
            limit,
        }
    }

    pub fn open(&self, local: IpAddr, port: u16) -> io::Result<PortPair> {
        let kept = self.lock().remove(&port);
        match kept {
            Some(pair) if pair.local == local => {
                pair.drain();
                Ok(pair)
            }
            other => {
                // Of another address: it gives the number free first.
                drop(other);
                PortPair::bind(local, port)
            }
        }
    }

    pub fn close(&self, pair: PortPair) {
        let mut pairs = self.lock();
        if pairs.len() < self.limit {
            pairs.insert(pair.port, pair);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u16, PortPair>> {
        // A map that lost a pair by a panic is still a map.
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// DSCP EF (RFC 3246) in the upper six bits.
const EXPEDITED_FORWARDING: u32 = 46 << 2;
const MAX_STALE: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn a_kept_pair_is_given_again_without_the_packets_of_the_call_before() {
        let idle = IdlePorts::new(1);
        let pair = open_any(&idle);
        let port = pair.port();
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        idle.close(pair);
        peer.send_to(b"late", (LOCAL, port)).unwrap();
        peer.send_to(b"late", (LOCAL, port + 1)).unwrap();
        let pair = idle.open(LOCAL, port).unwrap();
        let mut buffer = [std::mem::MaybeUninit::uninit(); 16];
        assert_eq!(
            pair.rtp.recv(&mut buffer).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        assert_eq!(
            pair.rtcp.recv(&mut buffer).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        peer.send_to(b"fresh", (LOCAL, port)).unwrap();
        assert_eq!(pair.rtp.recv(&mut buffer).unwrap(), 5);
    }

    #[test]
    fn no_more_pairs_are_kept_than_allowed() {
        let idle = IdlePorts::new(1);
        let (a, b) = (open_any(&idle), open_any(&idle));
        idle.close(a);
        idle.close(b);
        assert_eq!(idle.lock().len(), 1);
    }

    #[test]
    fn a_port_that_somebody_else_has_is_an_error() {
        let idle = IdlePorts::new(1);
        let pair = open_any(&idle);
        assert!(idle.open(LOCAL, pair.port()).is_err());
        assert!(idle.open(LOCAL, u16::MAX).is_err());
    }

    const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn open_any(idle: &IdlePorts) -> PortPair {
        (20_000..30_000)
            .step_by(2)
            .find_map(|port| idle.open(LOCAL, port).ok())
            .unwrap()
    }
}
