//! A caller talks to an AI: the receptionist flow and the OpenAI connector against a stand-in
//! on a real WebSocket, whose every client event is held against OpenAI's own types.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tests::e2e::gatepost::{Gatepost, Setup};
use tests::e2e::peer::OpenAi;
use tests::e2e::ua::{Dialog, Ua};
use tests::e2e::{free_port, wait_for, wav};

const CODECS: &[&str] = &["0 PCMU/8000", "101 telephone-event/8000"];

fn node(ai_port: u16, callee: &Ua) -> Gatepost {
    let tenants = "[[tenant]]\nid = \"demo\"\nsources = [\"127.0.0.0/8\"]\nprompts = \"prompts\"\n[tenant.secrets]\nopenai_api_key = \"sk-test-0123456789\"\n";
    let connector = format!(
        "[grants]\nallow = [\"http:127.0.0.1:{ai_port}\", \"secret:openai_api_key\"]\n[config]\nurl = \"ws://127.0.0.1:{ai_port}/v1/realtime\"\nmodel = \"gpt-realtime\"\n"
    );
    let flow = format!(
        "[bind]\ndefault = true\n[config]\ntransfer = \"sip:{{to}}@127.0.0.1:{port}\"\noperator = \"sip:operator@127.0.0.1:{port}\"\n",
        port = callee.port()
    );
    Setup::with_tenants(tenants)
        .plugin("demo", "openai-realtime", "openai-realtime", &connector)
        .plugin("demo", "ai-receptionist", "ai-receptionist", &flow)
        .start()
}

/// A caller whose phone sends 20 ms frames all the time, as phones do.
struct Phone {
    ua: Ua,
    to: SocketAddr,
    sequence: u16,
    next: Instant,
    /// arrival and loudness of what came, oldest first
    heard: VecDeque<(Instant, i32)>,
}

impl Phone {
    fn new(ua: Ua, to: SocketAddr) -> Phone {
        Phone {
            ua,
            to,
            sequence: 0,
            next: Instant::now(),
            heard: VecDeque::new(),
        }
    }

    /// Sends for so long, loud or silent, and listens meanwhile.
    fn send(&mut self, loud: bool, time: Duration) {
        let speech: Vec<u8> = wav::chirp(20).iter().map(|&s| wav::to_pcmu(s)).collect();
        let end = Instant::now() + time;
        while Instant::now() < end {
            let frame = if loud {
                speech.as_slice()
            } else {
                &[0xff; 160]
            };
            self.ua.send_rtp(
                self.to,
                0,
                self.sequence == 0,
                self.sequence,
                u32::from(self.sequence) * 160,
                5,
                frame,
            );
            self.sequence += 1;
            self.next += Duration::from_millis(20);
            while let Some(left) = self
                .next
                .checked_duration_since(Instant::now())
                .filter(|l| !l.is_zero())
            {
                if let Some(packet) = self.ua.receive_rtp(left) {
                    let loudness = packet
                        .payload
                        .iter()
                        .map(|&b| i32::from(wav::from_pcmu(b)).abs())
                        .sum::<i32>()
                        / packet.payload.len().max(1) as i32;
                    self.heard.push_back((Instant::now(), loudness));
                }
            }
        }
    }

    /// The most packets that came in any window of this length.
    fn most_in(&self, window: Duration) -> usize {
        let times: Vec<Instant> = self.heard.iter().map(|(at, _)| *at).collect();
        (0..times.len())
            .map(|i| {
                times[i..]
                    .iter()
                    .take_while(|t| **t < times[i] + window)
                    .count()
            })
            .max()
            .unwrap_or(0)
    }

    fn loud_since(&self, since: Instant) -> usize {
        self.heard
            .iter()
            .filter(|(at, loudness)| *at >= since && *loudness > 1_000)
            .count()
    }
}

fn call(node: &Gatepost) -> (Phone, Dialog) {
    let mut caller = Ua::new("caller");
    let sdp = caller.sdp(CODECS);
    let mut dialog = caller.invite(&node.sip(), "100", "", &sdp);
    let reply = caller.final_response(&mut dialog);
    assert_eq!(reply.status(), 200, "{}", reply.text);
    let to = reply.media();
    (Phone::new(caller, to), dialog)
}

