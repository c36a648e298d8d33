//! Fair turns for plugins that want the processor for long.
//!
//! A call that is over within a tick never comes here. One that two ticks found running joins
//! the slow lane: it goes on when its tenant's turn comes, and among its tenant's calls its own.
//! The lane leaves one thread free, so that a runaway plugin, or a hundred of them, costs a
//! neighbour's short call nothing, and a neighbour's long call a fair share.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(crate) struct Lanes {
    /// Tenants in the lane; while there is none, nobody looks further.
    occupied: AtomicUsize,
    turns: Arc<Semaphore>,
    /// One turn at a time for each tenant that has somebody in the lane.
    tenants: Mutex<BTreeMap<Arc<str>, Weak<Semaphore>>>,
}

impl Lanes {
    /// `threads` that plugins run on; all but one may be taken by slow calls.
    pub(crate) fn new(threads: usize) -> Arc<Lanes> {
        let width = threads.saturating_sub(1).max(1);
        Arc::new(Lanes {
            occupied: AtomicUsize::new(0),
            turns: Arc::new(Semaphore::new(width)),
            tenants: Mutex::default(),
        })
    }

    pub(crate) fn ticket(self: &Arc<Self>, tenant: &Arc<str>) -> Ticket {
        Ticket {
            lanes: self.clone(),
            tenant: tenant.clone(),
            turn: None,
            queued: None,
        }
    }

    fn tenant(&self, tenant: &Arc<str>) -> Arc<Semaphore> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = tenants.get(tenant).and_then(Weak::upgrade) {
            return found;
        }
        tenants.retain(|_, semaphore| semaphore.strong_count() > 0);
        let semaphore = Arc::new(Semaphore::new(1));
        tenants.insert(tenant.clone(), Arc::downgrade(&semaphore));
        semaphore
    }
}

/// One instance's place in the lane. Dropping it leaves the lane.
pub(crate) struct Ticket {
    lanes: Arc<Lanes>,
    tenant: Arc<str>,
    /// Made at the first tick only: most instances never see one.
    turn: Option<Arc<Mutex<Option<Turn>>>>,
    queued: Option<Queued>,
}

/// Its tenant has somebody in the lane as long as one of these is there.
struct Queued {
    lanes: Arc<Lanes>,
    _tenant: Arc<Semaphore>,
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.lanes.occupied.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Both semaphores queue in order of arrival: among tenants, and within one.
struct Turn {
    _tenant: OwnedSemaphorePermit,
    _thread: OwnedSemaphorePermit,
}

impl Ticket {
    /// Is somebody of this tenant in the lane?
    pub(crate) fn is_slow(&self) -> bool {
        self.lanes.occupied.load(Ordering::Relaxed) > 0 && {
            let tenants = self
                .lanes
                .tenants
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            tenants
                .get(&self.tenant)
                .is_some_and(|semaphore| semaphore.strong_count() > 0)
        }
    }

    /// Gives up the turn, if it has one, and waits for the next; false: none came by the
    /// deadline.
    pub(crate) fn next_turn(
        &mut self,
        deadline: Instant,
    ) -> impl Future<Output = bool> + Send + use<> {
        let (tenant, turns) = (self.lanes.tenant(&self.tenant), self.lanes.turns.clone());
        self.leave();
        self.lanes.occupied.fetch_add(1, Ordering::Relaxed);
        self.queued = Some(Queued {
            lanes: self.lanes.clone(),
            _tenant: tenant.clone(),
        });
        let turn = self.turn.get_or_insert_default().clone();
        async move {
            let wait = async {
                let tenant = tenant.acquire_owned().await.ok()?;
                let thread = turns.acquire_owned().await.ok()?;
                Some(Turn {
                    _tenant: tenant,
                    _thread: thread,
                })
            };
            // Even where a turn is free: others on this thread come first.
            tokio::task::yield_now().await;
            let got = tokio::time::timeout_at(deadline.into(), wait)
                .await
                .ok()
                .flatten();
            let has_turn = got.is_some();
            *turn.lock().unwrap_or_else(PoisonError::into_inner) = got;
            has_turn
        }
    }

    pub(crate) fn leave(&mut self) {
        if let Some(turn) = &self.turn {
            turn.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
        self.queued = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn on_paused_time(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(test);
    }

    #[test]
    fn tenants_take_turns_however_many_calls_one_has() {
        on_paused_time(async {
            let lanes = Lanes::new(1);
            let far = Instant::now() + Duration::from_secs(3600);
            let order = Arc::new(Mutex::new(Vec::new()));
            let mut tasks = Vec::new();
            for (tenant, turns) in [("noisy", 10), ("noisy", 10), ("noisy", 10), ("quiet", 4)] {
                let (mut ticket, order) = (lanes.ticket(&tenant.into()), order.clone());
                tasks.push(tokio::spawn(async move {
                    for _ in 0..turns {
                        ticket.next_turn(far).await;
                        order.lock().unwrap().push(tenant);
                        // It runs, and the others come to wait.
                        for _ in 0..4 {
                            tokio::task::yield_now().await;
                        }
                    }
                }));
                tokio::task::yield_now().await;
            }
            for task in tasks {
                task.await.unwrap();
            }
            let order = order.lock().unwrap();
            let last = order.iter().rposition(|tenant| *tenant == "quiet").unwrap();
            assert!(last <= 10, "quiet came late: {order:?}");
        });
    }

    #[test]
    fn nobody_waits_beyond_its_deadline() {
        on_paused_time(async {
            let lanes = Lanes::new(1);
            let soon = || Instant::now() + Duration::from_millis(20);
            let (mut first, mut second) = (lanes.ticket(&"a".into()), lanes.ticket(&"b".into()));
            assert!(!first.is_slow());
            assert!(first.next_turn(soon()).await);
            assert!(first.is_slow() && !second.is_slow());
            assert!(!second.next_turn(soon()).await);
            assert!(second.is_slow() && second.turn.as_ref().unwrap().lock().unwrap().is_none());
            drop(first);
            assert!(second.next_turn(soon()).await);
            assert!(second.is_slow() && second.turn.as_ref().unwrap().lock().unwrap().is_some());
            second.leave();
            assert!(!second.is_slow());
        });
    }
}
