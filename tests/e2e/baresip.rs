//! A real softphone on either side: baresip plays a tone from a file through the node.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tests::e2e::gatepost::{Gatepost, Setup};
use tests::e2e::ua::Ua;
use tests::e2e::{free_port, wait_for, wav};

const HZ: f64 = 1_000.0;

/// baresip with a tone as its microphone; ends with the test.
struct Baresip {
    child: Child,
    folder: tempfile::TempDir,
}

impl Baresip {
    fn start(port: u16, dial: Option<&str>) -> Baresip {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let config = format!(
            "sip_listen 127.0.0.1:{port}\nnet_interface 127.0.0.1\naudio_source aufile,{}\naudio_player aufile,{}\naudio_alert aufile,/dev/null\n\
             ausrc_srate 8000\nauplay_srate 8000\nausrc_channels 1\nauplay_channels 1\nmodule_path {}\n\
             module g711.so\nmodule aufile.so\nmodule_app account.so\nmodule_app menu.so\n",
            path("in.wav"),
            path("out.wav"),
            modules()
        );
        std::fs::write(path("config"), config).expect("a configuration");
        std::fs::write(
            path("accounts"),
            format!("<sip:bare@127.0.0.1:{port}>;regint=0;audio_codecs=PCMU;answermode=auto\n"),
        )
        .expect("an account");
        std::fs::write(path("contacts"), "").expect("contacts");
        std::fs::write(path("in.wav"), wav::file(8_000, &wav::tone(HZ, 10_000))).expect("a tone");
        let mut command = Command::new("baresip");
        command
            .arg("-f")
            .arg(folder.path())
            .args(["-v", "-t", "20"]);
        if let Some(uri) = dial {
            command.arg("-e").arg(format!("/dial {uri}"));
        }
        let log = std::fs::File::create(folder.path().join("log")).expect("a log");
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a handle"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|e| {
                panic!("baresip does not start ({e}): `cargo xtask test` installs it")
            });
        let phone = Baresip { child, folder };
        let wanted = format!("0100007F:{port:04X}");
        wait_for("baresip to listen", Duration::from_secs(10), || {
            std::fs::read_to_string("/proc/net/udp")
                .ok()
                .filter(|t| t.contains(&wanted))
                .map(|_| ())
        });
        phone
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Baresip {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- baresip's log ---\n{}", self.log());
        }
    }
}

/// Where Debian puts them, with or without the architecture in the path.
fn modules() -> &'static str {
    [
        "/usr/lib/baresip/modules",
        "/usr/lib/x86_64-linux-gnu/baresip/modules",
        "/usr/local/lib/baresip/modules",
    ]
    .into_iter()
    .find(|p| Path::new(p).exists())
    .expect("baresip's modules are installed")
}

fn node(callee: u16) -> Gatepost {
    let rules = format!(
        "[bind]\ndefault = true\n[[config.rule]]\nto = \"^1\"\ndial = [\"sip:{{user}}@127.0.0.1:{callee}\"]\n"
    );
    Setup::new()
        .plugin("demo", "static-routes", "static-routes", &rules)
        .start()
}

/// What arrives in a second, as samples.
fn listen(ua: &Ua) -> Vec<i16> {
    let end = Instant::now() + Duration::from_secs(1);
    let mut samples = Vec::new();
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        if let Some(packet) = ua.receive_rtp(left).filter(|p| p.payload_type == 0) {
            samples.extend(packet.payload.iter().map(|&b| wav::from_pcmu(b)));
        }
    }
    samples
}

#[test]
fn baresip_calls_and_its_audio_arrives() {
    let callee = Ua::new("callee");
    let node = node(callee.port());
    let phone = Baresip::start(free_port(), Some(&format!("sip:1000@{}", node.sip())));
    let invite = callee.expect_request("INVITE");
    let answer = callee.sdp(&["0 PCMU/8000"]);
    callee.reply(&invite, "180 Ringing", "", "");
    callee.reply(&invite, "200 OK", "", &answer);
    callee.expect_request("ACK");
    let samples = listen(&callee);
    assert!(
        samples.len() > 6_000,
        "{} samples in a second",
        samples.len()
    );
    assert!(
        wav::heard(&samples, HZ),
        "the tone is not heard; {}",
        phone.log()
    );
}

#[test]
fn baresip_is_called_answers_and_its_audio_arrives() {
    let port = free_port();
    let _phone = Baresip::start(port, None);
    let rules = format!(
        "[bind]\ndefault = true\n[[config.rule]]\nto = \".\"\ndial = [\"sip:bare@127.0.0.1:{port}\"]\n"
    );
    let node = Setup::new()
        .plugin("demo", "static-routes", "static-routes", &rules)
        .start();
    let mut caller = Ua::new("caller");
    let sdp = caller.sdp(&["0 PCMU/8000"]);
    let mut dialog = caller.invite(&node.sip(), "1000", "", &sdp);
    let reply = caller.final_response(&mut dialog);
    assert_eq!(reply.status(), 200, "{}", reply.text);
    // baresip sends at once; the node sends on once it knows where from.
    let samples = listen(&caller);
    assert!(
        samples.len() > 6_000,
        "{} samples in a second",
        samples.len()
    );
    assert!(wav::heard(&samples, HZ), "the tone is not heard");
    caller.bye(&dialog);
}
