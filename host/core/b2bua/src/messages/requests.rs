//! Our requests.

use super::ALLOW;
use crate::call_info::Transport;
use crate::cause::{Cause, quoted};
use crate::directory::Trunk;
use crate::leg::Leg;
use crate::provider::Outgoing;
use crate::world::World;
use bytes::Bytes;
use media::sdp::is_private;
use sip::auth::{self, Challenge, Credentials, Proof};
use sip::message::{HeaderName, SipUri};
use sip::{Dialog, Method, Request, Response};
use std::net::SocketAddr;

/// The INVITE of a B leg: nothing in it is the caller's but what may be (RFC 5853 §3.1).
pub(crate) fn invite(w: &World, leg: &Leg, outgoing: &Outgoing, hops: u8, offer: Bytes) -> Request {
    let display = outgoing
        .from_display
        .as_deref()
        .map_or(String::new(), |display| format!("{} ", quoted(display)));
    let mut invite = Request::builder(Method::Invite, outgoing.request_uri.as_str())
        .header(HeaderName::MaxForwards, hops)
        .header(
            HeaderName::From,
            format_args!("{display}<{}>;tag={}", outgoing.from_uri, leg.tag),
        )
        .header(HeaderName::To, format_args!("<{}>", outgoing.to_uri))
        .header(HeaderName::CallId, &leg.call_id)
        .header(HeaderName::CSeq, "1 INVITE")
        .header(
            HeaderName::Contact,
            contact(w, &leg.flow, leg.trunk.as_ref()),
        )
        .header(HeaderName::Allow, ALLOW)
        .build();
    name_product(w, &mut invite);
    for header in &outgoing.headers {
        invite.push_named(&header.name, &header.value);
    }
    invite.set_body("application/sdp", offer);
    invite
}

/// Our own address on this flow, for the peer's requests.
pub(crate) fn contact(w: &World, flow: &sip::Flow, trunk: Option<&Trunk>) -> String {
    let advertise = w.listener_of(flow).map_or_else(
        || flow.local.to_string(),
        |listener| listener.advertise.clone(),
    );
    let user = trunk
        .and_then(|trunk| trunk.username.as_deref())
        .map_or(String::new(), |user| {
            format!("{}@", sip::message::uri::encode_user(user))
        });
    let transport = match super::transport_of(flow.transport) {
        Transport::Udp => "",
        Transport::Tcp => ";transport=tcp",
        Transport::Tls => ";transport=tls",
        Transport::Ws => ";transport=ws",
        Transport::Wss => ";transport=wss",
    };
    format!("<sip:{user}{advertise}{transport}>")
}

/// The dialog that a 2xx to our INVITE makes (RFC 3261 §12.1.2).
pub(crate) fn uac_dialog(invite: &Request, response: &Response) -> Option<Dialog> {
    super::contact_uri(response)?;
    response.to_tag()?;
    Dialog::uac(invite, response).ok()
}

pub(crate) fn ack(w: &World, dialog: &Dialog, invite: &Request) -> Request {
    let mut ack = dialog.ack(invite.cseq().map_or(1, |cseq| cseq.number));
    name_product(w, &mut ack);
    ack
}

pub(crate) fn bye(w: &World, dialog: &mut Dialog, cause: &Cause) -> Request {
    let mut bye = dialog.request(Method::Bye);
    bye.set(HeaderName::Reason, cause.reason());
    name_product(w, &mut bye);
    bye
}

/// A re-INVITE or UPDATE with an offer.
pub(crate) fn modify(
    w: &World,
    dialog: &mut Dialog,
    contact: &str,
    method: Method,
    offer: Bytes,
) -> Request {
    let mut request = dialog.request(method);
    request.set(HeaderName::Contact, contact);
    request.set(HeaderName::Allow, ALLOW);
    name_product(w, &mut request);
    request.set_body("application/sdp", offer);
    request
}

/// INFO and the like: what it says, and nothing of where it came from.
pub(crate) fn passed(w: &World, dialog: &mut Dialog, original: &Request) -> Request {
    let mut request = dialog.request(original.method().clone());
    for name in [HeaderName::InfoPackage, HeaderName::ContentDisposition] {
        if let Some(value) = original.get(name) {
            request.set(name, value);
        }
    }
    name_product(w, &mut request);
    if let (Some(kind), false) = (original.content_type(), original.body().is_empty()) {
        request.set_body(&kind, original.body().clone());
    }
    request
}

/// Where a request inside the dialog goes: the first route or the remote target, if that is an
/// address that can be reached; else where the peer's last message came from (RFC 5626 §5).
pub(crate) fn hop(w: &World, dialog: &Dialog, flow: &sip::Flow) -> sip::Flow {
    let next = dialog.next_hop();
    let Ok(uri) = SipUri::parse(next) else {
        return *flow;
    };
    let Some(ip) = super::literal(uri.host) else {
        return *flow;
    };
    let came_from = flow.remote.ip();
    if ip != came_from && (ip.is_unspecified() || (is_private(ip) && !is_private(came_from))) {
        return *flow;
    }
    let wanted = uri.transport().unwrap_or(sip::Transport::Udp);
    // Over a connection the peer's own port is not the one it listens on: stay on it.
    if flow.transport.is_reliable()
        && flow.connection != 0
        && (ip == came_from || wanted == flow.transport)
    {
        return *flow;
    }
    let transport = if flow.transport.is_reliable() && ip == came_from {
        flow.transport
    } else {
        wanted
    };
    let remote = SocketAddr::new(ip, uri.port.unwrap_or(transport.default_port()));
    match w.listener(transport, ip.is_ipv4()) {
        Some(_) if transport == flow.transport => sip::Flow {
            remote,
            connection: 0,
            ..*flow
        },
        Some(listener) => sip::Flow {
            transport,
            local: listener.local,
            remote,
            connection: 0,
        },
        None => *flow,
    }
}

/// The request again with the trunk's credentials, as RFC 3261 §22.2 wants it: same Call-ID
/// and From tag, the next CSeq. None where there are no credentials for the challenge.
pub(crate) fn authorise(
    w: &mut World,
    trunk: Option<&Trunk>,
    request: &Request,
    response: &Response,
) -> Option<Request> {
    let trunk = trunk?;
    let (username, password) = (trunk.username.clone()?, trunk.password.clone()?);
    let challenge = Challenge::choose(response, trunk.realm.as_deref())?;
    let cnonce = format!("{:016x}", w.tokens.random_u64());
    let method = request.method().as_str();
    let proof = Proof {
        method,
        uri: request.uri(),
        cnonce: &cnonce,
        count: 1,
    };
    let answer = auth::answer(&challenge, &Credentials { username, password }, proof);
    let mut again = request.clone();
    let cseq = request.cseq()?.number.wrapping_add(1);
    again.set(HeaderName::CSeq, format_args!("{cseq} {method}"));
    again.set(challenge.answer_in, answer);
    Some(again)
}

/// A request that goes out again in a dialog takes the dialog's next number.
pub(crate) fn resequence(dialog: &mut Dialog, mut request: Request) -> Request {
    let method = request.method().clone();
    let next = dialog.request(method.clone());
    if let Some(cseq) = next.cseq() {
        request.set(HeaderName::CSeq, format_args!("{} {method}", cseq.number));
    }
    request
}

fn name_product(w: &World, request: &mut Request) {
    if !w.config.product.is_empty() {
        request.set(HeaderName::UserAgent, &w.config.product);
    }
}
