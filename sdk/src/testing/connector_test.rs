//! Drives a connector as the host does.

use super::{FakeHost, call_info};
use crate::connector::{Action, Cleared, Connection, Connector, Event, FunctionResult, Running};
use crate::types::Failure;
use serde_json::Value;

/// One session with a platform that the test plays.
pub struct ConnectorTest<T> {
    host: FakeHost,
    session: Running<T>,
    connection: Connection,
}

impl<T: Connector> ConnectorTest<T> {
    /// Makes a session of these settings and asks it what to open.
    pub fn connect(settings: Value) -> Result<ConnectorTest<T>, Failure> {
        ConnectorTest::connect_on(FakeHost::new(), settings)
    }

    pub fn connect_on(host: FakeHost, settings: Value) -> Result<ConnectorTest<T>, Failure> {
        let mut session = Running::new(call_info(), settings.to_string());
        let connection = host.run(|| session.connect())?;
        Ok(ConnectorTest {
            host,
            session,
            connection,
        })
    }

    /// What it wants to be opened.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// What it answers to one event.
    pub fn event(&mut self, event: Event) -> Vec<Action> {
        self.host.run(|| self.session.on_event(event))
    }

    pub fn opened(&mut self) -> Vec<Action> {
        self.event(Event::Opened)
    }

    /// A text message of the platform.
    pub fn message(&mut self, json: Value) -> Vec<Action> {
        self.event(Event::Text(json.to_string()))
    }

    /// The host has dropped what it had not played yet.
    pub fn cleared(&mut self, item: &str, played_ms: u32) -> Vec<Action> {
        self.event(Event::Cleared(Cleared {
            item: item.into(),
            played_ms,
        }))
    }

    /// The flow answers a function call.
    pub fn function_result(&mut self, call: &str, output: &str, respond: bool) -> Vec<Action> {
        self.event(Event::FunctionResult(FunctionResult {
            call: call.into(),
            output: output.into(),
            respond,
        }))
    }

    /// The JSON messages among these actions.
    pub fn sent(actions: &[Action]) -> Vec<Value> {
        actions
            .iter()
            .filter_map(|action| match action {
                Action::SendText(text) => serde_json::from_str(text).ok(),
                _ => None,
            })
            .collect()
    }
}
