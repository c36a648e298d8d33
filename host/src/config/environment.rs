//! Environment variables over the file. The names are those of the systems that Gatepost
//! replaces, so that their deployments keep working.

use super::error::{ConfigError, Place};
use super::values::{Advertise, Secret};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// The variables of a process, or of a test.
pub type Environment = BTreeMap<String, String>;

/// What the environment says, parsed; it goes over what the file says.
#[derive(Debug, Default)]
pub(super) struct Overrides {
    pub admin_token: Option<Secret>,
    pub advertise: Option<Advertise>,
    pub database_url: Option<String>,
    pub http_host: Option<std::net::IpAddr>,
    pub http_port: Option<u16>,
    pub jwt_secret: Option<Secret>,
    pub log_filter: Option<String>,
    pub max_calls: Option<u32>,
    pub public_url: Option<String>,
    pub rtp_max: Option<u16>,
    pub rtp_min: Option<u16>,
    pub sip_domain: Option<String>,
    pub sip_jwt_secret: Option<Secret>,
    /// Secrets by the variable's name, for the one tenant there is.
    pub secrets: BTreeMap<String, Secret>,
    /// Variables that are set and mean nothing here, and why.
    pub notices: Vec<String>,
}

impl Overrides {
    pub fn read(environment: &Environment) -> Result<Self, ConfigError> {
        let text = |names: &[&str]| {
            names.iter().find_map(|name| {
                Some(environment.get(*name)?.trim().to_owned()).filter(|v| !v.is_empty())
            })
        };
        let secret = |names: &[&str]| text(names).map(Secret::new);
        let mut notices = Vec::new();
        for (name, why) in IGNORED {
            if environment.contains_key(*name) {
                notices.push(format!("{name} is set and ignored: {why}"));
            }
        }
        Ok(Overrides {
            admin_token: secret(&["GATEPOST_ADMIN_TOKEN"]),
            advertise: advertise(environment)?,
            database_url: text(&["DATABASE_URL"]),
            http_host: parsed(environment, "WEBHOOK_HOST", "an IP address")?,
            http_port: parsed(environment, "WEBHOOK_PORT", "a port number")?,
            jwt_secret: secret(&["JWT_SECRET_KEY"]),
            log_filter: text(&["GATEPOST_LOG"]),
            max_calls: parsed(environment, "MAX_CONCURRENT_SIP_CALLS", "a number of calls")?,
            public_url: text(&["WEBHOOK_BASE_URL", "SIP_GATEWAY_URL"]),
            rtp_max: parsed(environment, "RTP_PORT_MAX", "a port number")?,
            rtp_min: parsed(environment, "RTP_PORT_MIN", "a port number")?,
            sip_domain: text(&["SIP_DOMAIN", "LIVEKIT_SIP_DOMAIN"]),
            sip_jwt_secret: secret(&["SIP_JWT_SECRET"]),
            secrets: SECRETS
                .iter()
                .filter_map(|name| Some(((*name).to_owned(), secret(&[*name])?)))
                .collect(),
            notices,
        })
    }

    /// `WEBHOOK_HOST` and `WEBHOOK_PORT` each replace their half of the address.
    pub fn http_listen(&self, from_file: SocketAddr) -> SocketAddr {
        SocketAddr::new(
            self.http_host.unwrap_or(from_file.ip()),
            self.http_port.unwrap_or(from_file.port()),
        )
    }
}

pub(super) fn error(name: &str, what: impl Into<String>) -> ConfigError {
    ConfigError {
        place: Place::Environment,
        key: name.to_owned(),
        what: what.into(),
    }
}

fn parsed<T: std::str::FromStr>(
    environment: &Environment,
    name: &str,
    wanted: &str,
) -> Result<Option<T>, ConfigError> {
    match environment
        .get(name)
        .map(|v| v.trim())
        .filter(|v| !v.is_empty())
    {
        None => Ok(None),
        Some(value) => value
            .parse()
            .map(Some)
            .map_err(|_| error(name, format!("`{value}` is not {wanted}"))),
    }
}

fn advertise(environment: &Environment) -> Result<Option<Advertise>, ConfigError> {
    let address: Option<String> = parsed(environment, "SIP_PROXY_ADDRESS", "an address")?;
    let port: Option<u16> = parsed(environment, "SIP_PROXY_PORT", "a port number")?;
    let Some(address) = address else {
        return Ok(None);
    };
    let advertise: Advertise = address
        .parse()
        .map_err(|what: String| error("SIP_PROXY_ADDRESS", what))?;
    Ok(Some(Advertise {
        port: port.or(advertise.port),
        ..advertise
    }))
}

const SECRETS: &[&str] = &[
    "DEEPGRAM_API_KEY",
    "ELEVENLABS_API_KEY",
    "LIVEKIT_API_KEY",
    "LIVEKIT_API_SECRET",
    "OPENAI_API_KEY",
    "SIP_SHARED_SECRET",
    "TWILIO_ACCOUNT_SID",
    "TWILIO_AUTH_TOKEN",
];

const IGNORED: &[(&str, &str)] = &[
    (
        "AI_PLATFORM_WS_URL",
        "a connector's address is in the settings of its plugin",
    ),
    (
        "FREESWITCH_ESL_PASSWORD",
        "there is no separate media engine",
    ),
    ("KAMAILIO_PKG_MEMORY", "there is no separate proxy"),
    ("KAMAILIO_SHARED_MEMORY", "there is no separate proxy"),
    (
        "OUTBOUND_PHONE_NUMBER",
        "a call's caller id is the router's decision",
    ),
    (
        "SIP_OUTBOUND_TRUNK_ID",
        "a call's trunk is the router's decision",
    ),
    (
        "SIP_URI",
        "a carrier's address is `proxy` of a [[tenant.trunk]]",
    ),
];
