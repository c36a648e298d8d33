//! Two user agents, a network between them and a clock that jumps: every timer, every
//! repetition, the races.

#[path = "common/net.rs"]
mod net;

use net::{ALICE, BOB, Net, Weather};
use sip::transaction::Drop;
use sip::{
    ClientKey, Config, Dialog, Event, Failure, HeaderName, Message, Method, Request, Response,
    ServerKey, Transport,
};
use std::time::Duration;

#[test]
fn an_unanswered_invite_is_repeated_by_timer_a_and_given_up_by_timer_b() {
    let mut net = Net::new(1, Transport::Udp, Weather::FAIR);
    net.swallow = |_, _| true;
    let key = invite(&mut net);
    let mut failed = Vec::new();
    net.run(secs(60), |net, _, event| {
        failed.push((net.elapsed().as_millis(), format!("{event:?}")))
    });
    assert_eq!(
        net.times(ALICE, "INVITE"),
        [0, 500, 1500, 3500, 7500, 15_500, 31_500]
    );
    assert_eq!(
        failed,
        [(
            32_000,
            format!(
                "{:?}",
                Event::Failed {
                    key,
                    why: Failure::Timeout
                }
            )
        )]
    );
    assert!(net.layers[ALICE].is_empty());
}

#[test]
fn another_request_is_repeated_by_timer_e_and_given_up_by_timer_f() {
    let mut net = Net::new(1, Transport::Udp, Weather::FAIR);
    net.swallow = |_, _| true;
    options(&mut net);
    let mut failures = Vec::new();
    net.run(secs(60), |net, _, event| {
        if let Event::Failed { why, .. } = event {
            failures.push((net.elapsed().as_millis(), why));
        }
    });
    assert_eq!(
        net.times(ALICE, "OPTIONS"),
        [
            0, 500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500
        ]
    );
    assert_eq!(failures, [(32_000, Failure::Timeout)]);
}

#[test]
fn nothing_is_repeated_on_a_stream() {
    let mut net = Net::new(1, Transport::Tcp, Weather::FAIR);
    net.swallow = |_, _| true;
    invite(&mut net);
    options(&mut net);
    let mut failures = 0;
    net.run(secs(60), |_, _, event| {
        failures += usize::from(matches!(
            event,
            Event::Failed {
                why: Failure::Timeout,
                ..
            }
        ))
    });
    assert_eq!(
        (net.times(ALICE, "INVITE"), net.times(ALICE, "OPTIONS")),
        (vec![0], vec![0])
    );
    assert_eq!(failures, 2);
}

#[test]
fn a_lost_answer_is_repeated_when_the_request_is() {
    let mut net = Net::new(1, Transport::Udp, Weather::FAIR);
    net.swallow = |node, _| node == BOB;
    options(&mut net);
    let mut requests = 0;
    net.run(secs(2), |net, _, event| {
        if let Event::Request { key, request, .. } = event {
            requests += 1;
            respond(net, key, &request, 200);
        }
    });
    assert_eq!(requests, 1, "repetitions do not reach the user");
    assert_eq!(net.times(BOB, "200 OPTIONS"), [1, 501, 1501]);
    net.swallow = |_, _| false;
    let mut answers = 0;
    net.run(secs(60), |_, _, event| {
        answers += usize::from(matches!(event, Event::Response { .. }))
    });
    assert_eq!(answers, 1);
    // Timer J is 32 s and K is 5 s.
    assert!(net.layers.iter().all(|layer| layer.is_empty()));
}

#[test]
fn an_invite_that_nobody_answers_gets_100_by_itself_and_stops_being_repeated() {
    let mut net = Net::new(1, Transport::Udp, Weather::FAIR);
    let key = invite(&mut net);
    let mut codes = Vec::new();
    net.run(secs(100), |_, _, event| {
        if let Event::Response { key: of, response } = event {
            assert_eq!(of, key);
            codes.push(response.code());
        }
    });
    assert_eq!(codes, [100]);
    assert_eq!(net.times(ALICE, "INVITE"), [0]);
    assert_eq!(net.times(BOB, "100 INVITE"), [101]);
}

