//! Media threads: drive the media core over real ports. Each thread owns an engine and its
//! sockets; a session lives on one thread, so that both legs of a call share it without a lock.
//!
//! - [`io`]: packets in and out of the kernel, by [`uring`] or [`epoll`]; [`sys`] is what
//!   they need of libc.
//! - [`ports`]: pairs of sockets, kept for the next call.
//! - [`mailbox`]: orders to a thread. [`thread`]: its loop. [`stats`]: its figures.
//! - [`files`]: prompt files in memory; [`loader`]: the thread that brings them there.

pub mod epoll;
pub mod files;
pub mod io;
mod loader;
pub mod mailbox;
pub mod ports;
pub mod stats;
pub mod sys;
#[cfg(test)]
mod tests;
pub mod thread;
pub mod uring;

use anyhow::Context;
use files::Files;
use io::Backend;
use loader::{Admitted, Loader};
use mailbox::{Inbox, Mailbox, Order};
use media::{Command, ConnectorEvent, SessionKey};
use ports::IdlePorts;
use stats::{MediaStats, ThreadStats};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Instant;
use thread::{EventSink, MediaThread};

#[derive(Debug, Clone)]
pub struct MediaConfig {
    /// 0: one for each core, at most two.
    pub threads: usize, // 0
    pub backend: Backend, // Auto
    /// Orders that may wait for each thread.
    pub orders: usize, // 4,096
    /// Port pairs that stay bound for the next call.
    pub idle_ports: usize, // 1,024
    /// Ask for SCHED_FIFO: less delay under load, where the machine has a core to spare.
    pub realtime: bool, // false
    pub prompts: files::Limits,
    /// `seed` is mixed with the number of the thread.
    pub engine: media::engine::Config,
}

impl Default for MediaConfig {
    fn default() -> MediaConfig {
        MediaConfig {
            threads: 0,
            backend: Backend::Auto,
            orders: 4_096,
            idle_ports: 1_024,
            realtime: false,
            prompts: files::Limits::default(),
            engine: media::engine::Config::default(),
        }
    }
}

/// The running media threads. They end when this is dropped.
pub struct Media {
    handle: MediaHandle,
    threads: Vec<JoinHandle<()>>,
    backend: Backend,
}

/// Gives orders to the media threads; cheap to clone, never waits.
#[derive(Clone)]
pub struct MediaHandle {
    inner: Arc<Inner>,
}

struct Inner {
    lanes: Vec<Lane>,
    loader: Arc<Loader>,
    stopping: AtomicBool,
}

struct Lane {
    mailbox: Arc<Mailbox>,
    stats: Arc<ThreadStats>,
}

impl Media {
    /// Returns when all threads are ready for orders. `events` is called on the media threads:
    /// it must not wait for anything.
    pub fn start(config: &MediaConfig, events: EventSink) -> anyhow::Result<Media> {
        let open_files = sys::raise_open_files().context("cannot read the limit of open files")?;
        // Calls come first: what is kept idle may take a quarter of the descriptors.
        let idle_limit = config
            .idle_ports
            .min(usize::try_from(open_files / 8).unwrap_or(usize::MAX));
        let idle = Arc::new(IdlePorts::new(idle_limit));
        let (loader, sessions) = Loader::new(Files::new(config.prompts.clone(), decode));
        let mut lanes = Vec::new();
        let mut starting = Vec::new();
        for number in 0..thread_count(config.threads) {
            let (mailbox, inbox) =
                mailbox::mailbox(config.orders).context("cannot make an eventfd")?;
            let stats = Arc::new(ThreadStats::default());
            lanes.push(Lane {
                mailbox,
                stats: stats.clone(),
            });
            starting.push((number, inbox, stats));
        }
        let inner = Arc::new(Inner {
            lanes,
            loader,
            stopping: AtomicBool::new(false),
        });
        let handle = MediaHandle { inner };
        let mut media = Media {
            handle,
            threads: Vec::new(),
            backend: config.backend,
        };
        // From here on an error drops `media`, which stops the threads that have started.
        for (number, inbox, stats) in starting {
            media.backend = media.start_thread(number, config, inbox, &idle, &events, stats)?;
        }
        media.start_loader(sessions)?;
        tracing::info!(threads = media.handle.inner.lanes.len(), backend = %media.backend, "media is ready");
        Ok(media)
    }

    pub fn handle(&self) -> MediaHandle {
        self.handle.clone()
    }

