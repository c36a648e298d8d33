//! Header field names as small numbers: known names get an id when a message is indexed,
//! compact forms (RFC 3261 §7.3.3) the id of their long form.

/// Declares the enum, its text and the lookup from one list.
macro_rules! header_names {
    ($($variant:ident = $text:literal $(| $compact:literal)?),* $(,)?) => {
        /// A header field that this crate knows by name; `Other` is any other one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum HeaderName {
            $($variant,)*
            Other,
        }

        impl HeaderName {
            /// The long form, spelled as its RFC does. Empty for `Other`.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(HeaderName::$variant => $text,)*
                    HeaderName::Other => "",
                }
            }
        }

        const SPELLINGS: &[(&str, HeaderName)] = &[
            $(($text, HeaderName::$variant), $(($compact, HeaderName::$variant),)?)*
        ];
    };
}

header_names! {
    Accept = "Accept",
    AcceptContact = "Accept-Contact" | "a",
    AcceptEncoding = "Accept-Encoding",
    AcceptLanguage = "Accept-Language",
    AlertInfo = "Alert-Info",
    Allow = "Allow",
    AllowEvents = "Allow-Events" | "u",
    AuthenticationInfo = "Authentication-Info",
    Authorization = "Authorization",
    CallId = "Call-ID" | "i",
    CallInfo = "Call-Info",
    Contact = "Contact" | "m",
    ContentDisposition = "Content-Disposition",
    ContentEncoding = "Content-Encoding" | "e",
    ContentLanguage = "Content-Language",
    ContentLength = "Content-Length" | "l",
    ContentType = "Content-Type" | "c",
    CSeq = "CSeq",
    Date = "Date",
    Diversion = "Diversion",
    ErrorInfo = "Error-Info",
    Event = "Event" | "o",
    Expires = "Expires",
    FlowTimer = "Flow-Timer",
    From = "From" | "f",
    HistoryInfo = "History-Info",
    Identity = "Identity" | "y",
    InfoPackage = "Info-Package",
    InReplyTo = "In-Reply-To",
    MaxForwards = "Max-Forwards",
    MimeVersion = "MIME-Version",
    MinExpires = "Min-Expires",
    MinSe = "Min-SE",
    Organization = "Organization",
    PAssertedIdentity = "P-Asserted-Identity",
    Path = "Path",
    PEarlyMedia = "P-Early-Media",
    PPreferredIdentity = "P-Preferred-Identity",
    Priority = "Priority",
    Privacy = "Privacy",
    ProxyAuthenticate = "Proxy-Authenticate",
    ProxyAuthorization = "Proxy-Authorization",
    ProxyRequire = "Proxy-Require",
    RAck = "RAck",
    Reason = "Reason",
    RecordRoute = "Record-Route",
    RecvInfo = "Recv-Info",
    ReferredBy = "Referred-By" | "b",
    ReferSub = "Refer-Sub",
    ReferTo = "Refer-To" | "r",
    RejectContact = "Reject-Contact" | "j",
    RemotePartyId = "Remote-Party-ID",
    Replaces = "Replaces",
    ReplyTo = "Reply-To",
    RequestDisposition = "Request-Disposition" | "d",
    Require = "Require",
    RetryAfter = "Retry-After",
    Route = "Route",
    RSeq = "RSeq",
    Server = "Server",
    ServiceRoute = "Service-Route",
    SessionExpires = "Session-Expires" | "x",
    SipETag = "SIP-ETag",
    SipIfMatch = "SIP-If-Match",
    Subject = "Subject" | "s",
    SubscriptionState = "Subscription-State",
    Supported = "Supported" | "k",
    Timestamp = "Timestamp",
    To = "To" | "t",
    Unsupported = "Unsupported",
    UserAgent = "User-Agent",
    UserToUser = "User-to-User",
    Via = "Via" | "v",
    Warning = "Warning",
    WwwAuthenticate = "WWW-Authenticate",
}

impl HeaderName {
    /// In any case of letters, long or compact.
    pub fn parse(name: &[u8]) -> Self {
        let (Some(first), Some(last)) = (name.first(), name.last()) else {
            return HeaderName::Other;
        };
        let mut slot = hash(name.len(), *first, *last);
        // Filled to a fifth: the walk ends within a few steps.
        while SLOTS[slot] != EMPTY {
            let (spelling, id) = SPELLINGS[SLOTS[slot] as usize];
            // Nearly everybody spells as the RFC does: comparing is quicker than folding.
            let spelling = spelling.as_bytes();
            if spelling == name || spelling.eq_ignore_ascii_case(name) {
                return id;
            }
            slot = (slot + 1) % SLOT_COUNT;
        }
        HeaderName::Other
    }

    /// Several challenges or credentials are several header fields, never one with commas
    /// (RFC 3261 §7.3.1).
    pub fn is_comma_list(self) -> bool {
        !matches!(
            self,
            HeaderName::Authorization
                | HeaderName::ProxyAuthenticate
                | HeaderName::ProxyAuthorization
                | HeaderName::WwwAuthenticate
        )
    }
}

const SLOT_COUNT: usize = 512;
const EMPTY: u8 = u8::MAX;

/// Spelling number by hash of length, first and last letter; made at compile time.
static SLOTS: [u8; SLOT_COUNT] = {
    let mut slots = [EMPTY; SLOT_COUNT];
    let mut i = 0;
    while i < SPELLINGS.len() {
        let name = SPELLINGS[i].0.as_bytes();
        let mut slot = hash(name.len(), name[0], name[name.len() - 1]);
        while slots[slot] != EMPTY {
            slot = (slot + 1) % SLOT_COUNT;
        }
        slots[slot] = i as u8;
        i += 1;
    }
    slots
};

const fn hash(len: usize, first: u8, last: u8) -> usize {
    let first = (first | 0x20) as usize;
    let last = (last | 0x20) as usize;
    (len * 503 + first * 7 + last * 321) % SLOT_COUNT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_far_from_its_slot() {
        for (spelling, _) in SPELLINGS {
            let name = spelling.as_bytes();
            let home = hash(name.len(), name[0], name[name.len() - 1]);
            let steps = (0..).take_while(|step| {
                SPELLINGS[SLOTS[(home + step) % SLOT_COUNT] as usize].0 != *spelling
            });
            assert!(steps.count() <= 2, "{spelling}");
        }
    }

    #[test]
    fn every_spelling_is_found_in_any_case() {
        for (spelling, id) in SPELLINGS {
            assert_eq!(HeaderName::parse(spelling.as_bytes()), *id);
            assert_eq!(HeaderName::parse(spelling.to_uppercase().as_bytes()), *id);
            assert_eq!(HeaderName::parse(spelling.to_lowercase().as_bytes()), *id);
        }
        assert_eq!(HeaderName::parse(b"X-Anything"), HeaderName::Other);
        assert_eq!(HeaderName::parse(b"C%6Fntact"), HeaderName::Other);
        assert_eq!(HeaderName::parse(b""), HeaderName::Other);
    }
}
