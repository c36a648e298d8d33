//! From one leg to another: one packet in, one packet out, in the same buffer.

use crate::codec::AudioCodec;
use crate::leg::{Leg, Outlet, Received};
use crate::packet::{Header, Rtp};
use smallvec::SmallVec;
use std::net::SocketAddr;
use std::time::Instant;

/// Decide once, when legs are bridged or renegotiate, what becomes of each payload type.
pub fn connect(from: &mut Leg, to: &Leg) {
    from.outlets = SmallVec::new();
    from.event_outlet = None;
    let (Some(ours), Some(theirs)) = (&from.agreed, &to.agreed) else {
        return;
    };
    from.outlets = ours
        .negotiated
        .codecs
        .iter()
        .map(|agreed| {
            let codec = &agreed.codec;
            if let Some(same) = theirs
                .negotiated
                .codecs
                .iter()
                .find(|c| c.codec.matches(codec))
            {
                return Outlet::Relay {
                    payload_type: same.send_payload,
                    clock: codec.clock,
                };
            }
            let decodes = AudioCodec::of(&codec.name, codec.clock, codec.channels);
            let target = theirs.negotiated.codecs.iter().find_map(|c| {
                Some((
                    AudioCodec::of(&c.codec.name, c.codec.clock, c.codec.channels)?,
                    c.send_payload,
                ))
            });
            match (decodes, target) {
                (Some(from), Some((to, payload_type))) => Outlet::Translate {
                    table: from.translation(to),
                    payload_type,
                },
                (None, _) | (_, None) => Outlet::Drop,
            }
        })
        .collect();
    from.event_outlet = match (&ours.negotiated.event, &theirs.negotiated.event) {
        (Some(a), Some(b)) if a.codec.clock == b.codec.clock => Some(b.send_payload),
        (Some(_), Some(_) | None) | (None, _) => None,
    };
}

/// Turn a packet that `from` received into one that `to` sends. None if it goes nowhere.
pub fn forward(
    now: Instant,
    from: &Leg,
    to: &mut Leg,
    received: Received,
    header: &Header,
    packet: &mut Rtp<'_>,
    len: usize,
) -> Option<SocketAddr> {
    let destination = to.destination()?;
    if to.is_replaced() {
        return None;
    }
    let (payload_type, clock, restarted) = match received {
        Received::Audio {
            codec, restarted, ..
        } => match *from.outlets.get(usize::from(codec))? {
            Outlet::Relay {
                payload_type,
                clock,
            } => (payload_type, clock, restarted),
            Outlet::Translate {
                table,
                payload_type,
            } => {
                // Sample by sample in place, without a buffer between packets: no delay.
                packet
                    .payload_mut()
                    .iter_mut()
                    .for_each(|code| *code = table[usize::from(*code)]);
                (payload_type, crate::codec::RATE, restarted)
            }
            Outlet::Drop => return None,
        },
        Received::Event {
            clock, restarted, ..
        } => (from.event_outlet?, clock, restarted),
        Received::Nothing => return None,
    };
    let header = to
        .sender
        .relay(now, header, payload_type, clock, restarted)?;
    packet.rewrite(header);
    to.sender.count(len, packet.payload().len());
    Some(destination)
}
