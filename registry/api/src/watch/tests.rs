use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

fn client() -> Client {
    Client::new("http://127.0.0.1:1", None).unwrap()
}

fn answer(value: &'static str, index: u64) -> Result<Answer<&'static str>, Error> {
    Ok(Answer {
        value,
        index: Some(index),
        hash: None,
        default_policy: None,
    })
}

fn down() -> Result<Answer<&'static str>, Error> {
    Err(Error::Throttled {
        message: "scripted".to_owned(),
    })
}

type Script = Vec<Result<Answer<&'static str>, Error>>;

/// Answers from a script, then parks for ever; records the indices it was asked with.
async fn run(
    script: Script,
    until: impl Fn(&Watched<&'static str>) -> bool,
) -> (Watched<&'static str>, Vec<u64>) {
    let length = script.len();
    let script = Arc::new(Mutex::new(script.into_iter()));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&asked);
    let done = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&done);
    let (mut receiver, driver) = watch(
        client(),
        Blocking::Index,
        CancellationToken::new(),
        move |_, read| {
            record.lock().unwrap().push(read.index);
            let next = script.lock().unwrap().next();
            count.fetch_add(1, Ordering::SeqCst);
            async move {
                match next {
                    Some(result) => result,
                    None => std::future::pending().await,
                }
            }
        },
    );
    let seen = async {
        loop {
            let state = receiver.borrow().clone();
            if done.load(Ordering::SeqCst) > length && until(&state) {
                return state;
            }
            tokio::select! {
                changed = receiver.changed() => changed.unwrap(),
                () = sleep(Duration::from_millis(5)) => {}
            }
        }
    };
    let state =
        tokio::select! { () = driver => unreachable!("the watch ended"), state = seen => state };
    let asked = asked.lock().unwrap().clone();
    (state, asked)
}

#[tokio::test(start_paused = true)]
async fn an_error_keeps_the_last_good_value_and_starts_over() {
    let script = vec![answer("a", 5), down(), down(), answer("b", 9)];
    let (state, asked) = run(script, |state| state.failures == 0).await;
    assert_eq!(state.value.as_deref(), Some(&"b"));
    assert_eq!(asked, [0, 5, 0, 0, 9]);

    let (state, _) = run(vec![answer("a", 5), down()], |state| state.failures == 1).await;
    assert_eq!(state.value.as_deref(), Some(&"a"));
    assert!(matches!(
        state.last_error.as_deref(),
        Some(Error::Throttled { .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn an_index_that_went_back_is_taken_and_the_watch_starts_over() {
    let (state, asked) = run(vec![answer("a", 9), answer("b", 3), answer("c", 4)], |_| {
        true
    })
    .await;
    assert_eq!(state.value.as_deref(), Some(&"c"));
    assert_eq!(asked, [0, 9, 0, 4]);
}

#[tokio::test(start_paused = true)]
async fn the_bucket_keeps_a_busy_watch_from_spinning() {
    let start = Instant::now();
    let script = (1..=40).map(|index| answer("a", index)).collect();
    run(script, |_| true).await;
    assert!(
        start.elapsed() >= Duration::from_secs(6),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn the_back_off_doubles_up_to_its_bound() {
    for (failures, draw, expected) in [
        (1, 0.5, Duration::from_millis(5)),
        (2, 1.0, Duration::from_millis(20)),
        (40, 1.0, BACKOFF_MAX),
        (40, 0.0, Duration::ZERO),
    ] {
        assert_eq!(backoff(failures, draw), expected);
    }
}
