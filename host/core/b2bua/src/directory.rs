//! Who is who: tenants and their trunks, as one immutable snapshot. A call keeps the one
//! that it started with.

mod cidr;

pub use cidr::{Cidr, NotACidr};

use crate::call_info::Transport;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directory {
    tenants: Vec<Tenant>,
    trunks: Vec<Trunk>,
    /// Names and addresses of this host itself, without a port: a Request-URI with one of
    /// them says nothing about the tenant.
    own_domains: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tenant {
    pub id: String,
    /// Host parts of Request-URIs that mean this tenant.
    pub domains: Vec<String>,
    /// Where its calls may come from, beside the sources of its trunks.
    pub sources: Vec<Cidr>,
    /// Folder of its prompts; for the shell.
    pub prompts: String,
    pub limits: TenantLimits,
    /// Trunk for targets that name none.
    pub default_trunk: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TenantLimits {
    /// Calls at once on each worker; none means no limit.
    pub max_calls: Option<u32>,
    /// Seconds of talk in one call.
    pub max_duration_s: Option<u32>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Trunk {
    pub tenant: String,
    pub id: String,
    /// Name of the tenant's provider plugin that speaks its dialect.
    pub provider: Option<String>,
    /// `HOST[:PORT]` that every request through the trunk is sent to, whatever its URI says.
    pub proxy: Option<String>,
    pub transport: Option<Transport>,
    /// For its digest challenges; also the user part of our Contact.
    pub username: Option<String>,
    #[serde(skip_serializing)]
    pub password: Option<String>,
    /// Answer challenges of this realm only; none answers any.
    pub realm: Option<String>,
    pub sources: Vec<Cidr>,
    /// Codec names, best first; empty means the host's.
    pub codecs: Vec<String>,
    /// Its P-Asserted-Identity is believed and passed on, and it gets ours (RFC 3325).
    pub trusted: bool,
    /// Calls at once through it on each worker, both directions.
    pub max_calls: Option<u32>,
}

/// Whose call it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admitted<'a> {
    pub tenant: &'a Tenant,
    pub trunk: Option<&'a Trunk>,
}

/// Why a call is nobody's, and what nearly fitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub status: u16,
    pub why: String,
    pub near_miss: Option<String>,
}

impl Directory {
    pub fn new(mut tenants: Vec<Tenant>, mut trunks: Vec<Trunk>, own_domains: Vec<String>) -> Self {
        tenants.sort_by(|a, b| a.id.cmp(&b.id));
        trunks.sort_by(|a, b| (&a.tenant, &a.id).cmp(&(&b.tenant, &b.id)));
        Directory {
            tenants,
            trunks,
            own_domains,
        }
    }

    /// The source says whose call it is; where several tenants share it, the domain of the
    /// Request-URI decides.
    pub fn admit(&self, source: IpAddr, domain: &str) -> Result<Admitted<'_>, Refused> {
        let fitting: Vec<Admitted<'_>> = self
            .tenants
            .iter()
            .filter_map(|tenant| self.admit_by_source(tenant, source))
            .collect();
        let named = |admitted: &&Admitted<'_>| {
            admitted
                .tenant
                .domains
                .iter()
                .any(|d| same_domain(d, domain))
        };
        match fitting.as_slice() {
            [] => Err(self.refuse_source(source, domain)),
            [only] => Ok(*only),
            several => match several.iter().find(named) {
                Some(admitted) => Ok(*admitted),
                None => Err(refuse_domain(several, source, domain)),
            },
        }
    }

    pub fn tenant(&self, id: &str) -> Option<&Tenant> {
        self.tenants.iter().find(|t| t.id == id)
    }

    pub fn trunk(&self, tenant: &str, id: &str) -> Option<&Trunk> {
        self.trunks
            .iter()
            .find(|t| t.tenant == tenant && t.id == id)
    }

    pub fn tenants(&self) -> &[Tenant] {
        &self.tenants
    }

    pub fn trunks(&self) -> &[Trunk] {
        &self.trunks
    }

    pub fn is_own_domain(&self, domain: &str) -> bool {
        self.own_domains.iter().any(|own| same_domain(own, domain))
    }

    fn admit_by_source<'a>(&'a self, tenant: &'a Tenant, source: IpAddr) -> Option<Admitted<'a>> {
        let trunk = self
            .trunks
            .iter()
            .filter(|trunk| trunk.tenant == tenant.id)
            .filter_map(|trunk| Some((narrowest(&trunk.sources, source)?, trunk)))
            // The first of equals: trunks are in order of their ids.
            .reduce(|best, next| if next.0 > best.0 { next } else { best })
            .map(|(_, trunk)| trunk);
        if trunk.is_none() && narrowest(&tenant.sources, source).is_none() {
            return None;
        }
        Some(Admitted { tenant, trunk })
    }

    fn refuse_source(&self, source: IpAddr, domain: &str) -> Refused {
        let why = format!("the source {source} belongs to no trunk and no tenant");
        let by_domain = self
            .tenants
            .iter()
            .find(|t| t.domains.iter().any(|d| same_domain(d, domain)));
        let near_miss = match by_domain {
            Some(tenant) => Some(format!(
                "the domain {domain} is tenant {}'s, but its sources are {}",
                tenant.id,
                list(self.sources_of(tenant)),
            )),
            None => self
                .tenants
                .iter()
                .flat_map(|tenant| self.sources_of(tenant).map(move |cidr| (tenant, cidr)))
                .filter_map(|(tenant, cidr)| Some((cidr.common_bits(source)?, tenant, cidr)))
                .max_by_key(|(bits, ..)| *bits)
                .map(|(_, tenant, cidr)| {
                    format!("the nearest source is {cidr} of tenant {}", tenant.id)
                }),
        };
        Refused {
            status: 403,
            why,
            near_miss,
        }
    }

    fn sources_of<'a>(&'a self, tenant: &'a Tenant) -> impl Iterator<Item = &'a Cidr> {
        let trunks = self.trunks.iter().filter(|trunk| trunk.tenant == tenant.id);
        tenant
            .sources
            .iter()
            .chain(trunks.flat_map(|trunk| &trunk.sources))
    }
}

