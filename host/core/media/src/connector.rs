//! A leg that talks to a connector session: what it hears and what it says, in the
//! session's audio format and at the phone's pace.

mod egress;
mod ingress;

pub use egress::Egress;
pub use ingress::Ingress;

use crate::codec::RATE;
use crate::command::{Encoding, Format};
use crate::resample::UnsupportedRate;

/// Hz: those of the plugin contract. G.711 has one only, whatever is said.
fn rate_of(format: Format) -> Result<u32, UnsupportedRate> {
    match (format.encoding, format.rate) {
        (Encoding::Pcma | Encoding::Pcmu, _) => Ok(RATE),
        (Encoding::PcmS16le, rate @ (8000 | 16_000 | 24_000 | 48_000)) => Ok(rate),
        (Encoding::PcmS16le, from) => Err(UnsupportedRate { from, to: RATE }),
    }
}
