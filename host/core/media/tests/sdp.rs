//! Offer/answer as two parties see it, and descriptions that nobody should send.

use media::sdp::{
    Author, Capabilities, Codec, Direction, Negotiated, Refusal, SdpError, SessionDescription,
};
use proptest::prelude::*;
use std::net::SocketAddr;

const HEAD: &str =
    "v=0\r\no=- 20518 0 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\n";
const GOOD: &str = "m=audio 49172 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
    a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n";

#[test]
fn a_plain_offer_is_answered_with_its_first_codec_and_its_numbers() {
    let (body, negotiated) =
        answer(GOOD, &Capabilities::default(), None, Direction::SendRecv).unwrap();
    assert_eq!(
        body,
        "v=0\r\no=- 25 25 IN IP4 203.0.113.1\r\ns=-\r\nc=IN IP4 203.0.113.1\r\nt=0 0\r\n\
         m=audio 10000 RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
         a=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n"
    );
    assert_eq!(negotiated.remote, "198.51.100.1:49172".parse().unwrap());
    assert_eq!(negotiated.remote_rtcp.port(), 49173);
    assert_eq!(negotiated.event.unwrap().send_payload, 101);
    assert_eq!(
        (
            negotiated.codecs[0].codec.name.as_str(),
            negotiated.ptime_ms
        ),
        ("PCMU", 20)
    );
}

#[test]
fn the_answer_has_the_offers_streams_in_order_and_refuses_what_it_cannot_do() {
    let offer = "m=video 5000 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\nm=audio 4000 RTP/SAVP 0\r\nm=audio 4002 RTP/AVP 8\r\n\
        m=image 5002 udptl t38\r\nm=audio 4004 RTP/AVP 0\r\n";
    let (body, negotiated) =
        answer(offer, &Capabilities::default(), None, Direction::SendRecv).unwrap();
    let streams: Vec<&str> = body.lines().filter(|l| l.starts_with("m=")).collect();
    assert_eq!(
        streams,
        [
            "m=video 0 RTP/AVP 96",
            "m=audio 0 RTP/SAVP 0",
            "m=audio 10000 RTP/AVP 8",
            "m=image 0 udptl t38",
            "m=audio 0 RTP/AVP 0"
        ]
    );
    assert_eq!(negotiated.remote.port(), 4002);
}

#[test]
fn hold_is_recognised_in_all_its_spellings_and_answered_as_the_rfc_says() {
    let held = |media: &str, head: &str| {
        SessionDescription::parse(format!("{head}{media}").as_bytes()).unwrap()
    };
    for (line, answered) in [
        ("a=sendonly", "a=recvonly"),
        ("a=inactive", "a=inactive"),
        ("a=recvonly", "a=sendonly"),
    ] {
        let offer = format!("m=audio 4000 RTP/AVP 0\r\n{line}\r\n");
        let (body, negotiated) =
            answer(&offer, &Capabilities::default(), None, Direction::SendRecv).unwrap();
        assert!(body.contains(answered), "{line}: {body}");
        assert_eq!(negotiated.is_held(), line != "a=recvonly");
        assert_eq!(held(&offer, HEAD).is_hold(), line != "a=recvonly");
        // The session level counts where the stream says nothing.
        assert_eq!(
            held("m=audio 4000 RTP/AVP 0\r\n", &format!("{HEAD}{line}\r\n")).is_hold(),
            line != "a=recvonly"
        );
    }
    let zero = HEAD.replace("c=IN IP4 198.51.100.1", "c=IN IP4 0.0.0.0");
    assert!(held("m=audio 4000 RTP/AVP 0\r\n", &zero).is_hold());
    assert!(!held("m=audio 4000 RTP/AVP 0\r\n", HEAD).is_hold());
}

