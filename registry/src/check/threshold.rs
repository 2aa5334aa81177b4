//! How many findings in a row it takes before a check's status follows them.

use outrigger_consul::check::{CheckDefinition, Status};

#[derive(Debug)]
pub(super) struct Threshold {
    before_passing: u32,
    before_warning: u32,
    before_critical: u32,
    successes: u32,
    failures: u32,
}

impl Threshold {
    pub(super) fn new(definition: &CheckDefinition) -> Self {
        let before_critical = definition.failures_before_critical;
        let before_warning = match definition.failures_before_warning {
            0 => before_critical,
            warning => warning.min(before_critical.max(1)),
        };
        Self {
            before_passing: definition.success_before_passing,
            before_warning,
            before_critical,
            successes: 0,
            failures: 0,
        }
    }

    /// The status to report after a finding; `None` while it is too early to say.
    pub(super) fn after(&mut self, found: Status) -> Option<Status> {
        if found == Status::Critical {
            self.failures += 1;
            self.successes = 0;
            if self.failures >= self.before_critical {
                return Some(Status::Critical);
            }
            return (self.failures >= self.before_warning).then_some(Status::Warning);
        }
        self.failures = 0;
        self.successes += 1;
        (self.successes >= self.before_passing).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_follows_after_enough_findings_in_a_row() {
        use Status::{Critical, Passing, Warning};
        let definition = CheckDefinition {
            success_before_passing: 2,
            failures_before_warning: 2,
            failures_before_critical: 3,
            ..CheckDefinition::default()
        };
        let mut threshold = Threshold::new(&definition);
        for (found, expected) in [
            (Passing, None),
            (Passing, Some(Passing)),
            (Critical, None),
            (Critical, Some(Warning)),
            (Critical, Some(Critical)),
            (Passing, None),
            (Warning, Some(Warning)),
            (Critical, None),
        ] {
            assert_eq!(threshold.after(found), expected);
        }
        let mut plain = Threshold::new(&CheckDefinition::default());
        assert_eq!(plain.after(Critical), Some(Critical));
        assert_eq!(plain.after(Passing), Some(Passing));
    }
}
