//! A user agent that does what a test tells it, message by message and packet by packet.
//! It shares no code with the product, so that both cannot be wrong in the same way.

use super::free_port;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

pub struct Ua {
    pub sip: UdpSocket,
    pub rtp: UdpSocket,
    pub name: String,
    cseq: u32,
    serial: u32,
}

/// A SIP message as text; headers are looked up without case, in their long form.
#[derive(Debug, Clone)]
pub struct Message {
    pub text: String,
    pub from: SocketAddr,
}

impl Message {
    pub fn first_line(&self) -> &str {
        self.text.split("\r\n").next().unwrap_or("")
    }

    /// 0 for a request.
    pub fn status(&self) -> u16 {
        self.first_line()
            .strip_prefix("SIP/2.0 ")
            .and_then(|l| l.get(..3))
            .and_then(|c| c.parse().ok())
            .unwrap_or(0)
    }

    pub fn method(&self) -> &str {
        self.first_line().split(' ').next().unwrap_or("")
    }

    pub fn headers(&self, name: &str) -> Vec<&str> {
        let head = self.text.split("\r\n\r\n").next().unwrap_or("");
        head.split("\r\n")
            .skip(1)
            .filter_map(|l| l.split_once(':'))
            .filter(|(n, _)| n.trim().eq_ignore_ascii_case(name))
            .map(|(_, v)| v.trim())
            .collect()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers(name).first().copied().unwrap_or("")
    }

    pub fn body(&self) -> &str {
        self.text.split_once("\r\n\r\n").map_or("", |(_, b)| b)
    }

    /// The URI of Contact.
    pub fn contact(&self) -> String {
        let value = self.header("Contact");
        value
            .split_once('<')
            .and_then(|(_, r)| r.split_once('>'))
            .map_or(value, |(u, _)| u)
            .to_owned()
    }

    /// Where its SDP wants audio.
    pub fn media(&self) -> SocketAddr {
        let line = |prefix: &str| {
            self.body()
                .lines()
                .find_map(|l| l.strip_prefix(prefix))
                .unwrap_or_else(|| panic!("no {prefix} in {}", self.text))
        };
        let ip = line("c=IN IP4 ").trim().to_owned();
        let port = line("m=audio ").split(' ').next().unwrap_or("").to_owned();
        format!("{ip}:{port}")
            .parse()
            .expect("an address in the SDP")
    }

    /// Payload types of its audio line, in order.
    pub fn payloads(&self) -> Vec<u8> {
        let line = self
            .body()
            .lines()
            .find_map(|l| l.strip_prefix("m=audio "))
            .unwrap_or("");
        line.split_whitespace()
            .skip(2)
            .filter_map(|p| p.parse().ok())
            .collect()
    }
}

/// What a dialog needs to go on.
#[derive(Debug, Clone)]
pub struct Dialog {
    pub call_id: String,
    pub local: String,
    pub remote: String,
    pub target: String,
    pub peer: SocketAddr,
    pub routes: Vec<String>,
    pub invite_cseq: u32,
    pub branch: String,
    pub request_uri: String,
}

impl Default for Ua {
    fn default() -> Self {
        Self::new("ua")
    }
}

impl Ua {
    pub fn new(name: &str) -> Ua {
        Self::at(name, free_port())
    }

    pub fn at(name: &str, port: u16) -> Ua {
        Self::bound(name, "127.0.0.1", port)
    }

    /// On another loopback address.
    pub fn on(name: &str, ip: &str) -> Ua {
        Self::bound(name, ip, free_port())
    }

    fn bound(name: &str, ip: &str, port: u16) -> Ua {
        let sip = UdpSocket::bind((ip, port)).expect("a SIP port");
        let rtp = UdpSocket::bind((ip, free_port())).expect("an RTP port");
        Ua {
            sip,
            rtp,
            name: name.to_owned(),
            cseq: 0,
            serial: 0,
        }
    }

    pub fn ip(&self) -> String {
        self.sip.local_addr().expect("bound").ip().to_string()
    }

    pub fn port(&self) -> u16 {
        self.sip.local_addr().expect("bound").port()
    }

