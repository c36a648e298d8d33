//! Where messages come from and go to: a flow (RFC 5626) names one path.

use bytes::Bytes;
use std::fmt;
use std::net::SocketAddr;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    Tcp,
    Tls,
    Udp,
    Ws,
    Wss,
}

/// One path to one peer. Answers go where the request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Flow {
    pub transport: Transport,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    /// Number of the connection; 0 for UDP, and for a stream "open or reuse one to `remote`".
    pub connection: u64,
}

/// One message to send, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    pub flow: Flow,
    pub bytes: Bytes,
}

impl Transport {
    /// Whether the transport itself repeats what was lost (RFC 3261 §17).
    pub fn is_reliable(self) -> bool {
        self != Transport::Udp
    }

    /// As in Via (RFC 3261 §20.42, RFC 7118 §5).
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
            Transport::Udp => "UDP",
            Transport::Ws => "WS",
            Transport::Wss => "WSS",
        }
    }

    /// From Via or a URI parameter, in any case of letters.
    pub fn parse(text: &str) -> Option<Self> {
        [
            Transport::Tcp,
            Transport::Tls,
            Transport::Udp,
            Transport::Ws,
            Transport::Wss,
        ]
        .into_iter()
        .find(|t| t.as_str().eq_ignore_ascii_case(text))
    }

    /// The port where none is given (RFC 3261 §19.1.2, RFC 7118 §5.2).
    pub fn default_port(self) -> u16 {
        match self {
            Transport::Tcp | Transport::Udp => 5060,
            Transport::Tls => 5061,
            Transport::Ws => 80,
            Transport::Wss => 443,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Flow {
    pub fn udp(local: SocketAddr, remote: SocketAddr) -> Self {
        Flow {
            transport: Transport::Udp,
            local,
            remote,
            connection: 0,
        }
    }
}