    /// The one in use; never `Auto`.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    fn start_thread(
        &mut self,
        number: usize,
        config: &MediaConfig,
        inbox: Inbox,
        idle: &Arc<IdlePorts>,
        events: &EventSink,
        stats: Arc<ThreadStats>,
    ) -> anyhow::Result<Backend> {
        let mut engine = config.engine.clone();
        engine.seed ^= (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let (backend, realtime) = (config.backend, config.realtime);
        let (idle, events) = (idle.clone(), events.clone());
        let (ready, opened) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name(format!("media-{number}"))
            .spawn(move || {
                if realtime && let Err(error) = sys::schedule_fifo(REALTIME_PRIORITY) {
                    tracing::warn!(%error, "media runs without real-time scheduling");
                }
                match MediaThread::new(backend, engine, inbox, idle, events, stats) {
                    Ok((backend, thread)) => {
                        let _ = ready.send(Ok(backend));
                        thread.run();
                    }
                    Err(error) => {
                        let _ = ready.send(Err(error));
                    }
                }
            })
            .context("cannot start a media thread")?;
        self.threads.push(thread);
        let backend = opened.recv().context("a media thread ended at its start")?;
        backend.with_context(|| format!("media cannot use {}", config.backend))
    }

    fn start_loader(&mut self, sessions: mpsc::Receiver<SessionKey>) -> anyhow::Result<()> {
        let handle = self.handle.clone();
        let thread = std::thread::Builder::new()
            .name("prompts".into())
            .spawn(move || {
                let inner = &handle.inner;
                inner.loader.run(
                    &sessions,
                    |session, command| {
                        inner.post(session, Order::Command(session, command));
                    },
                    || inner.stopping.load(Ordering::Acquire),
                );
            })
            .context("cannot start the thread that loads prompts")?;
        self.threads.push(thread);
        Ok(())
    }
}

impl Drop for Media {
    fn drop(&mut self) {
        let inner = &self.handle.inner;
        inner.stopping.store(true, Ordering::Release);
        inner.lanes.iter().for_each(|lane| lane.mailbox.stop());
        inner.loader.wake();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a media thread had panicked");
            }
        }
    }
}

impl MediaHandle {
    /// False if the thread has more orders waiting than it may. `Close` and `Detach` are
    /// always taken.
    pub fn send(&self, session: SessionKey, command: Command) -> bool {
        self.send_with_prompts(None, session, command)
    }

    /// As `send`; the files of a `Play` are looked for in `folder`. Without a folder they play
    /// as failures.
    pub fn send_with_prompts(
        &self,
        folder: Option<&Arc<Path>>,
        session: SessionKey,
        command: Command,
    ) -> bool {
        match self
            .inner
            .loader
            .admit(Instant::now(), folder, session, command)
        {
            Admitted::Ready(command) => self.inner.post(session, Order::Command(session, command)),
            Admitted::Refused => false,
            Admitted::Waits => true,
        }
    }

    /// Connector events of attachment `id` go to `sender` from now on; do this before the
    /// `Attach`. Audio is dropped when fewer than 17 places are free.
    pub fn attach(
        &self,
        session: SessionKey,
        id: u32,
        sender: tokio::sync::mpsc::Sender<ConnectorEvent>,
    ) -> bool {
        self.inner.post(
            session,
            Order::Listen {
                session,
                id,
                sender,
            },
        )
    }

    pub fn detach(&self, session: SessionKey, id: u32) {
        self.inner.post(session, Order::Forget { session, id });
    }

    pub fn stats(&self) -> MediaStats {
        let mut sum = MediaStats::default();
        for lane in &self.inner.lanes {
            lane.stats.add_to(&mut sum);
            sum.orders_refused += lane.mailbox.refused();
        }
        sum
    }
}

impl Inner {
    fn post(&self, session: SessionKey, order: Order) -> bool {
        self.lanes[lane(session, self.lanes.len())]
            .mailbox
            .post(order)
    }
}

/// Keys may differ in a few bits only, so all of them take part.
fn lane(session: SessionKey, lanes: usize) -> usize {
    let folded = (session.0 as u64 ^ (session.0 >> 64) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((folded >> 32) as usize) % lanes
}

fn thread_count(wanted: usize) -> usize {
    match wanted {
        0 => std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(2),
        some => some.min(MAX_THREADS),
    }
}

fn decode(bytes: &[u8]) -> Result<media::Pcm, String> {
    media::wav::read(bytes).map_err(|error| error.to_string())
}

const MAX_THREADS: usize = 256;
/// Above ordinary threads, below the kernel's own.
const REALTIME_PRIORITY: i32 = 10;
