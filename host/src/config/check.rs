//! From the file to the checked configuration: defaults, and what one value says about another.

use super::environment::{self, Environment, Overrides};
use super::error::{ConfigError, Source};
use super::file::{self, ConfigFile};
use super::values::{Advertise, CodecName, Listen, ListenTransport, Secret, SecretSource};
use super::{
    Config, HttpConfig, JournalConfig, LogConfig, PluginsConfig, RtpConfig, SipConfig, StoreConfig,
    TenantConfig, TenantLimits, TrunkConfig,
};
use b2bua::directory::Cidr;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;
use toml::Spanned;

pub(super) fn check(
    source: &Source<'_>,
    file: ConfigFile,
    environment: &Environment,
) -> Result<Config, ConfigError> {
    let over = Overrides::read(environment)?;
    let sip = sip(source, file.sip, &over)?;
    let rtp = rtp(source, file.rtp, &sip, &over)?;
    let mut config = Config {
        http: http(source, file.http, &over)?,
        store: store(source, file.store, &over)?,
        plugins: PluginsConfig {
            dir: file.plugins.dir.unwrap_or_else(|| "plugins.d".into()),
            cache: file.plugins.cache.unwrap_or_else(|| "var/plugins".into()),
            watch: file.plugins.watch.unwrap_or(true),
        },
        journal: JournalConfig {
            dir: file.journal.dir.unwrap_or_else(|| "var/journal".into()),
            keep: Duration::from_secs(u64::from(file.journal.keep_days.unwrap_or(30)) * 86_400),
        },
        log: LogConfig {
            filter: over
                .log_filter
                .clone()
                .or(file.log.filter)
                .unwrap_or_else(|| "info".into()),
            json: file.log.json.unwrap_or(false),
        },
        tenants: tenants(source, file.tenant, environment)?,
        sip,
        rtp,
        notices: over.notices,
    };
    give_secrets_of_the_environment(&mut config, over.secrets);
    notice_shared_sources(&mut config);
    Ok(config)
}

fn sip(source: &Source<'_>, file: file::Sip, over: &Overrides) -> Result<SipConfig, ConfigError> {
    let listen = match file.listen {
        None => [ListenTransport::Udp, ListenTransport::Tcp]
            .map(|transport| Listen {
                transport,
                address: (Ipv4Addr::UNSPECIFIED, 5060).into(),
            })
            .to_vec(),
        Some(listen) => {
            let span = listen.span();
            let listen = listen.into_inner();
            if listen.is_empty() {
                return Err(source.error(
                    Some(span),
                    "at least one address is needed, e.g. udp://127.0.0.1:5060",
                ));
            }
            if let Some(twice) = first_duplicate(&listen) {
                return Err(source.error(Some(span), format!("{twice} is listed twice")));
            }
            listen
        }
    };
    let domain = over
        .sip_domain
        .clone()
        .or(file.domain)
        .map(|domain| domain.to_ascii_lowercase());
    Ok(SipConfig {
        listen,
        advertise: over.advertise.clone().or(file.advertise),
        domain,
        workers: within(source, file.workers, 1, 1..=256)?,
        max_calls: match over.max_calls {
            Some(calls) => calls,
            None => within(source, file.max_calls, 1000, 1..=10_000_000)?,
        },
        max_connections: within(source, file.max_connections, 4096, 1..=1_000_000)?,
        connection_idle: Duration::from_secs(
            within(source, file.connection_idle_s, 600, 1..=86_400)?.into(),
        ),
        drain: Duration::from_secs(file.drain_s.unwrap_or(30).into()),
    })
}

