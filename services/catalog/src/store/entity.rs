//! The rows as sea-orm sees them. They stay below `store`.

pub(crate) mod price_history;
pub(crate) mod product;
