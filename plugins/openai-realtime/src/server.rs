//! What the platform sends, as far as it matters here.

use serde::Deserialize;

/// Any server event: the fields that some have.
#[derive(Deserialize)]
pub(crate) struct ServerEvent {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    pub(crate) response_id: Option<String>,
    #[serde(default)]
    pub(crate) item_id: Option<String>,
    #[serde(default)]
    pub(crate) content_index: u32,
    /// base64 audio, or text
    #[serde(default)]
    pub(crate) delta: Option<String>,
    #[serde(default)]
    pub(crate) transcript: Option<String>,
    #[serde(default)]
    pub(crate) text: Option<String>,
    #[serde(default)]
    pub(crate) call_id: Option<String>,
    #[serde(default)]
    pub(crate) name: Option<String>,
    /// JSON
    #[serde(default)]
    pub(crate) arguments: Option<String>,
    #[serde(default)]
    pub(crate) response: Option<Response>,
    #[serde(default)]
    pub(crate) item: Option<Item>,
    #[serde(default)]
    pub(crate) error: Option<Error>,
}

#[derive(Deserialize)]
pub(crate) struct Response {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    status_details: Option<serde_json::Value>,
    #[serde(default)]
    pub(crate) output: Vec<Item>,
}

#[derive(Deserialize)]
pub(crate) struct Item {
    #[serde(default)]
    pub(crate) id: Option<String>,
    #[serde(rename = "type", default)]
    pub(crate) kind: Option<String>,
    #[serde(default)]
    pub(crate) call_id: Option<String>,
    #[serde(default)]
    pub(crate) name: Option<String>,
    #[serde(default)]
    pub(crate) arguments: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Error {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

impl ServerEvent {
    pub(crate) fn kind(&self) -> &str {
        &self.kind
    }

    pub(crate) fn response_id(&self) -> Option<&str> {
        self.response_id
            .as_deref()
            .or_else(|| self.response.as_ref()?.id.as_deref())
    }
}

impl Response {
    /// Why it was not completed. That the caller spoke is no problem.
    pub(crate) fn problem(&self) -> Option<String> {
        match self.status.as_deref() {
            Some(status @ ("failed" | "incomplete")) => {
                let details = self
                    .status_details
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                Some(format!("{status} {details}"))
            }
            _ => None,
        }
    }
}

impl Error {
    pub(crate) fn describe(&self) -> String {
        let parts = [&self.kind, &self.code, &self.message]
            .into_iter()
            .flatten();
        parts.map(String::as_str).collect::<Vec<_>>().join(": ")
    }
}
