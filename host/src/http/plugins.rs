//! The `http` capability of plugins, served by our client.

use super::dial::{DialError, Permit};
use super::{Client, FetchError, Request};
use plugin_host::{HttpClient, HttpError, HttpRequest, HttpResponse};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

impl HttpClient for Client {
    fn fetch<'a>(
        &'a self,
        hosts: &'a [String],
        request: HttpRequest,
        timeout: Duration,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'a>> {
        let HttpRequest {
            method,
            url,
            headers,
            body,
        } = request;
        let request = Request {
            method,
            url,
            headers,
            body,
        };
        Box::pin(async move {
            // Plugins that may reach the same hosts may share connections to them.
            let owner = hosts.join(" ");
            let permit = |origin: &_| Permit::of_hosts(hosts.iter().map(String::as_str), origin);
            match Client::fetch(self, &owner, request, permit, timeout).await {
                Ok(response) => Ok(HttpResponse {
                    status: response.status,
                    headers: response.headers,
                    body: response.body.to_vec(),
                }),
                Err(error) => Err(in_the_plugins_words(error)),
            }
        })
    }
}

fn in_the_plugins_words(error: FetchError) -> HttpError {
    match error {
        FetchError::Dial(DialError::NotGranted(origin)) => HttpError::Denied(origin.to_string()),
        error @ FetchError::Dial(DialError::NotPublic { .. }) => {
            HttpError::Denied(error.to_string())
        }
        FetchError::Dial(DialError::Timeout(_)) | FetchError::Timeout(_) => HttpError::Timeout,
        FetchError::RequestTooLarge { .. } | FetchError::ResponseTooLarge { .. } => {
            HttpError::TooLarge
        }
        error @ (FetchError::Dial(
            DialError::Connect { .. } | DialError::Resolve(_) | DialError::Tls { .. },
        )
        | FetchError::Header(_)
        | FetchError::Method(_)
        | FetchError::Protocol(_)
        | FetchError::Shutdown
        | FetchError::Url(_)) => HttpError::Failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Limits, tls};

    #[tokio::test]
    async fn a_plugin_hears_which_host_it_was_not_granted() {
        let tls = tls::client_config(None).unwrap();
        let client = Client::new(tokio::runtime::Handle::current(), tls, Limits::default());
        let fetch = |hosts: &'static [String]| {
            let request = HttpRequest {
                method: "GET".into(),
                url: "http://127.0.0.1:1/".into(),
                headers: vec![],
                body: vec![],
            };
            HttpClient::fetch(&client, hosts, request, Duration::from_secs(5))
        };
        assert_eq!(
            fetch(&[]).await,
            Err(HttpError::Denied("127.0.0.1:1".into()))
        );
        let any: &'static [String] = Box::leak(Box::new(["*".to_owned()]));
        assert!(
            matches!(fetch(any).await, Err(HttpError::Denied(text)) if text.contains("not public"))
        );
        let exact: &'static [String] = Box::leak(Box::new(["127.0.0.1:1".to_owned()]));
        assert!(matches!(fetch(exact).await, Err(HttpError::Failed(_))));
    }
}
