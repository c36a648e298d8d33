//! Audio through the node, judged at the far end sample by sample.

use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tests::e2e::gatepost::{Gatepost, Setup};
use tests::e2e::ua::{Dialog, Message, Rtp, Ua};
use tests::e2e::wav;

const FRAME: usize = 160;

struct Call {
    caller: Ua,
    callee: Ua,
    dialog: Dialog,
    /// where each must send: the node's address in the other's SDP
    caller_sends_to: SocketAddr,
    callee_sends_to: SocketAddr,
    invite: Message,
    reply: Message,
    node: Gatepost,
}

fn call(caller_codecs: &[&str], callee_codecs: &[&str]) -> Call {
    let callee = Ua::new("callee");
    let node = Setup::new()
        .plugin(
            "demo",
            "static-routes",
            "static-routes",
            &format!("[bind]\ndefault = true\n[[config.rule]]\nto = \"^1\"\ndial = [\"sip:{{user}}@127.0.0.1:{}\"]\n", callee.port()),
        )
        .start();
    let mut caller = Ua::new("caller");
    let sdp = caller.sdp(caller_codecs);
    let mut dialog = caller.invite(&node.sip(), "1000", "", &sdp);
    let invite = callee.expect_request("INVITE");
    let answer = callee.sdp(callee_codecs);
    callee.reply(&invite, "200 OK", "", &answer);
    let reply = caller.final_response(&mut dialog);
    assert_eq!(reply.status(), 200, "{}", reply.text);
    callee.expect_request("ACK");
    Call {
        caller_sends_to: reply.media(),
        callee_sends_to: invite.media(),
        caller,
        callee,
        dialog,
        invite,
        reply,
        node,
    }
}

/// Sends `frames` at their pace from one side and collects what the other side gets.
fn stream(from: &Ua, to: SocketAddr, payload_type: u8, frames: &[Vec<u8>], sink: &Ua) -> Vec<Rtp> {
    let start = Instant::now();
    let mut got = Vec::new();
    for (i, frame) in frames.iter().enumerate() {
        from.send_rtp(
            to,
            payload_type,
            i == 0,
            1_000 + i as u16,
            5_000 + (i * FRAME) as u32,
            0x1234_5678,
            frame,
        );
        let next = start + Duration::from_millis(20 * (i as u64 + 1));
        while let Some(left) = next.checked_duration_since(Instant::now()) {
            if let Some(packet) = sink.receive_rtp(left) {
                got.push(packet);
            }
        }
    }
    while let Some(packet) = sink.receive_rtp(Duration::from_millis(300)) {
        got.push(packet);
    }
    got
}

fn frames(samples: &[i16], encode: fn(i16) -> u8) -> Vec<Vec<u8>> {
    samples
        .chunks_exact(FRAME)
        .map(|f| f.iter().map(|&s| encode(s)).collect())
        .collect()
}

fn assert_one_clean_stream(packets: &[Rtp]) {
    for pair in packets.windows(2) {
        assert_eq!(
            pair[1].sequence,
            pair[0].sequence.wrapping_add(1),
            "a gap in the sequence"
        );
        assert_eq!(
            pair[1].timestamp,
            pair[0].timestamp.wrapping_add(FRAME as u32),
            "a gap in time"
        );
        assert_eq!(pair[1].ssrc, pair[0].ssrc);
    }
}

#[test]
fn pcmu_to_pcmu_arrives_byte_for_byte() {
    let mut c = call(
        &["0 PCMU/8000", "101 telephone-event/8000"],
        &["0 PCMU/8000", "101 telephone-event/8000"],
    );
    let sent = frames(&wav::chirp(600), wav::to_pcmu);
    let got = stream(&c.caller, c.caller_sends_to, 0, &sent, &c.callee);
    assert_eq!(
        got.iter().map(|p| p.payload.clone()).collect::<Vec<_>>(),
        sent,
        "some frames were lost or changed"
    );
    assert_one_clean_stream(&got);
    assert_eq!(
        got[0].from, c.callee_sends_to,
        "RTP must leave from the port that the SDP names"
    );
    let back = stream(&c.callee, c.callee_sends_to, 0, &sent, &c.caller);
    assert_eq!(back.len(), sent.len());
    let (dialog, callee) = (c.dialog.clone(), &c.callee);
    c.caller.bye_after(&dialog, callee);
    let call = tests::e2e::wait_for("the call in the history", Duration::from_secs(5), || {
        c.node.history().into_iter().next()
    });
    let id = call["call_id"].as_str().expect("an id").to_owned();
    let text = c.node.get(&format!("/api/calls/{id}/events")).to_string();
    assert!(
        text.contains("\"received_packets\":30"),
        "statistics of each leg are in the journal: {text}"
    );
}

