//! Our side as a server: challenges whose nonce proves by itself when it was made, and the
//! check of what comes back. No state for those who never answer.

use super::algorithm::{Algorithm, Inputs};
use super::params::digest;
use crate::message::text::quote;
use crate::message::{HeaderName, Request};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use subtle::ConstantTimeEq;

/// Makes nonces and knows those that were used.
#[derive(Debug)]
pub struct Authenticator {
    secret: [u8; 32],
    counter: u64,
    /// Seconds that a nonce is good for.
    lifetime_s: u64,
    /// Highest count seen of each nonce in use, by when the nonce was made; against replay.
    used: BTreeMap<(u64, String), u32>,
}

/// What a request says of who sent it. Nothing of it is proven yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub username: String,
    pub realm: String,
    pub algorithm: Algorithm,
    is_session: bool,
    nonce: String,
    uri: String,
    response: String,
    /// `nc` and `cnonce`, where `qop=auth`.
    qop: Option<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    /// The password is wrong, or the credentials are for another request.
    Denied,
    /// The nonce is old, unknown or was used before, but the password is right: challenge
    /// again with `stale=true`.
    Stale,
}

impl Authenticator {
    /// `seed` is secret.
    pub fn new(seed: u64, lifetime_s: u64) -> Self {
        let secret = Sha256::new()
            .chain_update(b"gatepost nonce")
            .chain_update(seed.to_be_bytes())
            .finalize();
        Authenticator {
            secret: secret.into(),
            counter: 0,
            lifetime_s,
            used: BTreeMap::new(),
        }
    }

    /// The value of one WWW-Authenticate or Proxy-Authenticate. Where several algorithms are
    /// offered each has a header of its own, the strongest first (RFC 8760 §2.4). `now_s` is
    /// wall-clock time in seconds.
    pub fn challenge(
        &mut self,
        now_s: u64,
        realm: &str,
        algorithm: Algorithm,
        stale: bool,
    ) -> String {
        self.counter += 1;
        let stem = format!("{now_s:x}-{:x}", self.counter);
        let nonce = format!("{stem}-{}", self.seal(&stem));
        let stale = if stale { ", stale=true" } else { "" };
        format!(
            "Digest realm={}, nonce=\"{nonce}\", algorithm={}, qop=\"auth\"{stale}",
            quote(realm),
            algorithm.as_str()
        )
    }

    /// Checks a claim. `secret` is [`Algorithm::secret`] of the user under the claim's realm
    /// and algorithm; for an unknown user pass any text, so that the time does not tell.
    pub fn verify(
        &mut self,
        now_s: u64,
        request: &Request,
        claim: &Claim,
        secret: &str,
    ) -> Verdict {
        let inputs = Inputs {
            algorithm: claim.algorithm,
            is_session: claim.is_session,
            method: request.method().as_str(),
            uri: &claim.uri,
            nonce: &claim.nonce,
            qop: claim
                .qop
                .as_ref()
                .map(|(nc, cnonce)| (nc.as_str(), cnonce.as_str())),
        };
        let expected = inputs.response(secret);
        let given = claim.response.to_ascii_lowercase();
        if !bool::from(expected.as_bytes().ct_eq(given.as_bytes()))
            || !is_same_uri(&claim.uri, request.uri())
        {
            return Verdict::Denied;
        }
        self.forget_old(now_s);
        let Some(made_s) = self.made_at(&claim.nonce) else {
            return Verdict::Stale;
        };
        if made_s > now_s + 5 || now_s.saturating_sub(made_s) > self.lifetime_s {
            return Verdict::Stale;
        }
        // Without qop there is no count: the nonce is good once.
        let count = match &claim.qop {
            Some((nc, _)) => u32::from_str_radix(nc, 16).unwrap_or(0),
            None => u32::MAX,
        };
        let seen = self.used.entry((made_s, claim.nonce.clone())).or_insert(0);
        if count <= *seen {
            return Verdict::Stale;
        }
        *seen = count;
        while self.used.len() > MAX_USED {
            self.used.pop_first();
        }
        Verdict::Accepted
    }

    fn forget_old(&mut self, now_s: u64) {
        let oldest = now_s.saturating_sub(self.lifetime_s);
        while self
            .used
            .first_key_value()
            .is_some_and(|((made_s, _), _)| *made_s < oldest)
        {
            self.used.pop_first();
        }
    }

    /// When this nonce was made, if it is one of ours.
    fn made_at(&self, nonce: &str) -> Option<u64> {
        let (stem, seal) = nonce.rsplit_once('-')?;
        let is_ours = bool::from(self.seal(stem).as_bytes().ct_eq(seal.as_bytes()));
        if !is_ours {
            return None;
        }
        u64::from_str_radix(stem.split('-').next()?, 16).ok()
    }

    fn seal(&self, stem: &str) -> String {
        let hash = Sha256::new()
            .chain_update(self.secret)
            .chain_update(stem)
            .chain_update(self.secret)
            .finalize();
        hex::encode(&hash[..16])
    }
}

impl Claim {
    /// What Authorization (for 401) or Proxy-Authorization (for 407) of a request says for
    /// this realm; none where there is none that we can check.
    pub fn of(request: &Request, header: HeaderName, realm: &str) -> Option<Claim> {
        request
            .get_all(header)
            .filter_map(Claim::parse)
            .find(|claim| claim.realm == realm)
    }