#[test]
fn an_offer_for_the_b_leg_keeps_the_callers_codecs_and_adds_ours() {
    let a = parse(
        "m=audio 4000 RTP/AVP 18 8 97 96\r\na=rtpmap:97 opus/48000/2\r\na=fmtp:97 useinbandfec=1\r\n\
        a=rtpmap:96 telephone-event/8000\r\na=ptime:30\r\n",
    );
    let (body, offer) = Author::new(400)
        .offer(
            &Capabilities::default(),
            Some(&a),
            local(),
            Direction::SendRecv,
        )
        .unwrap();
    let body = text(&body);
    assert!(
        body.contains("m=audio 10000 RTP/AVP 18 8 97 0 96\r\n"),
        "{body}"
    );
    assert!(body.contains("a=rtpmap:97 opus/48000/2\r\na=fmtp:97 useinbandfec=1\r\n"));
    assert!(body.contains("a=ptime:30"));
    assert!(!body.contains("198.51.100"));
    assert_eq!(offer.codecs.len(), 4);
}

#[test]
fn a_trunks_policy_chooses_and_orders() {
    let a = parse("m=audio 4000 RTP/AVP 0 8 18\r\n");
    let only = |codecs: &[&str]| {
        let offered = Author::new(4).offer(
            &Capabilities::only(codecs),
            Some(&a),
            local(),
            Direction::SendRecv,
        );
        offered.map(|(_, offer)| offer.codecs.iter().map(|c| c.payload).collect::<Vec<_>>())
    };
    assert_eq!(only(&["PCMA", "PCMU"]).unwrap(), [8, 0]);
    assert_eq!(only(&["g729"]).unwrap(), [18]);
    assert_eq!(only(&["G729", "PCMA"]).unwrap(), [18, 8]);
    assert!(matches!(
        only(&["opus"]),
        Err(Refusal::NoCommonCodec { .. })
    ));
}

#[test]
fn what_cannot_be_transcoded_is_not_offered() {
    let a = parse("m=audio 4000 RTP/AVP 18\r\n");
    let (_, offer) = Author::new(4)
        .offer(
            &Capabilities::default(),
            Some(&a),
            local(),
            Direction::SendRecv,
        )
        .unwrap();
    assert_eq!(
        offer.codecs.iter().map(|c| c.payload).collect::<Vec<_>>(),
        [18]
    );
}

#[test]
fn both_legs_end_up_on_the_same_codec_where_they_can() {
    // A offers PCMU first, B answers PCMA: A is answered PCMA too, and nothing is transcoded.
    let a = parse(GOOD);
    let b = call_b(
        &a,
        "m=audio 6000 RTP/AVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\n",
    );
    let (body, negotiated) = answer(
        GOOD,
        &Capabilities::default(),
        Some(&b),
        Direction::SendRecv,
    )
    .unwrap();
    assert!(body.contains("RTP/AVP 8 101"));
    assert_eq!(negotiated.codecs[0].codec.name, "PCMA");
    // A has only PCMU: then each leg has its own.
    let only_mu = "m=audio 4000 RTP/AVP 0\r\n";
    let b = call_b(&parse(only_mu), "m=audio 6000 RTP/AVP 8\r\n");
    let (_, negotiated) = answer(
        only_mu,
        &Capabilities::default(),
        Some(&b),
        Direction::SendRecv,
    )
    .unwrap();
    assert_eq!(negotiated.codecs[0].codec.name, "PCMU");
}

#[test]
fn a_codec_that_passes_through_keeps_the_far_ends_parameters_and_each_ends_number() {
    let offer = "m=audio 4000 RTP/AVP 96\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 stereo=1\r\n";
    let b = call_b(
        &parse(offer),
        "m=audio 6000 RTP/AVP 111\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 stereo=0\r\n",
    );
    assert_eq!(
        (b.codecs[0].send_payload, b.codecs[0].receive_payload),
        (111, 96)
    );
    let (body, a) = answer(
        offer,
        &Capabilities::default(),
        Some(&b),
        Direction::SendRecv,
    )
    .unwrap();
    assert!(body.contains("a=fmtp:96 stereo=0"), "{body}");
    assert_eq!(
        (a.codecs[0].send_payload, a.codecs[0].receive_payload),
        (96, 96)
    );
}

#[test]
fn a_late_offer_is_ours_and_its_answer_is_read() {
    let mut author = Author::new(4);
    let (body, offer) = author
        .offer(&Capabilities::default(), None, local(), Direction::SendRecv)
        .unwrap();
    assert!(text(&body).contains("m=audio 10000 RTP/AVP 0 8 101"));
    let answer = parse(
        "m=audio 6000 RTP/AVP 8 120\r\na=rtpmap:120 telephone-event/8000\r\na=sendonly\r\na=rtcp:7001\r\n",
    );
    let negotiated = author.accept_answer(&offer, &answer).unwrap();
    let event = negotiated.event.as_ref().unwrap();
    assert_eq!((event.send_payload, event.receive_payload), (120, 101));
    assert_eq!(
        (negotiated.direction, negotiated.remote_rtcp.port()),
        (Direction::RecvOnly, 7001)
    );
}

