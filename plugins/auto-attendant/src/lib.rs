//! Answers a call, plays a menu, takes a digit and does what the menu has for it.
//!
//! ```toml
//! [config]
//! prompt = "welcome.wav"          # or a list of files
//! timeout_s = 5                   # for the first digit, once the prompt is over
//! tries = 3                       # wrong or missing digits until `operator`, or goodbye
//! operator = ["sip:0@10.0.0.1"]
//!
//! [config.menu.1]
//! dial = ["sip:1001@10.0.0.1", "sip:1002@10.0.0.1"]
//!
//! [config.menu.2]
//! play = "hours.wav"              # and the menu again
//!
//! [config.menu.3]
//! connect = "openai-realtime"
//! settings = { instructions = "You answer for a bakery." }
//!
//! [config.menu.9]
//! hangup = true
//! ```

mod settings;

use gatepost_sdk::config;
use gatepost_sdk::flow::{Call, DialEnd, Exit, Flow, Gather, Prompt};
use gatepost_sdk::types::DialPlan;
use settings::{Action, Choice, Dial, Menu, Settings};
use std::time::Duration;

struct AutoAttendant;

gatepost_sdk::export!(AutoAttendant as flow);

impl Flow for AutoAttendant {
    async fn run(call: Call) -> Result<(), Exit> {
        let settings: Settings = config::read()?;
        let menu = settings.menu()?;
        call.answer().await?;
        let mut tries = 0;
        while tries < settings.tries {
            let digits = call.gather(question(&settings, &menu)).await?.digits;
            let next = match menu.get(&digits) {
                Some(choice) => follow(&call, &settings, &digits, choice).await?,
                None if digits.is_empty() => {
                    call.note("menu", "no digit");
                    Next::Again {
                        sorry: &settings.no_input_prompt,
                    }
                }
                None => {
                    call.note("menu", format!("{digits} is not in the menu"));
                    Next::Again {
                        sorry: &settings.invalid_prompt,
                    }
                }
            };
            match next {
                Next::Again { sorry } => {
                    tries += 1;
                    play(&call, sorry).await?;
                }
                Next::Menu => tries = 0,
                Next::Over => return call.hangup(),
            }
        }
        give_up(&call, &settings).await
    }
}

/// Where to go after a choice.
enum Next<'a> {
    /// the menu, as one more try, after this prompt
    Again {
        sorry: &'a [String],
    },
    Menu,
    Over,
}

fn question(settings: &Settings, menu: &Menu) -> Gather {
    Gather::digits(menu.longest())
        .terminators("#")
        .timeout(Duration::from_secs(settings.timeout_s))
        .digit_timeout(Duration::from_secs(settings.digit_timeout_s))
        .prompt(settings.prompt.to_vec())
}

async fn follow<'a>(
    call: &Call,
    settings: &'a Settings,
    digits: &str,
    choice: &Choice,
) -> Result<Next<'a>, Exit> {
    call.note("menu", format!("{digits}: {}", choice.action.name()));
    play(call, &choice.prompt).await?;
    match &choice.action {
        Action::Connect {
            connector,
            settings: for_connector,
        } => {
            let (normal, reason) = call
                .connect(connector, for_connector.clone())
                .ended()
                .await?;
            if normal {
                return Ok(Next::Over);
            }
            call.note("connect-failed", reason);
            Ok(Next::Again {
                sorry: &settings.unavailable_prompt,
            })
        }
        Action::Dial(dial) => match ring(call, settings, dial).await? {
            DialEnd::Ended => Ok(Next::Over),
            DialEnd::Failed { status, reason } => {
                call.note("dial-failed", format!("{status} {reason}"));
                Ok(Next::Again {
                    sorry: &settings.unavailable_prompt,
                })
            }
        },
        Action::Hangup => {
            play(call, &settings.goodbye_prompt).await?;
            Ok(Next::Over)
        }
        Action::Menu => Ok(Next::Menu),
    }
}

async fn give_up(call: &Call, settings: &Settings) -> Result<(), Exit> {
    if !settings.operator.is_empty() {
        call.note("menu", "operator");
        let dial = Dial {
            uris: settings.operator.clone(),
            ..Dial::default()
        };
        if let DialEnd::Failed { status, reason } = ring(call, settings, &dial).await? {
            call.note("dial-failed", format!("{status} {reason}"));
            play(call, &settings.unavailable_prompt).await?;
        }
    }
    play(call, &settings.goodbye_prompt).await?;
    call.hangup()
}

async fn ring(call: &Call, settings: &Settings, dial: &Dial) -> Result<DialEnd, Exit> {
    let mut plan = DialPlan::serial(dial.uris.iter().map(String::as_str));
    for target in &mut plan.targets {
        target.trunk = dial.trunk.clone();
        target.caller_id = dial.caller_id.clone();
        target.timeout_ms = dial.timeout_s.saturating_mul(1_000);
    }
    Ok(call
        .dial(plan)
        .ringback(Prompt::tone(settings.ringback.as_str()))
        .await?)
}

async fn play(call: &Call, prompts: &[String]) -> Result<(), Exit> {
    if !prompts.is_empty() {
        call.play(prompts.to_vec()).interruptible().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
