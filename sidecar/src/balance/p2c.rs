//! The power of two choices: two endpoints drawn by weight, the less loaded one gets the call.

use rand::{Rng, RngExt};

/// An endpoint as the choice sees it.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    pub weight: u32,
    /// Estimated latency times open attempts.
    pub load: f32,
}

/// Index of the chosen candidate; `None` = there is none.
pub fn pick(candidates: &[Candidate], random: &mut impl Rng) -> Option<usize> {
    if candidates.len() < 2 {
        return (!candidates.is_empty()).then_some(0);
    }
    let first = draw(candidates, None, random)?;
    let second = draw(candidates, Some(first), random)?;
    Some(if candidates[second].load < candidates[first].load {
        second
    } else {
        first
    })
}

/// One candidate by weight, among all but `without`.
fn draw(candidates: &[Candidate], without: Option<usize>, random: &mut impl Rng) -> Option<usize> {
    let eligible = || {
        candidates
            .iter()
            .enumerate()
            .filter(move |(index, _)| Some(*index) != without)
    };
    let total: u64 = eligible()
        .map(|(_, candidate)| u64::from(candidate.weight.max(1)))
        .sum();
    let mut point = random.random_range(0..total.max(1));
    for (index, candidate) in eligible() {
        let weight = u64::from(candidate.weight.max(1));
        if point < weight {
            return Some(index);
        }
        point -= weight;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    fn shares(candidates: &[Candidate]) -> Vec<f64> {
        let mut random = SmallRng::seed_from_u64(7);
        let mut counts = vec![0_u32; candidates.len()];
        for _ in 0..20_000 {
            counts[pick(candidates, &mut random).unwrap()] += 1;
        }
        counts
            .iter()
            .map(|count| f64::from(*count) / 20_000.0)
            .collect()
    }

    #[test]
    fn none_one_and_two() {
        let mut random = SmallRng::seed_from_u64(1);
        assert_eq!(pick(&[], &mut random), None);
        let slow = Candidate {
            weight: 1,
            load: 9.0,
        };
        let fast = Candidate {
            weight: 1,
            load: 1.0,
        };
        assert_eq!(pick(&[slow], &mut random), Some(0));
        for _ in 0..50 {
            assert_eq!(pick(&[slow, fast], &mut random), Some(1));
        }
    }

    #[test]
    fn equal_loads_share_by_weight() {
        let even = shares(
            &[Candidate {
                weight: 1,
                load: 1.0,
            }; 5],
        );
        assert!(
            even.iter().all(|share| (0.18..0.22).contains(share)),
            "{even:?}"
        );
        let uneven = shares(&[
            Candidate {
                weight: 3,
                load: 1.0,
            },
            Candidate {
                weight: 1,
                load: 1.0,
            },
        ]);
        assert!((0.72..0.78).contains(&uneven[0]), "{uneven:?}");
    }

    #[test]
    fn the_most_loaded_of_many_gets_nothing() {
        let mut candidates = [Candidate {
            weight: 1,
            load: 1.0,
        }; 5];
        candidates[2].load = 100.0;
        assert!(shares(&candidates)[2] < 0.001);
    }
}
