//! rtpload: sets up N SIP calls through a box (both ends are this process),
//! runs 20 ms RTP on them, and reports the box's CPU (from /proc), loss and
//! latency. Loopback only.
//!
//!   --target A:P      the box's SIP address (or the UAS's own for a floor run)
//!   --pid P[,P]       processes whose CPU and memory are read, with descendants
//!   --calls N --rate CPS --warm S --secs S
//!   --a PCMU|PCMA|G722|OPUS   the only codec the caller offers
//!   --b PCMU|PCMA|G722|OPUS   the codec the callee answers with
//!   --bmode send|echo  callee sends its own stream, or sends back what it got
//!   --mark stamp|click|speech
//!        stamp  send time inside the payload: exact one-way latency (relay)
//!        click  silence with a 20 ms tone each second: round trip (with echo)
//!        speech speech-like signal, for CPU of codecs
mod audio;
mod proc;
mod sip;

use audio::*;
use proc::*;
use sip::*;
use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

fn now_ns() -> u64 {
    let mut t = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &mut t) };
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

#[derive(Clone, Copy, PartialEq)]
enum Mark {
    Stamp,
    Click,
    Speech,
}
struct Shared {
    stop: AtomicBool,
    w0: AtomicU64,
    w1: AtomicU64,
    sent: AtomicU64,
    late_max: AtomicU64,
    click: Vec<AtomicU64>,
}
const MAGIC: u64 = 0x5;
fn put_stamp(p: &mut [u8], ns: u64) {
    for (k, byte) in p.iter_mut().take(16).enumerate() {
        *byte = 0x80 | ((ns >> (60 - 4 * k)) & 15) as u8;
    }
    p[16] = 0x80 | MAGIC as u8;
}
fn get_stamp(p: &[u8]) -> Option<u64> {
    if p.len() < 17 || p[16] != 0x80 | MAGIC as u8 {
        return None;
    }
    let mut v = 0u64;
    for byte in &p[..16] {
        if byte & 0xF0 != 0x80 {
            return None;
        }
        v = v << 4 | (byte & 15) as u64;
    }
    Some(v)
}
fn pct(v: &mut [f64], q: f64) -> f64 {
    if v.is_empty() {
        return f64::NAN;
    }
    v.sort_by(|a, b| a.partial_cmp(b).unwrap());
    v[((v.len() - 1) as f64 * q) as usize]
}

