//! Sessions against a real WebSocket server, with a dialect and a media link that are played.

use super::dialect::{Action, Connection, Dialect, Dialects, Encoding, Event, Format, Started};
use super::*;
use crate::http::tls;
use b2bua::call_info::{Attestation, Direction, Endpoint, Transport};
use b2bua::flow::{FunctionCall, Transcript};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, SinkExt, StreamExt};
use media::ConnectorCommand;
use plugin_host::SecretStore;
use std::sync::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn audio_text_marks_and_results_go_through_both_ways() {
    let mut bench = Bench::start(|event| match event {
        Event::Opened => vec![Action::SendText("hello".into())],
        Event::Text(text) if text == "ready" => vec![
            Action::Ready,
            Action::Play {
                item: "i1".into(),
                audio: Bytes::from_static(&[7; 160]),
            },
            Action::Mark("m1".into()),
            Action::FunctionCall(FunctionCall {
                id: 0,
                call: "c1".into(),
                name: "transfer".into(),
                arguments: "{}".into(),
            }),
        ],
        Event::Text(text) => vec![Action::Transcript(Transcript {
            id: 0,
            speaker: "agent".into(),
            text,
            r#final: true,
        })],
        Event::Audio(audio) => vec![Action::SendBinary(audio.to_vec())],
        Event::Digit(digit) => vec![Action::SendText(format!("digit {digit}"))],
        Event::Marked(mark) => vec![Action::SendText(format!("marked {mark}")), Action::Clear],
        Event::Cleared { item, played_ms } => {
            vec![Action::SendText(format!("cleared {item} {played_ms}"))]
        }
        Event::FunctionResult {
            call,
            output,
            respond,
        } => {
            vec![Action::SendText(format!("{call} {output} {respond}"))]
        }
        Event::Update(json) => vec![Action::SendText(json)],
        _ => vec![],
    })
    .await;
    let mut platform = bench.accept().await;
    assert_eq!(text(&mut platform).await, "hello");
    assert!(matches!(
        bench.command().await,
        Command::Attach {
            id: 5,
            frame_ms: 20,
            ..
        }
    ));

    platform.send(Message::Text("ready".into())).await.unwrap();
    assert_eq!(bench.reported().await, ConnectorEvent::Connected);
    assert!(matches!(
        bench.command().await,
        Command::Connector { id: 5, command: ConnectorCommand::Enqueue { item, audio }, .. }
            if item == "i1" && audio.len() == 160
    ));
    assert!(matches!(
        bench.command().await,
        Command::Connector { command: ConnectorCommand::Mark(mark), .. } if mark == "m1"
    ));
    let ConnectorEvent::FunctionCall(call) = bench.reported().await else {
        panic!("no function call")
    };
    assert_eq!((call.id, call.name.as_str()), (5, "transfer"));

    let media = bench.media_thread();
    media
        .send(media::ConnectorEvent::Audio(Bytes::from_static(&[1; 160])))
        .await
        .unwrap();
    assert_eq!(
        platform.next().await.unwrap().unwrap(),
        Message::Binary(Bytes::from_static(&[1; 160]))
    );
    media.send(media::ConnectorEvent::Digit('5')).await.unwrap();
    assert_eq!(text(&mut platform).await, "digit 5");
    media
        .send(media::ConnectorEvent::Marked("m1".into()))
        .await
        .unwrap();
    assert_eq!(text(&mut platform).await, "marked m1");
    assert!(matches!(
        bench.command().await,
        Command::Connector {
            command: ConnectorCommand::Clear,
            ..
        }
    ));
    media
        .send(media::ConnectorEvent::Cleared {
            item: "i1".into(),
            played_ms: 40,
        })
        .await
        .unwrap();
    assert_eq!(text(&mut platform).await, "cleared i1 40");

    let result = ConnectorOrder::FunctionResult {
        call: "c1".into(),
        output: "ok".into(),
        respond: true,
    };
    assert!(bench.handle.order(result));
    assert_eq!(text(&mut platform).await, "c1 ok true");
    assert!(
        bench
            .handle
            .order(ConnectorOrder::Update("{\"a\":1}".into()))
    );
    assert_eq!(text(&mut platform).await, "{\"a\":1}");

    platform.send(Message::Text("bye".into())).await.unwrap();
    assert!(
        matches!(bench.reported().await, ConnectorEvent::Transcript(t) if t.text == "bye" && t.id == 5)
    );
    platform.close(None).await.unwrap();
    assert!(matches!(
        bench.reported().await,
        ConnectorEvent::Ended { normal: true, .. }
    ));
    assert!(matches!(
        bench.command().await,
        Command::Detach { id: 5, .. }
    ));
}