    pub fn uri(&self) -> String {
        format!("sip:{}@{}:{}", self.name, self.ip(), self.port())
    }

    /// SDP for this agent's RTP port, e.g. `&["0 PCMU/8000", "101 telephone-event/8000"]`.
    pub fn sdp(&self, codecs: &[&str]) -> String {
        let port = self.rtp.local_addr().expect("bound").port();
        let ip = self.ip();
        let numbers: Vec<&str> = codecs
            .iter()
            .map(|c| c.split(' ').next().unwrap_or(""))
            .collect();
        let mut sdp = format!(
            "v=0\r\no={} 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP {}\r\n",
            self.name,
            numbers.join(" ")
        );
        for codec in codecs {
            sdp.push_str(&format!("a=rtpmap:{codec}\r\n"));
        }
        sdp.push_str("a=ptime:20\r\na=sendrecv\r\n");
        sdp
    }

    /// Sends an INVITE to `user` at the node; `extra` are header lines with their CRLF.
    pub fn invite(&mut self, node: &str, user: &str, extra: &str, sdp: &str) -> Dialog {
        self.invite_uri(node, &format!("sip:{user}@{node}"), extra, sdp)
    }

    pub fn invite_uri(&mut self, node: &str, uri: &str, extra: &str, sdp: &str) -> Dialog {
        self.serial += 1;
        self.cseq += 1;
        let id = format!("{}-{}-{}", std::process::id(), self.port(), self.serial);
        let dialog = Dialog {
            call_id: format!("{id}@{}.test", self.name),
            local: format!("<{}>;tag=t{id}", self.uri()),
            remote: format!("<{uri}>"),
            target: uri.to_owned(),
            peer: node.parse().expect("HOST:PORT"),
            routes: Vec::new(),
            invite_cseq: self.cseq,
            branch: format!("z9hG4bK{id}i"),
            request_uri: uri.to_owned(),
        };
        self.send_request(
            &dialog,
            "INVITE",
            self.cseq,
            &dialog.branch.clone(),
            extra,
            sdp,
        );
        dialog
    }

    /// Sends any request of a dialog with a new branch and the next CSeq.
    pub fn request(&mut self, dialog: &Dialog, method: &str, extra: &str, body: &str) {
        self.cseq += 1;
        let branch = format!("z9hG4bK{}{}{method}", self.port(), self.cseq);
        self.send_request(dialog, method, self.cseq, &branch, extra, body);
    }

    pub fn ack(&mut self, dialog: &Dialog, body: &str) {
        let branch = format!("z9hG4bK{}ack{}", self.port(), dialog.invite_cseq);
        self.send_request(dialog, "ACK", dialog.invite_cseq, &branch, "", body);
    }

    pub fn cancel(&mut self, dialog: &Dialog) {
        self.send_request(
            dialog,
            "CANCEL",
            dialog.invite_cseq,
            &dialog.branch.clone(),
            "",
            "",
        );
    }

