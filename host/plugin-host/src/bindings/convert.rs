//! Between WIT types and the types of the call.

use super::wit as types;
use super::{connector, flow, provider, router};
use crate::connector as dialect;
use b2bua::call_info::{Attestation, CallInfo, Direction, Endpoint, Ext, Header, Transport};
use b2bua::decision::{Decision, DialPlan, FlowRef, Reject, Strategy, Target};
use b2bua::flow as call;
use b2bua::flow::{FunctionCall, Transcript};
use b2bua::provider::{Outgoing, Read, Shaped};
use bytes::Bytes;

/// `wanted` are the names of the headers that the manifest asks for.
pub fn call_info(info: &CallInfo, wanted: &[String]) -> types::CallInfo {
    let asked = |header: &&Header| {
        wanted
            .iter()
            .any(|name| name.eq_ignore_ascii_case(&header.name))
    };
    types::CallInfo {
        call_id: info.call_id.clone(),
        tenant: info.tenant.clone(),
        trunk: info.trunk.clone(),
        direction: match info.direction {
            Direction::Inbound => types::Direction::Inbound,
            Direction::Outbound => types::Direction::Outbound,
        },
        source: info.source.into(),
        request_uri: info.request_uri.clone(),
        called: info.called.clone(),
        caller: info.caller.clone(),
        from_uri: info.from_uri.clone(),
        from_display: info.from_display.clone(),
        to_uri: info.to_uri.clone(),
        attestation: match info.attestation {
            Attestation::None => types::Attestation::None,
            Attestation::A => types::Attestation::A,
            Attestation::B => types::Attestation::B,
            Attestation::C => types::Attestation::C,
        },
        codecs: info.codecs.clone(),
        headers: info
            .headers
            .iter()
            .filter(asked)
            .cloned()
            .map(Into::into)
            .collect(),
        received_ms: info.received_ms,
        ext: info.ext.clone(),
    }
}

impl From<Endpoint> for types::Endpoint {
    fn from(e: Endpoint) -> Self {
        types::Endpoint {
            host: e.host.to_string(),
            port: e.port,
            transport: match e.transport {
                Transport::Udp => types::Transport::Udp,
                Transport::Tcp => types::Transport::Tcp,
                Transport::Tls => types::Transport::Tls,
                Transport::Ws => types::Transport::Ws,
                Transport::Wss => types::Transport::Wss,
            },
        }
    }
}

impl From<Header> for types::Header {
    fn from(h: Header) -> Self {
        types::Header {
            name: h.name,
            value: h.value,
        }
    }
}

impl From<types::Header> for Header {
    fn from(h: types::Header) -> Self {
        Header {
            name: h.name,
            value: h.value,
        }
    }
}

fn headers<A: Into<B>, B>(headers: Vec<A>) -> Vec<B> {
    headers.into_iter().map(Into::into).collect()
}

/// `None` is `next`.
pub fn decision(decision: router::Decision) -> Option<Decision> {
    match decision {
        router::Decision::Dial(plan) => Some(Decision::Dial(plan.into())),
        router::Decision::Reject(reject) => Some(Decision::Reject(reject.into())),
        router::Decision::Redirect(contacts) => Some(Decision::Redirect(contacts)),
        router::Decision::RunFlow(flow) => Some(Decision::RunFlow(FlowRef {
            name: flow.name,
            ext: flow.ext,
        })),
        router::Decision::Next => None,
    }
}

impl From<types::DialPlan> for DialPlan {
    fn from(p: types::DialPlan) -> Self {
        DialPlan {
            targets: p.targets.into_iter().map(Into::into).collect(),
            strategy: match p.strategy {
                types::Strategy::Serial => Strategy::Serial,
                types::Strategy::Parallel => Strategy::Parallel,
            },
            max_duration_s: p.max_duration_s,
            ext: p.ext,
        }
    }
}

impl From<types::Target> for Target {
    fn from(t: types::Target) -> Self {
        Target {
            uri: t.uri,
            trunk: t.trunk,
            caller_id: t.caller_id,
            headers: headers(t.headers),
            codecs: t.codecs,
            timeout_ms: t.timeout_ms,
            ext: t.ext,
        }
    }
}

pub fn target(t: &Target) -> types::Target {
    types::Target {
        uri: t.uri.clone(),
        trunk: t.trunk.clone(),
        caller_id: t.caller_id.clone(),
        headers: headers(t.headers.clone()),
        codecs: t.codecs.clone(),
        timeout_ms: t.timeout_ms,
        ext: t.ext.clone(),
    }
}

impl From<types::Reject> for Reject {
    fn from(r: types::Reject) -> Self {
        Reject {
            code: r.code,
            reason: r.reason,
            retry_after_s: r.retry_after_s,
        }
    }
}

