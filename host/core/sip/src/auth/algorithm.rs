//! The three hash functions of RFC 8760 §2 and the formulas of RFC 7616 §3.4.

use md5::{Digest, Md5};
use sha2::{Sha256, Sha512_256};

/// In order of strength.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    Md5,
    Sha256,
    Sha512_256,
}

impl Algorithm {
    /// As in the header, and whether it is the `-sess` form. `None`: not one that we know.
    pub fn parse(text: &str) -> Option<(Self, bool)> {
        let is_session = text.len() > 5
            && text.is_char_boundary(text.len() - 5)
            && text[text.len() - 5..].eq_ignore_ascii_case("-sess");
        let name = if is_session {
            &text[..text.len() - 5]
        } else {
            text
        };
        let found = [Algorithm::Md5, Algorithm::Sha256, Algorithm::Sha512_256]
            .into_iter()
            .find(|algorithm| algorithm.as_str().eq_ignore_ascii_case(name))?;
        Some((found, is_session))
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
            Algorithm::Sha512_256 => "SHA-512-256",
        }
    }

    /// Lower-case hex of the hash over the parts with a colon between them.
    pub fn hash(self, parts: &[&str]) -> String {
        match self {
            Algorithm::Md5 => digest::<Md5>(parts),
            Algorithm::Sha256 => digest::<Sha256>(parts),
            Algorithm::Sha512_256 => digest::<Sha512_256>(parts),
        }
    }

    /// H(A1) of RFC 7616 §3.4.2, before any `-sess`: this may be stored instead of a password.
    pub fn secret(self, username: &str, realm: &str, password: &str) -> String {
        self.hash(&[username, realm, password])
    }
}

/// What goes into a response beside the secret.
pub(super) struct Inputs<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) is_session: bool,
    pub(super) method: &'a str,
    pub(super) uri: &'a str,
    pub(super) nonce: &'a str,
    /// `(nc, cnonce)` where qop is `auth`; without it the form of RFC 2069.
    pub(super) qop: Option<(&'a str, &'a str)>,
}

impl Inputs<'_> {
    /// RFC 7616 §3.4.1. `secret` is that of [`Algorithm::secret`].
    pub(super) fn response(&self, secret: &str) -> String {
        let of_session;
        let a1 = match self.qop {
            Some((_, cnonce)) if self.is_session => {
                of_session = self.algorithm.hash(&[secret, self.nonce, cnonce]);
                &of_session
            }
            _ => secret,
        };
        let a2 = self.algorithm.hash(&[self.method, self.uri]);
        match self.qop {
            Some((nc, cnonce)) => self
                .algorithm
                .hash(&[a1, self.nonce, nc, cnonce, "auth", &a2]),
            None => self.algorithm.hash(&[a1, self.nonce, &a2]),
        }
    }
}

fn digest<D: Digest>(parts: &[&str]) -> String {
    let mut hash = D::new();
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            hash.update(b":");
        }
        hash.update(part);
    }
    hex::encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_rfc_7616_come_out() {
        let response = |algorithm: Algorithm| {
            let secret = algorithm.secret("Mufasa", "http-auth@example.org", "Circle of Life");
            let inputs = Inputs {
                algorithm,
                is_session: false,
                method: "GET",
                uri: "/dir/index.html",
                nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
                qop: Some(("00000001", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ")),
            };
            inputs.response(&secret)
        };
        assert_eq!(response(Algorithm::Md5), "8ca523f5e9506fed4657c9700eebdbec");
        assert_eq!(
            response(Algorithm::Sha256),
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
        );
    }

    #[test]
    fn names_are_read_in_any_case() {
        assert_eq!(Algorithm::parse("md5-SESS"), Some((Algorithm::Md5, true)));
        assert_eq!(
            Algorithm::parse("sha-512-256"),
            Some((Algorithm::Sha512_256, false))
        );
        assert_eq!(Algorithm::parse("SHA-1"), None);
        assert_eq!(Algorithm::parse("-sess"), None);
    }
}
