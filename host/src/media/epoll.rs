//! Packets through epoll with recvmmsg and sendmmsg: works on every kernel.

use super::io::{Counters, MAX_DATAGRAM, PacketIo, Port, Received};
use super::sys::{WireAddr, clear_event};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

pub struct Epoll {
    epoll: OwnedFd,
    wake: RawFd,
    /// Descriptor + 1 by port; 0 is none. Pages of ports that are not used stay untouched.
    sockets: Vec<RawFd>,
    /// What `wait` found, and how far `receive` came.
    ready: Vec<libc::epoll_event>,
    ready_len: usize,
    ready_next: usize,
    receiving: Receiving,
    sending: Sending,
    counters: Counters,
}

impl Epoll {
    pub fn new(wake: RawFd) -> io::Result<Epoll> {
        // SAFETY: no pointers; the result is checked before it is owned.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a fresh descriptor that nobody else owns.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        let this = Epoll {
            epoll,
            wake,
            sockets: vec![0; usize::from(Port::MAX) + 1],
            ready: vec![libc::epoll_event { events: 0, u64: 0 }; READY_BATCH],
            ready_len: 0,
            ready_next: 0,
            receiving: Receiving::new(),
            sending: Sending::new(),
            counters: Counters::default(),
        };
        this.control(libc::EPOLL_CTL_ADD, wake, WAKE_TOKEN)?;
        Ok(this)
    }

    fn control(&self, operation: i32, fd: RawFd, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: token,
        };
        // SAFETY: `event` is valid for the call; a bad descriptor is an error, not UB.
        let result = unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), operation, fd, &mut event) };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

impl PacketIo for Epoll {
    fn add(&mut self, port: Port, socket: RawFd) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, socket, u64::from(port))?;
        self.sockets[usize::from(port)] = socket + 1;
        Ok(())
    }

    fn remove(&mut self, port: Port) {
        let socket = std::mem::take(&mut self.sockets[usize::from(port)]) - 1;
        if socket < 0 {
            return;
        }
        self.flush();
        if let Err(error) = self.control(libc::EPOLL_CTL_DEL, socket, 0) {
            tracing::debug!(%error, port, "a socket could not be taken out of epoll");
        }
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.flush();
        let limit = timeout.map(|t| libc::timespec {
            tv_sec: t.as_secs().min(i32::MAX as u64) as libc::time_t,
            tv_nsec: libc::c_long::from(t.subsec_nanos() as i32),
        });
        (self.ready_next, self.ready_len) = (0, 0);
        // SAFETY: `ready` has room for the number given; `limit` lives until the call returns.
        // By number, since epoll_wait rounds to milliseconds and glibc < 2.35 has no wrapper.
        let found = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.epoll.as_raw_fd(),
                self.ready.as_mut_ptr(),
                self.ready.len() as libc::c_int,
                limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref),
                std::ptr::null::<libc::sigset_t>(),
                0usize,
            )
        };
        if found >= 0 {
            self.ready_len = found as usize;
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() == io::ErrorKind::Interrupted {
            Ok(())
        } else {
            Err(error)
        }
    }

    fn receive(&mut self) -> Option<Received<'_>> {
        loop {
            while self.receiving.next < self.receiving.filled {
                let index = self.receiving.next;
                self.receiving.next += 1;
                let header = &self.receiving.headers[index];
                if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
                    self.counters.oversized += 1;
                    continue;
                }
                let len = header.msg_len as usize;
                let Some(from) = self.receiving.names[index].parse() else {
                    continue;
                };
                self.counters.received += 1;
                let port = self.receiving.port;
                let bytes = &mut self.receiving.buffers[index][..len];
                return Some(Received { port, from, bytes });
            }
            if self.ready_next == self.ready_len {
                return None;
            }
            let token = self.ready[self.ready_next].u64;
            self.ready_next += 1;
            if token == WAKE_TOKEN {
                clear_event(self.wake);
                continue;
            }
            let port = token as Port;
            let socket = self.sockets[usize::from(port)] - 1;
            if socket >= 0 {
                // Level-triggered: what does not fit is found by the next `wait`, so that one
                // flooded port cannot keep the others waiting.
                self.receiving.fill(port, socket);
            }
        }
    }

    fn send(&mut self, port: Port, to: SocketAddr, bytes: &[u8]) {
        let socket = self.sockets[usize::from(port)] - 1;
        if socket < 0 || bytes.len() > MAX_DATAGRAM {
            self.counters.send_failed += 1;
            return;
        }
        if self.sending.queued == SEND_BATCH {
            self.flush();
        }
        self.sending.push(socket, to, bytes);
    }

    fn forward(&mut self, port: Port, to: SocketAddr, len: usize) {
        let socket = self.sockets[usize::from(port)] - 1;
        let last = self
            .receiving
            .next
            .checked_sub(1)
            .and_then(|at| self.receiving.buffers[at].get(..len));
        let (Some(bytes), true) = (last, socket >= 0) else {
            self.counters.send_failed += 1;
            return;
        };
        if self.sending.queued == SEND_BATCH {
            self.sending.flush(&mut self.counters);
        }
        self.sending.push(socket, to, bytes);
    }

    fn flush(&mut self) {
        self.sending.flush(&mut self.counters);
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}