#[test]
fn a_refusal_is_repeated_by_timer_g_until_the_ack_comes() {
    let mut net = Net::new(1, Transport::Udp, Weather::FAIR);
    net.swallow = |node, text| node == ALICE && text == "ACK";
    invite(&mut net);
    let mut answers = Vec::new();
    let refuse = |net: &mut Net, _: usize, event: Event, answers: &mut Vec<u16>| match event {
        Event::Request { key, request, .. } => respond(net, key, &request, 486),
        Event::Response { response, .. } => answers.push(response.code()),
        _ => {}
    };
    net.run(secs(4), |net, node, event| {
        refuse(net, node, event, &mut answers)
    });
    assert_eq!(net.times(BOB, "486"), [1, 501, 1501, 3501]);
    assert_eq!(net.times(ALICE, "ACK").len(), 4, "each gets an ACK");
    assert_eq!(answers, [486], "the user hears of it once");
    net.swallow = |_, _| false;
    net.run(secs(40), |net, node, event| {
        refuse(net, node, event, &mut answers)
    });
    assert_eq!(net.times(BOB, "486"), [1, 501, 1501, 3501, 7501]);
    assert!(
        net.layers.iter().all(|layer| layer.is_empty()),
        "timers I and D are over"
    );
}

#[test]
fn a_refusal_without_ack_is_given_up_by_timer_h() {
    let mut net = Net::new(1, Transport::Udp, Weather::FAIR);
    net.swallow = |node, text| node == ALICE && text == "ACK";
    invite(&mut net);
    net.run(secs(90), |net, _, event| {
        if let Event::Request { key, request, .. } = event {
            respond(net, key, &request, 486);
        }
    });
    assert_eq!(net.times(BOB, "486").last(), Some(&31_501));
    assert!(net.layers[BOB].is_empty());
}

#[test]
fn a_success_is_repeated_on_every_transport_and_its_missing_ack_is_told() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut net = Net::new(1, transport, Weather::FAIR);
        invite(&mut net);
        let (mut answers, mut missing) = (0, Vec::new());
        net.run(secs(90), |net, _, event| match event {
            Event::Request { key, request, .. } => respond(net, key, &request, 200),
            Event::Response { .. } => answers += 1,
            Event::AckMissing { .. } => missing.push(net.elapsed().as_millis()),
            _ => {}
        });
        assert_eq!(
            net.times(BOB, "200"),
            [
                1, 501, 1501, 3501, 7501, 11_501, 15_501, 19_501, 23_501, 27_501, 31_501
            ]
        );
        assert_eq!(answers, 1, "repetitions do not reach the user");
        assert_eq!(missing, [32_001]);
        assert!(net.layers.iter().all(|layer| layer.is_empty()));
    }
}

#[test]
fn a_lost_ack_is_sent_again_for_the_repeated_success() {
    let mut net = Net::new(1, Transport::Udp, Weather::FAIR);
    net.swallow = |node, text| node == ALICE && text == "ACK";
    let key = invite(&mut net);
    let mut acks = 0;
    let mut user = |net: &mut Net, _: usize, event: Event| match event {
        Event::Request { key, request, .. } => respond(net, key, &request, 200),
        Event::Response { response, .. } => {
            acknowledge(net, key, &response);
        }
        Event::Ack { .. } => acks += 1,
        _ => {}
    };
    net.run(secs(1), &mut user);
    net.swallow = |_, _| false;
    net.run(secs(90), &mut user);
    assert_eq!(net.times(BOB, "200"), [1, 501, 1501]);
    assert_eq!(net.times(ALICE, "ACK").len(), 3);
    assert_eq!(acks, 1);
    assert!(net.layers.iter().all(|layer| layer.is_empty()));
}

#[test]
fn a_cancel_waits_for_a_provisional_response() {
    let mut net = Net::with(
        1,
        Transport::Udp,
        Weather::FAIR,
        Config {
            trying_after: None,
            ..Config::default()
        },
    );
    let key = invite(&mut net);
    net.layers[ALICE].cancel_with_reason(
        net.now,
        key,
        "SIP;cause=200;text=\"Call completed elsewhere\"",
    );
    let mut invite = None;
    let mut log = Vec::new();
    net.run(secs(1), |_, _, event| {
        if let Event::Request { key, request, .. } = event {
            invite = Some((key, request));
        }
    });
    assert_eq!(net.times(ALICE, "CANCEL"), Vec::<u128>::new());
    let (server, request) = invite.unwrap();
    respond(&mut net, server, &request, 180);
    net.run(secs(60), |net, _, event| match event {
        Event::Cancel {
            invite,
            request: cancel,
        } => {
            assert_eq!(invite, server);
            assert!(
                cancel
                    .get(HeaderName::Reason)
                    .unwrap()
                    .contains("elsewhere")
            );
            assert_eq!(
                cancel.via().unwrap().branch(),
                request.via().unwrap().branch()
            );
            respond(net, invite, &request, 487);
        }
        Event::Response { response, .. } => log.push(response.code()),
        Event::Failed { .. } => log.push(0),
        _ => {}
    });
    assert_eq!(log, [180, 487]);
    assert_eq!(
        (net.times(ALICE, "CANCEL"), net.times(BOB, "200 CANCEL")),
        (vec![1001], vec![1002])
    );
    assert!(net.layers.iter().all(|layer| layer.is_empty()));
}

