//! An application that is a script of frames: it answers, refuses or misbehaves connection by connection, as a test says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::mesh::Mesh;
use crate::raw::{ACK, END_HEADERS, END_STREAM, Frame, block, frame, kind};
use crate::sidecar::Sidecar;

const PREFACE: usize = 24;
/// A health check's answer: SERVING.
const SERVING: [u8; 2] = [8, 1];

/// It listens until it is dropped.
#[derive(Debug)]
pub struct Scripted {
    pub address: String,
    _tasks: JoinSet<()>,
}

/// One connection of a sidecar to it.
#[derive(Debug)]
pub struct Caller {
    /// Which connection it is, from 0.
    pub number: u32,
    stream: TcpStream,
    unread: BytesMut,
}

impl Scripted {
    /// Each connection is one run of the script, after the greeting.
    pub async fn start<R>(script: impl Fn(Caller) -> R + Send + Sync + 'static) -> Self
    where
        R: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (script, counter) = (Arc::new(script), AtomicU32::new(0));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let script = script.clone();
                let mut caller = Caller {
                    number: counter.fetch_add(1, Ordering::SeqCst),
                    stream,
                    unread: BytesMut::new(),
                };
                open.spawn(async move {
                    if caller.greet().await {
                        script(caller).await;
                    }
                });
            }
        });
        Self {
            address,
            _tasks: tasks,
        }
    }

    /// A sidecar before it, as the service of that name.
    pub async fn sidecar(&self, mesh: &Mesh, service: &str) -> Sidecar {
        let file = mesh.sidecar_file(service, &self.address);
        let config = std::fs::read_to_string(&file).unwrap();
        let folder = file.parent().expect("a file is in a folder");
        let sidecar = Sidecar::start(&format!("{service}-scripted"), &config, folder).await;
        sidecar.becomes("/ready").await;
        sidecar
    }
}

impl Caller {
    async fn greet(&mut self) -> bool {
        while self.unread.len() < PREFACE {
            if !matches!(self.stream.read_buf(&mut self.unread).await, Ok(1..)) {
                return false;
            }
        }
        self.unread.advance(PREFACE);
        let window = [0, 4, 0, 0x10, 0, 0];
        self.send(&frame(kind::SETTINGS, 0, 0, &window)).await;
        self.send(&frame(
            kind::WINDOW_UPDATE,
            0,
            0,
            &(1_u32 << 30).to_be_bytes(),
        ))
        .await
    }

    /// False once the sidecar takes no more.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// The next frame, after what every peer answers was answered; `None` once the sidecar has closed.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            let Some(next) = self.take() else {
                match self.stream.read_buf(&mut self.unread).await {
                    Ok(1..) => continue,
                    _ => return None,
                }
            };
            let is_answer = next.flags & ACK != 0;
            match next.kind {
                kind::SETTINGS if !is_answer => {
                    self.send(&frame(kind::SETTINGS, ACK, 0, &[])).await;
                }
                kind::PING if !is_answer => {
                    self.send(&frame(kind::PING, ACK, 0, &next.payload)).await;
                }
                _ => return Some(next),
            }
        }
    }

    fn take(&mut self) -> Option<Frame> {
        let (head, behind) = self.unread.split_first_chunk::<9>()?;
        let [a, b, c, kind, flags, stream @ ..] = *head;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let payload = behind.get(..length)?.to_vec();
        self.unread.advance(9 + length);
        Some(Frame {
            kind,
            flags,
            stream: u32::from_be_bytes(stream),
            payload,
            fields: Vec::new(),
        })
    }

    /// The next unary request that is whole: its stream and its message, which came in one frame.
    pub async fn request(&mut self) -> Option<(u32, Vec<u8>)> {
        loop {
            let next = self.next().await?;
            if next.kind == kind::DATA && next.flags & END_STREAM != 0 {
                let message = next.payload.get(5..).unwrap_or_default();
                return Some((next.stream, message.to_vec()));
            }
        }
    }

    /// Answers OK with that message; a request without one is the sidecar's own, which asks for the application's health.
    pub async fn answer(&mut self, stream: u32, message: &[u8]) -> bool {
        let message = if message.is_empty() {
            &SERVING
        } else {
            message
        };
        let bytes = [head(stream), body(stream, message), end(stream)].concat();
        self.send(&bytes).await
    }
}

/// A response's head.
pub fn head(stream: u32) -> Vec<u8> {
    let fields = [(":status", "200"), ("content-type", "application/grpc")];
    frame(kind::HEADERS, END_HEADERS, stream, &block(&fields))
}

/// A message.
pub fn body(stream: u32, message: &[u8]) -> Vec<u8> {
    let message = crate::grpc::frame(message);
    frame(kind::DATA, 0, stream, &message)
}

/// OK.
pub fn end(stream: u32) -> Vec<u8> {
    let fields = [("grpc-status", "0")];
    let flags = END_HEADERS | END_STREAM;
    frame(kind::HEADERS, flags, stream, &block(&fields))
}
