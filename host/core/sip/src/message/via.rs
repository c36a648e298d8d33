//! Via (RFC 3261 §20.42) with branch, received and rport (RFC 3581).

use super::text::{Params, find_top_level};
use super::uri::split_host_port;
use std::net::{IpAddr, Ipv6Addr};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Via<'a> {
    /// As written: `UDP`, `TCP`, `TLS-SCTP`, …
    pub transport: &'a str,
    /// Host of the sent-by, without the brackets of an IPv6 reference.
    pub host: &'a str,
    pub port: Option<u16>,
    pub params: Params<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a Via of SIP/2.0")]
pub struct ViaError;

/// Every branch of RFC 3261 begins with it (§8.1.1.7).
pub const MAGIC_COOKIE: &str = "z9hG4bK";

impl<'a> Via<'a> {
    pub fn parse(text: &'a str) -> Result<Self, ViaError> {
        let end = find_top_level(text, b';').unwrap_or(text.len());
        let (head, params) = (text[..end].trim_ascii(), Params::new(&text[end..]));
        let (protocol, rest) = head.split_once('/').ok_or(ViaError)?;
        let (version, rest) = rest.split_once('/').ok_or(ViaError)?;
        let rest = rest.trim_ascii_start();
        let (transport, sent_by) = rest.split_once([' ', '\t']).ok_or(ViaError)?;
        let (host, port) = split_host_port(sent_by.trim_ascii()).map_err(|_| ViaError)?;
        let is_sip =
            protocol.trim_ascii().eq_ignore_ascii_case("SIP") && version.trim_ascii() == "2.0";
        if !is_sip || transport.is_empty() || !params.is_well_formed() {
            return Err(ViaError);
        }
        Ok(Via {
            transport,
            host,
            port,
            params,
        })
    }

    pub fn branch(&self) -> Option<&'a str> {
        self.params
            .get("branch")
            .filter(|branch| !branch.is_empty())
    }

    /// A branch that is unique by RFC 3261: with the cookie, and with something after it.
    pub fn unique_branch(&self) -> Option<&'a str> {
        self.branch().filter(|branch| {
            let (cookie, rest) = branch
                .split_at_checked(MAGIC_COOKIE.len())
                .unwrap_or(("", ""));
            cookie.eq_ignore_ascii_case(MAGIC_COOKIE) && !rest.is_empty()
        })
    }

    /// The address that the peer's server saw; brackets round IPv6 are tolerated (RFC 5118 §4.5).
    pub fn received(&self) -> Option<IpAddr> {
        parse_ip(self.params.get("received")?)
    }

    /// `None`: not asked for; `Some(None)`: asked for; `Some(Some(port))`: filled in.
    pub fn rport(&self) -> Option<Option<u16>> {
        self.params.get("rport").map(|port| port.parse().ok())
    }

    /// The sent-by as an address, if it is one.
    pub fn host_ip(&self) -> Option<IpAddr> {
        parse_ip(self.host)
    }
}

fn parse_ip(text: &str) -> Option<IpAddr> {
    if let Some(inner) = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        return inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_are_allowed_where_the_rfc_has_them() {
        let via = Via::parse(
            "SIP  / 2.0  / TCP     spindle.example.com : 5070  ;  branch  =   z9hG4bK9ikj8",
        )
        .unwrap();
        assert_eq!(
            (via.transport, via.host, via.port),
            ("TCP", "spindle.example.com", Some(5070))
        );
        assert_eq!(via.branch(), Some("z9hG4bK9ikj8"));
    }

    #[test]
    fn ipv6_has_brackets_and_received_may_have_them() {
        let via = Via::parse(
            "SIP/2.0/UDP [2001:db8::9:1]:5061;received=[2001:db8::9:255];rport;branch=z9hG4bKas3",
        )
        .unwrap();
        assert_eq!((via.host, via.port), ("2001:db8::9:1", Some(5061)));
        assert_eq!(via.received(), "2001:db8::9:255".parse().ok());
        assert_eq!(via.rport(), Some(None));
        assert!(via.host_ip().is_some());
    }

    #[test]
    fn a_bare_cookie_is_no_unique_branch() {
        assert_eq!(
            Via::parse("SIP/2.0/UDP h;branch=z9hG4bK")
                .unwrap()
                .unique_branch(),
            None
        );
        assert_eq!(
            Via::parse("SIP/2.0/UDP h;branch=390skdjuw")
                .unwrap()
                .unique_branch(),
            None
        );
        assert_eq!(
            Via::parse("SIP/2.0/UDP h;branch=z9hG4bKx")
                .unwrap()
                .unique_branch(),
            Some("z9hG4bKx")
        );
    }

    #[test]
    fn rubbish_is_refused() {
        for bad in [
            "",
            "SIP/2.0/UDP",
            "SIP/2.0 UDP h",
            "HTTP/1.1/UDP h",
            "SIP/2.0/UDP h:port",
            "SIP/2.0/UDP 192.0.2.15;;",
            "SIP/2.0/UDP ;x",
        ] {
            assert_eq!(Via::parse(bad), Err(ViaError), "{bad}");
        }
    }
}