#[test]
fn an_answer_that_refuses_or_does_not_fit_is_a_refusal() {
    let mut author = Author::new(4);
    let (_, offer) = author
        .offer(&Capabilities::default(), None, local(), Direction::SendRecv)
        .unwrap();
    let mut accept = |media: &str| author.accept_answer(&offer, &parse(media)).unwrap_err();
    assert_eq!(
        accept(""),
        Refusal::AnswerShape {
            offered: 1,
            answered: 0
        }
    );
    assert_eq!(accept("m=audio 0 RTP/AVP 0\r\n"), Refusal::NoAudio);
    assert!(matches!(
        accept("m=audio 6000 RTP/AVP 18\r\n"),
        Refusal::NoCommonCodec { .. }
    ));
    assert!(matches!(
        accept("m=audio 6000 RTP/SAVP 0\r\n"),
        Refusal::Transport(_)
    ));
}

#[test]
fn the_version_rises_only_when_something_changed() {
    let mut author = Author::new(4);
    let offer = parse(GOOD);
    let mut say = |port: u16, direction| {
        let local = SocketAddr::new(local().ip(), port);
        author
            .answer(&offer, &Capabilities::default(), None, local, direction)
            .unwrap();
        author.version()
    };
    let first = say(10_000, Direction::SendRecv);
    assert_eq!(say(10_000, Direction::SendRecv), first);
    assert_eq!(say(10_000, Direction::SendOnly), first + 1);
    assert_eq!(say(10_002, Direction::SendOnly), first + 2);
    assert_eq!(say(10_002, Direction::SendOnly), first + 2);
}

#[test]
fn a_later_offer_keeps_streams_and_numbers_of_the_session() {
    let mut author = Author::new(4);
    let offer = parse(
        "m=video 5000 RTP/AVP 96\r\nm=audio 4000 RTP/AVP 0 96\r\na=rtpmap:96 telephone-event/8000\r\n",
    );
    author
        .answer(
            &offer,
            &Capabilities::default(),
            None,
            local(),
            Direction::SendRecv,
        )
        .unwrap();
    let (body, offer) = author
        .offer(&Capabilities::default(), None, local(), Direction::Inactive)
        .unwrap();
    let body = text(&body);
    assert!(
        body.contains("m=video 0 RTP/AVP 96\r\nm=audio 10000 RTP/AVP 0 8 96\r\n"),
        "{body}"
    );
    assert_eq!((offer.index, offer.streams), (1, 2));
}

