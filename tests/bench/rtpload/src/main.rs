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
use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

fn now_ns() -> u64 {
    let mut t = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &mut t) };
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

// ---------------------------------------------------------------- /proc
fn tree(roots: &[i32]) -> Vec<i32> {
    let mut kids: HashMap<i32, Vec<i32>> = HashMap::new();
    for e in std::fs::read_dir("/proc").unwrap().flatten() {
        if let Ok(p) = e.file_name().to_string_lossy().parse::<i32>()
            && let Ok(s) = std::fs::read_to_string(format!("/proc/{p}/stat"))
            && let Some(r) = s.rfind(')')
        {
            let f: Vec<&str> = s[r + 2..].split(' ').collect();
            kids.entry(f[1].parse().unwrap_or(0)).or_default().push(p);
        }
    }
    let mut out = vec![];
    let mut q: Vec<i32> = roots.to_vec();
    while let Some(p) = q.pop() {
        if !out.contains(&p) {
            out.push(p);
            if let Some(k) = kids.get(&p) {
                q.extend(k);
            }
        }
    }
    out
}
fn cpu_s(pids: &[i32]) -> f64 {
    let mut t = 0u64;
    for p in pids {
        if let Ok(s) = std::fs::read_to_string(format!("/proc/{p}/stat"))
            && let Some(r) = s.rfind(')')
        {
            let f: Vec<&str> = s[r + 2..].split(' ').collect();
            t += f[11].parse::<u64>().unwrap_or(0) + f[12].parse::<u64>().unwrap_or(0);
        }
    }
    t as f64 / unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64
}
fn mem_kb(pids: &[i32]) -> (u64, u64) {
    let (mut rss, mut pss) = (0, 0);
    for p in pids {
        if let Ok(s) = std::fs::read_to_string(format!("/proc/{p}/smaps_rollup")) {
            for l in s.lines() {
                let v = || {
                    l.split_whitespace()
                        .nth(1)
                        .and_then(|x| x.parse::<u64>().ok())
                        .unwrap_or(0)
                };
                if l.starts_with("Rss:") {
                    rss += v()
                }
                if l.starts_with("Pss:") {
                    pss += v()
                }
            }
        }
    }
    (rss, pss)
}

// ---------------------------------------------------------------- audio
fn lin2ulaw(x: i32) -> u8 {
    let s = if x < 0 { 0x80u8 } else { 0 };
    let m = x.abs().min(32635) + 132;
    let mut e = 7;
    while e > 0 && m & (0x80 << e) == 0 {
        e -= 1
    }
    !(s | (e as u8) << 4 | ((m >> (e + 3)) & 15) as u8)
}
fn ulaw2lin(u: u8) -> i32 {
    let u = !u;
    let t = (((u as i32 & 15) << 3) + 132) << ((u as i32 >> 4) & 7);
    if u & 0x80 != 0 { 132 - t } else { t - 132 }
}
fn lin2alaw(x: i32) -> u8 {
    let s = if x >= 0 { 0x80u8 } else { 0 };
    let m = (if x < 0 { -x - 1 } else { x }).min(32767) >> 3;
    let v = if m < 32 {
        (m >> 1) as u8
    } else {
        let mut e = 1;
        while m >> e >= 32 {
            e += 1
        }
        ((e as u8) << 4) | ((m >> e) & 15) as u8
    };
    (s | v) ^ 0x55
}
/// 10 s of something with the statistics of speech: voiced syllables of
/// wandering pitch, fricative noise, pauses.
fn speech() -> Vec<i16> {
    let (mut seed, mut ph) = (12345u32, 0f64);
    let mut rnd = move || {
        seed = seed.wrapping_mul(1664525).wrapping_add(1013904223);
        (seed >> 8) as f64 / (1u32 << 24) as f64
    };
    let mut v = Vec::with_capacity(80_000);
    while v.len() < 80_000 {
        let n = (8000.0 * (0.12 + 0.2 * rnd())) as usize;
        let kind = rnd();
        let (f0, f1, f2) = (
            100.0 + 100.0 * rnd(),
            300.0 + 500.0 * rnd(),
            900.0 + 1400.0 * rnd(),
        );
        for i in 0..n {
            let env = (std::f64::consts::PI * i as f64 / n as f64).sin();
            let mut x = 0.0;
            if kind < 0.65 {
                let f = f0 * (1.0 + 0.1 * (i as f64 / n as f64));
                ph += f / 8000.0;
                for h in 1..16 {
                    let fr = f * h as f64;
                    let g = (-((fr - f1) / 150.0).powi(2)).exp()
                        + 0.5 * (-((fr - f2) / 200.0).powi(2)).exp()
                        + 0.05;
                    x += g * (2.0 * std::f64::consts::PI * ph * h as f64).sin();
                }
                x *= 5000.0;
            } else if kind < 0.85 {
                x = 3000.0 * (rnd() - 0.5);
            } else {
                x = 30.0 * (rnd() - 0.5);
            }
            v.push((env * x).clamp(-30000.0, 30000.0) as i16);
        }
    }
    v.truncate(80_000);
    v
}

