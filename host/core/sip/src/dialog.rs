//! Dialogs (RFC 3261 §12): who the two sides are, by which way requests go, and which
//! sequence numbers are due. Knows nothing of sessions and calls.

use crate::message::{HeaderName, Method, NameAddr, Request, Response, SipUri};

/// RFC 3261 §12: Call-ID and both tags.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DialogId {
    pub call_id: Box<str>,
    pub local_tag: Box<str>,
    /// Empty for a peer of RFC 2543, which need not have one.
    pub remote_tag: Box<str>,
}

#[derive(Debug, Clone)]
pub struct Dialog {
    id: DialogId,
    state: State,
    /// From (or To) of our requests, with our tag.
    local: Box<str>,
    remote: Box<str>,
    local_cseq: u32,
    /// None until the peer sent a request in it.
    remote_cseq: Option<u32>,
    remote_target: Box<str>,
    /// URIs with their brackets, first hop first.
    route_set: Vec<Box<str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Early,
    Confirmed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DialogError {
    /// The peer's message cannot make a dialog. 400 where it is a request.
    #[error("Contact Missing")]
    NoContact,
    #[error("From, To, Call-ID or CSeq cannot be read")]
    Incomplete,
    /// 500 (RFC 3261 §12.2.2).
    #[error("CSeq Lower Than Before")]
    CSeqTooLow,
}

impl DialogError {
    /// The answer to the request that was at fault.
    pub fn status(self) -> u16 {
        match self {
            DialogError::NoContact | DialogError::Incomplete => 400,
            DialogError::CSeqTooLow => 500,
        }
    }
}

impl Dialog {
    /// Of a request that we answer with `local_tag` (RFC 3261 §12.1.1). Early until `confirm`.
    pub fn uas(request: &Request, local_tag: &str) -> Result<Self, DialogError> {
        let contact = request.contact().ok_or(DialogError::NoContact)?;
        let cseq = request.cseq().ok_or(DialogError::Incomplete)?;
        let (to, from) = (
            text(request.get(HeaderName::To))?,
            text(request.get(HeaderName::From))?,
        );
        let local = if request.to_tag().is_some() {
            to.into()
        } else {
            format!("{to};tag={local_tag}").into_boxed_str()
        };
        Ok(Dialog {
            id: DialogId {
                call_id: text(request.call_id())?.into(),
                local_tag: local_tag.into(),
                remote_tag: request.from_tag().unwrap_or("").into(),
            },
            state: State::Early,
            local,
            remote: from.into(),
            local_cseq: 0,
            remote_cseq: Some(cseq.number),
            remote_target: contact.uri.into(),
            route_set: request
                .list(HeaderName::RecordRoute)
                .map(Into::into)
                .collect(),
        })
    }

    /// Of a response to a request of ours (RFC 3261 §12.1.2): early by a 1xx with a To tag,
    /// confirmed by a 2xx. `request` is what was given to the layer. Each To tag is a dialog
    /// of its own.
    pub fn uac(request: &Request, response: &Response) -> Result<Self, DialogError> {
        let remote_tag = response.to_tag().unwrap_or("");
        // A 1xx may come without Contact (RFC 3261 table 3, optional): until the 2xx requests
        // go where the INVITE went.
        let contact = match response.contact() {
            Some(contact) => contact.uri,
            None if response.is_provisional() => request.uri(),
            None => return Err(DialogError::NoContact),
        };
        let mut route_set: Vec<Box<str>> = response
            .list(HeaderName::RecordRoute)
            .map(Into::into)
            .collect();
        route_set.reverse();
        Ok(Dialog {
            id: DialogId {
                call_id: text(request.call_id())?.into(),
                local_tag: text(request.from_tag())?.into(),
                remote_tag: remote_tag.into(),
            },
            state: if response.is_success() {
                State::Confirmed
            } else {
                State::Early
            },
            local: text(request.get(HeaderName::From))?.into(),
            remote: text(response.get(HeaderName::To))?.into(),
            local_cseq: request.cseq().ok_or(DialogError::Incomplete)?.number,
            remote_cseq: None,
            remote_target: contact.into(),
            route_set,
        })
    }

    /// Our side of an early dialog: the 2xx came. It brings target and route set anew
    /// (RFC 3261 §13.2.2.4).
    pub fn confirm_uac(&mut self, response: &Response) {
        self.state = State::Confirmed;
        if let Some(contact) = response.contact() {
            self.remote_target = contact.uri.into();
        }
        let mut route_set: Vec<Box<str>> = response
            .list(HeaderName::RecordRoute)
            .map(Into::into)
            .collect();
        route_set.reverse();
        self.route_set = route_set;
    }

    /// Their side: we sent the 2xx.
    pub fn confirm(&mut self) {
        self.state = State::Confirmed;
    }

