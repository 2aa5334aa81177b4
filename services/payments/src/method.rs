//! How a payment is made: a card token or the wallet. Card numbers never enter this service, only tokens.
//!
//! The processor's test tokens are known whether or not a user attached them, so that every outcome can be tried
//! without preparing an account.

/// A stored or well-known way to pay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Method {
    /// `pm_…`, or `wallet`.
    pub token: String,
    /// `visa`; empty for the wallet.
    pub brand: String,
    /// The last four digits; empty for the wallet.
    pub last4: String,
}

/// What the request asked to pay with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The user's default card.
    DefaultCard,
    /// The user's wallet.
    Wallet,
    /// A token.
    Token(String),
}

/// The wallet's token.
pub const WALLET: &str = "wallet";

const TEST_TOKENS: [(&str, &str); 9] = [
    ("pm_visa_4242", "4242"),
    ("pm_declined", "0002"),
    ("pm_insufficient_funds", "9995"),
    ("pm_expired", "0069"),
    ("pm_slow_5s", "0119"),
    ("pm_lost_response", "0127"),
    ("pm_5xx_then_ok", "0135"),
    ("pm_capture_fails", "0341"),
    ("pm_refund_fails_3x", "3222"),
];

impl Method {
    /// The user's wallet.
    pub fn wallet() -> Self {
        Self {
            token: WALLET.to_owned(),
            brand: String::new(),
            last4: String::new(),
        }
    }

    /// One of the processor's test tokens.
    pub fn test_token(token: &str) -> Option<Self> {
        TEST_TOKENS
            .into_iter()
            .find(|(known, _)| *known == token)
            .map(|(token, last4)| Self {
                token: token.to_owned(),
                brand: "visa".to_owned(),
                last4: last4.to_owned(),
            })
    }

    /// Whether the money comes from the wallet, which needs no processor.
    pub fn is_wallet(&self) -> bool {
        self.token == WALLET
    }
}

impl Choice {
    /// `card`, `wallet` or a token; nothing else is a way to pay.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "card" => Some(Self::DefaultCard),
            WALLET => Some(Self::Wallet),
            token if token.starts_with("pm_") => Some(Self::Token(token.to_owned())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_ways_to_pay_and_no_other() {
        for (text, expected) in [
            ("card", Some(Choice::DefaultCard)),
            ("wallet", Some(Choice::Wallet)),
            ("pm_visa_4242", Some(Choice::Token("pm_visa_4242".into()))),
            ("cash", None),
            ("", None),
            ("4242424242424242", None),
        ] {
            assert_eq!(Choice::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn the_default_card_of_the_demo_ends_in_4242() {
        assert_eq!(Method::test_token("pm_visa_4242").unwrap().last4, "4242");
        assert_eq!(Method::test_token("pm_unheard_of"), None);
    }
}
