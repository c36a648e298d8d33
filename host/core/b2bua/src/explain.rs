//! The journal of a call in plain words: why it was routed, or why not.

use crate::cause::Cause;
use crate::decision::{Decision, Outcome, Step};
use crate::flow::FlowAction;
use crate::journal::{CallEvent, Kind};
use crate::key::LegId;
use serde::Serialize;
use std::fmt::Write;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// What happened, one sentence each, in order.
    pub sentences: Vec<String>,
    /// What was decided, in a few words.
    pub decision: Option<String>,
    /// The rule that decided, where the decider named it (`ext` name `rule`), or its reason.
    pub rule: Option<String>,
    /// What nearly fitted.
    pub near_miss: Option<String>,
    pub plugin: Option<PluginVersion>,
    /// Final SIP status of the call; 200 for one that was answered and over. None while it runs.
    pub status: Option<u16>,
    pub cause: Option<Cause>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PluginVersion {
    pub name: String,
    /// SHA-256 of the component
    pub digest: String,
}

/// Needs no more than the events: those of a call that still runs will do.
pub fn explain(events: &[CallEvent]) -> Explanation {
    let mut told = Explanation::default();
    for event in events {
        told.read(&event.kind);
    }
    told
}

impl Explanation {
    fn read(&mut self, kind: &Kind) {
        match kind {
            Kind::Arrived { info } => self.say(format!(
                "A call from {} to {} came in from {}.",
                info.caller,
                info.called,
                std::net::SocketAddr::new(info.source.host, info.source.port)
            )),
            Kind::Admitted { tenant, trunk } => self.say(match trunk {
                Some(trunk) => format!("It belongs to tenant {tenant}, trunk {trunk}."),
                None => format!("It belongs to tenant {tenant}."),
            }),
            Kind::Refused { why, near_miss } => {
                self.say(format!("It was not admitted: {why}."));
                if let Some(near_miss) = near_miss {
                    self.say(format!("Near miss: {near_miss}."));
                }
                self.near_miss.clone_from(near_miss);
            }
            Kind::Step { step } => self.read_step(step),
            Kind::Fallback { why, then } => self.say(format!("{}, so {then}.", capital(why))),
            Kind::Decided { decision } => {
                let decision = in_words(decision);
                self.say(format!("Decision: {decision}."));
                self.decision = Some(decision);
            }
            Kind::Dialed {
                leg, target, trunk, ..
            } => self.say(match trunk {
                Some(trunk) => format!(
                    "{} was called at {target} through trunk {trunk}.",
                    name(*leg)
                ),
                None => format!("{} was called at {target}.", name(*leg)),
            }),
            Kind::Ringing { leg, status } => self.say(format!("{} rings ({status}).", name(*leg))),
            Kind::TargetFailed { leg, why, hunt, .. } => {
                self.say(format!("{} failed: {why}; {hunt}.", name(*leg)))
            }
            Kind::Answered { leg: LegId::A } => self.say("The call was answered.".to_owned()),
            Kind::Answered { leg } => self.say(format!("{} answered.", name(*leg))),
            Kind::FlowAction {
                action,
                refused: Some(why),
            } => {
                self.say(format!(
                    "The flow's action {} was refused: {why}.",
                    action_name(action)
                ));
            }
            Kind::Truncated { kept } => {
                self.say(format!("The journal was full after {kept} lines."))
            }
            Kind::Ended(ended) => {
                let cause = &ended.cause;
                self.say(if cause.is_normal() {
                    format!("It ended normally: {}.", cause.text)
                } else {
                    format!(
                        "It ended with {}: {} (fault: {}).",
                        cause.status,
                        cause.text,
                        cause.fault.as_str()
                    )
                });
                self.status = Some(cause.status);
                self.cause = Some(cause.clone());
            }
            Kind::Asked { .. }
            | Kind::Connector { .. }
            | Kind::Digit { .. }
            | Kind::FlowAction { refused: None, .. }
            | Kind::FlowEvent { .. }
            | Kind::Media { .. }
            | Kind::MediaStats { .. }
            | Kind::Note { .. }
            | Kind::SipReceived { .. }
            | Kind::SipSent { .. } => {}
        }
    }

    fn read_step(&mut self, step: &Step) {
        let who = match step.digest.get(..12) {
            Some(digest) => format!(
                "{} (plugin {}, version {digest})",
                step.decider, step.plugin
            ),
            None if step.plugin.is_empty() => step.decider.clone(),
            None => format!("{} (plugin {})", step.decider, step.plugin),
        };
        let did = match &step.outcome {
            Outcome::Answered => return,
            Outcome::Decided(decision) => {
                if !step.plugin.is_empty() {
                    self.plugin = Some(PluginVersion {
                        name: step.plugin.clone(),
                        digest: step.digest.clone(),
                    });
                }
                self.rule = rule(decision);
                match &self.rule {
                    Some(rule) if !matches!(decision, Decision::Reject(_)) => {
                        format!("decided: {} ({rule})", in_words(decision))
                    }
                    _ => format!("decided: {}", in_words(decision)),
                }
            }
            Outcome::Failed(failure) => format!("failed: {failure}"),
            Outcome::Next => "had no opinion".to_owned(),
            Outcome::Skipped(why) => format!("was not asked: {why}"),
        };
        self.say(format!(
            "{} {did}, after {} µs.",
            capital(&who),
            step.wall_us
        ));
    }

    fn say(&mut self, sentence: String) {
        self.sentences.push(sentence);
    }
}

