//! The split draw: one draw a call, before any attempt. Pure.

/// How a leg was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Random,
    /// The drawn leg had nobody ready, so another one was drawn in proportion to weight.
    EmptyLeg,
}

// === impl How ===

impl How {
    pub fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::EmptyLeg => "empty_leg",
        }
    }
}

/// A leg's weight in basis points (hundredths of a percent).
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "weights are 0 to 100 with two decimals"
)]
pub fn basis_points(weight: f32) -> u32 {
    (f64::from(weight.clamp(0.0, 100.0)) * 100.0).round() as u32
}

/// Legs lie on [0, 1) in reverse listing order, each as wide as its weight; the one that holds `u` is drawn. Raising the last-listed leg
/// therefore only adds calls to it. A leg of weight 0 is never drawn.
pub fn draw(weights: &[u32], u: f64) -> Option<usize> {
    let total: u32 = weights.iter().sum();
    let point = u * f64::from(total);
    let mut end = 0_u32;
    for (index, weight) in weights.iter().enumerate().rev() {
        end += weight;
        if *weight > 0 && point < f64::from(end) {
            return Some(index);
        }
    }
    // Rounding at the very end of the line: the last leg that has any width.
    weights.iter().position(|weight| *weight > 0)
}

/// The leg of a call. A drawn leg with nobody ready gives its calls to the ready ones in proportion to weight; with nobody ready
/// anywhere the draw stands, and the call waits there.
pub fn choose(
    weights: &[u32],
    ready: impl Fn(usize) -> bool,
    random: &mut impl FnMut() -> f64,
) -> Option<(usize, How)> {
    let drawn = draw(weights, random())?;
    if ready(drawn) {
        return Some((drawn, How::Random));
    }
    let open: Vec<u32> = weights
        .iter()
        .enumerate()
        .map(|(index, weight)| if ready(index) { *weight } else { 0 })
        .collect();
    if open.iter().all(|weight| *weight == 0) {
        return Some((drawn, How::Random));
    }
    draw(&open, random()).map(|leg| (leg, How::EmptyLeg))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legs_lie_in_reverse_order() {
        let weights = [9_000, 1_000];
        for (u, expected) in [(0.0, 1), (0.099_9, 1), (0.1, 0), (0.999_999, 0)] {
            assert_eq!(draw(&weights, u), Some(expected), "{u}");
        }
        for (u, expected) in [(0.0, 2), (0.299, 2), (0.3, 1), (0.499, 1), (0.5, 0)] {
            assert_eq!(draw(&[5_000, 2_000, 3_000], u), Some(expected), "{u}");
        }
    }

    #[test]
    fn weight_zero_is_never_drawn() {
        for step in 0..=1000 {
            assert_eq!(draw(&[10_000, 0], f64::from(step) / 1000.0), Some(0));
            assert_eq!(draw(&[0, 10_000, 0], f64::from(step) / 1000.0), Some(1));
        }
        assert_eq!(draw(&[0, 0], 0.5), None);
        assert_eq!(draw(&[], 0.5), None);
    }

    #[test]
    fn raising_the_last_leg_only_adds_calls_to_it() {
        for step in 0..1000 {
            let u = f64::from(step) / 1000.0;
            if draw(&[9_900, 100], u) == Some(1) {
                assert_eq!(draw(&[5_000, 5_000], u), Some(1));
            }
        }
    }

    #[test]
    fn an_empty_leg_gives_its_calls_away_in_proportion() {
        let mut counts = [0_u32; 3];
        for step in 0..10_000 {
            let mut draws = [0.05, f64::from(step) / 10_000.0].into_iter();
            let (leg, how) = choose(&[6_000, 3_000, 1_000], |leg| leg != 2, &mut || {
                draws.next().unwrap()
            })
            .unwrap();
            assert_eq!(how, How::EmptyLeg);
            counts[leg] += 1;
        }
        assert!(
            counts[0].abs_diff(6_667) < 2 && counts[1].abs_diff(3_333) < 2 && counts[2] == 0,
            "{counts:?}"
        );
        assert_eq!(
            choose(&[5_000, 5_000], |_| false, &mut || 0.9),
            Some((0, How::Random))
        );
    }

    #[test]
    fn weights_are_exact_to_a_hundredth_of_a_percent() {
        for (weight, expected) in [
            (0.0, 0),
            (0.01, 1),
            (33.33, 3_333),
            (99.99, 9_999),
            (100.0, 10_000),
        ] {
            assert_eq!(basis_points(weight), expected);
        }
    }
}
