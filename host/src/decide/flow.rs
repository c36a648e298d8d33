//! One call's conversation with its flow: events one after the other, each answered before
//! the next is told.

use super::Answers;
use b2bua::Input;
use b2bua::call_info::CallInfo;
use b2bua::flow::FlowEvent;
use b2bua::key::{AskId, CallKey};
use plugin_host::PluginHost;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Events that may wait for a flow: some seconds of an impatient caller's digits.
pub(super) const MAILBOX: usize = 256;

/// Runs until the flow fails, or until the call leaves it and drops the mailbox's other end.
pub(super) async fn run(
    plugins: Arc<PluginHost>,
    answers: Answers,
    call: CallKey,
    ask: AskId,
    name: String,
    info: Arc<CallInfo>,
    mut mailbox: mpsc::Receiver<FlowEvent>,
) {
    let (mut instance, step) = match plugins.start_flow(&info.tenant, &name, &info).await {
        Ok((instance, step)) => (instance, step),
        Err((failure, step)) => {
            answers
                .send(Input::FlowStarted {
                    call,
                    ask,
                    result: Err(failure),
                    step,
                })
                .await;
            return;
        }
    };
    answers
        .send(Input::FlowStarted {
            call,
            ask,
            result: Ok(()),
            step,
        })
        .await;
    while let Some(event) = mailbox.recv().await {
        let (result, step) = instance.on_event(event).await;
        let failed = result.is_err();
        answers
            .send(Input::FlowActions { call, result, step })
            .await;
        if failed {
            return;
        }
    }
}
