//! The rows as sea-orm sees them. They stay below `store`.

pub(crate) mod reservation;
pub(crate) mod stock;
pub(crate) mod stock_movement;
