//! What the host was given to play, so that the platform can be told what was heard.

use crate::settings::Format;

pub(crate) struct Playback {
    format: Format,
    /// in the order in which they are played
    items: Vec<Spoken>,
}

struct Spoken {
    item: String,
    content_index: u32,
    bytes: usize,
    /// nothing is added to it any more
    complete: bool,
}

/// An utterance that the caller did not hear to its end.
pub(crate) struct Cut {
    pub(crate) item: String,
    pub(crate) content_index: u32,
    pub(crate) heard_ms: u32,
}

impl Playback {
    pub(crate) fn new(format: Format) -> Playback {
        Playback {
            format,
            items: Vec::new(),
        }
    }

    pub(crate) fn queue(&mut self, item: &str, content_index: u32, bytes: usize) {
        match self.items.iter_mut().find(|spoken| spoken.item == item) {
            Some(spoken) => spoken.bytes += bytes,
            None => self.items.push(Spoken {
                item: item.to_owned(),
                content_index,
                bytes,
                complete: false,
            }),
        }
    }

    /// Tells whether any of it was queued.
    pub(crate) fn complete(&mut self, item: &str) -> bool {
        let spoken = self.items.iter_mut().find(|spoken| spoken.item == item);
        spoken.map(|spoken| spoken.complete = true).is_some()
    }

    /// It was played to its end, and so was what came before it.
    pub(crate) fn heard(&mut self, item: &str) {
        if let Some(at) = self.items.iter().position(|spoken| spoken.item == item) {
            self.items.drain(..=at);
        }
    }

    pub(crate) fn is_busy(&self) -> bool {
        !self.items.is_empty()
    }

    /// The host dropped the rest while `item` played: that one was heard in part, what came
    /// before it was heard, what was queued behind it was not. An empty name: nothing played.
    pub(crate) fn cut(&mut self, item: &str, played_ms: u32) -> Vec<Cut> {
        let items = std::mem::take(&mut self.items);
        let Some(at) = items.iter().position(|spoken| spoken.item == item) else {
            return Vec::new();
        };
        let mut cuts = Vec::new();
        for (index, spoken) in items.into_iter().enumerate().skip(at) {
            let whole_ms =
                u32::try_from(spoken.bytes / self.format.bytes_per_ms()).unwrap_or(u32::MAX);
            let heard_ms = if index == at {
                played_ms.min(whole_ms)
            } else {
                0
            };
            if heard_ms < whole_ms || !spoken.complete {
                cuts.push(Cut {
                    item: spoken.item,
                    content_index: spoken.content_index,
                    heard_ms,
                });
            }
        }
        cuts
    }
}