#[tokio::test]
async fn stop_closes_the_socket_in_good_order_and_nothing_more_is_reported() {
    let mut bench = Bench::start(|_| vec![]).await;
    let mut platform = bench.accept().await;
    assert!(matches!(bench.command().await, Command::Attach { .. }));
    assert!(bench.handle.order(ConnectorOrder::Stop));
    assert!(
        matches!(platform.next().await, Some(Ok(Message::Close(Some(frame)))) if u16::from(frame.code) == 1000)
    );
    assert!(matches!(bench.command().await, Command::Detach { .. }));
    assert!(
        bench.reports.recv().await.is_none(),
        "the session is gone without a word"
    );
}

#[tokio::test]
async fn a_platform_that_hangs_up_and_a_connector_that_fails_are_told_apart() {
    let mut bench = Bench::start(|event| match event {
        Event::Text(text) if text == "bad key" => vec![Action::Fail("the key was refused".into())],
        Event::Closed { code, .. } => vec![Action::Note {
            kind: "x".into(),
            text: code.to_string(),
        }],
        _ => vec![],
    })
    .await;
    let mut platform = bench.accept().await;
    platform
        .send(Message::Text("bad key".into()))
        .await
        .unwrap();
    assert_eq!(bench.reported().await, ended(false, "the key was refused"));

    let mut bench = Bench::start(|_| vec![]).await;
    drop(bench.accept().await);
    let ConnectorEvent::Ended {
        normal: false,
        reason,
    } = bench.reported().await
    else {
        panic!("no failure")
    };
    assert!(reason.contains("1006"), "{reason}");
}

#[tokio::test]
async fn close_waits_for_the_platforms_answer_and_ends_normally() {
    let mut bench = Bench::start(|event| match event {
        Event::Text(_) => vec![
            Action::Close("done".into()),
            Action::SendText("too late".into()),
        ],
        _ => vec![],
    })
    .await;
    let mut platform = bench.accept().await;
    platform.send(Message::Text("x".into())).await.unwrap();
    assert!(matches!(platform.next().await, Some(Ok(Message::Close(_)))));
    // Reading on makes tungstenite answer the close frame.
    assert!(platform.next().await.is_none());
    assert_eq!(bench.reported().await, ended(true, "done"));
}

#[tokio::test]
async fn timers_fire_and_can_be_cancelled() {
    let mut bench = Bench::start(|event| match event {
        Event::Opened => vec![
            Action::StartTimer {
                id: 1,
                after_ms: 60_000,
            },
            Action::StartTimer { id: 2, after_ms: 1 },
            Action::CancelTimer(1),
        ],
        Event::Timer(id) => vec![Action::SendText(format!("timer {id}"))],
        _ => vec![],
    })
    .await;
    let mut platform = bench.accept().await;
    assert_eq!(text(&mut platform).await, "timer 2");
    drop(bench);
}

#[tokio::test]
async fn a_platform_that_does_not_read_loses_the_oldest_audio_and_holds_nobody_up() {
    let mut bench = Bench::start(|event| match event {
        Event::Audio(audio) => {
            let mut message = vec![0; 200_000];
            message[0] = audio[0];
            vec![Action::SendBinary(message)]
        }
        _ => vec![],
    })
    .await;
    let mut platform = bench.accept().await;
    assert!(matches!(bench.command().await, Command::Attach { .. }));
    let media = bench.media_thread();
    // 250 frames make 50 MB: more than the sockets and the outbox hold. `send` waits for the
    // session, so each frame was taken.
    for frame in 0..250u8 {
        media
            .send(media::ConnectorEvent::Audio(Bytes::from(vec![frame; 160])))
            .await
            .unwrap();
    }
    media
        .send(media::ConnectorEvent::Audio(Bytes::from_static(
            &[255; 160],
        )))
        .await
        .unwrap();
    while media.capacity() < media.max_capacity() {
        tokio::task::yield_now().await;
    }
    let mut seen = Vec::new();
    while seen.last() != Some(&255) {
        let Some(Ok(Message::Binary(message))) = platform.next().await else {
            panic!("the session broke")
        };
        seen.push(message[0]);
        // Frames that are held leave when the next one comes.
        let _ = media.try_send(media::ConnectorEvent::Audio(Bytes::from_static(
            &[255; 160],
        )));
    }
    assert!(seen.is_sorted());
    assert_eq!(seen[0], 0);
    assert!(seen.len() < 252, "something was dropped");
    assert!(bench.reports.try_recv().is_err(), "and the session lives");
}

