//! Routes calls by an ordered list of rules; the first that matches decides.
//!
//! ```toml
//! [[config.rule]]
//! to = "^9(\\d+)$"                       # regular expression on the called number, unanchored
//! from = "^100"                          # and on the calling number
//! dial = ["sip:{1}@10.0.0.1", "sip:{1}@10.0.0.2"]
//!
//! [[config.rule]]
//! to = "^900"
//! reject = 603
//! reason = "premium numbers are blocked"
//!
//! [[config.rule]]
//! flow = "auto-attendant"                # without `to` and `from` it matches every call
//! ```
//!
//! `{user}` is the called number, `{caller}` the calling one, `{1}` and `{name}` are capture
//! groups of `to`, or of `from` where `to` has no such group. Each call is decided in a
//! fresh instance, so an expression is compiled only when its rule is reached, and one that
//! is plain text never.

mod pattern;
mod rules;
mod template;

use gatepost_sdk::prelude::*;
use gatepost_sdk::{config, info};
use rules::{Miss, Rule};

struct StaticRoutes;

gatepost_sdk::export!(StaticRoutes as router);

impl Router for StaticRoutes {
    fn on_invite(call: CallInfo) -> Result<Decision, Failure> {
        let settings = config::json();
        let rules = rules::parse(&settings)?;
        let mut nearest: Option<(usize, Miss)> = None;
        for (index, rule) in rules.iter().enumerate() {
            match rule
                .matches(&call)
                .map_err(|error| in_rule(index, &error))?
            {
                Ok(captures) => return decide(index, rule, &captures, &call),
                Err(miss)
                    if nearest
                        .as_ref()
                        .is_none_or(|(_, best)| miss.nearness > best.nearness) =>
                {
                    nearest = Some((index, miss));
                }
                Err(_) => {}
            }
        }
        let reason = match nearest {
            Some((index, miss)) => {
                format!(
                    "no rule matched {}; nearest was rule {}: {}",
                    call.called,
                    index + 1,
                    miss.why(&call)
                )
            }
            None => format!("no rule matched {}: there are no rules", call.called),
        };
        info!("{reason}");
        Ok(Decision::reject(404, reason))
    }
}

fn decide(
    index: usize,
    rule: &Rule<'_>,
    captures: &template::Captures,
    call: &CallInfo,
) -> Result<Decision, Failure> {
    let number = index + 1;
    let fill_uri = |text: &str| {
        template::fill(text, captures, call, template::Escape::UriUser)
            .map_err(|e| in_rule(index, &e))
    };
    let fill = |text: &str| {
        template::fill(text, captures, call, template::Escape::Nothing)
            .map_err(|e| in_rule(index, &e))
    };
    match rule.action(index)? {
        rules::Action::Dial(uris) => {
            let mut plan = DialPlan::serial(Vec::<Target>::with_capacity(uris.len()));
            for uri in uris {
                let mut target = Target::new(fill_uri(uri)?);
                target.trunk = rule.trunk.as_deref().map(str::to_owned);
                target.caller_id = rule.caller_id.as_deref().map(&fill).transpose()?;
                target.timeout_ms = rule.timeout_s.saturating_mul(1_000);
                for (name, value) in &rule.headers {
                    target = target.header(name.as_str(), fill(value)?);
                }
                plan.targets.push(target);
            }
            if rule.parallel {
                plan.strategy = gatepost_sdk::types::Strategy::Parallel;
            }
            plan.ext.push(("rule".into(), number.to_string()));
            Ok(plan.into())
        }
        rules::Action::Flow(name) => Ok(Decision::flow_with(
            name,
            vec![("rule".into(), number.to_string())],
        )),
        rules::Action::Redirect(uris) => Ok(Decision::Redirect(
            uris.iter()
                .map(|uri| fill_uri(uri))
                .collect::<Result<_, _>>()?,
        )),
        rules::Action::Reject(code) => Ok(Decision::reject(
            code,
            match rule.reason.as_deref() {
                Some(reason) => format!("{reason} (rule {number})"),
                None => format!("rule {number} rejects {}", call.called),
            },
        )),
    }
}

fn in_rule(index: usize, what: &str) -> Failure {
    Failure::Config(format!("rule {}: {what}", index + 1))
}

#[cfg(test)]
mod tests;
