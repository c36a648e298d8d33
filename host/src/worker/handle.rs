//! How the rest of the program reaches the workers.

use b2bua::Input;
use b2bua::key::CallKey;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::sync::mpsc;

/// What a worker is told from inside the program.
#[derive(Debug)]
pub enum Order {
    /// End all calls, in good order.
    HangUpAll,
    Input(Input),
    /// End the thread. What calls there are is forgotten.
    Stop,
}

/// What a worker tells about itself.
#[derive(Debug, Default)]
pub struct Load {
    pub calls: AtomicUsize,
    pub connections: AtomicUsize,
    /// Datagrams for another worker whose queue was full.
    pub dropped: AtomicU64,
    /// Inputs over which the call machine panicked: bugs.
    pub panics: AtomicU64,
    /// Datagrams that waited too long for the socket.
    pub overflowed: AtomicU64,
}

/// All workers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Workers(Arc<[Worker]>);

#[derive(Debug)]
struct Worker {
    orders: mpsc::Sender<Order>,
    load: Arc<Load>,
}

impl Workers {
    pub fn new(workers: Vec<(mpsc::Sender<Order>, Arc<Load>)>) -> Self {
        Workers(
            workers
                .into_iter()
                .map(|(orders, load)| Worker { orders, load })
                .collect(),
        )
    }

    /// Tells the worker of this call. False where there is no such worker (a call id that we
    /// did not make) or it has stopped.
    pub async fn send(&self, call: CallKey, input: Input) -> bool {
        match self.0.get(usize::from(call.worker())) {
            Some(worker) => worker.orders.send(Order::Input(input)).await.is_ok(),
            None => false,
        }
    }

    /// The same for a thread that must not wait; also false where the queue is full.
    pub fn offer(&self, call: CallKey, input: Input) -> bool {
        self.0
            .get(usize::from(call.worker()))
            .is_some_and(|worker| worker.orders.try_send(Order::Input(input)).is_ok())
    }

    /// Tells every worker.
    pub async fn send_all(&self, order: impl Fn() -> Order) {
        for worker in self.0.iter() {
            // A worker that has stopped needs no orders.
            let _ = worker.orders.send(order()).await;
        }
    }

    /// Calls that are not over yet.
    pub fn calls(&self) -> usize {
        self.0
            .iter()
            .map(|worker| worker.load.calls.load(Ordering::Relaxed))
            .sum()
    }

    pub fn loads(&self) -> impl Iterator<Item = &Load> {
        self.0.iter().map(|worker| worker.load.as_ref())
    }
}
