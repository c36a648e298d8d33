//! What a session asks of the one who speaks a platform's dialect. In a running node that is
//! a connector component; in tests it is played.

use b2bua::call_info::CallInfo;
use b2bua::flow::Connect;
use futures::future::BoxFuture;
use std::sync::Arc;

pub use plugin_host::connector::{Action, Connection, Encoding, Event, Format};

/// Starts dialects: one for each `connect` of a flow.
pub trait Dialects: Send + Sync {
    /// An error says what is wrong, for the flow and the journal.
    fn start(
        &self,
        connect: &Connect,
        info: &Arc<CallInfo>,
    ) -> BoxFuture<'static, Result<Started, String>>;
}

pub struct Started {
    pub dialect: Box<dyn Dialect>,
    pub connection: Connection,
    /// The plugin's: `http:HOST`, `secret:NAME`, …
    pub grants: Vec<String>,
}

pub trait Dialect: Send {
    /// An error ends the session.
    fn on_event(&mut self, event: Event) -> BoxFuture<'_, Result<Vec<Action>, String>>;
}

/// In the words of the media core.
pub fn media_format(format: Format) -> media::Format {
    let encoding = match format.encoding {
        Encoding::PcmS16le => media::Encoding::PcmS16le,
        Encoding::Pcma => media::Encoding::Pcma,
        Encoding::Pcmu => media::Encoding::Pcmu,
    };
    media::Format {
        encoding,
        rate: format.rate,
    }
}
