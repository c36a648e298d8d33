//! Packets through io_uring: one multishot receive for each socket, all of them filling one
//! ring of provided buffers, and sends that go to the kernel in one call with the wait.
//! Needs Linux 6.1 (`DEFER_TASKRUN`, `SEND` with an address); [`Uring::new`] finds out.

mod buffers;

use super::io::{Counters, MAX_DATAGRAM, PacketIo, Port, Received};
use super::sys::{WireAddr, clear_event, parse_addr};
use buffers::BufferRing;
use io_uring::{IoUring, Probe, cqueue, opcode, squeue, types};
use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::time::Duration;

pub struct Uring {
    // Before the memory that the kernel was given: fields are dropped in this order, and the
    // kernel lets go of that memory when the ring is closed.
    ring: IoUring,
    wake: RawFd,
    wake_armed: bool,
    /// By port; pages of ports that are not used stay untouched.
    sockets: Vec<Socket>,
    /// Distinguishes a socket from an earlier one on the same port.
    generation: u32,
    receiving: BufferRing,
    /// Only its lengths matter to a multishot receive; the kernel reads it at each arming.
    receive_header: Box<libc::msghdr>,
    /// The buffer that `receive` lent out last.
    lent: Option<u16>,
    /// Buffers that are sent as they are, until the kernel took them.
    forwarding: Vec<u16>,
    sending: Vec<Outgoing>,
    queued: usize,
    counters: Counters,
}

/// All zero means none, so that a fresh table costs no memory.
#[derive(Clone, Copy, Default)]
struct Socket {
    /// descriptor + 1
    fd: i32,
    generation: u32,
}

struct Outgoing {
    to: WireAddr,
    bytes: [u8; MAX_DATAGRAM],
}

impl Uring {
    pub fn new(wake: RawFd) -> io::Result<Uring> {
        let ring: IoUring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .setup_cqsize(COMPLETIONS)
            .dontfork()
            .build(SUBMISSIONS)?;
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        for (code, name) in [
            (opcode::RecvMsgMulti::CODE, "RECVMSG"),
            (opcode::Send::CODE, "SEND"),
            (opcode::PollAdd::CODE, "POLL_ADD"),
        ] {
            if !probe.is_supported(code) {
                return Err(io::Error::other(format!(
                    "the kernel's io_uring has no {name}"
                )));
            }
        }
        if !ring.params().is_feature_ext_arg() || !ring.params().is_feature_nodrop() {
            return Err(io::Error::other("the kernel's io_uring has no timed wait"));
        }
        let receiving = BufferRing::register(&ring, BUFFERS, BUFFER_LEN)?;
        // SAFETY: all bits zero is a valid `msghdr`: no name, no vectors, no control data.
        let mut receive_header: Box<libc::msghdr> = Box::new(unsafe { std::mem::zeroed() });
        receive_header.msg_namelen = WireAddr::SIZE as u32;
        let mut this = Uring {
            ring,
            wake,
            wake_armed: false,
            sockets: vec![Socket::default(); usize::from(Port::MAX) + 1],
            generation: 0,
            receiving,
            receive_header,
            lent: None,
            forwarding: Vec::with_capacity(SEND_BATCH),
            sending: (0..SEND_BATCH)
                .map(|_| Outgoing {
                    to: WireAddr::EMPTY,
                    bytes: [0; MAX_DATAGRAM],
                })
                .collect(),
            queued: 0,
            counters: Counters::default(),
        };
        this.try_out()?;
        Ok(this)
    }

    /// Sends a packet to itself: what a probe cannot tell (multishot receive, a send with an
    /// address, sandboxes that forbid single operations) shows here and not in a call.
    fn try_out(&mut self) -> io::Result<()> {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
        socket.set_nonblocking(true)?;
        let addr = socket.local_addr()?;
        self.add(addr.port(), std::os::fd::AsRawFd::as_raw_fd(&socket))?;
        self.send(addr.port(), addr, b"probe");
        let mut arrived = false;
        for _ in 0..4 {
            self.wait(Some(Duration::from_millis(50)))?;
            while let Some(packet) = self.receive() {
                arrived |= packet.bytes == b"probe";
            }
            if arrived {
                break;
            }
        }
        self.remove(addr.port());
        self.counters = Counters::default();
        if arrived {
            Ok(())
        } else {
            Err(io::Error::other("a packet sent to itself did not arrive"))
        }
    }

    fn arm_receive(&mut self, port: Port) -> io::Result<()> {
        let socket = self.sockets[usize::from(port)];
        let entry = opcode::RecvMsgMulti::new(
            types::Fd(socket.fd - 1),
            &*self.receive_header,
            BufferRing::GROUP,
        )
        .build()
        .user_data(
            Token::Receive {
                port,
                generation: socket.generation,
            }
            .pack(),
        );
        // SAFETY: the header outlives the ring; the buffers belong to the registered group.
        unsafe { self.push(&entry) }
    }

    fn arm_wake(&mut self) -> io::Result<()> {
        let entry = opcode::PollAdd::new(types::Fd(self.wake), libc::POLLIN as u32)
            .build()
            .user_data(Token::Wake.pack());
        // SAFETY: the operation has no pointers.
        unsafe { self.push(&entry)? };
        self.wake_armed = true;
        Ok(())
    }

