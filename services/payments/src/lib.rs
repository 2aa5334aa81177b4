//! shop-payments
