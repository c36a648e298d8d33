//! Descriptions as simple peers write them. Written here by hand, so that our own writer is
//! not its own judge.

use std::net::SocketAddr;

/// Static payload types, telephone-event as 101, and a direction (`sendrecv`, …).
pub fn describe(address: SocketAddr, version: u32, payloads: &[u8], direction: &str) -> String {
    let ip = address.ip();
    let list: Vec<String> = payloads.iter().map(u8::to_string).collect();
    let mut text = format!(
        "v=0\r\no=- 77 {version} IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio 40000 RTP/AVP {} 101\r\n",
        list.join(" ")
    );
    for payload in payloads {
        let name = match payload {
            0 => "PCMU",
            8 => "PCMA",
            9 => "G722",
            18 => "G729",
            other => panic!("no name for payload type {other}"),
        };
        text += &format!("a=rtpmap:{payload} {name}/8000\r\n");
    }
    text + &format!("a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na={direction}\r\n")
}

/// The payload types of the first audio stream.
pub fn payloads(body: &str) -> Vec<u8> {
    let line = body
        .lines()
        .find(|line| line.starts_with("m=audio"))
        .unwrap_or("");
    line.split_whitespace()
        .skip(3)
        .filter_map(|pt| pt.parse().ok())
        .collect()
}

pub fn direction(body: &str) -> &str {
    ["sendonly", "recvonly", "inactive"]
        .into_iter()
        .find(|direction| body.lines().any(|line| line == format!("a={direction}")))
        .unwrap_or("sendrecv")
}

/// What answers this direction when the answerer wants all it can have.
pub fn mirrored(direction: &str) -> &'static str {
    match direction {
        "sendonly" => "recvonly",
        "recvonly" => "sendonly",
        "inactive" => "inactive",
        _ => "sendrecv",
    }
}