#[test]
fn a_success_that_crosses_the_cancel_wins() {
    let mut net = Net::new(1, Transport::Udp, Weather::FAIR);
    let key = invite(&mut net);
    let mut server = None;
    net.run(secs(1), |net, _, event| {
        if let Event::Request { key, request, .. } = event {
            respond(net, key, &request, 180);
            server = Some((key, request));
        }
    });
    let (server, request) = server.unwrap();
    net.layers[ALICE].cancel(net.now, key);
    respond(&mut net, server, &request, 200);
    let mut log = Vec::new();
    net.run(secs(90), |net, node, event| match event {
        Event::Response { response, .. } => {
            log.push(response.code().to_string());
            acknowledge(net, key, &response);
        }
        Event::Cancel { .. } => log.push("cancel".into()),
        Event::Ack { .. } => log.push(format!("ack at {node}")),
        _ => {}
    });
    assert_eq!(log, ["200", "ack at 1"]);
    assert_eq!(
        net.times(BOB, "200 CANCEL").len(),
        1,
        "the CANCEL is answered and changes nothing"
    );
    assert!(net.layers.iter().all(|layer| layer.is_empty()));
}

#[test]
fn a_cancelled_invite_without_final_response_ends_after_64_t1() {
    let mut net = Net::new(1, Transport::Udp, Weather::FAIR);
    let key = invite(&mut net);
    net.run(secs(1), |_, _, _| {});
    net.layers[ALICE].cancel(net.now, key);
    let mut failed = Vec::new();
    net.run(secs(90), |net, node, event| {
        if matches!(event, Event::Failed { .. }) {
            failed.push((net.elapsed().as_millis(), node));
        }
    });
    assert_eq!(failed, [(33_000, ALICE)]);
}

#[test]
fn an_answered_call_cannot_be_cancelled() {
    let mut net = Net::new(1, Transport::Udp, Weather::FAIR);
    let key = invite(&mut net);
    net.run(secs(1), |net, _, event| match event {
        Event::Request { key, request, .. } => respond(net, key, &request, 200),
        Event::Response { response, .. } => drop(acknowledge(net, key, &response)),
        _ => {}
    });
    net.layers[ALICE].cancel(net.now, key);
    net.run(secs(2), |_, _, _| {});
    assert_eq!(net.times(ALICE, "CANCEL"), Vec::<u128>::new());
}

#[test]
fn a_cancel_for_nothing_gets_481() {
    let mut net = Net::new(1, Transport::Udp, Weather::FAIR);
    let text = "CANCEL sip:bob@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:bob@192.0.2.2>\r\nCall-ID: c\r\nCSeq: 1 CANCEL\r\n\r\n";
    let flow = net.flow(BOB);
    net.layers[BOB].handle_message(net.now, flow, text.into());
    let mut reasons = Vec::new();
    net.run(secs(1), |_, node, event| {
        if let Event::Dropped { reason, .. } = event {
            reasons.push((node, reason));
        }
    });
    assert_eq!(net.times(BOB, "481 CANCEL"), [0]);
    assert_eq!(
        reasons,
        [(BOB, Drop::StrayCancel), (ALICE, Drop::StrayResponse)]
    );
}

#[test]
fn timer_c_cancels_a_call_that_rings_for_ever() {
    let mut net = Net::new(1, Transport::Udp, Weather::FAIR);
    invite(&mut net);
    let mut invite = None;
    let mut codes = Vec::new();
    net.run(secs(400), |net, _, event| match event {
        Event::Request { key, request, .. } => {
            respond(net, key, &request, 180);
            invite = Some(request);
        }
        Event::Cancel { invite: key, .. } => respond(net, key, invite.as_ref().unwrap(), 487),
        Event::Response { response, .. } => codes.push(response.code()),
        _ => {}
    });
    assert_eq!(codes, [180, 487]);
    assert_eq!(net.times(ALICE, "CANCEL"), [185_002]);
}

