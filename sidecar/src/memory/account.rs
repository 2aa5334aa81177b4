//! Bytes that calls hold, over all threads, and how many they may.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A sum and its bound.
#[derive(Debug)]
pub(crate) struct Account {
    used: AtomicU64,
    most: u64,
}

/// A share of it, given back on drop.
#[derive(Debug)]
pub struct Held {
    account: Arc<Account>,
    bytes: u64,
}

// === impl Account ===

impl Account {
    pub(crate) fn new(most: u64) -> Arc<Self> {
        Arc::new(Self {
            used: AtomicU64::new(0),
            most,
        })
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.used() > self.most
    }

    /// `None`: there is no room for them.
    pub(crate) fn hold(self: &Arc<Self>, bytes: u64) -> Option<Held> {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let held = Held {
            account: Arc::clone(self),
            bytes,
        };
        (before.saturating_add(bytes) <= self.most).then_some(held)
    }

    /// What somebody holds became another number of bytes.
    pub(crate) fn move_by(&self, before: u32, after: u32) {
        if after >= before {
            self.used
                .fetch_add(u64::from(after - before), Ordering::Relaxed);
        } else {
            self.used
                .fetch_sub(u64::from(before - after), Ordering::Relaxed);
        }
    }
}

impl Default for Account {
    /// Without a bound.
    fn default() -> Self {
        Self {
            used: AtomicU64::new(0),
            most: u64::MAX,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.account.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_fits_or_leaves_no_trace() {
        let account = Account::new(100);
        let first = account.hold(60).unwrap();
        assert!(account.hold(41).is_none());
        assert_eq!(account.used(), 60);
        let second = account.hold(40).unwrap();
        assert!(!account.is_over());
        drop(first);
        account.move_by(0, 61);
        assert!(account.is_over());
        account.move_by(61, 60);
        assert!(!account.is_over());
        drop(second);
        assert_eq!(account.used(), 60);
    }
}