/// A reported failure in words.
pub fn failure(failure: types::Failure) -> String {
    match failure {
        types::Failure::Config(text) => format!("its configuration: {text}"),
        types::Failure::Input(text) => format!("the input: {text}"),
        types::Failure::Upstream(text) => format!("what it depends on: {text}"),
        types::Failure::Internal(text) => format!("internal: {text}"),
    }
}

pub fn outgoing(o: &Outgoing) -> provider::Outgoing {
    provider::Outgoing {
        request_uri: o.request_uri.clone(),
        from_uri: o.from_uri.clone(),
        from_display: o.from_display.clone(),
        to_uri: o.to_uri.clone(),
        headers: headers(o.headers.clone()),
    }
}

pub fn shaped(s: provider::Shaped) -> Shaped {
    Shaped {
        request_uri: s.request_uri,
        from_uri: s.from_uri,
        from_display: s.from_display,
        to_uri: s.to_uri,
        set_headers: headers(s.set_headers),
        remove_headers: s.remove_headers,
    }
}

pub fn read(r: provider::Read) -> Read {
    Read {
        called: r.called,
        caller: r.caller,
        ext: r.ext,
    }
}

pub fn notices(notices: Vec<provider::Notice>) -> Vec<(String, Ext)> {
    notices.into_iter().map(|n| (n.kind, n.ext)).collect()
}

pub fn http_headers(headers: &[(String, String)]) -> Vec<types::Header> {
    headers
        .iter()
        .map(|(name, value)| types::Header {
            name: name.clone(),
            value: value.clone(),
        })
        .collect()
}

pub fn http_headers_back(headers: Vec<types::Header>) -> Vec<(String, String)> {
    headers.into_iter().map(|h| (h.name, h.value)).collect()
}

pub fn flow_event(event: call::FlowEvent) -> flow::Event {
    use call::FlowEvent as E;
    match event {
        E::Answered => flow::Event::Answered,
        E::ConnectEnded { id, normal, reason } => {
            flow::Event::ConnectEnded(flow::ConnectEnded { id, normal, reason })
        }
        E::Connected { id } => flow::Event::Connected(id),
        E::DialAnswered { id } => flow::Event::DialAnswered(id),
        E::DialEnded { id } => flow::Event::DialEnded(id),
        E::DialFailed { id, status, reason } => {
            flow::Event::DialFailed(flow::DialFailed { id, status, reason })
        }
        E::DialRinging { id } => flow::Event::DialRinging(id),
        E::Digit(digit) => flow::Event::Digit(digit.to_string()),
        E::FunctionCall(c) => flow::Event::FunctionCall(flow::FunctionCall {
            id: c.id,
            call: c.call,
            name: c.name,
            arguments: c.arguments,
        }),
        E::Gathered { id, digits, end } => flow::Event::Gathered(flow::Gathered {
            id,
            digits,
            end: end.into(),
        }),
        E::Hangup(status) => flow::Event::Hangup(status),
        E::Played { id, end, played_ms } => flow::Event::Played(flow::Played {
            id,
            end: end.into(),
            played_ms,
        }),
        E::Started => flow::Event::Started,
        E::Timer(id) => flow::Event::Timer(id),
        E::Transcript(t) => flow::Event::Transcript(flow::Transcript {
            id: t.id,
            speaker: t.speaker,
            text: t.text,
            final_: t.r#final,
        }),
    }
}

impl From<call::GatherEnd> for flow::GatherEnd {
    fn from(end: call::GatherEnd) -> Self {
        match end {
            call::GatherEnd::MaxDigits => flow::GatherEnd::MaxDigits,
            call::GatherEnd::Stopped => flow::GatherEnd::Stopped,
            call::GatherEnd::Terminator => flow::GatherEnd::Terminator,
            call::GatherEnd::Timeout => flow::GatherEnd::Timeout,
        }
    }
}

impl From<call::PlayEnd> for flow::PlayEnd {
    fn from(end: call::PlayEnd) -> Self {
        match end {
            call::PlayEnd::Failed => flow::PlayEnd::Failed,
            call::PlayEnd::Finished => flow::PlayEnd::Finished,
            call::PlayEnd::Interrupted => flow::PlayEnd::Interrupted,
            call::PlayEnd::Stopped => flow::PlayEnd::Stopped,
        }
    }
}

impl From<flow::Prompt> for call::Prompt {
    fn from(prompt: flow::Prompt) -> Self {
        match prompt {
            flow::Prompt::File(name) => call::Prompt::File(name),
            flow::Prompt::Say(text) => call::Prompt::Say(text),
            flow::Prompt::Tone(name) => call::Prompt::Tone(name),
            flow::Prompt::Silence(ms) => call::Prompt::Silence(ms),
        }
    }
}