/// The messages of a call as a text diagram, one line each.
pub fn ladder(events: &[CallEvent]) -> String {
    let mut out = String::new();
    for event in events {
        let (leg, path, message, arrow) = match &event.kind {
            Kind::SipReceived { leg, path, message } => (leg, path, message, "──►"),
            Kind::SipSent { leg, path, message } => (leg, path, message, "◄──"),
            _ => continue,
        };
        let line = message.first_line();
        let what = match (line.starts_with("SIP/2.0 "), message.cseq_method()) {
            (true, Some(method)) => format!("{} ({method})", &line["SIP/2.0 ".len()..]),
            _ => line.split(' ').take(2).collect::<Vec<_>>().join(" "),
        };
        let _ = writeln!(
            out,
            "{:>10.3} ms  {:<6} {:<28} {arrow} gatepost  {what}",
            event.t_us as f64 / 1000.0,
            name(*leg),
            path.remote
        );
    }
    out
}

fn in_words(decision: &Decision) -> String {
    match decision {
        Decision::Dial(plan) => {
            let targets: Vec<&str> = plan.targets.iter().map(|t| t.uri.as_str()).collect();
            format!("dial {}", targets.join(", "))
        }
        Decision::Redirect(contacts) => format!("redirect to {}", contacts.join(", ")),
        Decision::Reject(reject) => format!("reject with {} ({})", reject.code, reject.reason),
        Decision::RunFlow(flow) => format!("run flow {}", flow.name),
    }
}

fn rule(decision: &Decision) -> Option<String> {
    let ext = match decision {
        Decision::Dial(plan) => &plan.ext,
        Decision::RunFlow(flow) => &flow.ext,
        Decision::Reject(reject) => return Some(reject.reason.clone()),
        Decision::Redirect(_) => return None,
    };
    ext.iter()
        .find(|(name, _)| name == "rule")
        .map(|(_, value)| value.clone())
}

fn action_name(action: &FlowAction) -> String {
    let text = format!("{action:?}");
    text.split(['(', ' ', '{'])
        .next()
        .unwrap_or("")
        .to_ascii_lowercase()
}

fn name(leg: LegId) -> String {
    if leg == LegId::A {
        "A".to_owned()
    } else {
        format!("B{}", leg.0)
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map(|c| c.to_uppercase().chain(chars).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call_info::{Attestation, CallInfo, Direction, Endpoint, Transport};
    use crate::decision::{DecisionFailure, Reject};
    use std::sync::Arc;

    #[test]
    fn a_fallback_is_told_with_what_failed_and_what_decided_instead() {
        let refusal = Decision::Reject(Reject {
            code: 404,
            reason: "no rule for 1000; the nearest is rule 2, ^20".into(),
            retry_after_s: None,
        });
        let told = explain(&events([
            Kind::Arrived { info: info() },
            Kind::Admitted {
                tenant: "demo".into(),
                trunk: None,
            },
            step(
                "binding:default",
                "deadbeefdeadbeef",
                Outcome::Failed(DecisionFailure::Deadline { after_ms: 50 }),
            ),
            step(
                "last-good",
                "cafecafecafecafe",
                Outcome::Decided(refusal.clone()),
            ),
            Kind::Decided { decision: refusal },
        ]));
        assert_eq!(
            told.sentences[2..],
            [
                "Binding:default (plugin routes, version deadbeefdead) failed: the deadline of 50 ms passed, after 9 µs.",
                "Last-good (plugin routes, version cafecafecafe) decided: reject with 404 (no rule for 1000; the nearest is \
                 rule 2, ^20), after 9 µs.",
                "Decision: reject with 404 (no rule for 1000; the nearest is rule 2, ^20).",
            ]
        );
        assert_eq!(told.plugin.unwrap().digest, "cafecafecafecafe");
        assert_eq!(
            told.rule.unwrap(),
            "no rule for 1000; the nearest is rule 2, ^20"
        );
        assert_eq!(told.status, None, "the call still runs");
    }

    #[test]
    fn a_call_that_was_not_admitted_names_the_near_miss() {
        let near_miss = Some("the nearest source is 10.0.0.0/8 of tenant demo".to_owned());
        let refused = Kind::Refused {
            why: "the source belongs to nobody".into(),
            near_miss: near_miss.clone(),
        };
        let told = explain(&events([Kind::Arrived { info: info() }, refused]));
        assert_eq!(told.near_miss, near_miss);
        assert_eq!(
            told.sentences[0],
            "A call from 7 to 1000 came in from 192.0.2.9:5060."
        );
    }

    fn events<const N: usize>(kinds: [Kind; N]) -> Vec<CallEvent> {
        kinds
            .into_iter()
            .zip(0..)
            .map(|(kind, seq)| CallEvent { seq, t_us: 0, kind })
            .collect()
    }

    fn step(decider: &str, digest: &str, outcome: Outcome) -> Kind {
        let step = Step {
            decider: decider.into(),
            plugin: "routes".into(),
            digest: digest.into(),
            export: "router.on-invite".into(),
            input: info(),
            imports: Vec::new(),
            outcome,
            wall_us: 9,
            cpu_us: 8,
        };
        Kind::Step {
            step: Box::new(step),
        }
    }

    fn info() -> Arc<CallInfo> {
        Arc::new(CallInfo {
            call_id: String::new(),
            tenant: "demo".into(),
            trunk: None,
            direction: Direction::Inbound,
            source: Endpoint {
                host: [192, 0, 2, 9].into(),
                port: 5060,
                transport: Transport::Udp,
            },
            request_uri: "sip:1000@x".into(),
            called: "1000".into(),
            caller: "7".into(),
            from_uri: "sip:7@x".into(),
            from_display: None,
            to_uri: "sip:1000@x".into(),
            attestation: Attestation::None,
            codecs: Vec::new(),
            headers: Vec::new(),
            received_ms: 0,
            ext: Vec::new(),
        })
    }
}