// ---------------------------------------------------------------- SIP
#[derive(Clone, Copy, PartialEq, Debug)]
enum Codec {
    Pcmu,
    Pcma,
    G722,
    Opus,
}
impl Codec {
    fn parse(s: &str) -> Codec {
        match s.to_uppercase().as_str() {
            "PCMU" => Codec::Pcmu,
            "PCMA" => Codec::Pcma,
            "G722" => Codec::G722,
            "OPUS" => Codec::Opus,
            o => panic!("codec {o}"),
        }
    }
    fn pt(self) -> u8 {
        match self {
            Codec::Pcmu => 0,
            Codec::Pcma => 8,
            Codec::G722 => 9,
            Codec::Opus => 96,
        }
    }
    fn map(self) -> &'static str {
        match self {
            Codec::Pcmu => "PCMU/8000",
            Codec::Pcma => "PCMA/8000",
            Codec::G722 => "G722/8000",
            Codec::Opus => "opus/48000/2",
        }
    }
    fn step(self) -> u32 {
        if self == Codec::Opus { 960 } else { 160 }
    }
}
fn hdrs<'a>(m: &'a str, name: &str) -> Vec<&'a str> {
    let short = match name {
        "Via" => "v",
        "From" => "f",
        "To" => "t",
        "Call-ID" => "i",
        "Contact" => "m",
        _ => "~",
    };
    m.split("\r\n\r\n")
        .next()
        .unwrap()
        .split("\r\n")
        .skip(1)
        .filter_map(|l| {
            let (n, v) = l.split_once(':')?;
            let n = n.trim();
            (n.eq_ignore_ascii_case(name) || n.eq_ignore_ascii_case(short)).then(|| v.trim())
        })
        .collect()
}
fn hdr<'a>(m: &'a str, n: &str) -> &'a str {
    hdrs(m, n).first().copied().unwrap_or("")
}
fn uri_of(v: &str) -> String {
    match (v.find('<'), v.find('>')) {
        (Some(a), Some(b)) if a < b => v[a + 1..b].to_string(),
        _ => v.split(';').next().unwrap().to_string(),
    }
}
fn sdp_media(m: &str, want: Codec) -> Option<(SocketAddr, u8)> {
    let body = m.split_once("\r\n\r\n")?.1;
    let (mut ip, mut port, mut pts, mut in_audio) = (None, 0u16, vec![], false);
    let mut dynpt = None;
    for l in body.lines() {
        let l = l.trim_end();
        if let Some(c) = l.strip_prefix("c=IN IP4 ") {
            if ip.is_none() || in_audio {
                ip = Some(c.split(['/', ' ']).next()?.to_string())
            }
        } else if let Some(r) = l.strip_prefix("m=") {
            in_audio = r.starts_with("audio") && port == 0;
            if in_audio {
                let f: Vec<&str> = r.split(' ').collect();
                port = f[1].parse().ok()?;
                pts = f[3..].iter().filter_map(|x| x.parse::<u8>().ok()).collect();
            }
        } else if let Some(r) = l.strip_prefix("a=rtpmap:")
            && in_audio
        {
            let (p, n) = r.split_once(' ')?;
            let w = want.map().split('/').next().unwrap();
            if n.split('/').next().unwrap().eq_ignore_ascii_case(w) && dynpt.is_none() {
                dynpt = p.parse().ok();
            }
        }
    }
    let pt = dynpt.or_else(|| pts.iter().copied().find(|p| *p == want.pt() && *p < 96));
    Some((format!("{}:{}", ip?, port).parse().ok()?, pt.unwrap_or(255)))
}
fn sdp(ip: &str, port: u16, c: Codec, pt: u8) -> String {
    let mut s = format!(
        "v=0\r\no=rtpload 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP {pt}\r\na=rtpmap:{pt} {}\r\n",
        c.map()
    );
    if c == Codec::Opus {
        s += &format!("a=fmtp:{pt} useinbandfec=0; stereo=0; sprop-stereo=0\r\n");
    }
    s + "a=ptime:20\r\na=sendrecv\r\n"
}