#[test]
fn each_fork_that_answers_is_one_response_and_its_repetition_none() {
    let mut net = Net::new(1, Transport::Udp, Weather::FAIR);
    let key = invite(&mut net);
    let mut tags = Vec::new();
    let mut server = None;
    net.run(secs(1), |_, _, event| {
        if let Event::Request { request, .. } = event {
            server = Some(request);
        }
    });
    let request = server.unwrap();
    // A forking proxy sends both on, and repeats the first.
    for tag in ["one", "two", "one", "one"] {
        let mut response =
            Response::to(&request, 200, "").with(HeaderName::Contact, "<sip:bob@192.0.2.2>");
        response.set_to_tag(tag);
        let flow = net.flow(ALICE);
        let mut wire = response.to_bytes();
        // As it left the proxy: without what our BOB noted in Via.
        let Message::Response(mut clean) = Message::parse(wire.clone()).unwrap() else {
            unreachable!()
        };
        clean.set_first(
            HeaderName::Via,
            &format!(
                "SIP/2.0/UDP 192.0.2.1:5060;branch={}",
                request.via().unwrap().branch().unwrap()
            ),
        );
        wire = clean.to_bytes();
        net.layers[ALICE].handle_message(net.now, flow, wire);
        net.run(
            net.elapsed() + Duration::from_millis(10),
            |net, node, event| {
                if let (ALICE, Event::Response { response, .. }) = (node, event) {
                    tags.push(response.to_tag().unwrap().to_owned());
                    acknowledge(net, key, &response);
                }
            },
        );
    }
    assert_eq!(tags, ["one", "two"]);
    assert_eq!(net.times(ALICE, "ACK").len(), 4);
}

#[test]
fn a_request_that_came_by_two_ways_gets_482_on_the_second() {
    let mut net = Net::new(1, Transport::Udp, Weather::FAIR);
    let text = |branch: &str| {
        format!(
            "OPTIONS sip:bob@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK{branch}\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:bob@192.0.2.2>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n"
        )
    };
    let flow = net.flow(BOB);
    for branch in ["one", "two", "two"] {
        net.layers[BOB].handle_message(net.now, flow, text(branch).into());
    }
    let mut requests = 0;
    net.run(secs(1), |_, _, event| {
        requests += usize::from(matches!(event, Event::Request { .. }))
    });
    assert_eq!(requests, 1);
    assert_eq!(net.times(BOB, "482").len(), 2);
}

#[test]
fn a_response_with_another_sent_by_or_a_second_via_is_dropped() {
    let mut net = Net::new(1, Transport::Udp, Weather::FAIR);
    options(&mut net);
    let mut request = None;
    net.run(secs(1), |_, _, event| {
        if let Event::Request { request: got, .. } = event {
            request = Some(got);
        }
    });
    let request = request.unwrap();
    let branch = request.via().unwrap().branch().unwrap();
    let flow = net.flow(ALICE);
    for via in [
        format!("SIP/2.0/UDP 192.0.2.9:5060;branch={branch}"),
        format!("SIP/2.0/UDP 192.0.2.1:5061;branch={branch}"),
        format!(
            "SIP/2.0/UDP 192.0.2.1:5060;branch={branch}, SIP/2.0/UDP 192.0.2.3;branch=z9hG4bK1"
        ),
        "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKguess".to_owned(),
    ] {
        let mut response = Response::to(&request, 200, "");
        response.set_first(HeaderName::Via, &via);
        net.layers[ALICE].handle_message(net.now, flow, response.to_bytes());
    }
    let mut strays = 0;
    net.run(secs(1), |_, _, event| match event {
        Event::Dropped {
            reason: Drop::StrayResponse,
            ..
        } => strays += 1,
        event => panic!("{event:?}"),
    });
    assert_eq!(strays, 4);
}

#[test]
fn the_source_is_noted_in_via() {
    let mut net = Net::new(1, Transport::Udp, Weather::FAIR);
    let flow = net.flow(BOB);
    let text = "OPTIONS sip:bob@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5099;rport;branch=z9hG4bKx,SIP/2.0/UDP h;branch=z9hG4bKy\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:bob@192.0.2.2>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n";
    net.layers[BOB].handle_message(net.now, flow, text.into());
    let Some(Event::Request { request, .. }) = net.layers[BOB].poll_event() else {
        panic!("a request")
    };
    let via = request.via().unwrap();
    assert_eq!(
        (via.received(), via.rport()),
        ("192.0.2.1".parse().ok(), Some(Some(5060)))
    );
    assert_eq!(
        (via.host, via.port, via.branch()),
        ("10.0.0.1", Some(5099), Some("z9hG4bKx"))
    );
    assert_eq!(request.vias().count(), 2);
}

