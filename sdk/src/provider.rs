//! Providers: a carrier's dialect. How its INVITEs must look, how ours are read, and what
//! its webhooks mean.

pub use crate::bindings::provider::exports::gatepost::plugin::provider::{
    Notice, Outgoing, Read, Shaped, WebhookReply,
};

use crate::bindings::provider::exports::gatepost::plugin::provider::Guest;
use crate::types::{CallInfo, Ext, Failure, Header, HttpRequest, HttpResponse, Target};
use std::marker::PhantomData;

/// A carrier's adapter. Each question is asked in a fresh instance. What is not
/// implemented changes nothing.
pub trait Provider {
    /// Shapes an outgoing INVITE to one target of a trunk of this carrier.
    fn outbound(call: CallInfo, target: Target, invite: Outgoing) -> Result<Shaped, Failure> {
        let _ = (call, target, invite);
        Ok(Shaped::default())
    }

    /// Reads an incoming INVITE of this carrier before the router is asked.
    fn inbound(call: CallInfo) -> Result<Read, Failure> {
        let _ = call;
        Ok(Read::default())
    }

    /// Answers an HTTP request of the carrier after checking its signature: the host has
    /// not. `ext` has `sip-uri` (this host's SIP address for the tenant), `public-url` and
    /// `remote`.
    fn webhook(request: HttpRequest, ext: Ext) -> Result<WebhookReply, Failure> {
        let _ = (request, ext);
        Ok(WebhookReply::from(HttpResponse::empty(404)))
    }
}

impl Default for Shaped {
    /// Keeps everything as it is.
    fn default() -> Shaped {
        Shaped {
            request_uri: None,
            from_uri: None,
            from_display: None,
            to_uri: None,
            set_headers: Vec::new(),
            remove_headers: Vec::new(),
        }
    }
}

impl Shaped {
    pub fn set_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Shaped {
        self.set_headers.push(Header::new(name, value));
        self
    }
}

#[expect(clippy::derivable_impls, reason = "the type is generated")]
impl Default for Read {
    fn default() -> Read {
        Read {
            called: None,
            caller: None,
            ext: Ext::new(),
        }
    }
}

impl From<HttpResponse> for WebhookReply {
    fn from(response: HttpResponse) -> WebhookReply {
        WebhookReply {
            response,
            notices: Vec::new(),
        }
    }
}

impl Notice {
    pub fn new(kind: impl Into<String>, ext: Ext) -> Notice {
        Notice {
            kind: kind.into(),
            ext,
        }
    }
}

#[doc(hidden)]
pub struct Adapter<T>(PhantomData<T>);

impl<T: Provider> Guest for Adapter<T> {
    fn outbound(call: CallInfo, target: Target, invite: Outgoing) -> Result<Shaped, Failure> {
        crate::export::enter();
        T::outbound(call, target, invite)
    }

    fn inbound(call: CallInfo) -> Result<Read, Failure> {
        crate::export::enter();
        T::inbound(call)
    }

    fn webhook(request: HttpRequest, ext: Ext) -> Result<WebhookReply, Failure> {
        crate::export::enter();
        T::webhook(request, ext)
    }
}