/// The arrays of recvmmsg(2), pointing at each other. They live on the heap and are never
/// resized, so the pointers stay right when this struct moves.
struct Receiving {
    headers: Vec<libc::mmsghdr>,
    #[expect(dead_code, reason = "the headers point into it")]
    vectors: Vec<libc::iovec>,
    names: Vec<WireAddr>,
    buffers: Vec<[u8; MAX_DATAGRAM]>,
    port: Port,
    filled: usize,
    next: usize,
}

impl Receiving {
    fn new() -> Receiving {
        let mut buffers = vec![[0u8; MAX_DATAGRAM]; RECEIVE_BATCH];
        let mut names = vec![WireAddr::EMPTY; RECEIVE_BATCH];
        let mut vectors: Vec<libc::iovec> = buffers
            .iter_mut()
            .map(|b| libc::iovec {
                iov_base: b.as_mut_ptr().cast(),
                iov_len: b.len(),
            })
            .collect();
        let headers = names
            .iter_mut()
            .zip(&mut vectors)
            .map(|(name, vector)| message(name.as_mut_ptr(), WireAddr::SIZE as u32, vector))
            .collect();
        Receiving {
            headers,
            vectors,
            names,
            buffers,
            port: 0,
            filled: 0,
            next: 0,
        }
    }

    fn fill(&mut self, port: Port, socket: RawFd) {
        (self.port, self.filled, self.next) = (port, 0, 0);
        for header in &mut self.headers {
            header.msg_hdr.msg_namelen = WireAddr::SIZE as u32;
        }
        // SAFETY: the headers point to names, vectors and buffers that this struct owns and
        // that nobody borrows now; the kernel keeps no pointer after the call.
        let got = unsafe {
            libc::recvmmsg(
                socket,
                self.headers.as_mut_ptr(),
                self.headers.len() as libc::c_uint,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        // An error is an ICMP answer to an earlier packet, or nothing there after all.
        self.filled = usize::try_from(got).unwrap_or(0);
    }
}

/// Packets that wait for one trip to the kernel per run of equal sockets.
struct Sending {
    headers: Vec<libc::mmsghdr>,
    vectors: Vec<libc::iovec>,
    names: Vec<WireAddr>,
    buffers: Vec<[u8; MAX_DATAGRAM]>,
    sockets: Vec<RawFd>,
    queued: usize,
}

impl Sending {
    fn new() -> Sending {
        let mut buffers = vec![[0u8; MAX_DATAGRAM]; SEND_BATCH];
        let mut names = vec![WireAddr::EMPTY; SEND_BATCH];
        let mut vectors: Vec<libc::iovec> = buffers
            .iter_mut()
            .map(|b| libc::iovec {
                iov_base: b.as_mut_ptr().cast(),
                iov_len: 0,
            })
            .collect();
        let headers = names
            .iter_mut()
            .zip(&mut vectors)
            .map(|(name, vector)| message(name.as_mut_ptr(), 0, vector))
            .collect();
        Sending {
            headers,
            vectors,
            names,
            buffers,
            sockets: vec![-1; SEND_BATCH],
            queued: 0,
        }
    }

    fn push(&mut self, socket: RawFd, to: SocketAddr, bytes: &[u8]) {
        let at = self.queued;
        self.buffers[at][..bytes.len()].copy_from_slice(bytes);
        self.vectors[at].iov_len = bytes.len();
        self.names[at] = WireAddr::new(to);
        self.headers[at].msg_hdr.msg_namelen = self.names[at].size();
        self.sockets[at] = socket;
        self.queued += 1;
    }

    fn flush(&mut self, counters: &mut Counters) {
        let queued = std::mem::take(&mut self.queued);
        let mut start = 0;
        while start < queued {
            let socket = self.sockets[start];
            let run = self.sockets[start..queued]
                .iter()
                .take_while(|s| **s == socket)
                .count();
            // SAFETY: `run` headers from `start` are filled in; they point to memory that this
            // struct owns; the kernel keeps no pointer after the call.
            let sent = unsafe {
                libc::sendmmsg(
                    socket,
                    self.headers[start..].as_mut_ptr(),
                    run as libc::c_uint,
                    libc::MSG_DONTWAIT,
                )
            };
            match usize::try_from(sent) {
                // It stops at a packet that fails and tells why only when that is the first.
                Ok(sent) if sent > 0 => {
                    counters.sent += sent as u64;
                    start += sent;
                }
                _ => {
                    counters.send_failed += 1;
                    start += 1;
                }
            }
        }
    }
}

fn message(name: *mut libc::sockaddr, name_len: u32, vector: &mut libc::iovec) -> libc::mmsghdr {
    // SAFETY: all bits zero is a valid `mmsghdr` (its padding is private to libc on musl).
    let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
    header.msg_hdr.msg_name = name.cast();
    header.msg_hdr.msg_namelen = name_len;
    header.msg_hdr.msg_iov = vector;
    header.msg_hdr.msg_iovlen = 1;
    header
}

const WAKE_TOKEN: u64 = u64::MAX;
/// Sockets reported by one `wait`.
const READY_BATCH: usize = 512;
/// Packets taken from one socket at a time.
const RECEIVE_BATCH: usize = 8;
const SEND_BATCH: usize = 256;
