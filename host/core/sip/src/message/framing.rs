//! Messages out of a TCP or TLS stream (RFC 3261 §18.3), with the keep-alives between them
//! (RFC 5626 §4.4.1). WebSocket frames itself and does not need this.

use bytes::{Bytes, BytesMut};
use memchr::memchr;

/// Push what was read, then take items until there are none.
#[derive(Debug, Default)]
pub struct StreamFramer {
    buffer: BytesMut,
    /// How far the search for the end of the header section got.
    searched: usize,
    /// Length of the message whose header section is complete.
    total: Option<usize>,
    limits: FramingLimits,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Framed {
    /// One whole message.
    Message(Bytes),
    /// A double CRLF between messages: answer with one CRLF.
    Ping,
}

/// The stream cannot be followed any further: close the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    #[error("a message on a stream without a Content-Length")]
    NoContentLength,
    #[error("a Content-Length that is not a number, or two that differ")]
    ContentLength,
    #[error("a header section longer than the limit")]
    HeaderTooLong,
    #[error("a message longer than the limit")]
    MessageTooLong,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FramingLimits {
    /// Bytes up to the empty line.
    pub header: usize, // 32 KiB
    /// Bytes of a whole message.
    pub message: usize, // 65,535
}

impl Default for FramingLimits {
    fn default() -> Self {
        FramingLimits {
            header: 32 << 10,
            message: 65_535,
        }
    }
}

impl StreamFramer {
    pub fn new(limits: FramingLimits) -> Self {
        StreamFramer {
            limits,
            ..StreamFramer::default()
        }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next item; `None` until more bytes come. After an error every call gives the error.
    #[expect(
        clippy::should_implement_trait,
        reason = "not an iterator: None means later, not never"
    )]
    pub fn next(&mut self) -> Result<Option<Framed>, FramingError> {
        if self.searched == 0
            && self.total.is_none()
            && let Some(ping) = self.skip_empty_lines()
        {
            return Ok(Some(ping));
        }
        let total = match self.total {
            Some(total) => total,
            None => {
                let Some(header) = self.find_header_end()? else {
                    return Ok(None);
                };
                let total = header.saturating_add(content_length(&self.buffer[..header])?);
                if total > self.limits.message {
                    return Err(FramingError::MessageTooLong);
                }
                *self.total.insert(total)
            }
        };
        if self.buffer.len() < total {
            return Ok(None);
        }
        self.total = None;
        self.searched = 0;
        Ok(Some(Framed::Message(self.buffer.split_to(total).freeze())))
    }

    /// Bytes that wait for the rest of their message.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Empty lines in front of a message mean nothing, two of them are a ping.
    fn skip_empty_lines(&mut self) -> Option<Framed> {
        loop {
            if self.buffer.starts_with(b"\r\n\r\n") {
                let _ = self.buffer.split_to(4);
                return Some(Framed::Ping);
            }
            // A lone CRLF is the peer's pong, unless the other half of a ping is still to come.
            let skip = match &self.buffer[..] {
                [b'\r', b'\n', b'\r'] | [b'\r', b'\n'] | [b'\r'] => 0,
                [b'\r', b'\n', ..] => 2,
                [b'\n', ..] => 1,
                _ => 0,
            };
            if skip == 0 {
                return None;
            }
            let _ = self.buffer.split_to(skip);
        }
    }

    /// The first byte of the body.
    fn find_header_end(&mut self) -> Result<Option<usize>, FramingError> {
        let mut from = self.searched;
        while let Some(offset) = memchr(b'\n', &self.buffer[from..]) {
            let after = from + offset + 1;
            let end = match &self.buffer[after..] {
                [b'\r', b'\n', ..] => Some(after + 2),
                [b'\n', ..] => Some(after + 1),
                // The line break may be cut in two: look at it again when more has come.
                [] | [b'\r'] => {
                    self.searched = from;
                    return self.undecided();
                }
                _ => None,
            };
            // A lone CRLF in front is no header section.
            if let Some(end) = end.filter(|_| !self.buffer[..after].trim_ascii().is_empty()) {
                self.searched = from;
                return if end > self.limits.header {
                    Err(FramingError::HeaderTooLong)
                } else {
                    Ok(Some(end))
                };
            }
            from = after;
        }
        self.searched = from;
        self.undecided()
    }

