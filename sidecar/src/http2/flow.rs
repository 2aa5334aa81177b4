//! Flow control (RFC 9113, 5.2 and 6.9): windows, no I/O. Each stream and the connection have one a direction.

/// A window would pass 2^31 - 1, or its peer sent more than it had: FLOW_CONTROL_ERROR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("flow control: {0}")]
pub struct Violation(pub &'static str);

const LARGEST: i64 = (1 << 31) - 1;

/// What the peer lets us send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance(i64);

impl Allowance {
    /// `size`: bytes, at most 2^31 - 1.
    pub fn new(size: u32) -> Self {
        Self(i64::from(size))
    }

    /// Bytes that may be sent now.
    pub fn available(self) -> u32 {
        u32::try_from(self.0).unwrap_or(0)
    }

    /// Sends as much of `wanted` as there is room for.
    pub fn spend(&mut self, wanted: u32) -> u32 {
        let spent = wanted.min(self.available());
        self.0 -= i64::from(spent);
        spent
    }

    /// WINDOW_UPDATE.
    pub fn grow(&mut self, increment: u32) -> Result<(), Violation> {
        self.shift(i64::from(increment))
    }

    /// SETTINGS_INITIAL_WINDOW_SIZE changed by `delta`; open streams follow, even below zero (RFC 9113, 6.9.2).
    pub fn shift(&mut self, delta: i64) -> Result<(), Violation> {
        let size = self.0 + delta;
        if size > LARGEST {
            return Err(Violation("a window above 2^31 - 1"));
        }
        self.0 = size;
        Ok(())
    }
}

/// What we let the peer send. Credit goes back for bytes that were forwarded, never for bytes that were only received: a
/// slow reader behind us slows its own sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    size: u32,
    /// The peer may still send this; below zero, it had more before it heard of `size`.
    left: i64,
    /// How far below zero that may be.
    slack: u32,
    /// Received and not forwarded.
    held: u32,
    /// Forwarded, and the peer does not know yet.
    owed: u32,
}

impl Window {
    /// `size`: bytes, at most 2^31 - 1.
    pub fn new(size: u32) -> Self {
        Self {
            size,
            left: i64::from(size),
            slack: 0,
            held: 0,
            owed: 0,
        }
    }

    /// The peer may not have heard of `size` yet: until then it goes by `before` (RFC 9113, 6.9.2 and 6.5.3).
    pub fn unheard(size: u32, before: u32) -> Self {
        Self {
            slack: before.saturating_sub(size),
            ..Self::new(size)
        }
    }

    /// Bytes came, padding included.
    pub fn receive(&mut self, bytes: u32) -> Result<(), Violation> {
        let left = self.left - i64::from(bytes);
        if left < -i64::from(self.slack) {
            return Err(Violation("more bytes than the window had"));
        }
        self.left = left;
        self.held += bytes;
        Ok(())
    }

    /// Bytes of those left us. The increment to tell the peer, if it is time: half a window, because a frame for each
    /// piece would cost more than it carries.
    #[must_use]
    pub fn forwarded(&mut self, bytes: u32) -> Option<u32> {
        self.forwarded_quietly(bytes);
        self.due()
    }

    /// The same while the peer is not to hear of it.
    pub fn forwarded_quietly(&mut self, bytes: u32) {
        debug_assert!(bytes <= self.held, "credit twice");
        self.held = self.held.saturating_sub(bytes);
        self.owed += bytes;
    }

    /// What the peer is to be told now, if it is time.
    #[must_use]
    pub fn due(&mut self) -> Option<u32> {
        (self.owed > 0 && self.owed >= self.size / 2).then(|| self.tell())
    }

    /// A larger window from now on; the increment to tell the peer.
    #[must_use]
    pub fn widen(&mut self, size: u32) -> Option<u32> {
        let more = size.checked_sub(self.size).filter(|more| *more > 0)?;
        self.size = size;
        self.owed += more;
        Some(self.tell())
    }

    /// As [`Self::widen`], where a SETTINGS frame tells the peer (RFC 9113, 6.9.2).
    pub fn widen_by_settings(&mut self, size: u32) {
        self.left += i64::from(size.saturating_sub(self.size));
        self.size = self.size.max(size);
    }

    /// Received and not forwarded: what we hold.
    pub fn held(self) -> u32 {
        self.held
    }