#[test]
fn a_caller_talks_interrupts_and_is_transferred_by_the_ai() {
    let ai = OpenAi::start();
    let mut callee = Ua::new("callee");
    let node = node(ai.port, &callee);
    let (mut phone, _dialog) = call(&node);

    // The session is set up before any audio goes.
    phone.send(false, Duration::from_millis(600));
    let updates = ai.received("session.update");
    assert_eq!(updates.len(), 1, "{:?}", ai.log());
    assert_eq!(
        updates[0]["session"]["tools"][0]["name"], "transfer_call",
        "{}",
        updates[0]
    );

    // Turn 1: the answer, three seconds of tone, is sent at once and played in real time.
    phone.send(true, Duration::from_millis(500));
    let asked = Instant::now();
    phone.send(false, Duration::from_millis(1_300));
    let loud = phone.loud_since(asked);
    assert!(
        (15..=66).contains(&loud),
        "{loud} loud packets in 1.3 s: neither silence nor a burst"
    );

    assert!(
        phone.most_in(Duration::from_millis(100)) <= 8,
        "packets come in bursts, not every 20 ms"
    );

    // Barge-in: the tone stops although most of it was not played yet.
    let began = Instant::now();
    phone.send(true, Duration::from_millis(400));
    phone.send(false, Duration::from_millis(100));
    // One frame to the platform, its event, one packet already on the way: 150 ms is ample.
    let stopped = began + Duration::from_millis(150);
    assert!(
        phone.loud_since(stopped) <= 2,
        "{} loud packets after the interruption",
        phone.loud_since(stopped)
    );
    let truncated = wait_for("the truncation", Duration::from_secs(3), || {
        ai.received("conversation.item.truncate").into_iter().next()
    });
    let end = truncated["audio_end_ms"].as_u64().expect("milliseconds");
    assert!((300..=2_400).contains(&end), "{end} ms were played of 3000");

    // Turn 2: a function call goes to the flow, its result back, and the caller is put through.
    phone.send(false, Duration::from_millis(600));
    let invite = callee.expect_request("INVITE");
    assert!(invite.first_line().contains("sip:1000@"), "{}", invite.text);
    let answer = callee.sdp(CODECS);
    callee.reply(&invite, "200 OK", "", &answer);
    callee.expect_request("ACK");
    let outputs: Vec<_> = ai
        .received("conversation.item.create")
        .into_iter()
        .filter(|e| e["item"]["type"] == "function_call_output")
        .collect();
    assert_eq!(outputs.len(), 1, "{:?}", ai.log());
    assert!(
        outputs[0]["item"]["output"]
            .as_str()
            .is_some_and(|o| o.contains("true")),
        "{}",
        outputs[0]
    );
    let bridged = Instant::now();
    for i in 0..15u16 {
        let tone: Vec<u8> = wav::chirp(20).iter().map(|&s| wav::to_pcmu(s)).collect();
        callee.send_rtp(invite.media(), 0, i == 0, i, u32::from(i) * 160, 9, &tone);
        phone.send(false, Duration::from_millis(20));
    }
    assert!(
        phone.loud_since(bridged) >= 8,
        "the caller hears the callee: {}",
        phone.loud_since(bridged)
    );
    let from_callee = callee.dialog_of(&invite);
    callee.bye(&from_callee);
    phone.ua.expect_bye();
    assert_eq!(
        ai.complaints(),
        Vec::<serde_json::Value>::new(),
        "OpenAI's types or order were violated"
    );
}

#[test]
fn a_human_is_dialled_where_the_platform_cannot_be_reached() {
    let callee = Ua::new("operator");
    let node = node(free_port(), &callee);
    let (phone, dialog) = call(&node);
    let invite = callee.expect_request("INVITE");
    assert!(
        invite.first_line().contains("sip:operator@"),
        "{}",
        invite.text
    );
    let answer = callee.sdp(CODECS);
    callee.reply(&invite, "200 OK", "", &answer);
    callee.expect_request("ACK");
    let mut caller = phone.ua;
    caller.bye_after(&dialog, &callee);
}
