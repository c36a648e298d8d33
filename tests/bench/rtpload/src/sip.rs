//! Both ends of every call: just enough SIP to set up, keep and end them.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Codec {
    Pcmu,
    Pcma,
    G722,
    Opus,
}
impl Codec {
    pub fn parse(s: &str) -> Codec {
        match s.to_uppercase().as_str() {
            "PCMU" => Codec::Pcmu,
            "PCMA" => Codec::Pcma,
            "G722" => Codec::G722,
            "OPUS" => Codec::Opus,
            o => panic!("codec {o}"),
        }
    }
    pub fn pt(self) -> u8 {
        match self {
            Codec::Pcmu => 0,
            Codec::Pcma => 8,
            Codec::G722 => 9,
            Codec::Opus => 96,
        }
    }
    pub fn map(self) -> &'static str {
        match self {
            Codec::Pcmu => "PCMU/8000",
            Codec::Pcma => "PCMA/8000",
            Codec::G722 => "G722/8000",
            Codec::Opus => "opus/48000/2",
        }
    }
    pub fn step(self) -> u32 {
        if self == Codec::Opus { 960 } else { 160 }
    }
}
pub fn hdrs<'a>(m: &'a str, name: &str) -> Vec<&'a str> {
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
pub fn hdr<'a>(m: &'a str, n: &str) -> &'a str {
    hdrs(m, n).first().copied().unwrap_or("")
}
pub fn uri_of(v: &str) -> String {
    match (v.find('<'), v.find('>')) {
        (Some(a), Some(b)) if a < b => v[a + 1..b].to_string(),
        _ => v.split(';').next().unwrap().to_string(),
    }
}
pub fn sdp_media(m: &str, want: Codec) -> Option<(SocketAddr, u8)> {
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
pub fn sdp(ip: &str, port: u16, c: Codec, pt: u8) -> String {
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
pub struct Call {
    pub a_remote: Option<SocketAddr>,
    pub b_remote: Option<SocketAddr>,
    pub b_pt: u8,
    pub to: String,
    pub routes: Vec<String>,
    pub target: String,
    pub invite: String,
    pub started: Option<Instant>,
    pub last_tx: Option<Instant>,
    pub tries: u32,
    pub prov: bool,
    pub up: bool,
    pub failed: Option<String>,
    pub bye_sent: bool,
    pub done: bool,
    // callee
    pub answer: Option<(String, SocketAddr)>,
    pub acked: bool,
    pub ans_tx: Option<Instant>,
}

pub struct Args(pub HashMap<String, String>);
impl Args {
    pub fn s(&self, k: &str, d: &str) -> String {
        self.0.get(k).cloned().unwrap_or(d.to_string())
    }
    pub fn n(&self, k: &str, d: f64) -> f64 {
        self.0.get(k).map(|v| v.parse().unwrap()).unwrap_or(d)
    }
}

pub struct Sip {
    pub uac: UdpSocket,
    pub uas: UdpSocket,
    pub target: SocketAddr,
    pub ip: String,
    pub a: Codec,
    pub b: Codec,
    pub abase: u16,
    pub bbase: u16,
    pub tag: String,
    pub calls: Vec<Call>,
    pub by_id: HashMap<String, usize>,
    pub setup_ms: Vec<f64>,
    pub note: HashMap<String, u32>,
}
impl Sip {
    pub fn invite(&mut self, i: usize) {
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
    pub fn in_dialog(&self, i: usize, method: &str, cseq: u32) -> String {
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
    pub fn reply(m: &str, code: u16, reason: &str, tag: &str, contact: &str, body: &str) -> String {
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
    pub fn on_request(&mut self, m: &str, from: SocketAddr, caller_side: bool) {
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
    pub fn on_response(&mut self, m: &str) {
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
    pub fn pump(&mut self, wait_ms: i32) {
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
