//! outrigger-consul