    /// # Safety
    /// What `entry` points to must stay valid until the kernel is done with it.
    unsafe fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        // SAFETY: the caller's promise.
        if unsafe { self.ring.submission().push(entry) }.is_ok() {
            return Ok(());
        }
        self.submit();
        // SAFETY: the caller's promise.
        unsafe { self.ring.submission().push(entry) }
            .map_err(|_| io::Error::other("the submission queue stays full"))
    }

    /// Gives what is queued to the kernel without waiting.
    fn submit(&mut self) {
        if let Err(error) = self.ring.submit()
            && error.kind() != io::ErrorKind::Interrupted
        {
            tracing::debug!(%error, "io_uring took no submissions");
        }
        self.release_sent();
    }

    /// A multishot receive ends when buffers or completions run out, and by an error.
    fn receive_ended(&mut self, port: Port, result: i32) {
        if result == -libc::ENOBUFS {
            self.counters.out_of_buffers += 1;
        } else if result < 0 {
            // Trying again could fail again at once, for ever.
            let error = io::Error::from_raw_os_error(-result);
            tracing::warn!(%error, port, "a socket stopped receiving");
            return;
        }
        if let Err(error) = self.arm_receive(port) {
            tracing::warn!(%error, port, "a socket stopped receiving");
        }
    }

    fn has_room_to_send(&mut self) -> bool {
        if self.queued == SEND_BATCH || self.ring.submission().is_full() {
            self.submit();
        }
        self.queued < SEND_BATCH && !self.ring.submission().is_full()
    }

    /// `start` must lie in the slot or the receive buffer that was set aside for this packet,
    /// with `len` bytes behind it; there must be room.
    fn queue(&mut self, socket: Socket, to: SocketAddr, start: *const u8, len: usize) {
        let slot = &mut self.sending[self.queued];
        slot.to = WireAddr::new(to);
        let entry = opcode::Send::new(types::Fd(socket.fd - 1), start, len as u32)
            .dest_addr(slot.to.as_ptr())
            .dest_addr_len(slot.to.size())
            .flags(libc::MSG_DONTWAIT)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(Token::Send.pack());
        // SAFETY: slots and receive buffers are on the heap and are not moved; neither is
        // written again before `release_sent` has seen that the kernel took the entry.
        match unsafe { self.ring.submission().push(&entry) } {
            Ok(()) => self.queued += 1,
            Err(_) => self.counters.send_failed += 1,
        }
    }

    /// A send is done when its entry was taken: it never waits (`MSG_DONTWAIT` makes the
    /// kernel finish it in the same call), so its buffer is free again.
    fn release_sent(&mut self) {
        if self.ring.submission().is_empty() {
            self.counters.sent += self.queued as u64;
            self.queued = 0;
            for buffer in self.forwarding.drain(..) {
                self.receiving.give_back(buffer);
            }
        }
    }
}

impl PacketIo for Uring {
    fn add(&mut self, port: Port, socket: RawFd) -> io::Result<()> {
        self.generation = self.generation.wrapping_add(1);
        self.sockets[usize::from(port)] = Socket {
            fd: socket + 1,
            generation: self.generation,
        };
        self.arm_receive(port)
    }

    fn remove(&mut self, port: Port) {
        let socket = std::mem::take(&mut self.sockets[usize::from(port)]);
        if socket.fd == 0 {
            return;
        }
        // Cancelling sees only what the kernel was given.
        self.submit();
        let token = Token::Receive {
            port,
            generation: socket.generation,
        }
        .pack();
        let cancel = types::CancelBuilder::user_data(token);
        match self.ring.submitter().register_sync_cancel(None, cancel) {
            Ok(()) => {}
            // Its receive had ended by an error or for want of buffers.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::debug!(%error, port, "a receive could not be cancelled"),
        }
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if let Some(buffer) = self.lent.take() {
            self.receiving.give_back(buffer);
        }
        if !self.wake_armed {
            self.arm_wake()?;
        }
        let result = match timeout {
            None => self.ring.submitter().submit_and_wait(1),
            Some(timeout) => {
                let limit = types::Timespec::from(timeout);
                let args = types::SubmitArgs::new().timespec(&limit);
                self.ring.submitter().submit_with_args(1, &args)
            }
        };
        self.release_sent();
        match result {
            Ok(_) => Ok(()),
            Err(error) => match error.raw_os_error() {
                // Time is up; interrupted; or completions must be taken out first.
                Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
                _ => Err(error),
            },
        }
    }