#[test]
fn pcmu_to_pcma_is_transcoded_sample_by_sample() {
    let c = call(&["0 PCMU/8000"], &["8 PCMA/8000"]);
    assert_eq!(c.reply.payloads().first(), Some(&0), "{}", c.reply.text);
    assert!(
        c.invite.payloads().contains(&8),
        "PCMA must be offered: {}",
        c.invite.text
    );
    let audio = wav::chirp(600);
    let sent = frames(&audio, wav::to_pcmu);
    let got = stream(&c.caller, c.caller_sends_to, 0, &sent, &c.callee);
    assert_eq!(got.len(), sent.len(), "some frames were lost");
    assert_one_clean_stream(&got);
    for (frame, packet) in sent.iter().zip(&got) {
        assert_eq!(packet.payload_type, 8);
        for (&u, &a) in frame.iter().zip(&packet.payload) {
            let (before, after) = (i32::from(wav::from_pcmu(u)), i32::from(wav::from_pcma(a)));
            // One A-law step at this level, and a half for the law's own rounding.
            let step = (before.abs() / 16).max(16);
            assert!((before - after).abs() <= step, "{before} became {after}");
        }
    }
    let back = stream(
        &c.callee,
        c.callee_sends_to,
        8,
        &frames(&audio, wav::to_pcma),
        &c.caller,
    );
    assert_eq!(back.len(), sent.len());
    assert!(back.iter().all(|p| p.payload_type == 0));
}

#[test]
fn a_digit_crosses_and_is_in_the_journal_once() {
    let mut c = call(
        &["0 PCMU/8000", "101 telephone-event/8000"],
        &["0 PCMU/8000", "96 telephone-event/8000"],
    );
    let silence = frames(&vec![0; FRAME * 10], wav::to_pcmu);
    stream(&c.caller, c.caller_sends_to, 0, &silence, &c.callee);
    c.caller.press(
        c.caller_sends_to,
        101,
        '5',
        1_010,
        5_000 + 1_600,
        0x1234_5678,
    );
    let mut events = Vec::new();
    while let Some(packet) = c.callee.receive_rtp(Duration::from_millis(300)) {
        events.push(packet);
    }
    let events: Vec<&Rtp> = events.iter().filter(|p| p.payload.len() == 4).collect();
    let wanted = c.invite.text.lines().find_map(|l| {
        l.strip_prefix("a=rtpmap:")
            .filter(|l| l.contains("telephone-event"))
    });
    let offered: u8 = wanted
        .and_then(|l| l.split(' ').next())
        .and_then(|n| n.parse().ok())
        .expect("telephone-event is offered");
    assert!(offered > 0);
    assert!(events.len() >= 3, "the digit did not cross: {events:?}");
    assert!(
        events
            .iter()
            .all(|p| p.payload_type == 96 && p.payload[0] == 5),
        "sent with the number that the callee announced: {events:?}"
    );
    let (dialog, callee) = (c.dialog.clone(), &c.callee);
    c.caller.bye_after(&dialog, callee);
    let call = tests::e2e::wait_for("the call in the history", Duration::from_secs(5), || {
        c.node.history().into_iter().next()
    });
    let id = call["call_id"].as_str().expect("an id").to_owned();
    let events = c.node.get(&format!("/api/calls/{id}/events"));
    let digits = events["items"]
        .as_array()
        .expect("events")
        .iter()
        .filter(|e| e["kind"] == "digit")
        .count();
    assert_eq!(digits, 1, "{events}");
}

#[test]
fn a_stranger_can_neither_inject_nor_receive() {
    let c = call(&["0 PCMU/8000"], &["0 PCMU/8000"]);
    let stranger = std::net::UdpSocket::bind("127.0.0.9:0").expect("another loopback address");
    let mut packet = vec![0x80, 0, 0, 1, 0, 0, 0, 1, 9, 9, 9, 9];
    packet.extend([0x55; FRAME]);
    for _ in 0..5 {
        stranger.send_to(&packet, c.caller_sends_to).expect("sent");
    }
    let sent = frames(&wav::chirp(200), wav::to_pcmu);
    let got = stream(&c.caller, c.caller_sends_to, 0, &sent, &c.callee);
    assert_eq!(got.len(), sent.len());
    assert!(
        got.iter().all(|p| p.payload != [0x55; FRAME]),
        "the stranger's audio was let in"
    );
    let back = stream(&c.callee, c.callee_sends_to, 0, &sent, &c.caller);
    assert_eq!(back.len(), sent.len(), "audio went elsewhere");
}
