//! What a card token makes the processor do, so that every outcome can be tried on purpose.

use crate::processor::Decline;

/// A test card's behaviour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// Everything works.
    Fine,
    /// The charge is declined.
    Declines(Decline),
    /// The charge is made, the answer comes five seconds late.
    Slow,
    /// The charge is made, the answer never comes; a repeat gets it.
    LosesAnswer,
    /// The first request under a key fails without effect.
    FailsOnce,
    /// The charge is made, taking its money fails.
    CaptureFails,
    /// Giving money back fails three times.
    RefundFails,
}

impl Token {
    /// `None`: no card of this processor.
    pub(super) fn of(token: &str) -> Option<Self> {
        Some(match token {
            "pm_visa_4242" => Self::Fine,
            "pm_declined" => Self::Declines(Decline::Card),
            "pm_insufficient_funds" => Self::Declines(Decline::InsufficientFunds),
            "pm_expired" => Self::Declines(Decline::Expired),
            "pm_slow_5s" => Self::Slow,
            "pm_lost_response" => Self::LosesAnswer,
            "pm_5xx_then_ok" => Self::FailsOnce,
            "pm_capture_fails" => Self::CaptureFails,
            "pm_refund_fails_3x" => Self::RefundFails,
            _ => return None,
        })
    }
}
