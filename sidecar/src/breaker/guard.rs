//! Never too many: how many open breakers really take their endpoint out of the set.

/// How many of `healthy` endpoints may be ejected: half of them, but one of two or more even where half is less. A single endpoint has no
/// guard: its breaker opens and calls fail fast.
pub fn allowed(healthy: usize) -> usize {
    match healthy {
        0 | 1 => healthy,
        _ => (healthy / 2).max(1),
    }
}

/// Of endpoints with an open breaker, given as `(index, open until)`: those that stay ejected, the latest to return first, so that an
/// overruled one is the one nearest to its probe. The rest are overruled and keep receiving calls.
pub fn ejected(mut open: Vec<(usize, u64)>, healthy: usize) -> Vec<usize> {
    open.sort_by_key(|(index, until)| (std::cmp::Reverse(*until), *index));
    open.truncate(allowed(healthy));
    open.into_iter().map(|(index, _)| index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_may_be_ejected() {
        for (healthy, expected) in [(0, 0), (1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (10, 5)] {
            assert_eq!(allowed(healthy), expected, "{healthy}");
        }
    }

    #[test]
    fn the_excess_is_overruled() {
        assert_eq!(ejected(vec![(0, 50), (1, 70), (2, 60)], 4), vec![1, 2]);
        assert_eq!(ejected(vec![(0, 50)], 1), vec![0]);
        assert_eq!(ejected(vec![(0, 50), (1, 50)], 2), vec![0]);
    }
}
