//! Routers: where does a new call go?

pub use crate::bindings::router::exports::gatepost::plugin::router::Decision;

use crate::bindings::router::exports::gatepost::plugin::router::Guest;
use crate::types::{CallInfo, DialPlan, Ext, Failure, FlowRef, Reject, Target};
use std::marker::PhantomData;

/// A plugin that decides where a new call goes.
///
/// Each call is asked about in a fresh instance: what has to be remembered goes to
/// [`crate::kv`]. A panic, a missed deadline and an `Err` all count as a failure, and the
/// failure policy of the binding decides what the caller gets.
pub trait Router {
    fn on_invite(call: CallInfo) -> Result<Decision, Failure>;
}

impl Decision {
    /// Dials these targets in order: the next one when one fails.
    pub fn dial<T: Into<Target>>(targets: impl IntoIterator<Item = T>) -> Decision {
        Decision::Dial(DialPlan::serial(targets))
    }

    /// Refuses the call. `code` is a SIP status, 400 to 699; the reason is for the operator.
    pub fn reject(code: u16, reason: impl Into<String>) -> Decision {
        Decision::Reject(Reject::new(code, reason))
    }

    /// Answers 302 with these SIP URIs (RFC 3261 §21.3.3).
    pub fn redirect<T: Into<String>>(contacts: impl IntoIterator<Item = T>) -> Decision {
        Decision::Redirect(contacts.into_iter().map(Into::into).collect())
    }

    /// Answers the call with a flow of the same tenant.
    pub fn flow(name: impl Into<String>) -> Decision {
        Decision::flow_with(name, Ext::new())
    }

    /// Like [`Decision::flow`]; the flow finds `ext` in its call's `ext`.
    pub fn flow_with(name: impl Into<String>, ext: Ext) -> Decision {
        Decision::RunFlow(FlowRef {
            name: name.into(),
            ext,
        })
    }
}

impl From<DialPlan> for Decision {
    fn from(plan: DialPlan) -> Decision {
        Decision::Dial(plan)
    }
}

#[doc(hidden)]
pub struct Adapter<T>(PhantomData<T>);

impl<T: Router> Guest for Adapter<T> {
    fn on_invite(call: CallInfo) -> Result<Decision, Failure> {
        crate::export::enter();
        T::on_invite(call)
    }
}