    fn tell(&mut self) -> u32 {
        self.left += i64::from(self.owed);
        std::mem::take(&mut self.owed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_window_below_zero_sends_nothing_until_it_has_grown() {
        let mut allowance = Allowance::new(100);
        assert_eq!(allowance.spend(60), 60);
        allowance.shift(-80).unwrap();
        assert_eq!((allowance.available(), allowance.spend(1)), (0, 0));
        allowance.grow(40).unwrap();
        assert_eq!(allowance.available(), 0);
        allowance.grow(1).unwrap();
        assert_eq!(allowance.spend(10), 1);
    }

    #[test]
    fn credit_that_was_kept_is_given_back_once() {
        let mut window = Window::new(100);
        window.receive(100).unwrap();
        window.forwarded_quietly(100);
        assert!(window.receive(1).is_err(), "the peer has none");
        assert_eq!((window.due(), window.due()), (Some(100), None));
        window.receive(100).unwrap();
    }

    #[test]
    fn no_window_passes_its_largest_size() {
        let mut allowance = Allowance::new(0);
        allowance.grow((1 << 31) - 1).unwrap();
        assert!(allowance.grow(1).is_err());
        allowance.spend(1);
        allowance.grow(1).unwrap();
        assert!(allowance.shift(1).is_err());
    }

    #[test]
    fn credit_comes_back_by_half_windows() {
        let mut window = Window::new(100);
        window.receive(100).unwrap();
        assert!(window.receive(1).is_err());
        assert_eq!(window.forwarded(49), None);
        assert_eq!(window.held(), 51);
        assert_eq!(window.forwarded(1), Some(50));
        window.receive(50).unwrap();
        assert!(window.receive(1).is_err());
    }

    #[test]
    fn a_widened_window_is_told_at_once() {
        let mut window = Window::new(100);
        window.receive(40).unwrap();
        assert_eq!(window.forwarded(40), None);
        assert_eq!(window.widen(400), Some(340));
        assert_eq!(window.widen(400), None);
        window.receive(400).unwrap();
        assert!(window.receive(1).is_err());
    }

    #[test]
    fn a_peer_that_has_not_heard_of_a_smaller_window_may_fill_the_first() {
        let mut window = Window::unheard(100, 300);
        window.receive(300).unwrap();
        assert!(window.receive(1).is_err());
        assert_eq!(window.forwarded(300), Some(300));
        // It has heard: what it sent too much was taken off.
        window.receive(100).unwrap();
        assert_eq!(window.held(), 100);
    }

    proptest! {
        /// What was received is held, or was forwarded; and the peer hears of each forwarded byte once.
        #[test]
        fn credit_given_is_bytes_forwarded(size in 1_u32..1000, steps: Vec<(bool, u16)>) {
            let mut window = Window::new(size);
            let (mut received, mut forwarded, mut told) = (0_u64, 0_u64, 0_u64);
            for (receives, bytes) in steps {
                let bytes = u32::from(bytes) % (size + 1);
                if receives {
                    let room = u64::from(size) + told - received;
                    let fits = u64::from(bytes) <= room;
                    prop_assert_eq!(window.receive(bytes).is_ok(), fits);
                    received += if fits { u64::from(bytes) } else { 0 };
                } else {
                    let bytes = bytes.min(window.held());
                    forwarded += u64::from(bytes);
                    told += window.forwarded(bytes).map_or(0, u64::from);
                }
                prop_assert_eq!(u64::from(window.held()), received - forwarded);
                prop_assert!(told <= forwarded && forwarded - told < u64::from(size / 2).max(1));
            }
        }

        #[test]
        fn an_allowance_is_never_overspent(size in 0_u32..1000, steps: Vec<(u8, u16)>) {
            let mut allowance = Allowance::new(size);
            let (mut granted, mut spent) = (i64::from(size), 0_i64);
            for (step, bytes) in steps {
                match step % 3 {
                    0 => spent += i64::from(allowance.spend(u32::from(bytes))),
                    1 => {
                        allowance.grow(u32::from(bytes)).unwrap();
                        granted += i64::from(bytes);
                    }
                    _ => {
                        allowance.shift(-i64::from(bytes)).unwrap();
                        granted -= i64::from(bytes);
                    }
                }
                prop_assert_eq!(i64::from(allowance.available()), (granted - spent).max(0));
            }
        }
    }
}
