use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::task::JoinHandle;

use super::*;

const PATIENCE: Duration = Duration::from_secs(60);

fn ways() -> ([Way; 2], [Counter; 2], Arc<Account>) {
    let (counters, buffered): ([Counter; 2], Arc<Account>) = Default::default();
    let ways = counters
        .each_ref()
        .map(|counter| Way::new(counter.clone(), Arc::clone(&buffered)));
    (ways, counters, buffered)
}

/// Both sides' other ends, each with room for so many bytes, and what carrying comes to.
struct Ends {
    near: DuplexStream,
    far: DuplexStream,
    carrying: JoinHandle<Result<(), Kind>>,
    counters: [Counter; 2],
    buffered: Arc<Account>,
}

#[expect(clippy::disallowed_methods, reason = "the test owns the task")]
fn carry(room: usize) -> Ends {
    let (near, mut inner) = duplex(room);
    let (far, mut outer) = duplex(room);
    let (mut ways, counters, buffered) = ways();
    let carrying =
        tokio::spawn(async move { copy(&mut inner, &mut outer, &mut ways, PATIENCE).await });
    Ends {
        near,
        far,
        carrying,
        counters,
        buffered,
    }
}

#[tokio::test(start_paused = true)]
async fn a_side_that_ends_is_answered_all_the_same() {
    let mut ends = carry(64);
    ends.near.write_all(b"question").await.unwrap();
    ends.near.shutdown().await.unwrap();
    let mut heard = String::new();
    ends.far.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "question");
    assert!(!ends.carrying.is_finished());
    ends.far.write_all(b"an answer").await.unwrap();
    ends.far.shutdown().await.unwrap();
    heard.clear();
    ends.near.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "an answer");
    assert_eq!(ends.carrying.await.unwrap(), Ok(()));
    assert_eq!(ends.counters.map(|counter| counter.get()), [8, 9]);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_takes_nothing_stops_its_sender_and_ends_the_connection_in_time() {
    let mut ends = carry(1 << 10);
    let start = Instant::now();
    let flood = vec![7; 1 << 20];
    let sent = tokio::time::timeout(PATIENCE / 2, ends.near.write_all(&flood)).await;
    assert!(sent.is_err(), "nobody takes a MiB");
    // What waits is one read at most; what was written before it fits the pipe.
    assert!(
        ends.buffered.used() <= MOST as u64,
        "{}",
        ends.buffered.used()
    );
    assert_eq!(ends.counters[0].get(), 1 << 10);
    assert_eq!(ends.carrying.await.unwrap(), Err(Kind::Stalled));
    assert_eq!(start.elapsed(), PATIENCE);
    assert_eq!(ends.buffered.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_slow_is_waited_for() {
    let mut ends = carry(1 << 10);
    let flood = vec![7; 8 << 10];
    let sending = async {
        ends.near.write_all(&flood).await.unwrap();
        ends.near.shutdown().await.unwrap();
    };
    let taking = async {
        let mut taken = 0;
        let mut piece = [0; 512];
        loop {
            tokio::time::sleep(PATIENCE - Duration::from_secs(1)).await;
            match ends.far.read(&mut piece).await.unwrap() {
                0 => return taken,
                count => taken += count,
            }
        }
    };
    let ((), taken) = tokio::join!(sending, taking);
    assert_eq!(taken, flood.len());
    drop(ends.far);
    assert_eq!(ends.carrying.await.unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_quiet_connection_is_left_alone() {
    let mut ends = carry(64);
    tokio::time::sleep(PATIENCE * 1000).await;
    ends.far.write_all(b"still here").await.unwrap();
    let mut heard = [0; 10];
    ends.near.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"still here");
}

#[tokio::test(start_paused = true)]
async fn a_side_that_takes_no_more_is_heard_to_its_end() {
    let mut ends = carry(64);
    ends.far.write_all(b"last words").await.unwrap();
    drop(ends.far);
    ends.near.write_all(b"too late").await.unwrap();
    let mut heard = String::new();
    ends.near.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "last words");
    assert_eq!(ends.carrying.await.unwrap(), Ok(()));
}

/// A side that breaks, as a socket does by a reset.
struct Broken;

impl AsyncRead for Broken {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }
}

impl AsyncWrite for Broken {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn the_side_that_broke_is_told_apart() {
    let (_kept, mut whole) = duplex(64);
    let (mut first, ..) = ways();
    let ended = copy(&mut Broken, &mut whole, &mut first, PATIENCE).await;
    assert_eq!(ended, Err(Kind::Cancelled));
    let (mut second, ..) = ways();
    let ended = copy(&mut whole, &mut Broken, &mut second, PATIENCE).await;
    assert_eq!(ended, Err(Kind::ConnectionLost));
}
