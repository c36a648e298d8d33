//! Lists: `?page=` and `?per_page=` in, `items, total, page, per_page, pages` out.

use super::Api;
use super::problem::Problem;
use crate::store::{Listed, Page};
use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

/// What the query asks for; a page larger than [`LARGEST`] is cut to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paging(pub(super) Page);

impl FromRequestParts<Api> for Paging {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        parse(parts.uri.query().unwrap_or(""))
    }
}

fn parse(query: &str) -> Result<Paging, Problem> {
    let (mut page, mut per_page) = (1, DEFAULT);
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        let number = || {
            value
                .parse::<u32>()
                .ok()
                .filter(|n| *n >= 1)
                .ok_or_else(|| Problem::invalid(format!("`{name}` is a number from 1")))
        };
        match name {
            "page" => page = number()?,
            "per_page" | "limit" => per_page = number()?.min(LARGEST),
            _ => {}
        }
    }
    Ok(Paging(Page { page, per_page }))
}

impl Paging {
    /// Of a list that is there as a whole.
    pub(super) fn cut<T>(self, all: Vec<T>) -> Listed<T> {
        let total = all.len() as u64;
        let skip = (self.0.page as usize - 1).saturating_mul(self.0.per_page as usize);
        Listed {
            items: all
                .into_iter()
                .skip(skip)
                .take(self.0.per_page as usize)
                .collect(),
            total,
        }
    }

    pub(super) fn envelope<T: Serialize>(self, listed: &Listed<T>) -> Response {
        let pages = listed.total.div_ceil(self.0.per_page.into());
        let envelope = json!({
            "items": listed.items,
            "total": listed.total,
            "page": self.0.page,
            "per_page": self.0.per_page,
            "pages": pages,
        });
        Json(envelope).into_response()
    }
}

const DEFAULT: u32 = 50;
const LARGEST: u32 = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_cut_to_the_largest_and_nonsense_is_refused() {
        assert_eq!(
            parse("page=3&per_page=999999999").unwrap().0,
            Page {
                page: 3,
                per_page: 200
            }
        );
        for bad in [
            "page=0",
            "per_page=-1",
            "limit=18446744073709551616",
            "page=x",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(
            parse("page=2&per_page=2").unwrap().cut(vec![1, 2, 3]).items,
            [3]
        );
        assert!(
            parse("page=4294967295&per_page=200")
                .unwrap()
                .cut(vec![1])
                .items
                .is_empty()
        );
    }
}