    fn send_request(
        &self,
        d: &Dialog,
        method: &str,
        cseq: u32,
        branch: &str,
        extra: &str,
        body: &str,
    ) {
        let uri = if method == "CANCEL"
            || method == "INVITE" && d.routes.is_empty() && d.remote.find("tag=").is_none()
        {
            &d.request_uri
        } else {
            &d.target
        };
        let kind = match (
            body.is_empty(),
            extra.to_ascii_lowercase().contains("content-type:"),
        ) {
            (true, _) | (_, true) => "",
            _ => "Content-Type: application/sdp\r\n",
        };
        let routes: String = d.routes.iter().map(|r| format!("Route: {r}\r\n")).collect();
        let text = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {}:{};branch={branch};rport\r\n{routes}From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\n\
             Contact: <{}>\r\nMax-Forwards: 70\r\n{extra}{kind}Content-Length: {}\r\n\r\n{body}",
            self.ip(),
            self.port(),
            d.local,
            d.remote,
            d.call_id,
            self.uri(),
            body.len()
        );
        self.sip.send_to(text.as_bytes(), d.peer).expect("sent");
    }

    /// The next message; `None` where none comes in time.
    pub fn receive(&self, limit: Duration) -> Option<Message> {
        self.sip
            .set_read_timeout(Some(limit.max(Duration::from_millis(1))))
            .expect("a time-out");
        let mut buffer = vec![0; 65_535];
        let (n, from) = self.sip.recv_from(&mut buffer).ok()?;
        Some(Message {
            text: String::from_utf8_lossy(&buffer[..n]).into_owned(),
            from,
        })
    }

    /// Waits for a message that `wanted` takes; others are passed over.
    pub fn expect(&self, what: &str, wanted: impl Fn(&Message) -> bool) -> Message {
        let end = Instant::now() + Duration::from_secs(10);
        let mut seen = Vec::new();
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            let Some(message) = self.receive(left) else {
                break;
            };
            if wanted(&message) {
                return message;
            }
            seen.push(message.first_line().to_owned());
        }
        panic!("{} waited for {what}; it saw {seen:?}", self.name);
    }

    pub fn expect_request(&self, method: &str) -> Message {
        self.expect(method, |m| m.method() == method)
    }

    /// The final response to the dialog's INVITE, whatever it is; acknowledged, and the
    /// dialog brought up to date.
    pub fn final_response(&mut self, dialog: &mut Dialog) -> Message {
        let wanted = format!("{} INVITE", dialog.invite_cseq);
        let call_id = dialog.call_id.clone();
        let reply = self.expect("a final response", |m| {
            m.status() >= 200 && m.header("CSeq") == wanted && m.header("Call-ID") == call_id
        });
        dialog.remote = reply.header("To").to_owned();
        if reply.status() < 300 {
            dialog.target = reply.contact();
            dialog.routes = reply
                .headers("Record-Route")
                .into_iter()
                .rev()
                .map(str::to_owned)
                .collect();
            self.ack(dialog, "");
        } else {
            let branch = dialog.branch.clone();
            let mut ack = dialog.clone();
            ack.target = dialog.request_uri.clone();
            self.send_request(&ack, "ACK", dialog.invite_cseq, &branch, "", "");
        }
        reply
    }

    /// Answers a request. `to_tag` is set on the To header where it has none.
    pub fn reply(&self, request: &Message, status: &str, extra: &str, body: &str) {
        let vias: String = request
            .headers("Via")
            .iter()
            .map(|v| format!("Via: {v}\r\n"))
            .collect();
        let to = request.header("To");
        let tag = if to.contains("tag=") {
            String::new()
        } else {
            format!(";tag=callee{}", self.port())
        };
        let kind = if body.is_empty() {
            ""
        } else {
            "Content-Type: application/sdp\r\n"
        };
        let text = format!(
            "SIP/2.0 {status}\r\n{vias}From: {}\r\nTo: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\nContact: <{}>\r\n{extra}{kind}Content-Length: {}\r\n\r\n{body}",
            request.header("From"),
            request.header("Call-ID"),
            request.header("CSeq"),
            self.uri(),
            body.len()
        );
        self.sip
            .send_to(text.as_bytes(), request.from)
            .expect("sent");
    }

    /// The callee's side of the dialog that its 200 to `invite` made.
    pub fn dialog_of(&self, invite: &Message) -> Dialog {
        let to = invite.header("To");
        let local = if to.contains("tag=") {
            to.to_owned()
        } else {
            format!("{to};tag=callee{}", self.port())
        };
        Dialog {
            call_id: invite.header("Call-ID").to_owned(),
            local,
            remote: invite.header("From").to_owned(),
            target: invite.contact(),
            peer: invite.from,
            routes: invite
                .headers("Record-Route")
                .into_iter()
                .map(str::to_owned)
                .collect(),
            invite_cseq: 0,
            branch: String::new(),
            request_uri: invite.contact(),
        }
    }

    /// Hangs up and waits for the 200.
    pub fn bye(&mut self, dialog: &Dialog) {
        self.request(dialog, "BYE", "", "");
        let wanted = format!("{} BYE", self.cseq);
        let reply = self.expect("the answer to BYE", |m| {
            m.status() >= 200 && m.header("CSeq") == wanted
        });
        assert_eq!(reply.status(), 200, "{}", reply.text);
    }

    /// Hangs up while `other` answers the BYE that this causes at its side.
    pub fn bye_after(&mut self, dialog: &Dialog, other: &Ua) {
        self.request(dialog, "BYE", "", "");
        other.expect_bye();
        let wanted = format!("{} BYE", self.cseq);
        let reply = self.expect("the answer to BYE", |m| {
            m.status() >= 200 && m.header("CSeq") == wanted
        });
        assert_eq!(reply.status(), 200, "{}", reply.text);
    }

    /// A pseudo dialog for requests outside any dialog.
    pub fn outside(&mut self, node: &str) -> Dialog {
        self.serial += 1;
        let id = format!("{}-{}-{}", std::process::id(), self.port(), self.serial);
        Dialog {
            call_id: format!("{id}@{}.test", self.name),
            local: format!("<{}>;tag=t{id}", self.uri()),
            remote: format!("<sip:{node}>"),
            target: format!("sip:{node}"),
            peer: node.parse().expect("HOST:PORT"),
            routes: Vec::new(),
            invite_cseq: 0,
            branch: String::new(),
            request_uri: format!("sip:{node}"),
        }
    }

    /// Waits for the peer's BYE and answers it.
    pub fn expect_bye(&self) -> Message {
        let bye = self.expect_request("BYE");
        self.reply(&bye, "200 OK", "", "");
        bye
    }

    /// Sends one RTP packet.
    pub fn send_rtp(
        &self,
        to: SocketAddr,
        payload_type: u8,
        marker: bool,
        sequence: u16,
        timestamp: u32,
        ssrc: u32,
        payload: &[u8],
    ) {
        let mut packet = vec![0x80, payload_type | if marker { 0x80 } else { 0 }];
        packet.extend(sequence.to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend(ssrc.to_be_bytes());
        packet.extend(payload);
        self.rtp.send_to(&packet, to).expect("sent");
    }

    /// The next RTP packet; `None` where none comes in time.
    pub fn receive_rtp(&self, limit: Duration) -> Option<Rtp> {
        self.rtp
            .set_read_timeout(Some(limit.max(Duration::from_millis(1))))
            .expect("a time-out");
        let mut buffer = [0; 2_048];
        let (n, from) = self.rtp.recv_from(&mut buffer).ok()?;
        let b = &buffer[..n];
        (n >= 12).then(|| Rtp {
            payload_type: b[1] & 0x7f,
            marker: b[1] & 0x80 != 0,
            sequence: u16::from_be_bytes([b[2], b[3]]),
            timestamp: u32::from_be_bytes([b[4], b[5], b[6], b[7]]),
            ssrc: u32::from_be_bytes([b[8], b[9], b[10], b[11]]),
            payload: b[12..].to_vec(),
            from,
        })
    }

    /// Presses a digit for 100 ms as RFC 4733 events; gives the next sequence number.
    pub fn press(
        &self,
        to: SocketAddr,
        payload_type: u8,
        digit: char,
        sequence: u16,
        timestamp: u32,
        ssrc: u32,
    ) -> u16 {
        let event = "0123456789*#ABCD".find(digit).expect("a digit") as u8;
        let mut next = sequence;
        let mut packet = |end: bool, duration: u16, marker: bool| {
            let [high, low] = duration.to_be_bytes();
            self.send_rtp(
                to,
                payload_type,
                marker,
                next,
                timestamp,
                ssrc,
                &[event, if end { 0x8a } else { 0x0a }, high, low],
            );
            next = next.wrapping_add(1);
        };
        for step in 1..=5u16 {
            packet(false, step * 160, step == 1);
        }
        for _ in 0..3 {
            packet(true, 800, false);
        }
        next
    }
}

#[derive(Debug, Clone)]
pub struct Rtp {
    pub payload_type: u8,
    pub marker: bool,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
    pub payload: Vec<u8>,
    pub from: SocketAddr,
}
