//! What the process gives up at which use of its memory. Once given up, it stays so until the use has fallen well below the mark:
//! a level that changed with every call would refuse every other one.

/// How far it has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    #[default]
    Calm,
    /// New calls are refused.
    Refuse,
    /// And the newest connections are sent away.
    Leave,
    /// And the largest streams are reset.
    Reset,
}

/// Where each begins, in percent of the limit.
#[derive(Clone, Copy, Debug)]
pub struct Marks {
    pub refuse: u64,
    pub leave: u64,
    pub reset: u64,
}

/// A level ends so many percent of the limit below its mark.
const BACK: u64 = 5;

impl Level {
    /// The level after `was`, at this use in bytes. A limit of 0 is none.
    pub fn next(was: Self, used: u64, limit: u64, marks: Marks) -> Self {
        let reached = |back: u64| {
            let is_at = |mark: u64| {
                let mark = mark.saturating_sub(back);
                limit > 0 && u128::from(used) * 100 >= u128::from(limit) * u128::from(mark)
            };
            match () {
                () if is_at(marks.reset) => Self::Reset,
                () if is_at(marks.leave) => Self::Leave,
                () if is_at(marks.refuse) => Self::Refuse,
                () => Self::Calm,
            }
        };
        reached(0).max(was.min(reached(BACK)))
    }

    pub(super) fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Calm,
            1 => Self::Refuse,
            2 => Self::Leave,
            _ => Self::Reset,
        }
    }
}

/// Bytes that have to go until only the mark for leaving is passed.
pub(super) fn excess(used: u64, limit: u64, marks: Marks) -> u64 {
    used.saturating_sub(limit / 100 * marks.leave)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Level::{Calm, Leave, Refuse, Reset};

    const MARKS: Marks = Marks {
        refuse: 80,
        leave: 90,
        reset: 95,
    };

    #[test]
    fn a_level_begins_at_its_mark_and_ends_well_below_it() {
        for (was, used, expected) in [
            (Calm, 0, Calm),
            (Calm, 799, Calm),
            (Calm, 800, Refuse),
            (Calm, 899, Refuse),
            (Calm, 900, Leave),
            (Calm, 949, Leave),
            (Calm, 950, Reset),
            (Calm, 2000, Reset),
            (Refuse, 799, Refuse),
            (Refuse, 750, Refuse),
            (Refuse, 749, Calm),
            (Refuse, 899, Refuse),
            (Leave, 899, Leave),
            (Leave, 850, Leave),
            (Leave, 849, Refuse),
            (Leave, 749, Calm),
            (Reset, 900, Reset),
            (Reset, 899, Leave),
            (Reset, 800, Refuse),
            (Reset, 0, Calm),
        ] {
            let level = Level::next(was, used, 1000, MARKS);
            assert_eq!(level, expected, "{was:?} at {used}");
        }
    }

    #[test]
    fn without_a_limit_nothing_is_given_up() {
        assert_eq!(Level::next(Reset, u64::MAX, 0, MARKS), Calm);
        assert_eq!(Level::next(Calm, u64::MAX, u64::MAX, MARKS), Reset);
    }

    #[test]
    fn what_has_to_go_is_what_is_above_the_mark_before() {
        for (used, expected) in [(899, 0), (900, 0), (950, 50), (1000, 100)] {
            assert_eq!(excess(used, 1000, MARKS), expected);
        }
    }
}
