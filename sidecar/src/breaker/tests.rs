use super::*;

const CONFIG: Config = Config {
    consecutive: 7,
    success_below: 0.8,
    min_calls: 20,
    open_min: Duration::from_secs(1),
    open_max: Duration::from_secs(60),
    jitter: 0.5,
    probe_timeout: Duration::from_secs(10),
    forgive: Duration::from_secs(60),
};

fn fail(breaker: &Breaker, times: usize, now: u64) -> Option<Mode> {
    (0..times)
        .filter_map(|_| breaker.failure(&CONFIG, now, 0.0))
        .last()
}

#[test]
fn seven_failures_in_a_row_open_it() {
    let breaker = Breaker::default();
    assert_eq!(fail(&breaker, 6, 0), None);
    assert_eq!(breaker.success(&CONFIG, 0), None);
    assert_eq!(fail(&breaker, 6, 0), None);
    assert_eq!(breaker.permit(&CONFIG, 0, 0.0), Permit::Yes);
    assert_eq!(fail(&breaker, 1, 0), Some(Mode::Open));
    assert_eq!(breaker.permit(&CONFIG, 0, 0.0), Permit::No);
}

#[test]
fn a_low_share_of_successes_opens_it() {
    let breaker = Breaker::default();
    let mut opened = None;
    for call in 0..30 {
        let changed = if call % 3 == 0 {
            breaker.failure(&CONFIG, 100, 0.0)
        } else {
            breaker.success(&CONFIG, 100)
        };
        opened = opened.or(changed.map(|mode| (call, mode)));
    }
    assert_eq!(opened, Some((21, Mode::Open)));
}

#[test]
fn one_probe_decides() {
    let breaker = Breaker::default();
    fail(&breaker, 7, 0);
    assert_eq!(breaker.permit(&CONFIG, 999, 0.0), Permit::No);
    assert!(breaker.would_permit(&CONFIG, 1_000));
    assert_eq!(breaker.permit(&CONFIG, 1_000, 0.0), Permit::Probe);
    assert_eq!(breaker.permit(&CONFIG, 1_001, 0.0), Permit::No);
    assert!(!breaker.would_permit(&CONFIG, 1_001));
    assert_eq!(breaker.success(&CONFIG, 1_002), Some(Mode::Closed));
    assert_eq!(breaker.permit(&CONFIG, 1_002, 0.0), Permit::Yes);
}

#[test]
fn a_failed_probe_doubles_the_open_time_up_to_a_minute() {
    let breaker = Breaker::default();
    fail(&breaker, 7, 0);
    let mut now = 0;
    for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
        assert_eq!(
            breaker.permit(&CONFIG, now + seconds * 1_000 - 1, 0.0),
            Permit::No,
            "{seconds}"
        );
        now += seconds * 1_000;
        assert_eq!(
            breaker.permit(&CONFIG, now, 0.0),
            Permit::Probe,
            "{seconds}"
        );
        assert_eq!(breaker.failure(&CONFIG, now, 0.0), Some(Mode::Open));
    }
}

#[test]
fn jitter_lengthens_by_up_to_half() {
    let breaker = Breaker::default();
    for _ in 0..7 {
        breaker.failure(&CONFIG, 0, 1.0);
    }
    assert_eq!(breaker.state().open_until(), Some(1_500));
}

#[test]
fn an_undecided_probe_fails_after_ten_seconds() {
    let breaker = Breaker::default();
    fail(&breaker, 7, 0);
    assert_eq!(breaker.permit(&CONFIG, 1_000, 0.0), Permit::Probe);
    assert_eq!(breaker.permit(&CONFIG, 10_999, 0.0), Permit::No);
    assert_eq!(breaker.permit(&CONFIG, 11_000, 0.0), Permit::No);
    assert_eq!(breaker.state().open_until(), Some(13_000));
}

#[test]
fn a_neutral_probe_frees_its_slot() {
    let breaker = Breaker::default();
    fail(&breaker, 7, 0);
    assert_eq!(breaker.permit(&CONFIG, 1_000, 0.0), Permit::Probe);
    breaker.undecided(1_500);
    assert_eq!(breaker.permit(&CONFIG, 1_500, 0.0), Permit::Probe);
}

#[test]
fn a_minute_closed_is_forgiveness() {
    let breaker = Breaker::default();
    fail(&breaker, 7, 0);
    breaker.permit(&CONFIG, 1_000, 0.0);
    breaker.failure(&CONFIG, 1_000, 0.0);
    breaker.permit(&CONFIG, 3_000, 0.0);
    breaker.success(&CONFIG, 3_000);
    fail(&breaker, 7, 4_000);
    assert_eq!(
        breaker.state().open_until(),
        Some(8_000),
        "third opening within a minute"
    );
    breaker.permit(&CONFIG, 8_000, 0.0);
    breaker.success(&CONFIG, 8_000);
    fail(&breaker, 7, 68_000);
    assert_eq!(breaker.state().open_until(), Some(69_000), "forgiven");
}

#[test]
fn every_state_survives_its_word() {
    for mode in [Mode::Closed, Mode::Open, Mode::HalfOpen] {
        for (failures, level, instant) in [(0, 0, 0), (7, 3, 123_456_789), (255, 15, (1 << 50) - 1)]
        {
            let state = State {
                mode,
                failures,
                level,
                instant,
            };
            assert_eq!(State::unpack(state.pack()), state);
        }
    }
}

#[test]
fn two_threads_never_both_probe() {
    let breaker = std::sync::Arc::new(Breaker::default());
    for round in 0..200_u64 {
        let now = round * 100_000;
        fail(&breaker, 7, now);
        let at = breaker.state().open_until().unwrap();
        let asked: Vec<_> = (0..4)
            .map(|_| {
                let breaker = breaker.clone();
                std::thread::spawn(move || breaker.permit(&CONFIG, at, 0.0))
            })
            .collect();
        let probes = asked
            .into_iter()
            .filter(|_| true)
            .map(|thread| thread.join().unwrap())
            .filter(|permit| *permit == Permit::Probe)
            .count();
        assert_eq!(probes, 1);
        breaker.success(&CONFIG, at);
    }
}