fn main() {
    let mut h = HashMap::new();
    let mut it = std::env::args().skip(1);
    while let Some(k) = it.next() {
        h.insert(
            k.trim_start_matches("--").to_string(),
            it.next().unwrap_or_default(),
        );
    }
    let args = Args(h);
    let ip = args.s("ip", "127.0.0.1");
    assert!(ip.starts_with("127."), "loopback only");
    let target: SocketAddr = args.s("target", "127.0.0.1:5160").parse().unwrap();
    assert!(target.ip().is_loopback(), "loopback only");
    let n = args.n("calls", 10.0) as usize;
    let rate = args.n("rate", 50.0);
    let (warm, secs) = (args.n("warm", 3.0), args.n("secs", 10.0));
    let (a, b) = (
        Codec::parse(&args.s("a", "PCMU")),
        Codec::parse(&args.s("b", "PCMU")),
    );
    let echo = args.s("bmode", "send") == "echo";
    let mark = match args.s("mark", "stamp").as_str() {
        "click" => Mark::Click,
        "speech" => Mark::Speech,
        _ => Mark::Stamp,
    };
    let roots: Vec<i32> = args
        .s("pid", "")
        .split(',')
        .filter_map(|x| x.parse().ok())
        .collect();
    let (abase, bbase) = (
        args.n("abase", 10000.0) as u16,
        args.n("bbase", 14000.0) as u16,
    );
    unsafe {
        let l = libc::rlimit {
            rlim_cur: 65536,
            rlim_max: 65536,
        };
        libc::setrlimit(libc::RLIMIT_NOFILE, &l);
    }
    let mk = |p: u16| -> UdpSocket {
        let s = UdpSocket::bind((ip.as_str(), p)).unwrap_or_else(|e| panic!("bind {p}: {e}"));
        s.set_nonblocking(true).unwrap();
        let v: libc::c_int = 1;
        unsafe {
            libc::setsockopt(
                s.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_TIMESTAMPNS,
                &v as *const _ as *const _,
                4,
            );
        }
        s
    };
    let asock: Vec<UdpSocket> = (0..n).map(|i| mk(abase + 2 * i as u16)).collect();
    let bsock: Vec<UdpSocket> = (0..n).map(|i| mk(bbase + 2 * i as u16)).collect();
    let mut sip = Sip {
        uac: mk(args.n("uacport", 6170.0) as u16),
        uas: mk(args.n("uasport", 5180.0) as u16),
        target,
        ip: ip.clone(),
        a,
        b,
        abase,
        bbase,
        tag: format!("r{:x}", now_ns() & 0xffffff | 0x1000000),
        calls: vec![Call::default(); n],
        by_id: HashMap::new(),
        setup_ms: vec![],
        note: HashMap::new(),
    };
    for s in [&sip.uac, &sip.uas] {
        let v: libc::c_int = 8 << 20;
        unsafe {
            libc::setsockopt(
                s.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_RCVBUFFORCE,
                &v as *const _ as *const _,
                4,
            );
        }
    }
    let pids = tree(&roots);
    let mem0 = mem_kb(&pids);
    let cpu_setup0 = cpu_s(&pids);
    // ---- set up
    let t0 = Instant::now();
    let mut next = 0usize;
    while next < n
        || (sip.calls.iter().any(|c| !c.up) && t0.elapsed().as_secs_f64() < n as f64 / rate + 15.0)
    {
        while next < n && t0.elapsed().as_secs_f64() >= next as f64 / rate {
            sip.invite(next);
            next += 1;
        }
        sip.pump(2);
    }
    let up: Vec<usize> = (0..n)
        .filter(|&i| {
            sip.calls[i].failed.is_none()
                && sip.calls[i].a_remote.is_some()
                && sip.calls[i].b_remote.is_some()
        })
        .collect();
    let cpu_setup1 = cpu_s(&pids);
    if up.is_empty() {
        let f = sip.calls.iter().find_map(|c| c.failed.clone());
        println!(
            "{{\"error\":\"no call came up\",\"first\":\"{:?}\",\"notes\":\"{:?}\"}}",
            f, sip.note
        );
        std::process::exit(1);
    }
    // ---- media
    let sh = Arc::new(Shared {
        stop: AtomicBool::new(false),
        w0: AtomicU64::new(u64::MAX),
        w1: AtomicU64::new(u64::MAX),
        sent: AtomicU64::new(0),
        late_max: AtomicU64::new(0),
        click: (0..n).map(|_| AtomicU64::new(0)).collect(),
    });
    struct Tx {
        fd: i32,
        to: libc::sockaddr_in,
        pt: u8,
        step: u32,
        codec: Codec,
        ssrc: u32,
        call: usize,
    }
    let sa = |s: SocketAddr| -> libc::sockaddr_in {
        let SocketAddr::V4(v) = s else { panic!() };
        assert!(v.ip().is_loopback(), "media address is not loopback");
        libc::sockaddr_in {
            sin_family: libc::AF_INET as u16,
            sin_port: v.port().to_be(),
            sin_addr: libc::in_addr {
                s_addr: u32::from_ne_bytes(v.ip().octets()),
            },
            sin_zero: [0; 8],
        }
    };
    let mut txs: Vec<Tx> = vec![];
    let mut btx: HashMap<usize, (libc::sockaddr_in, u8)> = HashMap::new();
    for &i in &up {
        let c = &sip.calls[i];
        txs.push(Tx {
            fd: asock[i].as_raw_fd(),
            to: sa(c.a_remote.unwrap()),
            pt: a.pt(),
            step: a.step(),
            codec: a,
            ssrc: 0x0a00_0000 + i as u32,
            call: i,
        });
        if echo {
            btx.insert(i, (sa(c.b_remote.unwrap()), c.b_pt));
        } else {
            txs.push(Tx {
                fd: bsock[i].as_raw_fd(),
                to: sa(c.b_remote.unwrap()),
                pt: c.b_pt,
                step: b.step(),
                codec: b,
                ssrc: 0x0b00_0000 + i as u32,
                call: i,
            });
        }
    }
    let nstreams = txs.len();
    let shs = sh.clone();
    let sender = std::thread::spawn(move || {
        let sp = speech();
        let enc = |c: Codec, v: &[i16]| -> Vec<u8> {
            match c {
                Codec::Pcma => v.iter().map(|x| lin2alaw(*x as i32)).collect(),
                _ => v.iter().map(|x| lin2ulaw(*x as i32)).collect(),
            }
        };
        let (su, sal) = (enc(Codec::Pcmu, &sp), enc(Codec::Pcma, &sp));
        let tone: Vec<i16> = (0..160)
            .map(|k| {
                (16000.0 * (2.0 * std::f64::consts::PI * 1000.0 * k as f64 / 8000.0 + 0.8).sin())
                    as i16
            })
            .collect();
        let (tu, ta) = (enc(Codec::Pcmu, &tone), enc(Codec::Pcma, &tone));
        let start = now_ns() + 20_000_000;
        let period = 20_000_000u64;
        let mut frame = 0u64;
        let mut pkt = [0u8; 172];
        'o: loop {
            for (k, t) in txs.iter().enumerate() {
                let due = start + frame * period + period * k as u64 / txs.len() as u64;
                let mut now = now_ns();
                if due > now + 50_000 {
                    let d = due - now;
                    let ts = libc::timespec {
                        tv_sec: (d / 1_000_000_000) as i64,
                        tv_nsec: (d % 1_000_000_000) as i64,
                    };
                    unsafe { libc::nanosleep(&ts, std::ptr::null_mut()) };
                    now = now_ns();
                }
                if shs.stop.load(Relaxed) {
                    break 'o;
                }
                let late = now.saturating_sub(due);
                let inw = now >= shs.w0.load(Relaxed) && now < shs.w1.load(Relaxed);
                if inw && late > shs.late_max.load(Relaxed) {
                    shs.late_max.store(late, Relaxed);
                }
                pkt[0] = 0x80;
                pkt[1] = t.pt | if frame == 0 { 0x80 } else { 0 };
                pkt[2..4].copy_from_slice(&(frame as u16).to_be_bytes());
                pkt[4..8].copy_from_slice(&((frame as u32).wrapping_mul(t.step)).to_be_bytes());
                pkt[8..12].copy_from_slice(&t.ssrc.to_be_bytes());
                let alaw = t.codec == Codec::Pcma;
                match mark {
                    Mark::Click => {
                        let f = frame + (t.call as u64 * 7) % 50;
                        if f % 50 == 25 {
                            pkt[12..].copy_from_slice(if alaw { &ta } else { &tu });
                            shs.click[t.call].store(now, Relaxed);
                        } else {
                            pkt[12..].fill(if alaw { 0xD5 } else { 0xFF });
                        }
                    }
                    _ => {
                        let o = ((frame as usize + t.call * 37) * 160) % 80_000;
                        pkt[12..].copy_from_slice(if alaw {
                            &sal[o..o + 160]
                        } else {
                            &su[o..o + 160]
                        });
                    }
                }
                if mark == Mark::Stamp {
                    now = now_ns();
                    put_stamp(&mut pkt[12..], now);
                }
                unsafe {
                    libc::sendto(
                        t.fd,
                        pkt.as_ptr() as *const _,
                        172,
                        0,
                        &t.to as *const _ as *const _,
                        16,
                    );
                }
                if inw {
                    shs.sent.fetch_add(1, Relaxed);
                }
            }
            frame += 1;
        }
    });
    let shr = sh.clone();
    let (afd, bfd): (Vec<i32>, Vec<i32>) = (
        asock.iter().map(|s| s.as_raw_fd()).collect(),
        bsock.iter().map(|s| s.as_raw_fd()).collect(),
    );
    let bstep = b.step();
    let upc = up.clone();
    let receiver = std::thread::spawn(move || {
        let ep = unsafe { libc::epoll_create1(0) };
        for &i in &upc {
            for (side, fd) in [(0u64, afd[i]), (1, bfd[i])] {
                let mut e = libc::epoll_event {
                    events: libc::EPOLLIN as u32,
                    u64: (i as u64) << 1 | side,
                };
                unsafe { libc::epoll_ctl(ep, libc::EPOLL_CTL_ADD, fd, &mut e) };
            }
        }
        let mut lat: [Vec<f64>; 2] = [vec![], vec![]];
        let mut got = [0u64; 2]; // in window
        let (mut altered, mut badpt) = (0u64, 0u64);
        let mut bseq = vec![0u16; afd.len()];
        let mut clicked = vec![0u64; afd.len()];
        let mut bytes = [0u64; 2];
        let mut evs: Vec<libc::epoll_event> = vec![libc::epoll_event { events: 0, u64: 0 }; 256];
        let mut buf = [0u8; 2048];
        let mut ctl = [0u8; 256];
        while !shr.stop.load(Relaxed) {
            let k = unsafe { libc::epoll_wait(ep, evs.as_mut_ptr(), 256, 20) };
            for e in evs.iter().take(k.max(0) as usize) {
                let id = e.u64;
                let (call, side) = ((id >> 1) as usize, (id & 1) as usize);
                let fd = if side == 0 { afd[call] } else { bfd[call] };
                let mut iov = libc::iovec {
                    iov_base: buf.as_mut_ptr() as *mut _,
                    iov_len: buf.len(),
                };
                let mut mh: libc::msghdr = unsafe { std::mem::zeroed() };
                mh.msg_iov = &mut iov;
                mh.msg_iovlen = 1;
                mh.msg_control = ctl.as_mut_ptr() as *mut _;
                mh.msg_controllen = ctl.len();
                let r = unsafe { libc::recvmsg(fd, &mut mh, 0) };
                if r < 12 {
                    continue;
                }
                let r = r as usize;
                if (192..=223).contains(&(buf[1] as u32)) {
                    continue; // RTCP muxed
                }
                let mut rx = now_ns();
                unsafe {
                    let c = libc::CMSG_FIRSTHDR(&mh);
                    if !c.is_null() && (*c).cmsg_type == libc::SCM_TIMESTAMPNS {
                        let ts: libc::timespec =
                            std::ptr::read_unaligned(libc::CMSG_DATA(c) as *const _);
                        rx = ts.tv_sec as u64 * 1_000_000_000 + ts.tv_nsec as u64;
                    }
                }
                let (w0, w1) = (shr.w0.load(Relaxed), shr.w1.load(Relaxed));
                if side == 1 && echo {
                    if let Some((to, pt)) = btx.get(&call) {
                        if buf[1] & 0x7f != *pt {
                            badpt += 1;
                            continue;
                        }
                        let s = bseq[call];
                        buf[0] = 0x80;
                        buf[1] = pt | if s == 0 { 0x80 } else { 0 };
                        buf[2..4].copy_from_slice(&s.to_be_bytes());
                        buf[4..8].copy_from_slice(&(s as u32).wrapping_mul(bstep).to_be_bytes());
                        buf[8..12].copy_from_slice(&(0x0b00_0000u32 + call as u32).to_be_bytes());
                        bseq[call] = s.wrapping_add(1);
                        unsafe {
                            libc::sendto(
                                fd,
                                buf.as_ptr() as *const _,
                                r,
                                0,
                                to as *const _ as *const _,
                                16,
                            )
                        };
                    }
                    if rx >= w0 && rx < w1 {
                        got[1] += 1;
                        bytes[1] += r as u64 - 12;
                    }
                    continue;
                }
                match mark {
                    Mark::Stamp => match get_stamp(&buf[12..r]) {
                        Some(t) => {
                            if t >= w0 && t < w1 {
                                got[side] += 1;
                                bytes[side] += r as u64 - 12;
                                lat[side].push((rx as f64 - t as f64) / 1e6);
                            }
                        }
                        None => altered += 1,
                    },
                    _ => {
                        if rx >= w0 && rx < w1 {
                            got[side] += 1;
                            bytes[side] += r as u64 - 12;
                        }
                        if mark == Mark::Click && side == 0 {
                            let t = shr.click[call].load(Relaxed);
                            if t >= w0
                                && t < w1
                                && clicked[call] != t
                                && let Some(k) =
                                    buf[12..r].iter().position(|u| ulaw2lin(*u).abs() > 5000)
                            {
                                clicked[call] = t;
                                lat[0].push((rx as f64 - t as f64) / 1e6 + k as f64 / 8.0);
                            }
                        }
                    }
                }
            }
        }
        (lat, got, altered, badpt, bytes)
    });
    let hold = |sip: &mut Sip, s: f64| {
        let t = Instant::now();
        while t.elapsed().as_secs_f64() < s {
            sip.pump(20)
        }
    };
    hold(&mut sip, warm);
    let pids = tree(&roots);
    let me = [std::process::id() as i32];
    let (c0, g0, r0) = (cpu_s(&pids), cpu_s(&me), Instant::now());
    sh.w0.store(now_ns(), Relaxed);
    hold(&mut sip, secs);
    sh.w1.store(now_ns(), Relaxed);
    let (c1, g1, el) = (cpu_s(&pids), cpu_s(&me), r0.elapsed().as_secs_f64());
    let mem1 = mem_kb(&pids);
    hold(&mut sip, 0.4);
    sh.stop.store(true, Relaxed);
    sender.join().unwrap();
    let (lat, got, altered, badpt, bytes) = receiver.join().unwrap();
    // ---- hang up
    for (k, &i) in up.iter().enumerate() {
        let m = sip.in_dialog(i, "BYE", 2);
        let _ = sip.uac.send_to(m.as_bytes(), sip.target);
        let c = &mut sip.calls[i];
        c.bye_sent = true;
        c.last_tx = Some(Instant::now());
        c.tries = 1;
        sip.pump(if k % 4 == 0 { 5 } else { 0 });
    }
    let t = Instant::now();
    while up.iter().any(|&i| !sip.calls[i].done) && t.elapsed().as_secs_f64() < 5.0 {
        sip.pump(5);
    }
    let undone = up.iter().filter(|&&i| !sip.calls[i].done).count();
    let ssec = 2.0 * up.len() as f64 * el;
    let sent = sh.sent.load(Relaxed);
    let expect = if echo {
        [sent, sent]
    } else {
        [sent / 2, sent / 2]
    };
    let mut all: Vec<f64> = lat[0].iter().chain(lat[1].iter()).copied().collect();
    let f = |v: &mut Vec<f64>| {
        format!(
            "{{\"n\":{},\"p50\":{:.3},\"p99\":{:.3},\"p999\":{:.3},\"max\":{:.3}}}",
            v.len(),
            pct(v, 0.5),
            pct(v, 0.99),
            pct(v, 0.999),
            pct(v, 1.0)
        )
    };
    let mut s = sip.setup_ms.clone();
    println!(
        "{{\"label\":\"{}\",\"calls\":{},\"up\":{},\"streams\":{},\"secs\":{:.2},\"a\":\"{:?}\",\"b\":\"{:?}\",\"echo\":{},\"cpu_s\":{:.3},\"cpu_per_1000_stream_s\":{:.4},\"gen_cpu_s\":{:.2},\"sent\":{},\"got_a\":{},\"got_b\":{},\"loss_a\":{:.5},\"loss_b\":{:.5},\"altered\":{},\"badpt\":{},\"mean_payload_a\":{:.1},\"mean_payload_b\":{:.1},\"latency_ms\":{},\"sender_late_max_ms\":{:.3},\"setup_ms\":{{\"p50\":{:.2},\"p99\":{:.2}}},\"setup_cpu_s\":{:.3},\"rss_kb\":[{},{}],\"pss_kb\":[{},{}],\"bye_unanswered\":{},\"notes\":\"{}\"}}",
        args.s("label", ""),
        n,
        up.len(),
        nstreams,
        el,
        a,
        b,
        echo,
        c1 - c0,
        (c1 - c0) / ssec * 1000.0,
        g1 - g0,
        sent,
        got[0],
        got[1],
        1.0 - got[0] as f64 / expect[0].max(1) as f64,
        1.0 - got[1] as f64 / expect[1].max(1) as f64,
        altered,
        badpt,
        bytes[0] as f64 / got[0].max(1) as f64,
        bytes[1] as f64 / got[1].max(1) as f64,
        f(&mut all),
        sh.late_max.load(Relaxed) as f64 / 1e6,
        pct(&mut s, 0.5),
        pct(&mut s, 0.99),
        cpu_setup1 - cpu_setup0,
        mem0.0,
        mem1.0,
        mem0.1,
        mem1.1,
        undone,
        format!("{:?}", sip.note).replace('"', "'")
    );
}
