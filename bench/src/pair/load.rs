//! So many calls in flight, for so long.

mod h2load;
mod raw;
mod tonic;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::Instant;

use anyhow::Context as _;

use super::{METHOD, program};

/// The method of a server stream; no contract knows it.
pub(crate) const STREAM: &str = "/bench.Echo/Stream";
/// How many messages the stream is to have.
pub(crate) const MESSAGES: &str = "x-messages";

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Client {
    /// The h2 crate; every call has the same few headers
    H2,
    /// A tonic client; every call has a trace and a timeout of its own
    Tonic,
    /// nghttp2's h2load, on several connections
    H2load,
}

/// What is asked of the application.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    pub(crate) client: Client,
    /// Bytes of a message.
    pub(crate) size: usize,
    /// Messages of each answer; more than one is a server stream.
    pub(crate) messages: u32,
    /// Over which h2load spreads its calls; the others have one.
    pub(crate) connections: usize,
}

/// What a run measured; latency in microseconds.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) calls: u64,
    pub(crate) elapsed: Duration,
    pub(crate) latency: Histogram<u64>,
}

/// A connection that has carried a call and is kept.
pub(crate) struct Held {
    _caller: raw::Raw,
    _driver: JoinSet<()>,
}

/// One way to make a call.
trait Caller: Clone + Send + 'static {
    /// Ready when the call has succeeded, to its last byte.
    fn call(&mut self, number: u64) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// Every call must succeed: a proxy that fails calls is not faster.
pub(crate) async fn run(
    address: SocketAddr,
    in_flight: usize,
    work: Work,
    duration: Duration,
) -> anyhow::Result<Measured> {
    match work.client {
        Client::H2 => {
            let (caller, _driver) = raw::Raw::connect(address, in_flight, work).await?;
            crowd(&caller, in_flight, duration).await
        }
        Client::Tonic => {
            crowd(
                &tonic::Tonic::connect(address, work).await?,
                in_flight,
                duration,
            )
            .await
        }
        Client::H2load => {
            let program = program::find("h2load")?.context("h2load is gone")?;
            h2load::run(&program, address, in_flight, work, duration).await
        }
    }
}

impl Held {
    pub(crate) async fn open(address: SocketAddr, work: Work) -> anyhow::Result<Self> {
        let (mut caller, driver) = raw::Raw::connect(address, 1, work).await?;
        caller.call(0).await?;
        Ok(Self {
            _caller: caller,
            _driver: driver,
        })
    }
}

async fn crowd(
    caller: &impl Caller,
    in_flight: usize,
    duration: Duration,
) -> anyhow::Result<Measured> {
    let begun = Instant::now();
    let end = begun + duration;
    let mut callers = JoinSet::new();
    for number in 0..in_flight {
        callers.spawn(repeat(caller.clone(), number as u64, in_flight as u64, end));
    }
    let mut latency = Histogram::new(3)?;
    while let Some(caller) = callers.join_next().await {
        latency.add(caller??)?;
    }
    Ok(Measured {
        calls: latency.len(),
        elapsed: begun.elapsed(),
        latency,
    })
}

async fn repeat(
    mut caller: impl Caller,
    mut number: u64,
    step: u64,
    end: Instant,
) -> anyhow::Result<Histogram<u64>> {
    let mut latency = Histogram::new(3)?;
    while Instant::now() < end {
        let begun = Instant::now();
        caller.call(number).await?;
        number += step;
        latency.record(u64::try_from(begun.elapsed().as_micros())?)?;
    }
    Ok(latency)
}

impl Client {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::H2 => "h2",
            Self::Tonic => "tonic",
            Self::H2load => "h2load",
        }
    }
}

impl Work {
    fn path(self) -> &'static str {
        match self.messages {
            1 => METHOD,
            _ => STREAM,
        }
    }

    fn message(self) -> Bytes {
        let mut framed = BytesMut::with_capacity(self.size + 5);
        framed.put_u8(0);
        framed.put_u32(u32::try_from(self.size).expect("a small message"));
        framed.put_bytes(b'x', self.size);
        framed.freeze()
    }
}
