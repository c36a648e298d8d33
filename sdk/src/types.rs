//! Data that several kinds of plugin share, as `wit/types.wit` defines it, with
//! constructors for the common cases.

pub use crate::bindings::imports::gatepost::plugin::types::{
    Attestation, CallInfo, DialPlan, Direction, Endpoint, Ext, Failure, FlowRef, Header,
    HttpRequest, HttpResponse, Reject, Strategy, Target, Transport,
};

impl Header {
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Header {
        Header {
            name: name.into(),
            value: value.into(),
        }
    }
}

impl CallInfo {
    /// The first header of this name. Only headers that the manifest names are there.
    pub fn header(&self, name: &str) -> Option<&str> {
        find_header(&self.headers, name)
    }

    /// The `ext` value of this name.
    pub fn ext(&self, name: &str) -> Option<&str> {
        find_ext(&self.ext, name)
    }
}

impl Target {
    /// A target by its SIP URI; everything else as the host has it by default.
    pub fn new(uri: impl Into<String>) -> Target {
        Target {
            uri: uri.into(),
            trunk: None,
            caller_id: None,
            headers: Vec::new(),
            codecs: Vec::new(),
            timeout_ms: 0,
            ext: Vec::new(),
        }
    }

    /// Sends it through this trunk, whose provider adapter then shapes the INVITE.
    pub fn trunk(mut self, trunk: impl Into<String>) -> Target {
        self.trunk = Some(trunk.into());
        self
    }

    /// Number or URI to show as the caller.
    pub fn caller_id(mut self, caller_id: impl Into<String>) -> Target {
        self.caller_id = Some(caller_id.into());
        self
    }

    /// Adds a header to the INVITE.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Target {
        self.headers.push(Header::new(name, value));
        self
    }

    /// Gives up on this target after so long without an answer.
    pub fn timeout(mut self, timeout: std::time::Duration) -> Target {
        self.timeout_ms = millis(timeout);
        self
    }
}

impl From<&str> for Target {
    fn from(uri: &str) -> Target {
        Target::new(uri)
    }
}

impl From<String> for Target {
    fn from(uri: String) -> Target {
        Target::new(uri)
    }
}

impl DialPlan {
    /// Hunts over the targets in order: the next is tried when one fails.
    pub fn serial<T: Into<Target>>(targets: impl IntoIterator<Item = T>) -> DialPlan {
        DialPlan {
            targets: targets.into_iter().map(Into::into).collect(),
            strategy: Strategy::Serial,
            max_duration_s: None,
            ext: Vec::new(),
        }
    }

    /// Rings all targets at once and takes the first that answers.
    pub fn parallel<T: Into<Target>>(targets: impl IntoIterator<Item = T>) -> DialPlan {
        DialPlan {
            strategy: Strategy::Parallel,
            ..DialPlan::serial(targets)
        }
    }

    /// Ends the call after so much talk; whole seconds.
    pub fn max_duration(mut self, talk: std::time::Duration) -> DialPlan {
        self.max_duration_s = Some(u32::try_from(talk.as_secs()).unwrap_or(u32::MAX));
        self
    }
}

impl Reject {
    /// `code` is a SIP status, 400 to 699.
    pub fn new(code: u16, reason: impl Into<String>) -> Reject {
        Reject {
            code,
            reason: reason.into(),
            retry_after_s: None,
        }
    }
}

impl HttpRequest {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        find_header(&self.headers, name)
    }
}

impl HttpResponse {
    /// An answer with a body of this content type.
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> HttpResponse {
        HttpResponse {
            status,
            headers: vec![Header::new("Content-Type", content_type)],
            body: body.into(),
        }
    }

    /// An answer without a body.
    pub fn empty(status: u16) -> HttpResponse {
        HttpResponse {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        find_header(&self.headers, name)
    }
}

fn find_header<'a>(headers: &'a [Header], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|h| h.name.eq_ignore_ascii_case(name))
        .map(|h| h.value.as_str())
}

pub(crate) fn find_ext<'a>(ext: &'a [(String, String)], name: &str) -> Option<&'a str> {
    ext.iter()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.as_str())
}

/// Milliseconds of the contract; more than 49 days are 49 days.
pub(crate) fn millis(duration: std::time::Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
