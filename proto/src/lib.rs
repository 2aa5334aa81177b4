//! outrigger-proto
