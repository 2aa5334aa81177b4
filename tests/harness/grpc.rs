//! gRPC's framing, by hand: the harness looks at what is on the wire, so no client library may tidy it up first.

use std::future::poll_fn;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// A message with its five-byte prefix.
pub fn frame(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(5 + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).expect("a message under 4 GiB"));
    framed.put_slice(message);
    framed.freeze()
}

/// Takes whole messages out of the bytes received so far; what is incomplete stays.
pub fn take_messages(received: &mut BytesMut) -> Vec<Bytes> {
    let mut messages = Vec::new();
    while received.len() >= 5 {
        let length = u32::from_be_bytes([received[1], received[2], received[3], received[4]]);
        let length = usize::try_from(length).expect("fits");
        if received.len() < 5 + length {
            break;
        }
        received.advance(5);
        messages.push(received.split_to(length).freeze());
    }
    messages
}

/// Sends bytes as the peer's windows allow it; what the harness has not sent, nobody buffers.
pub async fn send(
    stream: &mut h2::SendStream<Bytes>,
    mut bytes: Bytes,
    end: bool,
) -> Result<(), h2::Error> {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let granted = match poll_fn(|context| stream.poll_capacity(context)).await {
            Some(granted) => granted?,
            None => return Err(h2::Reason::CANCEL.into()),
        };
        let part = bytes.split_to(granted.min(bytes.len()));
        let last = end && bytes.is_empty();
        stream.send_data(part, last)?;
        if last {
            return Ok(());
        }
    }
    if end {
        stream.send_data(Bytes::new(), true)?;
    }
    Ok(())
}

/// The next piece of a body, with its credit given back.
pub async fn receive(stream: &mut h2::RecvStream) -> Option<Result<Bytes, h2::Error>> {
    let piece = stream.data().await?;
    if let Ok(piece) = &piece {
        // Refused only when the stream is already reset; the next read says so.
        let _ = stream.flow_control().release_capacity(piece.len());
    }
    Some(piece)
}
