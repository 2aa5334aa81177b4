//! Tests that measure times and tests that use up the machine do not run beside each other.

use tokio::sync::{Mutex, MutexGuard};

static ALONE: Mutex<()> = Mutex::const_new(());

/// Waits until no other such test of this suite runs; the next one begins when this is dropped.
pub async fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().await
}