    fn receive(&mut self) -> Option<Received<'_>> {
        if let Some(buffer) = self.lent.take() {
            self.receiving.give_back(buffer);
        }
        loop {
            let entry = self.ring.completion().next()?;
            match Token::unpack(entry.user_data()) {
                Token::Wake => {
                    clear_event(self.wake);
                    self.wake_armed = false;
                }
                // Successful sends leave no completion.
                Token::Send => {
                    self.counters.send_failed += 1;
                    self.counters.sent = self.counters.sent.saturating_sub(1);
                }
                Token::Receive { port, generation } => {
                    let buffer = cqueue::buffer_select(entry.flags());
                    let current = self.sockets[usize::from(port)];
                    let is_current = current.fd != 0 && current.generation == generation;
                    if is_current && !cqueue::more(entry.flags()) {
                        self.receive_ended(port, entry.result());
                    }
                    let Some(buffer) = buffer else { continue };
                    let Ok(len) = usize::try_from(entry.result()) else {
                        self.receiving.give_back(buffer);
                        continue;
                    };
                    match (is_current, locate(&self.receiving.bytes(buffer)[..len])) {
                        (true, Located::Packet { from, start }) => {
                            self.counters.received += 1;
                            self.lent = Some(buffer);
                            let bytes = &mut self.receiving.bytes_mut(buffer)[start..len];
                            return Some(Received { port, from, bytes });
                        }
                        (true, Located::Oversized) => self.counters.oversized += 1,
                        (true, Located::Nothing) | (false, _) => {}
                    }
                    self.receiving.give_back(buffer);
                }
            }
        }
    }

    fn send(&mut self, port: Port, to: SocketAddr, bytes: &[u8]) {
        let socket = self.sockets[usize::from(port)];
        if socket.fd == 0 || bytes.len() > MAX_DATAGRAM || !self.has_room_to_send() {
            self.counters.send_failed += 1;
            return;
        }
        let slot = &mut self.sending[self.queued];
        slot.bytes[..bytes.len()].copy_from_slice(bytes);
        let start = slot.bytes.as_ptr();
        self.queue(socket, to, start, bytes.len());
    }

    fn forward(&mut self, port: Port, to: SocketAddr, len: usize) {
        let socket = self.sockets[usize::from(port)];
        let fits = len <= MAX_DATAGRAM && socket.fd != 0;
        let Some(buffer) = self.lent.filter(|_| fits && self.has_room_to_send()) else {
            self.counters.send_failed += 1;
            return;
        };
        // The buffer stays ours until `release_sent`.
        self.lent = None;
        self.forwarding.push(buffer);
        let start = self.receiving.bytes(buffer)[HEADER_LEN..].as_ptr();
        self.queue(socket, to, start, len);
    }

    fn flush(&mut self) {
        if self.queued > 0 {
            self.submit();
        }
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        // The kernel must have let go of the receive buffers before they are freed, and of
        // the sockets before their ports are bound again. Cancelling only marks; the marked
        // end when this thread next asks for completions.
        let submitter = self.ring.submitter();
        let _ = submitter.register_sync_cancel(None, types::CancelBuilder::any().all());
        let now = types::Timespec::new();
        let args = types::SubmitArgs::new().timespec(&now);
        loop {
            // Until nothing more comes: each turn takes what has come before.
            self.ring.completion().for_each(drop);
            if self.ring.submitter().submit_with_args(1, &args).is_err() {
                break;
            }
        }
        let _ = self.ring.submitter().unregister_buf_ring(BufferRing::GROUP);
    }
}

enum Located {
    Packet { from: SocketAddr, start: usize },
    Oversized,
    Nothing,
}

/// Reads what `io_uring_recvmsg_out` says: name length, control length, payload length and
/// flags as four u32, then the name's room, then the packet.
fn locate(buffer: &[u8]) -> Located {
    let Some(flags) = buffer
        .get(12..16)
        .and_then(|b| b.try_into().ok())
        .map(u32::from_ne_bytes)
    else {
        return Located::Nothing;
    };
    if flags & libc::MSG_TRUNC as u32 != 0 || buffer.len() > HEADER_LEN + MAX_DATAGRAM {
        return Located::Oversized;
    }
    match buffer.get(16..HEADER_LEN).and_then(parse_addr) {
        Some(from) => Located::Packet {
            from,
            start: HEADER_LEN,
        },
        None => Located::Nothing,
    }
}

/// What a completion is about, in the 64 bits that the kernel hands back.
enum Token {
    Receive { port: Port, generation: u32 },
    Send,
    Wake,
}

impl Token {
    fn pack(&self) -> u64 {
        match *self {
            Token::Receive { port, generation } => (u64::from(generation) << 16) | u64::from(port),
            Token::Send => 1 << 62,
            Token::Wake => 1 << 63,
        }
    }

    fn unpack(bits: u64) -> Token {
        if bits & (1 << 63) != 0 {
            Token::Wake
        } else if bits & (1 << 62) != 0 {
            Token::Send
        } else {
            Token::Receive {
                port: bits as u16,
                generation: (bits >> 16) as u32,
            }
        }
    }
}

const SUBMISSIONS: u32 = 512;
const COMPLETIONS: u32 = 4_096;
const SEND_BATCH: usize = 256;
/// 512 packets are 1.3 ms of 4,000 calls; more would only leave the cache.
const BUFFERS: u16 = 512;
const HEADER_LEN: usize = 16 + WireAddr::SIZE;
/// One byte more than is allowed, so that a longer packet shows.
const BUFFER_LEN: usize = (HEADER_LEN + MAX_DATAGRAM + 1).next_multiple_of(64);
