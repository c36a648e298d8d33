//! Who may send (RFC 3264 §5.1, §6.1), always seen from one side.

/// From the side whose description it is in, or whose leg it is told of.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    Inactive,
    RecvOnly,
    SendOnly,
    #[default]
    SendRecv,
}

impl Direction {
    pub fn new(sends: bool, receives: bool) -> Direction {
        match (sends, receives) {
            (false, false) => Direction::Inactive,
            (false, true) => Direction::RecvOnly,
            (true, false) => Direction::SendOnly,
            (true, true) => Direction::SendRecv,
        }
    }

    pub fn sends(self) -> bool {
        matches!(self, Direction::SendOnly | Direction::SendRecv)
    }

    pub fn receives(self) -> bool {
        matches!(self, Direction::RecvOnly | Direction::SendRecv)
    }

    /// The same stream seen from the other side.
    pub fn mirrored(self) -> Direction {
        Direction::new(self.receives(), self.sends())
    }

    /// What remains when both must hold.
    pub fn and(self, other: Direction) -> Direction {
        Direction::new(
            self.sends() && other.sends(),
            self.receives() && other.receives(),
        )
    }

    /// Whether a peer that offers this puts us on hold: it does not want to hear us.
    pub fn is_hold(self) -> bool {
        !self.receives()
    }

    /// The attribute's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::Inactive => "inactive",
            Direction::RecvOnly => "recvonly",
            Direction::SendOnly => "sendonly",
            Direction::SendRecv => "sendrecv",
        }
    }

    pub fn from_attribute(name: &str) -> Option<Direction> {
        match name {
            "inactive" => Some(Direction::Inactive),
            "recvonly" => Some(Direction::RecvOnly),
            "sendonly" => Some(Direction::SendOnly),
            "sendrecv" => Some(Direction::SendRecv),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Direction::{Inactive, RecvOnly, SendOnly, SendRecv};

    /// RFC 3264 §6.1, the whole table: what may be answered to each offer.
    #[test]
    fn every_answer_fits_its_offer() {
        for (offered, wanted, answered) in [
            (SendRecv, SendRecv, SendRecv),
            (SendRecv, SendOnly, SendOnly),
            (SendRecv, RecvOnly, RecvOnly),
            (SendRecv, Inactive, Inactive),
            (SendOnly, SendRecv, RecvOnly),
            (SendOnly, SendOnly, Inactive),
            (RecvOnly, SendRecv, SendOnly),
            (RecvOnly, RecvOnly, Inactive),
            (Inactive, SendRecv, Inactive),
        ] {
            assert_eq!(
                offered.mirrored().and(wanted),
                answered,
                "{offered:?} {wanted:?}"
            );
        }
    }
}
