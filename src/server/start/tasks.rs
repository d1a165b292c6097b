//! The tasks beside the path of a message.

use std::future::Future;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Tasks that run until the relay stops.
#[derive(Default)]
pub(super) struct Tasks {
    pub running: TaskTracker,
    pub stopping: CancellationToken,
}

impl Tasks {
    /// Spawns a task that ends when the token that it gets is cancelled.
    pub fn spawn<F>(&self, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.running.spawn(task(self.stopping.clone()));
    }
}
