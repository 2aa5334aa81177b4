//! The operators' view: the health port.

/// What is still missing.
mod readiness;

pub use readiness::Readiness;
