//! `auto-attendant`: events in, actions out.

use crate::{Host, TENANT, block_on, call};
use b2bua::flow::{FlowAction, FlowEvent, GatherEnd};
use plugin_host::FlowInstance;

const MENU: &str = "[config]\nprompt = \"welcome.wav\"\n[config.menu.1]\ndial = [\"sip:1001@10.0.0.1\"]\n[config.menu.9]\nhangup = true\n";

fn tell(flow: &mut FlowInstance, event: FlowEvent) -> Vec<FlowAction> {
    let (result, step) = block_on(flow.on_event(event));
    assert_eq!(step.expect("a record").export, "flow.session.on-event");
    result.unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn the_attendant_answers_asks_and_dials() {
    let host = Host::with("auto-attendant", MENU);
    let (mut flow, step) = block_on(host.host.start_flow(
        TENANT,
        "auto-attendant",
        &call("100", &[]),
    ))
    .map_err(|(e, _)| e)
    .unwrap();
    assert!(step.is_some());
    assert_eq!(tell(&mut flow, FlowEvent::Started), [FlowAction::Answer]);
    let asked = tell(&mut flow, FlowEvent::Answered);
    let gather = asked.iter().find_map(|action| match action {
        FlowAction::Gather(gather) => Some(gather.id),
        _ => None,
    });
    assert!(
        asked
            .iter()
            .any(|action| matches!(action, FlowAction::Play(_))),
        "{asked:?}"
    );
    let gathered = FlowEvent::Gathered {
        id: gather.expect("a gather"),
        digits: "1".into(),
        end: GatherEnd::MaxDigits,
    };
    let dialled = tell(&mut flow, gathered);
    let uri = dialled.iter().find_map(|action| match action {
        FlowAction::Dial(dial) => Some(dial.plan.targets[0].uri.clone()),
        _ => None,
    });
    assert_eq!(uri.as_deref(), Some("sip:1001@10.0.0.1"), "{dialled:?}");
    tell(&mut flow, FlowEvent::Hangup(200));
}

#[test]
fn a_flow_of_no_such_name_is_told_so() {
    let host = Host::with("auto-attendant", MENU);
    let Err((failure, _)) = block_on(host.host.start_flow(TENANT, "reception", &call("1", &[])))
    else {
        panic!()
    };
    assert_eq!(failure.to_string(), "there is no plugin named reception");
    let Err((failure, _)) = block_on(host.host.start_flow(
        "other",
        "auto-attendant",
        &call("1", &[]),
    )) else {
        panic!()
    };
    assert!(
        failure.to_string().contains("auto-attendant"),
        "another tenant does not have it"
    );
}
