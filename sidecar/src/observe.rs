//! What we saw of a call: metrics, trace, access log.

pub mod trace;

/// Facts of one call that its stages learn on the way down.
#[derive(Debug, Default)]
pub struct Facts {}