    fn parse(value: &str) -> Option<Claim> {
        let params = digest(value)?;
        let (algorithm, is_session) = match params.get("algorithm") {
            Some(name) => Algorithm::parse(&name)?,
            None => (Algorithm::Md5, false),
        };
        let qop = match params.get("qop") {
            Some(qop) if qop.eq_ignore_ascii_case("auth") => {
                Some((params.owned("nc")?, params.owned("cnonce")?))
            }
            Some(_) => return None,
            None => None,
        };
        Some(Claim {
            username: params.owned("username")?,
            realm: params.owned("realm")?,
            algorithm,
            is_session,
            nonce: params.owned("nonce")?,
            uri: params.owned("uri")?,
            response: params.owned("response")?,
            qop,
        })
    }
}

/// The digest's uri is that of the request; a proxy may have changed the parameters and the
/// case of the host on the way (RFC 3261 §22.4 point 7 leaves this to policy).
fn is_same_uri(claimed: &str, sent: &str) -> bool {
    let core = |uri: &str| {
        uri.split([';', '?'])
            .next()
            .unwrap_or(uri)
            .to_ascii_lowercase()
    };
    core(claimed) == core(sent)
}

/// Nonces that are remembered; beyond it the oldest go, and their users are challenged anew.
const MAX_USED: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::super::client::{Challenge, Credentials, Proof, answer};
    use super::*;
    use crate::message::{Method, Response};

    #[test]
    fn a_client_with_the_password_gets_in_once_for_each_count() {
        for algorithm in [Algorithm::Md5, Algorithm::Sha256, Algorithm::Sha512_256] {
            let mut server = Authenticator::new(1, 300);
            let challenge = challenge(&mut server, 1000, algorithm);
            let first = register(&challenge, "s3cret", 1);
            assert_eq!(check(&mut server, 1001, &first), Verdict::Accepted);
            assert_eq!(
                check(&mut server, 1002, &first),
                Verdict::Stale,
                "the same again is a replay"
            );
            assert_eq!(
                check(&mut server, 1003, &register(&challenge, "s3cret", 2)),
                Verdict::Accepted
            );
            assert_eq!(
                check(&mut server, 1301, &register(&challenge, "s3cret", 3)),
                Verdict::Stale
            );
            assert_eq!(
                check(&mut server, 1003, &register(&challenge, "wrong", 4)),
                Verdict::Denied
            );
        }
    }

    #[test]
    fn a_nonce_that_we_did_not_make_is_stale() {
        let mut other = Authenticator::new(2, 300);
        let challenge = challenge(&mut other, 1000, Algorithm::Md5);
        let mut server = Authenticator::new(1, 300);
        assert_eq!(
            check(&mut server, 1001, &register(&challenge, "s3cret", 1)),
            Verdict::Stale
        );
    }

    #[test]
    fn credentials_for_another_request_are_denied() {
        let mut server = Authenticator::new(1, 300);
        let challenge = challenge(&mut server, 1000, Algorithm::Md5);
        let request = register(&challenge, "s3cret", 1);
        let authorization = request.get(HeaderName::Authorization).unwrap().to_owned();
        let other = Request::builder(Method::Register, "sip:elsewhere")
            .header(HeaderName::Authorization, authorization.clone())
            .build();
        assert_eq!(check(&mut server, 1001, &other), Verdict::Denied);
        let invite = Request::builder(Method::Invite, "sip:sbc.example.com")
            .header(HeaderName::Authorization, authorization)
            .build();
        assert_eq!(check(&mut server, 1001, &invite), Verdict::Denied);
    }

    #[test]
    fn no_two_challenges_have_the_same_nonce() {
        let mut server = Authenticator::new(1, 300);
        let one = challenge(&mut server, 1000, Algorithm::Md5);
        assert_ne!(
            one.nonce,
            challenge(&mut server, 1000, Algorithm::Md5).nonce
        );
        assert!(one.nonce.len() >= 16);
    }

    fn challenge(server: &mut Authenticator, now_s: u64, algorithm: Algorithm) -> Challenge {
        let value = server.challenge(now_s, "sbc.example.com", algorithm, false);
        let request = Request::builder(Method::Register, "sip:sbc.example.com").build();
        let response = Response::to(&request, 401, "").with(HeaderName::WwwAuthenticate, value);
        Challenge::choose(&response, Some("sbc.example.com")).unwrap()
    }

    fn register(challenge: &Challenge, password: &str, count: u32) -> Request {
        let credentials = Credentials {
            username: "alice".into(),
            password: password.into(),
        };
        let proof = Proof {
            method: "REGISTER",
            uri: "sip:sbc.example.com",
            cnonce: "0a4f113b",
            count,
        };
        let value = answer(challenge, &credentials, proof);
        Request::builder(Method::Register, "sip:sbc.example.com")
            .header(HeaderName::Authorization, value)
            .build()
    }

    fn check(server: &mut Authenticator, now_s: u64, request: &Request) -> Verdict {
        let claim = Claim::of(request, HeaderName::Authorization, "sbc.example.com").unwrap();
        let secret = claim.algorithm.secret("alice", "sbc.example.com", "s3cret");
        server.verify(now_s, request, &claim, &secret)
    }
}