/// The whole of `shared` torture in one place: what each may end in.
#[test]
fn hostile_descriptions_are_errors_or_refusals_and_never_more() {
    let with = |line: &str| format!("{HEAD}{GOOD}{line}\r\n");
    let rejected = [
        format!("{}{GOOD}", HEAD.replace("v=0\r\n", "")),
        format!("{}{GOOD}", HEAD.replace("v=0", "v=1")),
        format!("{}{GOOD}", HEAD.replace("c=IN IP4 198.51.100.1\r\n", "")),
        format!(
            "{}{GOOD}",
            HEAD.replace("c=IN IP4 198.51.100.1", "c=IN IP4 999.1.1.1")
        ),
        format!(
            "{}{GOOD}",
            HEAD.replace("c=IN IP4 198.51.100.1", "c=XX IP9 198.51.100.1")
        ),
        format!(
            "{}{GOOD}",
            HEAD.replace("c=IN IP4 198.51.100.1", "c=IN IP4 239.1.1.1/127")
        ),
        format!(
            "{}{GOOD}",
            HEAD.replace("c=IN IP4 198.51.100.1", "c=IN IP4 evil.example.com")
        ),
        format!("{HEAD}m=audio 65536 RTP/AVP 0\r\n"),
        format!("{HEAD}m=audio -1 RTP/AVP 0\r\n"),
        format!("{HEAD}m=audio x RTP/AVP 0\r\n"),
        format!("{HEAD}m=audio 4000 RTP/AVP 300\r\n"),
        format!("{HEAD}m=audio 4000 RTP/AVP\r\n"),
        format!("{HEAD}m=audio 4000 RTP/AVP 96\r\na=rtpmap:96 no-such-codec/8000\r\n"),
        format!("{HEAD}m=audio 0 RTP/AVP 0\r\n"),
        HEAD.to_owned(),
        String::new(),
        format!("{HEAD}{}", "m=audio 4000 RTP/AVP 0\r\n".repeat(200)),
    ];
    for body in &rejected {
        assert!(
            offered(body.as_bytes()).is_err(),
            "{}",
            &body[..body.len().min(300)]
        );
    }
    let accepted = [
        format!("{HEAD}m=audio 4000 RTP/AVP 0\r\n"),
        "v=0\no=- 1 1 IN IP4 198.51.100.1\ns=-\nt=0 0\nm=audio 4000 RTP/AVP 8\nc=IN IP4 198.51.100.1\n".to_owned(),
        with("a=rtpmap:0 PCMU/0"),
        with("a=rtpmap:96 opus/18446744073709551616"),
        with("a=rtpmap:0"),
        with("a=fmtp:"),
        with("a=fmtp:77 x"),
        with("a=fmtp:101 0-4294967295"),
        with("a=ptime:0"),
        with("a=ptime:4294967295"),
        with("a=sendrecv\r\na=inactive"),
        with("a=rtcp-mux\r\na=ice-ufrag:x\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x"),
        with(&format!("a=x:{}", "y".repeat(60_000))),
    ];
    for body in &accepted {
        let (answer, negotiated) =
            offered(body.as_bytes()).unwrap_or_else(|e| panic!("{e}: {}", &body[..300]));
        assert_eq!(negotiated.ptime_ms, 20);
        assert!(!answer.contains("rtcp-mux") && !answer.contains("crypto"));
    }
    let mut latin1 = format!("{HEAD}{GOOD}").into_bytes();
    let at = latin1.windows(3).position(|w| w == b"s=-").unwrap();
    latin1[at + 2] = 0xe9;
    assert!(offered(&latin1).is_ok());
    latin1[at + 2] = 0;
    let _ = offered(&latin1);
    assert_eq!(
        SessionDescription::parse(&vec![b'a'; 70_000]),
        Err(SdpError::TooLarge(70_000))
    );
}

#[test]
fn an_answer_never_carries_a_line_that_a_peer_made_up() {
    let offer = "m=video 5000 RTP/AVP 96 97\r\nm=audio 4000 RTP/AVP 97\r\na=rtpmap:97 opus/48000/2\r\n\
        a=fmtp:97 a=b\tc\r\nm=x 1 y z\r\n";
    let b = call_b(
        &parse(offer),
        "m=audio 6000 RTP/AVP 97\r\na=rtpmap:97 opus/48000/2\r\na=fmtp:97 q\r\n",
    );
    let (body, _) = answer(
        offer,
        &Capabilities::default(),
        Some(&b),
        Direction::SendRecv,
    )
    .unwrap();
    assert!(body.split("\r\n").all(
        |l| l.is_empty() || (l.as_bytes()[1] == b'=' && !l.contains('\r') && !l.contains('\n'))
    ));
}

#[test]
fn addresses_that_cannot_be_reached_let_the_signalling_source_in() {
    let (_, negotiated) =
        answer(GOOD, &Capabilities::default(), None, Direction::SendRecv).unwrap();
    let source = "192.0.2.9".parse().unwrap();
    assert_eq!(
        negotiated.clone().with_signalling_source(source).alternate,
        None
    );
    let private = Negotiated {
        remote: "10.1.2.3:4000".parse().unwrap(),
        ..negotiated
    };
    assert_eq!(
        private.clone().with_signalling_source(source).alternate,
        Some(source)
    );
    assert_eq!(
        private
            .with_signalling_source("10.1.2.3".parse().unwrap())
            .alternate,
        None
    );
}

