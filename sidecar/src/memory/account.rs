//! Bytes that calls hold, over all threads, and how many they may.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A sum and its bound.
#[derive(Debug)]
pub(crate) struct Account {
    used: AtomicU64,
    most: u64,
    /// From then on the process is short of memory, as far as was known at the last look: what came since is counted at once.
    short_at: AtomicU64,
    /// And so short that nothing more is to be read.
    full_at: AtomicU64,
    /// Somebody reads nothing because of it, and is to be woken.
    is_paused: AtomicBool,
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
            most,
            ..Self::default()
        })
    }

    /// What was found at a look.
    pub(crate) fn mark(&self, short_at: u64, full_at: u64) {
        self.short_at.store(short_at, Ordering::Relaxed);
        self.full_at.store(full_at, Ordering::Relaxed);
    }

    pub(crate) fn is_short(&self) -> bool {
        self.used() >= self.short_at.load(Ordering::Relaxed)
    }

    /// Whoever hears so reads nothing until it is woken.
    pub(crate) fn is_full(&self) -> bool {
        let is_full = self.used() >= self.full_at.load(Ordering::Relaxed);
        if is_full {
            self.is_paused.store(true, Ordering::Relaxed);
        }
        is_full
    }

    /// Whether somebody has to be woken.
    pub(crate) fn take_paused(&self) -> bool {
        self.is_paused.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// There is not as much left as is used.
    pub(crate) fn is_tight(&self) -> bool {
        self.used() > self.most / 2
    }

    pub(crate) fn is_over(&self) -> bool {
        self.used() > self.most
    }

    /// `None`: there is no room for them.
    pub(crate) fn hold(self: &Arc<Self>, bytes: u64) -> Option<Held> {
        self.hold_within(self.most, bytes)
    }

    /// The same for somebody who has not been served yet: an eighth is kept for those who have been.
    pub(crate) fn hold_unknown(self: &Arc<Self>, bytes: u64) -> Option<Held> {
        self.hold_within(self.most - self.most / 8, bytes)
    }

    fn hold_within(self: &Arc<Self>, most: u64, bytes: u64) -> Option<Held> {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let held = Held {
            account: Arc::clone(self),
            bytes,
        };
        (before.saturating_add(bytes) <= most).then_some(held)
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
            short_at: AtomicU64::new(u64::MAX),
            full_at: AtomicU64::new(u64::MAX),
            is_paused: AtomicBool::new(false),
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
    fn what_came_since_the_last_look_counts_at_once() {
        let account = Account::default();
        account.move_by(0, 1000);
        assert!(!account.is_short() && !account.is_full());
        account.mark(1001, 1002);
        account.move_by(1000, 1001);
        assert!(account.is_short() && !account.is_full());
        account.move_by(1001, 1002);
        assert!(!account.take_paused());
        assert!(account.is_full());
        assert!(account.take_paused() && !account.take_paused());
    }

    #[test]
    fn an_eighth_is_kept_for_those_who_were_served() {
        let account = Account::new(80);
        let _unknown = account.hold_unknown(70).unwrap();
        assert!(account.hold_unknown(1).is_none());
        let _known = account.hold(10).unwrap();
        assert!(account.hold(1).is_none());
        assert_eq!(account.used(), 80);
    }

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
