//! What a plugin may do: what its manifest asks for *and* its tenant granted.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// `kv`, `http:HOST`, `secret:NAME` (use by reference), `secret-read:NAME`. `log`, `config`,
/// `clock`, `random` and `crypto` with own keys need none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Grants(BTreeSet<String>);

impl Grants {
    pub fn new(names: impl IntoIterator<Item = String>) -> Grants {
        Grants(names.into_iter().collect())
    }

    /// The ones that are both asked for and granted. What is granted as `http:*`, `secret:*`
    /// or `secret-read:*` covers what is asked for by name.
    pub fn effective(asked: &[String], granted: &Grants) -> Grants {
        let covered = |name: &str| {
            granted.0.contains(name)
                || name
                    .split_once(':')
                    .is_some_and(|(kind, _)| granted.0.contains(&format!("{kind}:*")))
        };
        let mut both: BTreeSet<String> =
            asked.iter().filter(|name| covered(name)).cloned().collect();
        // A manifest that asks for any host leaves the choice to the tenant.
        for any in asked.iter().filter(|a| a.ends_with(":*")) {
            let kind = &any[..any.len() - 1];
            both.extend(granted.0.iter().filter(|g| g.starts_with(kind)).cloned());
        }
        Grants(both)
    }

    pub fn allows(&self, name: &str) -> bool {
        self.0.contains(name)
            || name
                .split_once(':')
                .is_some_and(|(kind, _)| self.0.contains(&format!("{kind}:*")))
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// What is wrong with a granted name, in words.
    pub fn check(&self) -> Result<(), String> {
        for name in &self.0 {
            let known = name == "kv"
                || ["http:", "secret:", "secret-read:"]
                    .iter()
                    .any(|k| name.strip_prefix(k).is_some_and(|n| !n.is_empty()));
            if !known {
                return Err(format!(
                    "`{name}` is no grant; there are kv, http:HOST, secret:NAME and secret-read:NAME"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&str]) -> Grants {
        Grants::new(names.iter().map(|n| (*n).to_owned()))
    }

    #[test]
    fn only_what_is_asked_for_and_granted_is_allowed() {
        let asked = [
            "kv".to_owned(),
            "http:a.example".to_owned(),
            "secret:x".to_owned(),
        ];
        let both = Grants::effective(
            &asked,
            &of(&["http:a.example", "http:b.example", "secret:*"]),
        );
        assert!(both.allows("http:a.example") && both.allows("secret:x"));
        assert!(!both.allows("kv") && !both.allows("http:b.example") && !both.allows("secret:y"));
    }

    #[test]
    fn a_manifest_that_asks_for_any_host_gets_the_granted_ones() {
        let both = Grants::effective(&["http:*".to_owned()], &of(&["http:a.example", "kv"]));
        assert!(
            both.allows("http:a.example") && !both.allows("http:b.example") && !both.allows("kv")
        );
    }

    #[test]
    fn unknown_grants_are_named() {
        assert!(of(&["https:x"]).check().unwrap_err().contains("https:x"));
        assert!(of(&["kv", "secret:x"]).check().is_ok());
    }
}