#[tokio::test]
async fn a_host_that_is_not_granted_is_not_connected_to() {
    for (grants, wanted) in [
        (vec!["secret:key".to_owned()], "is not granted"),
        (
            vec!["http:127.0.0.1".to_owned(), "secret:key".to_owned()],
            "not public",
        ),
    ] {
        let mut bench = Bench::with_grants(grants).await;
        let ConnectorEvent::Ended {
            normal: false,
            reason,
        } = bench.reported().await
        else {
            panic!()
        };
        assert!(reason.contains(wanted), "{reason}");
        assert!(bench.listener.accept().now_or_never().is_none());
    }
}

#[tokio::test]
async fn a_server_that_is_no_websocket_is_explained() {
    let mut bench = Bench::start(|_| vec![]).await;
    let (mut stream, _) = bench.listener.accept().await.unwrap();
    tokio::io::AsyncWriteExt::write_all(
        &mut stream,
        b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
    )
    .await
    .unwrap();
    let ConnectorEvent::Ended {
        normal: false,
        reason,
    } = bench.reported().await
    else {
        panic!()
    };
    assert!(reason.contains("401"), "{reason}");
}

#[tokio::test]
async fn secrets_and_subprotocols_reach_the_platform() {
    let mut bench = Bench::start(|_| vec![]).await;
    let (stream, _) = bench.listener.accept().await.unwrap();
    let mut key = None;
    #[expect(clippy::result_large_err, reason = "the type is tungstenite's")]
    let callback =
        |request: &tokio_tungstenite::tungstenite::handshake::server::Request,
         mut response: tokio_tungstenite::tungstenite::handshake::server::Response| {
            key = request
                .headers()
                .get("authorization")
                .map(|v| v.to_str().unwrap().to_owned());
            let offered = request.headers().get("sec-websocket-protocol").unwrap();
            assert_eq!(offered, "realtime, v2");
            response
                .headers_mut()
                .insert("sec-websocket-protocol", "realtime".parse().unwrap());
            Ok(response)
        };
    let _platform = tokio_tungstenite::accept_hdr_async(stream, callback)
        .await
        .unwrap();
    assert_eq!(key.unwrap(), "Bearer demo/key");
    assert!(matches!(bench.command().await, Command::Attach { .. }));
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused_and_of_a_configured_one_accepted() {
    let authority = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("roots.pem");
    std::fs::write(&path, authority.cert.pem()).unwrap();
    let key =
        rustls::pki_types::PrivateKeyDer::try_from(authority.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![authority.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    for (roots, accepted) in [(None, false), (Some(path.as_path()), true)] {
        let mut bench = Bench::with(
            |_| vec![],
            tls::client_config(roots).unwrap(),
            "wss://localhost",
            None,
        )
        .await;
        let (stream, _) = bench.listener.accept().await.unwrap();
        let stream = acceptor.accept(stream).await;
        if accepted {
            let _platform = accept_any_protocol(stream.unwrap()).await;
            assert!(matches!(bench.command().await, Command::Attach { .. }));
        } else {
            let ConnectorEvent::Ended {
                normal: false,
                reason,
            } = bench.reported().await
            else {
                panic!()
            };
            assert!(reason.contains("TLS"), "{reason}");
        }
    }
}

fn ended(normal: bool, reason: &str) -> ConnectorEvent {
    ConnectorEvent::Ended {
        normal,
        reason: reason.into(),
    }
}

async fn text<S>(platform: &mut WebSocketStream<S>) -> String
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    match platform.next().await {
        Some(Ok(Message::Text(text))) => text.as_str().to_owned(),
        other => panic!("no text but {other:?}"),
    }
}

#[expect(clippy::result_large_err, reason = "the type is tungstenite's")]
async fn accept_any_protocol<S>(stream: S) -> WebSocketStream<S>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
    tokio_tungstenite::accept_hdr_async(stream, |_: &Request, mut response: Response| {
        response
            .headers_mut()
            .insert("sec-websocket-protocol", "realtime".parse().unwrap());
        Ok(response)
    })
    .await
    .unwrap()
}

/// A session, its platform's port, and everything around it.
struct Bench {
    listener: TcpListener,
    handle: SessionHandle,
    reports: UnboundedReceiver<ConnectorEvent>,
    commands: UnboundedReceiver<Command>,
    link: Arc<Link>,
}

impl Bench {
    async fn start(script: impl FnMut(Event) -> Vec<Action> + Send + 'static) -> Bench {
        Bench::with(
            script,
            tls::client_config(None).unwrap(),
            "ws://127.0.0.1",
            None,
        )
        .await
    }

    async fn with_grants(grants: Vec<String>) -> Bench {
        Bench::with(
            |_| vec![],
            tls::client_config(None).unwrap(),
            "ws://127.0.0.1",
            Some(grants),
        )
        .await
    }

    async fn with(
        script: impl FnMut(Event) -> Vec<Action> + Send + 'static,
        tls: Arc<ClientConfig>,
        base: &str,
        grants: Option<Vec<String>>,
    ) -> Bench {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let host = base.rsplit('/').next().unwrap();
        let grants =
            grants.unwrap_or_else(|| vec![format!("http:{host}:{port}"), "secret:key".to_owned()]);
        let started = Started {
            dialect: Box::new(Script(Box::new(script))),
            connection: Connection {
                url: format!("{base}:{port}/realtime"),
                headers: vec![("Authorization".into(), "Bearer {secret:key}".into())],
                subprotocols: vec!["realtime".into(), "v2".into()],
                input: ULAW,
                output: ULAW,
                frame_ms: 20,
            },
            grants,
        };
        let (sent, commands) = unbounded_channel();
        let link = Arc::new(Link {
            sent,
            attached: Mutex::default(),
        });
        let deps = Arc::new(Deps {
            runtime: tokio::runtime::Handle::current(),
            tls,
            media: link.clone(),
            dialects: Arc::new(One(Mutex::new(Some(started)))),
            secrets: Arc::new(NamedAfterTenant),
            limits: Limits::default(),
        });
        let (reported, reports) = unbounded_channel();
        let report: Report = Box::new(move |event| {
            let _ = reported.send(event);
        });
        let handle = spawn_session(deps, request(), report);
        Bench {
            listener,
            handle,
            reports,
            commands,
            link,
        }
    }

    async fn accept(&mut self) -> WebSocketStream<TcpStream> {
        accept_any_protocol(self.listener.accept().await.unwrap().0).await
    }

    async fn reported(&mut self) -> ConnectorEvent {
        self.reports.recv().await.unwrap()
    }

    async fn command(&mut self) -> Command {
        self.commands.recv().await.unwrap()
    }

    /// Where the media thread would send; there once the session has attached.
    fn media_thread(&self) -> mpsc::Sender<media::ConnectorEvent> {
        self.link.attached.lock().unwrap().clone().unwrap()
    }
}

const ULAW: Format = Format {
    encoding: Encoding::Pcmu,
    rate: 8_000,
};

struct Script(Box<dyn FnMut(Event) -> Vec<Action> + Send>);

impl Dialect for Script {
    fn on_event(&mut self, event: Event) -> BoxFuture<'_, Result<Vec<Action>, String>> {
        let actions = (self.0)(event);
        async { Ok(actions) }.boxed()
    }
}

