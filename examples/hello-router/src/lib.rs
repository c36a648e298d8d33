use gatepost_sdk::prelude::*;

struct Hello;

impl Router for Hello {
    fn on_invite(call: CallInfo) -> Result<Decision, Failure> {
        Ok(Decision::dial([format!(
            "sip:{}@127.0.0.1:5070",
            call.called
        )]))
    }
}
gatepost_sdk::export!(Hello as router);