#[test]
fn beyond_the_limit_new_requests_get_503() {
    let mut net = Net::with(
        1,
        Transport::Udp,
        Weather::FAIR,
        Config {
            transactions: 3,
            ..Config::default()
        },
    );
    for _ in 0..3 {
        options(&mut net);
    }
    let mut codes = Vec::new();
    net.run(secs(1), |_, _, event| {
        if let Event::Response { response, .. } = event {
            codes.push((
                response.code(),
                response.named("Retry-After").map(str::to_owned),
            ));
        }
    });
    assert_eq!(codes, []);
    options(&mut net);
    net.run(secs(2), |_, _, event| {
        if let Event::Response { response, .. } = event {
            codes.push((
                response.code(),
                response.named("Retry-After").map(str::to_owned),
            ));
        }
    });
    assert_eq!(codes, [(503, Some("5".to_owned()))]);
}

#[test]
fn requests_on_a_dead_flow_fail_and_responses_take_a_new_connection() {
    let mut net = Net::new(1, Transport::Tcp, Weather::FAIR);
    let key = options(&mut net);
    let mut server = None;
    net.run(secs(1), |_, _, event| {
        if let Event::Request { key, request, .. } = event {
            server = Some((key, request));
        }
    });
    let (alice, bob) = (net.flow(ALICE), net.flow(BOB));
    net.layers[ALICE].handle_flow_failed(net.now, &alice);
    assert!(
        matches!(net.layers[ALICE].poll_event(), Some(Event::Failed { key: failed, why: Failure::Transport }) if failed == key)
    );
    net.layers[BOB].handle_flow_failed(net.now, &bob);
    let (server, request) = server.unwrap();
    respond(&mut net, server, &request, 200);
    assert_eq!(net.layers[BOB].poll_transmit().unwrap().flow.connection, 0);
}

/// A whole call over a bad network, many times: whatever is lost, doubled or overtaken, each
/// side hears of each thing once, and in the end nothing is left.
#[test]
fn over_a_lossy_network_each_side_hears_of_each_thing_once() {
    let (mut completed, mut given_up) = (0, 0);
    for seed in 0..300 {
        let loss = seed % 31;
        let weather = Weather {
            loss,
            duplication: loss,
            jitter: Duration::from_millis(loss * 20),
        };
        let mut net = Net::new(seed, Transport::Udp, weather);
        let outcome = call(&mut net);
        assert!(
            outcome.invites <= 1 && outcome.acks <= 1 && outcome.byes <= 1,
            "seed {seed}: {outcome:?}"
        );
        assert!(
            outcome.successes + outcome.failures <= 2 && outcome.bye_answers <= 1,
            "seed {seed}: {outcome:?}"
        );
        assert!(
            net.layers.iter().all(|layer| layer.is_empty()),
            "seed {seed}: something is left"
        );
        if outcome.bye_answers == 1 {
            assert_eq!(
                (outcome.invites, outcome.successes, outcome.byes),
                (1, 1, 1),
                "seed {seed}: {outcome:?}"
            );
            completed += 1;
        } else {
            assert!(
                outcome.failures > 0 || outcome.ack_missing > 0,
                "seed {seed}: {outcome:?}"
            );
            given_up += 1;
        }
    }
    assert!(
        completed >= 290,
        "{completed} completed, {given_up} given up"
    );
}

#[test]
fn a_seed_gives_the_same_run_twice() {
    let weather = Weather {
        loss: 20,
        duplication: 10,
        jitter: Duration::from_millis(300),
    };
    let run = || {
        let mut net = Net::new(42, Transport::Udp, weather);
        call(&mut net);
        net.sent
    };
    assert_eq!(run(), run());
}

#[test]
fn thirty_thousand_transactions_at_once_all_end() {
    let mut net = Net::new(1, Transport::Udp, Weather::FAIR);
    for _ in 0..30_000 {
        options(&mut net);
    }
    let mut answers = 0;
    net.run(secs(60), |net, _, event| match event {
        Event::Request { key, request, .. } => respond(net, key, &request, 200),
        Event::Response { .. } => answers += 1,
        _ => {}
    });
    assert_eq!(answers, 30_000);
    assert!(net.layers.iter().all(|layer| layer.is_empty()));
}

