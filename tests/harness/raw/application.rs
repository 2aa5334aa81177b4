//! An application that speaks frame by frame. What it says to a call is a script, which the call names by its first message.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::{ACK, Frame, Raw, frame, kind, settings, window_update};
use crate::grpc;

/// SETTINGS_INITIAL_WINDOW_SIZE.
const INITIAL_WINDOW: u16 = 4;

/// What a call's caller did, as it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Its first message is there.
    Begun,
    /// Bytes behind the first message.
    Data(usize),
    Ended,
    Reset(u32),
    /// There is more room to send on the stream.
    Window(u32),
}

/// What is said to it, on this stream.
pub type Script = fn(Heard, u32) -> Vec<u8>;

/// A running application.
#[derive(Debug)]
pub struct Application {
    pub address: String,
    log: Log,
    _tasks: JoinSet<()>,
}

/// What was heard, by the name of the script.
type Log = Arc<Mutex<BTreeMap<String, Vec<Heard>>>>;

impl Application {
    /// Serves; a call that names no script is one that is not expected.
    pub async fn start(scripts: impl IntoIterator<Item = (&'static str, Script)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let scripts: Arc<BTreeMap<_, _>> = Arc::new(scripts.into_iter().collect());
        let log = Log::default();
        let mut tasks = JoinSet::new();
        let heard = log.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let served = Connection {
                    raw: Raw::over(stream),
                    scripts: scripts.clone(),
                    log: heard.clone(),
                    calls: BTreeMap::new(),
                };
                connections.spawn(served.serve());
            }
        });
        Self {
            address,
            log,
            _tasks: tasks,
        }
    }

    /// What the calls with this name came to so far, in words; rooms are left out, pieces of data added up.
    pub fn heard(&self, name: &str) -> String {
        let log = self.log.lock().unwrap();
        let mut words = Vec::new();
        let mut bytes = 0;
        for heard in log.get(name).into_iter().flatten() {
            if let Heard::Data(count) = heard {
                bytes += count;
                continue;
            }
            if bytes > 0 {
                words.push(format!("{bytes} bytes"));
            }
            bytes = 0;
            match heard {
                Heard::Begun => words.push("begun".to_owned()),
                Heard::Ended => words.push("end".to_owned()),
                Heard::Reset(code) => words.push(format!("reset {code}")),
                Heard::Data(_) | Heard::Window(_) => {}
            }
        }
        if bytes > 0 {
            words.push(format!("{bytes} bytes"));
        }
        words.join(", ")
    }
}

/// A call, until its first message is whole and after.
#[derive(Debug, Default)]
struct Call {
    body: BytesMut,
    script: Option<(String, Script)>,
}

struct Connection {
    raw: Raw,
    scripts: Arc<BTreeMap<&'static str, Script>>,
    log: Log,
    calls: BTreeMap<u32, Call>,
}

impl Connection {
    async fn serve(mut self) {
        // A probe connects and says nothing.
        if !self.raw.hear_preface().await {
            return;
        }
        let wide = [
            settings(&[(INITIAL_WINDOW, 1 << 20)]),
            window_update(0, 1 << 24),
        ];
        self.raw.send(&wide.concat()).await;
        while let Some(frame) = self.raw.next_ever().await {
            let said = self.hear(&frame);
            self.raw.send(&said).await;
        }
    }

    fn hear(&mut self, heard: &Frame) -> Vec<u8> {
        match heard.kind {
            kind::SETTINGS if !heard.acknowledges() => frame(kind::SETTINGS, ACK, 0, &[]),
            kind::PING if heard.flags & ACK == 0 => frame(kind::PING, ACK, 0, &heard.payload),
            kind::HEADERS | kind::DATA => self.hear_body(heard),
            kind::RST_STREAM => self.tell(heard.stream, Heard::Reset(heard.reset().unwrap())),
            kind::WINDOW_UPDATE if heard.stream != 0 => {
                let increment = u32::from_be_bytes(heard.payload[..4].try_into().unwrap());
                self.tell(heard.stream, Heard::Window(increment))
            }
            _ => Vec::new(),
        }
    }

    fn hear_body(&mut self, heard: &Frame) -> Vec<u8> {
        let mut said = Vec::new();
        let call = self.calls.entry(heard.stream).or_default();
        if heard.kind == kind::DATA {
            call.body.extend_from_slice(&heard.payload);
        }
        if call.script.is_none()
            && let Some(name) = first_message(&mut call.body)
        {
            let script = self.scripts.get(&*name);
            let script = *script.unwrap_or_else(|| panic!("no script {name:?}"));
            call.script = Some((name, script));
            said.extend(self.tell(heard.stream, Heard::Begun));
        }
        let call = self.calls.entry(heard.stream).or_default();
        if call.script.is_some() && !call.body.is_empty() {
            let count = std::mem::take(&mut call.body).len();
            said.extend(self.tell(heard.stream, Heard::Data(count)));
        }
        if heard.ends_stream() {
            said.extend(self.tell(heard.stream, Heard::Ended));
        }
        said
    }

    /// Remembers it, and asks the script what to say.
    fn tell(&self, stream: u32, heard: Heard) -> Vec<u8> {
        let script = self
            .calls
            .get(&stream)
            .and_then(|call| call.script.as_ref());
        let Some((name, script)) = script else {
            return Vec::new();
        };
        let mut log = self.log.lock().unwrap();
        log.entry(name.clone()).or_default().push(heard);
        script(heard, stream)
    }
}

/// Takes it off the body once it is whole.
fn first_message(body: &mut BytesMut) -> Option<String> {
    let length = u32::from_be_bytes(body.get(1..5)?.try_into().unwrap());
    let whole = 5 + usize::try_from(length).unwrap();
    if body.len() < whole {
        return None;
    }
    let message = grpc::take_messages(&mut body.split_to(whole)).pop()?;
    Some(String::from_utf8_lossy(&message).into_owned())
}
