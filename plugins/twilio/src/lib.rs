//! Twilio as a carrier: its signed webhooks, its trunks' INVITEs and ours to them.
//!
//! ```toml
//! [grants]
//! allow = ["secret:twilio_auth_token"]   # the account's primary auth token
//!
//! [config]
//! public_url = "https://sbc.example.com" # where Twilio reaches us, behind a proxy
//! country = "1"                          # of numbers that are dialled without one
//! timeout_s = 30                         # how long Twilio lets our side ring
//! domain = "example.pstn.twilio.com"     # termination domain, where the trunk does not say
//! headers = { "X-Call" = "{CallSid}" }   # ride on the INVITE that the TwiML asks for
//! ```
//!
//! A voice webhook is answered with TwiML that dials this host's SIP address with the called
//! number; a status callback and a message become notices.

mod form;
mod number;
mod signature;
mod twiml;
mod uri;

use form::Form;
use gatepost_sdk::config;
use gatepost_sdk::provider::{Notice, Outgoing, Provider, Read, Shaped, WebhookReply};
use gatepost_sdk::types::{CallInfo, Ext, Failure, HttpRequest, HttpResponse, Target};
use serde::Deserialize;
use std::collections::BTreeMap;

struct Twilio;

// With `*` it is the operator's grants alone that decide: each account has its own token.
gatepost_sdk::export!(
    Twilio as provider;
    capabilities: ["secret:twilio_auth_token", "secret:*"],
    headers: ["X-Twilio-CallSid", "X-Twilio-AccountSid", "X-Twilio-VerStat", "Diversion"],
);

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    /// scheme and host, perhaps a path, that Twilio sees; none means the URL as it came in
    public_url: Option<String>,
    /// name of the tenant's secret that holds the auth token
    auth_token: String,
    /// country calling code
    country: String,
    /// seconds
    timeout_s: Option<u32>,
    caller_id: Option<String>,
    /// the caller hears ringing, not silence, until our side answers
    answer_on_bridge: bool,
    /// host of outgoing Request-URIs
    domain: Option<String>,
    /// header → text; `{Name}` is a field of the webhook
    headers: BTreeMap<String, String>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            public_url: None,
            auth_token: "twilio_auth_token".to_owned(),
            country: "1".to_owned(),
            timeout_s: None,
            caller_id: None,
            answer_on_bridge: true,
            domain: None,
            headers: BTreeMap::new(),
        }
    }
}

impl Provider for Twilio {
    /// Numbers go to Twilio in E.164, else it answers 400.
    fn outbound(_call: CallInfo, _target: Target, invite: Outgoing) -> Result<Shaped, Failure> {
        let settings: Settings = config::read()?;
        let in_e164 = |uri: &str| {
            let number = number::e164(&uri::user(uri)?, &settings.country)?;
            Some(uri::with_user(uri, &number))
        };
        let mut shaped = Shaped {
            request_uri: in_e164(&invite.request_uri),
            from_uri: in_e164(&invite.from_uri),
            to_uri: in_e164(&invite.to_uri),
            ..Shaped::default()
        };
        if let Some(domain) = &settings.domain {
            let at_domain = |changed: Option<String>, present: &str| {
                Some(uri::with_host(
                    changed.as_deref().unwrap_or(present),
                    domain,
                ))
            };
            shaped.request_uri = at_domain(shaped.request_uri, &invite.request_uri);
            shaped.to_uri = at_domain(shaped.to_uri, &invite.to_uri);
        }
        Ok(shaped)
    }