    fn undecided(&self) -> Result<Option<usize>, FramingError> {
        if self.buffer.len() > self.limits.header {
            Err(FramingError::HeaderTooLong)
        } else {
            Ok(None)
        }
    }
}

fn content_length(header: &[u8]) -> Result<usize, FramingError> {
    let mut found = None;
    for line in header.split(|b| *b == b'\n').skip(1) {
        let Some(colon) = memchr(b':', line) else {
            continue;
        };
        let name = line[..colon].trim_ascii_end();
        if !name.eq_ignore_ascii_case(b"content-length") && !name.eq_ignore_ascii_case(b"l") {
            continue;
        }
        let value = line[colon + 1..].trim_ascii();
        let digits = !value.is_empty() && value.len() < 19 && value.iter().all(u8::is_ascii_digit);
        let value = std::str::from_utf8(value)
            .ok()
            .filter(|_| digits)
            .and_then(|text| text.parse().ok());
        let value: usize = value.ok_or(FramingError::ContentLength)?;
        if found.is_some_and(|before| before != value) {
            return Err(FramingError::ContentLength);
        }
        found = Some(value);
    }
    found.ok_or(FramingError::NoContentLength)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &[u8] = b"OPTIONS sip:a@b SIP/2.0\r\nVia: x\r\nl: 4\r\n\r\nbody";

    #[test]
    fn octet_by_octet_and_all_at_once_give_the_same() {
        let mut stream = b"\r\n".to_vec();
        stream.extend_from_slice(MESSAGE);
        stream.extend_from_slice(b"\r\n\r\n");
        stream.extend_from_slice(MESSAGE);
        for size in [1, 2, 3, 7, stream.len()] {
            let mut framer = StreamFramer::default();
            let mut items = Vec::new();
            for chunk in stream.chunks(size) {
                framer.push(chunk);
                while let Some(item) = framer.next().unwrap() {
                    items.push(item);
                }
            }
            let message = Framed::Message(Bytes::from_static(MESSAGE));
            assert_eq!(
                items,
                [message.clone(), Framed::Ping, message],
                "chunks of {size}"
            );
        }
    }

    #[test]
    fn every_ping_is_seen_when_it_is_whole() {
        let mut framer = StreamFramer::default();
        framer.push(b"\r\n\r\n\r\n\r\n\r");
        assert_eq!(framer.next(), Ok(Some(Framed::Ping)));
        assert_eq!(framer.next(), Ok(Some(Framed::Ping)));
        assert_eq!(framer.next(), Ok(None));
        framer.push(b"\n\r\n");
        assert_eq!(framer.next(), Ok(Some(Framed::Ping)));
    }

    #[test]
    fn a_stream_that_cannot_be_followed_is_an_error() {
        let error = |text: &[u8]| {
            let mut framer = StreamFramer::new(FramingLimits {
                header: 100,
                message: 200,
            });
            framer.push(text);
            framer.next().unwrap_err()
        };
        assert_eq!(
            error(b"A b SIP/2.0\r\nVia: x\r\n\r\n"),
            FramingError::NoContentLength
        );
        assert_eq!(
            error(b"A b SIP/2.0\r\nl: x\r\n\r\n"),
            FramingError::ContentLength
        );
        assert_eq!(
            error(b"A b SIP/2.0\r\nl: 1\r\nContent-Length: 2\r\n\r\n"),
            FramingError::ContentLength
        );
        assert_eq!(
            error(b"A b SIP/2.0\r\nl: 99999999999999999999\r\n\r\n"),
            FramingError::ContentLength
        );
        assert_eq!(
            error(b"A b SIP/2.0\r\nl: 190\r\n\r\n"),
            FramingError::MessageTooLong
        );
        assert_eq!(error(&[b'x'; 101]), FramingError::HeaderTooLong);
    }

    #[test]
    fn a_lone_line_break_is_a_pong_and_says_nothing() {
        let mut framer = StreamFramer::default();
        framer.push(b"\r\n");
        assert_eq!(framer.next(), Ok(None));
        framer.push(MESSAGE);
        assert!(matches!(framer.next(), Ok(Some(Framed::Message(_)))));
    }
}
