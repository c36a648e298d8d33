//! The attendant on real calls: it answers, plays, takes a digit, routes.

use std::time::{Duration, Instant};
use tests::e2e::gatepost::{Gatepost, Setup};
use tests::e2e::ua::{Dialog, Rtp, Ua};
use tests::e2e::{wait_for, wav};

const CODECS: &[&str] = &["0 PCMU/8000", "101 telephone-event/8000"];
const SSRC: u32 = 0x0a0b_0c0d;

/// What the last call's journal says, without its SIP messages.
fn journal(node: &Gatepost) -> String {
    let call = wait_for("the call in the history", Duration::from_secs(5), || {
        node.history().into_iter().next()
    });
    let events = node.get(&format!(
        "/api/calls/{}/events?per_page=200",
        call["call_id"].as_str().unwrap_or("")
    ));
    let told: Vec<String> = events["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|e| {
            !e["kind"]
                .as_str()
                .is_some_and(|k| k.starts_with("sip") || k == "step")
        })
        .map(|e| format!("{} {} {}", e["t_us"], e["kind"], e["payload"]))
        .collect();
    told.join("\n")
}

fn welcome() -> Vec<i16> {
    wav::tone(500.0, 400)
        .into_iter()
        .map(|s| wav::from_pcmu(wav::to_pcmu(s)))
        .collect()
}

/// Prompts are tones of their own, so that a test hears which one plays.
fn node(callee: &Ua) -> Gatepost {
    let settings = format!(
        "[bind]\nnumbers = [\"100\"]\n[config]\nprompt = \"welcome.wav\"\ninvalid_prompt = \"invalid.wav\"\nno_input_prompt = \"no-input.wav\"\n\
         goodbye_prompt = \"goodbye.wav\"\ntimeout_s = 1\ntries = 2\n[config.menu.1]\ndial = [\"sip:sales@127.0.0.1:{}\"]\n[config.menu.9]\nhangup = true\n",
        callee.port()
    );
    Setup::new()
        .file("prompts/welcome.wav", &wav::file(8_000, &welcome()))
        .file(
            "prompts/invalid.wav",
            &wav::file(8_000, &wav::tone(700.0, 200)),
        )
        .file(
            "prompts/no-input.wav",
            &wav::file(8_000, &wav::tone(900.0, 200)),
        )
        .file(
            "prompts/goodbye.wav",
            &wav::file(8_000, &wav::tone(1_100.0, 200)),
        )
        .plugin("demo", "auto-attendant", "auto-attendant", &settings)
        .start()
}

fn call(node: &Gatepost) -> (Ua, Dialog, std::net::SocketAddr) {
    let mut caller = Ua::new("caller");
    let sdp = caller.sdp(CODECS);
    let mut dialog = caller.invite(&node.sip(), "100", "", &sdp);
    let reply = caller.final_response(&mut dialog);
    assert_eq!(reply.status(), 200, "{}", reply.text);
    (caller, dialog, reply.media())
}

/// What arrives in this time, as samples.
fn listen(ua: &Ua, time: Duration) -> Vec<i16> {
    let end = Instant::now() + time;
    let mut packets: Vec<Rtp> = Vec::new();
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        packets.extend(ua.receive_rtp(left));
    }
    packets
        .iter()
        .filter(|p| p.payload_type == 0)
        .flat_map(|p| p.payload.iter().map(|&b| wav::from_pcmu(b)))
        .collect()
}

#[test]
fn the_prompt_arrives_sample_by_sample() {
    let callee = Ua::new("callee");
    let node = node(&callee);
    let (mut caller, dialog, _) = call(&node);
    let got = listen(&caller, Duration::from_millis(800));
    // Every sample of the file is a value of the law itself, so nothing is lost in coding.
    let sent = welcome();
    let start = got.windows(sent.len()).position(|w| w == sent);
    assert!(
        start.is_some(),
        "the prompt is not in the {} samples that came",
        got.len()
    );
    caller.bye(&dialog);
}

#[test]
fn pressing_1_puts_the_caller_through() {
    let mut callee = Ua::new("callee");
    let node = node(&callee);
    let (caller, _dialog, media) = call(&node);
    // A phone sends audio before its user presses anything.
    for i in 0..5u16 {
        caller.send_rtp(media, 0, i == 0, i, u32::from(i) * 160, SSRC, &[0xff; 160]);
    }
    assert!(
        wav::heard(&listen(&caller, Duration::from_millis(200)), 500.0),
        "the welcome plays"
    );
    caller.press(media, 101, '1', 5, 800, SSRC);
    let invite = callee.expect_request("INVITE");
    assert!(
        invite.first_line().contains("sip:sales@"),
        "{}",
        invite.text
    );
    let answer = callee.sdp(CODECS);
    callee.reply(&invite, "180 Ringing", "", "");
    callee.reply(&invite, "200 OK", "", &answer);
    callee.expect_request("ACK");
    // Audio flows both ways now.
    let tone: Vec<u8> = wav::tone(1_500.0, 20)
        .iter()
        .map(|&s| wav::to_pcmu(s))
        .collect();
    for i in 0..20u16 {
        caller.send_rtp(
            media,
            0,
            false,
            20 + i,
            4_000 + u32::from(i) * 160,
            SSRC,
            &tone,
        );
        callee.send_rtp(invite.media(), 0, i == 0, i, u32::from(i) * 160, 77, &tone);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(
        wav::heard(&listen(&callee, Duration::from_millis(200)), 1_500.0),
        "the callee hears the caller"
    );
    assert!(
        wav::heard(&listen(&caller, Duration::from_millis(200)), 1_500.0),
        "the caller hears the callee"
    );
    let from_callee = callee.dialog_of(&invite);
    callee.bye(&from_callee);
    caller.expect_bye();
}

#[test]
fn a_wrong_digit_is_told_and_the_menu_comes_again() {
    let callee = Ua::new("callee");
    let node = node(&callee);
    let (mut caller, dialog, media) = call(&node);
    caller.send_rtp(media, 0, true, 0, 0, SSRC, &[0xff; 160]);
    assert!(
        wav::heard(&listen(&caller, Duration::from_millis(200)), 500.0),
        "the welcome plays"
    );
    caller.press(media, 101, '7', 1, 160, SSRC);
    let got = listen(&caller, Duration::from_millis(1_500));
    caller.bye(&dialog);
    let events = journal(&node);
    assert!(
        wav::heard(&got, 700.0),
        "the prompt for a wrong digit is not heard: {events}"
    );
    assert!(wav::heard(&got, 500.0), "the menu is not heard: {events}");
}

#[test]
fn a_caller_who_presses_nothing_is_told_goodbye() {
    let callee = Ua::new("callee");
    let node = node(&callee);
    let (caller, _, _) = call(&node);
    let got = listen(&caller, Duration::from_millis(4_500));
    assert!(wav::heard(&got, 900.0), "the prompt for no input");
    assert!(wav::heard(&got, 1_100.0), "the goodbye");
    caller.expect_bye();
}

#[test]
fn a_caller_who_hangs_up_in_the_menu_leaves_nothing_behind() {
    let callee = Ua::new("callee");
    let node = node(&callee);
    let (mut caller, dialog, _) = call(&node);
    caller.bye(&dialog);
    wait_for("no call to be active", Duration::from_secs(5), || {
        node.get("/api/calls/active")["items"]
            .as_array()
            .filter(|c| c.is_empty())
            .map(|_| ())
    });
    wait_for("its instance to be gone", Duration::from_secs(5), || {
        Some(node.get("/api/plugins/auto-attendant")).filter(|p| p["versions"][0]["live"] == 0)
    });
}
