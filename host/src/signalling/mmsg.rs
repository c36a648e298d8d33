//! Many datagrams with one system call: `recvmmsg` and `sendmmsg`, and the socket's error
//! queue. The only `unsafe` of the SIP side is here.
#![expect(
    unsafe_code,
    reason = "libc's structures of pointers; each use states why it is sound"
)]

use socket2::Socket;
use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Most datagrams of one system call.
pub const BATCH: usize = 32;

/// The largest UDP payload there is.
const LARGEST: usize = 65_535;

/// Room for one `recvmmsg`. Pages that no datagram ever reached cost nothing.
pub struct Received {
    buffer: Box<[u8]>,
    filled: Vec<(SocketAddr, usize)>,
}

impl Default for Received {
    fn default() -> Self {
        Received {
            buffer: vec![0; BATCH * LARGEST].into_boxed_slice(),
            filled: Vec::with_capacity(BATCH),
        }
    }
}

impl Received {
    /// The datagrams of the last [`receive`] and who sent each.
    pub fn datagrams(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        self.filled
            .iter()
            .zip(self.buffer.chunks_exact(LARGEST))
            .map(|((from, len), chunk)| (*from, &chunk[..*len]))
    }
}

/// Takes up to [`BATCH`] datagrams that are there, without waiting.
pub fn receive(socket: BorrowedFd<'_>, into: &mut Received) -> io::Result<usize> {
    into.filled.clear();
    let mut names = [const { MaybeUninit::<libc::sockaddr_storage>::zeroed() }; BATCH];
    // SAFETY: all-zero bytes are a valid iovec (null, 0) and a valid mmsghdr.
    let mut slices: [libc::iovec; BATCH] = unsafe { mem::zeroed() };
    // SAFETY: as above.
    let mut headers: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
    for (i, chunk) in into.buffer.chunks_exact_mut(LARGEST).enumerate() {
        slices[i] = libc::iovec {
            iov_base: chunk.as_mut_ptr().cast(),
            iov_len: chunk.len(),
        };
        headers[i].msg_hdr.msg_name = names[i].as_mut_ptr().cast();
        headers[i].msg_hdr.msg_namelen =
            mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        headers[i].msg_hdr.msg_iov = &raw mut slices[i];
        headers[i].msg_hdr.msg_iovlen = 1;
    }
    // SAFETY: every pointer in `headers` points into `names`, `slices` or `into.buffer`, which
    // outlive the call and are not touched by anyone else during it.
    let count = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            BATCH as libc::c_uint,
            libc::MSG_DONTWAIT as _,
            std::ptr::null_mut(),
        )
    };
    if count < 0 {
        return Err(io::Error::last_os_error());
    }
    for (name, header) in names.iter().zip(&headers).take(count as usize) {
        // SAFETY: zeroed before, and then written by the kernel: initialised either way.
        let from = address(unsafe { name.assume_init_ref() });
        // A sender without a usable address cannot be answered; length 0 is skipped by all.
        let len = if from.is_some() {
            header.msg_len as usize
        } else {
            0
        };
        into.filled.push((
            from.unwrap_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))),
            len,
        ));
    }
    Ok(count as usize)
}

/// Hands the datagrams to the kernel in order; tells how many it took. An error means the
/// first of them.
pub fn send<'a>(
    socket: BorrowedFd<'_>,
    datagrams: impl Iterator<Item = (SocketAddr, &'a [u8])>,
) -> io::Result<usize> {
    // SAFETY: all-zero bytes are valid for these C structures.
    let mut names: [libc::sockaddr_storage; BATCH] = unsafe { mem::zeroed() };
    // SAFETY: as above.
    let mut slices: [libc::iovec; BATCH] = unsafe { mem::zeroed() };
    // SAFETY: as above.
    let mut headers: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
    let mut count = 0;
    for (i, (to, bytes)) in datagrams.take(BATCH).enumerate() {
        headers[i].msg_hdr.msg_namelen = write_address(&mut names[i], to);
        headers[i].msg_hdr.msg_name = (&raw mut names[i]).cast();
        // The kernel only reads through this pointer.
        slices[i] = libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        };
        headers[i].msg_hdr.msg_iov = &raw mut slices[i];
        headers[i].msg_hdr.msg_iovlen = 1;
        count += 1;
    }
    // SAFETY: the first `count` headers point into `names`, `slices` and the callers' slices
    // (lifetime 'a), which all outlive the call.
    let sent = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            count,
            libc::MSG_DONTWAIT as _,
        )
    };
    if sent < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(sent as usize)
    }
}

