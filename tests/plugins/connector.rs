//! `openai-realtime`: what it wants opened, and what it says first.

use crate::{Host, TENANT, block_on, call};
use bytes::Bytes;
use plugin_host::connector::{Action, Event};

const SETTINGS: &str = "[grants]\nallow = [\"http:api.openai.com\", \"secret:openai_api_key\"]\n";

#[test]
fn a_session_names_its_socket_and_begins_with_its_settings() {
    let host = Host::with("openai-realtime", SETTINGS);
    let settings = r#"{"instructions":"Be brief."}"#;
    let started = block_on(host.host.start_connector(
        TENANT,
        "openai-realtime",
        &call("1", &[]),
        settings,
        7,
    ));
    let (mut session, connection) = started.unwrap_or_else(|e| panic!("{e}"));
    assert!(
        connection.url.starts_with("wss://api.openai.com/"),
        "{}",
        connection.url
    );
    assert!(
        connection
            .headers
            .iter()
            .any(|(_, value)| value.contains("{secret:openai_api_key}")),
        "the guest never holds the key"
    );
    assert!(
        session
            .grants
            .iter()
            .any(|grant| grant == "http:api.openai.com"),
        "{:?}",
        session.grants
    );
    assert!(session.secret("openai_api_key").is_some());
    assert_eq!(session.secret("another"), None);

    let mut sent = Vec::new();
    for event in [
        Event::Opened,
        Event::Text(r#"{"type":"session.created","event_id":"e1","session":{"id":"s"}}"#.into()),
    ] {
        for action in block_on(session.on_event(event)).unwrap() {
            if let Action::SendText(text) = action {
                sent.push(text);
            }
        }
    }
    assert!(
        sent.iter()
            .any(|text| text.contains("session.update") && text.contains("Be brief.")),
        "{sent:?}"
    );
    // Before the platform is ready nothing of the caller is sent; it must not fail either.
    block_on(session.on_event(Event::Audio(Bytes::from(vec![0; 960])))).unwrap();
}