    /// Takes note of a request inside the dialog (RFC 3261 §12.2.2). A gap upwards is fine.
    /// ACK and CANCEL have the number of another request and are not looked at.
    pub fn handle_request(&mut self, request: &Request) -> Result<(), DialogError> {
        if matches!(request.method(), Method::Ack | Method::Cancel) {
            return Ok(());
        }
        let cseq = request.cseq().ok_or(DialogError::Incomplete)?.number;
        if self.remote_cseq.is_some_and(|before| cseq < before) {
            return Err(DialogError::CSeqTooLow);
        }
        self.remote_cseq = Some(cseq);
        Ok(())
    }

    /// Takes the peer's Contact as the new remote target: from a re-INVITE, an UPDATE or their
    /// 2xx (RFC 3261 §12.2.1.2, §12.2.2; RFC 3311 §5).
    pub fn refresh_target(&mut self, contact: Option<NameAddr<'_>>) {
        if let Some(contact) = contact {
            self.remote_target = contact.uri.into();
        }
    }

    /// A request inside the dialog (RFC 3261 §12.2.1.1), with the next CSeq number. The caller
    /// adds Contact where the method wants one, and sends it to `next_hop`.
    pub fn request(&mut self, method: Method) -> Request {
        self.local_cseq += 1;
        self.build(method, self.local_cseq)
    }

    /// The ACK of a 2xx to the INVITE that had this CSeq number (RFC 3261 §13.2.2.4).
    pub fn ack(&self, invite_cseq: u32) -> Request {
        self.build(Method::Ack, invite_cseq)
    }

    /// Where requests go: the first route if there is one, else the remote target.
    pub fn next_hop(&self) -> &str {
        match self
            .route_set
            .first()
            .and_then(|route| NameAddr::parse(route).ok())
        {
            Some(route) => route.uri,
            None => &self.remote_target,
        }
    }

    pub fn id(&self) -> &DialogId {
        &self.id
    }

    pub fn state(&self) -> State {
        self.state
    }

    pub fn is_confirmed(&self) -> bool {
        self.state == State::Confirmed
    }

    /// As in From of our requests.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// As in To of our requests.
    pub fn remote(&self) -> &str {
        &self.remote
    }

    pub fn remote_target(&self) -> &str {
        &self.remote_target
    }

    /// The number of our last request in it.
    pub fn local_cseq(&self) -> u32 {
        self.local_cseq
    }

    pub fn remote_cseq(&self) -> Option<u32> {
        self.remote_cseq
    }

    pub fn route_set(&self) -> impl Iterator<Item = &str> {
        self.route_set.iter().map(|route| &**route)
    }

    fn build(&self, method: Method, cseq: u32) -> Request {
        let first_uri = self
            .route_set
            .first()
            .and_then(|route| NameAddr::parse(route).ok())
            .map(|route| route.uri);
        let is_strict =
            first_uri.is_some_and(|uri| !SipUri::parse(uri).is_ok_and(|uri| uri.is_loose_router()));
        let uri = if is_strict {
            first_uri.unwrap_or(&self.remote_target)
        } else {
            &self.remote_target
        };
        let mut builder = Request::builder(method.clone(), uri);
        // A strict router takes its own URI as the Request-URI and finds the target in the
        // last Route.
        for route in self.route_set.iter().skip(usize::from(is_strict)) {
            builder = builder.header(HeaderName::Route, route);
        }
        if is_strict {
            builder = builder.header(HeaderName::Route, format_args!("<{}>", self.remote_target));
        }
        builder
            .header(HeaderName::MaxForwards, 70)
            .header(HeaderName::From, &self.local)
            .header(HeaderName::To, &self.remote)
            .header(HeaderName::CallId, &self.id.call_id)
            .header(HeaderName::CSeq, format_args!("{cseq} {method}"))
            .build()
    }
}

impl DialogId {
    /// The dialog that a request from the peer is in; none without a To tag.
    pub fn of_request(request: &Request) -> Option<Self> {
        Some(DialogId {
            call_id: request.call_id()?.into(),
            local_tag: request.to_tag()?.into(),
            remote_tag: request.from_tag().unwrap_or("").into(),
        })
    }

