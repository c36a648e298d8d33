//! A whole node in this process, over real loopback sockets. Calls that components decide are
//! tested with the real binary in `tests/e2e`.

use super::*;
use std::io::{Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::path::Path;

#[tokio::test(flavor = "multi_thread")]
async fn options_are_answered_over_udp_and_tcp_by_every_worker() {
    let (node, _folder) = start("workers = 2").await;
    let (udp, tcp) = (node.sip()[0].address, node.sip()[1].address);
    let asked = tokio::task::spawn_blocking(move || {
        for i in 0..8 {
            let reply = ask_udp(udp, &request("OPTIONS", &format!("u{i}"), "UDP"));
            assert!(reply.starts_with("SIP/2.0 200 "), "{reply}");
            assert!(reply.contains(&format!("Call-ID: u{i}")), "{reply}");
            let reply = ask_tcp(tcp, &request("OPTIONS", &format!("t{i}"), "TCP"));
            assert!(reply.starts_with("SIP/2.0 200 "), "{reply}");
        }
    });
    asked.await.unwrap();
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_no_router_takes_is_refused_with_a_reason_and_its_id() {
    let (node, _folder) = start("").await;
    let udp = node.sip()[0].address;
    let reply = tokio::task::spawn_blocking(move || ask_udp(udp, &request("INVITE", "i", "UDP")))
        .await
        .unwrap();
    assert!(reply.starts_with("SIP/2.0 404 "), "{reply}");
    assert!(reply.contains("Reason: SIP;cause=404"), "{reply}");
    let id = header(&reply, "X-Gatepost-Call");
    let record = node
        .records
        .find(id.parse().unwrap())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(record.summary.status, Some(404));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_who_may_call() {
    let (node, folder) = start("").await;
    let udp = node.sip()[0].address;
    let nobody = config(folder.path(), "", "192.0.2.0/24");
    node.reload(nobody).await.unwrap();
    let reply = tokio::task::spawn_blocking(move || ask_udp(udp, &request("INVITE", "r", "UDP")))
        .await
        .unwrap();
    assert!(reply.starts_with("SIP/2.0 403 "), "{reply}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_drains_refuses_new_calls_for_a_while() {
    let (node, _folder) = start("").await;
    let udp = node.sip()[0].address;
    node.drain().await;
    let reply = tokio::task::spawn_blocking(move || ask_udp(udp, &request("INVITE", "d", "UDP")))
        .await
        .unwrap();
    assert!(reply.starts_with("SIP/2.0 503 "), "{reply}");
    assert!(!header(&reply, "Retry-After").is_empty(), "{reply}");
    node.stop().await;
}

async fn start(sip: &str) -> (Node, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(config(folder.path(), sip, "127.0.0.0/8"))
        .await
        .unwrap();
    (node, folder)
}

/// Every port is the kernel's choice; media's are not used.
fn config(folder: &Path, sip: &str, source: &str) -> Config {
    let dir = folder.display();
    let text = format!(
        "[sip]\nlisten = [\"udp://127.0.0.1:0\", \"tcp://127.0.0.1:0\"]\n{sip}\n\
         [rtp]\nthreads = 1\n[http]\nlisten = \"127.0.0.1:0\"\nadmin_token_file = \"{dir}/token\"\n\
         [store]\nurl = \"sqlite://{dir}/node.db\"\n[journal]\ndir = \"{dir}/journal\"\n\
         [plugins]\ndir = \"{dir}/plugins.d\"\ncache = \"{dir}/cache\"\n\
         [[tenant]]\nid = \"demo\"\nsources = [\"{source}\"]\n"
    );
    Config::parse(Path::new("test.toml"), &text, &Default::default()).unwrap()
}

fn request(method: &str, call_id: &str, transport: &str) -> String {
    let body = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
    format!(
        "{method} sip:100@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/{transport} 127.0.0.1:9;branch=z9hG4bK{call_id};rport\r\n\
         From: <sip:a@127.0.0.1>;tag=1\r\nTo: <sip:100@127.0.0.1>\r\nCall-ID: {call_id}\r\nCSeq: 1 {method}\r\n\
         Contact: <sip:a@127.0.0.1:9>\r\nMax-Forwards: 70\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The final response.
fn ask_udp(to: SocketAddr, request: &str) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    socket.send_to(request.as_bytes(), to).unwrap();
    let mut buffer = [0; 4096];
    loop {
        let (len, _) = socket.recv_from(&mut buffer).unwrap();
        let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
        if !text.starts_with("SIP/2.0 1") {
            return text;
        }
    }
}

fn ask_tcp(to: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(to).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while !text.contains("\r\n\r\n") {
        let len = stream.read(&mut buffer).unwrap();
        assert_ne!(len, 0, "closed after {text:?}");
        text += &String::from_utf8_lossy(&buffer[..len]);
    }
    text
}

fn header<'a>(message: &'a str, name: &str) -> &'a str {
    let line = message
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    line.unwrap_or_else(|| panic!("no {name} in {message}"))
}
