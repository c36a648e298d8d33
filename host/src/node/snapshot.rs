//! What the call machine is told of the configuration.

use crate::config::{Config, Listen, ListenTransport};
use b2bua::Listener;
use b2bua::call_info::Transport;
use b2bua::directory::{Directory, Tenant, TenantLimits, Trunk};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Tenants and trunks. `listen` are the addresses that were really had.
pub fn directory(config: &Config, listen: &[Listen]) -> Directory {
    let workers = u32::from(config.sip.workers);
    let share = |limit: Option<u32>| limit.map(|limit| limit.div_ceil(workers));
    let tenants = config.tenants.iter().map(|tenant| Tenant {
        id: tenant.id.clone(),
        domains: tenant.domains.clone(),
        sources: tenant.sources.clone(),
        prompts: tenant.prompts.to_string_lossy().into_owned(),
        limits: TenantLimits {
            max_calls: share(tenant.limits.max_calls),
            max_duration_s: Some(tenant.limits.max_duration.as_secs().min(u32::MAX.into()) as u32),
        },
        default_trunk: tenant.default_trunk.clone(),
    });
    let trunks = config.tenants.iter().flat_map(|tenant| {
        tenant.trunks.iter().map(|trunk| Trunk {
            tenant: tenant.id.clone(),
            id: trunk.id.clone(),
            provider: trunk.provider.clone(),
            proxy: trunk
                .proxy
                .as_ref()
                .map(|proxy| host_port(&proxy.host, proxy.port)),
            transport: Some(transport(trunk.transport)),
            username: trunk.username.clone(),
            password: trunk
                .password
                .as_ref()
                .map(|password| password.reveal().to_owned()),
            realm: trunk.realm.clone(),
            sources: trunk.sources.clone(),
            codecs: trunk.codecs.clone(),
            trusted: trunk.trusted,
            max_calls: share(trunk.max_calls),
        })
    });
    let mut own: Vec<String> = config.sip.domain.iter().cloned().collect();
    own.extend(
        config
            .sip
            .advertise
            .iter()
            .map(|advertise| advertise.host.clone()),
    );
    own.extend(listen.iter().map(|listen| listen.address.ip().to_string()));
    own.dedup();
    Directory::new(tenants.collect(), trunks.collect(), own)
}

/// For the worker of this number.
pub fn core(config: &Config, listen: &[Listen], worker: u16) -> b2bua::Config {
    let listeners: Vec<Listener> = listen
        .iter()
        .map(|listen| Listener {
            transport: transport(listen.transport),
            local: listen.address,
            advertise: advertised(config, listen.address),
        })
        .collect();
    let first = listeners
        .first()
        .map(|listener| listener.advertise.clone())
        .unwrap_or_default();
    let (from, to) = config.rtp.ports;
    let any = SocketAddr::new(config.rtp.address, 0);
    b2bua::Config {
        listeners,
        domain: config.sip.domain.clone().unwrap_or(first),
        media_local: config.rtp.address,
        media_advertise: config.rtp.advertise,
        product: concat!("Gatepost/", env!("CARGO_PKG_VERSION")).to_owned(),
        max_duration: Duration::from_secs(12 * 3600),
        max_calls: (config.sip.max_calls as usize).div_ceil(usize::from(config.sip.workers)),
        ..b2bua::Config::on(any, ports_of(from..=to, worker, config.sip.workers))
    }
}

/// `host:port` by which peers reach the socket at `local`.
pub fn advertised(config: &Config, local: SocketAddr) -> String {
    match &config.sip.advertise {
        Some(advertise) => host_port(
            &advertise.host,
            Some(advertise.port.unwrap_or(local.port())),
        ),
        None if local.ip().is_unspecified() => {
            SocketAddr::new(config.rtp.advertise, local.port()).to_string()
        }
        None => local.to_string(),
    }
}

/// Each worker has its own ports, in whole pairs.
fn ports_of(all: RangeInclusive<u16>, worker: u16, workers: u16) -> RangeInclusive<u16> {
    let (first, last) = (u32::from(*all.start()), u32::from(*all.end()));
    let pairs = (last + 1 - first) / 2;
    let at = |worker: u32| first + pairs * worker / u32::from(workers) * 2;
    at(u32::from(worker)) as u16..=(at(u32::from(worker) + 1) - 1) as u16
}

fn transport(transport: ListenTransport) -> Transport {
    match transport {
        ListenTransport::Tcp => Transport::Tcp,
        ListenTransport::Udp => Transport::Udp,
    }
}

fn host_port(host: &str, port: Option<u16>) -> String {
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    match port {
        Some(port) => format!("{host}:{port}"),
        None => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn workers_share_the_ports_in_whole_pairs() {
        let of = |worker, workers| ports_of(10_000..=10_009, worker, workers);
        assert_eq!(of(0, 1), 10_000..=10_009);
        assert_eq!(of(0, 2), 10_000..=10_003);
        assert_eq!(of(1, 2), 10_004..=10_009);
        assert_eq!(ports_of(1024..=65_535, 2, 3), 44_032..=65_535);
        assert_eq!(
            ports_of(10_000..=10_010, 0, 1),
            10_000..=10_009,
            "a port without a partner is left out"
        );
    }

    #[test]
    fn peers_are_told_the_advertised_name_with_the_real_port() {
        let config =
            parse("[sip]\nlisten = [\"udp://0.0.0.0:5060\"]\nadvertise = \"sbc.example.com\"\n");
        assert_eq!(
            advertised(&config, config.sip.listen[0].address),
            "sbc.example.com:5060"
        );
        let config =
            parse("[sip]\nlisten = [\"udp://0.0.0.0:5060\"]\n[rtp]\nadvertise = \"192.0.2.1\"\n");
        assert_eq!(
            advertised(&config, config.sip.listen[0].address),
            "192.0.2.1:5060"
        );
        let config = parse("[sip]\nlisten = [\"udp://[::1]:5060\"]\n");
        assert_eq!(
            advertised(&config, config.sip.listen[0].address),
            "[::1]:5060"
        );
    }

    #[test]
    fn a_trunk_of_the_file_is_in_the_directory() {
        let config = parse(
            "[[tenant]]\nid = \"a\"\n[[tenant.trunk]]\nid = \"t\"\nproxy = \"192.0.2.9:5080\"\nusername = \"u\"\npassword = \"p\"\nsources = [\"192.0.2.9\"]\n",
        );
        let directory = directory(&config, &config.sip.listen);
        let admitted = directory.admit("192.0.2.9".parse().unwrap(), "x").unwrap();
        assert_eq!(
            admitted.trunk.unwrap().proxy.as_deref(),
            Some("192.0.2.9:5080")
        );
        assert_eq!(admitted.trunk.unwrap().password.as_deref(), Some("p"));
    }

    fn parse(text: &str) -> Config {
        Config::parse(Path::new("f"), text, &Default::default()).unwrap()
    }
}