fn rtp(
    source: &Source<'_>,
    file: file::Rtp,
    sip: &SipConfig,
    over: &Overrides,
) -> Result<RtpConfig, ConfigError> {
    let span = file.ports.as_ref().map(Spanned::span);
    let (mut first, mut last) = match file.ports.map(Spanned::into_inner).as_deref() {
        None => (10_000, 20_000),
        Some([first, last]) => (*first, *last),
        Some(_) => {
            return Err(source.error(span, "two port numbers are wanted, e.g. [10000, 20000]"));
        }
    };
    first = over.rtp_min.unwrap_or(first);
    last = over.rtp_max.unwrap_or(last);
    let wrong = |what: String| match (over.rtp_min, over.rtp_max) {
        (Some(_), _) => environment::error("RTP_PORT_MIN", what),
        (None, Some(_)) => environment::error("RTP_PORT_MAX", what),
        (None, None) => source.error(span.clone(), what),
    };
    if first % 2 != 0 {
        return Err(wrong(format!(
            "the range must begin with an even port (RFC 3550 §11), {first} is odd"
        )));
    }
    if first < 1024 || last <= first {
        return Err(wrong(format!(
            "{first} to {last} has no room for one RTP and one RTCP port above 1023"
        )));
    }
    if let Some(clash) = sip
        .listen
        .iter()
        .find(|l| (first..=last).contains(&l.address.port()) && l.transport == ListenTransport::Udp)
    {
        return Err(wrong(format!(
            "{clash} of sip.listen lies inside the range {first} to {last}"
        )));
    }
    let address = file.address.unwrap_or(sip.listen[0].address.ip());
    Ok(RtpConfig {
        ports: (first, last),
        address,
        advertise: file
            .advertise
            .unwrap_or_else(|| advertised(address, sip.advertise.as_ref())),
        threads: within(source, file.threads, 0, 0..=256)?,
    })
}

/// The address for SDP where none is configured.
fn advertised(bound: IpAddr, sip: Option<&Advertise>) -> IpAddr {
    if let Some(ip) = sip.and_then(|advertise| advertise.host.parse().ok()) {
        return ip;
    }
    if !bound.is_unspecified() {
        return bound;
    }
    // Connecting a UDP socket sends nothing; it only makes the kernel choose a route.
    let probe = || {
        let socket = UdpSocket::bind((bound, 0)).ok()?;
        let target: SocketAddr = if bound.is_ipv4() {
            "192.0.2.1:9".parse().ok()?
        } else {
            "[2001:db8::1]:9".parse().ok()?
        };
        socket.connect(target).ok()?;
        socket.local_addr().ok().map(|address| address.ip())
    };
    probe().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

fn http(
    source: &Source<'_>,
    file: file::Http,
    over: &Overrides,
) -> Result<HttpConfig, ConfigError> {
    let listen = over.http_listen(
        file.listen
            .unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 8080))),
    );
    let check_url = |url: &str| {
        let rest = url
            .strip_prefix("https://")
            .or_else(|| url.strip_prefix("http://"));
        rest.is_some_and(|rest| {
            !rest.is_empty() && !rest.starts_with('/') && !rest.contains(['?', '#', ' '])
        })
    };
    let wanted = |url: &str| format!("`{url}` is not of the form https://HOST");
    let public_url = match (&over.public_url, file.public_url) {
        (Some(url), _) if !check_url(url) => {
            return Err(environment::error("WEBHOOK_BASE_URL", wanted(url)));
        }
        (Some(url), _) => url.clone(),
        (None, Some(url)) if !check_url(url.get_ref()) => {
            return Err(source.error(Some(url.span()), wanted(url.get_ref())));
        }
        (None, Some(url)) => url.into_inner(),
        (None, None) => format!("http://{listen}"),
    };
    Ok(HttpConfig {
        listen,
        public_url: public_url.trim_end_matches('/').to_owned(),
        admin_token: over.admin_token.clone(),
        admin_token_file: file
            .admin_token_file
            .unwrap_or_else(|| "var/admin-token".into()),
        jwt_secret: over.jwt_secret.clone(),
        sip_jwt_secret: over.sip_jwt_secret.clone(),
    })
}

fn store(
    source: &Source<'_>,
    file: file::Store,
    over: &Overrides,
) -> Result<StoreConfig, ConfigError> {
    let usable = |url: &str| {
        url.strip_prefix("sqlite:")
            .is_some_and(|path| !path.trim_start_matches('/').is_empty())
    };
    let what = |url: &str| {
        // A database URL may carry a password.
        let scheme = url.split_once(':').map_or(url, |(scheme, _)| scheme);
        format!(
            "a `{scheme}` URL is not one of a store that this build has; e.g. sqlite://var/gatepost.db"
        )
    };
    let url = match (&over.database_url, file.url) {
        (Some(url), _) if !usable(url) => {
            return Err(environment::error("DATABASE_URL", what(url)));
        }
        (Some(url), _) => url.clone(),
        (None, Some(url)) if !usable(url.get_ref()) => {
            return Err(source.error(Some(url.span()), what(url.get_ref())));
        }
        (None, Some(url)) => url.into_inner(),
        (None, None) => "sqlite://var/gatepost.db".to_owned(),
    };
    Ok(StoreConfig { url })
}

