//! outrigger-bench
