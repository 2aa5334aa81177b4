//! outrigger-registry