    /// The dialog that a response to a request of ours is in; none without a To tag.
    pub fn of_response(response: &Response) -> Option<Self> {
        Some(DialogId {
            call_id: response.call_id()?.into(),
            local_tag: response.from_tag()?.into(),
            remote_tag: response.to_tag()?.into(),
        })
    }
}

fn text(value: Option<&str>) -> Result<&str, DialogError> {
    value.ok_or(DialogError::Incomplete)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;
    use bytes::Bytes;

    const INVITE: &str = "INVITE sip:bob@b.example SIP/2.0\r\nVia: SIP/2.0/UDP a.example;branch=z9hG4bK1\r\n\
        Record-Route: <sip:p2.example;lr>, <sip:p1.example;lr>\r\n\
        From: \"A\" <sip:alice@a.example>;tag=a1\r\nTo: <sip:bob@b.example>\r\nCall-ID: c1\r\nCSeq: 7 INVITE\r\n\
        Contact: <sip:alice@10.0.0.1:5070;transport=tcp>\r\n\r\n";

    #[test]
    fn a_uas_keeps_the_order_of_the_record_routes() {
        let mut dialog = Dialog::uas(&request(INVITE), "b1").unwrap();
        let bye = dialog.request(Method::Bye);
        assert_eq!(bye.uri(), "sip:alice@10.0.0.1:5070;transport=tcp");
        assert_eq!(
            bye.list(HeaderName::Route).collect::<Vec<_>>(),
            ["<sip:p2.example;lr>", "<sip:p1.example;lr>"]
        );
        assert_eq!((bye.from_tag(), bye.to_tag()), (Some("b1"), Some("a1")));
        assert_eq!(
            bye.get(HeaderName::To),
            Some("\"A\" <sip:alice@a.example>;tag=a1")
        );
        assert_eq!(bye.cseq().unwrap().number, 1);
        assert_eq!(dialog.next_hop(), "sip:p2.example;lr");
        assert_eq!(
            dialog.id(),
            &DialogId {
                call_id: "c1".into(),
                local_tag: "b1".into(),
                remote_tag: "a1".into()
            }
        );
    }

    #[test]
    fn a_uac_reverses_them_and_acknowledges_with_the_number_of_the_invite() {
        let invite = request(INVITE);
        let mut dialog = Dialog::uac(&invite, &ok(&invite)).unwrap();
        assert!(dialog.is_confirmed());
        let ack = dialog.ack(7);
        assert_eq!(
            ack.list(HeaderName::Route).collect::<Vec<_>>(),
            ["<sip:p1.example;lr>", "<sip:p2.example;lr>"]
        );
        assert_eq!(
            (ack.cseq().unwrap().number, ack.cseq().unwrap().method),
            (7, "ACK")
        );
        assert_eq!((ack.uri(), ack.to_tag()), ("sip:bob@10.0.0.2", Some("b1")));
        assert_eq!(dialog.request(Method::Bye).cseq().unwrap().number, 8);
        assert_eq!(
            DialogId::of_response(&ok(&invite)).as_ref(),
            Some(dialog.id())
        );
    }

    #[test]
    fn a_strict_router_gets_its_own_uri_and_the_target_as_the_last_route() {
        let text = INVITE.replace(
            "<sip:p2.example;lr>, <sip:p1.example;lr>",
            "<sip:old.example>, <sip:p1.example;lr>",
        );
        let mut dialog = Dialog::uas(&request(&text), "b1").unwrap();
        let bye = dialog.request(Method::Bye);
        assert_eq!(bye.uri(), "sip:old.example");
        let expected = [
            "<sip:p1.example;lr>",
            "<sip:alice@10.0.0.1:5070;transport=tcp>",
        ];
        assert_eq!(bye.list(HeaderName::Route).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_lower_number_is_refused_and_a_gap_is_not() {
        let mut dialog = Dialog::uas(&request(INVITE), "b1").unwrap();
        let mut next = |cseq: &str| {
            let text = format!("BYE sip:x SIP/2.0\r\nCSeq: {cseq}\r\n\r\n");
            dialog.handle_request(&request(&text))
        };
        assert_eq!(next("11 INFO"), Ok(()));
        assert_eq!(next("10 BYE"), Err(DialogError::CSeqTooLow));
        assert_eq!(DialogError::CSeqTooLow.status(), 500);
        assert_eq!(next("11 INFO"), Ok(()));
        assert_eq!(next("12 BYE"), Ok(()));
    }

    #[test]
    fn the_target_follows_the_contact() {
        let mut dialog = Dialog::uas(&request(INVITE), "b1").unwrap();
        let update = request("UPDATE sip:x SIP/2.0\r\nContact: <sip:alice@10.0.0.9>\r\n\r\n");
        dialog.refresh_target(update.contact());
        dialog.refresh_target(None);
        assert_eq!(dialog.remote_target(), "sip:alice@10.0.0.9");
    }

    #[test]
    fn without_contact_there_is_no_dialog() {
        let text = INVITE.replace("Contact", "X-Contact");
        assert_eq!(
            Dialog::uas(&request(&text), "b1").unwrap_err(),
            DialogError::NoContact
        );
    }

    fn ok(invite: &Request) -> Response {
        let mut response =
            Response::to(invite, 200, "").with(HeaderName::Contact, "<sip:bob@10.0.0.2>");
        response.set_to_tag("b1");
        response
    }

    fn request(text: &str) -> Request {
        match Message::parse(Bytes::from(text.to_owned())).unwrap() {
            Message::Request(request) => request,
            Message::Response(response) => panic!("{response:?}"),
        }
    }
}
