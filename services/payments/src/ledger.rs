//! The books, as pure postings: which accounts move by how much when money moves.
//!
//! A positive amount is a debit, a negative one a credit, and a posting sums to zero by construction; the database
//! enforces the same rule once more with triggers, and keeps what was posted.

/// Who owes us or whom we owe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    /// What the card processor will pay out to us.
    ProcessorReceivable,
    /// What we sold.
    Sales,
    /// A user's money that is held for an order.
    WalletHolds,
    /// A user's money.
    Wallet(u32),
}

impl Account {
    /// The name in the books.
    pub fn name(&self) -> String {
        match self {
            Self::ProcessorReceivable => "psp_receivable".to_owned(),
            Self::Sales => "sales".to_owned(),
            Self::WalletHolds => "wallet_holds".to_owned(),
            Self::Wallet(user) => format!("wallet/{user}"),
        }
    }
}

/// One event of money, with the accounts it moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posting {
    /// `capture`, `refund`, …
    pub kind: &'static str,
    /// Debited account, credited account, minor units.
    pub transfer: (Account, Account, i64),
}

impl Posting {
    /// A card's money becomes ours. (Its authorisation moves nothing.)
    pub fn card_capture(amount: i64) -> Self {
        Self {
            kind: "capture",
            transfer: (Account::ProcessorReceivable, Account::Sales, amount),
        }
    }

    /// A card's money goes back.
    pub fn card_refund(amount: i64) -> Self {
        Self {
            kind: "refund",
            transfer: (Account::Sales, Account::ProcessorReceivable, amount),
        }
    }

    /// A user's money is set aside.
    pub fn wallet_hold(user: u32, amount: i64) -> Self {
        Self {
            kind: "hold",
            transfer: (Account::Wallet(user), Account::WalletHolds, amount),
        }
    }

    /// What was set aside becomes ours.
    pub fn wallet_capture(amount: i64) -> Self {
        Self {
            kind: "capture",
            transfer: (Account::WalletHolds, Account::Sales, amount),
        }
    }

    /// What was set aside goes back to the user.
    pub fn wallet_void(user: u32, amount: i64) -> Self {
        Self {
            kind: "void",
            transfer: (Account::WalletHolds, Account::Wallet(user), amount),
        }
    }

    /// What was ours goes back to the user.
    pub fn wallet_refund(user: u32, amount: i64) -> Self {
        Self {
            kind: "refund",
            transfer: (Account::Sales, Account::Wallet(user), amount),
        }
    }

    /// A user pays into the wallet.
    pub fn wallet_top_up(user: u32, amount: i64) -> Self {
        Self {
            kind: "top_up",
            transfer: (Account::ProcessorReceivable, Account::Wallet(user), amount),
        }
    }

    /// The two entries: account name and signed amount.
    pub fn entries(&self) -> [(String, i64); 2] {
        let (debit, credit, amount) = &self.transfer;
        [(debit.name(), *amount), (credit.name(), -*amount)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_posting_sums_to_zero() {
        for posting in [
            Posting::card_capture(2400),
            Posting::card_refund(2400),
            Posting::wallet_hold(1, 2400),
            Posting::wallet_capture(2400),
            Posting::wallet_void(1, 2400),
            Posting::wallet_refund(1, 2400),
            Posting::wallet_top_up(1, 2400),
        ] {
            let sum: i64 = posting.entries().iter().map(|(_, amount)| amount).sum();
            assert_eq!(sum, 0, "{posting:?}");
        }
    }

    #[test]
    fn a_capture_and_its_refund_leave_nothing() {
        let mut books = std::collections::BTreeMap::<String, i64>::new();
        for posting in [
            Posting::card_capture(4999),
            Posting::card_refund(4999),
            Posting::wallet_hold(2, 100),
            Posting::wallet_void(2, 100),
        ] {
            for (account, amount) in posting.entries() {
                *books.entry(account).or_default() += amount;
            }
        }
        assert!(books.values().all(|balance| *balance == 0), "{books:?}");
    }
}