fn refuse_domain(several: &[Admitted<'_>], source: IpAddr, domain: &str) -> Refused {
    let tenants: Vec<&str> = several.iter().map(|a| a.tenant.id.as_str()).collect();
    let nearest = several
        .iter()
        .flat_map(|a| {
            a.tenant
                .domains
                .iter()
                .map(move |d| (distance(d, domain), d, a.tenant))
        })
        .min_by_key(|(distance, ..)| *distance);
    Refused {
        status: 404,
        why: format!(
            "the source {source} is shared by tenants {}, and the domain {domain} is of none of them",
            tenants.join(", ")
        ),
        near_miss: nearest
            .map(|(_, d, tenant)| format!("the nearest domain is {d} of tenant {}", tenant.id)),
    }
}

fn narrowest(sources: &[Cidr], source: IpAddr) -> Option<u8> {
    sources
        .iter()
        .filter(|cidr| cidr.contains(source))
        .map(|cidr| cidr.prefix())
        .max()
}

fn same_domain(a: &str, b: &str) -> bool {
    let bare = |s: &str| {
        s.trim_end_matches('.')
            .trim_matches(['[', ']'])
            .to_ascii_lowercase()
    };
    bare(a) == bare(b)
}

fn list<'a>(sources: impl Iterator<Item = &'a Cidr>) -> String {
    let sources: Vec<String> = sources.take(8).map(Cidr::to_string).collect();
    if sources.is_empty() {
        "none".to_owned()
    } else {
        sources.join(", ")
    }
}

/// Edits from one text to the other (Levenshtein); both are domains, so short.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<u8> = b.bytes().take(255).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().take(255).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(!x.eq_ignore_ascii_case(y));
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_of_one_tenant_is_enough_whatever_the_domain() {
        let directory = directory();
        let admitted = directory.admit(ip("10.1.2.3"), "anything.example").unwrap();
        assert_eq!(admitted.tenant.id, "acme");
        assert_eq!(admitted.trunk.unwrap().id, "narrow");
    }

    #[test]
    fn tenants_that_share_a_source_are_told_apart_by_the_domain() {
        let directory = directory();
        assert_eq!(
            directory
                .admit(ip("127.0.0.1"), "BETA.example")
                .unwrap()
                .tenant
                .id,
            "beta"
        );
        assert_eq!(
            directory
                .admit(ip("127.0.0.1"), "acme.example")
                .unwrap()
                .tenant
                .id,
            "acme"
        );
        let refused = directory
            .admit(ip("127.0.0.1"), "acne.example")
            .unwrap_err();
        assert_eq!(refused.status, 404);
        assert_eq!(
            refused.near_miss.unwrap(),
            "the nearest domain is acme.example of tenant acme"
        );
    }

    #[test]
    fn an_unknown_source_is_told_what_nearly_fitted() {
        let directory = directory();
        let refused = directory.admit(ip("10.9.9.9"), "x").unwrap_err();
        assert_eq!(refused.status, 403);
        assert_eq!(
            refused.near_miss.unwrap(),
            "the nearest source is 10.1.0.0/16 of tenant acme"
        );
        let refused = directory
            .admit(ip("192.0.2.1"), "beta.example")
            .unwrap_err();
        assert_eq!(
            refused.near_miss.unwrap(),
            "the domain beta.example is tenant beta's, but its sources are 127.0.0.0/8"
        );
    }

    fn directory() -> Directory {
        let tenant = |id: &str, source: &str| Tenant {
            id: id.into(),
            domains: vec![format!("{id}.example")],
            sources: vec![source.parse().unwrap()],
            ..Tenant::default()
        };
        let trunk = |id: &str, source: &str| Trunk {
            tenant: "acme".into(),
            id: id.into(),
            sources: vec![source.parse().unwrap()],
            ..Trunk::default()
        };
        Directory::new(
            vec![tenant("beta", "127.0.0.0/8"), tenant("acme", "127.0.0.1")],
            vec![trunk("wide", "10.1.0.0/16"), trunk("narrow", "10.1.2.0/24")],
            vec!["127.0.0.1".into()],
        )
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }
}
