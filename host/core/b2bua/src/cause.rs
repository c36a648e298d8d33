//! Why a call or a leg ended. One value gives the status code, the `Reason` header
//! (RFC 3326) and the fields of the call record.

use serde::{Deserialize, Serialize};
use std::fmt;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// SIP status; 200 for a call that ended as calls do.
    pub status: u16,
    /// For people. Goes into `Reason` and into explain.
    pub text: String,
    pub fault: Fault,
    /// ITU-T Q.850 cause, where a peer or an operator gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub q850: Option<u8>,
    /// For 503 and the like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u32>,
}

/// On whose account it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// A target, or the network behind it.
    Callee,
    Caller,
    /// This host is out of something or has a bug.
    Host,
    /// Nobody's: it was over.
    Nobody,
    /// Somebody with a token asked for it.
    Operator,
    /// A plugin of the tenant, or its configuration.
    Tenant,
}

impl Cause {
    pub fn new(status: u16, fault: Fault, text: impl Into<String>) -> Self {
        Cause {
            status,
            text: text.into(),
            fault,
            q850: None,
            retry_after_s: None,
        }
    }

    /// Somebody hung up.
    pub fn bye(who: &str) -> Self {
        Cause {
            q850: Some(16),
            ..Cause::new(200, Fault::Nobody, format!("{who} hung up"))
        }
    }

    /// The caller gave up before an answer.
    pub fn cancelled() -> Self {
        Cause::new(487, Fault::Caller, "the caller cancelled")
    }

    pub fn operator(text: impl Into<String>) -> Self {
        Cause {
            q850: Some(16),
            ..Cause::new(200, Fault::Operator, text)
        }
    }

    pub fn with_q850(self, q850: Option<u8>) -> Self {
        Cause { q850, ..self }
    }

    pub fn with_retry_after(self, seconds: Option<u32>) -> Self {
        Cause {
            retry_after_s: seconds,
            ..self
        }
    }

    /// The value of `Reason` (RFC 3326 §2): in BYE and CANCEL, and in final responses (RFC 6432).
    pub fn reason(&self) -> String {
        let sip = format!("SIP;cause={};text={}", self.status, quoted(&self.text));
        match self.q850 {
            Some(q850) => format!("Q.850;cause={q850}, {sip}"),
            None => sip,
        }
    }

    /// The status for a final response to an INVITE: never a success.
    pub fn final_status(&self) -> u16 {
        match self.status {
            300..=699 => self.status,
            _ => 480,
        }
    }

    pub fn is_normal(&self) -> bool {
        self.status == 200
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.text)
    }
}

impl Fault {
    pub fn as_str(self) -> &'static str {
        match self {
            Fault::Callee => "callee",
            Fault::Caller => "caller",
            Fault::Host => "host",
            Fault::Nobody => "nobody",
            Fault::Operator => "operator",
            Fault::Tenant => "tenant",
        }
    }
}

/// Q.850 cause for a SIP status, where a peer that thinks in Q.850 needs one (RFC 3398 §8.2.6.1).
pub fn q850_of_status(status: u16) -> u8 {
    match status {
        401 | 403 | 407 | 603 => 21,
        404 | 485 | 604 => 1,
        408 => 18,
        410 => 22,
        480 | 483 => 19,
        484 => 28,
        486 | 600 => 17,
        488 | 606 => 58,
        500 => 38,
        501 => 29,
        502 => 27,
        503 => 34,
        504 => 102,
        200..=299 | 487 => 16,
        _ => 127,
    }
}

/// The `cause` of the Q.850 part of a received `Reason` header.
pub fn q850_in(reason: &str) -> Option<u8> {
    let start = reason.to_ascii_uppercase().find("Q.850")?;
    let part = reason.get(start..)?.split(',').next()?;
    part.split(';').find_map(|p| {
        let (name, value) = p.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("cause")
            .then(|| value.trim().parse().ok())?
    })
}

/// As a quoted-string (RFC 3261 §25.1), on one line and of bounded length.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars().take(MAX_TEXT) {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

const MAX_TEXT: usize = 240;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_header_cannot_be_broken_by_its_text() {
        let cause = Cause::new(404, Fault::Tenant, "no \"rule\"\r\nX-Evil: 1");
        assert_eq!(
            cause.reason(),
            "SIP;cause=404;text=\"no \\\"rule\\\"  X-Evil: 1\""
        );
    }

    #[test]
    fn a_received_q850_cause_is_read_beside_others() {
        assert_eq!(
            q850_in("SIP;cause=486;text=\"x\", Q.850;cause=17;text=\"busy\""),
            Some(17)
        );
        assert_eq!(q850_in("SIP;cause=486"), None);
        assert_eq!(q850_in("Q.850;text=\"none\""), None);
    }

    #[test]
    fn an_invite_is_never_refused_with_a_success() {
        assert_eq!(Cause::bye("B").final_status(), 480);
        assert_eq!(Cause::cancelled().final_status(), 487);
    }
}
