//! `Digest name=value, name="value"` (RFC 7616 §3.3): a list of its own, where commas part
//! parameters.

use crate::message::text::{Values, unquote};
use std::borrow::Cow;

/// The parameters of a Digest challenge or of Digest credentials; none for another scheme.
pub(super) fn digest(value: &str) -> Option<Parameters<'_>> {
    let (scheme, rest) = value.trim().split_once([' ', '\t'])?;
    scheme
        .eq_ignore_ascii_case("Digest")
        .then_some(Parameters(rest))
}

pub(super) struct Parameters<'a>(&'a str);

impl<'a> Parameters<'a> {
    /// The first of that name, without quotes.
    pub(super) fn get(&self, name: &str) -> Option<Cow<'a, str>> {
        Values::new(self.0).find_map(|param| {
            let (found, value) = param.split_once('=')?;
            found
                .trim()
                .eq_ignore_ascii_case(name)
                .then(|| unquote(value.trim()))
        })
    }

    pub(super) fn owned(&self, name: &str) -> Option<String> {
        self.get(name).map(Cow::into_owned)
    }
}
