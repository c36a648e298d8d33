//! What the call machine is told once, by the shell that runs it.

use crate::call_info::Transport;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

#[derive(Debug, Clone)]
pub struct Config {
    /// Where we listen, in order of preference; B legs leave from the first that fits.
    pub listeners: Vec<Listener>,
    /// Host part of the URIs by which we name ourselves towards peers.
    pub domain: String,
    /// Address the media sockets are bound to.
    pub media_local: IpAddr,
    /// Address written into SDP.
    pub media_advertise: IpAddr,
    /// This worker's own RTP ports; RTP takes the even ones, RTCP the next.
    pub rtp_ports: RangeInclusive<u16>,
    /// `User-Agent` and `Server`; empty leaves the header out.
    pub product: String,
    /// Codec names for targets and flows that do not name any, best first.
    pub codecs: Vec<String>,
    /// How long a router or the start of a flow may take before the fallback. 3 s: the
    /// decider's own deadline is far below; this is for the answer that never comes.
    pub decision_deadline: Duration,
    /// The same for a provider's adapter; without an answer the call goes on unshaped. 1 s
    pub provider_deadline: Duration,
    /// How long a name may take to resolve. 5 s
    pub locate_deadline: Duration,
    /// Ring time of a target that has no timeout of its own. 60 s
    pub ring_timeout: Duration,
    /// Talk time where neither the plan nor the tenant sets a limit. 12 h
    pub max_duration: Duration,
    /// How long an ended call waits for the last statistics of its media. 2 s
    pub stats_wait: Duration,
    /// Calls at once on this worker; more get 503.
    pub max_calls: usize,
    /// Seconds in the Retry-After of those 503.
    pub retry_after_s: u32,
    /// Follow 3xx of a target (as far as `MAX_TARGETS`), or count it as a failure.
    pub follow_redirects: bool,
    /// Digits are written into the journal as `*`.
    pub hide_digits: bool,
    /// SIP messages are kept in the journal.
    pub journal_sip: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    pub transport: Transport,
    /// What the socket is bound to.
    pub local: SocketAddr,
    /// What peers are told: `host:port` as it goes into Via and Contact.
    pub advertise: String,
}

impl Config {
    /// Everything at its default, for one UDP and one TCP listener on `local`.
    pub fn on(local: SocketAddr, rtp_ports: RangeInclusive<u16>) -> Self {
        let listener = |transport| Listener {
            transport,
            local,
            advertise: local.to_string(),
        };
        Config {
            listeners: vec![listener(Transport::Udp), listener(Transport::Tcp)],
            domain: local.to_string(),
            media_local: local.ip(),
            media_advertise: local.ip(),
            rtp_ports,
            product: "Gatepost".to_owned(),
            codecs: vec!["PCMU".to_owned(), "PCMA".to_owned()],
            decision_deadline: Duration::from_secs(3),
            provider_deadline: Duration::from_secs(1),
            locate_deadline: Duration::from_secs(5),
            ring_timeout: Duration::from_secs(60),
            max_duration: Duration::from_secs(12 * 3600),
            stats_wait: Duration::from_secs(2),
            max_calls: 10_000,
            retry_after_s: 10,
            follow_redirects: false,
            hide_digits: false,
            journal_sip: true,
        }
    }
}
