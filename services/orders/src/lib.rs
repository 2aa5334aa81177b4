//! shop-orders
