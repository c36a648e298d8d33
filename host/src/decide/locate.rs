//! Names into addresses: A and AAAA records through the system's resolver.

use sip::Transport;
use std::net::{IpAddr, SocketAddr};

/// Empty where the name has no address. Without a port it is the transport's default
/// (RFC 3261 §19.1.2).
pub(super) async fn locate(host: &str, port: Option<u16>, transport: Transport) -> Vec<SocketAddr> {
    let port = port.unwrap_or(transport.default_port());
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return vec![SocketAddr::new(ip, port)];
    }
    match tokio::net::lookup_host((bare, port)).await {
        Ok(found) => {
            let mut addresses = Vec::new();
            for address in found {
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            addresses
        }
        Err(error) => {
            tracing::debug!(%error, "a target's name does not resolve");
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_need_no_resolver() {
        assert_eq!(
            locate("192.0.2.1", None, Transport::Udp).await,
            ["192.0.2.1:5060".parse().unwrap()]
        );
        assert_eq!(
            locate("[2001:db8::1]", Some(5080), Transport::Tls).await,
            ["[2001:db8::1]:5080".parse().unwrap()]
        );
    }

    #[tokio::test]
    async fn a_name_without_an_address_gives_none() {
        assert!(
            locate("no such host.invalid", None, Transport::Udp)
                .await
                .is_empty()
        );
    }
}
