//! What the layer tells its user.

use super::{ClientKey, Failure, ServerKey};
use crate::message::{Defect, ParseError, Request, Response};
use crate::transport::Flow;

#[derive(Debug)]
pub enum Event {
    /// The ACK of a 2xx, the first time it comes. `invite` is the INVITE that it ends.
    Ack {
        flow: Flow,
        invite: ServerKey,
        request: Request,
    },
    /// Nobody acknowledged our 2xx for 64·T1: end the dialog with BYE (RFC 3261 §13.3.1.4).
    AckMissing { invite: ServerKey },
    /// The peer gave up; the CANCEL is answered already. Answer the INVITE with 487.
    Cancel { invite: ServerKey, request: Request },
    /// A message went no further. For counting; nothing is expected.
    Dropped { flow: Flow, reason: Drop },
    /// No final response will come.
    Failed { key: ClientKey, why: Failure },
    /// A new request: answer it with [`super::TransactionLayer::respond`]. Never an ACK or a CANCEL.
    Request {
        key: ServerKey,
        flow: Flow,
        request: Request,
    },
    /// A response to a request of ours. For INVITE each 2xx with another To tag is one more
    /// dialog (forking).
    Response { key: ClientKey, response: Response },
}

/// Why a message went no further. The second group got an answer without state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Drop {
    /// A response that broke the rules.
    BadResponse(Defect),
    /// A keep-alive; no fault.
    KeepAlive,
    /// A request that has no Via to answer to, or an ACK that broke the rules.
    Unanswerable(Defect),
    /// An ACK that ends nothing that we know.
    StrayAck,
    /// A response to nothing that we asked.
    StrayResponse,
    /// A repetition that was dealt with.
    Repeated,
    Unreadable(ParseError),

    /// 400, 414, 505 or 513.
    Malformed(Defect),
    /// 482
    Merged,
    /// 503
    Overload,
    /// 481 to a CANCEL
    StrayCancel,
}
