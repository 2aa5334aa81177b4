//! A server that harms whoever connects to it: it takes a call and then says the same frames again and again, as fast as they are
//! taken. Between two families it answers as it should.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::attacker::pin;
use crate::raw::{ACK, END_STREAM, PREFACE, frame, kind, settings, window_update};
use crate::scripted;

/// What it does to a call, by the call's stream.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    pub name: &'static str,
    pub opening: fn(u32) -> Vec<u8>,
    /// Said again and again; nothing: it waits for the end.
    pub volley: fn(u32) -> Vec<u8>,
}

/// What became of its connections since they were last asked for.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Those that were flooded.
    pub flooded: u64,
    pub frames: u64,
    /// How their clients ended them: GOAWAY's text, `(closed)` without one.
    pub ended: BTreeMap<String, u64>,
    /// The longest that a flood was borne which the client ended.
    pub longest: Duration,
}

/// It listens until it is dropped.
#[derive(Debug)]
pub struct Flooder {
    pub address: String,
    mode: watch::Sender<Option<Family>>,
    seen: Arc<Mutex<Seen>>,
}

impl Flooder {
    /// Answers calls, for now. Its thread has one core.
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (mode, modes) = watch::channel(None);
        let seen = Arc::<Mutex<Seen>>::default();
        let told = seen.clone();
        std::thread::spawn(move || {
            pin();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(accept(listener, modes, told));
        });
        Self {
            address,
            mode,
            seen,
        }
    }

    /// From now on; connections of before are gone.
    pub fn floods(&self, family: Option<Family>) {
        *self.seen.lock().unwrap() = Seen::default();
        self.mode.send_replace(family);
    }

    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }
}

async fn accept(
    listener: std::net::TcpListener,
    mut modes: watch::Receiver<Option<Family>>,
    seen: Arc<Mutex<Seen>>,
) {
    let listener = TcpListener::from_std(listener).unwrap();
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            changed = modes.changed() => match changed {
                Ok(()) => open.abort_all(),
                Err(_) => return,
            },
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { return };
                let mode = *modes.borrow_and_update();
                open.spawn(serve(stream, mode, seen.clone()));
            }
            Some(_) = open.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, mode: Option<Family>, seen: Arc<Mutex<Seen>>) {
    let _ = stream.set_nodelay(true);
    let (read, mut write) = stream.into_split();
    let wide = [settings(&[(4, 1 << 20)]), window_update(0, 1 << 30)].concat();
    if write.write_all(&wide).await.is_err() {
        return;
    }
    let (heard, mut calls) = mpsc::unbounded_channel();
    let mut said = "(closed)".to_owned();
    let mut begun = None;
    let reading = read_all(read, heard, &mut said);
    let writing = async {
        while let Some(heard) = calls.recv().await {
            let answered = match (heard, mode) {
                (Heard::Frame(bytes), _) => write.write_all(&bytes).await,
                (Heard::Call(stream), None) => write.write_all(&scripted_answer(stream)).await,
                (Heard::Call(stream), Some(family)) => {
                    begun = Some(Instant::now());
                    seen.lock().unwrap().flooded += 1;
                    flood(&mut write, family, stream, &seen).await;
                    return;
                }
            };
            if answered.is_err() {
                return;
            }
        }
    };
    // Whoever writes no more may still be read.
    let ((), ()) = tokio::join!(reading, writing);
    if let Some(begun) = begun {
        let mut seen = seen.lock().unwrap();
        *seen.ended.entry(said).or_default() += 1;
        seen.longest = seen.longest.max(begun.elapsed());
    }
}

enum Heard {
    /// What every peer answers.
    Frame(Vec<u8>),
    /// A call whose request is whole.
    Call(u32),
}

fn scripted_answer(stream: u32) -> Vec<u8> {
    [
        scripted::head(stream),
        scripted::body(stream, b"calm"),
        scripted::end(stream),
    ]
    .concat()
}

async fn flood(write: &mut OwnedWriteHalf, family: Family, stream: u32, seen: &Mutex<Seen>) {
    let mut bytes = (family.opening)(stream);
    loop {
        bytes.extend((family.volley)(stream));
        if write.write_all(&bytes).await.is_err() {
            return;
        }
        if (family.volley)(stream).is_empty() {
            return;
        }
        seen.lock().unwrap().frames += 1;
        bytes.clear();
        tokio::task::yield_now().await;
    }
}

async fn read_all(mut read: OwnedReadHalf, heard: mpsc::UnboundedSender<Heard>, said: &mut String) {
    let mut unread = Vec::new();
    let mut is_greeted = false;
    while matches!(read.read_buf(&mut unread).await, Ok(1..)) {
        let mut from = 0;
        if !is_greeted {
            if unread.len() < PREFACE.len() {
                continue;
            }
            is_greeted = true;
            from = PREFACE.len();
        }
        while let Some((head, behind)) = unread[from..].split_first_chunk::<9>() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let Some(payload) = behind.get(..length) else {
                break;
            };
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            let is_answer = head[4] & ACK != 0;
            let answer = match head[3] {
                kind::SETTINGS if !is_answer => {
                    Some(Heard::Frame(frame(kind::SETTINGS, ACK, 0, &[])))
                }
                kind::PING if !is_answer => Some(Heard::Frame(frame(kind::PING, ACK, 0, payload))),
                kind::DATA | kind::HEADERS if head[4] & END_STREAM != 0 => {
                    Some(Heard::Call(stream))
                }
                _ => None,
            };
            if let Some(answer) = answer {
                let _ = heard.send(answer);
            }
            if head[3] == kind::GOAWAY {
                *said = String::from_utf8_lossy(payload.get(8..).unwrap_or_default()).into_owned();
            }
            from += 9 + length;
        }
        unread.drain(..from);
    }
}
