//! A new INVITE: whose is it, may it come in, is there room? Refusals say why in words.

use crate::call::Call;
use crate::cause::{Cause, Fault};
use crate::directory::{Admitted, Refused};
use crate::journal::Kind;
use crate::key::{CallKey, LegId};
use crate::leg::{Leg, LegState, Proceeding};
use crate::messages;
use crate::world::World;
use std::sync::Arc;
use std::time::Instant;

/// What came in.
pub(crate) struct Arrival {
    pub(crate) key: CallKey,
    pub(crate) flow: sip::Flow,
    pub(crate) server: sip::ServerKey,
    pub(crate) invite: sip::Request,
    /// Calls that this worker has already.
    pub(crate) calls: usize,
    /// It is an INVITE of ours, and asks for the number that it was sent for.
    pub(crate) looped: bool,
}

impl Call {
    /// Always makes a call: one that is refused leaves a journal too.
    pub(crate) fn arrive(
        now: Instant,
        w: &mut World,
        arrival: Arrival,
        received: Option<Kind>,
    ) -> Call {
        let Arrival {
            key,
            flow,
            server,
            invite,
            calls,
            looped,
        } = arrival;
        // RFC 3261 §8.2.6.1: at once, since a decision may take longer than 200 ms.
        let trying = messages::respond(w, &invite, 100);
        w.sip.respond(now, server, trying);
        let mut info = messages::call_info(w, key, &flow, &invite);
        let directory = w.directory.clone();
        let whose = directory.admit(info.source.host, &messages::host_of(&info.request_uri));
        if let Ok(admitted) = &whose {
            info.tenant.clone_from(&admitted.tenant.id);
            info.trunk = admitted.trunk.map(|trunk| trunk.id.clone());
        }
        let allows_update = messages::allows(&invite, "UPDATE");
        let call_id = invite.call_id().unwrap_or_default().to_owned();
        let tag = w.tokens.tag().to_string();
        let proceeding = Proceeding {
            server,
            invite,
            told: 100,
            told_media: false,
            extra: Vec::new(),
        };
        let mut a = Leg::new(
            LegId::A,
            call_id,
            tag,
            flow,
            None,
            LegState::Proceeding(proceeding),
        );
        a.allows_update = allows_update;
        w.know_leg(key, &a);
        w.watch_server(server, key, LegId::A);
        let mut call = Call::new(now, w, key, Arc::new(info), a);
        if let Some(received) = received {
            call.record(now, w, received);
        }
        let admitted = if looped {
            Err(Cause::new(
                482,
                Fault::Tenant,
                "the call came back to where it was routed from",
            ))
        } else {
            call.check_request()
                .and_then(|()| call.admit(now, w, calls, whose))
                .and_then(|()| call.take_first_offer(w))
        };
        match admitted {
            Ok(()) => call.begin(now, w),
            Err(cause) => call.end(now, w, cause),
        }
        call
    }

    /// What RFC 3261 §8.2 wants looked at first.
    fn check_request(&mut self) -> Result<(), Cause> {
        let Some(Leg {
            state: LegState::Proceeding(proceeding),
            ..
        }) = self.legs.get_mut(&LegId::A)
        else {
            return Ok(());
        };
        let refuse = |status, text: String| Err(Cause::new(status, Fault::Caller, text));
        let invite = &proceeding.invite;
        if !messages::is_sip_uri(invite.uri()) {
            return refuse(
                416,
                "the scheme of the Request-URI is none of ours".to_owned(),
            );
        }
        if invite.max_forwards() == Some(0) {
            return refuse(483, "Max-Forwards is used up".to_owned());
        }
        let unsupported = messages::unsupported(invite);
        if !unsupported.is_empty() {
            let list = unsupported.join(", ");
            proceeding.extra.push(("Unsupported", list.clone()));
            return refuse(
                420,
                format!("it requires what this host does not support: {list}"),
            );
        }
        if messages::contact_uri(invite).is_none() {
            return refuse(400, "an INVITE needs one Contact".to_owned());
        }
        if !invite.body().is_empty() && messages::sdp_body(invite).is_none() {
            proceeding
                .extra
                .push(("Accept", "application/sdp".to_owned()));
            return refuse(415, "the body is no session description".to_owned());
        }
        Ok(())
    }

    fn admit(
        &mut self,
        now: Instant,
        w: &mut World,
        calls: usize,
        whose: Result<Admitted<'_>, Refused>,
    ) -> Result<(), Cause> {
        let retry = Some(w.config.retry_after_s);
        let busy = |text: String| Cause::new(503, Fault::Host, text).with_retry_after(retry);
        if w.draining {
            return Err(busy("this host is being taken out of service".to_owned()));
        }
        if calls >= w.config.max_calls {
            return Err(busy(format!(
                "this host has all its {} calls",
                w.config.max_calls
            )));
        }
        let Admitted { tenant, trunk } = match whose {
            Ok(admitted) => admitted,
            Err(refused) => {
                let cause = Cause::new(refused.status, Fault::Caller, refused.why.clone());
                let Refused { why, near_miss, .. } = refused;
                self.record(now, w, Kind::Refused { why, near_miss });
                return Err(cause);
            }
        };
        let (id, through) = (tenant.id.clone(), trunk.map(|trunk| trunk.id.clone()));
        self.record(
            now,
            w,
            Kind::Admitted {
                tenant: id,
                trunk: through,
            },
        );
        let limits = [
            (
                None,
                tenant.limits.max_calls,
                format!("tenant {}", tenant.id),
            ),
            (
                trunk.map(|t| t.id.as_str()),
                trunk.and_then(|t| t.max_calls),
                trunk.map_or(String::new(), |t| format!("trunk {}", t.id)),
            ),
        ];
        for (trunk, limit, name) in &limits {
            if let Some(limit) = limit
                && w.counted(&tenant.id, *trunk) >= *limit
            {
                let text = format!("{name} has all its {limit} calls");
                return Err(Cause::new(503, Fault::Tenant, text).with_retry_after(retry));
            }
        }
        self.counted.push(w.count(&tenant.id, None));
        if let Some(trunk) = trunk {
            self.counted.push(w.count(&tenant.id, Some(&trunk.id)));
        }
        Ok(())
    }

    fn take_first_offer(&mut self, w: &mut World) -> Result<(), Cause> {
        self.prepare_a_media(w)?;
        let Some(a) = self.legs.get_mut(&LegId::A) else {
            return Ok(());
        };
        let (LegState::Proceeding(proceeding), Some(media)) = (&a.state, &mut a.media) else {
            return Ok(());
        };
        let Some(body) = messages::sdp_body(&proceeding.invite) else {
            return Ok(());
        };
        media
            .take_offer(body)
            .map_err(|error| Cause::new(error.status(), Fault::Caller, error.to_string()))
    }
}
