//! `secrets`: the tenant's secrets in the clear, for whom they were granted to be read.

use crate::bindings::imports::secrets::{Error, Host};
use crate::instance::State;
use serde_json::Value;

/// Where secrets are kept.
pub trait SecretStore: Send + Sync {
    fn secret(&self, tenant: &str, name: &str) -> Option<String>;
}

/// None at all.
pub struct NoSecrets;

impl SecretStore for NoSecrets {
    fn secret(&self, _: &str, _: &str) -> Option<String> {
        None
    }
}

/// What stands in a record in the place of a secret.
const HIDDEN: &str = "(hidden)";

impl Host for State {
    async fn get(&mut self, name: String) -> wasmtime::Result<Result<String, Error>> {
        let args = || Value::String(name.clone());
        if let Some(recalled) = self.recorder.recall("secrets.get", args) {
            return Ok(match recalled.as_ref().and_then(Value::as_str) {
                Some("denied") => Err(Error::Denied),
                Some("missing") | None => Err(Error::Missing),
                Some(_) => Ok(HIDDEN.to_owned()),
            });
        }
        let result = if self.context.grants.allows(&format!("secret-read:{name}")) {
            self.services
                .secrets
                .secret(&self.context.tenant, &name)
                .ok_or(Error::Missing)
        } else {
            Err(Error::Denied)
        };
        let noted = match &result {
            Ok(_) => HIDDEN,
            Err(Error::Denied) => "denied",
            Err(Error::Missing) => "missing",
        };
        self.recorder
            .note("secrets.get", args, || Value::from(noted));
        Ok(result)
    }
}

impl State {
    /// A secret that the guest uses without seeing it.
    pub(crate) fn secret_by_reference(&self, name: &str) -> Option<String> {
        let granted = self.context.grants.allows(&format!("secret:{name}"))
            || self.context.grants.allows(&format!("secret-read:{name}"));
        granted
            .then(|| self.services.secrets.secret(&self.context.tenant, name))
            .flatten()
    }
}
