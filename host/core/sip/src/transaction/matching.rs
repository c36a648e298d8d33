//! Which transaction a message belongs to (RFC 3261 §17.1.3, §17.2.3).
//!
//! The parts that must agree are hashed to 128 bits, with a secret in front so that nobody
//! outside can look for collisions; no text is kept.

use crate::message::{Fields, Method, Request};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Fingerprint(u64, u64);

#[derive(Debug, Clone, Copy)]
pub(super) struct Matcher {
    secret: [u64; 4],
}

/// Looked up by fingerprint, never iterated.
pub(super) type Index = HashMap<Fingerprint, u64, BuildHasherDefault<FirstHalf>>;

impl Matcher {
    pub(super) fn new(secret: [u64; 4]) -> Self {
        Matcher { secret }
    }

    /// A client transaction, by the branch that we made and the method of the CSeq.
    pub(super) fn client(&self, branch: &str, method: &str) -> Fingerprint {
        self.hash(&["client", branch, method])
    }

    /// The server transaction of a request; for ACK and CANCEL that of the INVITE.
    pub(super) fn server(&self, request: &Request) -> Option<Fingerprint> {
        let method = match request.method() {
            Method::Ack | Method::Cancel => "INVITE",
            method => method.as_str(),
        };
        self.server_as(request, method)
    }

    pub(super) fn server_as(&self, request: &Request, method: &str) -> Option<Fingerprint> {
        let via = request.via()?;
        let mut digits = [0; 5];
        let port = decimal(via.port.unwrap_or(0), &mut digits);
        if let Some(branch) = via.unique_branch() {
            return Some(self.hash(&["server", branch, via.host, port, method]));
        }
        // RFC 2543: the request itself is the name. Not the To tag: an ACK has ours.
        let cseq = request.cseq()?.number.to_string();
        let branch = via.branch().unwrap_or("");
        let (call_id, from_tag) = (request.call_id()?, request.from_tag().unwrap_or(""));
        Some(self.hash(&[
            "2543",
            request.uri(),
            from_tag,
            call_id,
            &cseq,
            via.host,
            port,
            branch,
            method,
        ]))
    }

    /// What two requests have in common that came here by two ways (RFC 3261 §8.2.2.2).
    pub(super) fn merged(&self, request: &Request) -> Option<Fingerprint> {
        let cseq = request.cseq()?;
        let mut bytes = [0; 10];
        let number = decimal(cseq.number, &mut bytes);
        Some(self.hash(&[
            "merged",
            request.call_id()?,
            request.from_tag()?,
            number,
            cseq.method,
        ]))
    }

    /// What the ACK of a 2xx has in common with that 2xx.
    pub(super) fn acknowledged(&self, fields: &Fields) -> Option<Fingerprint> {
        let mut bytes = [0; 10];
        let number = decimal(fields.cseq()?.number, &mut bytes);
        Some(self.hash(&[
            "ack",
            fields.call_id()?,
            fields.from_tag().unwrap_or(""),
            fields.to_tag()?,
            number,
        ]))
    }

    fn hash(&self, parts: &[&str]) -> Fingerprint {
        let half = |secret: &[u64]| {
            let mut hasher = DefaultHasher::new();
            secret.hash(&mut hasher);
            for part in parts {
                part.hash(&mut hasher);
            }
            hasher.finish()
        };
        Fingerprint(half(&self.secret[..2]), half(&self.secret[2..]))
    }
}

fn decimal<N: Into<u32>>(number: N, buffer: &mut [u8]) -> &str {
    let mut rest: u32 = number.into();
    let mut at = buffer.len();
    loop {
        at -= 1;
        buffer[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 || at == 0 {
            break;
        }
    }
    std::str::from_utf8(&buffer[at..]).unwrap_or("")
}

/// The fingerprint is random already: its first half is the hash.
#[derive(Debug, Default)]
pub(super) struct FirstHalf(Option<u64>);

impl Hasher for FirstHalf {
    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, half: u64) {
        self.0.get_or_insert(half);
    }

    fn finish(&self) -> u64 {
        self.0.unwrap_or(0)
    }
}
