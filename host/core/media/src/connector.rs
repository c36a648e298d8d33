//! A leg that talks to a connector session: what it hears and what it says, in the
//! session's audio format and at the phone's pace.

mod egress;
mod ingress;

pub use egress::Egress;
pub use ingress::Ingress;