proptest! {
    #[test]
    fn no_bytes_panic(body in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = offered(&body);
    }

    /// Lines that are nearly right, in any order.
    #[test]
    fn no_description_panics_and_every_answer_can_be_read(lines in prop::collection::vec(line(), 0..14), port in 1u16..) {
        let body = format!("{HEAD}m=audio {port} RTP/AVP 0 96 97 101\r\n{}", lines.concat());
        if let Ok(description) = SessionDescription::parse(body.as_bytes()) {
            let mut author = Author::new(9);
            for caps in [Capabilities::default(), Capabilities::only(["G729", "PCMA"])] {
                if let Ok((_, negotiated)) = author.answer(&description, &caps, None, local(), Direction::SendRecv) {
                    prop_assert!(!negotiated.codecs.is_empty() && negotiated.codecs.iter().all(|c| c.codec.clock > 0));
                    prop_assert!((10..=60).contains(&negotiated.ptime_ms));
                }
                if let Ok((body, offer)) = author.offer(&caps, Some(&description), local(), Direction::SendRecv) {
                    let ours = SessionDescription::parse(&body).unwrap();
                    let (index, media) = ours.audio().unwrap();
                    prop_assert_eq!((index, ours.media.len()), (offer.index, offer.streams));
                    prop_assert_eq!(&media.codecs, &offer.codecs);
                    let mut numbers: Vec<u8> = media.codecs.iter().chain(&media.events).map(|c| c.payload).collect();
                    numbers.sort_unstable();
                    numbers.dedup();
                    prop_assert_eq!(numbers.len(), media.codecs.len() + media.events.len());
                    let _ = author.accept_answer(&offer, &description);
                }
            }
        }
    }
}

fn line() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "a=rtpmap:96 opus/48000/2",
        "a=rtpmap:97 G729/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=rtpmap:96 telephone-event/48000",
        "a=rtpmap:97 PCMA/8000",
        "a=rtpmap:0 PCMU/16000",
        "a=fmtp:96 x=1",
        "a=ptime:40",
        "a=ptime:-1",
        "a=sendonly",
        "a=inactive",
        "c=IN IP6 2001:db8::1",
        "c=IN IP4 0.0.0.0",
        "m=video 0 RTP/AVP 31",
        "m=audio 4000 RTP/AVP 8 8 96",
        "m=audio 0 RTP/AVP 0",
        "b=AS:64",
        "a=rtcp:1 IN IP4 x",
        "a=rtcp:65535",
        "a=mid:0",
        "i=x",
        "k=clear:x",
        "a=rtpmap:96 /8000",
        "a=rtpmap:96 x/8000/0",
    ]);
    part.prop_map(|l| format!("{l}\r\n"))
}

fn local() -> SocketAddr {
    "203.0.113.1:10000".parse().unwrap()
}

fn parse(media: &str) -> SessionDescription {
    SessionDescription::parse(format!("{HEAD}{media}").as_bytes()).unwrap()
}

fn text(body: &[u8]) -> String {
    String::from_utf8(body.to_vec()).unwrap()
}

fn answer(
    media: &str,
    capabilities: &Capabilities,
    bridged: Option<&Negotiated>,
    direction: Direction,
) -> Result<(String, Negotiated), Refusal> {
    let (body, negotiated) =
        Author::new(100).answer(&parse(media), capabilities, bridged, local(), direction)?;
    Ok((text(&body), negotiated))
}

/// Offer A's codecs to B, who answers this.
fn call_b(a: &SessionDescription, answer: &str) -> Negotiated {
    let mut author = Author::new(4);
    let (_, offer) = author
        .offer(
            &Capabilities::default(),
            Some(a),
            local(),
            Direction::SendRecv,
        )
        .unwrap();
    author.accept_answer(&offer, &parse(answer)).unwrap()
}

fn offered(body: &[u8]) -> Result<(String, Negotiated), String> {
    let description = SessionDescription::parse(body).map_err(|e| e.to_string())?;
    let answered = Author::new(4).answer(
        &description,
        &Capabilities::default(),
        None,
        local(),
        Direction::SendRecv,
    );
    let (body, negotiated) = answered.map_err(|e| e.to_string())?;
    assert!(
        negotiated
            .codecs
            .iter()
            .all(|a| a.codec != Codec::new("", 0, 0))
    );
    Ok((text(&body), negotiated))
}