#[derive(Debug, Default)]
struct CallOutcome {
    invites: u32,
    successes: u32,
    acks: u32,
    byes: u32,
    bye_answers: u32,
    failures: u32,
    ack_missing: u32,
}

/// INVITE, 180, 200 after 3 s, ACK, BYE from the caller 2 s after.
fn call(net: &mut Net) -> CallOutcome {
    let mut outcome = CallOutcome::default();
    let key = invite(net);
    let mut ringing = None;
    let mut dialog = None;
    let mut is_over = false;
    for second in 1..400 {
        net.run(secs(second), |net, node, event| match (node, event) {
            (BOB, Event::Request { key, request, .. }) => match request.method() {
                Method::Invite => {
                    outcome.invites += 1;
                    respond(net, key, &request, 180);
                    ringing = Some((key, request, net.elapsed()));
                }
                Method::Bye => {
                    outcome.byes += 1;
                    respond(net, key, &request, 200);
                }
                method => panic!("{method}"),
            },
            (BOB, Event::Ack { .. }) => outcome.acks += 1,
            (BOB, Event::AckMissing { .. }) => outcome.ack_missing += 1,
            (ALICE, Event::Response { key: of, response }) if response.is_final() => {
                if of == key {
                    assert_eq!(response.code(), 200);
                    outcome.successes += 1;
                    dialog = Some((acknowledge(net, key, &response), net.elapsed()));
                } else {
                    outcome.bye_answers += 1;
                }
            }
            (ALICE, Event::Response { .. }) => {}
            (ALICE, Event::Failed { .. }) => outcome.failures += 1,
            (_, Event::Dropped { .. }) => {}
            (node, event) => panic!("{node}: {event:?}"),
        });
        if let Some((key, request, _)) =
            ringing.take_if(|(_, _, since)| net.elapsed() >= *since + secs(3))
        {
            respond(net, key, &request, 200);
        }
        if let Some((dialog, since)) = &mut dialog
            && !is_over
            && net.elapsed() >= *since + secs(2)
        {
            is_over = true;
            let bye = dialog.request(Method::Bye);
            let flow = net.flow(ALICE);
            net.layers[ALICE].request(net.now, flow, bye);
        }
    }
    outcome
}

fn invite(net: &mut Net) -> ClientKey {
    send(net, Method::Invite)
}

fn options(net: &mut Net) -> ClientKey {
    send(net, Method::Options)
}

fn send(net: &mut Net, method: Method) -> ClientKey {
    let request = new_request(net, method);
    let flow = net.flow(ALICE);
    net.layers[ALICE].request(net.now, flow, request)
}

fn new_request(net: &mut Net, method: Method) -> Request {
    let tokens = net.layers[ALICE].tokens();
    Request::builder(method.clone(), "sip:bob@192.0.2.2")
        .header(
            HeaderName::From,
            format_args!("<sip:alice@192.0.2.1>;tag={}", tokens.tag()),
        )
        .header(HeaderName::To, "<sip:bob@192.0.2.2>")
        .header(HeaderName::CallId, tokens.call_id())
        .header(HeaderName::CSeq, format_args!("1 {method}"))
        .header(HeaderName::Contact, "<sip:alice@192.0.2.1>")
        .build()
}

fn respond(net: &mut Net, key: ServerKey, request: &Request, code: u16) {
    let response = Response::to(request, code, "").with(HeaderName::Contact, "<sip:bob@192.0.2.2>");
    net.layers[BOB].respond(net.now, key, response);
}

/// Makes the dialog of a 200 at ALICE and sends the ACK.
fn acknowledge(net: &mut Net, key: ClientKey, response: &Response) -> Dialog {
    // The request as far as a dialog looks at it.
    let request = Request::builder(Method::Invite, "sip:bob@192.0.2.2")
        .header(HeaderName::From, response.get(HeaderName::From).unwrap())
        .header(HeaderName::CallId, response.call_id().unwrap())
        .header(HeaderName::CSeq, "1 INVITE")
        .build();
    let dialog = Dialog::uac(&request, response).unwrap();
    let flow = net.flow(ALICE);
    net.layers[ALICE].ack(key, flow, dialog.ack(1));
    dialog
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
