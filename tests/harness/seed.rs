//! Chance that can be had again: the seed is told, and `OUTRIGGER_SEED` takes it back.

use crate::{figure, settings};

/// A stream of numbers that its seed decides (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The numbers of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// From `OUTRIGGER_SEED`, or one nobody chose; which one is said on standard error.
    pub fn seeded(test: &str) -> Self {
        let (any, _) = uuid::Uuid::new_v4().as_u64_pair();
        let seed = settings::number("OUTRIGGER_SEED", any);
        figure::tell(&format!("{test}: OUTRIGGER_SEED={seed}"));
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is above 0.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap();
        usize::try_from(self.number() % end).unwrap()
    }

    /// True in `percent` of a hundred cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.number() % 100 < percent
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// A stream of its own for a part of the work.
    pub fn fork(&mut self) -> Self {
        Self(self.number())
    }
}
