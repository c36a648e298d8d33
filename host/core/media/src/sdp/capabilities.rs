//! Which codecs a leg may use.

/// The codec policy of one leg: a trunk's setting, or the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// Encoding names in order of preference. Those that we can transcode are offered even if
    /// the other leg does not have them.
    pub codecs: Vec<String>,
    /// Codecs outside the list may be used where both legs share them.
    pub pass_through: bool,
    /// The list's order wins over the peer's.
    pub ordered: bool,
}

impl Capabilities {
    /// Just these codecs in this order, as a trunk's setting says.
    pub fn only<S: AsRef<str>>(codecs: impl IntoIterator<Item = S>) -> Capabilities {
        let codecs = codecs.into_iter().map(|c| c.as_ref().to_owned()).collect();
        Capabilities {
            codecs,
            pass_through: false,
            ordered: true,
        }
    }

    /// Place in the list.
    pub fn rank(&self, name: &str) -> Option<usize> {
        self.codecs
            .iter()
            .position(|c| c.eq_ignore_ascii_case(name))
    }

    pub fn allow(&self, name: &str) -> bool {
        self.pass_through || self.rank(name).is_some()
    }
}

/// G.711 made by us, everything else passed through, in the peer's order.
impl Default for Capabilities {
    fn default() -> Self {
        Capabilities {
            codecs: vec!["PCMU".into(), "PCMA".into()],
            pass_through: true,
            ordered: false,
        }
    }
}
