//! A router that misbehaves as its settings say (`mode`): `loop`, `grow`, `trap`, `panic`,
//! `flood` or `recurse`.

use gatepost_sdk::prelude::*;

struct Hostile;

impl Router for Hostile {
    fn on_invite(call: CallInfo) -> Result<Decision, Failure> {
        match gatepost_sdk::config::get("mode").as_deref() {
            Some("loop") => endless(),
            Some("grow") => grow(),
            Some("trap") => trap(),
            Some("panic") => panic!("as the settings ask, for {}", call.called),
            Some("flood") => Ok(Decision::dial(vec!["sip:1@127.0.0.1"; 60_000])),
            Some("recurse") => Ok(Decision::reject(500, recurse(1).to_string())),
            mode => Err(Failure::Config(format!("mode is {mode:?}"))),
        }
    }
}

fn endless() -> ! {
    let mut x = 1u64;
    loop {
        x = std::hint::black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
}

/// Takes memory until there is none, and touches it.
fn grow() -> ! {
    let mut held = Vec::new();
    loop {
        held.push(std::hint::black_box(vec![1u8; 1 << 20]));
    }
}

fn trap() -> ! {
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_arch = "wasm32"))]
    std::process::abort()
}

#[expect(unconditional_recursion, reason = "that is what it is for")]
fn recurse(depth: u64) -> u64 {
    std::hint::black_box(recurse(std::hint::black_box(depth + 1)) + depth)
}

gatepost_sdk::export!(Hostile as router);
