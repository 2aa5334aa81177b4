//! What a method promises: whether it may be repeated, and how many messages travel each way. Read from descriptor sets.

use std::collections::HashMap;
use std::sync::Arc;

/// What the contract says about repeating a method, weakest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    #[default]
    Unknown,
    Idempotent,
    NoSideEffects,
}

/// How many messages travel each way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    Unary,
    ClientStreaming,
    ServerStreaming,
    Bidirectional,
    #[default]
    Unknown,
}

/// One method of one contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// `pkg.Service/Method`.
    pub method: Arc<str>,
    pub class: Class,
    pub kind: Kind,
}

/// All methods of one service's contract.
#[derive(Debug, Default)]
pub struct Contract {
    methods: HashMap<Arc<str>, Arc<Promise>>,
}
