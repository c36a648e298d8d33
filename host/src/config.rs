//! Configuration: [`file::ConfigFile`] mirrors the TOML file, [`Config`] is the same checked
//! and complete, with the environment's values over the file's.
//!
//! Relative paths, also the one in `sqlite://var/gatepost.db`, are relative to the working
//! directory of the process.

pub mod check;
pub mod environment;
pub mod error;
pub mod file;
pub mod values;

pub use environment::Environment;
pub use error::{ConfigError, nearest};
pub use values::{Advertise, Listen, ListenTransport, Secret};

use b2bua::directory::Cidr;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An immutable snapshot. Nothing in it needs another look before use.
#[derive(Debug, Clone)]
pub struct Config {
    pub sip: SipConfig,
    pub rtp: RtpConfig,
    pub http: HttpConfig,
    pub store: StoreConfig,
    pub plugins: PluginsConfig,
    pub journal: JournalConfig,
    pub log: LogConfig,
    pub tenants: Vec<TenantConfig>,
    /// Worth telling the operator, and no reason to stop.
    pub notices: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct SipConfig {
    /// At least one; default UDP and TCP on 0.0.0.0:5060.
    pub listen: Vec<Listen>,
    /// What Via and Contact say; default the address of the socket.
    pub advertise: Option<Advertise>,
    /// The host part of our own addresses, e.g. in the SIP URIs that webhooks hand out;
    /// default the advertised host.
    pub domain: Option<String>,
    /// Threads that run calls; default 1.
    pub workers: u16,
    /// Calls at the same time on this node; default 1000.
    pub max_calls: u32,
    /// TCP connections at the same time on this node; default 4096.
    pub max_connections: u32,
    /// A TCP connection without traffic is closed after this; default 10 min.
    pub connection_idle: Duration,
    /// How long live calls may go on after SIGTERM; default 30 s.
    pub drain: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub struct RtpConfig {
    /// First and last port; even ports carry RTP, the next odd one RTCP. Default 10000 to 20000.
    pub ports: (u16, u16),
    /// Address that media sockets are bound to; default that of the first SIP socket.
    pub address: IpAddr,
    /// Address that SDP tells; default `address`, or where that is unspecified, the
    /// advertised SIP address or that of the default route.
    pub advertise: IpAddr,
    /// Media threads; default 0: one for each core, at most two.
    pub threads: u16,
}

#[derive(Debug, Clone, PartialEq)]
pub struct HttpConfig {
    /// Default 127.0.0.1:8080.
    pub listen: SocketAddr,
    /// Scheme and host as carriers reach it, without a slash at the end: what signatures of
    /// webhooks are computed over. Default `http://` and the listening address.
    pub public_url: String,
    /// The platform admin's bearer token, from `GATEPOST_ADMIN_TOKEN`.
    pub admin_token: Option<Secret>,
    /// Where the token is without that variable; made with a random one at the first start.
    /// Default `var/admin-token`.
    pub admin_token_file: PathBuf,
    /// Key of API tokens (`JWT_SECRET_KEY`).
    pub jwt_secret: Option<Secret>,
    /// Key of the tokens that administer SIP users (`SIP_JWT_SECRET`).
    pub sip_jwt_secret: Option<Secret>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct StoreConfig {
    /// `sqlite://PATH`; default `sqlite://var/gatepost.db`.
    pub url: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct PluginsConfig {
    /// The folder `<dir>/<tenant>/<name>.wasm`; default `plugins.d`.
    pub dir: PathBuf,
    /// Compiled code and uploaded versions; default `var/plugins`.
    pub cache: PathBuf,
    /// Take changes of the folder while running; default true.
    pub watch: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct JournalConfig {
    /// Where events wait until the database has them; default `var/journal`.
    pub dir: PathBuf,
    /// Calls older than this are forgotten; default 30 days.
    pub keep: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub struct LogConfig {
    /// As of `tracing_subscriber::EnvFilter`; default `info`. `GATEPOST_LOG` overrides.
    pub filter: String,
    /// One JSON object a line instead of text; default false.
    pub json: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct TenantConfig {
    pub id: String,
    /// Host parts of Request-URIs that belong to this tenant, in lower case.
    pub domains: Vec<String>,
    /// Addresses of the tenant's trunks and users that are trusted by address.
    pub sources: Vec<Cidr>,
    /// Folder of the tenant's prompts; default `var/prompts/<id>`.
    pub prompts: PathBuf,
    /// Codecs in order of preference; default PCMU, PCMA.
    pub codecs: Vec<String>,
    pub limits: TenantLimits,
    /// Trunk for targets that name none.
    pub default_trunk: Option<String>,
    pub secrets: BTreeMap<String, Secret>,
    pub trunks: Vec<TrunkConfig>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantLimits {
    /// Calls at the same time; none means only the node's limit holds.
    pub max_calls: Option<u32>,
    /// Talk time; default 4 h.
    pub max_duration: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub struct TrunkConfig {
    pub id: String,
    /// Name of the provider plugin that speaks this carrier's dialect.
    pub provider: Option<String>,
    /// `host` or `host:port` where its INVITEs go; none means to the target's own URI.
    pub proxy: Option<Advertise>,
    pub transport: ListenTransport,
    /// Digest credentials.
    pub username: Option<String>,
    pub password: Option<Secret>,
    pub realm: Option<String>,
    /// Addresses that this carrier calls from; they identify tenant and trunk.
    pub sources: Vec<Cidr>,
    /// Default those of the tenant.
    pub codecs: Vec<String>,
    /// Its P-Asserted-Identity is believed, and it gets ours (RFC 3325); default false.
    pub trusted: bool,
    /// Calls at the same time, both directions.
    pub max_calls: Option<u32>,
}

impl Config {
    /// Reads and checks a file, with the process's environment over it.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        // Not UTF-8 means nothing that we read; `vars` would panic over it.
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError {
            place: error::Place::File {
                path: path.to_owned(),
                line: None,
            },
            key: String::new(),
            what: format!("cannot be read: {error}"),
        })?;
        Config::parse(path, &text, &environment)
    }

    /// `path` is for messages only.
    pub fn parse(path: &Path, text: &str, environment: &Environment) -> Result<Self, ConfigError> {
        let source = error::Source { path, text };
        let file: file::ConfigFile =
            toml::from_str(text).map_err(|error| source.toml_error(&error))?;
        check::check(&source, file, environment)
    }

    pub fn tenant(&self, id: &str) -> Option<&TenantConfig> {
        self.tenants.iter().find(|tenant| tenant.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_file_is_an_empty_one() {
        let config = parse("").unwrap();
        assert_eq!(config.sip.listen.len(), 2);
        assert_eq!(config.rtp.ports, (10000, 20000));
        assert_eq!(config.store.url, "sqlite://var/gatepost.db");
        assert_eq!(config.http.public_url, "http://127.0.0.1:8080");
        assert!(config.tenants.is_empty());
    }

    #[test]
    fn a_full_file_is_read() {
        let config = parse(FULL).unwrap();
        assert_eq!(config.sip.listen[1].to_string(), "tcp://127.0.0.1:5060");
        let tenant = config.tenant("demo").unwrap();
        assert_eq!(tenant.domains, ["demo.example.com"]);
        assert_eq!(tenant.sources[0].to_string(), "127.0.0.0/8");
        assert_eq!(tenant.secrets["OPENAI_API_KEY"].reveal(), "sk-1");
        assert_eq!(tenant.trunks[0].password.as_ref().unwrap().reveal(), "pw");
        assert_eq!(tenant.trunks[0].codecs, ["PCMA"]);
        assert_eq!(config.rtp.advertise, IpAddr::from([127, 0, 0, 1]));
    }

    #[test]
    fn the_documented_example_is_valid() {
        let document = include_str!("../../docs/configuration.md");
        let example = document
            .split("```toml")
            .nth(1)
            .and_then(|rest| rest.split("```").next())
            .unwrap();
        let example = example.replace("{ file = \"/run/secrets/twilio\" }", "\"t\"");
        let config = parse_with(
            &example,
            &[("OPENAI_API_KEY", "o"), ("CARRIER_PASSWORD", "c")],
        )
        .unwrap();
        assert_eq!(config.tenants[0].trunks[0].max_calls, Some(30));
    }

    #[test]
    fn an_unknown_key_names_its_line_and_the_nearest_known_key() {
        let error = parse("[sip]\nlissen = []\n").unwrap_err().to_string();
        assert_eq!(
            error,
            "gatepost.toml:2: sip.lissen: unknown key `lissen`; the nearest known key is `listen`"
        );
        let error =
            parse("[[tenant]]\nid = \"a\"\n[[tenant.trunk]]\nid = \"t\"\nprovder = \"twilio\"\n")
                .unwrap_err()
                .to_string();
        assert!(
            error.starts_with("gatepost.toml:5: tenant[0].trunk[0].provder: "),
            "{error}"
        );
        assert!(error.contains("`provider`"), "{error}");
        let error = parse("[spi]\n").unwrap_err().to_string();
        assert!(
            error.contains(":1: spi: ") && error.contains("`sip`"),
            "{error}"
        );
    }

    #[test]
    fn each_wrong_value_is_told_with_its_line_and_key() {
        for (text, place) in [
            (
                "[sip]\nlisten = [\"udp://127.0.0.1:5060\", \"5060\"]",
                ":2: sip.listen[1]: ",
            ),
            ("[sip]\nlisten = []", ":2: sip.listen: "),
            ("[sip]\nworkers = 0", ":2: sip.workers: "),
            ("[rtp]\nports = [10000]", ":2: rtp.ports: "),
            ("[rtp]\nports = [20000, 10000]", ":2: rtp.ports: "),
            ("[rtp]\n\nports = [10001, 20000]", ":3: rtp.ports: "),
            ("[http]\nlisten = \"nowhere\"", ":2: http.listen: "),
            (
                "[http]\npublic_url = \"sbc.example.com\"",
                ":2: http.public_url: ",
            ),
            ("[store]\nurl = \"mysql://x\"", ":2: store.url: "),
            ("[[tenant]]\nid = \"A B\"", ":2: tenant[0].id: "),
            (
                "[[tenant]]\nid = \"a\"\n[[tenant]]\nid = \"a\"",
                ":4: tenant[1].id: ",
            ),
            (
                "[[tenant]]\nid = \"a\"\nsources = [\"10.0.0.0/33\"]",
                ":3: tenant[0].sources[0]: ",
            ),
            (
                "[[tenant]]\nid = \"a\"\n[tenant.secrets]\nX = { env = \"NOT_SET\" }",
                ":4: tenant[0].secrets.X: ",
            ),
            (
                "[[tenant]]\nid = \"a\"\n[[tenant.trunk]]\nid = \"t\"\ntransport = \"pigeon\"",
                ":5: tenant[0].trunk[0].transport: ",
            ),
            ("[sip]\nlisten = 5\n", ":2: sip.listen: "),
            ("[sip\n", ":1: "),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(place), "{text:?} gave {error}");
        }
    }

    #[test]
    fn tenants_that_share_a_source_need_domains() {
        let text = "[[tenant]]\nid = \"a\"\nsources = [\"10.0.0.0/8\"]\ndomains = [\"a.example\"]\n[[tenant]]\nid = \"b\"\nsources = [\"10.0.0.0/8\"]\n";
        let config = parse(text).unwrap();
        assert!(
            config.notices[0].contains("10.0.0.0/8") && config.notices[0].contains("tenant `b`"),
            "{:?}",
            config.notices
        );
        let config = parse(&format!("{text}domains = [\"b.example\"]")).unwrap();
        assert!(config.notices.is_empty(), "{:?}", config.notices);
    }

    #[test]
    fn the_environment_goes_over_the_file() {
        let environment = [
            ("GATEPOST_ADMIN_TOKEN", "t"),
            ("RTP_PORT_MIN", "30000"),
            ("RTP_PORT_MAX", "30100"),
            ("SIP_DOMAIN", "sbc.example.com"),
            ("DATABASE_URL", "sqlite:///tmp/x.db"),
            ("MAX_CONCURRENT_SIP_CALLS", "50"),
            ("WEBHOOK_BASE_URL", "https://hooks.example.com/"),
            ("OPENAI_API_KEY", "sk-env"),
            ("KAMAILIO_PKG_MEMORY", "32"),
        ];
        let config = parse_with(FULL, &environment).unwrap();
        assert_eq!(config.http.admin_token.unwrap().reveal(), "t");
        assert_eq!(config.rtp.ports, (30000, 30100));
        assert_eq!(config.sip.domain.as_deref(), Some("sbc.example.com"));
        assert_eq!(config.store.url, "sqlite:///tmp/x.db");
        assert_eq!(config.sip.max_calls, 50);
        assert_eq!(config.http.public_url, "https://hooks.example.com");
        assert_eq!(
            config.tenants[0].secrets["OPENAI_API_KEY"].reveal(),
            "sk-1",
            "what a tenant names itself stands"
        );
        assert!(
            config
                .notices
                .iter()
                .any(|n| n.contains("KAMAILIO_PKG_MEMORY"))
        );
    }

    #[test]
    fn a_wrong_variable_is_named() {
        let error = parse_with("", &[("RTP_PORT_MIN", "many")])
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "environment: RTP_PORT_MIN: `many` is not a port number"
        );
        let error = parse_with("", &[("RTP_PORT_MIN", "30000")])
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("environment: RTP_PORT_MIN"), "{error}");
    }

    const FULL: &str = r#"
[sip]
listen = ["udp://127.0.0.1:5060", "tcp://127.0.0.1:5060"]
advertise = "127.0.0.1"
domain = "localhost"
workers = 2

[rtp]
ports = [10000, 20000]

[http]
listen = "127.0.0.1:8080"

[store]
url = "sqlite://var/gatepost.db"

[plugins]
dir = "plugins.d"

[[tenant]]
id = "demo"
domains = ["Demo.Example.com"]
sources = ["127.0.0.0/8"]
limits = { max_calls = 10 }

[tenant.secrets]
OPENAI_API_KEY = "sk-1"

[[tenant.trunk]]
id = "carrier"
provider = "twilio"
proxy = "127.0.0.1:5070"
transport = "tcp"
username = "u"
password = "pw"
sources = ["192.0.2.0/24"]
codecs = ["pcma"]
"#;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        parse_with(text, &[])
    }

    fn parse_with(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let environment = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Config::parse(Path::new("gatepost.toml"), text, &environment)
    }
}
