//! An AI answers the call and may put the caller through: one tool, `transfer_call`. Where
//! the platform cannot be had, a human is dialled instead.

use gatepost_sdk::flow::{Call, ConnectEvent, DialEnd, Exit, Flow};
use gatepost_sdk::{config, json};
use serde::Deserialize;

#[derive(Deserialize)]
struct Settings {
    /// the connector plugin
    #[serde(default = "openai_realtime")]
    connector: String,
    #[serde(default = "polite")]
    instructions: String,
    /// where a transfer goes; `{to}` is what the AI asks for
    transfer: String,
    /// who is dialled when the AI cannot be reached
    operator: Option<String>,
}

#[derive(Deserialize)]
struct Transfer {
    to: String,
}

struct Receptionist;

impl Flow for Receptionist {
    async fn run(call: Call) -> Result<(), Exit> {
        let settings: Settings = config::read()?;
        call.answer().await?;
        let mut ai = call.connect(
            settings.connector.clone(),
            json!({
                "instructions": settings.instructions,
                "tools": [{
                    "type": "function",
                    "name": "transfer_call",
                    "description": "Put the caller through to an extension.",
                    "parameters": { "type": "object", "properties": { "to": { "type": "string" } }, "required": ["to"] }
                }]
            }),
        );
        while let Some(event) = ai.next().await? {
            match event {
                ConnectEvent::FunctionCall(function) => {
                    let Some(target) = target(&settings.transfer, &function.arguments) else {
                        ai.respond(
                            &function,
                            json!({ "error": "`to` must be an extension: digits only" }),
                        );
                        continue;
                    };
                    ai.note_result(&function, json!({ "ok": true }));
                    ai.disconnect();
                    return put_through(&call, target).await;
                }
                ConnectEvent::Transcript(line) if line.final_ => call.note(line.speaker, line.text),
                ConnectEvent::Ended {
                    normal: false,
                    reason,
                } => {
                    call.note("ai-failed", reason);
                    let Some(operator) = settings.operator else {
                        return call.reject(503, "the assistant cannot be reached");
                    };
                    return put_through(&call, operator).await;
                }
                ConnectEvent::Connected
                | ConnectEvent::Ended { .. }
                | ConnectEvent::Transcript(_) => {}
            }
        }
        call.hangup()
    }
}

/// Only digits are let into the URI: what an AI says is input from outside.
fn target(pattern: &str, arguments: &str) -> Option<String> {
    let to = serde_json::from_str::<Transfer>(arguments).ok()?.to;
    let valid = !to.is_empty() && to.len() <= 15 && to.bytes().all(|b| b.is_ascii_digit());
    valid.then(|| pattern.replace("{to}", &to))
}

async fn put_through(call: &Call, target: String) -> Result<(), Exit> {
    match call.dial(target).await? {
        DialEnd::Ended => call.hangup(),
        DialEnd::Failed { status, reason } => call.reject(status, reason),
    }
}

fn openai_realtime() -> String {
    "openai-realtime".to_owned()
}

fn polite() -> String {
    "You answer the telephone of a small company. Be brief and polite.".to_owned()
}

gatepost_sdk::export!(Receptionist as flow);
