//! The rows as sea-orm sees them. They stay below `store`.

pub(crate) mod ledger_account;
pub(crate) mod ledger_entry;
pub(crate) mod ledger_transaction;
pub(crate) mod payment;
pub(crate) mod payment_method;
pub(crate) mod psp_call;
