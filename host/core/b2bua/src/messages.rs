//! SIP messages of calls: what is read from theirs, and how ours look. The only file (with
//! its folder) that knows header names.
//!
//! - [`addressing`]: URIs and next hops. - [`read`]: what a message says.
//! - [`requests`], [`responses`]: what we write.

mod addressing;
mod read;
mod requests;
mod responses;

pub(crate) use addressing::{
    NextHop, asserted_identity, from_identity, host_of, is_sip_uri, literal, next_hop, nowhere,
    target_uri, without_parameters,
};
pub(crate) use read::{
    allows, call_id_in, call_info, contact_uri, contacts, dtmf, hops_left, reason_q850, sdp_body,
    unsupported,
};
pub(crate) use requests::{
    ack, authorise, bye, contact, hop, invite, modify, passed, resequence, uac_dialog,
};
pub(crate) use responses::{
    accept_invite, accept_modify, answer_without_call, not_allowed, options_ok, passed_back,
    passed_status, provisional, refusal, refuse_request, respond, try_later,
};

use crate::call_info;
use crate::config::Config;
use media::sdp::Capabilities;

pub(crate) fn transport(transport: call_info::Transport) -> sip::Transport {
    match transport {
        call_info::Transport::Tcp => sip::Transport::Tcp,
        call_info::Transport::Tls => sip::Transport::Tls,
        call_info::Transport::Udp => sip::Transport::Udp,
        call_info::Transport::Ws => sip::Transport::Ws,
        call_info::Transport::Wss => sip::Transport::Wss,
    }
}

pub(crate) fn transport_of(transport: sip::Transport) -> call_info::Transport {
    match transport {
        sip::Transport::Tcp => call_info::Transport::Tcp,
        sip::Transport::Tls => call_info::Transport::Tls,
        sip::Transport::Udp => call_info::Transport::Udp,
        sip::Transport::Ws => call_info::Transport::Ws,
        sip::Transport::Wss => call_info::Transport::Wss,
    }
}

/// The host's codecs; others are passed through where both legs share them.
pub(crate) fn default_capabilities(config: &Config) -> Capabilities {
    Capabilities {
        codecs: config.codecs.clone(),
        ..Capabilities::default()
    }
}

/// Methods that we do something with (RFC 3261 §20.5).
const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE";
