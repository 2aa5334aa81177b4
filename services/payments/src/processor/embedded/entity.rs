//! Rows of the processor's tables.

pub(crate) mod authorization;
pub(crate) mod call;
pub(crate) mod counter;
