//! Bodies of requests: JSON, and files as they are or in a form.

use super::Api;
use super::problem::Problem;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;

/// A JSON body. No body at all is an empty object.
#[derive(Debug)]
pub(super) struct JsonBody<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Api> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let bytes = bytes(request, api).await?;
        let text = if bytes.iter().all(u8::is_ascii_whitespace) {
            b"{}"
        } else {
            &bytes[..]
        };
        // Twice, so that text that is no JSON at all is told apart from JSON of the wrong shape.
        let value: Value = serde_json::from_slice(text).map_err(|error| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                "invalid_json",
                format!("the body is not JSON: {error}"),
            )
        })?;
        serde_json::from_value(value)
            .map(JsonBody)
            .map_err(|error| Problem::invalid(error.to_string()))
    }
}

/// A component, with what came beside it in the form.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Upload {
    pub(super) wasm: Bytes,
    /// Other fields of a form, e.g. `settings`.
    pub(super) fields: BTreeMap<String, String>,
}

impl FromRequest<Api> for Upload {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let boundary = boundary(request.headers())?;
        let bytes = bytes(request, api).await?;
        match boundary {
            Some(boundary) => form(&bytes, &boundary),
            None => Ok(Upload {
                wasm: bytes,
                fields: BTreeMap::new(),
            }),
        }
    }
}

async fn bytes(request: Request, api: &Api) -> Result<Bytes, Problem> {
    Bytes::from_request(request, api)
        .await
        .map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                "the body is larger than this path takes",
            ),
            _ => Problem::new(
                StatusCode::BAD_REQUEST,
                "bad_request",
                "the body did not come whole",
            ),
        })
}

/// None for a body that is the file itself.
fn boundary(headers: &HeaderMap) -> Result<Option<Vec<u8>>, Problem> {
    let unsupported = || {
        Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "send the component as application/wasm, or in the field `wasm` of multipart/form-data",
        )
    };
    let Some(kind) = headers.get(header::CONTENT_TYPE) else {
        return Ok(None);
    };
    let kind = kind.to_str().map_err(|_| unsupported())?;
    let (essence, parameters) = kind.split_once(';').unwrap_or((kind, ""));
    match essence.trim().to_ascii_lowercase().as_str() {
        // What curl says of itself for --data-binary.
        "application/wasm" | "application/octet-stream" | "application/x-www-form-urlencoded" => {
            Ok(None)
        }
        "multipart/form-data" => {
            let boundary = parameters.split(';').find_map(|parameter| {
                let (name, value) = parameter.trim().split_once('=')?;
                name.eq_ignore_ascii_case("boundary")
                    .then(|| value.trim_matches('"'))
            });
            // RFC 2046 §5.1.1: 1 to 70 characters.
            let boundary = boundary
                .filter(|b| (1..=70).contains(&b.len()))
                .ok_or_else(unsupported)?;
            Ok(Some(boundary.as_bytes().to_vec()))
        }
        _ => Err(unsupported()),
    }
}

/// RFC 7578: parts between boundary lines, each with headers, an empty line and content.
fn form(bytes: &Bytes, boundary: &[u8]) -> Result<Upload, Problem> {
    let wrong = |what: &str| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "bad_form",
            format!("the form cannot be read: {what}"),
        )
    };
    let mark = [b"\r\n--", boundary].concat();
    let (mut wasm, mut fields) = (None, BTreeMap::new());
    // The first boundary may stand at the very beginning.
    let mut at = if bytes.starts_with(&mark[2..]) {
        mark.len() - 2
    } else {
        find(bytes, &mark).ok_or_else(|| wrong("no boundary"))? + mark.len()
    };
    for _ in 0..MOST_PARTS {
        if bytes[at..].starts_with(b"--") {
            let wasm = wasm.ok_or_else(|| Problem::invalid("the form has no field `wasm`"))?;
            return Ok(Upload { wasm, fields });
        }
        let head =
            at + find(&bytes[at..], b"\r\n").ok_or_else(|| wrong("a boundary without an end"))? + 2;
        let blank = head
            + find(&bytes[head..], b"\r\n\r\n")
                .ok_or_else(|| wrong("a part without an end of its headers"))?;
        let content = blank + 4;
        let end = content
            + find(&bytes[content..], &mark).ok_or_else(|| wrong("a part without an end"))?;
        let headers = String::from_utf8_lossy(&bytes[head..blank]);
        match field_name(&headers)
            .ok_or_else(|| wrong("a part without a name"))?
            .as_str()
        {
            "wasm" | "file" => wasm = Some(bytes.slice(content..end)),
            name => {
                let text = std::str::from_utf8(&bytes[content..end])
                    .map_err(|_| wrong("a field is not UTF-8"))?;
                fields.insert(name.to_owned(), text.to_owned());
            }
        }
        at = end + mark.len();
    }
    Err(wrong("too many parts"))
}

fn field_name(headers: &str) -> Option<String> {
    let line = headers.split("\r\n").find(|line| {
        line.to_ascii_lowercase()
            .starts_with("content-disposition:")
    })?;
    line.split(';').find_map(|parameter| {
        parameter
            .trim()
            .strip_prefix("name=")
            .map(|name| name.trim_matches('"').to_owned())
    })
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

const MOST_PARTS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_gives_the_file_and_its_fields() {
        let text = "--b\r\nContent-Disposition: form-data; name=\"settings\"\r\n\r\n{}\r\n--b\r\ncontent-disposition: form-data; name=\"wasm\"; filename=\"x.wasm\"\r\nContent-Type: application/wasm\r\n\r\n\0asm\r\n\r\n--b--\r\n";
        let upload = form(&Bytes::from_static(text.as_bytes()), b"b").unwrap();
        assert_eq!(&upload.wasm[..], b"\0asm\r\n");
        assert_eq!(upload.fields["settings"], "{}");
    }

    #[test]
    fn no_form_panics() {
        let whole = "--b\r\nContent-Disposition: form-data; name=\"wasm\"\r\n\r\nxx\r\n--b--";
        for cut in 0..whole.len() {
            let _ = form(&Bytes::copy_from_slice(&whole.as_bytes()[..cut]), b"b");
        }
        assert!(form(&Bytes::from_static(whole.as_bytes()), b"b").is_ok());
        assert!(form(&Bytes::from_static(b"--b--"), b"b").is_err());
    }

    #[test]
    fn only_files_and_forms_are_uploads() {
        let of = |kind: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
            boundary(&headers)
        };
        assert_eq!(of("application/wasm").unwrap(), None);
        assert_eq!(
            of("multipart/form-data; boundary=\"x y\"")
                .unwrap()
                .unwrap(),
            b"x y"
        );
        assert!(of("multipart/form-data").is_err());
        assert!(of("text/html").is_err());
        assert_eq!(boundary(&HeaderMap::new()).unwrap(), None);
    }
}
