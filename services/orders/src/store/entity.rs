//! The rows as sea-orm sees them. They stay below `store`.

pub(crate) mod order_event;
pub(crate) mod order_number;
pub(crate) mod order_view;
pub(crate) mod saga;
pub(crate) mod saga_step;
