//! Identifiers and random bytes, as a trait: tests own theirs.

use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;

pub trait Ids: std::fmt::Debug + Send + Sync {
    /// A time-ordered identifier (`UUIDv7`).
    fn uuid(&self) -> Uuid;

    /// Fills `bytes` from a source nobody can predict.
    fn fill(&self, bytes: &mut [u8]);
}

/// The operating system's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemIds;

/// Counts up, for tests: 1, 2, 3 as the last bytes.
#[derive(Debug, Default)]
pub struct SequenceIds(AtomicU64);

impl Ids for SystemIds {
    fn uuid(&self) -> Uuid {
        Uuid::now_v7()
    }

    fn fill(&self, bytes: &mut [u8]) {
        aws_lc_rs::rand::fill(bytes).expect("the operating system has randomness");
    }
}

impl SequenceIds {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl Ids for SequenceIds {
    fn uuid(&self) -> Uuid {
        let mut bytes = [0; 16];
        bytes[8..].copy_from_slice(&self.next().to_be_bytes());
        uuid::Builder::from_bytes(bytes)
            .with_variant(uuid::Variant::RFC4122)
            .with_version(uuid::Version::SortRand)
            .into_uuid()
    }

    fn fill(&self, bytes: &mut [u8]) {
        let next = self.next().to_be_bytes();
        for (byte, value) in bytes
            .iter_mut()
            .rev()
            .zip(next.iter().rev().chain(std::iter::repeat(&0)))
        {
            *byte = *value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_make_version_7() {
        for ids in [&SystemIds as &dyn Ids, &SequenceIds::default()] {
            assert_eq!(ids.uuid().get_version_num(), 7);
            assert_ne!(ids.uuid(), ids.uuid());
        }
    }
}
