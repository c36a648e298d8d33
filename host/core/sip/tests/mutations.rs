//! Random bytes and random changes to good messages: nothing panics, and what was accepted
//! can be written and read again.

use bytes::Bytes;
use proptest::prelude::*;
use sip::auth::Challenge;
use sip::message::framing::StreamFramer;
use sip::token::TokenSource;
use sip::{Config, Dialog, Flow, HeaderName, Message, TransactionLayer};
use std::path::Path;
use std::time::Instant;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        exercise(Bytes::from(bytes));
    }

    #[test]
    fn no_change_to_a_good_message_makes_anything_panic(
        which in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), 0..4u8, change()), 1..8),
    ) {
        let corpus = corpus();
        let mut bytes = which.get(&corpus).clone();
        for (at, kind, text) in changes {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            match kind {
                0 => drop(bytes.splice(at..at, text)),
                1 => {
                    let end = (at + text.len()).min(bytes.len());
                    drop(bytes.splice(at..end, text));
                }
                2 => bytes.truncate(at),
                _ => drop(bytes.drain(at..(at + text.len()).min(bytes.len()))),
            }
        }
        exercise(Bytes::from(bytes));
    }
}

/// Bytes that mean something somewhere.
fn change() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 1..6),
        prop::sample::select(vec![
            "\r\n",
            "\r\n ",
            "\n",
            "\r",
            "\0",
            ":",
            ";",
            ",",
            "<",
            ">",
            "\"",
            "\\",
            "%",
            "@",
            "[",
            "]",
            "=",
            " ",
            "\t",
            ";;",
            ";tag=",
            "é",
            "\u{feff}",
            "SIP/2.0 ",
            "Via: ",
            "Content-Length: 99999999999",
            "l:0\r\n",
            "z9hG4bK",
            "18446744073709551616",
            "*",
        ])
        .prop_map(|text: &str| text.as_bytes().to_vec()),
        (1usize..3000).prop_map(|len| vec![b'A'; len]),
    ]
}

fn exercise(bytes: Bytes) {
    let mut framer = StreamFramer::default();
    framer.push(&bytes);
    while let Ok(Some(_)) = framer.next() {}
    let mut layer = TransactionLayer::new(Config::default(), TokenSource::new(1, 1));
    let flow = Flow::udp(
        "192.0.2.1:5060".parse().unwrap(),
        "192.0.2.77:5060".parse().unwrap(),
    );
    layer.handle_message(start(), flow, bytes.clone());
    while layer.poll_transmit().is_some() || layer.poll_event().is_some() {}
    let Ok(message) = Message::parse(bytes) else {
        return;
    };
    look_at_everything(&message);
    let accepted = message.check().is_ok();
    let written = message.to_bytes();
    let again = Message::parse(written).expect("what we write can be read");
    if accepted {
        assert!(again.check().is_ok(), "{message:?} became {again:?}");
        assert_eq!(again.fields().body(), message.fields().body());
        assert_eq!(again.fields().call_id(), message.fields().call_id());
    }
}

fn look_at_everything(message: &Message) {
    let fields = message.fields();
    for via in fields.vias() {
        let _ = (
            via.received(),
            via.rport(),
            via.unique_branch(),
            via.host_ip(),
            via.params.iter().count(),
        );
    }
    for name in [
        HeaderName::Contact,
        HeaderName::Route,
        HeaderName::RecordRoute,
        HeaderName::From,
        HeaderName::To,
    ] {
        for address in fields.addresses(name) {
            let _ = (address.display(), address.tag());
            if let Ok(uri) = address.sip_uri() {
                let _ = (
                    uri.user_decoded(),
                    uri.transport(),
                    uri.number(),
                    uri.header_fields().count(),
                );
            }
        }
    }
    let _ = (
        fields.cseq(),
        fields.max_forwards(),
        fields.expires(),
        fields.content_type(),
        fields.iter().count(),
    );
    match message {
        Message::Request(request) => {
            let mut edited = request.clone();
            edited.set_first(HeaderName::Via, "SIP/2.0/UDP h;branch=z9hG4bKx");
            edited.remove_first(HeaderName::Route);
            edited.set(HeaderName::Contact, "<sip:x>\r\nEvil: 1");
            assert_eq!(
                edited.named("Evil").is_some(),
                request.named("Evil").is_some()
            );
            edited.to_bytes();
            let _ = Dialog::uas(request, "tag")
                .map(|mut dialog| dialog.request(sip::Method::Bye).to_bytes());
        }
        Message::Response(response) => {
            let _ = Challenge::all(response);
        }
    }
}

fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rfc4475");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect()
}

#[expect(clippy::disallowed_methods, reason = "any instant will do")]
fn start() -> Instant {
    Instant::now()
}