    fn inbound(call: CallInfo) -> Result<Read, Failure> {
        let settings: Settings = config::read()?;
        let mut read = Read::default();
        // An origination URI may have any user part; the number that was dialled is
        // always in Diversion too.
        let dialled = number::e164(&call.called, &settings.country).or_else(|| {
            number::e164(
                &uri::user(uri::in_name_addr(call.header("Diversion")?))?,
                &settings.country,
            )
        });
        read.called = dialled.filter(|number| *number != call.called);
        read.caller =
            number::e164(&call.caller, &settings.country).filter(|number| *number != call.caller);
        for (header, name) in [
            ("X-Twilio-CallSid", "twilio-call-sid"),
            ("X-Twilio-AccountSid", "twilio-account-sid"),
            ("X-Twilio-VerStat", "twilio-verstat"),
        ] {
            if let Some(value) = call.header(header) {
                read.ext.push((name.to_owned(), value.to_owned()));
            }
        }
        Ok(read)
    }

    fn webhook(request: HttpRequest, ext: Ext) -> Result<WebhookReply, Failure> {
        let settings: Settings = config::read()?;
        let url = uri::public(&request.url, settings.public_url.as_deref());
        let form = Form::of(&request);
        if !signature::is_valid(&request, &url, form.as_ref(), &settings.auth_token)? {
            return Ok(HttpResponse::new(
                403,
                "text/plain",
                "X-Twilio-Signature is missing or wrong",
            )
            .into());
        }
        let Some(form) = form.or_else(|| Form::of_query(&url)) else {
            return Ok(HttpResponse::new(415, "text/plain", "a form is expected").into());
        };
        match Kind::of(&form, &url) {
            Kind::Status(kind) => {
                let notices = vec![Notice::new(kind, form.to_ext())];
                Ok(WebhookReply {
                    response: HttpResponse::empty(204),
                    notices,
                })
            }
            Kind::Message => {
                let notices = vec![Notice::new("message", form.to_ext())];
                Ok(WebhookReply {
                    response: xml(twiml::NOTHING),
                    notices,
                })
            }
            Kind::AfterDial => {
                let notices = vec![Notice::new("dial-status", form.to_ext())];
                Ok(WebhookReply {
                    response: xml(twiml::HANGUP),
                    notices,
                })
            }
            Kind::Voice => {
                let here = ext
                    .iter()
                    .find(|(name, _)| name == "sip-uri")
                    .map(|(_, uri)| uri.as_str());
                let here = here.ok_or_else(|| {
                    Failure::Internal("the host did not tell its sip-uri".to_owned())
                })?;
                let notices = vec![Notice::new("call-status", form.to_ext())];
                Ok(WebhookReply {
                    response: xml(&twiml::dial(here, &form, &settings)),
                    notices,
                })
            }
            Kind::Unknown => Ok(HttpResponse::new(
                400,
                "text/plain",
                "neither CallSid and To nor MessageSid is there",
            )
            .into()),
        }
    }
}

/// What a signed request is about.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// the dialled leg is over; Twilio asks what is next (`<Dial action>`)
    AfterDial,
    Message,
    /// kind of the notice
    Status(&'static str),
    Unknown,
    Voice,
}

impl Kind {
    fn of(form: &Form, url: &str) -> Kind {
        let has = |name: &str| form.get(name).is_some();
        let path = url.split(['?', '#']).next().unwrap_or(url);
        let over = matches!(
            form.get("CallStatus"),
            Some("completed" | "busy" | "failed" | "no-answer" | "canceled")
        );
        if has("MessageSid") || has("SmsSid") {
            return if has("MessageStatus") {
                Kind::Status("message-status")
            } else {
                Kind::Message
            };
        }
        if has("StreamEvent") {
            return Kind::Status("stream-status");
        }
        if !has("CallSid") {
            return Kind::Unknown;
        }
        if has("DialCallStatus") {
            return Kind::AfterDial;
        }
        if over
            || form.get("CallbackSource") == Some("call-progress-events")
            || path.ends_with("/status")
        {
            return Kind::Status("call-status");
        }
        if has("To") || has("Called") {
            Kind::Voice
        } else {
            Kind::Unknown
        }
    }
}

fn xml(twiml: &str) -> HttpResponse {
    HttpResponse::new(200, "text/xml", twiml)
}

#[cfg(test)]
mod tests;
