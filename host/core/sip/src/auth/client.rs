//! Our side as a client: which challenge to answer, and the answer.

use super::algorithm::{Algorithm, Inputs};
use super::params::digest;
use crate::message::text::quote;
use crate::message::{HeaderName, Response};
use std::fmt::Write;

/// One `WWW-Authenticate` or `Proxy-Authenticate` that we can answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    pub realm: String,
    pub nonce: String,
    pub opaque: Option<String>,
    pub algorithm: Algorithm,
    /// Whether the parameter was there: it is then echoed.
    has_algorithm: bool,
    is_session: bool,
    /// Whether `qop=auth` was offered; else the form of RFC 2069.
    has_qop: bool,
    /// The nonce is too old, the password was right: try again.
    pub stale: bool,
    /// The header that carries the answer: Authorization or Proxy-Authorization.
    pub answer_in: HeaderName,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    pub username: String,
    pub password: String,
}

/// What the answer is computed over.
#[derive(Debug, Clone, Copy)]
pub struct Proof<'a> {
    pub method: &'a str,
    /// The Request-URI as sent.
    pub uri: &'a str,
    /// Random text of ours.
    pub cnonce: &'a str,
    /// How often this nonce was used, from 1.
    pub count: u32,
}

impl Challenge {
    /// The challenges of a 401 or 407 that we can answer, in the order of preference of the
    /// server (RFC 8760 §2.4); what we do not know is left out.
    pub fn all(response: &Response) -> Vec<Challenge> {
        let of = |name, answer_in| {
            response
                .get_all(name)
                .filter_map(move |value| Challenge::parse(value, answer_in))
        };
        of(HeaderName::WwwAuthenticate, HeaderName::Authorization)
            .chain(of(
                HeaderName::ProxyAuthenticate,
                HeaderName::ProxyAuthorization,
            ))
            .collect()
    }

    /// The one to answer for this realm, or for the first realm where none is wished.
    pub fn choose(response: &Response, realm: Option<&str>) -> Option<Challenge> {
        Challenge::all(response)
            .into_iter()
            .find(|challenge| realm.is_none_or(|wanted| challenge.realm == wanted))
    }

    fn parse(value: &str, answer_in: HeaderName) -> Option<Challenge> {
        let params = digest(value)?;
        let algorithm = params.get("algorithm");
        let (known, is_session) = match &algorithm {
            Some(name) => Algorithm::parse(name)?,
            None => (Algorithm::Md5, false),
        };
        let has_qop = match params.get("qop") {
            Some(offered)
                if offered
                    .split(',')
                    .any(|qop| qop.trim().eq_ignore_ascii_case("auth")) =>
            {
                true
            }
            // Only auth-int, or something new.
            Some(_) => return None,
            None => false,
        };
        Some(Challenge {
            realm: params.owned("realm")?,
            nonce: params.owned("nonce")?,
            opaque: params.owned("opaque"),
            algorithm: known,
            has_algorithm: algorithm.is_some(),
            is_session,
            has_qop,
            stale: params
                .get("stale")
                .is_some_and(|stale| stale.eq_ignore_ascii_case("true")),
            answer_in,
        })
    }
}

