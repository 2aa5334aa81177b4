//! A case: what a peer sends on a connection of its own, and what has to come of it.

use outrigger_tests::raw::{Frame, Raw, kind};

/// The stream that cases are about.
pub(crate) const STREAM: u32 = 1;
/// SETTINGS_MAX_CONCURRENT_STREAMS.
const CONCURRENT_STREAMS: u16 = 3;

/// One line of a table.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) id: &'static str,
    pub(crate) does: &'static str,
    pub(crate) steps: Vec<Step>,
    pub(crate) outcome: Outcome,
}

/// What the peer does.
#[derive(Debug)]
pub(crate) enum Step {
    /// Preface and SETTINGS, by which a connection begins.
    Greet,
    /// In one write.
    Send(Vec<u8>),
    /// Frames for so many streams as the sidecar allows, and one more.
    Beyond(fn(u32) -> Vec<u8>),
    /// Waits for a frame.
    Until(fn(&Frame) -> bool),
}

/// What has to come. Codes are those of RFC 9113, 7.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    /// The request is served: a head with status 200.
    Served,
    /// This frame.
    Frame(fn(&Frame) -> bool),
    /// A first DATA frame of so many bytes.
    Data(usize),
    /// The connection lives on as if nothing had been, and pings that were answers are not answered.
    Alive,
    /// A stream error: the stream is reset with one of the codes and the connection lives; or it is a connection error with one of them.
    StreamError(&'static [u32]),
    /// A connection error: GOAWAY with one of the codes, and the connection is closed.
    ConnectionError(&'static [u32]),
    /// The connection is closed, with or without a word.
    Closed,
    /// Either of the two.
    AliveOrClosed,
}

impl Case {
    /// Runs it; what came instead is the error.
    pub(crate) async fn run(&self, address: &str) -> Result<(), String> {
        let mut raw = Raw::silent(address).await;
        for step in &self.steps {
            step.run(&mut raw).await?;
        }
        self.outcome.check(&mut raw).await
    }
}

impl Step {
    async fn run(&self, raw: &mut Raw) -> Result<(), String> {
        match self {
            Self::Greet => raw.greet().await,
            Self::Send(bytes) => raw.send(bytes).await,
            Self::Beyond(streams) => {
                let is_settings = |frame: &Frame| frame.kind == kind::SETTINGS;
                let (_, settings) = raw.until(is_settings).await.ok_or("no SETTINGS")?;
                let most = settings.setting(CONCURRENT_STREAMS);
                raw.send(&streams(most.ok_or("no limit")? + 1)).await;
            }
            Self::Until(is_it) => {
                raw.until(*is_it).await.ok_or("closed while waiting")?;
            }
        }
        Ok(())
    }
}

impl Outcome {
    async fn check(self, raw: &mut Raw) -> Result<(), String> {
        match self {
            Self::Served => {
                let is_head = |frame: &Frame| frame.stream == STREAM && !frame.fields.is_empty();
                let head = comes(raw, is_head).await?;
                let status = head.field(":status");
                holds(status == Some("200"), || format!("{:?}", head.fields))
            }
            Self::Frame(is_it) => comes(raw, is_it).await.map(|_| ()),
            Self::Data(bytes) => {
                let data = comes(raw, |frame| frame.kind == kind::DATA).await?;
                let count = data.payload.len();
                holds(count == bytes, || format!("DATA of {count} bytes"))
            }
            Self::Alive => {
                let before = raw.is_alive().await.map_err(|bye| format!("{bye:?}"))?;
                let odd = |frame: &&Frame| frame.kind == kind::PING || frame.kind == kind::GOAWAY;
                let odd: Vec<_> = before.iter().filter(odd).collect();
                holds(odd.is_empty(), || format!("{odd:?}"))
            }
            Self::StreamError(codes) => stream_error(raw, codes).await,
            Self::ConnectionError(codes) => ends(&goodbye(raw, Vec::new()).await, codes),
            Self::Closed => {
                raw.goodbye().await;
                Ok(())
            }
            Self::AliveOrClosed => {
                // Both are right; neither would not come back in time.
                let _: Result<_, _> = raw.is_alive().await;
                Ok(())
            }
        }
    }
}

fn holds(condition: bool, instead: impl FnOnce() -> String) -> Result<(), String> {
    match condition {
        true => Ok(()),
        false => Err(instead()),
    }
}

/// The first frame that is it.
async fn comes(raw: &mut Raw, is_it: impl Fn(&Frame) -> bool) -> Result<Frame, String> {
    let mut before = Vec::new();
    while let Some(frame) = raw.next().await {
        if is_it(&frame) {
            return Ok(frame);
        }
        before.push(frame);
    }
    Err(format!("closed after {}", words(&before)))
}

async fn stream_error(raw: &mut Raw, codes: &[u32]) -> Result<(), String> {
    let mut before = Vec::new();
    while let Some(frame) = raw.next().await {
        if let Some(code) = frame.reset() {
            let what = || format!("stream {} reset with {code}", frame.stream);
            holds(codes.contains(&code), what)?;
            let lives = raw.is_alive().await;
            return lives.map(|_| ()).map_err(|bye| format!("then {bye:?}"));
        }
        let is_goodbye = frame.goaway().is_some();
        before.push(frame);
        if is_goodbye {
            break;
        }
    }
    ends(&goodbye(raw, before).await, codes)
}

/// All frames up to the end.
async fn goodbye(raw: &mut Raw, mut frames: Vec<Frame>) -> Vec<Frame> {
    while let Some(frame) = raw.next().await {
        frames.push(frame);
    }
    frames
}

fn ends(frames: &[Frame], codes: &[u32]) -> Result<(), String> {
    let goodbyes = frames.iter().filter_map(Frame::goaway);
    let code = goodbyes.map(|(_, code, _)| code).next_back();
    let is_one = code.is_some_and(|code| codes.contains(&code));
    holds(is_one, || format!("closed after {}", words(frames)))
}

/// Frames in short.
pub(crate) fn words(frames: &[Frame]) -> String {
    let word = |frame: &Frame| match (frame.kind, frame.reset(), frame.goaway()) {
        (_, Some(code), _) => format!("RST_STREAM {} {code}", frame.stream),
        (_, _, Some((last, code, text))) => format!("GOAWAY {last} {code} {text:?}"),
        (kind::HEADERS | kind::CONTINUATION, ..) => format!("{:?}", frame.fields),
        (kind, ..) => format!(
            "kind {kind} stream {} {} bytes",
            frame.stream,
            frame.payload.len()
        ),
    };
    let words: Vec<_> = frames.iter().map(word).collect();
    format!("[{}]", words.join(", "))
}
