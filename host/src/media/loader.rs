//! Brings prompt files into memory before the media thread hears of them. Disks are slow at
//! times, so this has a thread of its own; commands of a session that follow a waiting `Play`
//! wait with it, since commands of a session are done in order.

use super::files::Files;
use media::{Command, Prompt, SessionKey};
use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

pub struct Loader {
    files: Files,
    /// Sessions whose commands wait. An entry stays until its last command was passed on.
    waiting: Mutex<HashMap<SessionKey, VecDeque<Waiting>>>,
    /// Commands in `waiting`; zero spares the lock.
    count: AtomicUsize,
    queue: SyncSender<SessionKey>,
}

pub enum Admitted {
    /// It can go to the media thread at once.
    Ready(Command),
    /// There is no more room to wait.
    Refused,
    Waits,
}

struct Waiting {
    folder: Option<Arc<Path>>,
    command: Command,
}

impl Loader {
    pub fn new(files: Files) -> (Arc<Loader>, Receiver<SessionKey>) {
        let (queue, sessions) = sync_channel(MAX_WAITING);
        let (waiting, count) = (Mutex::default(), AtomicUsize::new(0));
        (
            Arc::new(Loader {
                files,
                waiting,
                count,
                queue,
            }),
            sessions,
        )
    }

    /// Takes the command if it must wait.
    pub fn admit(
        &self,
        now: Instant,
        folder: Option<&Arc<Path>>,
        session: SessionKey,
        mut command: Command,
    ) -> Admitted {
        let complete = self.fill_from_memory(now, folder, &mut command);
        if self.count.load(Ordering::Acquire) == 0 && complete {
            return Admitted::Ready(command);
        }
        let mut waiting = self.lock();
        let is_new = match waiting.get_mut(&session) {
            None if complete => return Admitted::Ready(command),
            None => true,
            Some(_) => false,
        };
        if self.count.load(Ordering::Acquire) >= MAX_WAITING {
            return Admitted::Refused;
        }
        if is_new && self.queue.try_send(session).is_err() {
            return Admitted::Refused;
        }
        self.count.fetch_add(1, Ordering::AcqRel);
        waiting.entry(session).or_default().push_back(Waiting {
            folder: folder.cloned(),
            command,
        });
        Admitted::Waits
    }

    /// The loader's thread: until every `Loader` is gone or `post` says false.
    pub fn run(
        &self,
        sessions: &Receiver<SessionKey>,
        post: impl Fn(SessionKey, Command),
        is_stopping: impl Fn() -> bool,
    ) {
        while let Ok(session) = sessions.recv() {
            if is_stopping() {
                return;
            }
            loop {
                let next = {
                    let mut waiting = self.lock();
                    let next = waiting.get_mut(&session).and_then(VecDeque::pop_front);
                    if next.is_none() {
                        waiting.remove(&session);
                    }
                    next
                };
                let Some(Waiting {
                    folder,
                    mut command,
                }) = next
                else {
                    break;
                };
                self.fill_from_disk(folder.as_deref(), &mut command);
                post(session, command);
                self.count.fetch_sub(1, Ordering::AcqRel);
            }
        }
    }

    /// Wakes the thread so that it can see that it shall stop.
    pub fn wake(&self) {
        let _ = self.queue.try_send(SessionKey(0));
    }

    /// True if no file is missing afterwards.
    fn fill_from_memory(
        &self,
        now: Instant,
        folder: Option<&Arc<Path>>,
        command: &mut Command,
    ) -> bool {
        let (Some(folder), Command::Play { prompts, .. }) = (folder, command) else {
            return true;
        };
        let mut complete = true;
        for prompt in prompts {
            if let Prompt::File(name) = prompt {
                match self.files.cached(now, folder, name) {
                    Some(pcm) => *prompt = Prompt::Pcm(pcm),
                    None => complete = false,
                }
            }
        }
        complete
    }

    fn fill_from_disk(&self, folder: Option<&Path>, command: &mut Command) {
        let (Some(folder), Command::Play { prompts, .. }) = (folder, command) else {
            return;
        };
        for prompt in prompts {
            if let Prompt::File(name) = prompt {
                match self.files.load(Instant::now(), folder, name) {
                    Ok(pcm) => *prompt = Prompt::Pcm(pcm),
                    // It stays a file, which plays as a failure.
                    Err(error) => {
                        tracing::warn!(%error, file = %name, folder = %folder.display(), "a prompt cannot be played");
                    }
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionKey, VecDeque<Waiting>>> {
        // Nothing panics while it is held.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const MAX_WAITING: usize = 4_096;
