//! `X-Twilio-Signature`: base64 of HMAC-SHA1 over the URL and, for a form, its sorted
//! fields, with the account's auth token as the key.

use crate::form::Form;
use crate::uri;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gatepost_sdk::crypto::{self, Algorithm, Error, Key};
use gatepost_sdk::types::{Failure, HttpRequest};

/// `url` is the URL as Twilio called it, `secret` the name of the auth token.
pub(crate) fn is_valid(
    request: &HttpRequest,
    url: &str,
    form: Option<&Form>,
    secret: &str,
) -> Result<bool, Failure> {
    let Some(signature) = request
        .header("X-Twilio-Signature")
        .and_then(|text| STANDARD.decode(text.trim()).ok())
    else {
        return Ok(false);
    };
    let fields = match form {
        Some(form) => form
            .sorted()
            .into_iter()
            .flat_map(|(name, value)| [name.as_str(), value.as_str()])
            .collect(),
        None if request.body.is_empty() => String::new(),
        // A body that is no form is signed by its hash in the query.
        None if has_hash_of(url, &request.body) => String::new(),
        None => return Ok(false),
    };
    let key = Key::secret(secret);
    for url in uri::as_signed(url) {
        let message = format!("{url}{fields}");
        match crypto::hmac_verify(Algorithm::HmacSha1, &key, message.as_bytes(), &signature) {
            Ok(true) => return Ok(true),
            // A signature of the wrong length is a wrong signature.
            Ok(false) | Err(Error::Malformed) => {}
            Err(Error::NoKey(name)) => {
                return Err(Failure::Config(format!(
                    "the secret {name} is not set, or `secret:{name}` is not granted"
                )));
            }
        }
    }
    Ok(false)
}

fn has_hash_of(url: &str, body: &[u8]) -> bool {
    let Some(expected) =
        Form::of_query(url).and_then(|query| query.get("bodySHA256").map(str::to_owned))
    else {
        return false;
    };
    let hash: String = crypto::sha256(body)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    hash.eq_ignore_ascii_case(&expected)
}