#[derive(Default, Clone)]
struct Call {
    a_remote: Option<SocketAddr>,
    b_remote: Option<SocketAddr>,
    b_pt: u8,
    to: String,
    routes: Vec<String>,
    target: String,
    invite: String,
    started: Option<Instant>,
    last_tx: Option<Instant>,
    tries: u32,
    prov: bool,
    up: bool,
    failed: Option<String>,
    bye_sent: bool,
    done: bool,
    // callee
    answer: Option<(String, SocketAddr)>,
    acked: bool,
    ans_tx: Option<Instant>,
}

struct Args(HashMap<String, String>);
impl Args {
    fn s(&self, k: &str, d: &str) -> String {
        self.0.get(k).cloned().unwrap_or(d.to_string())
    }
    fn n(&self, k: &str, d: f64) -> f64 {
        self.0.get(k).map(|v| v.parse().unwrap()).unwrap_or(d)
    }
}

struct Sip {
    uac: UdpSocket,
    uas: UdpSocket,
    target: SocketAddr,
    ip: String,
    a: Codec,
    b: Codec,
    abase: u16,
    bbase: u16,
    tag: String,
    calls: Vec<Call>,
    by_id: HashMap<String, usize>,
    setup_ms: Vec<f64>,
    note: HashMap<String, u32>,
}
impl Sip {
    fn invite(&mut self, i: usize) {
        let (ip, ap) = (&self.ip, self.uac.local_addr().unwrap().port());
        let cid = format!("{}-{}@{}", self.tag, i, ip);
        let body = sdp(ip, self.abase + 2 * i as u16, self.a, self.a.pt());
        let m = format!(
            "INVITE sip:b{i:05}@{t} SIP/2.0\r\nVia: SIP/2.0/UDP {ip}:{ap};branch=z9hG4bK{tag}i{i};rport\r\nFrom: <sip:a{i:05}@{ip}:{ap}>;tag=a{i}{tag}\r\nTo: <sip:b{i:05}@{t}>\r\nCall-ID: {cid}\r\nCSeq: 1 INVITE\r\nContact: <sip:a{i:05}@{ip}:{ap}>\r\nMax-Forwards: 70\r\nAllow: INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE\r\nContent-Type: application/sdp\r\nContent-Length: {l}\r\n\r\n{body}",
            t = self.target,
            tag = self.tag,
            l = body.len()
        );
        let c = &mut self.calls[i];
        c.invite = m.clone();
        c.started = Some(Instant::now());
        c.last_tx = c.started;
        c.tries = 1;
        self.by_id.insert(cid, i);
        let _ = self.uac.send_to(m.as_bytes(), self.target);
    }
    fn in_dialog(&self, i: usize, method: &str, cseq: u32) -> String {
        let c = &self.calls[i];
        let (ip, ap) = (&self.ip, self.uac.local_addr().unwrap().port());
        let mut r = String::new();
        for x in &c.routes {
            r += &format!("Route: {x}\r\n");
        }
        format!(
            "{method} {t} SIP/2.0\r\nVia: SIP/2.0/UDP {ip}:{ap};branch=z9hG4bK{tag}{method}{i};rport\r\n{r}From: <sip:a{i:05}@{ip}:{ap}>;tag=a{i}{tag}\r\nTo: {to}\r\nCall-ID: {tag}-{i}@{ip}\r\nCSeq: {cseq} {method}\r\nContact: <sip:a{i:05}@{ip}:{ap}>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
            t = c.target,
            tag = self.tag,
            to = c.to
        )
    }
    fn reply(m: &str, code: u16, reason: &str, tag: &str, contact: &str, body: &str) -> String {
        let mut s = format!("SIP/2.0 {code} {reason}\r\n");
        for v in hdrs(m, "Via") {
            s += &format!("Via: {v}\r\n")
        }
        for v in hdrs(m, "Record-Route") {
            s += &format!("Record-Route: {v}\r\n")
        }
        let to = hdr(m, "To");
        let to = if to.contains(";tag=") || tag.is_empty() {
            to.to_string()
        } else {
            format!("{to};tag={tag}")
        };
        s += &format!(
            "From: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {}\r\nContact: <{contact}>\r\n",
            hdr(m, "From"),
            hdr(m, "Call-ID"),
            hdr(m, "CSeq")
        );
        if !body.is_empty() {
            s += "Content-Type: application/sdp\r\n"
        }
        s + &format!("Content-Length: {}\r\n\r\n{body}", body.len())
    }
    fn on_request(&mut self, m: &str, from: SocketAddr, caller_side: bool) {
        let method = m.split(' ').next().unwrap();
        let sock = if caller_side { &self.uac } else { &self.uas };
        let contact = format!("sip:b@{}", sock.local_addr().unwrap());
        match method {
            "INVITE" if !caller_side => {
                let ruri = m.split(' ').nth(1).unwrap_or("");
                let u = ruri
                    .trim_start_matches("sip:")
                    .split('@')
                    .next()
                    .unwrap_or("");
                let Some(i) = u.strip_prefix('b').and_then(|x| x.parse::<usize>().ok()) else {
                    let r = Self::reply(m, 404, "Not Found", "x", &contact, "");
                    let _ = self.uas.send_to(r.as_bytes(), from);
                    return;
                };
                if i >= self.calls.len() {
                    return;
                }
                let media = sdp_media(m, self.b);
                let Some((addr, pt)) = media else {
                    *self
                        .note
                        .entry("invite without usable sdp".into())
                        .or_default() += 1;
                    return;
                };
                if pt == 255 {
                    *self
                        .note
                        .entry(format!("callee was not offered {:?}", self.b))
                        .or_default() += 1;
                    let r = Self::reply(m, 488, "Not Acceptable Here", "x", &contact, "");
                    let _ = self.uas.send_to(r.as_bytes(), from);
                    return;
                }
                let c = &mut self.calls[i];
                c.b_remote = Some(addr);
                c.b_pt = pt;
                let body = sdp(&self.ip, self.bbase + 2 * i as u16, self.b, pt);
                let tag = format!("b{i}{}", self.tag);
                if c.answer.is_none() {
                    let r = Self::reply(m, 180, "Ringing", &tag, &contact, "");
                    let _ = self.uas.send_to(r.as_bytes(), from);
                }
                let r = Self::reply(m, 200, "OK", &tag, &contact, &body);
                let _ = self.uas.send_to(r.as_bytes(), from);
                c.acked = false;
                c.answer = Some((r, from));
                c.ans_tx = Some(Instant::now());
            }
            "INVITE" | "UPDATE" if caller_side => {
                let i = self.by_id.get(hdr(m, "Call-ID")).copied();
                *self
                    .note
                    .entry(format!("{method} to the caller"))
                    .or_default() += 1;
                let body = match i {
                    Some(i) if m.contains("m=audio") => {
                        sdp(&self.ip, self.abase + 2 * i as u16, self.a, self.a.pt())
                    }
                    _ => String::new(),
                };
                let r = Self::reply(m, 200, "OK", "", &contact, &body);
                let _ = self.uac.send_to(r.as_bytes(), from);
            }
            "ACK" => {
                if !caller_side {
                    // the call is found by our own To tag
                    if let Some(t) = hdr(m, "To").split(";tag=b").nth(1)
                        && let Some(n) = t
                            .split(&self.tag)
                            .next()
                            .and_then(|x| x.parse::<usize>().ok())
                        && n < self.calls.len()
                    {
                        self.calls[n].acked = true;
                    }
                }
            }
            _ => {
                if method == "BYE" && caller_side {
                    *self
                        .note
                        .entry("BYE from the box to the caller".into())
                        .or_default() += 1;
                }
                let r = Self::reply(m, 200, "OK", "x", &contact, "");
                let _ = sock.send_to(r.as_bytes(), from);
            }
        }
    }
    fn on_response(&mut self, m: &str) {
        let code: u16 = m
            .split(' ')
            .nth(1)
            .and_then(|x| x.parse().ok())
            .unwrap_or(0);
        let Some(&i) = self.by_id.get(hdr(m, "Call-ID")) else {
            return;
        };
        let cseq = hdr(m, "CSeq");
        if cseq.ends_with("INVITE") {
            if code < 200 {
                self.calls[i].prov = true;
            } else if code < 300 {
                if !self.calls[i].up {
                    let md = sdp_media(m, self.a);
                    let c = &mut self.calls[i];
                    c.to = hdr(m, "To").to_string();
                    c.target = uri_of(hdr(m, "Contact"));
                    c.routes = hdrs(m, "Record-Route")
                        .iter()
                        .rev()
                        .map(|s| s.to_string())
                        .collect();
                    match md {
                        Some((addr, pt)) if pt != 255 => c.a_remote = Some(addr),
                        _ => c.failed = Some("answer lacks the caller's codec".into()),
                    }
                    c.up = true;
                    self.setup_ms
                        .push(c.started.unwrap().elapsed().as_secs_f64() * 1e3);
                }
                let ack = self.in_dialog(i, "ACK", 1);
                let _ = self.uac.send_to(ack.as_bytes(), self.target);
            } else {
                let c = &mut self.calls[i];
                c.failed = Some(format!("{code}"));
                c.up = true;
                c.done = true;
                c.to = hdr(m, "To").to_string();
                c.target = c.invite.split(' ').nth(1).unwrap().to_string();
                let mut ack = self.in_dialog(i, "ACK", 1);
                ack = ack.replace(
                    &format!("z9hG4bK{}ACK{}", self.tag, i),
                    &format!("z9hG4bK{}i{}", self.tag, i),
                );
                let _ = self.uac.send_to(ack.as_bytes(), self.target);
            }
        } else if cseq.ends_with("BYE") && code >= 200 {
            self.calls[i].done = true;
        }
    }
    fn pump(&mut self, wait_ms: i32) {
        let mut fds = [
            libc::pollfd {
                fd: self.uac.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            },
            libc::pollfd {
                fd: self.uas.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            },
        ];
        unsafe { libc::poll(fds.as_mut_ptr(), 2, wait_ms) };
        let mut buf = [0u8; 65536];
        for side in 0..2 {
            for _ in 0..1000 {
                let r = if side == 0 {
                    self.uac.recv_from(&mut buf)
                } else {
                    self.uas.recv_from(&mut buf)
                };
                let (n, from) = match r {
                    Ok(x) => x,
                    Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                    Err(_) => break,
                };
                if n < 16 {
                    continue;
                }
                let m = String::from_utf8_lossy(&buf[..n]).into_owned();
                if m.starts_with("SIP/2.0") {
                    if side == 0 {
                        self.on_response(&m)
                    }
                } else {
                    self.on_request(&m, from, side == 0)
                }
            }
        }
        // retransmissions
        let t = Instant::now();
        for i in 0..self.calls.len() {
            let c = &self.calls[i];
            if let Some(l) = c.last_tx {
                let gap = Duration::from_millis(500u64 << c.tries.min(6).saturating_sub(1));
                if !c.up && !c.prov && t - l > gap && c.tries < 7 {
                    let m = c.invite.clone();
                    let _ = self.uac.send_to(m.as_bytes(), self.target);
                    self.calls[i].last_tx = Some(t);
                    self.calls[i].tries += 1;
                    *self.note.entry("INVITE retransmitted".into()).or_default() += 1;
                } else if c.bye_sent && !c.done && t - l > gap && c.tries < 7 {
                    let m = self.in_dialog(i, "BYE", 2);
                    let _ = self.uac.send_to(m.as_bytes(), self.target);
                    self.calls[i].last_tx = Some(t);
                    self.calls[i].tries += 1;
                    *self.note.entry("BYE retransmitted".into()).or_default() += 1;
                }
            }
            let c = &self.calls[i];
            if let (Some((r, to)), Some(l)) = (&c.answer, c.ans_tx)
                && !c.acked
                && t - l > Duration::from_millis(500)
            {
                let _ = self.uas.send_to(r.as_bytes(), *to);
                self.calls[i].ans_tx = Some(t);
                *self.note.entry("200 retransmitted".into()).or_default() += 1;
            }
        }
    }
}

// ---------------------------------------------------------------- RTP
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