fn tenants(
    source: &Source<'_>,
    file: Vec<Spanned<file::Tenant>>,
    environment: &Environment,
) -> Result<Vec<TenantConfig>, ConfigError> {
    let mut tenants = Vec::<TenantConfig>::new();
    let mut domains = BTreeMap::<String, String>::new();
    for tenant in file {
        let tenant = tenant.into_inner();
        let id = tenant.id.get_ref().0.clone();
        if tenants.iter().any(|other| other.id == id) {
            return Err(source.error(
                Some(tenant.id.span()),
                format!("there is already a tenant `{id}`"),
            ));
        }
        for domain in &tenant.domains {
            let name = domain.get_ref().to_ascii_lowercase();
            if !super::values::is_host_name(name.trim_matches(['[', ']']))
                && name.parse::<IpAddr>().is_err()
            {
                return Err(source.error(Some(domain.span()), format!("`{name}` is not a domain")));
            }
            if let Some(owner) = domains.insert(name.clone(), id.clone()) {
                return Err(source.error(
                    Some(domain.span()),
                    format!("`{name}` already belongs to tenant `{owner}`"),
                ));
            }
        }
        let codecs = names(tenant.codecs, &["PCMU".to_owned(), "PCMA".to_owned()]);
        let mut secrets = BTreeMap::new();
        for (name, place) in tenant.secrets {
            let at = place.span();
            let value = secret(place.into_inner(), environment)
                .map_err(|what| source.error(Some(at), what))?;
            secrets.insert(name, value);
        }
        let trunks = trunks(source, tenant.trunk, &id, &codecs, environment)?;
        tenants.push(TenantConfig {
            prompts: tenant
                .prompts
                .unwrap_or_else(|| format!("var/prompts/{id}").into()),
            domains: tenant
                .domains
                .into_iter()
                .map(|domain| domain.into_inner().to_ascii_lowercase())
                .collect(),
            sources: tenant.sources,
            codecs,
            default_trunk: match tenant.default_trunk {
                None => None,
                Some(name) if trunks.iter().any(|trunk| trunk.id == *name.get_ref()) => {
                    Some(name.into_inner())
                }
                Some(name) => {
                    let known: Vec<&str> = trunks.iter().map(|trunk| trunk.id.as_str()).collect();
                    let what = format!(
                        "there is no trunk `{}`; there is {}",
                        name.get_ref(),
                        known.join(", ")
                    );
                    return Err(source.error(Some(name.span()), what));
                }
            },
            limits: TenantLimits {
                max_calls: tenant.limits.max_calls,
                max_duration: Duration::from_secs(
                    tenant.limits.max_duration_s.unwrap_or(4 * 3600).into(),
                ),
            },
            secrets,
            trunks,
            id,
        });
    }
    Ok(tenants)
}

fn trunks(
    source: &Source<'_>,
    file: Vec<Spanned<file::Trunk>>,
    tenant: &str,
    codecs: &[String],
    environment: &Environment,
) -> Result<Vec<TrunkConfig>, ConfigError> {
    let mut trunks = Vec::<TrunkConfig>::new();
    for trunk in file {
        let span = trunk.span();
        let trunk = trunk.into_inner();
        let id = trunk.id.get_ref().0.clone();
        if trunks.iter().any(|other| other.id == id) {
            return Err(source.error(
                Some(trunk.id.span()),
                format!("tenant `{tenant}` already has a trunk `{id}`"),
            ));
        }
        let proxy = match trunk.proxy {
            None => None,
            Some(proxy) => {
                let bare = proxy
                    .get_ref()
                    .strip_prefix("sip:")
                    .unwrap_or(proxy.get_ref());
                Some(
                    bare.parse()
                        .map_err(|what: String| source.error(Some(proxy.span()), what))?,
                )
            }
        };
        let transport = match trunk.transport.as_ref().map(|t| t.get_ref().as_str()) {
            None | Some("udp") => ListenTransport::Udp,
            Some("tcp") => ListenTransport::Tcp,
            Some(other) => {
                let span = trunk.transport.as_ref().map(Spanned::span);
                return Err(source.error(span, format!("`{other}` is not one of udp, tcp")));
            }
        };
        let password = match trunk.password {
            None => None,
            Some(place) => {
                let at = place.span();
                Some(
                    secret(place.into_inner(), environment)
                        .map_err(|what| source.error(Some(at), what))?,
                )
            }
        };
        if password.is_some() && trunk.username.is_none() {
            return Err(source.error(
                Some(span),
                format!("trunk `{id}` has a password and no username"),
            ));
        }
        trunks.push(TrunkConfig {
            id,
            provider: trunk.provider,
            proxy,
            transport,
            username: trunk.username,
            password,
            realm: trunk.realm,
            sources: trunk.sources,
            codecs: names(trunk.codecs, codecs),
            trusted: trunk.trusted,
            max_calls: trunk.max_calls,
        });
    }
    Ok(trunks)
}

