//! Amounts: whole minor units and a currency in the code and the database,
//! `google.type.Money` on the wire. What is finer than the currency is refused,
//! never rounded; there is no floating point anywhere.

use outrigger_proto::google::r#type::Money;
use tonic::Code;

use crate::Failure;

const NANOS: i64 = 1_000_000_000;

/// ISO 4217 codes and their decimal digits.
const CURRENCIES: [(&str, u32); 5] = [("USD", 2), ("EUR", 2), ("GBP", 2), ("JPY", 0), ("KWD", 3)];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Currency(usize);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Amount {
    pub minor: i64,
    pub currency: Currency,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("currency {0:?} is not known")]
    Currency(String),
    #[error("the amount is finer than the currency, or units and nanos disagree")]
    Fraction,
    #[error("the amount is too large")]
    Overflow,
}

impl Currency {
    pub const USD: Self = Self(0);

    pub fn parse(code: &str) -> Result<Self, Error> {
        CURRENCIES
            .iter()
            .position(|(known, _)| *known == code)
            .map(Self)
            .ok_or_else(|| Error::Currency(code.to_owned()))
    }

    pub fn code(self) -> &'static str {
        CURRENCIES[self.0].0
    }

    /// Minor units in one unit: 100 for USD.
    fn scale(self) -> i64 {
        10_i64.pow(CURRENCIES[self.0].1)
    }
}

impl Amount {
    pub fn new(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    pub fn usd(minor: i64) -> Self {
        Self::new(minor, Currency::USD)
    }
}

impl From<Amount> for Money {
    fn from(amount: Amount) -> Self {
        let scale = amount.currency.scale();
        Self {
            currency_code: amount.currency.code().to_owned(),
            units: amount.minor / scale,
            nanos: i32::try_from(amount.minor % scale * (NANOS / scale))
                .expect("less than one unit in nanos fits"),
        }
    }
}

impl TryFrom<&Money> for Amount {
    type Error = Error;

    fn try_from(money: &Money) -> Result<Self, Error> {
        let currency = Currency::parse(&money.currency_code)?;
        let scale = currency.scale();
        let nanos = i64::from(money.nanos);
        let opposed = money.units.signum() * nanos.signum() < 0;
        if opposed || nanos.abs() >= NANOS || nanos % (NANOS / scale) != 0 {
            return Err(Error::Fraction);
        }
        let minor = money
            .units
            .checked_mul(scale)
            .and_then(|minor| minor.checked_add(nanos / (NANOS / scale)))
            .ok_or(Error::Overflow)?;
        Ok(Self { minor, currency })
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(Code::InvalidArgument, "MONEY_INVALID", error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(code: &str, units: i64, nanos: i32) -> Money {
        Money {
            currency_code: code.to_owned(),
            units,
            nanos,
        }
    }

    #[test]
    fn amounts_go_to_the_wire_and_back() {
        for (minor, code, units, nanos) in [
            (1200, "USD", 12, 0),
            (4999, "USD", 49, 990_000_000),
            (-1, "USD", 0, -10_000_000),
            (7, "JPY", 7, 0),
            (1, "KWD", 0, 1_000_000),
            (i64::MAX, "JPY", i64::MAX, 0),
        ] {
            let amount = Amount::new(minor, Currency::parse(code).unwrap());
            assert_eq!(Money::from(amount), money(code, units, nanos));
            assert_eq!(Amount::try_from(&money(code, units, nanos)), Ok(amount));
        }
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for (money, expected) in [
            (money("USD", 0, 1), Error::Fraction),
            (money("JPY", 0, 500_000_000), Error::Fraction),
            (money("USD", 1, -10_000_000), Error::Fraction),
            (money("USD", 0, 1_000_000_000), Error::Fraction),
            (money("USD", i64::MAX, 0), Error::Overflow),
            (money("", 1, 0), Error::Currency(String::new())),
            (money("XXX", 1, 0), Error::Currency("XXX".to_owned())),
        ] {
            assert_eq!(Amount::try_from(&money), Err(expected), "{money:?}");
        }
    }
}
