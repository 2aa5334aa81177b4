//! shop-chassis
