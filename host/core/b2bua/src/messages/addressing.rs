//! URIs: whom to call, where to send it, and who we say is calling.

use super::transport;
use crate::call_info::{CallInfo, Header};
use crate::cause::quoted;
use crate::directory::Trunk;
use crate::headers::is_clean_uri;
use sip::message::uri::{encode_user, split_host_port};
use sip::message::{Scheme, SipUri};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Where a request goes first (RFC 3263 §4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NextHop {
    pub(crate) transport: sip::Transport,
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
}

/// A URI that can stand in a Request-URI of ours or theirs.
pub(crate) fn is_sip_uri(uri: &str) -> bool {
    is_clean_uri(uri) && SipUri::parse(uri).is_ok()
}

/// The Request-URI for a target: a SIP URI as it is; a number or a `tel:` URI goes to the
/// trunk's proxy (RFC 3261 §19.1.6).
pub(crate) fn target_uri(target: &str, proxy: Option<&str>) -> Option<String> {
    if !is_clean_uri(target) {
        return None;
    }
    let is_number = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_digit() || b"+*#-.".contains(&b))
    };
    match SipUri::parse(target) {
        Ok(uri) if uri.scheme == Scheme::Tel => {
            let number: String = uri
                .user?
                .chars()
                .filter(|c| !"-.() ".contains(*c))
                .collect();
            Some(format!("sip:{}@{}", encode_user(&number), proxy?))
        }
        // What `?` brings would become headers of ours.
        Ok(uri) if uri.headers.is_none() && uri.password.is_none() => Some(target.to_owned()),
        Ok(_) => None,
        Err(_) if is_number(target) => Some(format!("sip:{}@{}", encode_user(target), proxy?)),
        Err(_) => None,
    }
}

/// User and host alone, as To and From have it (RFC 3261 §19.1.1 table 1).
pub(crate) fn without_parameters(uri: &str) -> String {
    match SipUri::parse(uri) {
        Ok(parsed) if parsed.scheme != Scheme::Tel => {
            let user = parsed.user.map_or(String::new(), |user| format!("{user}@"));
            let host = if parsed.host.contains(':') {
                format!("[{}]", parsed.host)
            } else {
                parsed.host.to_owned()
            };
            // A port is not allowed in From and To; many peers compare it all the same.
            let port = parsed.port.map_or(String::new(), |port| format!(":{port}"));
            format!("{}:{user}{host}{port}", parsed.scheme.as_str())
        }
        _ => uri.to_owned(),
    }
}

pub(crate) fn host_of(uri: &str) -> String {
    SipUri::parse(uri).map_or(String::new(), |uri| uri.host.to_ascii_lowercase())
}

/// The trunk's proxy where it has one, else the host of the URI (`maddr` is an invitation to
/// be used as a reflector, and is not looked at).
pub(crate) fn next_hop(request_uri: &str, trunk: Option<&Trunk>) -> Option<NextHop> {
    let uri = SipUri::parse(request_uri).ok()?;
    let default = if uri.scheme == Scheme::Sips {
        sip::Transport::Tls
    } else {
        sip::Transport::Udp
    };
    let wanted = trunk.and_then(|trunk| trunk.transport).map(transport);
    if let Some(proxy) = trunk.and_then(|trunk| trunk.proxy.as_deref()) {
        let (host, port) = split_host_port(proxy).ok()?;
        return Some(NextHop {
            transport: wanted.unwrap_or(default),
            host: host.to_owned(),
            port,
        });
    }
    if uri.scheme == Scheme::Tel {
        return None;
    }
    let transport = uri.transport().or(wanted).unwrap_or(default);
    Some(NextHop {
        transport,
        host: uri.host.to_owned(),
        port: uri.port,
    })
}

pub(crate) fn literal(host: &str) -> Option<IpAddr> {
    host.parse().ok()
}

/// Before it is known where to.
pub(crate) fn nowhere() -> sip::Flow {
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
    sip::Flow::udp(address, address)
}

