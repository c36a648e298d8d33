//! Which worker a message belongs to, from its own bytes and without parsing it.
//!
//! What we created carries our worker's number: the branch of our Via in a response, our tag
//! in a request inside a dialog, our Call-ID on a leg that we began. Everything else goes to
//! the hash of its Call-ID, so that an INVITE, its retransmissions, its CANCEL and its ACK
//! meet.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

/// The number of the worker, below `workers`.
pub fn worker_for(message: &[u8], workers: u16) -> u16 {
    if workers <= 1 {
        return 0;
    }
    let lines = Lines::new(message);
    let ours = if message.starts_with(b"SIP/2.0 ") {
        lines
            .header("via", "v")
            .and_then(|via| parameter(via, "branch"))
            .and_then(worker_of)
    } else {
        lines
            .header("to", "t")
            .and_then(|to| parameter(to, "tag"))
            .and_then(worker_of)
    };
    let call_id = lines.header("call-id", "i").unwrap_or_default();
    match ours.or_else(|| worker_of(call_id)) {
        // A number from a run with more workers is any number.
        Some(worker) => worker % workers,
        None => {
            (BuildHasherDefault::<DefaultHasher>::default().hash_one(call_id) % u64::from(workers))
                as u16
        }
    }
}

fn worker_of(token: &[u8]) -> Option<u16> {
    sip::token::worker_of(std::str::from_utf8(token).ok()?)
}

/// The header section as it is, unfolded no further than the first line of a header.
struct Lines<'a>(&'a [u8]);

impl<'a> Lines<'a> {
    fn new(message: &'a [u8]) -> Self {
        Lines(message)
    }

    /// The value of the first header of that name, up to the end of its line.
    fn header(&self, name: &str, compact: &str) -> Option<&'a [u8]> {
        self.0
            .split(|b| *b == b'\n')
            .skip(1)
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
            .take_while(|line| !line.is_empty())
            .find_map(|line| {
                let colon = line.iter().position(|b| *b == b':')?;
                let found = line[..colon].trim_ascii();
                (found.eq_ignore_ascii_case(name.as_bytes())
                    || found.eq_ignore_ascii_case(compact.as_bytes()))
                .then(|| line[colon + 1..].trim_ascii())
            })
    }
}

/// `;name=value` outside of `<…>` and quotes.
fn parameter<'a>(value: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let (mut quoted, mut bracketed, mut escaped) = (false, false, false);
    for (i, byte) in value.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'<' if !quoted => bracketed = true,
            b'>' if !quoted => bracketed = false,
            // A second value of a combined header is not the first one's parameter.
            b',' if !quoted && !bracketed => return None,
            b';' if !quoted && !bracketed => {
                let rest = value[i + 1..].trim_ascii_start();
                let Some((found, rest)) = rest.split_at_checked(name.len()) else {
                    continue;
                };
                if let Some(text) = rest.trim_ascii_start().strip_prefix(b"=")
                    && found.eq_ignore_ascii_case(name.as_bytes())
                {
                    let text = text.trim_ascii_start();
                    let end = text
                        .iter()
                        .position(|b| matches!(b, b';' | b',' | b' ' | b'\t'))
                        .unwrap_or(text.len());
                    return Some(&text[..end]);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use sip::token::TokenSource;

    #[test]
    fn a_response_goes_to_the_worker_of_its_branch() {
        for worker in 0..4 {
            let branch = TokenSource::new(worker, 1).branch();
            let text = format!(
                "SIP/2.0 200 OK\r\nv: SIP/2.0/UDP 127.0.0.1:5060;rport=5060 ; branch={branch},SIP/2.0/UDP x;branch=z9hG4bK1\r\nCall-ID: theirs\r\n\r\n"
            );
            assert_eq!(worker_for(text.as_bytes(), 4), worker);
        }
    }

    #[test]
    fn a_request_in_a_dialog_goes_to_the_worker_of_our_tag() {
        let tag = TokenSource::new(3, 9).tag();
        let text = format!(
            "BYE sip:x@127.0.0.1 SIP/2.0\r\nTo: \"a;tag=no\" <sip:b@c;tag=no>;tag={tag}\r\nCall-ID: theirs\r\n\r\n"
        );
        assert_eq!(worker_for(text.as_bytes(), 4), 3);
    }

    #[test]
    fn a_new_call_and_its_cancel_meet_by_call_id() {
        let invite =
            b"INVITE sip:x@127.0.0.1 SIP/2.0\r\nTo: <sip:b@c>\r\ni: a84b4c76e66710@pc33\r\n\r\n";
        let cancel = b"CANCEL sip:x@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKq\r\nCall-ID: a84b4c76e66710@pc33\r\n\r\n";
        assert_eq!(worker_for(invite, 7), worker_for(cancel, 7));
        let spread: std::collections::BTreeSet<u16> = (0..64)
            .map(|i| {
                worker_for(
                    format!("INVITE sip:x SIP/2.0\r\nCall-ID: call-{i}\r\n\r\n").as_bytes(),
                    4,
                )
            })
            .collect();
        assert_eq!(spread.len(), 4, "all workers get calls");
    }

    #[test]
    fn rubbish_goes_somewhere() {
        for rubbish in [
            b"".as_slice(),
            b"\r\n\r\n",
            b"\xff\xfe\n:\n;tag=\n",
            b"SIP/2.0 200\r\nVia:;branch",
        ] {
            assert!(worker_for(rubbish, 3) < 3);
        }
    }
}