/// The value of the header `challenge.answer_in` for the next try. That goes out with CSeq
/// + 1, the same Call-ID and the same From tag (RFC 3261 §22.2).
pub fn answer(challenge: &Challenge, credentials: &Credentials, proof: Proof<'_>) -> String {
    let nc = format!("{:08x}", proof.count);
    let inputs = Inputs {
        algorithm: challenge.algorithm,
        is_session: challenge.is_session,
        method: proof.method,
        uri: proof.uri,
        nonce: &challenge.nonce,
        qop: (challenge.has_qop || challenge.is_session).then_some((&*nc, proof.cnonce)),
    };
    let secret = challenge.algorithm.secret(
        &credentials.username,
        &challenge.realm,
        &credentials.password,
    );
    let response = inputs.response(&secret);
    let mut out = format!(
        "Digest username={}, realm={}, nonce={}, uri={}, response=\"{response}\"",
        quote(&credentials.username),
        quote(&challenge.realm),
        quote(&challenge.nonce),
        quote(proof.uri),
    );
    if challenge.has_algorithm {
        // Writing to a String does not fail.
        let session = if challenge.is_session { "-sess" } else { "" };
        let _ = write!(out, ", algorithm={}{session}", challenge.algorithm.as_str());
    }
    if challenge.has_qop || challenge.is_session {
        let _ = write!(out, ", qop=auth, nc={nc}, cnonce={}", quote(proof.cnonce));
    }
    if let Some(opaque) = &challenge.opaque {
        let _ = write!(out, ", opaque={}", quote(opaque));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Message, Response};
    use bytes::Bytes;

    #[test]
    fn a_register_is_answered_with_the_known_vectors() {
        for (algorithm, expected) in [
            ("MD5", "76cb68e283d73e6e0a23dfbc36f674ca"),
            (
                "SHA-256",
                "10a1feb8619f9a842a902d7d8ebf46918b9dbd75bec003f7c78823951d888b51",
            ),
            (
                "SHA-512-256",
                "606ed358232fe1bbf8c1a7aefe825ece28a8be5a38a99791bebae2f96d959023",
            ),
        ] {
            let response = unauthorized(&format!(
                "WWW-Authenticate: Digest realm=\"sbc.example.com\", nonce=\"dcd98b7102dd2f0e\", algorithm={algorithm}, qop=\"auth,auth-int\", opaque=\"5c\""
            ));
            let challenge = Challenge::choose(&response, None).unwrap();
            assert_eq!(challenge.answer_in, HeaderName::Authorization);
            let credentials = Credentials {
                username: "alice".into(),
                password: "s3cret".into(),
            };
            let proof = Proof {
                method: "REGISTER",
                uri: "sip:sbc.example.com",
                cnonce: "0a4f113b",
                count: 1,
            };
            let value = answer(&challenge, &credentials, proof);
            assert!(
                value.contains(&format!("response=\"{expected}\"")),
                "{value}"
            );
            assert!(value.contains(&format!("algorithm={algorithm}, qop=auth, nc=00000001")));
            assert!(value.ends_with("opaque=\"5c\""));
        }
    }

    #[test]
    fn the_first_known_algorithm_is_taken_and_the_unknown_left_out() {
        let response = unauthorized(
            "Proxy-Authenticate: Digest realm=\"a, b\", nonce=\"1\", algorithm=SHA3-512, qop=\"auth\"\r\n\
             Proxy-Authenticate: NoOneKnowsThisScheme opaque-data=here\r\n\
             Proxy-Authenticate: Digest realm=\"a, b\", nonce=\"2\", algorithm=SHA-256, qop=\"auth\", stale=TRUE\r\n\
             Proxy-Authenticate: Digest realm=\"a, b\", nonce=\"3\"",
        );
        let all = Challenge::all(&response);
        assert_eq!(
            all.iter().map(|c| c.nonce.as_str()).collect::<Vec<_>>(),
            ["2", "3"]
        );
        assert_eq!(
            (all[0].algorithm, all[0].stale, all[0].realm.as_str()),
            (Algorithm::Sha256, true, "a, b")
        );
        assert_eq!(all[1].answer_in, HeaderName::ProxyAuthorization);
        let credentials = Credentials {
            username: "a".into(),
            password: "b".into(),
        };
        let old = answer(
            &all[1],
            &credentials,
            Proof {
                method: "INVITE",
                uri: "sip:x",
                cnonce: "c",
                count: 1,
            },
        );
        assert!(!old.contains("qop") && !old.contains("algorithm"), "{old}");
    }

    fn unauthorized(header: &str) -> Response {
        let text = format!("SIP/2.0 401 Unauthorized\r\n{header}\r\n\r\n");
        match Message::parse(Bytes::from(text)).unwrap() {
            Message::Response(response) => response,
            Message::Request(_) => unreachable!("it begins with SIP/2.0"),
        }
    }
}