/// Makes the kernel keep ICMP errors for [`take_error`] (ip(7), IP_RECVERR).
pub fn keep_errors(socket: BorrowedFd<'_>, ipv6: bool) -> io::Result<()> {
    let on: libc::c_int = 1;
    let (level, option) = if ipv6 {
        (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
    } else {
        (libc::IPPROTO_IP, libc::IP_RECVERR)
    };
    // SAFETY: the option's value is an int that lives through the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            mem::size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// A datagram that could not be delivered: where it was sent, and the error number.
pub fn take_error(socket: BorrowedFd<'_>) -> io::Result<(Option<SocketAddr>, i32)> {
    // SAFETY: all-zero bytes are valid for these C structures.
    let mut name: libc::sockaddr_storage = unsafe { mem::zeroed() };
    // SAFETY: as above.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    let mut payload = [0_u8; 64];
    // u64s, because control messages want that alignment.
    let mut control = [0_u64; 64];
    let mut slice = libc::iovec {
        iov_base: payload.as_mut_ptr().cast(),
        iov_len: payload.len(),
    };
    header.msg_name = (&raw mut name).cast();
    header.msg_namelen = mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    header.msg_iov = &raw mut slice;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = mem::size_of_val(&control) as _;
    // SAFETY: all pointers in `header` are to locals that outlive the call.
    let result = unsafe {
        libc::recvmsg(
            socket.as_raw_fd(),
            &raw mut header,
            libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut number = 0;
    // SAFETY: the kernel filled `control` with well-formed control messages and set
    // `msg_controllen`; the macros stay inside it. `sock_extended_err` is what both of the
    // two options carry (ip(7), ipv6(7)), read unaligned.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(&raw const header);
        while !message.is_null() {
            let kind = ((*message).cmsg_level, (*message).cmsg_type);
            if kind == (libc::IPPROTO_IP, libc::IP_RECVERR)
                || kind == (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
            {
                let error: libc::sock_extended_err =
                    std::ptr::read_unaligned(libc::CMSG_DATA(message).cast());
                number = error.ee_errno as i32;
            }
            message = libc::CMSG_NXTHDR(&raw const header, message);
        }
    }
    Ok((address(&name), number))
}

/// Registers the socket with the runtime, its errors included.
pub fn watch(socket: Socket) -> io::Result<AsyncFd<Socket>> {
    let interest = Interest::READABLE | Interest::WRITABLE | Interest::ERROR;
    // SAFETY: a `Socket` owns its descriptor: open until it is dropped, and always the same.
    unsafe { AsyncFd::register_with_interest(socket, interest) }.map_err(io::Error::from)
}

fn address(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match libc::c_int::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: sockaddr_storage is large and aligned enough for every family, and
            // ss_family says which one it is.
            let v4: &libc::sockaddr_in = unsafe { &*(&raw const *storage).cast() };
            Some(
                SocketAddrV4::new(
                    Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr)),
                    u16::from_be(v4.sin_port),
                )
                .into(),
            )
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6: &libc::sockaddr_in6 = unsafe { &*(&raw const *storage).cast() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(
                SocketAddrV6::new(
                    ip,
                    u16::from_be(v6.sin6_port),
                    v6.sin6_flowinfo,
                    v6.sin6_scope_id,
                )
                .into(),
            )
        }
        _ => None,
    }
}

fn write_address(storage: &mut libc::sockaddr_storage, address: SocketAddr) -> libc::socklen_t {
    match address {
        SocketAddr::V4(v4) => {
            // SAFETY: as in `address`; all bytes of the storage are initialised.
            let out: &mut libc::sockaddr_in = unsafe { &mut *(&raw mut *storage).cast() };
            out.sin_family = libc::AF_INET as libc::sa_family_t;
            out.sin_port = v4.port().to_be();
            out.sin_addr.s_addr = u32::from(*v4.ip()).to_be();
            mem::size_of::<libc::sockaddr_in>() as libc::socklen_t
        }
        SocketAddr::V6(v6) => {
            // SAFETY: as above.
            let out: &mut libc::sockaddr_in6 = unsafe { &mut *(&raw mut *storage).cast() };
            out.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            out.sin6_port = v6.port().to_be();
            out.sin6_flowinfo = v6.flowinfo();
            out.sin6_addr.s6_addr = v6.ip().octets();
            out.sin6_scope_id = v6.scope_id();
            mem::size_of::<libc::sockaddr_in6>() as libc::socklen_t
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    #[test]
    fn a_batch_arrives_in_order_and_names_its_sender() {
        for local in ["127.0.0.1:0", "[::1]:0"] {
            let (Ok(left), Ok(right)) = (UdpSocket::bind(local), UdpSocket::bind(local)) else {
                continue;
            };
            let to = right.local_addr().unwrap();
            let messages: Vec<Vec<u8>> =
                (0..20_u8).map(|i| vec![i; 100 + usize::from(i)]).collect();
            let sent = send(left.as_fd(), messages.iter().map(|m| (to, m.as_slice()))).unwrap();
            assert_eq!(sent, 20);
            let mut batch = Received::default();
            let count = receive(right.as_fd(), &mut batch).unwrap();
            assert_eq!(count, 20, "loopback delivers at once");
            for ((from, bytes), message) in batch.datagrams().zip(&messages) {
                assert_eq!(from, left.local_addr().unwrap());
                assert_eq!(bytes, message.as_slice());
            }
            assert_eq!(
                receive(right.as_fd(), &mut batch).unwrap_err().kind(),
                io::ErrorKind::WouldBlock
            );
        }
    }

    #[test]
    fn a_closed_port_is_told_by_the_error_queue() {
        let left = UdpSocket::bind("127.0.0.1:0").unwrap();
        keep_errors(left.as_fd(), false).unwrap();
        let closed = UdpSocket::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        send(left.as_fd(), std::iter::once((closed, b"x".as_slice()))).unwrap();
        assert_eq!(
            take_error(left.as_fd()).unwrap(),
            (Some(closed), libc::ECONNREFUSED)
        );
        assert_eq!(
            take_error(left.as_fd()).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
    }
}