pub fn flow_action(action: flow::Action) -> call::FlowAction {
    use call::FlowAction as A;
    match action {
        flow::Action::Answer => A::Answer,
        flow::Action::Ring => A::Ring,
        flow::Action::Play(p) => A::Play(call::Play {
            id: p.id,
            prompts: p.prompts.into_iter().map(Into::into).collect(),
            interruptible: p.interruptible,
            repeat: p.repeat,
        }),
        flow::Action::StopPlay(id) => A::StopPlay(id),
        flow::Action::Gather(g) => A::Gather(call::Gather {
            id: g.id,
            max_digits: g.max_digits,
            terminators: g.terminators,
            first_timeout_ms: g.first_timeout_ms,
            inter_timeout_ms: g.inter_timeout_ms,
        }),
        flow::Action::StopGather(id) => A::StopGather(id),
        flow::Action::StartTimer(t) => A::StartTimer {
            id: t.id,
            after_ms: t.after_ms,
        },
        flow::Action::CancelTimer(id) => A::CancelTimer(id),
        flow::Action::Dial(d) => A::Dial(call::Dial {
            id: d.id,
            plan: d.plan.into(),
            ringback: d.ringback.map(Into::into),
            resume: d.resume,
        }),
        flow::Action::StopDial(id) => A::StopDial(id),
        flow::Action::Connect(c) => A::Connect(call::Connect {
            id: c.id,
            connector: c.connector,
            settings: c.settings,
        }),
        flow::Action::FunctionResult(r) => A::FunctionResult(call::FunctionResult {
            id: r.id,
            call: r.call,
            output: r.output,
            respond: r.respond,
        }),
        flow::Action::UpdateConnect((id, json)) => A::UpdateConnect { id, json },
        flow::Action::Disconnect(id) => A::Disconnect(id),
        flow::Action::SendDigits(digits) => A::SendDigits(digits),
        flow::Action::Note((kind, text)) => A::Note { kind, text },
        flow::Action::Hangup(reject) => A::Hangup(reject.into()),
        flow::Action::Other((name, ext)) => A::Other { name, ext },
    }
}

impl From<connector::MediaFormat> for dialect::Format {
    fn from(format: connector::MediaFormat) -> Self {
        dialect::Format {
            encoding: match format.encoding {
                connector::Encoding::PcmS16le => dialect::Encoding::PcmS16le,
                connector::Encoding::Pcmu => dialect::Encoding::Pcmu,
                connector::Encoding::Pcma => dialect::Encoding::Pcma,
            },
            rate: format.rate,
        }
    }
}

pub fn connection(c: connector::Connection) -> dialect::Connection {
    dialect::Connection {
        url: c.url,
        headers: http_headers_back(c.headers),
        subprotocols: c.subprotocols,
        input: c.input.into(),
        output: c.output.into(),
        frame_ms: c.frame_ms,
    }
}

pub fn connector_event(event: dialect::Event) -> connector::Event {
    use dialect::Event as E;
    match event {
        // A `Bytes` that nobody else holds becomes the vector without a copy.
        E::Audio(audio) => connector::Event::Audio(audio.into()),
        E::Binary(bytes) => connector::Event::Binary(bytes.into()),
        E::Cleared { item, played_ms } => {
            connector::Event::Cleared(connector::Cleared { item, played_ms })
        }
        E::Closed { code, reason } => connector::Event::Closed((code, reason)),
        E::Digit(digit) => connector::Event::Digit(digit.to_string()),
        E::FunctionResult {
            call,
            output,
            respond,
        } => connector::Event::FunctionResult(connector::FunctionResult {
            call,
            output,
            respond,
        }),
        E::Marked(mark) => connector::Event::Marked(mark),
        E::Opened => connector::Event::Opened,
        E::Text(text) => connector::Event::Text(text),
        E::Timer(id) => connector::Event::Timer(id),
        E::Update(json) => connector::Event::Update(json),
    }
}

pub fn connector_action(action: connector::Action, id: u32) -> dialect::Action {
    use dialect::Action as A;
    match action {
        connector::Action::SendText(text) => A::SendText(text),
        connector::Action::SendBinary(bytes) => A::SendBinary(bytes),
        connector::Action::Play(chunk) => A::Play {
            item: chunk.item,
            audio: Bytes::from(chunk.audio),
        },
        connector::Action::Mark(mark) => A::Mark(mark),
        connector::Action::Clear => A::Clear,
        connector::Action::Ready => A::Ready,
        connector::Action::FunctionCall(c) => A::FunctionCall(FunctionCall {
            id,
            call: c.call,
            name: c.name,
            arguments: c.arguments,
        }),
        connector::Action::Transcript(t) => A::Transcript(Transcript {
            id,
            speaker: t.speaker,
            text: t.text,
            r#final: t.final_,
        }),
        connector::Action::StartTimer(t) => A::StartTimer {
            id: t.id,
            after_ms: t.after_ms,
        },
        connector::Action::CancelTimer(id) => A::CancelTimer(id),
        connector::Action::Close(reason) => A::Close(reason),
        connector::Action::Fail(reason) => A::Fail(reason),
        connector::Action::Note((kind, text)) => A::Note { kind, text },
        connector::Action::Other((name, _)) => A::Other(name),
    }
}
