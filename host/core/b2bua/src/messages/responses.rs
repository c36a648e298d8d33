//! Our responses.

use super::{ALLOW, requests::contact};
use crate::cause::Cause;
use crate::directory::Trunk;
use crate::key::CallKey;
use crate::leg::Proceeding;
use crate::world::World;
use bytes::Bytes;
use sip::message::HeaderName;
use sip::{Dialog, Method, Request, Response};

/// With a To tag, which every response but 100 has (RFC 3261 §8.2.6.2).
pub(crate) fn respond(w: &mut World, request: &Request, status: u16) -> Response {
    let mut response = Response::to(request, status, "");
    if status > 100 {
        if !request.is_in_dialog() {
            response.set_to_tag(w.tokens.tag().as_str());
        }
        if !w.config.product.is_empty() {
            response.set(HeaderName::Server, &w.config.product);
        }
    }
    response
}

pub(crate) fn try_later(
    w: &mut World,
    request: &Request,
    status: u16,
    retry_after_s: Option<u32>,
) -> Response {
    let mut response = respond(w, request, status);
    if let Some(seconds) = retry_after_s {
        response.set(HeaderName::RetryAfter, seconds);
    }
    response
}

/// 18x, with the description of early media where there is any.
pub(crate) fn provisional(
    w: &mut World,
    proceeding: &Proceeding,
    tag: &str,
    contact: &str,
    status: u16,
    body: Option<Bytes>,
) -> Response {
    let mut response = tagged(w, &proceeding.invite, tag, status, "");
    response.set(HeaderName::Contact, contact);
    response.set(HeaderName::Allow, ALLOW);
    if let Some(body) = body {
        response.set_body("application/sdp", body);
    }
    response
}

/// The final refusal of an INVITE: who asks why finds the call.
pub(crate) fn refusal(
    w: &mut World,
    call: CallKey,
    proceeding: &Proceeding,
    tag: &str,
    cause: &Cause,
    contacts: &[String],
) -> Response {
    let mut response = tagged(w, &proceeding.invite, tag, cause.final_status(), "");
    explain(&mut response, call, cause);
    for contact in contacts {
        response.push(HeaderName::Contact, contact);
    }
    for (name, value) in &proceeding.extra {
        response.set_named(name, value);
    }
    response
}

/// The final refusal of a request inside a dialog.
pub(crate) fn refuse_request(
    w: &mut World,
    call: CallKey,
    request: &Request,
    cause: &Cause,
) -> Response {
    let mut response = respond(w, request, cause.final_status());
    explain(&mut response, call, cause);
    response
}

/// 200 to the INVITE that began a leg, and the dialog that it makes (RFC 3261 §12.1.1). None
/// where the INVITE has no usable Contact.
pub(crate) fn accept_invite(
    w: &mut World,
    proceeding: &Proceeding,
    tag: &str,
    contact: &str,
    body: Bytes,
) -> Option<(Dialog, Response)> {
    let mut response = tagged(w, &proceeding.invite, tag, 200, "");
    response.set(HeaderName::Contact, contact);
    response.set(HeaderName::Allow, ALLOW);
    response.set(HeaderName::Supported, "");
    response.set_body("application/sdp", body);
    let mut dialog = Dialog::uas(&proceeding.invite, tag).ok()?;
    dialog.confirm();
    Some((dialog, response))
}

pub(crate) fn accept_modify(
    w: &mut World,
    request: &Request,
    flow: &sip::Flow,
    trunk: Option<&Trunk>,
    body: Option<Bytes>,
) -> Response {
    let mut response = respond(w, request, 200);
    response.set(HeaderName::Contact, contact(w, flow, trunk));
    response.set(HeaderName::Allow, ALLOW);
    if let Some(body) = body {
        response.set_body("application/sdp", body);
    }
    response
}

/// What the other side answered to a request that we passed on.
pub(crate) fn passed_back(w: &mut World, request: &Request, answer: &Response) -> Response {
    let mut response = respond(w, request, passed_status(answer.code()));
    if let (Some(kind), false) = (answer.content_type(), answer.body().is_empty()) {
        response.set_body(&kind, answer.body().clone());
    }
    response
}

/// A status of one leg for the other: challenges and overload are each leg's own
/// (RFC 3261 §16.7).
pub(crate) fn passed_status(status: u16) -> u16 {
    match status {
        401 | 407 => 502,
        503 => 500,
        300..=399 => 502,
        _ => status,
    }
}

pub(crate) fn options_ok(w: &mut World, request: &Request) -> Response {
    let mut response = respond(w, request, 200);
    response.set(HeaderName::Allow, ALLOW);
    response.set(HeaderName::Accept, "application/sdp");
    response.set(HeaderName::Supported, "");
    response
}

/// 405 for a method that we know and do not serve here, 501 for one that we do not know.
pub(crate) fn not_allowed(w: &mut World, request: &Request) -> Response {
    let status = if matches!(request.method(), Method::Other(_)) {
        501
    } else {
        405
    };
    let mut response = respond(w, request, status);
    response.set(HeaderName::Allow, ALLOW);
    response
}

/// A request outside any dialog that is no INVITE.
pub(crate) fn answer_without_call(w: &mut World, request: &Request) -> Response {
    let unsupported = super::unsupported(request);
    match request.method() {
        _ if !unsupported.is_empty() => {
            let mut response = respond(w, request, 420);
            response.set(HeaderName::Unsupported, unsupported.join(", "));
            response
        }
        _ if !super::is_sip_uri(request.uri()) => respond(w, request, 416),
        Method::Options => options_ok(w, request),
        _ if request.max_forwards() == Some(0) => respond(w, request, 483),
        // Only inside a dialog do these mean anything here.
        Method::Bye | Method::Info | Method::Prack | Method::Update | Method::Notify => {
            respond(w, request, 481)
        }
        Method::Ack
        | Method::Cancel
        | Method::Invite
        | Method::Message
        | Method::Other(_)
        | Method::Publish
        | Method::Refer
        | Method::Register
        | Method::Subscribe => not_allowed(w, request),
    }
}

fn explain(response: &mut Response, call: CallKey, cause: &Cause) {
    // RFC 6432: Reason in responses.
    response.set(HeaderName::Reason, cause.reason());
    response.set_named("X-Gatepost-Call", call);
    if let Some(seconds) = cause.retry_after_s {
        response.set(HeaderName::RetryAfter, seconds);
    }
}

fn tagged(w: &World, request: &Request, tag: &str, status: u16, phrase: &str) -> Response {
    let mut response = Response::to(request, status, phrase);
    response.set_to_tag(tag);
    if !w.config.product.is_empty() {
        response.set(HeaderName::Server, &w.config.product);
    }
    response
}