/// Two tenants may share a block of sources; then only the domain tells their calls apart.
fn notice_shared_sources(config: &mut Config) {
    let mut owners = BTreeMap::<Cidr, Vec<&TenantConfig>>::new();
    for tenant in &config.tenants {
        let blocks: BTreeSet<Cidr> = tenant
            .sources
            .iter()
            .chain(tenant.trunks.iter().flat_map(|trunk| &trunk.sources))
            .copied()
            .collect();
        for block in blocks {
            owners.entry(block).or_default().push(tenant);
        }
    }
    for (block, tenants) in owners.into_iter().filter(|(_, tenants)| tenants.len() > 1) {
        for tenant in tenants
            .into_iter()
            .filter(|tenant| tenant.domains.is_empty())
        {
            config.notices.push(format!(
                "tenant `{}` shares the source {block} with another one and has no domains: it gets no calls from there",
                tenant.id
            ));
        }
    }
}

/// Keys of AI platforms and carriers in the environment belong to the tenant, if there is
/// only one. With several it would be a guess, and the wrong one would leak a key.
fn give_secrets_of_the_environment(config: &mut Config, secrets: BTreeMap<String, Secret>) {
    match config.tenants.as_mut_slice() {
        [only] => {
            for (name, secret) in secrets {
                only.secrets.entry(name).or_insert(secret);
            }
        }
        _ => config.notices.extend(secrets.keys().map(|name| {
            format!("{name} is set and given to no tenant: name it in [tenant.secrets] as {name} = {{ env = \"{name}\" }}")
        })),
    }
}

fn secret(source: SecretSource, environment: &Environment) -> Result<Secret, String> {
    match source {
        SecretSource::Value(secret) => Ok(secret),
        SecretSource::Env(from) => match environment.get(&from.env) {
            Some(value) => Ok(Secret::new(value.trim())),
            None => Err(format!("the environment has no variable {}", from.env)),
        },
        SecretSource::File(from) => match std::fs::read_to_string(&from.file) {
            Ok(text) => Ok(Secret::new(text.trim())),
            Err(error) => Err(format!("{} cannot be read: {error}", from.file.display())),
        },
    }
}

fn names(codecs: Vec<CodecName>, default: &[String]) -> Vec<String> {
    if codecs.is_empty() {
        default.to_vec()
    } else {
        codecs.into_iter().map(|codec| codec.0).collect()
    }
}

fn within<T: Copy + PartialOrd + std::fmt::Display>(
    source: &Source<'_>,
    value: Option<Spanned<T>>,
    default: T,
    range: std::ops::RangeInclusive<T>,
) -> Result<T, ConfigError> {
    match value {
        None => Ok(default),
        Some(value) if range.contains(value.get_ref()) => Ok(*value.get_ref()),
        Some(value) => {
            let what = format!(
                "{} is not between {} and {}",
                value.get_ref(),
                range.start(),
                range.end()
            );
            Err(source.error(Some(value.span()), what))
        }
    }
}

fn first_duplicate(listen: &[Listen]) -> Option<&Listen> {
    let mut seen = BTreeSet::new();
    listen
        .iter()
        .find(|listen| !seen.insert(listen.to_string()))
}