struct One(Mutex<Option<Started>>);

impl Dialects for One {
    fn start(&self, _: &Connect, _: &Arc<CallInfo>) -> BoxFuture<'static, Result<Started, String>> {
        let started = self.0.lock().unwrap().take();
        async { started.ok_or_else(|| "there is one only".to_owned()) }.boxed()
    }
}

struct NamedAfterTenant;

impl SecretStore for NamedAfterTenant {
    fn secret(&self, tenant: &str, name: &str) -> Option<String> {
        Some(format!("{tenant}/{name}"))
    }
}

struct Link {
    sent: UnboundedSender<Command>,
    attached: Mutex<Option<mpsc::Sender<media::ConnectorEvent>>>,
}

impl MediaLink for Link {
    fn attach(&self, _: SessionKey, _: u32, sender: mpsc::Sender<media::ConnectorEvent>) -> bool {
        *self.attached.lock().unwrap() = Some(sender);
        true
    }

    fn detach(&self, _: SessionKey, _: u32) {}

    fn send(&self, _: SessionKey, command: Command) -> bool {
        self.sent.send(command).is_ok()
    }
}

fn request() -> Request {
    let info = CallInfo {
        call_id: "0".repeat(28),
        tenant: "demo".into(),
        trunk: None,
        direction: Direction::Inbound,
        source: Endpoint {
            host: "127.0.0.1".parse().unwrap(),
            port: 5060,
            transport: Transport::Udp,
        },
        request_uri: "sip:1@example.com".into(),
        called: "1".into(),
        caller: "2".into(),
        from_uri: "sip:2@example.com".into(),
        from_display: None,
        to_uri: "sip:1@example.com".into(),
        attestation: Attestation::None,
        codecs: vec![],
        headers: vec![],
        received_ms: 0,
        ext: vec![],
    };
    let connect = Connect {
        id: 5,
        connector: "x".into(),
        settings: "{}".into(),
    };
    Request {
        session: SessionKey(1),
        leg: LegKey(0),
        connect,
        info: Arc::new(info),
    }
}
