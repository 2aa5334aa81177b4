//! `service-splitter`.

use std::collections::BTreeSet;

use outrigger_consul::config::ServiceSplitter;

/// A weight in hundredths, halves away from zero.
fn hundredths(weight: f32) -> i64 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a weight is at most 100, and checked"
    )]
    let scaled = f64::from(weight * 100.0).round() as i64;
    scaled
}

/// A weight rounded to the unit it is kept in: a hundredth of a percent.
pub fn rounded(weight: f32) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "at most 10,000")]
    let hundredths = hundredths(weight) as f32;
    hundredths / 100.0
}

pub(super) fn normalize(entry: &mut ServiceSplitter) {
    for split in &mut entry.splits {
        split.weight = rounded(split.weight);
    }
}

pub(super) fn validate(entry: &ServiceSplitter) -> Result<(), String> {
    if entry.splits.is_empty() {
        return Err("no splits configured".to_owned());
    }
    let mut seen = BTreeSet::new();
    let mut sum = 0;
    for split in &entry.splits {
        if !split.weight.is_finite() || !(0.0..=1e6).contains(&split.weight) {
            return Err(format!(
                "split weight {} is not between 0 and 100",
                split.weight
            ));
        }
        sum += hundredths(split.weight);
        let service = if split.service.is_empty() {
            &entry.name
        } else {
            &split.service
        };
        let subset = &split.service_subset;
        let (namespace, partition) = (&split.namespace, &split.partition);
        if !seen.insert((service, subset, namespace, partition)) {
            return Err(format!(
                "split destination occurs more than once: service={service:?}, subset={subset:?}, namespace={namespace:?}, partition={partition:?}"
            ));
        }
    }
    if sum != 10_000 {
        #[expect(clippy::cast_precision_loss, reason = "for a message")]
        let total = sum as f32 / 100.0;
        return Err(format!(
            "the sum of all split weights must be 100, not {total:.6}"
        ));
    }
    Ok(())
}