/// From for a B leg: the caller's number, or what the plan says, at our domain; who wants to
/// stay unknown does (RFC 3323 §4.1.1.3).
pub(crate) fn from_identity(
    info: &CallInfo,
    caller_id: Option<&str>,
    domain: &str,
) -> (String, Option<String>) {
    let of_uri = |uri: &str| {
        SipUri::parse(uri)
            .ok()
            .and_then(|uri| uri.user.map(str::to_owned))
    };
    if let Some(id) = caller_id {
        let user = of_uri(id).unwrap_or_else(|| encode_user(id));
        return (at_domain(&user, domain), None);
    }
    if host_of(&info.from_uri) == ANONYMOUS {
        return (
            format!("sip:anonymous@{ANONYMOUS}"),
            Some("Anonymous".to_owned()),
        );
    }
    (
        at_domain(&encode_user(&info.caller), domain),
        info.from_display.clone(),
    )
}

/// The caller's asserted identity, from one trusted trunk to another (RFC 3325 §4).
pub(crate) fn asserted_identity(info: &CallInfo, domain: &str) -> Option<Header> {
    let asserted = info
        .headers
        .iter()
        .find(|h| h.name.eq_ignore_ascii_case("P-Asserted-Identity"))?;
    let address = sip::message::NameAddr::parse(&asserted.value).ok()?;
    let user = address.sip_uri().ok()?.user?.to_owned();
    let display = address
        .display()
        .map_or(String::new(), |display| format!("{} ", quoted(&display)));
    let value = format!("{display}<{}>", at_domain(&user, domain));
    Some(Header {
        name: "P-Asserted-Identity".to_owned(),
        value,
    })
}

fn at_domain(user: &str, domain: &str) -> String {
    if user.is_empty() {
        format!("sip:{domain}")
    } else {
        format!("sip:{user}@{domain}")
    }
}

const ANONYMOUS: &str = "anonymous.invalid";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_goes_to_the_trunks_proxy() {
        let uri = |target: &str| target_uri(target, Some("proxy.example:5070"));
        assert_eq!(
            uri("+15551234").unwrap(),
            "sip:+15551234@proxy.example:5070"
        );
        assert_eq!(
            uri("tel:+1-555-1234").unwrap(),
            "sip:+15551234@proxy.example:5070"
        );
        assert_eq!(
            uri("sip:1@10.0.0.1;transport=tcp").unwrap(),
            "sip:1@10.0.0.1;transport=tcp"
        );
        assert_eq!(target_uri("+15551234", None), None);
    }

    #[test]
    fn a_target_cannot_bring_headers_or_line_breaks() {
        for bad in [
            "sip:1@h?Route=%3Csip:x%3E",
            "sip:1@h\r\nVia: x",
            "sip:1@h>",
            "http://h",
            "",
            "sip:u:pw@h",
        ] {
            assert_eq!(target_uri(bad, Some("p")), None, "{bad}");
        }
    }

    #[test]
    fn the_next_hop_is_the_proxy_or_the_host_of_the_uri() {
        let hop = |uri: &str| next_hop(uri, None).unwrap();
        assert_eq!(
            hop("sip:1@10.0.0.1:5070;transport=tcp").transport,
            sip::Transport::Tcp
        );
        assert_eq!(hop("sips:1@h").transport, sip::Transport::Tls);
        assert_eq!(
            hop("sip:1@[2001:db8::1]:5062"),
            NextHop {
                transport: sip::Transport::Udp,
                host: "2001:db8::1".into(),
                port: Some(5062)
            }
        );
        let trunk = Trunk {
            proxy: Some("edge.example:5080".into()),
            ..Trunk::default()
        };
        assert_eq!(
            next_hop("sip:1@x", Some(&trunk)).unwrap().host,
            "edge.example"
        );
    }

    #[test]
    fn to_has_no_parameters() {
        assert_eq!(
            without_parameters("sip:a;x=1@[::1]:5070;transport=tcp"),
            "sip:a;x=1@[::1]:5070"
        );
        assert_eq!(without_parameters("sip:h;lr"), "sip:h");
    }
}
