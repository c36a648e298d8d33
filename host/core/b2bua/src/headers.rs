//! Which headers others (a router, a provider, the caller) may put into an INVITE of ours.

use crate::call_info::Header;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("{0} is written by this host alone")]
    Reserved(String),
    #[error("`{0}` is not a header name")]
    Name(String),
    #[error("the value of {0} has a line break or another control character")]
    Control(String),
    #[error("{name} has {bytes} bytes, more than {MAX_VALUE}")]
    TooLong { name: String, bytes: usize },
    #[error("there are more than {MAX_HEADERS} headers")]
    TooMany,
    #[error("all headers together are more than {MAX_TOTAL} bytes")]
    TooLarge,
}

/// Those that may go out, and why the others may not.
pub fn check(headers: &[Header]) -> (Vec<Header>, Vec<Refused>) {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    let mut total = 0;
    for header in headers {
        match check_one(header) {
            Err(refused) => bad.push(refused),
            Ok(()) if good.len() == MAX_HEADERS => {
                bad.push(Refused::TooMany);
                break;
            }
            Ok(()) => {
                total += header.name.len() + header.value.len() + 4;
                if total > MAX_TOTAL {
                    bad.push(Refused::TooLarge);
                    break;
                }
                good.push(header.clone());
            }
        }
    }
    (good, bad)
}

pub fn check_one(header: &Header) -> Result<(), Refused> {
    let Header { name, value } = header;
    if name.is_empty() || name.len() > 64 || !name.bytes().all(is_token) {
        return Err(Refused::Name(
            name.chars().take(64).filter(|c| !c.is_control()).collect(),
        ));
    }
    if RESERVED
        .iter()
        .any(|reserved| reserved.eq_ignore_ascii_case(name))
    {
        return Err(Refused::Reserved(name.clone()));
    }
    if value.len() > MAX_VALUE {
        return Err(Refused::TooLong {
            name: name.clone(),
            bytes: value.len(),
        });
    }
    if value.chars().any(|c| c.is_control() && c != '\t') {
        return Err(Refused::Control(name.clone()));
    }
    Ok(())
}

/// What is taken over from the caller's INVITE: it describes the call and no path to anybody.
pub fn is_passed(name: &str) -> bool {
    PASSED
        .iter()
        .any(|passed| passed.eq_ignore_ascii_case(name))
}

/// Fit for a Request-URI or an address that a plugin gave: no breaks, spaces or brackets.
pub fn is_clean_uri(uri: &str) -> bool {
    !uri.is_empty()
        && uri.len() <= 1024
        && uri
            .bytes()
            .all(|b| b > 0x20 && b < 0x7f && !matches!(b, b'<' | b'>' | b'"'))
}

/// Foreign text in a line of the journal.
pub fn printable(text: &str) -> String {
    text.chars()
        .take(120)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// RFC 3261 §25.1
fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b)
}

/// The transaction, the dialog, the session and the hop are ours (RFC 3261 §8.1.1); compact
/// forms are the same headers.
const RESERVED: &[&str] = &[
    "Allow",
    "Authorization",
    "Call-ID",
    "Contact",
    "Content-Encoding",
    "Content-Length",
    "Content-Type",
    "CSeq",
    "From",
    "Max-Forwards",
    "Min-SE",
    "Path",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Proxy-Require",
    "RAck",
    "Record-Route",
    "Require",
    "Route",
    "RSeq",
    "Service-Route",
    "Session-Expires",
    "Supported",
    "To",
    "Via",
    "WWW-Authenticate",
    "c",
    "e",
    "f",
    "i",
    "k",
    "l",
    "m",
    "t",
    "v",
    "x",
];

const PASSED: &[&str] = &[
    "Accept-Language",
    "P-Early-Media",
    "Priority",
    "Privacy",
    "Subject",
    "User-to-User",
];

const MAX_HEADERS: usize = 64;
const MAX_VALUE: usize = 4096;
const MAX_TOTAL: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_cannot_smuggle_another_one_or_take_over_the_dialog() {
        let refused = |name: &str, value: &str| check_one(&header(name, value)).is_err();
        assert!(refused("X-A", "1\r\nVia: evil"));
        assert!(refused("X-A", "1\nVia: evil"));
        assert!(refused("X A", "1"));
        assert!(refused("X-A\r\nVia", "1"));
        assert!(refused("", "1"));
        assert!(refused("vIa", "1"));
        assert!(refused("i", "1"));
        assert!(refused("X-A", &"x".repeat(5000)));
        assert!(!refused("X-Customer", "tab\tand ümlaut"));
    }

    #[test]
    fn good_headers_pass_beside_bad_ones_and_their_number_is_bounded() {
        let (good, bad) = check(&[
            header("X-A", "1"),
            header("Route", "<sip:x>"),
            header("X-B", "2"),
        ]);
        assert_eq!(good.len(), 2);
        assert_eq!(bad, [Refused::Reserved("Route".into())]);
        let many: Vec<Header> = (0..100).map(|n| header(&format!("X-{n}"), "1")).collect();
        assert_eq!(check(&many).0.len(), MAX_HEADERS);
    }

    fn header(name: &str, value: &str) -> Header {
        Header {
            name: name.into(),
            value: value.into(),
        }
    }
}
